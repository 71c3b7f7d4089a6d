"""The driver: the one task that owns the replica. It never waits for a disk or a socket.

Inputs gather while a step runs; the next step takes them all. Its inbox is bounded by its sources: a
client's requests in flight, what each peer's connection reads at a time, one answer for each thing asked
of the disk.
"""

import time
from typing import Protocol

import trio

from coord.raft.types import Persist, SnapshotMeta
from coord.replica.inputs import ClientOutput, Input, Tick
from coord.replica.replica import Replica
from coord.wire.peer_frames import PeerMessage


class Peers(Protocol):
    def send(self, peer: int, messages: list[PeerMessage]) -> None: ...


class Clients(Protocol):
    def send(self, output: ClientOutput) -> None: ...


class DiskWork(Protocol):
    """What the disk is asked to do; each answer comes back as an input. None of these waits."""

    def persist(self, batch: Persist) -> None: ...
    def load_section(self, peer: int, snapshot_index: int, section: int) -> None: ...
    def store_section(self, meta: SnapshotMeta, section: int, data: bytes, last: bool) -> None: ...
    def begin_snapshot(self, meta: SnapshotMeta) -> None: ...
    def add_snapshot_section(self, data: bytes) -> None: ...
    def end_snapshot(self) -> None: ...
    def trim(self, snapshot_index: int, keep_from_index: int) -> None: ...
    def end_recovering(self) -> None: ...


class Driver:
    """Inputs in, outputs out. ``put`` is called from other tasks of the same thread; it never waits."""

    def __init__(self, replica: Replica, tick_ms: int) -> None:
        self.replica = replica
        self._tick_ms = tick_ms
        self._inbox: list[Input] = []
        self._arrived = trio.lowlevel.ParkingLot()
        self._tick_due = False

    def put(self, given: Input) -> None:
        """Have ``given`` taken by the next step."""
        self._inbox.append(given)
        if self._arrived:
            self._arrived.unpark()

    async def run(self, peers: Peers, clients: Clients, disk: DiskWork) -> None:
        """Drive until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tick)
            while True:
                if self._inbox or self._tick_due:
                    await trio.lowlevel.checkpoint()  # let the readers run, so that more gathers
                else:
                    await self._arrived.park()
                inputs, self._inbox = self._inbox, []
                if self._tick_due:
                    self._tick_due = False
                    inputs.append(Tick())
                self.replica.step(time.monotonic_ns() // 1_000_000, time.time_ns() // 1_000_000, inputs)
                self._do(peers, clients, disk)

    async def _tick(self) -> None:
        """However many ticks were missed, one is due: this process was not running then, and has not read its
        sockets since. Counting them all would depose a leader whose heartbeats wait there.
        """
        tick_s = self._tick_ms / 1000
        due = trio.current_time() + tick_s
        while True:
            await trio.sleep_until(due)
            self._tick_due = True
            if self._arrived:
                self._arrived.unpark()
            due = max(due + tick_s, trio.current_time())

    def _do(self, peers: Peers, clients: Clients, disk: DiskWork) -> None:
        outputs = self.replica.take_outputs()
        for batch in outputs.persists:
            disk.persist(batch)  # it runs while the messages leave
        # A send is a system call, which on loopback does the receiver's work, too: who comes first matters. New entries
        # first, for a quorum waits for them; else the clients, for what remains to be said to peers is not urgent.
        if outputs.persists:
            self._send_messages(peers, outputs.messages)
        for output in outputs.clients:
            clients.send(output)
        if not outputs.persists:
            self._send_messages(peers, outputs.messages)
        for wanted in outputs.sections_wanted:
            disk.load_section(*wanted)
        for received in outputs.sections_received:
            disk.store_section(*received)
        if outputs.snapshot_begun is not None:
            disk.begin_snapshot(outputs.snapshot_begun)
        for section in outputs.snapshot_sections:
            disk.add_snapshot_section(section)
        if outputs.snapshot_ended:
            disk.end_snapshot()
        if outputs.trim is not None:
            disk.trim(*outputs.trim)
        if outputs.recovered:
            disk.end_recovering()

    def _send_messages(self, peers: Peers, messages: list[tuple[int, PeerMessage]]) -> None:
        by_peer: dict[int, list[PeerMessage]] = {}
        for peer, message in messages:
            by_peer.setdefault(peer, []).append(message)
        for peer, each in by_peer.items():
            peers.send(peer, each)
