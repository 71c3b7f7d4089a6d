"""Histories of plain registers, as the literature draws them: values only, no versions, 0 at first.

A write is a multi that deletes the znode and creates it anew, so its version is always 0: the value is all there is.
``line`` gives one operation; :func:`witnessed` gives the history with the revisions that one order of it would show.
"""

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any, NamedTuple

from coord.api.ops import Compare, Create, Delete, Get, Kind, Multi, Op, Operator, Target
from coord.api.results import Created, Deleted, MultiResult, Result, Stat, Znode
from coord.jepsen_like.history import Operation, Record

PATH = "/x"


class Line(NamedTuple):
    """``action``: ``write``, ``read`` or ``cas``; ``value``: written or read, for ``cas`` ``(from, to, swapped)``."""

    action: str
    value: Any
    called: int
    returned: int | None
    path: str = PATH


def _write(path: str, value: object) -> tuple[Delete, Create]:
    return Delete(path), Create(path, str(value).encode())


def _op(line: Line) -> Op:
    if line.action == "read":
        return Get(line.path)
    if line.action == "write":
        return Multi((), _write(line.path, line.value))
    before, after, _ = line.value
    same = Compare(Target.VALUE, line.path, Operator.EQUAL, str(before).encode())
    return Multi((same,), _write(line.path, after))


def _writes(line: Line) -> bool:
    return line.action == "write" or (line.action == "cas" and line.value[2])


def witnessed(lines: Sequence[Line], order: Sequence[int] | None = None) -> list[Record]:
    """The history, with the revisions that ``order`` (places in ``lines``; as they stand by default) shows.

    What was read is what the lines say, whether or not it is so in that order. A write of unknown outcome shows none.
    """
    paths = dict.fromkeys(line.path for line in lines)
    revision = 0
    at: dict[str, int] = {}
    found: dict[int, Operation] = {}
    first: list[Record] = []
    for path in paths:
        revision += 1
        at[path] = revision
        first.append(_operation(99, revision, Create(path, b"0"), -2, -1, revision, Created(path, revision)))
    for place in range(len(lines)) if order is None else order:
        line = lines[place]
        if line.returned is None:
            revision += 1  # it may be that one; nobody knows
            found[place] = _operation(place, place + 1, _op(line), line.called, None, None, None)
            continue
        result: Result
        if _writes(line):
            revision += 1
            at[line.path] = revision
            result = MultiResult(True, (Deleted(1, revision), Created(line.path, revision)), revision)
        elif line.action == "cas":
            result = MultiResult(False, (), revision)
        else:
            value = str(line.value).encode()
            made = at[line.path]
            stat = Stat(made, made, made, 0, 0, 0, 0, 0, len(value), 0, Kind.PERSISTENT, 0)
            result = Znode(line.path, value, stat, revision)
        found[place] = _operation(place, place + 1, _op(line), line.called, line.returned, revision, result)
    return [*first, *(found[place] for place in range(len(lines)))]


def _operation(
    process: int,
    request: int,
    op: Op,
    called: int,
    returned: int | None,
    revision: int | None,
    result: Result,
) -> Operation:
    is_read = isinstance(op, Get)
    return Operation(
        process, 1, 1, process + 1, 0 if is_read else request, op, "linearizable" if is_read else "write", 0,
        10 + called, None if returned is None else 10 + returned, "ok" if returned is not None else "unknown",
        "" if returned is not None else "session_ended", revision, revision, result,
    )  # fmt: skip


def orders(lines: Sequence[Line]) -> Iterator[tuple[int, ...]]:
    """All orders of the lines, real time or not."""
    return permutations(range(len(lines)))


def keeps_time(lines: Sequence[Line], order: Sequence[int]) -> bool:
    for place, one in enumerate(order):
        for later in order[place + 1 :]:
            returned = lines[later].returned
            if returned is not None and returned < lines[one].called:
                return False
    return True


def is_sequential(lines: Sequence[Line], order: Sequence[int]) -> bool:
    """Whether the lines, one after another, are what a register does. Those of unknown outcome happen, too."""
    state: dict[str, str] = {}
    for place in order:
        line = lines[place]
        now = state.get(line.path, "0")
        if line.action == "read":
            if line.returned is not None and now != str(line.value):
                return False
        elif line.action == "write":
            state[line.path] = str(line.value)
        else:
            before, after, swapped = line.value
            if line.returned is not None and (now == str(before)) is not swapped:
                return False
            if now == str(before):
                state[line.path] = str(after)
    return True


def linearizable(lines: Sequence[Line]) -> bool:
    """By trying everything: all orders, of all lines that returned and any of those that did not."""
    pending = [place for place, line in enumerate(lines) if line.returned is None]
    done = [place for place, line in enumerate(lines) if line.returned is not None]
    for chosen in range(1 << len(pending)):
        part = done + [place for number, place in enumerate(pending) if chosen >> number & 1]
        if any(keeps_time(lines, order) and is_sequential(lines, order) for order in permutations(part)):
            return True
    return False
