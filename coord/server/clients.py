"""The clients' connections: bytes to frames and back, and the bounds that protect the member from them."""

import secrets
import socket
from collections.abc import Callable

import trio

from coord.api.errors import CoordError, Disconnected, ProtocolError, Unavailable
from coord.limits import CLIENT_FRAME_MAX_BYTES, MemberLimits
from coord.replica.inputs import Backlog, ClientConnected, ClientLost, ClientOutput, FromClient, Input
from coord.server.sockets import Sender, close, receive
from coord.wire.cbor import DecodeError
from coord.wire.client_frames import Hello, Reads, Writes, decode_client_frame, encode_goodbye
from coord.wire.framing import FrameBuffer

GOODBYE_S = 1.0
"""For a goodbye to leave; then the connection closes anyway."""


class _Client:
    __slots__ = ("answered", "closing", "connection", "in_flight", "sender")

    def __init__(self, connection: socket.socket, sender: Sender) -> None:
        self.connection = connection
        self.sender = sender
        self.in_flight = 0
        self.answered = trio.lowlevel.ParkingLot()
        self.closing = False


class ClientNetwork:
    """Serves clients once it has a driver to serve them from; before, it says what it waits for."""

    def __init__(self, limits: MemberLimits, nursery: trio.Nursery, complain: Callable[[str], None]) -> None:
        self._limits = limits
        self._nursery = nursery
        self._complain = complain
        self._clients: dict[int, _Client] = {}
        self._next = 1
        self._put: Callable[[Input], None] | None = None
        self.waiting_for = "this member is starting"

    def serve_from(self, put: Callable[[Input], None]) -> None:
        """The replica is there."""
        self._put = put

    async def handle(self, connection: socket.socket) -> None:
        """One client's connection, to its end."""
        number, self._next = self._next, self._next + 1
        put = self._put

        def backlog(full: bool) -> None:
            if put is not None:
                put(Backlog(number, full))

        sender = Sender(connection, self._nursery, backlog)
        if put is None:
            await self._turn_away(connection, sender)
            return
        client = self._clients[number] = _Client(connection, sender)
        put(ClientConnected(number, secrets.token_bytes(16), ""))
        try:
            await self._receive_forever(number, client, put)
        except DecodeError as error:
            client.closing = True
            sender.send(encode_goodbye(ProtocolError(str(error))))
            await sender.flushed(GOODBYE_S)
        except (OSError, trio.ClosedResourceError):
            pass  # the client is gone; its session has its timeout to come back
        finally:
            self._clients.pop(number, None)
            put(ClientLost(number))
            close(connection)

    def send(self, output: ClientOutput) -> None:
        """Bytes for a client; one that does not read them is cut."""
        client = self._clients.get(output.connection)
        if client is None or client.closing:
            return
        client.sender.send(output.data)
        client.in_flight = max(client.in_flight - output.answered, 0)
        if client.answered:
            client.answered.unpark()
        if client.sender.backlog_bytes > self._limits.outbox_bytes:
            self._complain(
                f"cut client {output.connection}: it left {client.sender.backlog_bytes} bytes unread "
                "(limit outbox_bytes); it can come back and resume"
            )
            client.closing = True
            close(client.connection)
        elif output.close:
            client.closing = True
            self._nursery.start_soon(self._close_politely, client)

    async def stop(self) -> None:
        """Tell all clients that this member stops: they need not find out."""
        goodbye = encode_goodbye(Disconnected("this member is stopping; try another"))
        for client in self._clients.values():
            if not client.closing:
                client.sender.send(goodbye)
        with trio.move_on_after(GOODBYE_S):
            for client in list(self._clients.values()):
                await client.sender.flushed(GOODBYE_S)

    async def _receive_forever(self, number: int, client: _Client, put: Callable[[Input], None]) -> None:
        connection = client.connection
        buffer = FrameBuffer(CLIENT_FRAME_MAX_BYTES)
        limits = self._limits
        with trio.move_on_after(limits.handshake_ms / 1000) as handshake:
            while not (frames := buffer.feed(data := await receive(connection))):
                if not data:
                    return
        if handshake.cancelled_caught:
            raise DecodeError(f"no hello within {limits.handshake_ms} ms")
        while True:
            for raw in frames:
                frame = decode_client_frame(raw, limits)
                if isinstance(frame, Writes | Reads):
                    client.in_flight += len(frame.requests) + len(frame.refused)
                elif not isinstance(frame, Hello):
                    client.in_flight += 1
                put(FromClient(number, frame))
            while client.in_flight > limits.requests_in_flight:
                await client.answered.park()
            data = await receive(connection)
            if not data:
                return
            frames = buffer.feed(data)

    async def _turn_away(self, connection: socket.socket, sender: Sender) -> None:
        try:
            await self._say_goodbye(sender, Unavailable(f"{self.waiting_for}; try again, or another member"))
        finally:
            close(connection)

    async def _close_politely(self, client: _Client) -> None:
        await client.sender.flushed(GOODBYE_S)
        close(client.connection)

    async def _say_goodbye(self, sender: Sender, error: CoordError) -> None:
        sender.send(encode_goodbye(error))
        await sender.flushed(GOODBYE_S)
