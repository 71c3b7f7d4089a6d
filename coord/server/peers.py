"""The connections between members: one in each direction of each pair, dialled by the sender.

What cannot be delivered is dropped: the replica lives with lost messages, and is told that the connection broke.
"""

import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import trio

from coord.limits import MIB, PEER_FRAME_MAX_BYTES
from coord.server.config import Address
from coord.server.sockets import Sender, close, receive, tune
from coord.wire.cbor import DecodeError
from coord.wire.framing import FrameBuffer, RawFrame
from coord.wire.peer_frames import (
    PEER_MESSAGES,
    MessageEncoder,
    PeerHello,
    PeerMessage,
    decode_messages,
    decode_peer_answer,
    decode_peer_hello,
    encode_peer_hello,
    encode_peer_refused,
    encode_peer_welcome,
)

OUTBOX_MAX_BYTES: Final = 64 * MIB
"""For a peer that does not read. Beyond: the connection is cut, and what was in it is lost."""

HANDSHAKE_S: Final = 5.0
RETRY_FIRST_S: Final = 0.05
RETRY_MAX_S: Final = 1.0
USER_TIMEOUT_MS: Final = 3_000
"""Sent and not acknowledged by the other host for so long: the connection is dead (TCP_USER_TIMEOUT)."""

Receive = Callable[[int, list[PeerMessage]], None]
Lost = Callable[[int], None]


class PeerNetwork:
    """Sends to and receives from the other members; ``receive`` and ``lost`` may be exchanged at any time."""

    def __init__(
        self,
        member: int,
        addresses: Mapping[int, Address],
        nursery: trio.Nursery,
        complain: Callable[[str], None],
    ) -> None:
        self._member = member
        self._addresses = dict(addresses)
        self._nursery = nursery
        self._complain = complain
        self._senders: dict[int, Sender] = {}
        self._sockets: dict[int, socket.socket] = {}
        self._encoder = MessageEncoder()
        self._complaints: dict[int, str] = {}
        self.cluster = b""
        """Empty until it is known."""
        self.receive: Receive = lambda peer, messages: None
        self.lost: Lost = lambda peer: None

    def start(self) -> None:
        """Dial all the others, for as long as the nursery lives."""
        for peer in self._addresses:
            self._nursery.start_soon(self._dial_forever, peer)

    def send(self, peer: int, messages: list[PeerMessage]) -> None:
        """Send, or drop what cannot be sent now."""
        sender = self._senders.get(peer)
        if sender is None:
            return
        sender.send(self._encoder.frame(messages))
        if sender.backlog_bytes > OUTBOX_MAX_BYTES:
            self._complain(f"member {peer} does not take what it is sent; dropping the connection")
            sender.broken = True
        if sender.broken:
            self._drop(peer)

    # --- outgoing -------------------------------------------------------------------------------

    async def _dial_forever(self, peer: int) -> None:
        retry_s = RETRY_FIRST_S
        while True:
            try:
                connection = await self._dial(self._addresses[peer])
            except OSError as error:
                self._say(
                    peer, f"member {peer} at {self._addresses[peer]} cannot be reached: {_reason(error)}"
                )
            else:
                try:
                    if await self._greet(peer, connection):
                        retry_s = RETRY_FIRST_S
                        self._say(peer, f"connected to member {peer} at {self._addresses[peer]}")
                        self._senders[peer] = Sender(connection, self._nursery)
                        self._sockets[peer] = connection
                        self.lost(peer)  # what was sent before is lost; from now on it would arrive
                        await _until_closed(connection)
                        self._say(peer, f"the connection to member {peer} broke")
                except (OSError, DecodeError, trio.ClosedResourceError) as error:
                    self._say(
                        peer, f"the connection to member {peer} at {self._addresses[peer]} broke: {error}"
                    )
                finally:
                    self._drop(peer)
                    close(connection)
                self.lost(peer)
            await trio.sleep(retry_s)
            retry_s = min(retry_s * 2, RETRY_MAX_S)

    async def _dial(self, address: Address) -> socket.socket:
        with trio.move_on_after(HANDSHAKE_S):
            stream = await trio.open_tcp_stream(address.host, address.port)
            connection = socket.socket(fileno=stream.socket.detach())
            tune(connection)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
            return connection
        raise TimeoutError("no answer")

    async def _greet(self, peer: int, connection: socket.socket) -> bool:
        Sender(connection, self._nursery).send(encode_peer_hello(PeerHello(self._member, peer, self.cluster)))
        with trio.move_on_after(HANDSHAKE_S):
            raw = await _one_frame(connection)
            refused = decode_peer_answer(raw)
            if refused is not None:
                self._say(peer, f"member {peer} at {self._addresses[peer]} refuses this member: {refused}")
            return refused is None
        self._say(peer, f"member {peer} at {self._addresses[peer]} did not answer the hello")
        return False

    def _drop(self, peer: int) -> None:
        self._senders.pop(peer, None)
        connection = self._sockets.pop(peer, None)
        if connection is not None:
            close(connection)

    # --- incoming -------------------------------------------------------------------------------

    async def handle(self, connection: socket.socket) -> None:
        """One incoming connection, to its end."""
        sender = Sender(connection, self._nursery)
        try:
            with trio.move_on_after(HANDSHAKE_S) as limit:
                hello = decode_peer_hello(await _one_frame(connection))
            if limit.cancelled_caught:
                return
            fault = self._fault(hello)
            if fault is not None:
                self._complain(f"refused a connection on the members' port: {fault}")
                sender.send(encode_peer_refused(fault))
                await sender.flushed(1.0)
                return
            sender.send(encode_peer_welcome())
            await self._receive_forever(hello.member, connection)
        except DecodeError as error:
            self._complain(f"closed a connection on the members' port: {error}")
            sender.send(encode_peer_refused(str(error)))
        except (OSError, trio.ClosedResourceError):
            return  # the other side dials again, and says there why it had to
        finally:
            close(connection)

    def _fault(self, hello: PeerHello) -> str | None:
        if hello.to != self._member:
            return (
                f"this is member {self._member}, not {hello.to}: is the list of members the same everywhere?"
            )
        if hello.member not in self._addresses:
            return f"member {hello.member} is not in the list of members of member {self._member}"
        if hello.cluster and self.cluster and hello.cluster != self.cluster:
            return (
                f"member {hello.member} is of cluster {hello.cluster.hex()}, member {self._member} of "
                f"{self.cluster.hex()}: one of them has the data folder of another cluster"
            )
        return None

    async def _receive_forever(self, peer: int, connection: socket.socket) -> None:
        buffer = FrameBuffer(PEER_FRAME_MAX_BYTES)
        while data := await receive(connection):
            for frame_type, body in buffer.feed(data):
                if frame_type != PEER_MESSAGES:
                    raise DecodeError(f"a frame of type {frame_type} between members")
                self.receive(peer, decode_messages(body))

    def _say(self, peer: int, text: str) -> None:
        """Once for each change of mind: a peer that is down is dialled every second."""
        if self._complaints.get(peer) != text:
            self._complaints[peer] = text
            self._complain(text)


async def _one_frame(connection: socket.socket) -> RawFrame:
    """The first frame, and not a byte more: what follows belongs to somebody else."""
    wrapped = trio.socket.from_stdlib_socket(connection)
    head = await _exactly(wrapped.recv, 4)
    length = int.from_bytes(head, "big")
    if not 1 <= length <= 64 * 1024:
        raise DecodeError(f"a first frame of {length} bytes: this is not a member of a coord cluster")
    [frame] = FrameBuffer(length).feed(head + await _exactly(wrapped.recv, length))
    return frame


async def _exactly(receive: Callable[[int], Awaitable[bytes]], count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = await receive(count - len(data))
        if not more:
            raise ConnectionResetError("closed during the handshake")
        data += more
    return data


async def _until_closed(connection: socket.socket) -> None:
    """Nothing is received on a connection that this member dialled, but its end."""
    while await receive(connection):
        pass


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
