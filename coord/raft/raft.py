"""The router: inputs go to the file that knows about them; outputs are gathered on request.

The shell's loop, whatever the shell (sockets and disks, or a simulator):

    raft.tick(); raft.step(sender, message); raft.persisted(number); ...     # whatever has arrived
    outputs = raft.take_outputs()
    disk.write(outputs.persist)              # answers persisted(number) when it is synced
    network.send(outputs.messages)           # at once: what must wait for the disk is not among them
    apply(outputs.committed)

Nothing in here knows the time, draws from a dice that was not handed in, or does anything. The same start and
the same inputs give the same outputs.
"""

from collections.abc import Callable, Sequence
from typing import Any

from coord.api.checks import check
from coord.raft import election, following, messages, recovering, replication, snapshots
from coord.raft.commitment import deliver_committed
from coord.raft.configuration import is_well_formed
from coord.raft.dice import Dice
from coord.raft.leading import tick_leader
from coord.raft.log import Log
from coord.raft.membership import propose_configuration
from coord.raft.membership_log import configuration_at, configurations_compacted_to, scan_configurations
from coord.raft.messages import Message
from coord.raft.outputs import Outputs
from coord.raft.peer_down import peer_down
from coord.raft.persistence import batch_synced, release_held, send, take_batch
from coord.raft.progress import ProgressState
from coord.raft.proposals import append_commands
from coord.raft.reads import begin_round, read_index
from coord.raft.roles import Role
from coord.raft.settings import RaftSettings, check_settings
from coord.raft.state import RaftState
from coord.raft.status import PeerStatus, RaftStatus
from coord.raft.terms import become_follower, draw_timeout
from coord.raft.transfer import transfer_leadership
from coord.raft.types import Configuration, Entry, HardState, SnapshotMeta

_Handler = Callable[[RaftState, int, Any], None]

_FROM_THE_LEADER: dict[type[Message], _Handler] = {
    messages.Append: following.handle_append,
    messages.Heartbeat: following.handle_heartbeat,
    messages.Commit: following.handle_commit,
    messages.SnapshotSection: snapshots.handle_snapshot_section,
    messages.TimeoutNow: election.handle_timeout_now,
    messages.RecoveryTarget: recovering.handle_recovery_target,
}
"""Only the leader of a term says these, so hearing one is hearing from it."""

_TO_THE_LEADER: dict[type[Message], _Handler] = {
    messages.AppendReply: replication.handle_append_reply,
    messages.AppendRefused: replication.handle_append_refused,
    messages.HeartbeatReply: replication.handle_heartbeat_reply,
    messages.SnapshotWanted: snapshots.handle_snapshot_wanted,
    messages.SnapshotInstalled: snapshots.handle_snapshot_installed,
    messages.SnapshotRefused: snapshots.handle_snapshot_refused,
    messages.RecoveryRequest: recovering.handle_recovery_request,
}
"""Answers to the leader of a term; any other member drops them."""


class Raft:
    """One member's part in the consensus, over opaque bytes. See README.md for the whole.

    ``hard_state``, ``snapshot`` and ``entries`` are as read from the disk; ``SnapshotMeta(0, 0, configuration)`` when
    there is none, with the configuration that the cluster was formed with (an empty one for a member that waits to
    be added). ``seed`` must be another one at every start. ``recovering``: see recovering.py.
    """

    __slots__ = ("_state",)

    def __init__(
        self,
        member_id: int,
        settings: RaftSettings,
        seed: int,
        hard_state: HardState,
        snapshot: SnapshotMeta,
        entries: Sequence[Entry],
        recovering: bool = False,
    ) -> None:
        check_settings(settings)
        check(member_id >= 1, "member ids are positive", member_id)
        check(
            is_well_formed(snapshot.configuration), "the configuration is well-formed", snapshot.configuration
        )
        after_snapshot = [entry for entry in entries if entry.index > snapshot.index]
        log = Log(snapshot.index, snapshot.term, after_snapshot)
        self._state = state = RaftState(
            member_id, settings, Dice(seed), hard_state, snapshot, log, recovering
        )
        if log.last_term > state.term:
            # The hard state is older than the log, or lost: whoever took an entry of a term was in that term. That
            # keeps a member with a damaged disk from following a leader that was deposed long ago.
            state.term = log.last_term
            state.vote = 0
        draw_timeout(state)
        scan_configurations(state, after_snapshot)

    # -- inputs ----------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Let one tick pass."""
        if self._state.role is Role.LEADER:
            tick_leader(self._state)
        else:
            election.tick_election(self._state)

    def step(self, sender: int, message: Message) -> None:
        """Take a message from another member. Late, repeated and unexpected ones are welcome."""
        state = self._state
        kind = type(message)
        term = message.term
        if sender == state.member_id or term < 1:
            return
        if kind in _FROM_THE_LEADER:
            if term < state.term:
                # It was deposed and does not know it; our term tells it.
                send(state, sender, messages.HeartbeatReply(state.term, 0, state.recovering))
                return
            self._hear_leader(sender, term)
            _FROM_THE_LEADER[kind](state, sender, message)
        elif kind in _TO_THE_LEADER:
            if state.role is not Role.LEADER or sender not in state.progress:
                # Nothing was asked of it. (A member that was removed may live in a later term: let it.)
                return
            if term == state.term:
                _TO_THE_LEADER[kind](state, sender, message)
            elif term > state.term:
                become_follower(state, term, 0)
        else:
            self._step_election(sender, message)

    def _hear_leader(self, sender: int, term: int) -> None:
        """Something only the leader of ``term`` says arrived, and ``term`` is not over: follow it."""
        state = self._state
        if term == state.term:
            check(
                state.role is not Role.LEADER and state.leader in (0, sender),
                "a term has one leader",
                term,
                sender,
                state.leader,
            )
            if state.leader == sender:
                state.election_elapsed = 0
                return
        become_follower(state, term, sender)

    def _step_election(self, sender: int, message: Message) -> None:
        state = self._state
        if isinstance(message, messages.PreVote):
            election.handle_pre_vote(state, sender, message)
        elif isinstance(message, messages.PreVoteReply):
            election.handle_pre_vote_reply(state, sender, message)
        elif isinstance(message, messages.Vote):
            if message.term > state.term:
                if election.hears_a_leader(state) and not message.forced:
                    return  # not even its term is taken over: a removed or returning member deposes nobody
                become_follower(state, message.term, 0)
            if message.term == state.term:
                election.handle_vote(state, sender, message)
            else:
                send(state, sender, messages.VoteReply(state.term, False))
        elif isinstance(message, messages.VoteReply):
            if message.term > state.term:
                become_follower(state, message.term, 0)
            elif message.term == state.term:
                election.handle_vote_reply(state, sender, message)

    def propose(self, data: bytes) -> int | None:
        """Append an entry of commands; its index, or None when this member does not lead or is handing over.

        An index is a place, not a promise: if leadership is lost, another entry may be committed there.
        """
        state = self._state
        if state.role is not Role.LEADER or state.transfer_to:
            return None
        return append_commands(state, data)

    def propose_configuration(self, target: Configuration) -> int | None:
        """Change who is a member, through joint consensus; None when refused (see membership.py)."""
        return propose_configuration(self._state, target)

    def read_index(self, context: int) -> bool:
        """Ask for an index to read at; False when this member does not lead."""
        return read_index(self._state, context)

    def transfer_leadership(self, to: int) -> bool:
        """Hand leadership to ``to``, a voter; False when that cannot be begun."""
        return transfer_leadership(self._state, to)

    def persisted(self, number: int) -> None:
        """Batch ``number`` is on disk, synced. Every batch is answered once, in order."""
        state = self._state
        batch_synced(state, number)
        for own_vote in release_held(state, number):
            if isinstance(own_vote, messages.VoteReply):
                election.handle_vote_reply(state, state.member_id, own_vote)
        if state.role is Role.LEADER:
            replication.own_log_persisted(state)
        else:
            following.own_log_persisted(state)

    def compact(self, meta: SnapshotMeta, keep_from: int) -> None:
        """This member's own snapshot ``meta`` is durable: entries below ``keep_from`` may go from memory.

        It became durable only after all batches that were handed out before its last entry was applied (README.md).
        Some more may be kept, for a peer that is getting a snapshot now.
        """
        state = self._state
        if meta.index <= state.snapshot.index:
            return  # a newer one was installed meanwhile
        check(
            meta.index <= state.delivered_index,
            "a snapshot holds what was applied",
            meta,
            state.delivered_index,
        )
        state.snapshot = meta
        configurations_compacted_to(state, meta.index)
        keep_from = snapshots.kept_for_peers(state, min(keep_from, meta.index + 1))
        state.log.compact_to(keep_from - 1)

    def section_loaded(self, peer: int, snapshot_index: int, section: int, data: bytes, last: bool) -> None:
        """The answer to ``outputs.sections_wanted``."""
        snapshots.section_loaded(self._state, peer, snapshot_index, section, data, last)

    def section_missing(self, peer: int, snapshot_index: int) -> None:
        """The other answer: that snapshot is no more."""
        snapshots.section_missing(self._state, peer, snapshot_index)

    def section_stored(self, meta: SnapshotMeta, section: int) -> None:
        """A section out of ``outputs.sections_received``, not the last, is stored."""
        snapshots.section_stored(self._state, meta, section)

    def snapshot_installed(self, meta: SnapshotMeta) -> None:
        """With its last section, the snapshot is durable, loaded, and the log on disk restarted at its index.

        The shell begins this only when all batches that it was given before are synced, and answers them first.
        """
        snapshots.snapshot_installed(self._state, meta)

    def snapshot_refused(self, meta: SnapshotMeta) -> None:
        """What was received of ``meta`` is bad."""
        snapshots.snapshot_refused(self._state, meta)

    def peer_unreachable(self, peer: int) -> None:
        """The link to ``peer`` broke; messages may be lost."""
        replication.peer_unreachable(self._state, peer)

    def peer_down(self, peer: int) -> None:
        """The process of ``peer`` is gone, by all that the shell can see. It may be wrong: see peer_down.py."""
        peer_down(self._state, peer)

    # -- outputs ---------------------------------------------------------------------------------------------------

    def take_outputs(self) -> Outputs:
        """Everything that should happen now, gathered since the last call; and forget it."""
        state = self._state
        if state.role is Role.LEADER:
            begin_round(state)
            replication.send_what_is_due(state)
        elif state.leader:
            if state.recovering:
                recovering.try_to_end(state)
            following.acknowledge(state)
        deliver_committed(state)
        outputs = state.outputs
        outputs.persist = take_batch(state)
        state.outputs = Outputs()
        return outputs

    # -- what may be read --------------------------------------------------------------------------------------------

    @property
    def member_id(self) -> int:
        return self._state.member_id

    @property
    def term(self) -> int:
        return self._state.term

    @property
    def role(self) -> Role:
        return self._state.role

    @property
    def leader(self) -> int:
        """Who leads, as far as is known; 0: unknown."""
        return self._state.leader

    @property
    def commit_index(self) -> int:
        return self._state.commit_index

    @property
    def last_index(self) -> int:
        return self._state.log.last_index

    @property
    def first_index(self) -> int:
        """The lowest index in memory; ``last_index + 1`` if there is none."""
        return self._state.log.first_index

    @property
    def persisted_index(self) -> int:
        return self._state.log.persisted_index

    @property
    def configuration(self) -> Configuration:
        """The one that acts: the last in the log, committed or not."""
        return self._state.configuration

    @property
    def recovering(self) -> bool:
        return self._state.recovering

    @property
    def uncommitted_bytes(self) -> int:
        """Data of entries that a leader has and that were not delivered as committed; 0 for others."""
        return self._state.uncommitted_bytes

    def term_at(self, index: int) -> int | None:
        """The term of the entry at ``index``; None when it is not in memory (``first_index - 1`` still is known)."""
        return self._state.log.term_at(index)

    def configuration_at(self, index: int) -> Configuration:
        """The configuration that acts at ``index``, at or above the newest snapshot's."""
        return configuration_at(self._state, index)

    def snapshot_meta(self, index: int) -> SnapshotMeta:
        """What to call a snapshot of the state after applying ``index``, an entry that is in memory."""
        term = self._state.log.term_at(index)
        check(term is not None, "a snapshot is named after an entry in memory", index)
        return SnapshotMeta(index, term or 0, configuration_at(self._state, index))

    def status(self) -> RaftStatus:
        """A picture for people and metrics."""
        state = self._state
        return RaftStatus(
            member_id=state.member_id,
            role=state.role.name.lower(),
            term=state.term,
            vote=state.vote,
            leader=state.leader,
            commit_index=state.commit_index,
            first_index=state.log.first_index,
            last_index=state.log.last_index,
            persisted_index=state.log.persisted_index,
            snapshot_index=state.snapshot.index,
            configuration=state.configuration,
            recovering=state.recovering,
            installing=state.incoming is not None and state.incoming.installing,
            transferring_to=state.transfer_to,
            peers=tuple(
                PeerStatus(
                    peer=progress.peer,
                    state=ProgressState(progress.state).name.lower(),
                    match_index=progress.match_index,
                    next_index=progress.next_index,
                    inflight_appends=len(progress.inflight),
                    active=progress.reachable,
                    recovering=progress.recovering,
                )
                for progress in state.peers
            ),
        )
