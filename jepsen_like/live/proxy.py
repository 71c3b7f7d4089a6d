"""A TCP proxy for one directed link: what the network can do to a connection, without root and without iptables.

A link passes bytes on as its *mode* says, and the mode can be changed while connections are up. Between two members
each direction has a connection of its own (dialled by the sender), so cutting one link is a one-way partition. On
a client's link both lanes matter: requests go ``there``, replies come ``back``.

No mode invents, repeats or reorders bytes within a connection: TCP would not.
"""

import socket
import struct
from dataclasses import dataclass
from random import Random
from typing import Final

import trio

CHUNK_BYTES: Final = 64 * 1024
DRIP_S: Final = 0.01
_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Forward:
    """As a network that works."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Connections are reset, and new ones at once."""


@dataclass(frozen=True, slots=True)
class BlackHole:
    """Connections stay up, and what is sent disappears. When it ends, those that lost something are reset: the stream
    has a hole, and TCP would not go on over one."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing arrives until it ends, and then all of it, late: what a short outage is under TCP."""


@dataclass(frozen=True, slots=True)
class Delay:
    """Each piece waits for ``least_ms`` to ``most_ms``; what comes meanwhile goes with the next one."""

    least_ms: int
    most_ms: int


@dataclass(frozen=True, slots=True)
class Drip:
    """A thin line: so many bytes in each 10 ms."""

    bytes_each: int


@dataclass(frozen=True, slots=True)
class Break:
    """Each connection ends after at most ``within_bytes`` more, in the middle of a frame as likely as not: reset, or
    ``politely`` closed."""

    within_bytes: int
    politely: bool


Mode = Forward | Cut | BlackHole | Hold | Delay | Drip | Break

THERE, BACK = "there", "back"
BOTH: Final = (THERE, BACK)


class _Broken(Exception):
    """This connection ends now. ``politely``: closed, not reset."""

    def __init__(self, politely: bool) -> None:
        super().__init__()
        self.politely = politely


class _Connection:
    """Two sockets and what has been done to them."""

    def __init__(self, near: trio.SocketStream, far: trio.SocketStream, scope: trio.CancelScope) -> None:
        self.near, self.far, self.scope = near, far, scope
        self.lost_bytes = False
        self.breaks_in: dict[str, int] = {}  # lane -> bytes until Break strikes

    def reset(self) -> None:
        for stream in (self.near, self.far):
            _reset_on_close(stream)
        self.scope.cancel()


class Link:
    """One link, from ``source`` to ``target`` (member numbers, 0: the clients). Listens on ``port`` once :meth:`listen`
    was called, and passes on to ``to_port`` on this machine."""

    def __init__(self, source: int, target: int, to_port: int, dice: Random) -> None:
        self.source, self.target, self.to_port = source, target, to_port
        self.port = 0
        self._connections_count = 0
        self._dice = dice
        self._modes: dict[str, Mode] = {THERE: Forward(), BACK: Forward()}
        self._changed = trio.Event()
        self._connections: dict[int, _Connection] = {}
        self._listener: trio.SocketListener | None = None

    async def listen(self) -> None:
        """Take a free port."""
        [self._listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = self._listener.socket.getsockname()[1]

    async def close(self) -> None:
        """Give the port back, if :meth:`run` was never called or has ended."""
        if self._listener is not None:
            await self._listener.aclose()

    async def run(self) -> None:
        """Serve until cancelled; :meth:`listen` comes first."""
        if self._listener is None:
            raise RuntimeError("a link listens before it runs")
        await trio.serve_listeners(self._serve, [self._listener])

    def mode(self, lane: str = THERE) -> Mode:
        return self._modes[lane]

    def set(self, mode: Mode, lanes: tuple[str, ...] = BOTH) -> None:
        """From now on the link is so."""
        for lane in lanes:
            self._modes[lane] = mode
        event, self._changed = self._changed, trio.Event()
        event.set()
        for connection in list(self._connections.values()):
            connection.breaks_in.clear()
            holed = connection.lost_bytes and not any(
                isinstance(each, BlackHole) for each in self._modes.values()
            )
            if holed or self._is_cut():
                connection.reset()

    def _is_cut(self) -> bool:
        return any(isinstance(each, Cut) for each in self._modes.values())

    async def _serve(self, near: trio.SocketStream) -> None:
        self._connections_count += 1
        number = self._connections_count
        if self._is_cut():
            _reset_on_close(near)
            return
        try:
            far = await trio.open_tcp_stream("127.0.0.1", self.to_port)
        except OSError:
            _reset_on_close(near)  # as near as a proxy gets to a connection that is refused
            return
        async with far:
            with trio.CancelScope() as scope:
                connection = self._connections[number] = _Connection(near, far, scope)
                for stream in (near, far):
                    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    if self._is_cut():  # since it was looked at, before the dialling
                        connection.reset()
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._pump, connection, near, far, THERE)
                        nursery.start_soon(self._pump, connection, far, near, BACK)
                finally:
                    del self._connections[number]

    async def _pump(
        self, connection: _Connection, source: trio.SocketStream, sink: trio.SocketStream, lane: str
    ) -> None:
        """One direction of one connection, to the end of both."""
        try:
            while data := await source.receive_some(CHUNK_BYTES):
                await self._pass(connection, data, sink, lane)
        except _Broken as broken:
            if not broken.politely:
                connection.reset()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            connection.reset()
        connection.scope.cancel()

    async def _pass(self, connection: _Connection, data: bytes, sink: trio.SocketStream, lane: str) -> None:
        """Pass ``data`` on as the mode says, which may change on the way."""
        while isinstance(self._modes[lane], Hold):
            await self._changed.wait()
        mode = self._modes[lane]
        if isinstance(mode, BlackHole):
            connection.lost_bytes = True
            return
        if isinstance(mode, Delay):
            await self._sleep(self._dice.uniform(mode.least_ms, mode.most_ms) / 1000)
        elif isinstance(mode, Drip):
            while len(data) > mode.bytes_each and self._modes[lane] is mode:
                await sink.send_all(data[: mode.bytes_each])
                data = data[mode.bytes_each :]
                await self._sleep(DRIP_S)
        elif isinstance(mode, Break):
            left = connection.breaks_in.setdefault(lane, self._dice.randrange(mode.within_bytes))
            connection.breaks_in[lane] = left - len(data)
            if left < len(data):
                await sink.send_all(data[:left])
                raise _Broken(mode.politely)
        await sink.send_all(data)

    async def _sleep(self, seconds: float) -> None:
        """For so long, or until the mode changes."""
        changed = self._changed
        with trio.move_on_after(seconds):
            await changed.wait()


def _reset_on_close(stream: trio.SocketStream) -> None:
    """Have it end with a reset instead of an orderly end."""
    try:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    except (OSError, trio.ClosedResourceError):
        return  # it is closed already, which is all that was wanted
