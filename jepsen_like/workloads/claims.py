"""Claims: several clients over few znodes, in every way in which one can be had, waited for, handed on and lost.

Tries to grant to one who came later, to grant more than fits, to grant to who is no more, to forget who waits, and to
let two clients believe that they hold the same. It is judged by ``coord.jepsen_like.checkers``: ``claims``,
``exclusion``, and ``watches`` for what a client hears of its own claims.

Who holds keeps it for a while; then it releases, hands over, deletes the znode, ends its session, or moves and forgets.
Jobs are children of one znode that come and go: each is claimed by ``claim_first``, and done by its deletion.
"""

from collections.abc import Generator
from dataclasses import replace
from random import Random
from typing import Any

from coord.api.ops import (
    Claim,
    ClaimFirst,
    ClaimInfo,
    Claims,
    ClaimSettings,
    Compare,
    Create,
    Delete,
    Multi,
    Operator,
    Release,
    Set,
    Target,
    WatchScope,
)
from coord.api.results import ClaimedFirst, Claiming, ClaimPage, MultiResult
from coord.jepsen_like.workloads.parts import insist, think
from coord.jepsen_like.workloads.workload import (
    AwaitGrant,
    Check,
    EndSession,
    MoveAway,
    Pause,
    Process,
    Read,
    Script,
    Step,
    Together,
    Watch,
)

ROOT = "/claims"
JOBS = f"{ROOT}/jobs"
LAST_LOOKS = 4
LAST_LOOK_MS = 3_000
"""After the faults: delays end, sessions expire, and what is left over is granted."""


class ClaimsWorkload:
    name = "claims"
    checks: tuple[Check, ...] = ()

    def __init__(self, dice: Random) -> None:
        self._paths = [f"{ROOT}/{number}" for number in range(dice.choice((1, 1, 2, 4)))]
        self._capacity = dice.choice((1, 1, 1, 2, 5))
        self._delay_ms = dice.choice((0, 0, 50, 1_000))
        self._shared = dice.choice((0.0, 0.0, 0.3))
        self._jobs = dice.choice((0.0, 0.2, 0.6))
        self._hold_ms = dice.choice((5, 30, 300))
        self._patience_ms = dice.choice((50, 1_000, 5_000))
        self._rough = dice.choice((0.0, 0.05, 0.2))
        """How often something is forced, deleted, or a session ended."""
        self._crowd = dice.choice((1, 1, 3, 20))
        """So many claims of one process at a time, at most."""

    def setup(self) -> Script:
        for path in (ROOT, JOBS, *self._paths):
            yield from insist(Create(path), "exists")
        for path in self._paths:
            yield from insist(ClaimSettings(path, self._capacity, self._delay_ms))

    def process(self, me: Process) -> Script:
        if me.dice.random() < 0.3:
            yield Watch(ROOT, me.dice.choice(("subtree+claims", "children+claims")))
        while True:
            pick = me.dice.random()
            if not me.has_session or pick < 0.1:
                yield self._some_look(me)
            elif pick < 0.1 + self._rough:
                yield from self._something_rough(me)
            elif me.dice.random() < self._jobs:
                yield from self._work(me)
            elif pick < 0.35 and len(self._paths) > 1:
                yield from self._several(me)
            elif pick < 0.38 and self._crowd > 1:
                yield from self._many(me)
            else:
                yield from self._one(me)
            yield think(me, self._hold_ms)

    def finish(self, me: Process) -> Script:
        for number in range(LAST_LOOKS):
            yield Pause(LAST_LOOK_MS)
            # A new revision, so that the log goes on to this moment.
            yield from insist(Set(f"{ROOT}/last", b"%d" % number, create=True))
        yield from insist(Claims(ROOT))
        for path in self._paths:
            yield from insist(ClaimInfo(path))

    # --- one claim after the other ---

    def _one(self, me: Process) -> Script:
        path = me.dice.choice(self._paths)
        done = yield self._some_claim(me, path)
        if not isinstance(done.result, Claiming):
            return
        number = done.result.number
        if done.result.token is None:
            claim = yield AwaitGrant(number, me.dice.randint(0, self._patience_ms))
            if claim is None:
                return
            if not claim.token and me.dice.random() < 0.2:
                return  # it goes on waiting, and will be granted to nobody who looks
        yield from self._hold(me, path, number)

    def _hold(self, me: Process, path: str, number: int) -> Script:
        yield think(me, self._hold_ms)
        if me.dice.random() < 0.2:
            yield ClaimInfo(path)
        pick = me.dice.random()
        if pick < 0.15:
            to = yield from self._another(me, path)
            yield Release(number, to)
        elif pick < 0.2:
            yield Together((Release(number), self._some_claim(me, path)))
        elif pick < 0.2 + self._rough / 2:
            yield EndSession()
        elif pick < 0.3 + self._rough / 2:
            yield MoveAway()
            yield Release(number)
        else:
            yield Release(number)

    def _another(self, me: Process, path: str) -> Generator[Step, Any, int]:
        """The number of a claim that waits, of somebody, mostly there; 0: none does."""
        page = yield Claims(ROOT) if me.dice.random() < 0.2 else Claims(path, WatchScope.ZNODE)
        if isinstance(page.result, ClaimPage):
            waiting = [each.number for each in page.result.claims if each.token is None]
            if waiting:
                return int(me.dice.choice(waiting))
        return 0

    def _some_claim(self, me: Process, path: str) -> Claim:
        dice = me.dice
        some = Claim(
            path,
            wait=dice.random() < 0.75,
            shared=dice.random() < self._shared,
            units=dice.randint(1, self._capacity),
            label=me.fresh(),
            create=dice.random() < 0.7,
        )
        # Who wants all of it says how much it believes that to be.
        return replace(some, capacity=self._capacity) if some.units == self._capacity else some

    # --- several ---

    def _several(self, me: Process) -> Script:
        """Two locks at once, or none; and given back at once."""
        paths = me.dice.sample(self._paths, 2)
        claims = tuple(Claim(path, label=me.fresh(), create=True) for path in paths)
        free = Compare(Target.CLAIM_COUNT, paths[0], Operator.EQUAL, 0)
        done = yield Multi((free,) if me.dice.random() < 0.5 else (), claims)
        if done.outcome == "unknown":
            yield EndSession()  # whatever it claimed is not wanted
        if not isinstance(done.result, MultiResult) or not done.result.succeeded:
            return
        numbers = [each.number for each in done.result.results if isinstance(each, Claiming)]
        yield think(me, self._hold_ms)
        if me.dice.random() < 0.5:
            yield Multi((), tuple(Release(number) for number in numbers))
        else:
            yield Together(tuple(Release(number) for number in numbers))

    def _many(self, me: Process) -> Script:
        """Many claims of one client, which exclude each other, too."""
        path = me.dice.choice(self._paths)
        count = me.dice.randint(2, self._crowd)
        done = yield Together(tuple(Claim(path, wait=True, label=me.fresh()) for _ in range(count)))
        numbers = [each.result.number for each in done if isinstance(each.result, Claiming)]
        if me.dice.random() < self._rough:
            yield EndSession()
            return
        while numbers:
            if me.dice.random() < 0.7:
                yield AwaitGrant(numbers[0], me.dice.randint(0, self._patience_ms))
            yield Release(numbers.pop(0 if me.dice.random() < 0.8 else -1))

    # --- jobs ---

    def _work(self, me: Process) -> Script:
        dice = me.dice
        if dice.random() < 0.4:
            yield Create(f"{JOBS}/j-", me.fresh(), sequential=True)
            return
        done = yield ClaimFirst(
            JOBS,
            dice.choice((1, 1, 3)),
            wait=dice.random() < 0.6,
            values=dice.random() < 0.5,
            label=me.fresh(),
        )
        if not isinstance(done.result, ClaimedFirst):
            return
        found = [(child.number, f"{JOBS}/{child.name}") for child in done.result.children]
        if done.result.waiting:
            claim = yield AwaitGrant(done.result.waiting, dice.randint(0, self._patience_ms))
            if claim is None:
                return
            found = [(claim.number, claim.path)]
            if not claim.token:
                yield Release(claim.number)
                return
        yield think(me, self._hold_ms)
        for number, path in found:
            # Done: the job goes, and the claim with it. Or somebody else has it next.
            yield Delete(path) if dice.random() < 0.7 else Release(number)

    # --- what nobody likes ---

    def _something_rough(self, me: Process) -> Script:
        dice = me.dice
        path = dice.choice(self._paths)
        pick = dice.random()
        if pick < 0.25:
            yield Delete(path, subtree=dice.random() < 0.5)
        elif pick < 0.4:
            yield Create(path)
        elif pick < 0.6:
            page = yield Claims(path, WatchScope.ZNODE)
            if isinstance(page.result, ClaimPage) and page.result.claims:
                yield Release(dice.choice(page.result.claims).number, force=dice.random() < 0.6)
        elif pick < 0.8:
            yield ClaimSettings(path, dice.choice((1, self._capacity, 3)), self._delay_ms)
        elif pick < 0.9:
            yield EndSession()
        else:
            yield MoveAway()

    def _some_look(self, me: Process) -> Read:
        op = me.dice.choice((Claims(ROOT), Claims(ROOT, limit=2), ClaimInfo(me.dice.choice(self._paths))))
        return Read(op, "at_least", me.revision) if me.dice.random() < 0.3 else Read(op)
