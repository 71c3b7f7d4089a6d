"""Local reads: whatever a member has, beside the writes that it may not have yet.

Tries to show a state that never was, or to go back in time on one connection; stale is allowed. Without a quorum they
must go on.
"""

from random import Random

from coord.api.ops import Create, Exists, Get, List, Multi, Set
from coord.jepsen_like.workloads.parts import insist, think
from coord.jepsen_like.workloads.workload import (
    LINEARIZABLE,
    LOCAL,
    Check,
    MoveAway,
    Process,
    Read,
    Script,
    Together,
)

ROOT = "/local_reads"


class LocalReads:
    name = "local_reads"
    checks: tuple[Check, ...] = ()

    def __init__(self, dice: Random) -> None:
        self._keys = [f"{ROOT}/{number}" for number in range(dice.choice((2, 4)))]
        self._think_ms = dice.choice((0, 20, 100))

    def setup(self) -> Script:
        for key in self._keys:
            yield from insist(Create(key, parents=True), "exists")

    def process(self, me: Process) -> Script:
        while True:
            pick = me.dice.random()
            if pick < 0.3 and me.has_session:
                # All keys at one revision: a read that sees some of it is torn.
                value = me.fresh()
                yield Multi((), tuple(Set(key, value) for key in self._keys))
            elif pick < 0.97:
                mode = LOCAL if me.dice.random() < 0.8 else LINEARIZABLE
                count = me.dice.randint(1, 3)
                yield Together(tuple(Read(self._op(me), mode) for _ in range(count)))
            else:
                yield MoveAway()
            yield think(me, self._think_ms)

    def finish(self, me: Process) -> Script:
        yield from insist(List(ROOT, values=True))

    def _op(self, me: Process) -> Get | Exists | List:
        key = me.dice.choice(self._keys)
        return me.dice.choice((Get(key), Exists(key), List(ROOT, values=True)))
