"""A stream over TCP, in each event loop: read and written where it is known to be possible, without a task's turn.

anyio's streams do this for anybody, and at more cost: under asyncio two system calls and two turns of the loop for each
piece that arrives, under trio a turn for each that is sent: a quarter of the CPU of a program that waits for each call.

That something could not be sent is told to who reads, and at the end: the other side's last words may still be there.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final, cast

Receive = Callable[[bytes], None]

RECEIVE_BYTES: Final = 256 * 1024
"""At a time; asyncio's own choice, too."""


class AsyncioStream(asyncio.Protocol):
    """asyncio calls it when there is something to read, without a task."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._receive: Receive | None = None
        self._early = b""
        """What arrived before anybody received: no more than one piece."""
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._error: Exception | None = None
        self._room: asyncio.Future[None] | None = None
        """Set when all that was given is sent; None: it is."""

    @classmethod
    async def dial(cls, host: str, port: int) -> "AsyncioStream":
        """Connect to an address. Raises :class:`OSError`."""
        _, stream = await asyncio.get_running_loop().create_connection(cls, host, port)
        return stream

    async def carry(self, receive: Receive) -> None:
        self._receive = receive
        if self._early:
            early, self._early = self._early, b""
            receive(early)
            if not self._transport.is_closing():
                self._transport.resume_reading()
        await self._over
        if self._error is not None:
            raise self._error

    def send(self, data: bytes) -> None:
        self._transport.write(data)

    @property
    def full(self) -> bool:
        return self._room is not None

    async def sent(self) -> None:
        if self._room is not None:
            await self._room

    def close(self) -> None:
        self._transport.abort()

    # --- called by asyncio ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(0)

    def data_received(self, data: bytes) -> None:
        if self._receive is None:
            self._early += data
            self._transport.pause_reading()
            return
        if self._over.done():
            return  # who carries has yet to close
        try:
            self._receive(bytes(data))  # some loops give a bytearray
        except Exception as error:  # noqa: BLE001  # who carries raises it
            self._end(error)

    def eof_received(self) -> None:
        self._end(None)  # and not only when all has been sent to somebody who hears nothing more

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error)
        self.resume_writing()

    def pause_writing(self) -> None:
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def _end(self, error: Exception | None) -> None:
        if not self._over.done():
            self._error = error
            self._over.set_result(None)


class TrioStream:
    """A socket without trio's wrapping, whose every send is a checkpoint."""

    def __init__(self, connection: socket.socket, lowlevel: Any) -> None:
        self._connection = connection
        self._lowlevel = lowlevel
        self._left = memoryview(b"")
        self._error: OSError | None = None
        """Met in sending. The system tells it once."""

    @classmethod
    async def dial(cls, host: str, port: int) -> "TrioStream":
        """Connect to an address. Raises :class:`OSError`."""
        import trio  # not for those who use asyncio: it takes a tenth of a second

        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with trio.socket.socket(family, socket.SOCK_STREAM) as dialled:
            dialled.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await dialled.connect((host, port))
            connection = socket.socket(fileno=dialled.detach())
        connection.setblocking(False)
        return cls(connection, trio.lowlevel)

    async def carry(self, receive: Receive) -> None:
        while True:
            await self._lowlevel.wait_readable(self._connection)
            try:
                data = self._connection.recv(RECEIVE_BYTES)
            except BlockingIOError:
                continue  # readiness can be a false alarm
            if data:
                receive(data)
            elif self._error is not None:
                raise self._error
            else:
                return

    def send(self, data: bytes) -> None:
        self._left = memoryview(data)
        self._send_left()

    @property
    def full(self) -> bool:
        return bool(self._left)

    async def sent(self) -> None:
        while self._left:
            await self._lowlevel.wait_writable(self._connection)
            self._send_left()

    def close(self) -> None:
        if self._connection.fileno() >= 0:
            self._lowlevel.notify_closing(self._connection)
            self._connection.close()

    def _send_left(self) -> None:
        try:
            self._left = self._left[self._connection.send(self._left) :]
        except BlockingIOError:
            pass  # later
        except OSError as error:
            self._error = error
            self._left = memoryview(b"")
