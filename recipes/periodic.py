"""A job that runs once in the cluster for each tick: every minute, for instance, wherever somebody is left to run it.

*What it guarantees.* Each tick has a number, the same for all, and is begun once at most, by whichever process leads:
its number is written, in one step with the check of the leader's token, before the job is called. So a leader that was
stopped, and goes on when another leads, begins nothing. The job is cancelled as soon as its process may not lead any
more. The next one in line takes over in the step in which the leader's session ends.

*What it does not.* Make each tick happen. One whose leader dies after its number was written is not run again ("at most
once"); one whose time comes while nobody leads is missed. Two jobs can overlap: that of a leader that was stopped or
cut off (until it hears of it) and the next tick's elsewhere. When a tick is due is told by the leader's wall clock: one
that is ahead ticks early, and after it the others wait until they are as far. No tick runs twice for it.

*What to do about that.* ``tick.interrupted`` tells the next job which tick has not been seen to end: let it look, and
finish. ``missed`` says what is made up for: ``"skip"`` nothing, ``"once"`` one run for all that were missed
(``tick.missed`` of them), ``"all"`` each. Write through ``tick.client``, and hand ``tick.token`` to resources
(:mod:`coord.recipes.fencing`), against the overlap.

::

    from coord.recipes.periodic import Periodic, Tick

    async def report(tick: Tick) -> None:
        print(tick.missed, tick.interrupted)  # → 0 None
        raise StopAsyncIteration  # a job that raises ends it: somebody else leads then

    try:
        await Periodic(client, "/jobs/report", every=0.5).run(report)
    except StopAsyncIteration:
        print("stopped")  # → stopped
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf
from time import time
from typing import Final, Literal, NamedTuple, NoReturn, get_args

import anyio

from coord.client import (
    Client,
    Compare,
    Create,
    InvalidRequest,
    NotFound,
    NotHeld,
    Operator,
    Set,
    StaleToken,
    Target,
    Token,
)
from coord.recipes.arguments import awaited, below, checked_client, checked_function, checked_path
from coord.recipes.election import Election, Leadership
from coord.recipes.scope import Lost

Missed = Literal["skip", "once", "all"]

LOOK_SECONDS: Final = 60.0
"""So often, at least, the wall clock is looked at: it may be set while a long wait goes by another one."""


@dataclass(frozen=True, slots=True)
class Tick:
    """One run of the job."""

    number: int
    """Greater with each tick: the time since 1970, in ``every``."""
    due: float
    """Its time, in seconds since 1970."""
    missed: int
    """So many ticks before it were never begun."""
    interrupted: int | None
    """The tick before it, if that was begun, and not seen to end."""
    token: Token
    """The leadership's: a fencing token."""
    client: Client
    """A view of the client that presents the token with each write."""
    leadership: Leadership
    """Of this process: ``held``, ``remaining()`` and ``check()`` are there."""


class State(NamedTuple):
    """What is known of ticks, in the tree. ``done <= begun``; they differ while a job runs, or if it never ended."""

    begun: int
    done: int
    every: float

    def encode(self) -> bytes:
        return f"{self.begun} {self.done} {self.every!r}".encode()

    @classmethod
    def decode(cls, value: bytes, path: str) -> "State":
        try:
            begun, done, every = value.decode().split()
            return cls(int(begun), int(done), float(every))
        except ValueError:
            raise InvalidRequest(f"what is at {path!r:.80} is not the ticks of a periodic job") from None


def following(last: int, waited: bool, now: int, missed: Missed) -> int:
    """The tick to be begun at tick ``now``, after ``last``. Pure; if it is greater than ``now``, wait for it.

    ``waited``: the one after ``last`` was waited for here. A tick that came due while nobody waited for it was missed;
    so was each but the last if several have.
    """
    if now <= last:
        return last + 1
    if now == last + 1 and waited:
        return now
    return {"skip": now + 1, "once": now, "all": last + 1}[missed]


def writing(job: str, token: Token, state: State, *, create: bool) -> tuple[Compare, Create | Set]:
    """How what is known of ticks is written: under the token. Pure.

    1. A leads, and is stopped. 2. B leads, begins tick 7, and runs it. 3. A goes on, and would begin tick 7: its token
    is not the one that is held, in the very step that would write the number.
    """
    ticks, value = below(job, "ticks"), state.encode()
    condition = Compare(Target.CLAIM_TOKEN, job, Operator.EQUAL, token.revision)
    return condition, Create(ticks, value) if create else Set(ticks, value)


class Periodic:
    """``await Periodic(client, "/jobs/report", every=60).run(job)``, in as many processes as there are.

    ``every``: seconds between ticks; all must say the same. Ticks are at whole multiples of it since 1970 (UTC).
    ``missed``: ``"skip"``, ``"once"`` or ``"all"``. ``value``: what observers of the election at ``path`` are told of
    this process. ``clock``: the wall clock, for tests.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        every: float,
        *,
        missed: Missed = "skip",
        value: bytes = b"",
        clock: Callable[[], float] = time,
    ) -> None:
        self._client = checked_client(client)
        self._path = checked_path(path, "a periodic job")
        self._ticks = below(path, "ticks")
        if isinstance(every, bool) or not isinstance(every, int | float) or not 0 < every < inf:
            raise InvalidRequest(f"a job runs every so many seconds, more than 0; not {every!r:.40}")
        if missed not in get_args(Missed):
            raise InvalidRequest(f"missed is one of {', '.join(get_args(Missed))}; not {missed!r:.40}")
        self._every = float(every)
        self._missed: Missed = missed
        self._election = Election(client, path, value)
        self._clock = clock

    async def run(self, job: Callable[[Tick], Awaitable[object]]) -> NoReturn:
        """Stand in line, and while this process leads call ``await job(tick)`` for each tick, one after the other.

        Ends by what ``job`` raises (then another process leads; but not by :class:`~coord.client.NotHeld` and
        :class:`~coord.client.StaleToken` of a leadership that is over), by :class:`~coord.client.SessionEnded`, or by
        being cancelled; a leadership that is lost in another way is stood for anew. Raises
        :class:`~coord.client.InvalidRequest` (refused) where others say another ``every``.
        """
        checked_function(job, "a job")
        raised: list[Exception] = []

        async def watched(tick: Tick) -> None:
            try:
                await awaited(job(tick), "a job")
            except Exception as error:
                if isinstance(error, NotHeld | StaleToken) and not tick.leadership.held:
                    raise _Deposed from error  # it has heard of it first
                raised.append(error)
                raise

        while True:
            try:
                async with self._election.lead(deadline=inf) as leadership:
                    await self._lead(leadership, watched)
            except (Lost, _Deposed) as error:
                if error in raised:
                    raise  # something that the job itself has lost

    async def _lead(self, leadership: Leadership, job: Callable[[Tick], Awaitable[None]]) -> None:
        state = await self._read(leadership)
        last, waited = state.begun, False
        while True:
            now = int(self._clock() // self._every)
            number = following(last, waited, now, self._missed)
            if number > now:
                last, waited = number - 1, True
                await anyio.sleep(min(max(number * self._every - self._clock(), 0.0), LOOK_SECONDS))
                continue
            tick = Tick(
                number,
                number * self._every,
                number - state.begun - 1,
                state.begun if state.done < state.begun else None,
                leadership.token,
                leadership.client,
                leadership,
            )
            state = await self._write(leadership, state._replace(begun=number))
            await job(tick)
            state = await self._write(leadership, state._replace(done=number))
            last, waited = number, False

    async def _read(self, leadership: Leadership) -> State:
        """What was begun last. Where nothing ever was, it is as if the present tick had been."""
        try:
            znode = await self._client.get(self._ticks, deadline=inf)
        except NotFound:
            now = int(self._clock() // self._every)
            return await self._write(leadership, State(now, now, self._every), create=True)
        state = State.decode(znode.value, self._ticks)
        if state.every != self._every:
            raise InvalidRequest(
                f"the job at {self._path!r:.80} runs every {state.every:g} s, and not every {self._every:g} s; for "
                "another time delete it first, or take another path"
            )
        return state

    async def _write(self, leadership: Leadership, state: State, *, create: bool = False) -> State:
        condition, write = writing(self._path, leadership.token, state, create=create)
        result = await leadership.client.multi([condition], then=[write], deadline=inf)
        if not result.succeeded:
            raise _Deposed
        return state


class _Deposed(Exception):
    """Another leads by now, and we hear of it first by what was refused."""
