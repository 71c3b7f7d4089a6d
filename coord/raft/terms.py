"""Moving between terms, and back to being a follower: the transitions that any input may cause."""

from typing import Final

from coord.api.checks import check
from coord.raft.roles import Role
from coord.raft.state import RaftState

SHORT_MIN_TICKS: Final = 2
SHORT_SPREAD_TICKS: Final = 6
"""Short timeouts are drawn from ``[SHORT_MIN_TICKS, SHORT_MIN_TICKS + SHORT_SPREAD_TICKS)``: some round trips and
syncs, and seldom the same for two. Where election timeouts are hardly longer, the spread is theirs."""


def enter_term(state: RaftState, term: int) -> None:
    """Move on to a later term: no vote yet, and nothing known of its leader."""
    check(term > state.term, "terms only grow", state.term, term)
    state.term = term
    state.vote = 0
    state.leader = 0
    state.verified_index = 0
    state.acked_index = 0
    state.ack_due = False
    state.recovery_target = 0
    if state.incoming is not None and not state.incoming.installing:
        state.incoming = None


def become_follower(state: RaftState, term: int, leader: int) -> None:
    """Follow ``leader`` in ``term``; 0: nobody yet. Does nothing to a follower of that leader but rewind its patience.

    A follower that merely learns of a later term keeps its elapsed patience: else a candidate with a stale log could
    keep better ones quiet just by calling elections.
    """
    if term != state.term:
        enter_term(state, term)
    if state.role is not Role.FOLLOWER:
        if state.role is Role.LEADER:
            _resign(state)
        state.role = Role.FOLLOWER
        state.votes = {}
        state.election_elapsed = 0
        draw_timeout(state)
    state.leader = leader
    if leader:
        be_patient(state)


def be_patient(state: RaftState) -> None:
    """This member follows a leader, or voted for somebody: from now on that one has a whole election timeout."""
    state.election_elapsed = 0
    state.short_timeouts = 0
    if state.election_timeout < state.settings.election_ticks:
        draw_timeout(state)


def draw_timeout(state: RaftState) -> None:
    """A new election timeout, so that those who collided once are unlikely to collide again (thesis §3.4).

    Short ones come first after a report that the leader is down; see peer_down.py.
    """
    ticks = state.settings.election_ticks
    if state.short_timeouts:
        state.short_timeouts -= 1
        state.election_timeout = SHORT_MIN_TICKS + state.dice.below(min(SHORT_SPREAD_TICKS, ticks))
        return
    state.election_timeout = ticks + state.dice.below(ticks)


def _resign(state: RaftState) -> None:
    """Drop what only a leader has. Reads that no quorum confirmed are refused: they did not happen."""
    refused = state.outputs.reads_refused
    for read_round in state.read_rounds:
        refused.extend(read_round.contexts)
    refused.extend(state.reads_waiting)
    state.read_rounds.clear()
    state.reads_waiting = []
    state.progress = {}
    state.peers = ()
    state.acknowledged = {}
    state.answered_rounds = {}
    state.heard_from = {}
    state.beat_due = False
    state.transfer_to = 0
    state.uncommitted_bytes = 0
    state.term_start_index = 0
