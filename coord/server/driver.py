"""The driver: the one thread that owns the replica and the established connections. It waits for none of them alone.

Inputs gather while a step runs; the next step takes them all. Its inbox is bounded by its sources: a
client's requests in flight, what each peer's connection reads at a time, one answer for each thing asked
of the disk.
"""

import time
from collections.abc import Callable
from typing import Final, Protocol

from coord.api.checks import check
from coord.raft.types import Persist, SnapshotMeta
from coord.replica.formation import Formation, Formed
from coord.replica.inputs import ClientOutput, GoOn, Input, Outputs, Tick
from coord.replica.replica import Replica
from coord.replica.state import ReplicaState
from coord.server.poller import Poller
from coord.server.threads import run_thread
from coord.wire.peer_frames import PeerMessage

FEW_CLIENTS: Final = 16
"""To tell so many takes less time than a message takes to a peer and through it."""


class Peers(Protocol):
    def send(self, peer: int, messages: list[PeerMessage]) -> None: ...


class Clients(Protocol):
    def send(self, output: ClientOutput) -> None: ...
    def tick(self) -> None: ...
    def stop(self) -> None: ...


class SlowDiskWork(Protocol):
    """What the disk is asked to do; each answer comes back as an input. None of these waits."""

    def load_section(self, peer: int, snapshot_index: int, section: int) -> None: ...
    def store_section(self, meta: SnapshotMeta, section: int, data: bytes, last: bool) -> None: ...
    def begin_snapshot(self, meta: SnapshotMeta) -> None: ...
    def add_snapshot_section(self, data: bytes) -> None: ...
    def end_snapshot(self) -> None: ...
    def trim(self, snapshot_index: int, keep_from_index: int) -> None: ...
    def end_recovering(self) -> None: ...


class DiskWork(SlowDiskWork, Protocol):
    """And the log, and this member's key."""

    def persist(self, batch: Persist) -> None: ...
    def make_token_key(self, generation: int) -> None: ...


class Driver:
    """Inputs in, outputs out."""

    def __init__(self, poller: Poller, look: Callable[[ReplicaState], None]) -> None:
        """``look`` is shown the replica's state at each tick."""
        self._poller = poller
        self._look = look
        self._inbox: list[Input] = []
        self._stopping = False

    def put(self, given: Input) -> None:
        """Have ``given`` taken by the next step. In the driver's thread."""
        self._inbox.append(given)

    def put_from_thread(self, given: Input) -> None:
        """The same, from any thread; never waits."""
        self._poller.call(self.put, given)

    async def run(
        self, replica: Replica, tick_ms: int, peers: Peers, clients: Clients, disk: DiskWork
    ) -> None:
        """Drive until cancelled, and say goodbye to the clients then."""

        def work() -> None:
            self._drive(replica, tick_ms / 1000, peers, clients, disk)
            clients.stop()

        await run_thread("driver", work, self._stop)

    def _stop(self) -> None:
        # In the order of all calls: what was to happen before it stops (Member.fall_silent, for one) happens before.
        self._poller.call(self._stop_now, None)

    # --- in the thread --------------------------------------------------------------------------

    def _stop_now(self, _: None) -> None:
        self._stopping = True

    def _drive(self, replica: Replica, tick_s: float, peers: Peers, clients: Clients, disk: DiskWork) -> None:
        tick_at = time.monotonic() + tick_s
        while not self._stopping:
            # What a step put (a connection that ended, say) does not wait; what has arrived meanwhile comes along.
            self._poller.poll(0 if self._inbox else max(tick_at - time.monotonic(), 0))
            inputs, self._inbox = self._inbox, []
            now = time.monotonic()
            if now >= tick_at:
                # However many ticks were missed, one is due: this process was not running then, and has not read its
                # sockets since. Counting them all would depose a leader whose heartbeats wait there.
                tick_at = max(tick_at, now - tick_s) + tick_s
                inputs.append(Tick())
                clients.tick()
                self._look(replica.state)
            if inputs:
                replica.step(int(now * 1000), time.time_ns() // 1_000_000, inputs)
                self._do(replica, peers, clients, disk)

    def _do(self, replica: Replica, peers: Peers, clients: Clients, disk: DiskWork) -> None:
        outputs = replica.take_outputs()
        for batch in outputs.persists:
            disk.persist(batch)  # it runs while the messages leave
        # A send is a system call, which on loopback does the receiver's work, too: who comes first matters. New entries
        # first, for a quorum waits for them; else the clients, for what remains to be said to peers is not urgent.
        # Unless there are many: peers that hear of a commit can tell their watches of it, while this member tells its.
        peers_first = bool(outputs.persists) or len(outputs.clients) > FEW_CLIENTS
        if peers_first:
            self._send_messages(peers, outputs.messages)
        for output in outputs.clients:
            clients.send(output)
        if not peers_first:
            self._send_messages(peers, outputs.messages)
        ask_disk(disk, outputs)
        if outputs.key_wanted is not None:
            disk.make_token_key(outputs.key_wanted)
        if outputs.go_on:
            # So the next turn waits for nothing, and looks at the sockets and the clock before it.
            self.put(GoOn())

    def _send_messages(self, peers: Peers, messages: list[tuple[int, PeerMessage]]) -> None:
        by_peer: dict[int, list[PeerMessage]] = {}
        for peer, message in messages:
            by_peer.setdefault(peer, []).append(message)
        for peer, each in by_peer.items():
            peers.send(peer, each)


def ask_disk(disk: SlowDiskWork, outputs: Outputs) -> None:
    """Ask for all that ``outputs`` wants of the disk besides the log. The simulator's members do it likewise."""
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


async def form(
    formation: Formation,
    poller: Poller,
    peers: Peers,
    tick_ms: int,
    watch_out: Callable[[list[int]], None],
) -> Formed:
    """Find or form the cluster: the first time this member starts. ``watch_out`` hears whom it waits for."""
    stopping = False

    def stop() -> None:
        nonlocal stopping
        stopping = True

    def work() -> None:
        while formation.outcome is None and not stopping:
            formation.tick()
            say()
            watch_out(formation.waiting_for)
            tick_at = time.monotonic() + tick_ms / 1000
            while formation.outcome is None and (left_s := tick_at - time.monotonic()) > 0:
                poller.poll(left_s)
                say()

    def say() -> None:
        for peer, message in formation.messages:
            peers.send(peer, [message])
        formation.messages.clear()

    await run_thread("formation", work, stop)
    check(formation.outcome is not None, "formation ends with an outcome, or is cancelled")
    assert formation.outcome is not None
    return formation.outcome
