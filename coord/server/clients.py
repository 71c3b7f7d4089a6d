"""The clients' connections: bytes to frames and back, and the bounds that protect the member from them."""

import secrets
import socket
import time
from collections.abc import Callable
from typing import Final

from coord.api.errors import CoordError, Disconnected, ProtocolError, Unavailable
from coord.limits import CLIENT_FRAME_MAX_BYTES, MemberLimits
from coord.replica.inputs import Backlog, ClientConnected, ClientLost, ClientOutput, FromClient, Input
from coord.server.poller import Poller
from coord.server.sockets import close, send_all
from coord.server.stream import Stream
from coord.wire.cbor import DecodeError
from coord.wire.client_frames import Hello, Reads, Writes, decode_client_frame, encode_goodbye
from coord.wire.framing import FrameBuffer

GOODBYE_S: Final = 1.0
"""For a goodbye to leave; then the connection closes anyway."""

Put = Callable[[Input], None]


class ClientNetwork:
    """All clients of this member. In the driver's thread, but for :meth:`accepted`."""

    def __init__(self, limits: MemberLimits, poller: Poller, complain: Callable[[str], None]) -> None:
        self.limits = limits
        self.poller = poller
        self._complain = complain
        self._clients: dict[int, _Client] = {}
        self._cut_off: dict[int, _Client] = {}
        """Those that a cut keeps from being heard, or from hearing; the latter are not among ``_clients``."""
        self._cut = (False, False)
        self._next = 1
        self._put: Put | None = None
        self._stopping = False
        self._deadlines: dict[int, float] = {}
        """When a client must have said hello, or its goodbye have left."""
        self.waiting_for = "this member is starting"
        """What clients are told while there is no replica to serve them."""

    async def accepted(self, connection: socket.socket) -> None:
        """A client has come. In trio's thread."""
        if self._put is not None:
            self.poller.call(self._welcome, connection)
            return
        try:
            await send_all(
                connection,
                encode_goodbye(Unavailable(f"{self.waiting_for}; try again, or another member")),
            )
        except OSError:
            return  # it did not want to know
        finally:
            close(connection)

    def serve_from(self, put: Put) -> None:
        """The replica is there."""
        self._put = put

    def send(self, output: ClientOutput) -> None:
        """Bytes for a client; one that does not read them is cut."""
        client = self._clients.get(output.connection)
        if client is None:
            return
        client.send(output.data, output.answered)
        if client.stream.over:
            return
        backlog_bytes = client.stream.backlog_bytes
        if backlog_bytes > self.limits.outbox_bytes:
            self._complain(
                f"cut client {output.connection}: it left {backlog_bytes} bytes unread "
                "(limit outbox_bytes); it can come back and resume"
            )
            client.stream.end()
        elif output.close:
            self._end_politely(client)

    def tick(self) -> None:
        """Look at the clock: who did not say hello, whose goodbye cannot leave."""
        now = time.monotonic()
        for number, deadline in list(self._deadlines.items()):
            client = self._clients[number]
            if deadline <= now:
                del self._deadlines[number]
                if client.greeted:
                    client.stream.end()
                else:
                    self.turn_away(client, ProtocolError(f"no hello within {self.limits.handshake_ms} ms"))

    def stop(self) -> None:
        """Tell all clients that this member stops: they need not find out. Takes up to ``GOODBYE_S``."""
        self._stopping = True
        for client in list(self._clients.values()):
            self.turn_away(client, Disconnected("this member is stopping; try another"))
        deadline = time.monotonic() + GOODBYE_S
        while self._clients and time.monotonic() < deadline:
            self.poller.poll(0.05)
        self.close()

    def close(self) -> None:
        """End all connections without a word, and whatever is still handed over. Also in trio's thread, once no other
        polls.
        """
        self._stopping = True
        for client in [*self._clients.values(), *self._cut_off.values()]:
            client.stream.end()

    def cut(self, to: bool, from_: bool) -> None:
        """From now on, say nothing to the clients, or hear nothing of them, or both.

        Connections stay, in silence, as when the network drops what it is given. At the next change they end, for
        something of what was said is missing there.
        """
        for client in list(self._cut_off.values()):
            client.stream.end()
        self._cut = (to, from_)
        for client in list(self._clients.values()):
            self._keep_from(client)

    # --- for one client -------------------------------------------------------------------------

    def turn_away(self, client: "_Client", error: CoordError) -> None:
        """Say why, and hang up."""
        if client.number not in self._clients:
            client.stream.end()  # a cut: it cannot be told
            return
        client.greeted = True
        client.stream.send(encode_goodbye(error))
        self._end_politely(client)

    def greeted(self, client: "_Client") -> None:
        """Its hello came."""
        self._deadlines.pop(client.number, None)

    def ended(self, client: "_Client") -> None:
        """Its connection is closed; its session has its timeout to come back."""
        self._clients.pop(client.number, None)
        self._cut_off.pop(client.number, None)
        self._deadlines.pop(client.number, None)
        if self._put is not None:
            self._put(ClientLost(client.number))

    def _welcome(self, connection: socket.socket) -> None:
        put = self._put
        if put is None or self._stopping:
            connection.close()
            return
        number, self._next = self._next, self._next + 1
        put(ClientConnected(number, secrets.token_bytes(16), ""))
        self._deadlines[number] = time.monotonic() + self.limits.handshake_ms / 1000
        client = self._clients[number] = _Client(self, number, connection, put)
        self._keep_from(client)

    def _keep_from(self, client: "_Client") -> None:
        """What the present cut means for this client."""
        to, from_ = self._cut
        if to or from_:
            self._cut_off[client.number] = client
        if to:
            del self._clients[client.number]  # so nothing that is for it finds it
            self._deadlines.pop(client.number, None)
        if from_:
            client.hear_nothing()

    def _end_politely(self, client: "_Client") -> None:
        if client.stream.over:
            return  # its goodbye found it gone
        self._deadlines[client.number] = time.monotonic() + GOODBYE_S
        client.stream.end_when_sent()


class _Client:
    """One client's connection."""

    __slots__ = (
        "_buffer",
        "_in_flight",
        "_network",
        "_put",
        "_reads",
        "_window",
        "greeted",
        "number",
        "stream",
    )

    def __init__(self, network: ClientNetwork, number: int, connection: socket.socket, put: Put) -> None:
        self._network = network
        self._put = put
        self._buffer = FrameBuffer(CLIENT_FRAME_MAX_BYTES)
        self._in_flight = 0
        self._window = network.limits.requests_in_flight
        self._reads = True
        self.number = number
        self.greeted = False
        """Its first frame came, or it was turned away."""
        self.stream = Stream(
            connection,
            network.poller,
            self._take,
            lambda: network.ended(self),
            lambda full: put(Backlog(number, full)),
        )

    def send(self, data: bytes, answered: int) -> None:
        """Send, and note that so many of its requests were answered."""
        self.stream.send(data)
        self._in_flight = max(self._in_flight - answered, 0)
        if not self._reads:
            self._choose()

    def hear_nothing(self) -> None:
        """From now on, whatever it is told."""
        self._window = -1
        self._choose()

    def _take(self, data: bytes) -> None:
        try:
            for raw in self._buffer.feed(data):
                frame = decode_client_frame(raw, self._network.limits)
                if isinstance(frame, Writes | Reads):
                    self._in_flight += len(frame.requests) + len(frame.refused)
                elif not isinstance(frame, Hello):
                    self._in_flight += 1
                self._put(FromClient(self.number, frame))
                if not self.greeted:
                    self.greeted = True
                    self._network.greeted(self)
        except DecodeError as error:
            self._network.turn_away(self, ProtocolError(str(error)))
            return
        self._choose()

    def _choose(self) -> None:
        """Back-pressure is not reading: not from one that has too much under way."""
        reads = self._in_flight <= self._window
        if reads != self._reads and not self.stream.over:
            self._reads = reads
            self.stream.read(reads)
