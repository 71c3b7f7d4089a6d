"""A workload below a path of its own, on a cluster that is not ours: what leaves has the path in front, and what comes
back, to the workload and into the history, has not. So workloads and judges need not know.
"""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

from coord.api.results import Stat
from coord.jepsen_like.history import Record
from coord.jepsen_like.workloads.workload import Script, Watched

Rename = Callable[[str], str]


class Below:
    """``top``: the path, which must exist."""

    def __init__(self, top: str) -> None:
        self.top = top

    def script(self, script: Script) -> Script:
        """``script``, asking below the path."""
        outcome: Any = None
        try:
            while True:
                try:
                    step = script.send(outcome)
                except StopIteration:
                    return
                outcome = renamed((yield renamed(step, self._down)), self._up)
        finally:
            script.close()

    def record(self, record: Record) -> Record:
        """What is recorded, as if the path were the root."""
        found: Record = renamed(record, self._up)
        return found

    def _down(self, path: str) -> str:
        return self.top if path == "/" else self.top + path

    def _up(self, path: str) -> str:
        if path == self.top:
            return "/"
        return path.removeprefix(self.top)


def renamed(value: Any, rename: Rename) -> Any:
    """``value`` with every path in it renamed: of ops, steps, results, records, and lists of them."""
    if isinstance(value, list):
        return [renamed(each, rename) for each in value]
    if isinstance(value, Stat):
        return value
    if isinstance(value, tuple):
        if len(value) == 7 and isinstance(value[1], str):  # a change
            return (value[0], rename(value[1]), *value[2:])
        return tuple(renamed(each, rename) for each in value)
    if not is_dataclass(value) or isinstance(value, type | Watched):
        return value  # a watch is the same object for the workload and its driver
    news: dict[str, Any] = {}
    for each in fields(value):
        before = getattr(value, each.name)
        after = rename(before) if each.name == "path" else renamed(before, rename)
        if after is not before:
            news[each.name] = after
    return replace(value, **news) if news else value
