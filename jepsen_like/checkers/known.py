"""Which changes each revision made, as far as a history knows: from its log, or from what was acknowledged and told."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from coord.api.events import Change
from coord.api.ops import Create, Delete, Multi, Set
from coord.api.paths import ancestors, is_below, parent
from coord.jepsen_like.checkers.log import Log
from coord.jepsen_like.checkers.replay import answered
from coord.jepsen_like.history import Record, WatchTold

ZNODE: Final = "znode"
CHILDREN: Final = "children"
SUBTREE: Final = "subtree"


def concerns(path: str, scope: str, changed: str) -> bool:
    """Whether a change at ``changed`` is told to a watch of ``path`` with ``scope``."""
    if scope == ZNODE:
        return changed == path
    if scope == CHILDREN:
        return changed != "/" and parent(changed) == path
    return changed == path or is_below(changed, path)


class Known:
    """``complete``: these are all changes of all revisions from ``first`` to ``last``."""

    def __init__(self, records: Sequence[Record], log: Log) -> None:
        self.complete = bool(log)
        self.first, self.last = log.first, log.last
        self.changes: dict[int, tuple[Change, ...]] = {
            each: log.entries[each].changes for each in sorted(log.entries)
        }
        self._paths: dict[int, list[str]] = {
            revision: [change[1] for change in changes] for revision, changes in self.changes.items()
        }
        if not self.complete:
            self._gather(records)
        self._revisions: dict[tuple[str, str], list[int]] = {}
        """By a watch's scope and path."""
        for revision, changed in self._paths.items():
            for path in dict.fromkeys(changed):
                above = ancestors(path)
                self._note(ZNODE, path, revision)
                if above:
                    self._note(CHILDREN, above[0], revision)
                for each in (path, *above):
                    self._note(SUBTREE, each, revision)

    def paths(self, revision: int) -> list[str]:
        """What ``revision`` surely changed."""
        return self._paths.get(revision, [])

    def next_after(self, path: str, scope: str, revision: int) -> int | None:
        """The first known revision after ``revision`` that concerns such a watch."""
        found = self._revisions.get((scope, path), [])
        at = bisect_right(found, revision)
        return found[at] if at < len(found) else None

    def _note(self, scope: str, path: str, revision: int) -> None:
        found = self._revisions.setdefault((scope, path), [])
        if not found or found[-1] != revision:
            found.append(revision)

    def _gather(self, records: Sequence[Record]) -> None:
        """Without a log: the paths that acknowledged writes surely changed, and those that some watch was told of."""
        paths: dict[int, dict[str, None]] = {}
        for revision, _, each, made_it in answered(records):
            if made_it:
                paths.setdefault(revision, {}).update(dict.fromkeys(_surely(each.op, each.result)))
        for record in records:
            if type(record) is WatchTold:
                paths.setdefault(record.revision, {}).update(
                    dict.fromkeys(change[1] for change in record.changes)
                )
        self._paths = {revision: list(paths[revision]) for revision in sorted(paths)}


def _surely(op: object, result: object) -> list[str]:
    if isinstance(op, Multi):
        branch = op.then if result.succeeded else op.otherwise  # type: ignore[attr-defined]
        return [
            path
            for each, one in zip(branch, result.results, strict=True)  # type: ignore[attr-defined]
            for path in _surely(each, one)
        ]
    if isinstance(op, Create):
        return [result.path]  # type: ignore[attr-defined]
    return [op.path] if isinstance(op, Set | Delete) else []
