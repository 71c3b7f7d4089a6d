"""Where a client stands, for plain threads. A part of :class:`coord.client.blocking.Client`."""

from collections.abc import Callable
from functools import partial
from typing import Self

from coord.api.errors import CoordError, Disconnected
from coord.client.blocking.loop import Loop
from coord.client.blocking.waited import Waited
from coord.client.client import Client as AsyncClient
from coord.client.core import OVER, State
from coord.client.core.conversation import CLOSED
from coord.client.kept import CLIENT, KeptHere
from coord.client.link import Link


class Change(Waited):
    """Another state than ``told``."""

    __slots__ = ("_forget", "_link", "_told")

    def __init__(self, link: Link, told: State | None) -> None:
        super().__init__()
        self._link = link
        self._told = told
        self._forget: Callable[[], None] | None = None

    def begin(self) -> None:
        if self._link.state is self._told:
            self._forget = self._link.on_state(self._entered)
        else:
            self.lock.release()

    def give_up(self) -> None:
        forget, self._forget = self._forget, None
        if forget is not None:
            forget()

    def _entered(self, state: State) -> None:
        if self._forget is not None:
            self.give_up()
            self.lock.release()


class States(KeptHere):
    """What :meth:`Standing.states` returns."""

    _instead = CLIENT

    def __init__(self, owner: object, loop: Loop, link: Link) -> None:
        self._owner = owner  # see Client
        self._loop = loop
        self._link = link
        self._told: State | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> State:
        self._loop.check_thread()
        if self._told in OVER:
            raise StopIteration
        state = self._link.state
        while state is self._told:
            self._loop.do(Change(self._link, self._told))
            state = self._link.state
        self._told = state
        return state


class Standing(KeptHere):
    """Facts, which cost nothing to ask for, and news of them."""

    _instead = CLIENT

    _owner: object
    _loop: Loop
    _client: AsyncClient

    @property
    def state(self) -> State:
        """Where the client stands now. ``ENDED`` is told by the client's own clock as soon as the session may be over,
        also when nobody could be asked: after a pause of the process or a sleep of the machine it is there at once.
        """
        return self._client.state

    def states(self) -> States:
        """The states from now on: ``for state in client.states(): …``

        It begins with the present one, and stops after the last: ``ENDED`` or ``CLOSED``, which is never missed. What
        is told is what is so when it is told, and differs from what was told before: whoever takes them slowly is
        not told of a connection that was lost and found again meanwhile (nothing else was lost by it). There is
        nothing to fill up and nothing to close; any number may look at the same time.
        """
        return States(self._owner, self._loop, self._client._link)

    def on_state(self, callback: Callable[[State], object]) -> Callable[[], None]:
        """Have ``callback(state)`` called for every state entered from now on; returns a function that ends this.

        It is called in the client's own thread, soon after the state was entered, in the order of the states, none
        left out. So it should be short: while it runs the client does nothing else, and its session is in danger. A
        blocking call in it is refused, as it would wait for itself. What it raises is logged, with its name, and
        harms neither the client nor other callbacks. Raises :class:`InvalidRequest` (refused) for what cannot be
        called, and for an ``async def``.
        """
        return self._loop.look(partial(self._client.on_state, callback))

    def wait_ended(self) -> CoordError:
        """Wait until the client is over; returns why: :class:`~coord.api.errors.SessionEnded`, most likely."""
        for _ in self.states():
            pass
        return self._client._core.failure or Disconnected(CLOSED, outcome="refused")

    def remaining(self) -> float:
        """Seconds for which the session certainly lives on, whatever happens; 0: it may be over, or is.

        It is the time that is left of the session's timeout since the last keepalive that was answered was *sent*,
        less one percent for clocks that differ: by the client's own clock, which also counts while the machine sleeps.
        While all is well it goes up and down between two thirds of the timeout and all of it. ``inf`` without a
        session.
        """
        return self._client.remaining()

    @property
    def session_id(self) -> int:
        """0 without a session."""
        return self._client.session_id

    @property
    def session_timeout(self) -> float:
        """Seconds, as granted."""
        return self._client.session_timeout

    @property
    def deadline(self) -> float:
        """Seconds that a call has, unless it says otherwise."""
        return self._client.deadline

    @property
    def member(self) -> int:
        """The member this client is connected to; 0 while it is not."""
        return self._client.member
