"""The connections between members: one in each direction of each pair, dialled by the sender.

What cannot be delivered is dropped: the replica lives with lost messages, and is told that the connection broke.

It is also told when a peer's process seems to be gone: an established connection to it ended, a new one is refused
because nobody listens there, and the connection from it has ended, too, with all that came there delivered. A link that
flickers does not look so, nor does a host that is cut off (nobody answers a dial), a full backlog (dropped), or a peer
that has hung up on this member for a reason (it listens). Should it look so all the same, it costs little: see
coord/raft/peer_down.py.

Dialling and greeting happen in trio's thread; an established connection is the driver's.
"""

import contextlib
import socket
from collections.abc import Callable, Mapping
from typing import Final

import trio

from coord.limits import MIB, PEER_FRAME_MAX_BYTES
from coord.server.config import Address
from coord.server.poller import Poller
from coord.server.sockets import close, exactly, nobody_listens, reason, send_all, tune
from coord.server.stream import Stream
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
Tell = Callable[[int], None]


class PeerNetwork:
    """Sends to and receives from the other members.

    ``receive``, ``lost`` and ``down`` are called in the driver's thread, and may be exchanged there at any time.
    """

    def __init__(
        self,
        member: int,
        addresses: Mapping[int, Address],
        poller: Poller,
        complain: Callable[[str], None],
    ) -> None:
        self._member = member
        self._addresses = dict(addresses)
        self._poller = poller
        self._complain = complain
        self._closed = False
        self._cut_to: frozenset[int] = frozenset()
        self._cut_from: frozenset[int] = frozenset()
        self._streams: dict[int, Stream] = {}
        """To each peer."""
        self._muted: dict[int, Stream] = {}
        """To each peer that is cut off: open, and nothing is said there."""
        self._incoming: dict[int, Stream] = {}
        """From each peer."""
        self._refusing: dict[int, None] = {}
        """Peers where nobody listens any more, whose last words are still to be read."""
        self._arrivals = {peer: trio.Event() for peer in self._addresses}
        """Set when a peer has dialled this member: so it is up."""
        self._encoder = MessageEncoder()
        self._complaints: dict[int, str] = {}
        self.cluster = b""
        """Empty until it is known."""
        self.receive: Receive = lambda peer, messages: None
        self.lost: Tell = lambda peer: None
        self.down: Tell = lambda peer: None

    def start(self, nursery: trio.Nursery) -> None:
        """Dial all the others, for as long as ``nursery`` lives. In trio's thread."""
        token = trio.lowlevel.current_trio_token()
        for peer in self._addresses:
            nursery.start_soon(self._dial_forever, peer, token)

    # --- in the driver's thread -----------------------------------------------------------------

    def send(self, peer: int, messages: list[PeerMessage]) -> None:
        """Send, or drop what cannot be sent now."""
        stream = self._streams.get(peer)
        if stream is None:
            return
        stream.send(*self._encoder.parts(messages))
        if stream.backlog_bytes > OUTBOX_MAX_BYTES:
            self._complain(f"member {peer} does not take what it is sent; dropping the connection")
            stream.end()

    def cut(self, to: frozenset[int], from_: frozenset[int]) -> None:
        """From now on, say nothing to some peers and hear nothing of some.

        Connections stay, in silence, as when the network drops what it is given. Those with peers that are reached
        again end: something of what was said there is missing.
        """
        for peer in (to & self._streams.keys()) - self._cut_to:
            self._muted[peer] = self._streams.pop(peer)
        for peer in (from_ & self._incoming.keys()) - self._cut_from:
            self._incoming[peer].read(False)
        healed = [self._muted[peer] for peer in self._muted.keys() - to]
        healed += [self._incoming[peer] for peer in (self._cut_from - from_) & self._incoming.keys()]
        self._cut_to, self._cut_from = to, from_
        for stream in healed:
            stream.end()

    def close(self) -> None:
        """End all connections, and whatever is still handed over. Also in trio's thread, once no other polls."""
        self._closed = True
        for stream in [*self._streams.values(), *self._muted.values(), *self._incoming.values()]:
            stream.end()

    def _send_on(self, dialled: "_Dialled") -> None:
        """From now on, what is for this peer goes here."""
        if self._closed:
            dialled.connection.close()
            return

        def take(_data: bytes) -> None:
            return  # nothing is said on a connection that this member dialled

        def ended() -> None:
            for each in (self._streams, self._muted):
                if each.get(peer) is stream:
                    del each[peer]
            self.lost(peer)
            dialled.token.run_sync_soon(dialled.over.set)

        peer = dialled.peer
        self._refusing.pop(peer, None)
        streams = self._muted if peer in self._cut_to else self._streams
        stream = streams[peer] = Stream(dialled.connection, self._poller, take, ended)
        self.lost(peer)  # what was sent before is lost; from now on it would arrive

    def _receive_from(self, greeted: tuple[int, socket.socket]) -> None:
        """From now on, what this peer says is heard."""
        peer, connection = greeted
        if self._closed:
            connection.close()
            return
        buffer = FrameBuffer(PEER_FRAME_MAX_BYTES)

        def take(data: bytes) -> None:
            try:
                for frame_type, body in buffer.feed(data):
                    if frame_type != PEER_MESSAGES:
                        raise DecodeError(f"a frame of type {frame_type} between members")
                    self.receive(peer, decode_messages(body))
            except DecodeError as error:
                self._complain(f"closed a connection on the members' port: {error}")
                stream.end()

        def ended() -> None:
            if self._incoming.get(peer) is stream:  # the other side dials again, and says there why it had to
                del self._incoming[peer]
                if peer in self._refusing:
                    self._refused_by(peer)

        self._refusing.pop(peer, None)
        before = self._incoming.get(peer)
        if before is not None:
            before.end()  # the peer has given it up; what is still on its way there is of an earlier time
        stream = self._incoming[peer] = Stream(connection, self._poller, take, ended)
        if peer in self._cut_from:
            stream.read(False)

    def _refused_by(self, peer: int) -> None:
        """An established connection to ``peer`` has ended, and nobody listens there any more."""
        self._refusing.pop(peer, None)
        if self._closed or peer in self._cut_to or peer in self._cut_from:
            return  # a member that is cut off could not know
        if peer in self._incoming:
            # 1. The leader's last entries are in this socket, unread; 2. it is said to be down; 3. they are read, and
            # it is followed again, for a whole election timeout. So the end of that connection comes first.
            self._refusing[peer] = None
            return
        self._complain(f"member {peer} is down: nobody listens at {self._addresses[peer]} any more")
        self.down(peer)

    # --- outgoing, in trio's thread -------------------------------------------------------------

    async def _dial_forever(self, peer: int, token: trio.lowlevel.TrioToken) -> None:
        retry_s = RETRY_FIRST_S
        address = self._addresses[peer]
        was_up = False
        while True:
            lasted_s = 0.0
            try:
                connection = await self._dial(address)
            except (OSError, UnicodeError) as error:  # UnicodeError: what cannot be a host's name
                if was_up and nobody_listens(error):
                    was_up = False  # told once
                    self._poller.call(self._refused_by, peer)
                self._say(peer, f"member {peer} at {address} cannot be reached: {reason(error)}")
            else:
                try:
                    welcome = await self._greet(peer, connection)
                except (OSError, DecodeError, trio.ClosedResourceError) as error:
                    self._say(peer, f"the connection to member {peer} at {address} broke: {error}")
                    welcome = False
                except trio.Cancelled:
                    close(connection)
                    raise
                if welcome:
                    retry_s = RETRY_FIRST_S
                    self._say(peer, f"connected to member {peer} at {address}")
                    dialled = _Dialled(peer, connection, token)
                    began = trio.current_time()
                    self._poller.call(self._send_on, dialled)
                    await dialled.over.wait()
                    was_up, lasted_s = True, trio.current_time() - began
                    self._say(peer, f"the connection to member {peer} broke")
                else:
                    close(connection)
            # One that has lasted is dialled again at once: either it is back, or it is down, and that is news. (A peer
            # that takes connections and drops them is not dialled as fast as it can drop.)
            with trio.move_on_after(0 if lasted_s > RETRY_MAX_S else retry_s):
                await self._arrivals[peer].wait()
            self._arrivals[peer] = trio.Event()
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
        with trio.move_on_after(HANDSHAKE_S):
            await send_all(connection, encode_peer_hello(PeerHello(self._member, peer, self.cluster)))
            refused = decode_peer_answer(await _one_frame(connection))
            if refused is not None:
                self._say(peer, f"member {peer} at {self._addresses[peer]} refuses this member: {refused}")
            return refused is None
        self._say(peer, f"member {peer} at {self._addresses[peer]} did not answer the hello")
        return False

    # --- incoming, in trio's thread -------------------------------------------------------------

    async def accepted(self, connection: socket.socket) -> None:
        """Somebody has come to the members' port."""
        handed_over = False
        try:
            with trio.move_on_after(HANDSHAKE_S):
                hello = decode_peer_hello(await _one_frame(connection))
                fault = self._fault(hello)
                if fault is None:
                    await send_all(connection, encode_peer_welcome())
                    self._poller.call(self._receive_from, (hello.member, connection))
                    handed_over = True
                    self._arrivals[hello.member].set()
                    return
                self._complain(f"refused a connection on the members' port: {fault}")
                await send_all(connection, encode_peer_refused(fault))
        except DecodeError as error:
            self._complain(f"closed a connection on the members' port: {error}")
            with contextlib.suppress(OSError), trio.move_on_after(1.0):
                await send_all(connection, encode_peer_refused(str(error)))
        except (OSError, trio.ClosedResourceError):
            pass  # the other side dials again, and says there why it had to
        finally:
            if not handed_over:
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

    def _say(self, peer: int, text: str) -> None:
        """Once for each change of mind: a peer that is down is dialled every second."""
        if self._complaints.get(peer) != text:
            self._complaints[peer] = text
            self._complain(text)


class _Dialled:
    """A connection that this member made, and how its task learns that it is over."""

    __slots__ = ("connection", "over", "peer", "token")

    def __init__(self, peer: int, connection: socket.socket, token: trio.lowlevel.TrioToken) -> None:
        self.peer = peer
        self.connection = connection
        self.token = token
        self.over = trio.Event()


async def _one_frame(connection: socket.socket) -> RawFrame:
    """The first frame, and not a byte more: what follows belongs to somebody else."""
    head = await exactly(connection, 4)
    length = int.from_bytes(head, "big")
    if not 1 <= length <= 64 * 1024:
        raise DecodeError(f"a first frame of {length} bytes: this is not a member of a coord cluster")
    [frame] = FrameBuffer(length).feed(head + await exactly(connection, length))
    return frame
