"""What must always hold, watched by an observer who sees all members at once and remembers everything.

Everything is computed here anew, from what members say, write and have: nothing of the code under test decides what is
right, majorities included. Each check has the name of the property that it guards (Ongaro's thesis, figure 3.2).
"""

from typing import TYPE_CHECKING, Any, Final

from coord.disk.storage import Recovered
from coord.jepsen_like.sim.ghost import Ghost, is_quorum
from coord.jepsen_like.sim.oracle import Oracle
from coord.raft.configuration import decode_configuration
from coord.raft.messages import AppendReply, PreVoteReply, RecoveryRequest, TimeoutNow, Vote, VoteReply
from coord.raft.roles import Role
from coord.raft.types import ENTRY_CONFIGURATION, Configuration, Entry, HardState, Persist, SnapshotMeta
from coord.replica.inputs import Outputs
from coord.wire.peer_frames import ReadGranted, ReadRequest

if TYPE_CHECKING:
    from coord.jepsen_like.sim.life import Life
    from coord.jepsen_like.sim.member import Member
    from coord.jepsen_like.sim.simulation import Simulation

LOOKED_AT: Final = (
    Vote, VoteReply, AppendReply, PreVoteReply, TimeoutNow, RecoveryRequest, ReadRequest, ReadGranted,
)  # fmt: skip
"""What may be said only once something is so, and what is rarely said."""


class Ghosts:
    def __init__(self, sim: "Simulation") -> None:
        self._sim = sim
        self.members = {number: Ghost() for number in sim.members}
        self.committed: list[Entry] = []
        """``committed[i]`` is the entry at ``i + 1``."""
        self.commit_terms: list[int] = []
        """The term in which each was first seen committed."""
        self.configurations: list[tuple[int, Configuration]] = []
        """Those that are committed, with their indexes."""
        self.asked_for: dict[tuple[tuple[int, ...], tuple[int, ...]], None] = {}
        """``(voters, learners)`` that somebody asked for."""
        self.leader_of_term: dict[int, int] = {}
        self.campaigns: dict[tuple[int, int], tuple[int, int]] = {}
        """``(term, candidate)``: the last term and the last index of its log, as it told them."""
        self.oracle = Oracle(sim)

    def _check(self, holds: bool, promise: str, what: str, *facts: Any) -> bool:
        if not holds:
            told = ", ".join(repr(fact)[:300] for fact in facts)
            self._sim.broken(promise, f"{what} ({told})")
        return holds

    # --- the disk ---------------------------------------------------------------------------------------------------

    def is_durable(self, number: int, batch: Persist) -> None:
        """``batch`` is written and synced at member ``number``."""
        ghost = self.members[number]
        if batch.hard_state is not None:
            known, state = ghost.durable_state, batch.hard_state
            self._check(
                state.term > known.term or (state.term == known.term and known.vote in (0, state.vote)),
                "election safety", "a member has one vote in a term, for ever", number, known, state,
            )  # fmt: skip
            ghost.durable_state = state
        if batch.entries:
            del ghost.durable[batch.entries[0].index - 1 :]
            self._check(
                len(ghost.durable) == batch.entries[0].index - 1,
                "log", "a member's log has no holes", number, len(ghost.durable), batch.entries[0].index,
            )  # fmt: skip
            ghost.durable += batch.entries
            for entry in batch.entries:
                ghost.ever[(entry.index, entry.term)] = None

    def names_a_snapshot(self, number: int, meta: SnapshotMeta) -> None:
        """Member ``number`` speaks of a snapshot: it holds what is committed through there, configuration included."""
        configuration = self._sim.world.configuration
        for index, committed in self.configurations:
            if index <= meta.index:
                configuration = committed
        self._check(
            meta.configuration == configuration,
            "snapshots", "a snapshot has the configuration of its last entry, and no later one",
            number, meta, configuration,
        )  # fmt: skip

    def installed(self, number: int, meta: SnapshotMeta) -> None:
        """A leader's snapshot is durable at member ``number``, and its log starts after it."""
        ghost = self.members[number]
        self.names_a_snapshot(number, meta)
        self._check(
            meta.index <= len(self.committed) and self.committed[meta.index - 1].term == meta.term,
            "state machine safety", "a snapshot is of committed entries", number, meta, len(self.committed),
        )  # fmt: skip
        ghost.durable = self.committed[: meta.index]
        ghost.held = self.committed[: meta.index]
        ghost.installed_index = max(ghost.installed_index, meta.index)
        self._sim.happened_to("snapshot_installed", number)

    def opened(self, member: "Member", recovered: Recovered) -> None:
        """A folder was opened. What was durable is there, or the member says that it is not: never quietly less."""
        ghost = self.members[member.number]
        index = recovered.snapshot.index if recovered.snapshot is not None else 0
        log = self.committed[:index] + recovered.entries
        state = recovered.hard_state
        if recovered.cut_bytes:
            self._sim.mark("torn_tail_cut")
        if recovered.damage is None:
            self._check(
                index <= len(self.committed),
                "durability",
                "a snapshot on disk is of committed entries",
                member.number,
            )
            known = ghost.durable_state
            self._check(
                state.term > known.term or (state.term == known.term and known.vote in (0, state.vote)),
                "durability", "term and vote survive a restart", member.number, known, state,
            )  # fmt: skip
            unsure_from = min(
                [batch.entries[0].index for batch in member.in_flight if batch.entries], default=1 << 62
            )
            sure = [(each.index, each.term) for each in ghost.durable[: unsure_from - 1]]
            if log[:index] != ghost.durable[:index]:
                sure = []  # a leader's snapshot, which that log does not reach or fit, has taken its place
            found = [(each.index, each.term) for each in log[: len(sure)]]
            self._check(
                found == sure, "durability", "what was synced survives a restart, or damage is told",
                member.number, len(sure), len(found), recovered.notes,
            )  # fmt: skip
        else:
            self._check(
                member.harmed,
                "durability",
                "damage is told where there is some",
                member.number,
                recovered.damage,
            )
            self._sim.mark("damage_told")
        member.in_flight = []
        ghost.durable = list(log)
        ghost.held = list(log)
        ghost.durable_state = state
        ghost.commit_index = min(index, len(self.committed))
        ghost.leads = False
        ghost.reads_asked.clear()
        ghost.recovery_asked = None
        for each in log:
            ghost.ever[(each.index, each.term)] = None
        self._sim.budget.opened(member.number, recovered.damage is not None)

    def whole(self, number: int) -> None:
        """Member ``number``, which had lost something, is a full member again: it has what it may have promised."""
        ghost = self.members[number]
        for entry in self.committed[len(ghost.durable) :]:
            self._check(
                (entry.index, entry.term) not in ghost.ever,
                "durability", "who is whole again has all that is committed and that it ever had on its disk",
                number, len(ghost.durable), entry,
            )  # fmt: skip
        # Its target was appended after it had asked, and so lies beyond all that was committed by then; and its vote in
        # this term may have been given by the life that is forgotten.
        asked, state = ghost.recovery_asked, ghost.durable_state
        self._check(
            asked is not None and len(ghost.durable) >= asked,
            "durability", "who is whole again has all that was committed when it asked for it",
            number, len(ghost.durable), asked,
        )  # fmt: skip
        self._check(
            state.vote != 0, "election safety", "who is whole again has no vote to give", number, state
        )

    def formed(self, member: "Member", recovering: bool) -> None:
        self._sim.budget.formed(member.number, recovering)

    def wiped(self, number: int) -> None:
        ghost = self.members[number]
        ghost.durable, ghost.held = [], []
        ghost.durable_state = HardState(0, 0)

    def serves(self, life: "Life") -> None:
        assert life.replica is not None
        self.members[life.member.number].replica_term = life.replica.state.raft.term

    # --- after each step --------------------------------------------------------------------------------------------

    def stepped(self, life: "Life", outputs: Outputs) -> int:
        """Look at one member after a step; how many entries it applied."""
        replica = life.replica
        assert replica is not None
        number = life.member.number
        ghost = self.members[number]
        raft = replica.state.raft
        for batch in outputs.persists:
            if batch.entries:
                first = batch.entries[0].index
                if first <= len(ghost.held):
                    self._sim.mark("log_truncated")
                    del ghost.held[first - 1 :]
                self._check(
                    first == len(ghost.held) + 1, "log", "a log has no holes", number, first, len(ghost.held)
                )
                ghost.held += batch.entries
            if batch.hard_state is not None and batch.hard_state.vote not in (0, number):
                # Once the term has a leader, its entries may stand in the log that were not there at the vote: a paused
                # member takes both in one step, and perhaps that the leader's host says it is down. Such a vote comes
                # too late to elect anybody.
                if batch.hard_state.term not in self.leader_of_term and batch.hard_state != ghost.voted:
                    self._voted(number, ghost, batch.hard_state)
                ghost.voted = batch.hard_state
        if raft.term != ghost.replica_term:
            self._check(
                raft.term > ghost.replica_term,
                "term",
                "a term never goes back",
                number,
                raft.term,
                ghost.replica_term,
            )
            ghost.replica_term = raft.term
        leads = raft.role is Role.LEADER
        led_before = leads and ghost.leads and self.leader_of_term.get(raft.term) == number
        if leads != ghost.leads or (leads and self.leader_of_term.get(raft.term) != number):
            ghost.leads = leads
            self._leadership(life, ghost, leads)
        for to, message in outputs.messages:
            if type(message) in LOOKED_AT:
                self._said(number, ghost, to, message)
        commit = raft.commit_index
        applied = commit - ghost.commit_index
        if applied:
            self._commits(life, ghost, commit)
            if led_before and not self._sim.violations:
                # By counting, a leader commits entries of its own term, and with them what is before (figure 3.7).
                term = ghost.held[commit - 1].term
                self._check(
                    term == raft.term, "commit", "a leader commits by an entry of its own term",
                    number, commit, term, raft.term,
                )  # fmt: skip
        return applied

    def _voted(self, number: int, ghost: Ghost, state: HardState) -> None:
        mine = (ghost.held[-1].term, ghost.held[-1].index) if ghost.held else (0, 0)
        theirs = self.campaigns.get((state.term, state.vote), (0, 0))
        self._check(
            theirs >= mine, "leader completeness", "a vote goes to a log that is up to date",
            number, state, mine, theirs,
        )  # fmt: skip

    def _leadership(self, life: "Life", ghost: Ghost, leads: bool) -> None:
        assert life.replica is not None
        raft, number = life.replica.state.raft, life.member.number
        if not leads:
            self._sim.happened("leader_ended", life)
            return
        known = self.leader_of_term.setdefault(raft.term, number)
        self._check(known == number, "election safety", "a term has one leader", raft.term, known, number)
        needed = 0
        while needed < len(self.committed) and self.commit_terms[needed] < raft.term:
            needed += 1
        self._check(
            ghost.held[:needed] == self.committed[:needed],
            "leader completeness", "a leader has all that was committed before its term", number, raft.term, needed,
        )  # fmt: skip
        self._sim.leads(number, raft.term)
        self._sim.happened("election_won", life)

    def _said(self, number: int, ghost: Ghost, to: int, message: Any) -> None:
        state = ghost.durable_state
        if type(message) is Vote:
            holds = state == (message.term, number) or state.term > message.term
            self._check(holds, "durability", "a candidate's own vote is on disk", number, state, message)
            self.campaigns[(message.term, number)] = (message.last_term, message.last_index)
        elif type(message) is VoteReply:
            if message.granted:
                holds = state == (message.term, to) or state.term > message.term
                self._check(
                    holds, "durability", "a vote is on disk before it is said", number, to, state, message
                )
                self._sim.happened_to("vote_granted", number)
        elif type(message) is PreVoteReply:
            if not message.granted:
                self._sim.mark("pre_vote_refused")
        elif type(message) is TimeoutNow:
            self._sim.mark("transferred")
        elif type(message) is RecoveryRequest:
            if ghost.recovery_asked is None:
                ghost.recovery_asked = len(self.committed)
        elif type(message) is ReadRequest:
            ghost.reads_asked[message.read] = len(self.committed)
        elif type(message) is ReadGranted:
            asked_at = self.members[to].reads_asked.get(message.read, 0)
            self._check(
                message.index >= asked_at,
                "reads", "a read is granted at no less than what was committed when it was asked for",
                number, to, message, asked_at,
            )  # fmt: skip
        else:
            index, durable = message.match_index, ghost.durable
            holds = state.term >= message.term and index <= len(durable)
            holds = holds and (not index or durable[index - 1].term == ghost.held[index - 1].term)
            self._check(
                holds, "durability", "an acknowledged entry is on disk", number, state, len(durable), message
            )

    def _commits(self, life: "Life", ghost: Ghost, commit: int) -> None:
        assert life.replica is not None
        number, raft, committed = life.member.number, life.replica.state.raft, self.committed
        if not self._check(
            ghost.commit_index <= commit <= len(ghost.held),
            "commit", "a commit index goes forward, within the log",
            number, ghost.commit_index, commit, len(ghost.held),
        ):  # fmt: skip
            return
        known_before = len(committed)
        for index in range(ghost.commit_index + 1, commit + 1):
            entry = ghost.held[index - 1]
            if index <= len(committed):
                known = committed[index - 1]
                if known is not entry and known != entry:
                    self._check(
                        False, "state machine safety", "a committed entry never changes", number, known, entry
                    )
                    return
                continue
            committed.append(entry)
            self.commit_terms.append(raft.term)
            if entry.kind == ENTRY_CONFIGURATION:
                configuration = decode_configuration(entry.data)
                self._follows(number, configuration)
                self.configurations.append((index, configuration))
                if configuration.outgoing:
                    self._sim.mark("configuration_joint")
            self.oracle.apply(entry, life)
        if len(committed) > known_before:
            self._majority_has(life, commit)
        ghost.commit_index = commit
        self.oracle.compare(life)

    def _follows(self, number: int, configuration: Configuration) -> None:
        """A committed change is one that somebody asked for, by way of a joint configuration where voters change."""
        before = self.configurations[-1][1] if self.configurations else self._sim.world.configuration
        voters, outgoing, learners, learners_next = configuration
        target = (voters, tuple(sorted({*learners, *learners_next})))
        if before.outgoing:
            wanted = (before.voters, tuple(sorted({*before.learners, *before.learners_next})))
            holds = not outgoing and target == wanted
        else:
            holds = target in self.asked_for and (outgoing or voters) == before.voters
        self._check(
            holds,
            "membership",
            "who votes and who learns is as somebody asked for",
            number,
            before,
            configuration,
        )

    def _majority_has(self, life: "Life", index: int) -> None:
        """The newest committed entry, and with it all before, has been on the disks of a majority."""
        assert life.replica is not None
        raft = life.replica.state.raft
        name = (index, self.committed[index - 1].term)
        holders = {
            number: None
            for number, ghost in self.members.items()
            if name in ghost.ever or index <= ghost.installed_index
        }
        # The configuration that acts may have been appended because of this very commit.
        configurations = (raft.configuration, raft.configuration_at(index))
        self._check(
            any(is_quorum(each, holders) for each in configurations),
            "durability", "what is committed is on a majority's disks", name, list(holders), configurations,
        )  # fmt: skip
