"""The watches of one client: opened, told, opened again. Sans IO.

The point from which a watch goes on after its connection broke is ``told + 1``: everything through ``told`` is in
its buffer, or was taken. Three things say so, on the connection on which the watch is open:

- the reply to its opening: it tells everything after that reply's revision;
- its own events: all of one revision come together;
- any other reply that comes after that of its opening: a member sends the events of a revision before any reply
  that shows it, and holds replies back while a watch is still being told the past.

Other watches' events say nothing: one may be live while another is still far back. And the replies to other
watches' openings say nothing either, they are not held back.

A watch whose buffer is full is paused: closed at the member, and opened again from ``told + 1`` once its user
has taken half. The members' history is the larger buffer. Each opening has a new number, so events that were
under way when a watch was closed find nobody.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any

from coord.api.errors import CoordError
from coord.api.events import Event, event_of
from coord.client.core.request import Request
from coord.client.core.settings import CoreSettings
from coord.wire.client_frames import EventGroup

EVENT_WEIGHT = 64
"""Counted for each buffered event, besides its path and value."""


class Watching:
    """One watch. Ended once ``error`` is set, or ``closed``.

    Invariants: ``number`` is 0 exactly while it is not open (nor being opened) on the present connection;
    the revisions in ``buffer`` do not decrease, and none is after ``told``.
    """

    __slots__ = (
        "buffer",
        "buffer_bytes",
        "closed",
        "context",
        "error",
        "from_revision",
        "lost_at",
        "number",
        "opened",
        "opening",
        "path",
        "paused",
        "scope",
        "shown_before",
        "told",
    )

    def __init__(
        self, path: str, scope: int, from_revision: int | None, opening: Request, context: Any
    ) -> None:
        self.path = path
        self.scope = scope
        self.from_revision = from_revision
        """As the user asked; ``None``: what comes after the opening."""
        self.opening = opening
        """Done when the watch was opened for the first time, or could not be."""
        self.context = context
        """The user's own."""
        self.number = 0
        self.opened = False
        """A member has answered the opening, on the present connection."""
        self.told: int | None = None
        """Everything through this revision was told; ``None`` before the first opening."""
        self.shown_before = 0
        """What replies of this connection had shown when this watch's opening was answered."""
        self.paused = False
        self.lost_at: float | None = None
        """Since when it is not open for want of a connection; ``None`` while it is open, and before."""
        self.closed = False
        self.error: CoordError | None = None
        self.buffer: deque[Event] = deque()
        self.buffer_bytes = 0

    @property
    def ended(self) -> bool:
        return self.closed or self.error is not None

    @property
    def next_revision(self) -> int | None:
        """The first revision to ask for at the next opening."""
        return self.from_revision if self.told is None else self.told + 1

    @property
    def resume_revision(self) -> int | None:
        """The first revision of which not every event has been taken; ``None`` before the first opening."""
        return self.buffer[0].revision if self.buffer else None if self.told is None else self.told + 1

    def heard(self, number: int, revision: int) -> None:
        """A reply of ``revision`` to what was asked while the watch was open as ``number``.

        If it still is, the reply came on the same connection, and everything through its revision was told before it.
        This counts where :attr:`shown_before` is of no help: when replies had shown as much before the watch
        was opened.
        """
        if number and self.opened and self.number == number and self.told is not None:
            self.told = max(self.told, revision)

    def take(self) -> Event:
        """The next event of the buffer, which must not be empty."""
        event = self.buffer.popleft()
        self.buffer_bytes -= _weight(event)
        return event


class Watches:
    """All watches of a client, and those open on the present connection by their numbers."""

    def __init__(self, settings: CoreSettings) -> None:
        self._settings = settings
        self._all: dict[Watching, None] = {}
        self._open: dict[int, Watching] = {}
        self._last_number = 0

    def __iter__(self) -> Iterator[Watching]:
        return iter(list(self._all))

    def add(self, watch: Watching) -> None:
        self._all[watch] = None

    def remove(self, watch: Watching) -> int:
        """It is of no more concern: the number it had on this connection, or 0."""
        self._all.pop(watch, None)
        return self.shut(watch)

    def begin(self, watch: Watching) -> int:
        """It is to be opened on this connection: the number for it."""
        self._last_number += 1
        watch.number = self._last_number
        watch.opened = watch.paused = False
        self._open[watch.number] = watch
        return watch.number

    def opened(self, watch: Watching, revision: int, shown: int) -> None:
        """The member will tell everything after ``revision``; its replies have shown ``shown``."""
        watch.opened = True
        watch.lost_at = None
        watch.told = revision if watch.told is None else max(watch.told, revision)
        watch.shown_before = shown

    def shut(self, watch: Watching) -> int:
        """It is no longer open on this connection: the number it had, or 0."""
        number, watch.number = watch.number, 0
        watch.opened = False
        self._open.pop(number, None)
        return number

    def get(self, number: int) -> Watching | None:
        return self._open.get(number)

    def tell(self, group: EventGroup, woken: dict[Watching, None]) -> list[Watching]:
        """Buffer the events of one revision; returns the watches that have enough for now."""
        revision, wall_ms, events = group
        touched: dict[Watching, None] = {}
        for change, numbers in events:
            event: Event | None = None
            for number in numbers:
                watch = self._open.get(number)
                if watch is None:
                    continue  # closed, while this was on its way
                event = event or event_of(change, revision, wall_ms)
                watch.buffer.append(event)
                watch.buffer_bytes += _weight(event)
                touched[watch] = None
        full = []
        for watch in touched:
            watch.told = revision
            if self._is_full(watch, 1.0):
                full.append(watch)
        woken.update(touched)
        return full

    def has_room(self, watch: Watching) -> bool:
        """A paused watch may go on."""
        return not self._is_full(watch, 0.5)

    def _is_full(self, watch: Watching, share: float) -> bool:
        bounds = self._settings
        return len(watch.buffer) > bounds.watch_buffer * share or (
            watch.buffer_bytes > bounds.watch_buffer_bytes * share
        )

    def told(self, watch: Watching, shown: int) -> int | None:
        """Everything through this revision was told, also by what this connection's replies have shown."""
        if watch.told is not None and watch.opened and shown > watch.shown_before:
            return max(watch.told, shown)
        return watch.told

    def disconnected(self, shown: int, now: float) -> None:
        """None is open any more; each knows from where to go on."""
        for watch in list(self._open.values()):
            watch.told = self.told(watch, shown)
            if watch.opened:
                watch.lost_at = now
            self.shut(watch)


def _weight(event: Event) -> int:
    return EVENT_WEIGHT + len(event.path) + len(event.value or b"")
