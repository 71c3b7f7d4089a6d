"""Sockets before there is a conversation: listening, accepting, and the few bytes of a greeting. In trio's thread."""

import contextlib
import errno
import socket
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from coord.server.config import Address, ConfigError

KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 6))
"""Seconds of silence before the kernel asks, between its questions; and how many go unanswered."""


async def listen(address: Address, what: str) -> list[socket.socket]:
    """Listening sockets at ``address`` (one for each family that its host has). Raises :class:`ConfigError`."""
    try:
        found = await trio.socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "that is no host's name"
        raise ConfigError(f"cannot listen for {what} on {address}: {reason}") from error
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


def tune(connection: socket.socket) -> None:
    """No waiting for more to send; not blocking."""
    connection.setblocking(False)
    with contextlib.suppress(OSError):  # gone already, or not TCP: the next call on it will say so
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # One whose other host is gone without a word would otherwise stay for ever.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, seconds in KEEPALIVE:
            connection.setsockopt(socket.IPPROTO_TCP, name, seconds)


async def exactly(connection: socket.socket, count: int) -> bytes:
    """The next ``count`` bytes, and not one more. Raises :class:`ConnectionResetError` at the end."""
    data = b""
    while len(data) < count:
        await trio.lowlevel.wait_readable(connection)
        try:
            more = connection.recv(count - len(data))
        except BlockingIOError:
            continue
        if not more:
            raise ConnectionResetError("closed during the handshake")
        data += more
    return data


async def send_all(connection: socket.socket, data: bytes) -> None:
    """Send a few bytes to somebody new."""
    view = memoryview(data)
    while view:
        try:
            view = view[connection.send(view) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(connection)


def close(connection: socket.socket) -> None:
    """Close, and let tasks that wait on it know."""
    if connection.fileno() >= 0:
        trio.lowlevel.notify_closing(connection)
        connection.close()


def nobody_listens(error: OSError | UnicodeError) -> bool:
    """Whether the host itself has said so to a dial, at each address that its name stands for.

    trio gives the errors in a group.
    """
    group = error.__cause__
    return isinstance(group, ExceptionGroup) and group.split(ConnectionRefusedError)[1] is None


def reason(error: OSError | UnicodeError) -> str:
    """In words."""
    return (isinstance(error, OSError) and error.strerror) or str(error)
