"""Deciding: how far the log is committed."""

from coord.api.checks import check
from coord.raft.membership import on_commit
from coord.raft.quorum import greatest_reached
from coord.raft.roles import Role
from coord.raft.state import RaftState


def advance_commit(state: RaftState) -> bool:
    """Advance ``commit_index`` to the highest index that a quorum has on disk; say whether it moved. Leader only.

    Only entries of ``state.term`` are counted: an older entry commits with the first newer one
    (thesis §3.6.2; figure 3.7 shows the loss this prevents, and tests/raft/traces/figure_3_7.txt replays it).
    """
    index = greatest_reached(state.configuration, state.acknowledged)
    if index <= state.commit_index or state.log.term_at(index) != state.term:
        return False
    commit_to(state, index)
    on_commit(state)
    return True


def commit_to(state: RaftState, index: int) -> None:
    """Everything through ``index`` is committed; that it is was established by the caller."""
    check(index <= state.log.last_index, "what is committed is in the log", index, state.log.last_index)
    if index > state.commit_index:
        state.commit_index = index


def deliver_committed(state: RaftState) -> None:
    """Hand out the entries that were committed since the last time."""
    first, last = state.delivered_index + 1, state.commit_index
    if first > last:
        return
    entries = state.log.slice(first, last)
    state.outputs.committed.extend(entries)
    state.delivered_index = last
    if state.role is Role.LEADER:
        state.uncommitted_bytes -= sum([len(entry.data) for entry in entries])
