"""One life of a member: from the opening of its folder to its death. The shell around the replica, in virtual time.

Mirrors ``coord/server/member.py`` (how a life begins) and ``coord/server/driver.py`` (inputs gather while a step
runs; the next step takes them all; one tick stands for all that were missed).
"""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, Final, TypeVar

from coord.disk.errors import DamagedFolder, StorageError
from coord.disk.settings import StorageSettings
from coord.disk.storage import Recovered, Storage
from coord.jepsen_like.sim.agenda import MICROSECOND_NS, MS_NS
from coord.jepsen_like.sim.disk import CutShort
from coord.jepsen_like.sim.lanes import DiskTasks, LogLane, disk_time_ns, slow_time_ns
from coord.jepsen_like.sim.trace import STEP
from coord.limits import PEER_FRAME_MAX_BYTES
from coord.raft.types import SnapshotMeta
from coord.replica.formation import Formation
from coord.replica.inputs import (
    Backlog,
    ClientConnected,
    ClientLost,
    FromClient,
    FromPeer,
    GoOn,
    Input,
    Outputs,
    PeerDown,
    PeerLost,
    Tick,
)
from coord.replica.replica import Replica
from coord.replica.state import Who
from coord.server.driver import ask_disk
from coord.server.loading import Loading
from coord.wire.framing import FrameBuffer
from coord.wire.peer_frames import MessageEncoder, PeerMessage, decode_messages

if TYPE_CHECKING:
    from coord.jepsen_like.sim.clients import Wire
    from coord.jepsen_like.sim.member import Member
    from coord.jepsen_like.sim.simulation import Simulation

Result = TypeVar("Result")

PROBE_TICKS: Final = 10
FORMATION_TICK_MS: Final = 20


class Life:
    def __init__(self, sim: "Simulation", member: "Member") -> None:
        self.sim = sim
        self.member = member
        self.alive = True
        self.paused = False
        self.when_resumed: list[tuple[Callable[..., None], Any]] = []
        """What came to its end while this life was paused, and has its consequences later."""
        self.replica: Replica | None = None
        self.formation: Formation | None = None
        self.wires: dict[int, Wire] = {}
        self.slow_us = 0
        """Added to each step's cost: a member that is slow."""
        self.cluster = b""
        self._boot = member.dice.getrandbits(40)
        self._inbox: list[Input] = []
        self._piece = 0
        """What waits is taken so many at a time; 0: all at once."""
        self._step_due = False
        self._tick_due = False
        self._busy_until_ns = 0
        self._encoder = MessageEncoder()
        self._storage: Storage | None = None
        self._log: LogLane | None = None
        self._tasks: DiskTasks | None = None

    # --- beginning --------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Open the folder, find or form the cluster, serve. May end at once."""
        recovered = self.attempt(self._open)
        if recovered is None:
            return
        sim = self.sim
        sim.network.start(self.member.number, self)
        if recovered.identity.cluster_id is None:
            others = tuple(each for each in sim.members if each != self.member.number)
            drawn = self.member.dice.randbytes(16)
            self.formation = Formation(self.member.number, others, self._boot, drawn, PROBE_TICKS)
            self._recovered = recovered
            self._form_tick()
        else:
            self._serve(recovered, recovered.damage is not None)

    def _open(self) -> Recovered:
        member, world = self.member, self.sim.world
        settings = StorageSettings(segment_bytes=world.segment_bytes)
        self._loading = Loading(self.sim.settings.limits)
        self._storage, recovered = Storage.open(
            member.disk,
            member_id=member.number,
            create=True,
            settings=settings,
            take=self._loading.begin,
        )
        self.sim.ghosts.opened(member, recovered)
        return recovered

    def _form_tick(self) -> None:
        """What the server's loop does every 20 ms while it has no cluster."""
        formation, sim = self.formation, self.sim
        if not self.alive or formation is None:
            return
        if self.paused:
            self.when_resumed.append((lambda _: self._form_tick(), None))
            return
        inputs, self._inbox = self._inbox, []
        for each in inputs:
            if isinstance(each, FromPeer):
                for message in each.messages:
                    formation.receive(each.peer, message)
        if formation.outcome is None:
            formation.tick()
        messages, formation.messages = formation.messages, []
        self._send(messages)
        if formation.outcome is None:
            sim.agenda.after(FORMATION_TICK_MS * MS_NS, self._form_tick)
            return
        if self.attempt(self._found):
            self.formation = None
            self._serve(self._recovered, formation.outcome.recovering)

    def _found(self) -> bool:
        """The cluster is known: the folder is of it, from now on. True."""
        storage, formation = self._storage, self.formation
        assert storage is not None
        assert formation is not None
        assert formation.outcome is not None
        cluster, recovering = formation.outcome
        if self.sim.triggers.cut_short_here("forming", self):
            self.member.disk.cut_after = self.member.dice.randint(1, 15)
        self.sim.budget.forming(self.member.number, recovering)
        if recovering:
            storage.begin_recovering("this member joined an established cluster with an empty disk")
            self.sim.mark("joined_recovering")
        storage.set_cluster_id(cluster)
        self.member.disk.cut_after = 0
        self.sim.ghosts.formed(self.member, recovering)
        return True

    def _serve(self, recovered: Recovered, recovering: bool) -> None:
        sim, member, storage = self.sim, self.member, self._storage
        assert storage is not None
        cluster = storage.identity.cluster_id
        assert cluster is not None
        self.cluster = cluster
        snapshot = recovered.snapshot or SnapshotMeta(0, 0, sim.world.configuration)
        store = self._loading.finish(snapshot) if recovered.snapshot else None
        who = Who(member.number, cluster, self._boot, {each: f"member-{each}:1" for each in sim.members})
        seed = member.dice.getrandbits(64)
        self.replica = Replica(
            who,
            sim.settings,
            seed,
            recovered.hard_state,
            snapshot,
            store,
            recovered.entries,
            recovering,
        )
        self._log = LogLane(self, storage)
        self._tasks = DiskTasks(self, storage, self._log)
        if recovering:
            sim.mark("recovering")
        sim.ghosts.serves(self)
        sim.happened("started", self)
        if self.alive:
            self._tick()

    # --- ending -----------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """The process is gone; of what its disk was doing, a part happens."""
        self.alive = False
        if self._log is not None and self._tasks is not None:
            first, second = self._log, self._tasks
            if self.member.dice.random() < 0.5:
                first.cut_short()
                second.cut_short()
            else:
                second.cut_short()
                first.cut_short()

    def attempt(self, work: Callable[[], Result]) -> Result | None:
        """Do what touches the disk. Its failure ends this life, as it ends the process: then ``None``."""
        try:
            return work()
        except DamagedFolder:
            self.sim.died(self, "its folder is damaged", needs_operator=True)
        except StorageError as error:
            self.sim.died(self, type(error).__name__)
        except CutShort:
            self.sim.died(self, "in the middle of its work")
        return None

    # --- arriving ---------------------------------------------------------------------------------------------------

    def put(self, given: Input) -> None:
        """Have ``given`` taken by the next step."""
        if self.alive:
            self._inbox.append(given)
            if not self._step_due:
                self._wake()

    def frame_arrived(self, sender: int, frame: bytes) -> None:
        for _, body in FrameBuffer(PEER_FRAME_MAX_BYTES).feed(frame):
            self.put(FromPeer(sender, decode_messages(body)))

    def peer_lost(self, peer: int) -> None:
        self.put(PeerLost(peer))

    def peer_down(self, peer: int) -> None:
        """It is said that the process of ``peer`` is gone; see coord/raft/peer_down.py."""
        if self.replica is not None and self.replica.state.raft.leader == peer:
            self.sim.mark("leader_told_down")
        self.put(PeerDown(peer))

    def welcomes(self, cluster: bytes) -> bool:
        return not cluster or not self.cluster or cluster == self.cluster

    def _wake(self) -> None:
        if self.replica is None or self.paused:
            return
        self._step_due = True
        agenda = self.sim.agenda
        agenda.at(max(agenda.now_ns + MICROSECOND_NS, self._busy_until_ns), self._step)

    # --- time -------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        if not self.alive:
            return
        if self.paused:
            self.when_resumed.append((lambda _: self._tick(), None))
            return
        self._tick_due = True
        if not self._step_due:
            self._wake()
        self.sim.agenda.after(self.member.clocks.span_ns(self.sim.world.tick_ms), self._tick)

    def nudge(self) -> None:
        """Have a step, with or without inputs: something was asked of Raft directly."""
        if not self._step_due:
            self._wake()

    def pause(self) -> None:
        """Stands still; what arrives waits in its sockets."""
        self.paused = True

    def resume(self) -> None:
        if not self.alive or not self.paused:
            return
        self.paused = False
        # Who wakes up reads one socket after another, and steps between: of what waited, some is taken long before the
        # rest, though all was there. Order holds within each connection, and not between them.
        self._inbox = shuffled_by_source(self._inbox, self.member.dice)
        self._piece = self.member.dice.choice((0, 1, 3))
        due, self.when_resumed = self.when_resumed, []
        for handler, given in due:
            if self.alive:
                handler(given)
        if self.alive and self.replica is not None and not self._step_due and self._inbox:
            self._wake()

    def _step(self) -> None:
        self._step_due = False
        replica, sim = self.replica, self.sim
        if not self.alive or self.paused or replica is None:
            return
        inputs = self._take_inbox()
        now_ns, clocks = sim.agenda.now_ns, self.member.clocks
        self._busy_until_ns = now_ns + (sim.world.step_us + self.slow_us) * MICROSECOND_NS
        if self._tick_due:
            self._tick_due = False
            inputs.append(Tick())
        sim.trace.note(now_ns, STEP, self.member.number, len(inputs), b"")
        replica.step(clocks.monotonic_ms(now_ns), clocks.wall_ms(now_ns), inputs)
        outputs = replica.take_outputs()
        applied = sim.ghosts.stepped(self, outputs)
        self._busy_until_ns += applied * sim.world.apply_us * MICROSECOND_NS
        self._do(outputs)
        if self.alive:
            sim.triggers.after_step(self, outputs)
        if self._inbox and not self._step_due:
            self._wake()

    def _take_inbox(self) -> list[Input]:
        """What this step is given."""
        inbox = self._inbox
        if len(inbox) <= self._piece:
            self._piece = 0
        if not self._piece:
            self._inbox = []
            return inbox
        self._inbox = inbox[self._piece :]
        return inbox[: self._piece]

    # --- what a step asks for ---------------------------------------------------------------------------------------

    def _do(self, outputs: Outputs) -> None:
        log, tasks = self._log, self._tasks
        assert log is not None
        assert tasks is not None
        if outputs.snapshot_begun is not None:
            self.sim.ghosts.names_a_snapshot(self.member.number, outputs.snapshot_begun)
        if outputs.recovered:
            self.sim.ghosts.whole(self.member.number)
        for batch in outputs.persists:
            log.persist(batch)
        if outputs.messages:
            self._send(outputs.messages)
        for output in outputs.clients:
            wire = self.wires.get(output.connection)
            if wire is not None:
                self.sim.clients.send_down(wire, output)
        ask_disk(tasks, outputs)
        if outputs.go_on:
            self.put(GoOn())

    def _send(self, messages: list[tuple[int, PeerMessage]]) -> None:
        by_peer: dict[int, list[PeerMessage]] = {}
        for peer, message in messages:
            by_peer.setdefault(peer, []).append(message)
        for peer, each in by_peer.items():
            self.sim.network.send(self.member.number, peer, self._encoder.frame(each))

    def disk_time_ns(self, syncs: bool) -> int:
        sim, dice = self.sim, self.member.dice
        world = sim.world
        if self.member.slow_disk or (syncs and not sim.calm and dice.random() < world.slow_syncs):
            return slow_time_ns(world.slow_sync_ms, dice.random())
        return disk_time_ns(world.sync_min_us, world.sync_max_us, dice.random())

    def backlog(self, connection: int, full: bool) -> None:
        self.put(Backlog(connection, full))

    @property
    def in_flight(self) -> list[Any]:
        return [] if self._log is None else list(self._log.in_flight)

    @property
    def inbox_size(self) -> int:
        return len(self._inbox)


def shuffled_by_source(inputs: list[Input], dice: Random) -> list[Input]:
    """One source (a connection, a peer, the disk) after another, each with its inputs in their order."""
    by_source: dict[tuple[str, int], list[Input]] = {}
    for each in inputs:
        source = ("disk", 0)
        if isinstance(each, FromPeer | PeerLost | PeerDown):
            source = ("peer", each.peer)
        elif isinstance(each, ClientConnected | FromClient | ClientLost | Backlog):
            source = ("client", each.connection)
        by_source.setdefault(source, []).append(each)
    sources = list(by_source.values())
    dice.shuffle(sources)
    return [each for source in sources for each in source]
