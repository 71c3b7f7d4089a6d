"""Causal reads: what was written or seen is handed on, its revision with it, and read at any member at least as new.

Tries to break read-your-writes, monotonic reads, and what is handed from one process to another behind coord's back
(in ``facts``): a member that lags must wait, and not answer with what it has.
"""

from random import Random

from coord.api.ops import Create, Get, List, Set
from coord.jepsen_like.workloads.parts import insist, think
from coord.jepsen_like.workloads.workload import AT_LEAST, Check, MoveAway, Process, Read, Script

ROOT = "/causal"


class Causal:
    name = "causal"
    checks: tuple[Check, ...] = ()

    def __init__(self, dice: Random) -> None:
        self._keys = [f"{ROOT}/{number}" for number in range(dice.choice((1, 4)))]
        self._think_ms = dice.choice((0, 20, 100))
        self._moving = dice.choice((0.0, 0.05))

    def setup(self) -> Script:
        for key in self._keys:
            yield from insist(Create(key, parents=True), "exists")

    def process(self, me: Process) -> Script:
        own = 0
        while True:
            pick = me.dice.random()
            if pick < 0.4 and me.has_session:
                operation = yield Set(me.dice.choice(self._keys), me.fresh())
            else:
                handed = me.facts.get(ROOT, 0) if pick < 0.7 else own
                op = Get(me.dice.choice(self._keys)) if pick < 0.9 else List(ROOT, values=True)
                operation = yield Read(op, AT_LEAST, handed)
            if operation.outcome == "ok":
                own = max(own, operation.revision)
                me.facts[ROOT] = max(own, me.facts.get(ROOT, 0))
            if me.dice.random() < self._moving:
                yield MoveAway()
            yield think(me, self._think_ms)

    def finish(self, me: Process) -> Script:
        for key in self._keys:
            yield from insist(Read(Get(key), AT_LEAST, me.facts.get(ROOT, 0)))
