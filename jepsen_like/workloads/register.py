"""Registers: read, write, compare-and-set, delete, on a few keys, several requests of a client under way at once.

Tries to break linearizability: a stale read, a lost write, a condition that was judged against a state that never was.
Every value is written once, so a value that was read names its write.
"""

from random import Random

from coord.api.ops import Compare, Create, Delete, Exists, Get, Multi, Operator, Set, Target
from coord.api.results import Znode
from coord.jepsen_like.workloads.parts import insist, think
from coord.jepsen_like.workloads.workload import Ask, Check, Process, Script, Together

ROOT = "/register"


class Register:
    name = "register"
    checks: tuple[Check, ...] = ()

    def __init__(self, dice: Random) -> None:
        self._keys = [f"{ROOT}/{number}" for number in range(dice.choice((1, 2, 5)))]
        self._think_ms = dice.choice((0, 20, 100))
        self._most_at_once = dice.choice((1, 1, 4))

    def setup(self) -> Script:
        yield from insist(Create(ROOT), "exists")

    def process(self, me: Process) -> Script:
        seen: dict[str, Znode] = {}
        while True:
            asks = [self._ask(me, seen) for _ in range(me.dice.randint(1, self._most_at_once))]
            for operation in (yield Together(tuple(asks))):
                if isinstance(operation.result, Znode):
                    seen[operation.op.path] = operation.result
            yield think(me, self._think_ms)

    def finish(self, me: Process) -> Script:
        for key in self._keys:
            yield from insist(Get(key), "not_found")

    def _ask(self, me: Process, seen: dict[str, Znode]) -> Ask:
        dice = me.dice
        key = dice.choice(self._keys)
        known = seen.get(key)
        pick = dice.random()
        if pick < 0.4 or not me.has_session:
            return Get(key) if dice.random() < 0.8 else Exists(key)
        if pick < 0.65 or known is None:
            return Set(key, me.fresh(), create=True)
        if pick < 0.75:
            return Set(key, me.fresh(), version=known.stat.version)
        if pick < 0.85:
            return Set(key, me.fresh(), revision=known.stat.modified_revision)
        if pick < 0.95:
            same = Compare(Target.VALUE, key, Operator.EQUAL, known.value)
            return Multi((same,), (Set(key, me.fresh()),), (Exists(key),))
        return Delete(key) if pick < 0.98 else Delete(key, version=known.stat.version)
