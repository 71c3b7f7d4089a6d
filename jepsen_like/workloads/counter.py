"""Counters: read, then write one more under a condition that nobody else did.

Tries to lose an increment, or to apply one twice: a value below what was acknowledged, or above what was attempted.
"""

from bisect import bisect_left
from collections.abc import Sequence
from random import Random

from coord.api.ops import Create, Get, Set
from coord.api.results import Znode
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Operation, Record
from coord.jepsen_like.workloads.parts import insist, think
from coord.jepsen_like.workloads.workload import Process, Script

ROOT = "/counter"
PROMISE = "counter"


def check_counter(records: Sequence[Record]) -> list[Violation]:
    """A linearizable read is at least the increments acknowledged before it was asked, and at most those that were
    asked before it was answered and not refused. No two acknowledged increments made the same value."""
    found: list[Violation] = []
    called: dict[str, list[int]] = {}
    returned: dict[str, list[int]] = {}
    made: dict[tuple[str, bytes], int] = {}
    for position, each in enumerate(records):
        if isinstance(each, Operation) and isinstance(each.op, Set) and each.op.path.startswith(f"{ROOT}/"):
            path = each.op.path
            if each.outcome != "refused":
                called.setdefault(path, []).append(each.called_ns)
            if each.outcome == "ok" and each.returned_ns is not None:
                returned.setdefault(path, []).append(each.returned_ns)
                before = made.setdefault((path, each.op.value), position)
                if before != position:
                    what = f"two increments made {path} {each.op.value.decode()}"
                    found.append(Violation(PROMISE, what, (before, position)))
    for times in (*called.values(), *returned.values()):
        times.sort()
    for position, each in enumerate(records):
        if isinstance(each, Operation) and each.mode == "linearizable" and isinstance(each.result, Znode):
            path, value = each.result.path, each.result.value
            if not path.startswith(f"{ROOT}/") or each.returned_ns is None:
                continue
            least = bisect_left(returned.get(path, []), each.called_ns)
            most = bisect_left(called.get(path, []), each.returned_ns)
            if not least <= int(value) <= most:
                what = f"{path} was read as {int(value)}; {least} increments were acknowledged before, {most} attempted"
                found.append(Violation(PROMISE, what, (position,)))
    return found


class Counter:
    name = PROMISE
    checks = (check_counter,)

    def __init__(self, dice: Random) -> None:
        self._paths = [f"{ROOT}/{number}" for number in range(dice.choice((1, 3)))]
        self._think_ms = dice.choice((0, 20, 100))

    def setup(self) -> Script:
        for path in self._paths:
            yield from insist(Create(path, b"0", parents=True), "exists")

    def process(self, me: Process) -> Script:
        while True:
            path = me.dice.choice(self._paths)
            read = yield Get(path)
            if me.has_session and isinstance(read.result, Znode) and me.dice.random() < 0.8:
                more = b"%d" % (int(read.result.value) + 1)
                if me.dice.random() < 0.5:
                    yield Set(path, more, version=read.result.stat.version)
                else:
                    yield Set(path, more, revision=read.result.stat.modified_revision)
            yield think(me, self._think_ms)

    def finish(self, me: Process) -> Script:
        for path in self._paths:
            yield from insist(Get(path))
