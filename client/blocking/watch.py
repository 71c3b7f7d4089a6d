"""A watch, as a plain thread holds it."""

from collections import deque
from collections.abc import Callable
from threading import TIMEOUT_MAX, Condition
from types import TracebackType
from typing import Final, Self

import anyio

from coord.api.errors import DeadlineExceeded, Disconnected, InvalidRequest
from coord.api.events import Event
from coord.client.blocking.loop import Loop
from coord.client.blocking.waited import Stay
from coord.client.core.conversation import CLOSED
from coord.client.kept import WATCH, KeptHere
from coord.client.watch import Watch as AsyncWatch
from coord.limits import MIB

AHEAD: Final = 256
AHEAD_BYTES: Final = MIB
"""So many events (and bytes of their values) are taken before their user asks, so that he need not wait for the
client's thread for each. More is taken once half of them are gone."""


class Ahead:
    """Events on their way from the client's thread, which holds this, to its user's, which holds the watch."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._news = Condition()
        """Guards what follows."""
        self._events: deque[tuple[Event, int | None]] = deque()
        """Each with the revision from which another watch would tell it, too."""
        self._bytes = 0
        self._next_revision: int | None = None
        """As it was when the last of the events had been taken."""
        self._room: anyio.Event | None = None
        """The client's thread waits for it."""
        self._left = self._over = False
        self._error: Exception | None = None

    # --- for the user's thread ---

    @property
    def next_revision(self) -> int | None:
        with self._news:
            return self._events[0][1] if self._events else self._next_revision

    def take(self, timeout: float | None) -> Event | None:
        """The next event; ``None``: the watch is closed. Raises what ended it, or that it took too long."""
        with self._news:
            if not self._news.wait_for(lambda: self._events or self._over or self._left, timeout):
                raise DeadlineExceeded(f"there was no event in {timeout:g} s", outcome="refused")
            if self._left:
                return None
            if not self._events:
                raise self._error or Disconnected(CLOSED, outcome="refused")
            event, _ = self._events.popleft()
            self._bytes -= len(event.value or b"")
            room = self._room
            if room is not None and not self._is_full(0.5):
                self._room = None
                self._loop.hand(room.set)
            return event

    def leave(self) -> None:
        """Nothing more is taken, by anybody."""
        with self._news:
            self._left = True
            self._news.notify_all()

    def _is_full(self, share: float) -> bool:
        return len(self._events) >= AHEAD * share or self._bytes >= AHEAD_BYTES * share

    # --- in the client's thread ---

    async def fill(self, events: AsyncWatch) -> None:
        with self._news:
            self._next_revision = events.next_revision
        error: Exception = Disconnected(CLOSED, outcome="refused")
        try:
            async for event in events:
                room = self._add(event, events.next_revision)
                if room is not None:
                    await room.wait()
        except Exception as failure:  # noqa: BLE001  it is raised in the user's thread
            error = failure
        finally:
            with self._news:
                self._over, self._error = True, error
                self._news.notify_all()

    def _add(self, event: Event, next_revision: int | None) -> anyio.Event | None:
        """What to wait for before another one is taken."""
        with self._news:
            self._events.append((event, self._next_revision))
            self._bytes += len(event.value or b"")
            self._next_revision = next_revision
            self._news.notify()
            if self._is_full(1.0):
                self._room = anyio.Event()
            return self._room


class Watch(KeptHere):
    """Events of a part of the tree: ``with client.watch("/a") as events: for event in events: …``

    What :class:`coord.client.Watch` promises. Several threads may take events from one watch: each gets others. One
    that waits for an event is told when another thread leaves the block: its loop ends.
    """

    _instead = WATCH

    def __init__(self, owner: object, loop: Loop, make: Callable[[], AsyncWatch], seconds: float) -> None:
        self._owner = owner  # see Client
        self._loop = loop
        self._make = make
        self._seconds = seconds
        self._ahead = Ahead(loop)
        self._stay: Stay[AsyncWatch] | None = None

    @property
    def next_revision(self) -> int | None:
        """The first revision of which not every event has been taken: ``from_revision`` for another watch that goes
        on here. ``None`` before the watch is open.
        """
        self._loop.check_process()
        return self._ahead.next_revision

    def next(self, timeout: float | None = None) -> Event:
        """The next event; waits for it for ``timeout`` seconds, or for as long as it takes.

        Raises what the loop over a watch raises, :class:`~coord.api.errors.DeadlineExceeded` (refused: no event is
        lost) when none came in time, and :class:`~coord.api.errors.InvalidRequest` when the watch is closed.
        """
        if timeout is not None:
            if not isinstance(timeout, int | float) or timeout != timeout:
                raise InvalidRequest(f"a timeout is a number of seconds, not {timeout!r:.40}")
            timeout = min(timeout, TIMEOUT_MAX)
        event = self._take(timeout)
        if event is None:
            raise InvalidRequest("the watch is closed: its block was left")
        return event

    def __enter__(self) -> Self:
        if self._stay is not None:
            raise InvalidRequest("a watch is opened once; make another one with client.watch")
        self._stay = self._loop.enter(self._make, self._ahead.fill, self._seconds)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._stay is not None and not self._loop.forked:
            self._ahead.leave()
            self._loop.leave(self._stay)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        event = self._take(None)
        if event is None:
            raise StopIteration
        return event

    def _take(self, timeout: float | None) -> Event | None:
        if self._stay is None:
            raise InvalidRequest("the watch is not open: enter it with 'with'")
        self._loop.check_thread()
        return self._ahead.take(timeout)
