"""Sequence numbers: sequential creates below one znode, some deleted again.

Tries to give a number twice, or a lower one later: after a delete, a failover, a snapshot.
"""

from collections.abc import Sequence
from random import Random

from coord.api.ops import Create, Delete
from coord.api.results import Created
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Operation, Record
from coord.jepsen_like.workloads.parts import insist, think
from coord.jepsen_like.workloads.workload import Process, Script, Together

ROOT = "/unique"
PROMISE = "unique"
PREFIX = f"{ROOT}/n-"


def check_unique(records: Sequence[Record]) -> list[Violation]:
    """No number is given twice, and one that was asked for after another was given is greater."""
    found: list[Violation] = []
    given: dict[int, int] = {}
    times: list[tuple[int, bool, int, int]] = []
    for position, each in enumerate(records):
        if (
            isinstance(each, Operation)
            and isinstance(each.result, Created)
            and each.result.path.startswith(PREFIX)
            and each.returned_ns is not None
        ):
            number = int(each.result.path.removeprefix(PREFIX))
            before = given.setdefault(number, position)
            if before != position:
                found.append(Violation(PROMISE, f"{each.result.path} was given twice", (before, position)))
            # At one instant calls come first: what was told then was not known to who asked then.
            times.append((each.called_ns, False, number, position))
            times.append((each.returned_ns, True, number, position))
    greatest, where = -1, -1
    floors: dict[int, tuple[int, int]] = {}
    for _, is_return, number, position in sorted(times):
        if not is_return:
            floors[position] = (greatest, where)
        else:
            floor, before = floors[position]
            if number <= floor and given[number] == position:
                what = f"number {number} was asked for after {floor} had been given"
                found.append(Violation(PROMISE, what, (before, position)))
            if number > greatest:
                greatest, where = number, position
    return found


class Unique:
    name = PROMISE
    checks = (check_unique,)

    def __init__(self, dice: Random) -> None:
        self._think_ms = dice.choice((0, 20, 100))
        self._most_at_once = dice.choice((1, 3))
        self._keep = dice.choice((0, 5, 50))
        """Of a process's own; more are deleted."""

    def setup(self) -> Script:
        yield from insist(Create(ROOT), "exists")

    def process(self, me: Process) -> Script:
        mine: list[str] = []
        while me.has_session:
            asks = tuple(
                Create(PREFIX, me.fresh(), sequential=True)
                for _ in range(me.dice.randint(1, self._most_at_once))
            )
            done = yield Together(asks)
            mine += [each.result.path for each in done if isinstance(each.result, Created)]
            while len(mine) > self._keep:
                yield Delete(mine.pop(me.dice.randrange(len(mine))))
            yield think(me, self._think_ms)

    def finish(self, me: Process) -> Script:
        yield from insist(Create(PREFIX, sequential=True))
