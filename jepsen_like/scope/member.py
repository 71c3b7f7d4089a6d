"""One member of a core scope: a real ``Raft``, its disk, a state machine that is a digest, and what it claims.

After each action everything that the core wants done is done that needs nobody else: batches go to the disk's queue,
committed entries are applied, sections of a snapshot are read. What leaves is compared with what is on the disk: a
vote, a candidate's request and an acknowledgement are claims about it (thesis §3.8).
"""

from hashlib import blake2b
from typing import Any

from coord.jepsen_like.scope.disk import Disk
from coord.jepsen_like.scope.model import Action, Broken, Effects
from coord.jepsen_like.scope.normal import normalise
from coord.raft import election
from coord.raft.messages import AppendReply, Message, PreVoteReply, Vote, VoteReply
from coord.raft.outputs import Outputs
from coord.raft.raft import Raft
from coord.raft.roles import Role
from coord.raft.settings import RaftSettings
from coord.raft.types import Configuration, Entry, HardState, SnapshotMeta


class Manner:
    """How all members of one scope are driven."""

    __slots__ = ("checks_quorum", "pre_votes", "reads", "settings", "syncs_at_once")

    def __init__(
        self, settings: RaftSettings, syncs_at_once: bool, checks_quorum: bool, reads: bool, pre_votes: bool
    ) -> None:
        self.settings = settings
        self.syncs_at_once = syncs_at_once
        """Disks are instant: for scopes in which nothing crashes, where a slow disk is no more than a slow message."""
        self.checks_quorum = checks_quorum
        self.reads = reads
        """Whether the scope has the check of the quorum, and reads: else what only they look at is forgotten."""
        self.pre_votes = pre_votes
        """Whether members ask for pre-votes before they campaign: if so, the judges hear of both."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "Manner":
        return self


def digest_of(digest: bytes, entry: Entry) -> bytes:
    """The state machine: a chain over all that was applied."""
    return blake2b(repr((digest, tuple(entry))).encode(), digest_size=6).digest()


class CoreMember:
    """See the module. ``applied_index`` and ``digest`` are the state machine."""

    __slots__ = ("applied_index", "digest", "disk", "formed_with", "installing", "lives", "number", "raft")

    def __init__(self, number: int, configuration: Configuration, settings: RaftSettings) -> None:
        self.number = number
        self.formed_with = configuration
        self.disk = Disk(SnapshotMeta(0, 0, configuration))
        self.lives = 0
        """How often it lost its disk, which makes another nonce."""
        self.installing: tuple[SnapshotMeta, bytes] | None = None
        self._start(settings)

    def _start(self, settings: RaftSettings) -> None:
        disk = self.disk
        disk.unsynced.clear()
        self.installing = None
        self.applied_index, self.digest = disk.snapshot.index, disk.content
        entries = [entry for entry in disk.entries if entry.index > disk.snapshot.index]
        self.raft = Raft(
            self.number, settings, self.lives + 1, disk.hard_state, disk.snapshot, entries, disk.recovering
        )

    def act(self, manner: Manner, action: Action) -> Effects:
        """Do one thing, and what follows from it here. Raises Broken."""
        turn = _Turn(self, manner)
        turn.do(action)
        turn.pump()
        turn.compare()
        normalise(self.raft, self.disk, self.lives, manner.checks_quorum, manner.reads)
        return Effects(tuple(turn.messages), tuple(turn.events))


class _Turn:
    """One action at one member, while it is done."""

    def __init__(self, member: CoreMember, manner: Manner) -> None:
        self.member = member
        self.manner = manner
        self.messages: list[tuple[int, Message]] = []
        self.events: list[tuple[Any, ...]] = []
        raft = member.raft
        self.was = (raft.role, raft.term, raft.commit_index, raft.last_index, raft._state.log.last_term)
        self.restarted = False

    # -- the actions ------------------------------------------------------------------------------------------

    def do(self, action: Action) -> None:
        kind, detail = action
        member = self.member
        raft = member.raft
        if kind == "deliver":
            raft.step(*detail)
        elif kind == "sync":
            self.sync()
        elif kind == "time out":
            self.tick(raft._state.election_timeout - raft._state.election_elapsed)
        elif kind == "lapse":
            self.tick(self.manner.settings.election_ticks - raft._state.election_elapsed)
        elif kind == "campaign":
            election.campaign(raft._state, forced=True)
        elif kind == "beat":
            self.tick(self.manner.settings.heartbeat_ticks)
        elif kind == "check quorum":
            self.tick(self.manner.settings.election_ticks)
        elif kind == "propose":
            raft.propose(detail)
        elif kind == "configure":
            if raft.propose_configuration(detail) is not None:
                self.events.append(("changes", raft.term))
        elif kind == "read":
            if raft.read_index(detail):
                self.events.append(("asked", detail))
        elif kind == "peer down":
            raft.peer_down(detail)
        elif kind == "restart":
            self.restart()
        elif kind == "lose":
            self.lose(detail)
        elif kind == "snapshot":
            self.snapshot()
        elif kind == "install":
            self.install()
        else:
            raise ValueError(kind)

    def tick(self, count: int) -> None:
        for _ in range(count):
            self.member.raft.tick()

    def sync(self) -> None:
        self.member.raft.persisted(self.member.disk.sync())

    def restart(self) -> None:
        """Crash, and start from the disk. To be down for a while is no more than to be slow."""
        self.member._start(self.manner.settings)
        self.restarted = True

    def lose(self, kept: int) -> None:
        """Crash, and the disk comes back damaged: no hard state, and of the log the first ``kept`` entries."""
        member = self.member
        disk = member.disk
        disk.hard_state = HardState(0, 0)
        del disk.entries[kept:]
        if not disk.entries:
            disk.snapshot, disk.content, disk.start_index = SnapshotMeta(0, 0, member.formed_with), b"", 0
        disk.recovering = True
        member.lives += 1
        self.restart()

    def snapshot(self) -> None:
        """Its own, durable at once: it comes when the disk is idle."""
        member, disk = self.member, self.member.disk
        meta = member.raft.snapshot_meta(member.applied_index)
        disk.snapshot, disk.content = meta, member.digest
        disk.trim(meta.index)
        member.raft.compact(meta, meta.index + 1)

    def install(self) -> None:
        """The shell's end of a received snapshot: first all batches, then the snapshot, then the core is told."""
        member = self.member
        if member.installing is None:
            raise ValueError("install")
        while member.disk.unsynced:
            self.sync()
        meta, content = member.installing
        member.installing = None
        member.disk.install(meta, content)
        member.applied_index, member.digest = meta.index, content
        member.raft.snapshot_installed(meta)
        self.events.append(("installed", meta, content))

    # -- what follows -------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Take outputs until there are none."""
        member = self.member
        while True:
            outputs = member.raft.take_outputs()
            if not outputs:
                break
            self._handle(outputs)
        member.disk.recovering = member.raft.recovering

    def _handle(self, outputs: Outputs) -> None:
        member = self.member
        raft, disk = member.raft, member.disk
        for to, message in outputs.messages:
            self._check_claim(message, to)
            if self.manner.pre_votes and isinstance(message, PreVoteReply) and message.granted:
                self.events.append(("would vote", message.term, to))
            self.messages.append((to, message))
        for entry in outputs.committed:
            if entry.index != member.applied_index + 1:
                raise Broken("committed entries come in order", f"{entry} after {member.applied_index}")
            member.applied_index = entry.index
            member.digest = digest_of(member.digest, entry)
        if outputs.committed:
            leads = raft.role is Role.LEADER
            self.events.append(("committed", tuple(outputs.committed), raft.term, leads))
        self.events += [("granted", context, index) for context, index in outputs.reads]
        self.events += [("refused", context) for context in outputs.reads_refused]
        for peer, snapshot_index, section in outputs.sections_wanted:
            if disk.snapshot.index == snapshot_index:
                raft.section_loaded(peer, snapshot_index, section, disk.content, True)
            else:
                raft.section_missing(peer, snapshot_index)
        for meta, _section, data, _last in outputs.sections_received:
            member.installing = (meta, data)
        if outputs.persist is not None:
            disk.unsynced.append(outputs.persist)
            if self.manner.syncs_at_once:
                self.sync()

    def _check_claim(self, message: Message, to: int) -> None:
        """What is said about the disk is true of it."""
        member, disk = self.member, self.member.disk
        if isinstance(message, VoteReply) and message.granted and disk.hard_state != (message.term, to):
            raise Broken("a vote is durable before it is said", f"{message} to {to}, {disk.hard_state}")
        if isinstance(message, Vote):
            log_is_there = disk.term_at(message.last_index) == message.last_term
            if disk.hard_state != (message.term, member.number) or not log_is_there:
                raise Broken("a candidacy is durable before it is said", f"{message}, {disk.hard_state}")
        if isinstance(message, AppendReply) and not (
            disk.hard_state.term >= message.term and self._has_on_disk(message.match_index)
        ):
            raise Broken("an entry is durable before it is acknowledged", f"{message}, {disk.entries}")

    def _has_on_disk(self, last: int) -> bool:
        """Whether the log in memory through ``last`` is on the disk."""
        log, disk = self.member.raft._state.log, self.member.disk
        first = max(log.boundary_index, disk.start_index) + 1
        return all(disk.entry_at(index) == log.slice(index, index)[0] for index in range(first, last + 1))

    def compare(self) -> None:
        """Note what is new about this member, for the judges."""
        raft = self.member.raft
        role, term, commit_index, last_index, last_term = self.was
        if raft.role is Role.LEADER:
            if raft.recovering:
                raise Broken("who is recovering does not lead", f"member {self.member.number}")
            if role is not Role.LEADER or raft.term != term:
                if self.member.disk.hard_state != (raft.term, self.member.number):
                    raise Broken(
                        "a leader's vote is on its disk", f"{self.member.disk.hard_state} in {raft.term}"
                    )
                self.events.insert(0, ("leads", raft.term))
        if self.manner.pre_votes and raft.role is Role.CANDIDATE and raft.term > term:
            self.events.append(("campaigns", raft.term))
        if (raft.last_index, raft._state.log.last_term) != (last_index, last_term):
            self.events.append(("log",))
        if not self.restarted and (raft.term < term or raft.commit_index < commit_index):
            raise Broken("terms and commit indexes only grow", f"{self.was} to {raft.status()}")
