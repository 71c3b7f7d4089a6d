"""A member without sockets, disk or threads, in the event loop of the test; and with a time that the test moves.

::

    async with local_member() as member, member.connect() as client:
        await client.create("/a", kind=Kind.TTL, ttl_ms=3_600_000)
        await member.advance(3_600)

It is the real thing where that matters: the replica, the protocol's bytes and the client are those of production; only
what moves the bytes is another. Its disk forgets, so there is nothing to kill here, and nobody else can connect:
for all that there is :func:`coord.testing.cluster`.

Time passes by itself, too. :meth:`LocalMember.advance` adds to it: what is due by then happens (delays, TTLs), while
sessions, which are kept up in real time, live on.
"""

import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from math import isfinite
from typing import Any, Final, Self

import anyio
import anyio.abc

from coord.api.errors import InvalidRequest
from coord.client import Client, connect
from coord.client.connecting import Connecting
from coord.client.core.endpoints import Endpoint
from coord.limits import CLIENT_FRAME_MAX_BYTES, StoreLimits
from coord.raft.types import Configuration, HardState, SnapshotMeta
from coord.replica.inputs import ClientConnected, ClientLost, FromClient, GoOn, Input, Persisted, Tick
from coord.replica.leading import cluster_time_ms
from coord.replica.replica import Replica
from coord.replica.settings import ReplicaSettings
from coord.replica.state import Who
from coord.testing.hosting import SESSION_TIMEOUT_MIN_MS
from coord.wire.cbor import DecodeError
from coord.wire.client_frames import decode_client_frame
from coord.wire.framing import FrameBuffer

TICK_S: Final = 0.02
ADDRESS: Final = "127.0.0.1:1"
"""Nobody listens there, and nobody dials it."""
NEVER: Final = 1 << 60
"""Entries and bytes, before a snapshot: there is no disk to write it to."""
FIRST_TICKS: Final = 10_000
SWEEPS_MAX: Final = 100_000


class LocalMember:
    """See the module; made by :func:`local_member`. For one event loop, and one thread."""

    def __init__(self, limits: StoreLimits) -> None:
        self._settings = ReplicaSettings(
            store_limits=limits,
            snapshot_log_bytes=NEVER,
            snapshot_entries=NEVER,
            snapshot_requests=NEVER,
        )
        configuration = Configuration((1,))
        self._replica = Replica(
            Who(1, secrets.token_bytes(16), secrets.randbits(40), {1: ADDRESS}),
            self._settings,
            secrets.randbits(32),
            HardState(0, 0),
            SnapshotMeta(0, 0, configuration),
            None,
            [],
        )
        self._streams: dict[int, _Stream] = {}
        self._numbers = 0
        self._began_at = time.monotonic()
        self._ahead_s = 0.0
        self._elected_ms = 0
        self._tasks: anyio.abc.TaskGroup | None = None
        self._elect()

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._run)
        return self

    async def __aexit__(self, *error: object) -> None:
        """The group is left without the block's exception, which goes its own way: it would come out in a group."""
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()
            await self._tasks.__aexit__(None, None, None)

    def connect(self, **arguments: Any) -> Connecting:
        """A client of it: ``async with member.connect() as client``; arguments as those of
        :func:`coord.client.connect`, without endpoints.
        """
        connecting = connect(ADDRESS, discover=False, **arguments)
        connecting.dial = self._dial
        return connecting

    async def advance(self, seconds: float) -> None:
        """Let so much time pass, at once: by cluster time, and by the leader's wall clock, which schedules go by."""
        if (
            isinstance(seconds, bool)
            or not isinstance(seconds, int | float)
            or not isfinite(seconds)
            or seconds < 0
        ):
            raise InvalidRequest(f"time goes on by a number of seconds, not by {seconds!r:.40}")
        self._ahead_s += seconds
        # A leader counts its waking time from what cluster time was when its term began. Sessions are counted apart.
        self._replica.state.cluster_time_base_ms += round(seconds * 1000)
        for _ in range(SWEEPS_MAX):  # a great many things that are due take several entries
            # They are looked for every few ticks.
            for _ in range(self._settings.lease_ticks):
                self._step([Tick()])
            due_ms = self._replica.state.store.next_due_ms
            if due_ms is None or due_ms > self.cluster_time_ms:
                break
        await anyio.lowlevel.checkpoint()

    @property
    def wall_time(self) -> float:
        """Seconds since 1970, as this member's clock has it: the real time, and all that it was advanced by."""
        return time.time() + self._ahead_s

    @property
    def cluster_time_ms(self) -> int:
        """What TTLs and delays are counted by."""
        return cluster_time_ms(self._replica.state)

    @property
    def next_due_ms(self) -> int:
        """How long until something falls due by cluster time: a delay's end, a TTL; a second where nothing does."""
        due_ms = self._replica.state.store.next_due_ms
        return 1_000 if due_ms is None else max(due_ms - self.cluster_time_ms, 0)

    # --- inside ------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Have time pass."""
        while True:
            await anyio.sleep(TICK_S)
            self._step([Tick()])

    def _elect(self) -> None:
        for _ in range(FIRST_TICKS):
            self._elected_ms += self._settings.tick_ms
            self._step([Tick()])
            state = self._replica.state
            if state.leads and state.store.limits == self._settings.store_limits:
                return
        raise RuntimeError("a member alone does not lead; this is a bug")

    async def _dial(self, endpoint: Endpoint) -> "_Stream":
        await anyio.lowlevel.checkpoint()
        self._numbers += 1
        stream = self._streams[self._numbers] = _Stream(self, self._numbers)
        self._step([ClientConnected(self._numbers, secrets.token_bytes(16), "")])
        return stream

    def _step(self, inputs: Sequence[Input]) -> None:
        """Until nothing moves any more at this instant. The disk is the quickest there is."""
        now_ms = self._elected_ms + round((time.monotonic() - self._began_at) * 1000)
        while inputs:
            self._replica.step(now_ms, round(self.wall_time * 1000), inputs)
            outputs = self._replica.take_outputs()
            for each in outputs.clients:
                stream = self._streams.get(each.connection)
                if stream is not None:
                    stream.put(each.data, each.close)
            inputs = [Persisted(persist.number) for persist in outputs.persists]
            if outputs.go_on:
                inputs = [*inputs, GoOn()]

    def heard(self, number: int, frames: "list[Input]") -> None:
        if number in self._streams:
            self._step(frames)

    def lost(self, number: int) -> None:
        if self._streams.pop(number, None) is not None:
            self._step([ClientLost(number)])

    @property
    def limits(self) -> Any:
        return self._settings.limits


class _Stream:
    """One client's connection. At most ``outbox_bytes`` wait here; beyond, it is closed, as a member does."""

    full = False

    def __init__(self, member: LocalMember, number: int) -> None:
        self._member = member
        self._number = number
        self._frames = FrameBuffer(CLIENT_FRAME_MAX_BYTES)
        self._pending = bytearray()
        self._ended = False
        self._news = anyio.Event()

    def put(self, data: bytes, close: bool) -> None:
        self._pending += data
        if close or len(self._pending) > self._member.limits.outbox_bytes:
            self._ended = True
            self._member.lost(self._number)
        self._news.set()

    def send(self, data: bytes) -> None:
        if self._ended:
            return
        try:
            frames = [decode_client_frame(raw, self._member.limits) for raw in self._frames.feed(data)]
        except DecodeError:
            self.close()
            return
        self._member.heard(self._number, [FromClient(self._number, frame) for frame in frames])

    async def sent(self) -> None:
        await anyio.lowlevel.checkpoint()

    async def carry(self, receive: Callable[[bytes], None]) -> None:
        while True:
            await anyio.lowlevel.checkpoint()
            if self._pending:
                data, self._pending = bytes(self._pending), bytearray()
                receive(data)
            elif self._ended:
                return
            else:
                self._news = anyio.Event()
                await self._news.wait()

    def close(self) -> None:
        self._ended = True
        self._news.set()
        self._member.lost(self._number)


def local_member(*, limits: StoreLimits | None = None) -> LocalMember:
    """A fresh one, for the length of a block. ``limits``: of the store."""
    return LocalMember(limits or StoreLimits(session_timeout_min_ms=SESSION_TIMEOUT_MIN_MS))


@asynccontextmanager
async def local_client(**arguments: Any) -> AsyncIterator[tuple[LocalMember, Client]]:
    """Such a member, and a client of it."""
    async with local_member() as member, member.connect(**arguments) as client:
        yield member, client
