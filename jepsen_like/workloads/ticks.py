"""Periodic jobs, as ``coord.recipes.periodic`` runs them: each tick is begun once at most, whoever leads.

Leaders begin ticks by the recipe's own ``following``, ``State`` and ``writing``: the number, on condition of the
leader's token. Tries to have a tick begun twice: by leaders that lose their session, move, stand still, or resign
without a word and go on; by wall clocks that differ, and are set back; by requests whose outcome nobody knows. What is
judged are the jobs that were called, which coord knows nothing of.
"""

from collections.abc import Generator, Sequence
from itertools import pairwise
from random import Random
from typing import Any

from coord.api.ops import Claim, Create, FencedWrite, Get, Multi, Release
from coord.api.results import Claiming, MultiResult, Znode
from coord.api.tokens import Token
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Note, Record
from coord.jepsen_like.workloads.fences import QUIET_MS
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
)
from coord.recipes.periodic import Missed, State, following, writing

JOB = "/ticks"
TICKS = f"{JOB}/ticks"
EVERY = 1.0
PROMISE = "each tick once"


def check_ticks(records: Sequence[Record]) -> list[Violation]:
    """No tick's job is called twice, and a later leader's ticks are later ones."""
    found: list[Violation] = []
    by_number: dict[int, tuple[int, int]] = {}
    for place, each in enumerate(records):
        if not isinstance(each, Note) or each.what != "tick":
            continue
        number, token = each.facts["number"], each.facts["token"]
        before = by_number.setdefault(number, (token, place))
        if before[1] != place:
            found.append(Violation(PROMISE, f"tick {number} was begun twice", (before[1], place)))
    ticks = sorted((number, token, place) for number, (token, place) in by_number.items())
    for former, later in pairwise(ticks):
        if later[1] < former[1]:
            what = f"tick {later[0]} is of the token {later[1]}, and the tick {former[0]} before it of {former[1]}"
            found.append(Violation(PROMISE, what, (former[2], later[2])))
    return found


class Ticks:
    name = "ticks"
    checks: tuple[Check, ...] = (check_ticks,)

    def __init__(self, dice: Random) -> None:
        self._missed: Missed = dice.choice(("skip", "once", "all"))
        self._job_ms = dice.choice((5, 50, 500))
        self._patience_ms = dice.choice((100, 1_000, 5_000))
        self._term = dice.choice((3, 10, 30))
        self._skew = dice.choice((0, 1, 5))
        """Ticks by which wall clocks may differ from the true time, to both sides."""

    def setup(self) -> Script:
        yield from insist(Create(JOB), "exists")

    def process(self, me: Process) -> Script:
        while True:
            if me.has_session:
                yield from self._stand(me)
            else:
                yield Get(TICKS)
            self._let_time_pass(me)
            yield think(me, self._job_ms)

    def finish(self, me: Process) -> Script:
        yield Pause(QUIET_MS)
        yield from insist(Get(TICKS), "not_found")

    def _stand(self, me: Process) -> Script:
        done = yield Claim(JOB, wait=True, label=me.fresh(), create=True)
        if not isinstance(done.result, Claiming):
            return
        number = done.result.number
        claim = yield AwaitGrant(number, me.dice.randint(0, self._patience_ms))
        if claim is None:
            return
        if claim.token:
            yield from self._lead(me, number, claim.token)
        yield Release(number)

    def _lead(self, me: Process, claim: int, token: int) -> Script:
        state = yield from self._read(me, token)
        if state is None:
            return
        last, waited = state.begun, False
        for _ in range(me.dice.randint(1, self._term)):
            self._let_time_pass(me)
            number = following(last, waited, self._now(me), self._missed)
            if number > self._now(me):
                last, waited = number - 1, True
                yield think(me, self._job_ms)
                continue
            if me.dice.random() < 0.05:
                # It goes on as if nothing had happened: the token is to keep it from doing harm.
                yield me.dice.choice((EndSession(), MoveAway(), Release(claim)))
            state = yield from self._write(me, token, state._replace(begun=number))
            if state is None:
                return
            yield Say("tick", {"number": number, "token": token})
            yield think(me, self._job_ms)  # the job
            state = yield from self._write(me, token, state._replace(done=number))
            if state is None:
                return
            last, waited = number, False

    def _read(self, me: Process, token: int) -> Generator[Step, Any, State | None]:
        done = yield Get(TICKS)
        if isinstance(done.result, Znode):
            return State.decode(done.result.value, TICKS)
        if done.error != "not_found":
            return None
        now = self._now(me)
        return (yield from self._write(me, token, State(now, now, EVERY), create=True))

    def _write(
        self, me: Process, token: int, state: State, create: bool = False
    ) -> Generator[Step, Any, State | None]:
        """``None``: it did not happen, or nobody knows; the job is not called then."""
        condition, change = writing(JOB, Token(1, token), state, create=create)
        write = Multi((condition,), (change,))
        done = yield FencedWrite(((1, token),), write)
        return state if isinstance(done.result, MultiResult) and done.result.succeeded else None

    # --- wall clocks ---

    def _let_time_pass(self, me: Process) -> None:
        me.facts["ticks"] = me.facts.get("ticks", 1_000) + me.dice.choice((0, 0, 1, 1, 3))

    def _now(self, me: Process) -> int:
        """By a clock that is set anew all the time."""
        return int(me.facts.get("ticks", 1_000)) + me.dice.randint(-self._skew, self._skew)
