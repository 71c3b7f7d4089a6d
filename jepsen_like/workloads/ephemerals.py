"""Ephemerals: claimed slots, own znodes, sequential ones; sessions that are ended, moved, and (by faults) expire.

Tries to keep an ephemeral after its session's end, to take one from a session that lives, and to end a session early
or tell its client too late. A slot is a name that many try to create: a poor man's lock.
"""

from random import Random

from coord.api.ops import Create, Delete, Exists, Get, Kind, List
from coord.api.results import Created
from coord.jepsen_like.workloads.parts import insist, think
from coord.jepsen_like.workloads.workload import Check, EndSession, MoveAway, Process, Script

ROOT = "/ephemerals"


class Ephemerals:
    name = "ephemerals"
    checks: tuple[Check, ...] = ()

    def __init__(self, dice: Random) -> None:
        self._slots = [f"{ROOT}/slot-{number}" for number in range(dice.choice((1, 3)))]
        self._think_ms = dice.choice((20, 100, 400))
        self._ending = dice.choice((0.0, 0.02, 0.1))

    def setup(self) -> Script:
        yield from insist(Create(ROOT), "exists")

    def process(self, me: Process) -> Script:
        session, mine = 0, list[str]()
        while True:
            if me.session != session:
                session, mine = me.session, []
            pick = me.dice.random()
            if pick < 0.3 or not me.has_session:
                yield me.dice.choice((List(ROOT, stats=True), Get(me.dice.choice(self._slots)), Exists(ROOT)))
            elif pick < 0.85:
                created = yield self._create(me)
                if isinstance(created.result, Created) and created.session == me.session:
                    mine.append(created.result.path)
            elif pick < 0.85 + self._ending:
                yield EndSession()
            elif pick < 0.96:
                yield MoveAway()
            while len(mine) > 5 or (mine and me.dice.random() < 0.3):
                yield Delete(mine.pop(me.dice.randrange(len(mine))))
            yield think(me, self._think_ms)

    def finish(self, me: Process) -> Script:
        yield from insist(List(ROOT, stats=True))

    def _create(self, me: Process) -> Create:
        pick = me.dice.random()
        if pick < 0.6:
            return Create(me.dice.choice(self._slots), me.fresh(), Kind.EPHEMERAL)
        if pick < 0.8:
            return Create(f"{ROOT}/own-{me.fresh().decode()}", b"", Kind.EPHEMERAL)
        return Create(f"{ROOT}/numbered-", me.fresh(), Kind.EPHEMERAL, sequential=True)
