"""One established connection, in the driver's thread: read when it can be, written at once or when it can be.

What is to be sent is tried where it arises, with the socket's own non-blocking ``send``; only what the kernel does
not take waits here.
"""

import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from coord.server.poller import READS, WRITES, Poller

RECEIVE_BYTES: Final = 64 * 1024
"""At a time. More would be allocated by mmap, and given back, for every small frame."""

PARTS_MAX: Final = 1024
"""That one call takes (IOV_MAX of Linux)."""

BACKLOG_HIGH_BYTES: Final = 1024 * 1024
BACKLOG_LOW_BYTES: Final = 256 * 1024


class Stream:
    """Bytes both ways. Whatever ends it, ``ended`` is called, once, with the socket closed."""

    __slots__ = (
        "_closing",
        "_connection",
        "_ended",
        "_events",
        "_on_backlog",
        "_parts",
        "_poller",
        "_reads",
        "_take",
        "backlog_bytes",
        "full",
        "over",
    )

    def __init__(
        self,
        connection: socket.socket,
        poller: Poller,
        take: Callable[[bytes], None],
        ended: Callable[[], None],
        on_backlog: Callable[[bool], None] | None = None,
    ) -> None:
        """``take`` gets what arrives; ``on_backlog`` hears when much waits to be sent, and when that is over."""
        self._connection = connection
        self._poller = poller
        self._take = take
        self._ended = ended
        self._on_backlog = on_backlog
        self._parts: deque[memoryview] = deque()
        self._reads = False
        self._closing = False
        self._events = 0
        self.backlog_bytes = 0
        """Accepted here, not taken by the kernel yet."""
        self.full = False
        self.over = False
        self.read(True)

    def read(self, reads: bool) -> None:
        """Take what arrives, or leave it to pile up at the other side."""
        self._reads = reads
        self._watch()

    def send(self, *parts: bytes) -> None:
        """Send, or keep for later; never waits."""
        if self.over or self._closing:
            return
        sent = 0
        if not self._parts:
            try:
                sent = self._tried(parts)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.end()
                return
        for part in parts:
            if sent >= len(part):
                sent -= len(part)
                continue
            self._parts.append(memoryview(part)[sent:])
            self.backlog_bytes += len(part) - sent
            sent = 0
        if not self._parts:
            return
        if not self.full and self.backlog_bytes > BACKLOG_HIGH_BYTES:
            self._set_full(True)
        self._watch()

    def _tried(self, parts: tuple[bytes, ...]) -> int:
        return (
            self._connection.send(parts[0])
            if len(parts) == 1
            else self._connection.sendmsg(parts[:PARTS_MAX])
        )

    def end_when_sent(self) -> None:
        """Read and accept no more; end once everything has left."""
        self._closing = True
        self._watch()
        if not self._parts:
            self.end()

    def end(self) -> None:
        """Close it now. Harmless the second time."""
        if self.over:
            return
        self.over = True
        self._watch()
        self._connection.close()
        ended = self._ended
        # They lead back to who has this stream: a cycle, and frozen long ago (garbage.py), so it would stay for ever.
        self._take, self._ended, self._on_backlog = _take_nothing, _over, None
        ended()

    def _watch(self) -> None:
        events = 0
        if not self.over:
            if self._reads and not self._closing:
                events |= READS
            if self._parts:
                events |= WRITES
        if events == self._events:
            return
        if not events:
            self._poller.unwatch(self._connection)
        elif self._events:
            self._poller.change(self._connection, events, self._ready)
        else:
            self._poller.watch(self._connection, events, self._ready)
        self._events = events

    def _ready(self, events: int) -> None:
        if events & WRITES:
            self._flush()
        if events & READS and self._events & READS:
            self._receive()

    def _receive(self) -> None:
        try:
            data = self._connection.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return  # readiness can be a false alarm
        except OSError:
            data = b""
        if data:
            self._take(data)
        else:
            self.end()

    def _flush(self) -> None:
        parts = self._parts
        while parts:
            part = parts[0]
            try:
                sent = self._connection.send(part)
            except BlockingIOError:
                break
            except OSError:
                self.end()
                return
            self.backlog_bytes -= sent
            if sent < len(part):
                parts[0] = part[sent:]
                break
            parts.popleft()
        if self.full and self.backlog_bytes < BACKLOG_LOW_BYTES:
            self._set_full(False)
        if not parts and self._closing:
            self.end()
        else:
            self._watch()

    def _set_full(self, full: bool) -> None:
        self.full = full
        if self._on_backlog is not None:
            self._on_backlog(full)


def _take_nothing(_: bytes) -> None:
    return


def _over() -> None:
    return
