"""A cluster of one replica, in this process, behind several doors: real sockets, under any backend.

Each door is an endpoint, as if it were another member. One that is ``shut`` refuses or cuts; one that is ``deaf``
keeps its connections and says nothing: what a member looks like that has hung, or a network that drops.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import anyio
import anyio.abc
import pytest

from coord.client.link import Link
from coord.limits import CLIENT_FRAME_MAX_BYTES, MemberLimits
from coord.raft.types import Configuration, HardState, SnapshotMeta
from coord.replica.inputs import ClientConnected, ClientLost, FromClient, GoOn, Input, Persisted, Tick
from coord.replica.replica import Replica
from coord.replica.settings import ReplicaSettings
from coord.replica.state import Who
from coord.wire.client_frames import decode_client_frame
from coord.wire.framing import FrameBuffer

TICK_SECONDS = 0.02

both = pytest.mark.parametrize("backend", ["trio", "asyncio"])


def run(backend: str, main: Callable[[], Awaitable[None]]) -> None:
    """Run ``main``, for at most as long as a hang is sure to be one."""

    async def bounded() -> None:
        with anyio.fail_after(30):
            await main()

    anyio.run(bounded, backend=backend)


class Door:
    """One endpoint."""

    def __init__(
        self, listener: anyio.abc.Listener[anyio.abc.SocketStream], port: int, host: str = "127.0.0.1"
    ) -> None:
        self.listener = listener
        self.endpoint = f"{host}:{port}"
        self.deaf = False
        self.shut = False
        self.streams: dict[int, anyio.abc.SocketStream] = {}
        self.frames = 0
        """Client frames that came in."""


class House:
    def __init__(self, limits: MemberLimits) -> None:
        self.limits = limits
        self.doors: list[Door] = []
        self.replica = Replica(
            Who(1, b"c" * 16, 1),
            ReplicaSettings(limits=limits),
            1,
            HardState(0, 0),
            SnapshotMeta(0, 0, Configuration((1,))),
            None,
            [],
        )
        self._streams: dict[int, tuple[Door, anyio.abc.SocketStream]] = {}
        self._last = 0
        self._sending: dict[int, anyio.Lock] = {}

    @property
    def endpoints(self) -> list[str]:
        return [door.endpoint for door in self.doors]

    async def cut(self, door: Door, *, shut: bool = False) -> None:
        """End all connections of ``door``; ``shut``: and whatever comes later."""
        door.shut = shut
        for stream in list(door.streams.values()):
            await anyio.aclose_forcefully(stream)

    async def tell(self, *inputs: Input) -> None:
        """Step the replica, and send what it says."""
        waiting = list(inputs)
        now_ms = round(anyio.current_time() * 1000)
        outgoing = []
        while waiting:
            self.replica.step(now_ms, now_ms, waiting)
            outputs = self.replica.take_outputs()
            waiting = [*[Persisted(each.number) for each in outputs.persists], *[GoOn()] * outputs.go_on]
            outgoing += outputs.clients
        for output in outgoing:
            door, stream = self._streams.get(output.connection, (None, None))
            if door is None or stream is None or door.deaf:
                continue
            try:
                async with self._sending[output.connection]:
                    await stream.send(output.data)
                    if output.close:
                        await stream.aclose()
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                continue  # its reader will tell

    async def tick(self) -> None:
        while True:
            await self.tell(Tick())
            await anyio.sleep(TICK_SECONDS)

    async def serve(self, door: Door, stream: anyio.abc.SocketStream) -> None:
        async with stream:
            if door.shut:
                return
            self._last += 1
            number = self._last
            door.streams[number] = stream
            self._streams[number] = (door, stream)
            self._sending[number] = anyio.Lock()
            await self.tell(ClientConnected(number, b"s" * 16, ""))
            frames = FrameBuffer(CLIENT_FRAME_MAX_BYTES)
            try:
                while True:
                    data = await stream.receive()
                    if door.deaf:
                        continue
                    raw = frames.feed(data)
                    door.frames += len(raw)
                    await self.tell(
                        *[FromClient(number, decode_client_frame(each, self.limits)) for each in raw]
                    )
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass  # the client has gone, or was cut off
            finally:
                del door.streams[number], self._streams[number], self._sending[number]
            await self.tell(ClientLost(number))


@asynccontextmanager
async def running(link: Link) -> AsyncIterator[Link]:
    """``link``, while it runs; it is stopped also when the test has failed."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(link.run)
        try:
            yield link
        finally:
            await link.stop()


@asynccontextmanager
async def house(
    doors: int = 2, limits: MemberLimits | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[House]:
    """A running one."""
    built = House(limits or MemberLimits())
    for _ in range(doors):
        listener = await anyio.create_tcp_listener(local_host=host)
        built.doors.append(Door(listener, listener.extra(anyio.abc.SocketAttribute.local_port), host))
    try:
        async with anyio.create_task_group() as tasks:
            for door in built.doors:
                tasks.start_soon(door.listener.serve, partial(built.serve, door))
            tasks.start_soon(built.tick)
            yield built
            tasks.cancel_scope.cancel()
    finally:
        for door in built.doors:
            await anyio.aclose_forcefully(door.listener)
