"""A leader's ticks: heartbeats, and whether a quorum still hears it (check-quorum, thesis §6.2)."""

from coord.raft.quorum import has_quorum
from coord.raft.snapshots import tick_snapshot
from coord.raft.state import RaftState
from coord.raft.terms import become_follower
from coord.raft.transfer import tick_transfer, urge_transfer


def tick_leader(state: RaftState) -> None:
    """One tick: perhaps a beat; once per election timeout, perhaps the end of leadership."""
    state.election_elapsed += 1
    if state.election_elapsed >= state.settings.election_ticks:
        state.election_elapsed = 0
        if not _hears_quorum(state):
            become_follower(state, state.term, 0)
            return
    for progress in state.peers:
        progress.silent_ticks += 1
        tick_snapshot(state, progress)
    tick_transfer(state)
    state.heartbeat_elapsed += 1
    if state.heartbeat_elapsed >= state.settings.heartbeat_ticks:
        state.heartbeat_elapsed = 0
        state.beat_due = True
        urge_transfer(state)


def _hears_quorum(state: RaftState) -> bool:
    """Whether a quorum was heard from since this was last asked.

    A leader that can send but not hear (an asymmetric partition) would otherwise keep its followers loyal for
    ever, and commit nothing; pre-vote and the defence of a leader that is heard of make it worse, so they need this.
    """
    state.heard_from[state.member_id] = True
    heard = has_quorum(state.configuration, state.heard_from)
    state.heard_from = {}
    for progress in state.peers:
        if not progress.reachable and progress.snapshot is not None:
            progress.become_probe(progress.match_index + 1)  # no longer keeps the log from being compacted
            progress.probe_sent = True
        progress.reachable = False
    return heard
