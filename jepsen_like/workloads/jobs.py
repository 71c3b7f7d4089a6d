"""Jobs: tasks that are delayed, limited, dropped, tried again and put on hold, as a queue made of claims does it.

Tries to give out what is held back, or more of a lane than is wide, or faster than its rate; to forget who waits when a
time is over, a lane has room, or a queue goes on; to lose count of how often a task was dropped; and to do half of a
step whose decisions stand within it. Judged by ``coord.jepsen_like.checkers.claims``, and in the simulator by
``sim/claiming.py``, which knows the cluster's time. What it is made of beneath, ``claims`` tries more roughly.
"""

from random import Random

from coord.api.ops import (
    Claim,
    ClaimFirst,
    ClaimInfo,
    Claims,
    Compare,
    Create,
    Delete,
    HoldBack,
    Lane,
    List,
    Multi,
    Operator,
    Release,
    Set,
    SetLanes,
    Target,
)
from coord.api.results import ClaimedFirst, Claiming, Page
from coord.jepsen_like.workloads.parts import insist, think
from coord.jepsen_like.workloads.workload import (
    AwaitGrant,
    Check,
    EndSession,
    MoveAway,
    Pause,
    Process,
    Script,
)

ROOT = "/work"
READY = f"{ROOT}/ready"
LAST_LOOKS = 4
LAST_LOOK_MS = 3_000


class Jobs:
    name = "jobs"
    checks: tuple[Check, ...] = ()

    def __init__(self, dice: Random) -> None:
        self._delay_ms = dice.choice((20, 200, 1_000))
        self._hold_ms = dice.choice((5, 30, 300))
        self._patience_ms = dice.choice((200, 2_000))
        self._rough = dice.choice((0.05, 0.15))
        rate = dice.choice((0, 0, 20, 200))
        self._shared = Lane("shared", dice.choice((0, 1, 2)), rate, dice.choice((1, 3)))
        """Of all jobs with lanes, named first or last; beside it some have a key's."""
        self._width = dice.choice((1, 1, 2))
        self._in_lanes = dice.choice((0.0, 0.5, 1.0))

    def setup(self) -> Script:
        for path in (ROOT, READY):
            yield from insist(Create(path), "exists")

    def process(self, me: Process) -> Script:
        while True:
            pick = me.dice.random()
            if not me.has_session or pick < 0.05:
                yield me.dice.choice((Claims(READY), ClaimInfo(READY)))
            elif pick < 0.05 + self._rough:
                yield from self._steer(me)
            elif pick < 0.45:
                yield self._some_job(me)
            else:
                yield from self._work(me)
            yield think(me, self._hold_ms)

    def finish(self, me: Process) -> Script:
        yield from insist(HoldBack(READY, 0))
        for number in range(LAST_LOOKS):
            yield Pause(LAST_LOOK_MS)
            # A new revision, so that the log goes on to this moment.
            yield from insist(Set(f"{ROOT}/last", b"%d" % number, create=True))
        yield from insist(Claims(READY))
        yield from insist(ClaimInfo(READY))

    def _some_job(self, me: Process) -> Multi:
        dice = me.dice
        label = me.fresh()
        path = f"{READY}/{dice.randrange(10)}-{label.decode()}"
        ops: list[Create | HoldBack | SetLanes] = [Create(path, label)]
        if dice.random() < 0.4:
            ops.append(HoldBack(path, dice.choice((self._delay_ms, self._delay_ms, None))))
        if dice.random() < self._in_lanes:
            ops.append(SetLanes(path, self._some_lanes(dice)))
        return Multi((), tuple(ops))

    def _some_lanes(self, dice: Random) -> tuple[Lane, ...]:
        key = Lane(f"key {dice.randrange(3)}", self._width)
        return dice.choice(((self._shared,), (key,), (self._shared, key), (key, self._shared), ()))

    def _work(self, me: Process) -> Script:
        dice = me.dice
        done = yield ClaimFirst(
            READY,
            dice.choice((1, 1, 4)),
            wait=dice.random() < 0.7,
            values=dice.random() < 0.5,
            label=me.fresh(),
        )
        if not isinstance(done.result, ClaimedFirst):
            return
        token = done.result.token.revision
        found = [(child.number, f"{READY}/{child.name}", token) for child in done.result.children]
        if done.result.waiting:
            claim = yield AwaitGrant(done.result.waiting, dice.randint(0, self._patience_ms))
            if claim is None:
                return
            if not claim.token:
                yield Release(claim.number)
                return
            found = [(claim.number, claim.path, claim.token)]
        for number, path, token in found:
            yield think(me, self._hold_ms)
            yield from self._end(me, number, path, token)

    def _end(self, me: Process, number: int, path: str, token: int) -> Script:
        dice = me.dice
        pick = dice.random()
        ours = Compare(Target.CLAIM_TOKEN, path, Operator.EQUAL, token)
        if pick < 0.45:
            # Done; and whoever was held back until somebody says otherwise may be let go by it, or be deleted.
            others = yield List(READY)
            names = [each.name for each in others.result.children] if isinstance(others.result, Page) else []
            other = f"{READY}/{dice.choice(names or ['none'])}"
            there = Compare(Target.EXISTS, other, Operator.EQUAL, True)
            within = Multi(
                (there,), (HoldBack(other, dice.choice((0, 0, 50))),), (Delete(other, missing_ok=True),)
            )
            yield Multi((ours,), (Delete(path), Multi((), (within,)) if dice.random() < 0.3 else within))
        elif pick < 0.75:
            again = (Set(path, me.fresh()), HoldBack(path, self._delay_ms), Release(number))
            refused = (Delete(f"{ROOT}/nowhere"),) if dice.random() < 0.15 else ()
            yield Multi((ours,), (*again, *refused))
        elif pick < 0.85:
            yield Release(number)
        elif pick < 0.93:
            yield EndSession()
        else:
            yield MoveAway()
            yield Release(number)

    def _steer(self, me: Process) -> Script:
        dice = me.dice
        pick = dice.random()
        page = yield List(READY)
        names = [each.name for each in page.result.children] if isinstance(page.result, Page) else []
        path = f"{READY}/{dice.choice(names or ['none'])}"
        if pick < 0.25:
            yield HoldBack(READY, dice.choice((50, 500)))
        elif pick < 0.35:
            yield HoldBack(READY, None)
            yield think(me, self._hold_ms)
            yield from insist(HoldBack(READY, 0))
        elif pick < 0.5:
            yield SetLanes(path, self._some_lanes(dice))
        elif pick < 0.65:
            yield HoldBack(path, dice.choice((0, 0, self._delay_ms)))
        elif pick < 0.8:
            found = yield Claim(path, wait=dice.random() < 0.7, label=me.fresh())
            if isinstance(found.result, Claiming):
                if found.result.token is None:
                    yield AwaitGrant(found.result.number, dice.randint(0, self._patience_ms))
                yield Release(found.result.number)
        elif pick < 0.9:
            yield Delete(path, subtree=True, missing_ok=True)
        else:
            info = yield Claims(READY)
            claims = getattr(info.result, "claims", ())
            if claims:
                yield Release(dice.choice(claims).number, force=True)
