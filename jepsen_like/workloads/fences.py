"""Fences: a subtree that only who presents the current token of a lock may write, and clients that try it otherwise.

Tries to get a stale write past a fence: with the token of an earlier grant, with one that was handed over by another
client, with none; by a set, by a multi, by the deletion of what contains the fence; by a client that stood still. And
to have a current one refused. ``coord.jepsen_like.checkers.fences`` judges by the log; the check here needs none: what
holders write carries their token, so a reader sees the tokens grow.
"""

from collections.abc import Sequence
from random import Random
from typing import Any

from coord.api.ops import (
    Claim,
    ClaimSettings,
    Create,
    Delete,
    Fence,
    FencedWrite,
    Get,
    Multi,
    Op,
    Release,
    Set,
)
from coord.api.results import Claiming, Znode
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Operation, Record
from coord.jepsen_like.workloads.parts import insist, think
from coord.jepsen_like.workloads.workload import (
    AwaitGrant,
    Check,
    EndSession,
    MoveAway,
    Pause,
    Process,
    Script,
    Together,
)

ROOT = "/fenced"
LOCK = f"{ROOT}/lock"
DATA = f"{ROOT}/area/data"
REGISTER = f"{DATA}/register"
PROMISE = "tokens seen grow"
QUIET_MS = 10_000
"""Before the last look: what nobody waits for any more is given back meanwhile."""

Presented = tuple[tuple[int, int], ...]


def check_tokens_grow(records: Sequence[Record], register: str = REGISTER) -> list[Violation]:
    """Linearizable reads of the register, one after the other in time, see tokens that do not fall."""
    reads: list[tuple[int, int, int, int]] = []
    for place, each in enumerate(records):
        if not isinstance(each, Operation) or each.mode != "linearizable" or each.returned_ns is None:
            continue
        if isinstance(each.result, Znode) and each.result.path == register:
            reads.append((each.called_ns, each.returned_ns, int(each.result.value.split()[0]), place))
    reads.sort()
    ends = sorted((returned, token, place) for _, returned, token, place in reads)
    greatest, greatest_place, at = 0, -1, 0
    for called, _, token, place in reads:
        while ends[at][0] < called:
            if ends[at][1] > greatest:
                greatest, greatest_place = ends[at][1], ends[at][2]
            at += 1
        if token < greatest:
            what = f"{register} has a value of the token {token}, after one of {greatest} was read"
            return [Violation(PROMISE, what, (greatest_place, place))]
    return []


class Fences:
    name = "fences"
    checks: tuple[Check, ...] = (check_tokens_grow,)

    def __init__(self, dice: Random) -> None:
        self._hold_ms = dice.choice((5, 30, 300))
        self._patience_ms = dice.choice((100, 1_000, 5_000))
        self._stale = dice.choice((0.1, 0.3))
        self._delay_ms = dice.choice((0, 0, 200))

    def setup(self) -> Script:
        for path in (ROOT, LOCK, f"{ROOT}/area"):
            yield from insist(Create(path), "exists")
        yield from insist(ClaimSettings(LOCK, 1, self._delay_ms))
        yield from insist(Create(DATA), "exists", "stale_token")
        yield from insist(Fence(DATA, LOCK), "stale_token")

    def process(self, me: Process) -> Script:
        while True:
            pick = me.dice.random()
            if not me.has_session or pick < 0.2:
                yield Get(REGISTER)
            elif pick < 0.2 + self._stale:
                yield from self._try(me)
            elif pick < 0.97:
                yield from self._hold(me)
            else:
                yield me.dice.choice((EndSession(), MoveAway()))
            yield think(me, self._hold_ms)

    def finish(self, me: Process) -> Script:
        yield Pause(QUIET_MS)
        yield from insist(Get(REGISTER), "not_found")

    def _hold(self, me: Process) -> Script:
        done = yield Claim(LOCK, wait=True, label=me.fresh(), create=True)
        if not isinstance(done.result, Claiming):
            return
        number = done.result.number
        claim = yield AwaitGrant(number, me.dice.randint(0, self._patience_ms))
        if claim is None:
            return
        if not claim.token:
            yield Release(number)
            return
        token = ((1, claim.token),)
        self._known(me).append(token)
        for _ in range(me.dice.randint(1, 4)):
            yield FencedWrite(token, self._some_write(me, claim.token))
            yield think(me, self._hold_ms)
        if me.dice.random() < 0.8:
            write = FencedWrite(token, self._some_write(me, claim.token))
            # On one connection, in this order: the last one comes too late.
            yield Together((Release(number), write)) if me.dice.random() < 0.3 else Release(number)

    def _try(self, me: Process) -> Script:
        """With a token that somebody had, or has; or with none."""
        known = self._known(me)
        token: Presented = me.dice.choice(known) if known and me.dice.random() < 0.8 else ()
        if known and me.dice.random() < 0.3:
            token = known[-1]
        write = self._some_write(me, token[0][1] if token else 0)
        if token:
            yield FencedWrite(token, write)
        else:
            yield write

    def _some_write(self, me: Process, token: int) -> Any:
        dice = me.dice
        value = b"%d %s" % (token, me.fresh())
        pick = dice.random()
        op: Op
        if pick < 0.5:
            op = Set(REGISTER, value, create=True, parents=True)
        elif pick < 0.65:
            op = Multi(
                (),
                (
                    Set(REGISTER, value, create=True, parents=True),
                    Set(f"{DATA}/{dice.randrange(3)}", value, create=True),
                ),
            )
        elif pick < 0.75:
            op = Create(f"{DATA}/n-", value, sequential=True)
        elif pick < 0.85:
            op = Delete(f"{ROOT}/area" if dice.random() < 0.5 else DATA, subtree=True)
        elif pick < 0.9:
            op = Delete(REGISTER)
        elif pick < 0.95:
            op = Fence(DATA, LOCK)
        else:
            op = Create(f"{DATA}/{dice.randrange(3)}", value, parents=True)
        return op

    def _known(self, me: Process) -> list[Presented]:
        """Tokens go from hand to hand, behind coord's back."""
        return me.facts.setdefault("tokens", [])  # type: ignore[no-any-return]
