"""Where a client stands: its session, its connection, and how they change. A part of
:class:`coord.client.client.Client`, whose other parts are what it is asked to do.
"""

from collections.abc import Callable
from typing import Self

from anyio.lowlevel import checkpoint

from coord.api.errors import CoordError
from coord.client.core import OVER, State
from coord.client.kept import CLIENT, KeptHere
from coord.client.link import Link


class States(KeptHere):
    """What :meth:`Standing.states` returns."""

    _instead = CLIENT

    def __init__(self, link: Link) -> None:
        self._link = link
        self._told: State | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> State:
        await checkpoint()
        if self._told in OVER:
            raise StopAsyncIteration
        self._link.check_home()
        state = self._link.state
        while state is self._told:
            await self._link.state_change()
            state = self._link.state
        self._told = state
        return state


class Standing(KeptHere):
    """Facts, which cost nothing to ask for, and news of them."""

    _instead = CLIENT

    _link: Link
    _deadline: float

    @property
    def state(self) -> State:
        """Where the client stands now. ``ENDED`` is told by the client's own clock as soon as the session may be over,
        also when nobody could be asked: after a pause of the process or a sleep of the machine it is there at once.
        """
        return self._link.state

    def states(self) -> States:
        """The states from now on: ``async for state in client.states(): …``

        It begins with the present one, and stops after the last: ``ENDED`` or ``CLOSED``, which is never
        missed. What is told is what is so when it is told, and differs from what was told before: whoever
        takes them slowly is not told of a connection that was lost and found again meanwhile (nothing else was
        lost by it). There is nothing to fill up and nothing to close; any number may look at the same time.
        """
        return States(self._link)

    def on_state(self, callback: Callable[[State], object]) -> Callable[[], None]:
        """Have ``callback(state)`` called for every state entered from now on; returns a function that ends this.

        It is called by the client's own task, soon after the state was entered, in the order of the states, none
        left out. So it should be short: while it runs nobody else does. What it raises is logged, with its
        name, and harms neither the client nor other callbacks. Raises :class:`InvalidRequest` (refused) for
        what cannot be called, and for an ``async def``: use :meth:`states` in a task for that.
        """
        return self._link.on_state(callback)

    async def wait_ended(self) -> CoordError:
        """Wait until the client is over; returns why: :class:`~coord.api.errors.SessionEnded`, most likely.

        *Cancellation* leaves nothing behind.
        """
        self._link.check_home()
        return await self._link.ended()

    def remaining(self) -> float:
        """Seconds for which the session certainly lives on, whatever happens; 0: it may be over, or is.

        It is the time that is left of the session's timeout since the last keepalive that was answered was
        *sent*, less one percent for clocks that differ: by the client's own clock, which also counts while the
        machine sleeps. While all is well it goes up and down between two thirds of the timeout and all of it.
        ``inf`` without a session.
        """
        return self._link.remaining()

    @property
    def session_id(self) -> int:
        """0 without a session."""
        return self._link.core.session

    @property
    def session_timeout(self) -> float:
        """Seconds, as granted."""
        return self._link.core.session_timeout

    @property
    def deadline(self) -> float:
        """Seconds that a call has, unless it says otherwise."""
        return self._deadline

    @property
    def member(self) -> int:
        """The member this client is connected to; 0 while it is not."""
        return self._link.core.member
