"""Leader election: :mod:`coord.recipes.election`, for plain threads.

*What it guarantees.* As there; but the block of a thread cannot be cancelled. When the leadership may be over
``leadership.lost`` (a ``threading.Event``) is set, before the service makes anybody else leader because this client was
silent; ``leadership.check()`` raises from then on, and so does the end of the block
(:class:`~coord.recipes.scope.Lost`). After :meth:`Election.hand_over` ``lost`` is set, too, and the end of the block
raises nothing.

*What it does not.* Stop a thread that does not look; and what is said there.

*What to do about that.* Look at ``leadership.lost``, or wait on it; write through ``leadership.client``, and hand
``leadership.token`` to resources, as it is said there.

::

    from coord.client.blocking import connect
    from coord.recipes.blocking.election import Election

    with connect() as client:
        election = Election(client, "/leaders/billing", b"10.0.0.7:9000")
        with election.observe() as leaders:
            with election.lead(deadline=5) as leadership:
                print(leadership.held, leadership.lost.is_set())  # → True False
                print(election.leader().value, election.candidates())  # → b'10.0.0.7:9000' ()
            for leader in leaders:
                print(leader and leader.value)
                if leader is not None:
                    break
            # → None
            # → b'10.0.0.7:9000'
            print(leaders.next(timeout=5))  # → None
"""

import threading
from functools import partial
from math import inf
from types import TracebackType
from typing import Self

import anyio

from coord.client import DeadlineExceeded, InvalidRequest
from coord.client.blocking import Client, Grant, Token
from coord.recipes.blocking.bridge import Bridge, Inside
from coord.recipes.blocking.held import patience
from coord.recipes.election import Candidate, Leader
from coord.recipes.election import Election as AsyncElection
from coord.recipes.election import Leaders as AsyncLeaders
from coord.recipes.election import Leadership as AsyncLeadership
from coord.recipes.scope import Lost

__all__ = ["Candidate", "Election", "Leader", "Leaders", "Leadership", "Leading", "Lost"]


class Election:
    """``Election(client, "/leaders/a", value)``: to stand in it (:meth:`lead`), or to look at it.

    ``value`` is what observers are told of this candidate, up to 1 KiB: where it can be reached, for instance. It is
    that of its claim, and stays as it was; what changes while it leads has its place in a znode below a fence.
    """

    def __init__(self, client: Client, path: str, value: bytes = b"") -> None:
        self._bridge = Bridge(client)
        self._client = client
        self._election = AsyncElection(self._bridge.client, path, value)
        self.path = self._election.path

    def lead(self, *, deadline: float | None = None) -> "Leading":
        """Stand, wait, and lead for the length of a block: ``with election.lead() as leadership: …``

        ``deadline``: seconds to wait for the leadership (0: lead at once, or not at all);
        :class:`~coord.client.DeadlineExceeded` (refused) when it did not come in time; then, and after Ctrl-C, this is
        no candidate any more. To resign, leave the block.
        """
        return Leading(self._client, self._election, deadline)

    def observe(self, *, deadline: float | None = None) -> "Leaders":
        """The present leader and each later one: ``with election.observe() as leaders: for leader in leaders: …``;
        ``None``: nobody leads. No session is needed.
        """
        return Leaders(self._client, self._election, deadline)

    def leader(self, *, deadline: float | None = None) -> Leader | None:
        """Who leads now."""
        return self._bridge.run(partial(self._election.leader, deadline=deadline), deadline)

    def candidates(self, *, deadline: float | None = None) -> tuple[Candidate, ...]:
        """Who waits to lead, the first in line first. (Of a thousand and more, those that came or went meanwhile may be
        missed or told.)
        """
        return self._bridge.run(partial(self._election.candidates, deadline=deadline), deadline)

    def hand_over(self, leadership: "Leadership", to: int | str, *, deadline: float | None = None) -> None:
        """Make a candidate leader, in one step and out of order: at no time does nobody lead.

        ``to``: its number, or what its client calls itself (the first in line of that name). ``leadership`` is over
        then, and its block is to be left; that raises nothing. Raises :class:`~coord.client.NotFound` (refused) when
        there is no such candidate and :class:`~coord.client.NotHeld` (refused) when the leadership is over; in both
        cases nothing has changed.
        """
        work = partial(self._election.hand_over, leadership._leadership, to, deadline=deadline)
        self._bridge.run(work, deadline)


class Leadership:
    """What a leader has, in its block."""

    def __init__(self, client: Client, leadership: AsyncLeadership, lost: threading.Event) -> None:
        self._leadership = leadership
        self.lost = lost
        """Set as soon as it may be over, other than by the end of its block."""
        self.grant = Grant(Bridge(client), leadership.grant)
        self.path = leadership.path
        self.token: Token = leadership.token
        """The fencing token."""
        self.value = leadership.value
        self.client = client.fenced(self.token)
        """A view of the client that presents the token with each write."""

    def __repr__(self) -> str:
        return repr(self._leadership)

    @property
    def number(self) -> int:
        """The claim's."""
        return self._leadership.number

    @property
    def held(self) -> bool:
        """Whether it is certain that nobody else leads now. Any thread may ask."""
        return self._leadership.held

    def remaining(self) -> float:
        """Seconds for which that is certain, whatever happens to the connection."""
        return self._leadership.remaining()

    def check(self) -> None:
        """Raise :class:`~coord.client.NotHeld` or :class:`~coord.client.SessionEnded` unless it is ``held``."""
        self._leadership.check()


class Leading:
    """What :meth:`Election.lead` returns; entered once."""

    def __init__(self, client: Client, election: AsyncElection, deadline: float | None) -> None:
        self._client = client
        self._deadline = deadline
        self._inside: Inside[AsyncLeadership] = Inside(
            Bridge(client), partial(election.lead, deadline=deadline), "a leadership's block", stands=True
        )

    def __enter__(self) -> Leadership:
        leadership = self._inside.enter(patience(self._deadline))
        return Leadership(self._client, leadership, self._inside.lost)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._inside.leave(exc_type, exc, traceback)


class Leaders:
    """What :meth:`Election.observe` returns. To be taken from by one thread."""

    def __init__(self, client: Client, election: AsyncElection, deadline: float | None) -> None:
        self._bridge = Bridge(client)
        self._deadline = deadline
        self._inside: Inside[AsyncLeaders] = Inside(
            self._bridge, partial(election.observe, deadline=deadline), "an observation"
        )

    def next(self, timeout: float | None = None) -> Leader | None:
        """The next leader, ``None``: nobody leads any more; waits for it for ``timeout`` seconds, or for as long as it
        takes.

        Raises :class:`~coord.client.DeadlineExceeded` (refused: nothing is lost) when nothing changed in time.
        """
        try:
            return self._next(inf if timeout is None else timeout)
        except StopAsyncIteration:
            raise InvalidRequest("the observation is closed: its block was left") from None

    def _next(self, seconds: float) -> Leader | None:
        leaders = self._inside.value

        async def work() -> Leader | None:
            with anyio.move_on_after(seconds):
                return await anext(leaders)
            raise DeadlineExceeded(f"the leader has not changed in {seconds:g} s", outcome="refused")

        return self._bridge.run(work, seconds)

    def __enter__(self) -> Self:
        self._inside.enter(self._deadline)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._inside.leave(exc_type, exc, traceback)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Leader | None:
        try:
            return self._next(inf)
        except StopAsyncIteration:
            raise StopIteration from None
