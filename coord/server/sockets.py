"""Sockets: listening, and sending without waking a task.

What is to be sent is tried at once, where it arises, with the socket's own non-blocking ``send``; only
what the kernel does not take goes to a task. With one small frame for each of many connections this
saves a task switch for each, which is most of what a small reply costs.
"""

import contextlib
import errno
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from coord.server.config import Address, ConfigError

BACKLOG_HIGH_BYTES: Final = 1024 * 1024
BACKLOG_LOW_BYTES: Final = 256 * 1024
RECEIVE_BYTES: Final = 64 * 1024
"""At a time. More would be allocated by mmap, and given back, for every small frame."""


async def listen(address: Address, what: str) -> list[socket.socket]:
    """Listening sockets at ``address`` (one for each family that its host has). Raises :class:`ConfigError`."""
    try:
        found = await trio.socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ConfigError(f"cannot listen for {what} on {address}: {error.strerror}") from error
    sockets: list[socket.socket] = []
    for family, kind, protocol, _, where in dict.fromkeys(found):
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(where)
            listener.listen(1024)
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            for each in sockets:
                each.close()
            if error.errno == errno.EADDRINUSE:
                raise ConfigError(
                    f"cannot listen for {what} on {address}: the port is in use (by another member that still runs?)"
                ) from error
            raise ConfigError(f"cannot listen for {what} on {address}: {error.strerror}") from error
        sockets.append(listener)
    return sockets


async def accept_forever(
    listener: socket.socket,
    nursery: trio.Nursery,
    handle: Callable[[socket.socket], Awaitable[None]],
    complain: Callable[[str], None],
) -> None:
    """Give each accepted connection to ``handle``, in a task of its own."""
    wrapped = trio.socket.from_stdlib_socket(listener)
    while True:
        try:
            accepted, _ = await wrapped.accept()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                complain(f"accepting a connection failed: {error}")
                continue
            # Out of descriptors: the listener stays readable, so without a pause this would spin until some close.
            complain(f"cannot accept more connections: {error.strerror}")
            await trio.sleep(0.1)
            continue
        connection = socket.socket(fileno=accepted.detach())
        tune(connection)
        nursery.start_soon(handle, connection)


async def receive(connection: socket.socket) -> bytes:
    """What has arrived, empty at the end. Waits first: trying first, as trio's own ``recv`` does, mostly fails."""
    while True:
        await trio.lowlevel.wait_readable(connection)
        try:
            return connection.recv(RECEIVE_BYTES)
        except BlockingIOError:
            continue  # readiness can be a false alarm


def tune(connection: socket.socket) -> None:
    """No waiting for more to send; not blocking."""
    connection.setblocking(False)
    with contextlib.suppress(OSError):  # gone already, or not TCP: the next call on it will say so
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Sender:
    """The sending side of one connection. ``backlog_bytes``: accepted here, not taken by the kernel yet."""

    __slots__ = (
        "_flushing",
        "_nursery",
        "_on_backlog",
        "_parts",
        "_socket",
        "backlog_bytes",
        "broken",
        "full",
    )

    def __init__(
        self,
        connection: socket.socket,
        nursery: trio.Nursery,
        on_backlog: Callable[[bool], None] | None = None,
    ) -> None:
        self._socket = connection
        self._nursery = nursery
        self._on_backlog = on_backlog
        self._parts: deque[memoryview] = deque()
        self._flushing = False
        self.backlog_bytes = 0
        self.broken = False
        self.full = False

    def send(self, data: bytes) -> None:
        """Send, or keep for later; never waits. After an error the connection is broken, and its reader notices."""
        if self.broken:
            return
        sent = 0
        if not self._parts:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.broken = True
                return
            if sent == len(data):
                return
        self._parts.append(memoryview(data)[sent:])
        self.backlog_bytes += len(data) - sent
        if not self.full and self.backlog_bytes > BACKLOG_HIGH_BYTES:
            self._set_full(True)
        if not self._flushing:
            self._flushing = True
            self._nursery.start_soon(self._flush)

    def _set_full(self, full: bool) -> None:
        self.full = full
        if self._on_backlog is not None:
            self._on_backlog(full)

    async def _flush(self) -> None:
        try:
            while self._parts and not self.broken:
                await trio.lowlevel.wait_writable(self._socket)
                self._send_some()
        except (OSError, trio.ClosedResourceError):
            self.broken = True
        finally:
            self._flushing = False

    def _send_some(self) -> None:
        while self._parts:
            part = self._parts[0]
            try:
                sent = self._socket.send(part)
            except BlockingIOError:
                return
            self.backlog_bytes -= sent
            if sent == len(part):
                self._parts.popleft()
            else:
                self._parts[0] = part[sent:]
            if self.full and self.backlog_bytes < BACKLOG_LOW_BYTES:
                self._set_full(False)

    async def flushed(self, seconds: float) -> None:
        """Wait until all is sent, for ``seconds`` at most: for a goodbye."""
        with trio.move_on_after(seconds):
            while self._parts and not self.broken:
                await trio.lowlevel.wait_writable(self._socket)
                self._send_some()


def close(connection: socket.socket) -> None:
    """Close, and let tasks that wait on it know."""
    if connection.fileno() >= 0:
        trio.lowlevel.notify_closing(connection)
        connection.close()
