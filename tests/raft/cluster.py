"""N members in one thread, with a network and disks that do only what they are told.

Messages lie in ``network`` until delivered, dropped or repeated; batches lie in a member's ``disk.unsynced`` until
synced. Every output of a member is looked at by ``ghosts`` and written to ``trace`` in words.
"""

from collections import deque
from collections.abc import Callable, Iterable
from zlib import crc32

from coord.api.checks import check
from coord.raft.messages import (
    Append,
    Message,
    SnapshotSection,
)
from coord.raft.raft import Raft
from coord.raft.roles import Role
from coord.raft.settings import RaftSettings
from coord.raft.types import (
    ENTRY_CONFIGURATION,
    Configuration,
    Entry,
    HardState,
    Persist,
    SnapshotMeta,
)
from tests.raft.ghosts import Ghosts

SETTINGS = RaftSettings(
    election_ticks=10, heartbeat_ticks=2, max_append_bytes=1 << 20, max_inflight_appends=4
)


class Disk:
    """What survives a crash: batches that were synced, and those unsynced ones that fate lets through."""

    def __init__(self, snapshot: SnapshotMeta) -> None:
        self.hard_state = HardState(0, 0)
        self.snapshot = snapshot
        self.snapshot_content: tuple[bytes, ...] = ()
        self.entries: list[Entry] = []
        """After ``start_index``, contiguous."""
        self.start_index = snapshot.index
        self.start_term = snapshot.term
        self.unsynced: deque[Persist] = deque()

    def write(self, persist: Persist) -> None:
        if persist.hard_state is not None:
            check(persist.hard_state.term >= self.hard_state.term, "terms on disk only grow", persist)
            self.hard_state = persist.hard_state
        if persist.entries:
            first = persist.entries[0].index
            check(
                first <= self.start_index + len(self.entries) + 1, "no holes on disk", persist.number, first
            )
            check(
                first > self.start_index, "entries below a snapshot are not rewritten", persist.number, first
            )
            del self.entries[first - self.start_index - 1 :]
            self.entries.extend(persist.entries)

    def trim(self, index: int) -> None:
        """Drop entries through ``index``."""
        if index > self.start_index:
            self.start_term = self.entries[index - self.start_index - 1].term
            del self.entries[: index - self.start_index]
            self.start_index = index

    def restart_at(self, meta: SnapshotMeta) -> None:
        self.entries = []
        self.start_index, self.start_term = meta.index, meta.term


class Member:
    """A Raft, its disk, and a state machine that is just a digest of what it applied."""

    def __init__(self, member_id: int, configuration: Configuration) -> None:
        self.member_id = member_id
        self.formed_with = configuration
        self.disk = Disk(SnapshotMeta(0, 0, configuration))
        self.raft: Raft | None = None
        self.starts = 0
        self.applied_index = 0
        self.digest = b""
        self.receiving: list[bytes] = []
        self.ever_durable: set[tuple[int, int]] = set()
        """The observer's note, which even a replaced disk leaves: what was on disk at some time."""
        self.role = Role.FOLLOWER
        self.term = 0
        self.commit_index = 0
        self.recovering = False
        """What the shell remembers on disk about being whole."""

    def write(self, persist: Persist) -> None:
        """A batch is on disk now."""
        self.disk.write(persist)
        self.ever_durable.update([(entry.index, entry.term) for entry in persist.entries])


class Cluster:
    """See the module. ``up(i)`` is the live Raft of member ``i``."""

    def __init__(
        self,
        voters: Iterable[int],
        learners: Iterable[int] = (),
        outside: Iterable[int] = (),
        settings: RaftSettings = SETTINGS,
        seed: int = 1,
    ) -> None:
        self.settings = settings
        self.seed = seed
        self.ghosts = Ghosts()
        self.network: list[tuple[int, int, Message]] = []
        self.cut: dict[tuple[int, int], bool] = {}
        self.stalled: dict[int, bool] = {}
        """Members whose disks do not sync in :meth:`settle`."""
        self.trace: list[str] = []
        self.reads: list[tuple[int, int, int]] = []
        """(member, context, index)"""
        self.refused_reads: list[tuple[int, int]] = []
        self.auto_install = True
        """Whether the last section is installed as soon as it arrives."""
        self.installing: dict[int, SnapshotMeta] = {}
        configuration = Configuration(tuple(sorted(voters)), (), tuple(sorted(learners)))
        self.members: dict[int, Member] = {}
        for member_id in (*configuration.voters, *configuration.learners):
            self.members[member_id] = Member(member_id, configuration)
        for member_id in outside:
            self.members[member_id] = Member(member_id, Configuration(()))
        for member_id in self.members:
            self.start(member_id)

    # -- lives ----------------------------------------------------------------------------------------------

    def start(self, member_id: int, recovering: bool = False) -> None:
        member = self.members[member_id]
        check(member.raft is None, "a member is started when it is down", member_id)
        disk = member.disk
        member.starts += 1
        member.recovering = member.recovering or recovering
        member.raft = Raft(
            member_id,
            self.settings,
            self.seed * 1_000_003 + member_id * 101 + member.starts,
            disk.hard_state,
            disk.snapshot,
            [entry for entry in disk.entries if entry.index > disk.snapshot.index],
            member.recovering,
        )
        member.applied_index = disk.snapshot.index
        member.digest = disk.snapshot_content[-1] if disk.snapshot_content else b""
        member.receiving = []
        member.role = Role.FOLLOWER
        member.term = member.raft.term
        member.commit_index = member.raft.commit_index

    def crash(self, member_id: int, unsynced_kept: int = 0) -> None:
        """Stop; of the unsynced batches, the first ``unsynced_kept`` turn out to be on disk."""
        member = self.members[member_id]
        for persist in list(member.disk.unsynced)[:unsynced_kept]:
            member.write(persist)
        member.disk.unsynced.clear()
        member.raft = None
        self.installing.pop(member_id, None)

    def replace_disk(self, member_id: int) -> None:
        """The member is down, and its disk is now empty."""
        member = self.members[member_id]
        check(member.raft is None, "a disk is replaced when its member is down", member_id)
        member.disk = Disk(SnapshotMeta(0, 0, member.formed_with))

    def up(self, member_id: int) -> Raft:
        raft = self.members[member_id].raft
        check(raft is not None, "the member is up", member_id)
        assert raft is not None
        return raft

    def live(self) -> list[int]:
        return [member_id for member_id, member in self.members.items() if member.raft is not None]

    def leaders(self) -> list[int]:
        return [member_id for member_id in self.live() if self.up(member_id).role is Role.LEADER]

    # -- outputs --------------------------------------------------------------------------------------------

    def pump(self, member_id: int) -> None:
        """Take what the member wants done, and do the instantaneous part of it."""
        member = self.members[member_id]
        raft = member.raft
        if raft is None:
            return
        outputs = raft.take_outputs()
        self._watch(member, raft)
        if outputs.persist is not None:
            check(bool(outputs.persist.entries) or outputs.persist.hard_state is not None, "no empty batches")
            member.disk.unsynced.append(outputs.persist)
            self.say(f"{member_id} writes {batch_in_words(outputs.persist)}")
            self._watch_names(member, outputs.persist)
        for to, message in outputs.messages:
            check(to != member_id, "nobody writes to itself", message)
            if isinstance(message, Append):
                self.ghosts.log_matching(message.previous_term, message.entries)
            self.network.append((member_id, to, message))
        for entry in outputs.committed:
            self._apply(member, raft, entry)
        for context, index in outputs.reads:
            self.say(f"{member_id} may read {context} at {index}")
            self.ghosts.read_is_fresh(context, index)
            self.reads.append((member_id, context, index))
        for context in outputs.reads_refused:
            self.say(f"{member_id} refuses read {context}")
            self.refused_reads.append((member_id, context))
        for peer, snapshot_index, section in outputs.sections_wanted:
            self._load_section(member, raft, peer, snapshot_index, section)
        for meta, section, data, last in outputs.sections_received:
            self._store_section(member, raft, meta, section, data, last)
        if outputs.sections_wanted or outputs.sections_received:
            self.pump(member_id)

    def _watch(self, member: Member, raft: Raft) -> None:
        if raft.role is not member.role or raft.term != member.term:
            self.say(f"{member.member_id} is {raft.role.name.lower()} in term {raft.term}")
        check(raft.term >= member.term, "terms only grow", member.member_id, raft.term, member.term)
        check(raft.commit_index >= member.commit_index, "the commit index only grows", member.member_id)
        check(raft.commit_index <= raft.last_index, "what is committed is in the log", member.member_id)
        if raft.role is Role.LEADER:
            self.ghosts.election_safety(raft.term, member.member_id)
            check(not raft.recovering, "who is recovering does not lead", member.member_id)
        if member.recovering and not raft.recovering:
            self.say(f"{member.member_id} has recovered")
        member.recovering = raft.recovering
        member.role, member.term, member.commit_index = raft.role, raft.term, raft.commit_index

    def _watch_names(self, member: Member, persist: Persist) -> None:
        if not persist.entries:
            return
        first = persist.entries[0].index
        previous = self.up(member.member_id).term_at(first - 1)
        if previous is not None:
            self.ghosts.log_matching(previous, persist.entries)

    def _apply(self, member: Member, raft: Raft, entry: Entry) -> None:
        check(
            entry.index == member.applied_index + 1,
            "committed entries come in order",
            member.member_id,
            entry,
        )
        self.say(f"{member.member_id} applies {entry_in_words(entry)}")
        first = self.ghosts.state_machine_safety(entry)
        if first and raft.role is Role.LEADER and entry.term == raft.term and not raft.configuration.outgoing:
            durable = {other.member_id: other.ever_durable for other in self.members.values()}
            self.ghosts.acknowledged_means_durable(entry, raft.configuration, durable)
        member.applied_index = entry.index
        member.digest = digest_of(member.digest, entry)

    # -- snapshots ------------------------------------------------------------------------------------------

    def snapshot(self, member_id: int, keep: int = 0) -> SnapshotMeta:
        """Take a snapshot of what was applied, durably, and drop all but ``keep`` entries before it."""
        member, raft = self.members[member_id], self.up(member_id)
        self.sync(member_id)
        meta = raft.snapshot_meta(member.applied_index)
        member.disk.snapshot = meta
        member.disk.snapshot_content = (b"begin", b"middle", member.digest)
        member.disk.trim(max(member.disk.start_index, meta.index - keep))
        raft.compact(meta, meta.index + 1 - keep)
        self.say(f"{member_id} has a snapshot at {meta.index}, its log begins at {raft.first_index}")
        return meta

    def _load_section(self, member: Member, raft: Raft, peer: int, snapshot_index: int, section: int) -> None:
        if member.disk.snapshot.index != snapshot_index:
            raft.section_missing(peer, snapshot_index)
            return
        content = member.disk.snapshot_content
        raft.section_loaded(peer, snapshot_index, section, content[section], section == len(content) - 1)

    def _store_section(
        self, member: Member, raft: Raft, meta: SnapshotMeta, section: int, data: bytes, last: bool
    ) -> None:
        if section == 0:
            member.receiving = []
        check(len(member.receiving) == section, "sections come in order", meta, section)
        member.receiving.append(data)
        if not last:
            raft.section_stored(meta, section)
            return
        self.installing[member.member_id] = meta
        if self.auto_install:
            self.install(member.member_id)

    def install(self, member_id: int, good: bool = True) -> None:
        """Finish what the shell does with a whole snapshot."""
        member, raft = self.members[member_id], self.up(member_id)
        meta = self.installing.pop(member_id)
        if not good:
            raft.snapshot_refused(meta)
            return
        self.sync(member_id)
        member.disk.snapshot = meta
        member.disk.snapshot_content = tuple(member.receiving)
        member.disk.restart_at(meta)
        member.applied_index = meta.index
        member.digest = member.receiving[-1]
        check(meta.index <= self.ghosts.committed_index, "a snapshot holds what was committed", meta)
        check(
            self.ghosts.committed[meta.index - 1].term == meta.term, "a snapshot is of the true history", meta
        )
        check(member.digest == digest_of_all(self.ghosts.committed[: meta.index]), "a snapshot is true", meta)
        self.say(f"{member_id} installs the snapshot at {meta.index}")
        raft.snapshot_installed(meta)

    # -- disk and network -----------------------------------------------------------------------------------

    def sync(self, member_id: int, count: int | None = None) -> int:
        """Sync the next ``count`` batches of a member (all, if None); how many there were."""
        member = self.members[member_id]
        done = 0
        while member.disk.unsynced and (count is None or done < count):
            persist = member.disk.unsynced.popleft()
            member.write(persist)
            self.say(f"{member_id} synced #{persist.number}")
            if member.raft is not None:
                member.raft.persisted(persist.number)
            done += 1
        return done

    def deliver(self, position: int) -> None:
        """Hand over the message at ``position`` in the network; lost if the link is cut or the receiver down."""
        sender, to, message = self.network.pop(position)
        member = self.members.get(to)
        lost = member is None or member.raft is None or self.cut.get((sender, to), False)
        self.say(f"{sender}>{to} {message_in_words(message)}{' (lost)' if lost else ''}")
        if not lost and member is not None and member.raft is not None:
            member.raft.step(sender, message)

    def settle(self, rounds: int = 3000) -> None:
        """Deliver in order, and sync disks that are not stalled, until nothing is left to do."""
        for _ in range(rounds):
            busy = False
            for member_id in self.live():
                self.pump(member_id)
            for _ in range(len(self.network)):
                self.deliver(0)
                busy = True
            for member_id in self.live():
                if not self.stalled.get(member_id, False) and self.sync(member_id):
                    busy = True
            if not busy:
                return
        raise AssertionError("the cluster does not come to rest")

    def take(self, wanted: Callable[[int, int, Message], bool]) -> list[tuple[int, int, Message]]:
        """Remove the messages that match from the network, and return them."""
        taken = [letter for letter in self.network if wanted(*letter)]
        self.network = [letter for letter in self.network if not wanted(*letter)]
        return taken

    def isolate(self, member_id: int, inbound: bool = True, outbound: bool = True) -> None:
        for other in self.members:
            if other != member_id:
                if inbound:
                    self.cut[other, member_id] = True
                if outbound:
                    self.cut[member_id, other] = True

    def heal(self) -> None:
        self.cut = {}

    # -- time -----------------------------------------------------------------------------------------------

    def tick(self, member_id: int, count: int = 1) -> None:
        for _ in range(count):
            if self.members[member_id].raft is not None:
                self.up(member_id).tick()
                self.pump(member_id)

    def pass_time(self, ticks: int) -> None:
        """Everybody ticks, and after every tick all that is to be done is done."""
        for _ in range(ticks):
            for member_id in self.live():
                self.tick(member_id)
            self.settle()

    def elect(self, member_id: int) -> None:
        """Make this member lose its patience first, and everybody else theirs with the leader."""
        for other in self.live():
            if other != member_id:
                self.deafen(other)
        self.network.clear()
        for _ in range(2 * self.settings.election_ticks):
            if self.up(member_id).role is not Role.FOLLOWER:
                break
            self.tick(member_id)
        self.settle()
        check(self.up(member_id).role is Role.LEADER, "the member was elected", member_id, self.trace[-20:])

    def deafen(self, member_id: int) -> None:
        """Let a follower give up on its leader, as silence would, but without campaigning itself."""
        state = self.up(member_id)._state
        if state.role is not Role.LEADER:
            state.leader = 0

    def say(self, line: str) -> None:
        self.trace.append(line)


def digest_of(digest: bytes, entry: Entry) -> bytes:
    """A state machine in one line. Cheap, and different for different histories in all that a test would meet."""
    return b"%d" % crc32(b"%s|%d|%d|%d|%s" % (digest, *entry))


def digest_of_all(entries: Iterable[Entry]) -> bytes:
    digest = b""
    for entry in entries:
        digest = digest_of(digest, entry)
    return digest


# -- words --------------------------------------------------------------------------------------------------


def entry_in_words(entry: Entry) -> str:
    if entry.kind == ENTRY_CONFIGURATION:
        return f"{entry.index}/{entry.term} configuration"
    return f"{entry.index}/{entry.term} {entry.data.decode() or 'no-op'}"


def batch_in_words(persist: Persist) -> str:
    words = [f"#{persist.number}:"]
    if persist.hard_state is not None:
        words.append(f"term {persist.hard_state.term} vote {persist.hard_state.vote};")
    words.append(", ".join(entry_in_words(entry) for entry in persist.entries) or "no entries")
    return " ".join(words)


def message_in_words(message: Message) -> str:
    fields = []
    for name, value in zip(message._fields, message, strict=True):
        if name == "entries" and isinstance(message, Append):
            value = "[" + ", ".join(entry_in_words(entry) for entry in message.entries) + "]"
        elif name == "meta" and isinstance(message, SnapshotSection):
            value = f"{message.meta.index}/{message.meta.term}"
        elif name == "recovering" and not value:
            continue
        fields.append(f"{name}={value}")
    return f"{type(message).__name__} " + " ".join(fields)
