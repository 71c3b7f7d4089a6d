"""Elections, as ``coord.recipes.election`` makes them: candidates, leaders that write below a fence, observers.

Tries to have two leaders with a valid token: leaders resign, hand over to one in the midst of the line, end their
session, move, and stand still; and some go on writing with a token that was theirs. And to have an observer tell a
leader that was none, or a former one after a later.

That there is one leader at a time is judged by ``coord.jepsen_like.checkers`` (``claims``, ``exclusion``), that nobody
else writes by ``fences``; here it is judged what observers tell, who put it together with the recipe's own ``Fold``,
and what readers of the fenced register see.
"""

from collections.abc import Generator, Sequence
from functools import partial
from random import Random
from typing import Any

from coord.api.events import CLAIMED, RELEASED, event_of
from coord.api.ops import Claim, Claims, Create, Fence, FencedWrite, Get, Release, Set, WatchScope
from coord.api.results import Claiming, ClaimPage
from coord.api.tokens import Token
from coord.jepsen_like.checkers.log import Log
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Note, Record
from coord.jepsen_like.workloads.fences import QUIET_MS, check_tokens_grow
from coord.jepsen_like.workloads.parts import insist, think
from coord.jepsen_like.workloads.workload import (
    AwaitGrant,
    Check,
    EndSession,
    MoveAway,
    Pause,
    Process,
    Say,
    Script,
    Step,
    Unwatch,
    Wait,
    Watch,
)
from coord.recipes.election import Fold, Leader

ROOT = "/elections"
LEADER = f"{ROOT}/leader"
AREA = f"{ROOT}/area"
REGISTER = f"{AREA}/register"
OBSERVED = "leaders are as observers tell them"


def check_observed(records: Sequence[Record]) -> list[Violation]:
    """Each observer tells leaders with tokens that grow; and, by the log, who led at the revision that it names."""
    led = _led(records)
    found: list[Violation] = []
    greatest: dict[int, tuple[int, int]] = {}
    for place, each in enumerate(records):
        if not isinstance(each, Note) or each.what != "leader":
            continue
        revision, token = each.facts["revision"], each.facts["token"]
        before, before_place = greatest.get(each.process, (0, -1))
        if token and token < before:
            what = f"the leader of token {token} is told after that of {before}"
            found.append(Violation(OBSERVED, what, (before_place, place)))
        greatest[each.process] = max((before, before_place), (token, place))
        if led and led.get(revision, token) != token:
            what = f"the leader of token {token} is told at revision {revision}, where it is that of {led[revision]}"
            found.append(Violation(OBSERVED, what, (place,)))
    return found


def _led(records: Sequence[Record]) -> dict[int, int]:
    """Revision -> the token of who led after it (0: nobody); of the revisions at which it changed. Empty: no log."""
    log = Log(records)
    led: dict[int, int] = {}
    number = token = 0
    for revision in sorted(log.of_claims):
        touched = False
        for kind, path, _, _, _, request, _ in log.of_claims[revision]:
            if path != LEADER:
                continue
            if kind == CLAIMED:
                number, token, touched = request, revision, True
            elif kind == RELEASED and request == number:
                number, token, touched = 0, 0, True
        if touched:
            led[revision] = token
    return led


class Elections:
    name = "elections"
    checks: tuple[Check, ...] = (check_observed, partial(check_tokens_grow, register=REGISTER))

    def __init__(self, dice: Random) -> None:
        self._term_ms = dice.choice((5, 30, 300))
        self._patience_ms = dice.choice((100, 1_000, 5_000))
        self._late = dice.choice((0.1, 0.4))
        self._observers = dice.choice((0.1, 0.3))

    def setup(self) -> Script:
        for path in (ROOT, LEADER, AREA):
            yield from insist(Create(path), "exists")
        yield from insist(Fence(AREA, LEADER), "stale_token")

    def process(self, me: Process) -> Script:
        observes = me.dice.random() < self._observers or not me.has_session
        former = 0
        while True:
            if observes:
                yield from self._observe(me)
            elif me.dice.random() < 0.1:
                yield Get(REGISTER)
            else:
                former = yield from self._lead(me, former)
                if me.dice.random() < 0.5:
                    continue  # it stands again at once, while others wait
            yield think(me, self._term_ms)

    def finish(self, me: Process) -> Script:
        yield Pause(QUIET_MS)
        yield from insist(Get(REGISTER), "not_found")

    # --- to lead ---

    def _lead(self, me: Process, former: int) -> Generator[Step, Any, int]:
        """One term, if it comes to that; the token, for later."""
        done = yield Claim(LEADER, wait=True, label=me.fresh(), create=True)
        if former and me.dice.random() < self._late:
            yield self._write(me, former)  # it still believes so
        if not isinstance(done.result, Claiming):
            return former
        number = done.result.number
        claim = yield AwaitGrant(number, me.dice.randint(0, self._patience_ms))
        if claim is None:
            return former
        if not claim.token:
            yield Release(number)
            return former
        for _ in range(me.dice.randint(1, 4)):
            yield self._write(me, claim.token)
            yield think(me, self._term_ms)
        pick = me.dice.random()
        if pick < 0.5:
            to = yield from self._some_candidate(me)
            yield Release(number, to)
        elif pick < 0.6:
            yield EndSession()
        elif pick < 0.7:
            yield MoveAway()
            yield self._write(me, claim.token)
            yield Release(number)
        else:
            yield Release(number)
        return int(claim.token)

    def _some_candidate(self, me: Process) -> Generator[Step, Any, int]:
        """Anyone who waits; 0: nobody, and it resigns."""
        page = yield Claims(LEADER, WatchScope.ZNODE)
        waiting = _rows(page.result, held=False)
        return me.dice.choice(waiting).number if waiting else 0

    def _write(self, me: Process, token: int) -> FencedWrite:
        return FencedWrite(((1, token),), Set(REGISTER, b"%d %s" % (token, me.fresh()), create=True))

    # --- to observe ---

    def _observe(self, me: Process) -> Script:
        """As ``coord.recipes.election.Leaders``: read once, and watch from there on; after a gap anew."""
        page = yield Claims(LEADER, WatchScope.ZNODE)
        if not isinstance(page.result, ClaimPage) or page.revision is None or page.result.more:
            return
        leaders = [
            Leader(row.number, row.token, row.label, row.session, row.client)
            for row in _rows(page.result, held=True)
        ]
        fold = Fold(leaders[-1] if leaders else None, page.revision, 1)
        yield self._tell(fold)
        watched = yield Watch(LEADER, "znode+claims", page.revision + 1)
        for _ in range(me.dice.randint(1, 50)):
            if watched.over is not None:
                return
            for told in (yield Wait(watched, self._patience_ms)):
                before = fold.leader
                for change in told.changes:
                    fold.apply(event_of(change, told.revision, 0))
                if fold.leader != before:
                    yield self._tell(fold)
        yield Unwatch(watched)

    def _tell(self, fold: Fold) -> Say:
        token: Token | None = None if fold.leader is None else fold.leader.token
        return Say("leader", {"revision": fold.revision, "token": 0 if token is None else token.revision})


def _rows(page: Any, held: bool) -> list[Any]:
    if not isinstance(page, ClaimPage):
        return []
    return [row for row in page.claims if (row.token is not None) == held]
