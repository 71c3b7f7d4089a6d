"""N replicas in one thread, with real codecs, virtual time, and a network and disks that do only what they are told.

    cluster = Cluster()                       # three members, formed, with a leader
    client = cluster.client(2)                # a new session at member 2
    request = client.write(Set("/a", b"x"))
    cluster.settle()                          # until nothing is on its way any more; no time passes
    assert client.reply(request)[1] == OK
    cluster.tick(5)                           # five ticks of 20 ms, each settled

Messages travel at once, unless ``cut``, filtered by ``travels``, or held by ``hold_messages``. Disks sync at once
unless ``hold_disk``. A crash loses what was not synced; what is on a disk is Raft's batches and snapshots' sections.
"""

import heapq
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from coord.api.commands import Reply
from coord.api.events import Change, Revision
from coord.api.ops import Op, ReadMode, Row, TreeOp, WatchScope
from coord.limits import PEER_FRAME_MAX_BYTES, MemberLimits
from coord.raft.roles import Role
from coord.raft.types import Configuration, Entry, HardState, Persist, SnapshotMeta
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
    PeerLost,
    Persisted,
    SectionLoaded,
    SectionStored,
    Signer,
    SnapshotRejected,
    SnapshotSaved,
    SnapshotSectionSaved,
    SnapshotStored,
    Tick,
)
from coord.replica.replica import Replica
from coord.replica.settings import ReplicaSettings
from coord.replica.state import ReplicaState, Who
from coord.store.snapshot import StoreLoader
from coord.store.store import Store
from coord.wire import client_frames as frames
from coord.wire.client_frames import Hello, NewSession, ResumeSession, ServerFrame
from coord.wire.framing import FrameBuffer
from coord.wire.peer_frames import MessageEncoder, PeerMessage, decode_messages
from coord.wire.sections import decode_section

TICK_MS = 20
CLUSTER_ID = b"c" * 16


class Disk:
    """What survives a crash."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.cluster: bytes | None = None
        self.recovering = False
        self.hard_state = HardState(0, 0)
        self.snapshot = SnapshotMeta(0, 0, configuration)
        self.sections: list[bytes] = []
        self.start_index = 0
        """Entries are those after it, contiguous."""
        self.entries: list[Entry] = []

    def write(self, persist: Persist) -> None:
        if persist.hard_state is not None:
            assert persist.hard_state.term >= self.hard_state.term
            self.hard_state = persist.hard_state
        if persist.entries:
            first = persist.entries[0].index
            assert self.start_index < first <= self.start_index + len(self.entries) + 1
            del self.entries[first - self.start_index - 1 :]
            self.entries.extend(persist.entries)

    def trim(self, keep_from: int) -> None:
        if keep_from > self.start_index + 1:
            del self.entries[: keep_from - 1 - self.start_index]
            self.start_index = keep_from - 1

    def install(self, meta: SnapshotMeta, sections: list[bytes]) -> None:
        self.snapshot, self.sections = meta, sections
        self.start_index, self.entries = meta.index, []

    def store(self, limits: MemberLimits) -> Store | None:
        """What the snapshot holds."""
        if not self.snapshot.index:
            return None
        loader = StoreLoader(limits)
        for section in self.sections:
            loader.add(*decode_section(section))
        return loader.finish()


def digest(sections: list[bytes]) -> bytes:
    return sha256(b"".join(sections)).digest()


class Member:
    """One member: its disk, its present life (if it is up), and what waits for it."""

    def __init__(self, number: int, configuration: Configuration) -> None:
        self.number = number
        self.disk = Disk(configuration)
        self.replica: Replica | None = None
        self.formation: Formation | None = None
        self.lives = 0
        self.inbox: list[Input] = []
        self.jobs: deque[Callable[[], None]] = deque()
        """For the disk, in order. While it is held they gather; a crash loses them."""
        self.disk_held = False
        self.paused = False
        self.goes_on = True
        """Else what a step leaves over waits for the next input that there is."""
        self.saving_held = False
        self.saving: tuple[SnapshotMeta, list[bytes]] | None = None
        self.receiving: tuple[SnapshotMeta, list[bytes]] | None = None
        self.snapshots_saved = 0
        self.snapshots_installed = 0
        self.keys_wanted: list[int] = []
        """Generations, as asked for."""

    @property
    def state(self) -> ReplicaState:
        assert self.replica is not None
        return self.replica.state

    @property
    def store(self) -> Store:
        return self.state.store


class Cluster:
    def __init__(
        self,
        size: int = 3,
        settings: ReplicaSettings | None = None,
        seed: int = 1,
        formed: bool = True,
        signers: Mapping[int, Signer] | None = None,
    ) -> None:
        self.signers = dict(signers or {})
        """With which key each member starts: none, unless a test gives one."""
        self.settings = settings or ReplicaSettings(tick_ms=TICK_MS)
        self.seed = seed
        self.now_ms = 1_000
        configuration = Configuration(tuple(range(1, size + 1)))
        self.members = {number: Member(number, configuration) for number in configuration.voters}
        self.encoder = MessageEncoder()
        self.flights: list[tuple[int, int, int, int, bytes]] = []
        """(due, order, from, to, frame)"""
        self.order = 0
        self.cut: dict[tuple[int, int], None] = {}
        self.travels: Callable[[int, int, PeerMessage], bool] | None = None
        """Whether a message may leave; those that may not are in ``held``, once."""
        self.held: list[tuple[int, int, PeerMessage]] = []
        self.delays: Callable[[int, int], Sequence[int]] | None = None
        """When (in ms) a frame arrives, and how often; ``()``: it is lost."""
        self.clients: dict[tuple[int, int], Client] = {}
        self.connections = 0
        self.revisions: dict[int, Revision] = {}
        """Every revision that any member applied; that they are the same everywhere is checked."""
        self.seen_revision: dict[int, int] = {}
        if formed:
            for member in self.members.values():
                member.disk.cluster = CLUSTER_ID
            for number in self.members:
                self.start(number)
            self.until_leader()

    # --- lives -------------------------------------------------------------------------------------------------------

    def start(self, number: int) -> None:
        member = self.members[number]
        assert member.replica is None
        assert member.formation is None
        member.lives += 1
        member.disk_held = member.saving_held = member.paused = False
        boot = self.seed * 1000 + number * 100 + member.lives
        if member.disk.cluster is None:
            others = tuple(each for each in self.members if each != number)
            member.formation = Formation(number, others, boot, bytes([number, member.lives]) * 8, 10)
            self._form(member)
        else:
            self._start_replica(member, boot)

    def _start_replica(self, member: Member, boot: int) -> None:
        disk = member.disk
        assert disk.cluster is not None
        addresses = {number: f"host{number}:4711" for number in self.members}
        member.replica = Replica(
            Who(member.number, disk.cluster, boot, addresses),
            self.settings,
            boot,
            disk.hard_state,
            disk.snapshot,
            disk.store(self.settings.limits),
            list(disk.entries),
            disk.recovering,
            self.signers.get(member.number),
        )
        self.seen_revision[member.number] = member.store.revision

    def crash(self, number: int, written: int = 0) -> None:
        """Stop; of what waits for the disk only the first ``written`` jobs are done."""
        member = self.members[number]
        for _ in range(min(written, len(member.jobs))):
            member.jobs.popleft()()
        member.jobs.clear()
        member.inbox.clear()
        member.replica = member.formation = None
        member.saving = member.receiving = None
        for (at, _), client in list(self.clients.items()):
            if at == number:
                client.lose()

    def restart(self, number: int, written: int = 0) -> None:
        if self.up(number):
            self.crash(number, written)
        self.start(number)

    def wipe(self, number: int) -> None:
        """Its disk is replaced by an empty one."""
        member = self.members[number]
        if self.up(number):
            self.crash(number)
        member.disk = Disk(member.disk.configuration)

    def up(self, number: int) -> bool:
        member = self.members[number]
        return member.replica is not None or member.formation is not None

    # --- network and disks -------------------------------------------------------------------------------------------

    def isolate(self, *group: int) -> None:
        """``group`` and the rest cannot reach each other, in either direction."""
        for inside in group:
            for outside in self.members:
                if outside not in group:
                    self.cut[(inside, outside)] = self.cut[(outside, inside)] = None

    def heal(self) -> None:
        self.cut.clear()
        self.travels = None

    def hold_messages(self, of: type[Any], sender: int | None = None) -> None:
        """Keep messages of one type (of one sender) back, in ``held``."""
        self.travels = lambda origin, to, message: not (isinstance(message, of) and sender in (None, origin))

    def deliver_held(self, *numbers: int) -> None:
        """Let held messages (all, or these by their positions) arrive now."""
        chosen = [self.held[number] for number in numbers] if numbers else self.held
        for sender, to, message in chosen:
            self._fly(self.now_ms, sender, to, self.encoder.frame([message]))
        self.held = [each for each in self.held if each not in chosen]
        self.settle()

    def _fly(self, due_ms: int, sender: int, to: int, frame: bytes) -> None:
        self.order += 1
        heapq.heappush(self.flights, (due_ms, self.order, sender, to, frame))

    def lose_link(self, number: int, peer: int) -> None:
        self.members[number].inbox.append(PeerLost(peer))

    def hold_disk(self, number: int) -> None:
        self.members[number].disk_held = True

    def release_disk(self, number: int) -> None:
        self.members[number].disk_held = False
        self.settle()

    # --- time --------------------------------------------------------------------------------------------------------

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.now_ms += TICK_MS
            for member in self.members.values():
                if (member.replica or member.formation) and not member.paused:
                    member.inbox.append(Tick())
            self.settle()

    def until(self, holds: Callable[[], bool], ticks: int = 500) -> None:
        """Let time pass until ``holds()``."""
        for _ in range(ticks):
            if holds():
                return
            self.tick()
        raise AssertionError(f"not within {ticks} ticks")

    def until_leader(self) -> int:
        """A member that leads a quorum, and has applied an entry of its term."""
        self.until(lambda: self.leader() != 0)
        return self.leader()

    def leader(self) -> int:
        for number, member in self.members.items():
            if member.replica is not None and not member.paused:
                raft = member.state.raft
                if raft.role is Role.LEADER and raft.term_at(raft.commit_index) == raft.term:
                    terms = [
                        each.state.raft.term for each in self.members.values() if each.replica is not None
                    ]
                    if raft.term == max(terms):
                        return number
        return 0

    def followers(self) -> list[int]:
        leader = self.leader()
        return [number for number in self.members if number != leader and self.members[number].replica]

    def settle(self) -> None:
        """Until nothing moves any more at this instant."""
        for _ in range(2_000):
            moved = False
            while self.flights and self.flights[0][0] <= self.now_ms:
                _, _, sender, to, frame = heapq.heappop(self.flights)
                member = self.members[to]
                if (sender, to) not in self.cut and self.up(to):
                    for _, body in FrameBuffer(PEER_FRAME_MAX_BYTES).feed(frame):
                        member.inbox.append(FromPeer(sender, decode_messages(body)))
            for member in self.members.values():
                if member.paused:
                    continue
                while member.jobs and not member.disk_held:
                    member.jobs.popleft()()
                    moved = True
                if member.inbox:
                    moved = True
                    self._step(member)
            if not moved and not (self.flights and self.flights[0][0] <= self.now_ms):
                return
        raise AssertionError("the cluster does not settle: something feeds itself")

    def _step(self, member: Member) -> None:
        inputs, member.inbox = member.inbox, []
        if member.formation is not None:
            for each in inputs:
                if isinstance(each, Tick):
                    member.formation.tick()
                elif isinstance(each, FromPeer):
                    for message in each.messages:
                        member.formation.receive(each.peer, message)
            self._form(member)
        elif member.replica is not None:
            member.replica.step(self.now_ms, 1_700_000_000_000 + self.now_ms, inputs)
            self._do(member, member.replica.take_outputs())
            self._look(member)

    def _form(self, member: Member) -> None:
        formation = member.formation
        assert formation is not None
        messages, formation.messages = formation.messages, []
        self._send(member.number, messages)
        if formation.outcome is not None:
            member.disk.cluster, member.disk.recovering = formation.outcome
            member.formation = None
            self._start_replica(member, self.seed * 1000 + member.number * 100 + member.lives)

    def _send(self, sender: int, messages: Sequence[tuple[int, PeerMessage]]) -> None:
        by_peer: dict[int, list[PeerMessage]] = {}
        for to, message in messages:
            if self.travels is not None and not self.travels(sender, to, message):
                self.held.append((sender, to, message))
            else:
                by_peer.setdefault(to, []).append(message)
        for to, each in by_peer.items():
            frame = self.encoder.frame(each)
            for delay_ms in (0,) if self.delays is None else self.delays(sender, to):
                self._fly(self.now_ms + delay_ms, sender, to, frame)

    def _do(self, member: Member, outputs: Outputs) -> None:
        self._send(member.number, outputs.messages)
        disk, inbox, jobs = member.disk, member.inbox.append, member.jobs
        for persist in outputs.persists:
            jobs.append(
                lambda persist=persist: (disk.write(persist), member.inbox.append(Persisted(persist.number)))
            )  # type: ignore[misc]
        for output in outputs.clients:
            client = self.clients.get((member.number, output.connection))
            if client is not None:
                client.take(output.data, output.close)
        for peer, index, section in outputs.sections_wanted:
            if disk.snapshot.index != index:
                inbox(SectionLoaded(peer, index, section, None, False))
            elif section < len(disk.sections):
                inbox(SectionLoaded(peer, index, section, disk.sections[section], False))
            else:
                inbox(SectionLoaded(peer, index, section, digest(disk.sections), True))
        for meta, section, data, last in outputs.sections_received:
            jobs.append(
                lambda meta=meta, section=section, data=data, last=last: self._receive(
                    member, meta, section, data, last
                )
            )  # type: ignore[misc]
        if outputs.snapshot_begun is not None:
            member.saving = (outputs.snapshot_begun, [])
        if outputs.snapshot_sections and member.saving is not None:
            member.saving[1].extend(outputs.snapshot_sections)
            for _ in outputs.snapshot_sections:
                inbox(SnapshotSectionSaved())
        if outputs.snapshot_ended and not member.saving_held:
            self.save(member.number)
        if outputs.trim is not None:
            disk.trim(outputs.trim[1])
        if outputs.go_on and member.goes_on:
            inbox(GoOn())
        if outputs.key_wanted is not None:
            member.keys_wanted.append(outputs.key_wanted)
        if outputs.recovered:
            jobs.append(lambda: setattr(disk, "recovering", False))

    def save(self, number: int, ok: bool = True) -> None:
        """The snapshot that was written is durable (or failed)."""
        member = self.members[number]
        assert member.saving is not None
        meta, sections = member.saving
        member.saving = None
        if ok and meta.index > member.disk.snapshot.index:
            assert meta.index <= member.disk.start_index + len(member.disk.entries)
            member.disk.snapshot, member.disk.sections = meta, sections
            member.snapshots_saved += 1
        member.inbox.append(SnapshotSaved(meta.index, ok))

    def _receive(self, member: Member, meta: SnapshotMeta, section: int, data: bytes, last: bool) -> None:
        if section == 0:
            member.receiving = (meta, [])
        if member.receiving is None or member.receiving[0] != meta:
            member.inbox.append(SnapshotRejected(meta))
        elif not last:
            member.receiving[1].append(data)
            member.inbox.append(SectionStored(meta, section))
        else:
            sections = member.receiving[1]
            member.receiving = None
            if data != digest(sections):
                member.inbox.append(SnapshotRejected(meta))
                return
            member.disk.install(meta, sections)
            member.snapshots_installed += 1
            member.inbox.append(SnapshotStored(meta))

    def _look(self, member: Member) -> None:
        """What was applied is the same everywhere."""
        store = member.store
        seen = self.seen_revision[member.number]
        if store.revision > seen:
            for revision in store.history.since(seen + 1):
                again = (*revision[:3], tuple(tuple(change) for change in revision[3]))
                known = self.revisions.setdefault(revision[0], again)  # type: ignore[arg-type]
                assert known == again, "members differ in a revision"
            self.seen_revision[member.number] = store.revision

    # --- clients -----------------------------------------------------------------------------------------------------

    def connect(self, number: int) -> "Client":
        self.connections += 1
        client = Client(self, number, self.connections)
        self.clients[(number, self.connections)] = client
        secret = self.connections.to_bytes(16, "big")
        self.members[number].inbox.append(ClientConnected(self.connections, secret, ""))
        return client

    def client(self, number: int, timeout_ms: int = 5_000) -> "Client":
        """A client with a new session at member ``number``."""
        client = self.connect(number)
        client.hello(Hello(NewSession(timeout_ms), f"client {client.connection}", None))
        self.settle()
        if client.welcome is None:
            self.until(lambda: client.welcome is not None)
        return client

    def resumed(self, former: "Client", number: int) -> "Client":
        """``former``'s session on a new connection; numbering of requests goes on."""
        client = self.connect(number)
        client.next_request, client.unanswered = former.next_request, dict(former.unanswered)
        client.hello(Hello(ResumeSession(former.session, former.secret), "", None))
        self.settle()
        return client

    def read(self, op: TreeOp, number: int | None = None) -> Any:
        """A linearizable read by a client without a session; its result."""
        client = self.connect(number or self.until_leader())
        client.hello(Hello(None, "", None))
        request = client.read(op)
        self.until(lambda: client.has(request))
        reply = client.reply(request)
        client.drop()
        assert reply[1] == 0, reply
        return reply[4]


class Client:
    """One connection. ``received`` is everything that came, in order; ``close`` says that the member hung up."""

    def __init__(self, cluster: Cluster, member: int, connection: int) -> None:
        self.cluster = cluster
        self.member = member
        self.connection = connection
        self.received: list[ServerFrame] = []
        self.closed = False
        self.welcome: frames.Welcome | None = None
        self.goodbye: frames.Goodbye | None = None
        self.session = 0
        self.secret = b""
        self.next_request = 1
        self.confirmed = 0
        self.unanswered: dict[int, Row] = {}
        self.replies: dict[int, Reply] = {}
        self.buffer = FrameBuffer(1 << 26)
        self.resume: ResumeSession | None = None

    # --- what it sends -------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        (raw,) = FrameBuffer(1 << 24).feed(data)
        frame = frames.decode_client_frame(raw, self.cluster.settings.limits)
        if not self.closed:
            self.cluster.members[self.member].inbox.append(FromClient(self.connection, frame))

    def hello(self, hello: Hello) -> None:
        if isinstance(hello.session, ResumeSession):
            self.resume = hello.session
        self.send(frames.encode_hello(hello))

    def request(self) -> int:
        self.next_request += 1
        return self.next_request - 1

    def write(self, *ops: Op) -> int:
        """One frame; the id of the last op."""
        rows = [(self.request(), op.row()) for op in ops]
        self.unanswered.update(rows)
        self.send(frames.encode_writes(self.confirmed, rows))
        return rows[-1][0]

    def write_again(self) -> None:
        """All that was not answered, in its order, as after a reconnect."""
        if self.unanswered:
            self.send(frames.encode_writes(self.confirmed, list(self.unanswered.items())))

    def read(self, op: Op, mode: ReadMode = ReadMode.LINEARIZABLE, at_least: int = 0) -> int:
        return self.read_row(op.row(), mode, at_least)

    def read_row(self, row: Row, mode: ReadMode = ReadMode.LINEARIZABLE, at_least: int = 0) -> int:
        request = self.request()
        self.send(frames.encode_reads(mode, at_least, [(request, row)]))
        return request

    def watch(
        self,
        path: str,
        from_revision: int | None = None,
        scope: int = WatchScope.SUBTREE,
        number: int = 0,
    ) -> int:
        """The request's id; the watch's number is the same unless given."""
        request = self.request()
        self.send(
            frames.encode_watch(frames.Watch(request, number or request, path, int(scope), from_revision))
        )
        return request

    def unwatch(self, number: int) -> int:
        request = self.request()
        self.send(frames.encode_unwatch(frames.Unwatch(request, number)))
        return request

    def keepalive(self) -> int:
        request = self.request()
        self.send(frames.encode_keepalive(request))
        return request

    def end_session(self) -> int:
        request = self.request()
        self.send(frames.encode_end_session(request))
        return request

    def backlog(self, full: bool) -> None:
        self.cluster.members[self.member].inbox.append(Backlog(self.connection, full))

    def drop(self) -> None:
        """Hang up."""
        if not self.closed:
            self.cluster.members[self.member].inbox.append(ClientLost(self.connection))
            self.lose()

    def lose(self) -> None:
        self.closed = True
        self.cluster.clients.pop((self.member, self.connection), None)

    # --- what it gets --------------------------------------------------------------------------

    def take(self, data: bytes, close: bool) -> None:
        assert not self.closed
        for raw in self.buffer.feed(data):
            assert self.goodbye is None, "nothing follows a goodbye"
            frame = frames.decode_server_frame(raw)
            self.received.append(frame)
            if isinstance(frame, frames.Replies):
                for row in frame.rows:
                    self.unanswered.pop(row[0], None)
                    self.replies[row[0]] = row
            elif isinstance(frame, frames.Welcome):
                self.welcome = frame
                self.session = frame.session
                self.secret = self.resume.secret if self.resume else frame.secret
            elif isinstance(frame, frames.Goodbye):
                self.goodbye = frame
        assert self.buffer.pending_bytes == 0
        assert close == (self.goodbye is not None)
        if close:
            self.lose()

    def has(self, request: int) -> bool:
        return request in self.replies

    def reply(self, request: int) -> Reply:
        assert request in self.replies, f"request {request} was not answered"
        return self.replies[request]

    def events(self, watch: int) -> list[tuple[int, Change]]:
        """``(revision, change)`` that this watch was told, in order."""
        return [
            (group.revision, tuple(change))  # type: ignore[misc]
            for frame in self.received
            if isinstance(frame, frames.Events)
            for group in frame.groups
            for change, watches in group.events
            if watch in watches
        ]

    def watch_ends(self) -> list[frames.WatchEnded]:
        return [frame for frame in self.received if isinstance(frame, frames.WatchEnded)]

    def order(self) -> list[str]:
        """What came, in short words: ``event 3``, ``reply 7 at 3``, ``end 5``."""
        words = []
        for frame in self.received:
            if isinstance(frame, frames.Events):
                words += [f"event {group.revision}" for group in frame.groups]
            elif isinstance(frame, frames.Replies):
                words += [f"reply {row[0]} at {row[2]}" for row in frame.rows]
            elif isinstance(frame, frames.WatchEnded):
                words.append(f"end {frame.watch}")
        return words
