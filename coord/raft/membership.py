"""Changing who is a member: joint consensus, one change at a time (thesis §4.3).

Why not the thesis's simpler single-server changes (§4.1): two of them that overlap, proposed by leaders of different
terms, can end in majorities that share no member (Ongaro's own correction of 2015), and replacing a member takes two
steps with an even-sized cluster between them. Joint consensus takes any change in one request.

A change is refused

- while an earlier one is not committed, or is joint still;
- before this leader has committed an entry of its own term: else two leaders of different terms could each build
  their change upon a configuration that the other never saw (the correction just mentioned).
"""

from coord.raft.configuration import is_voter, is_well_formed, joint, leave_joint
from coord.raft.messages import Commit, TimeoutNow
from coord.raft.persistence import send
from coord.raft.proposals import append_configuration
from coord.raft.roles import Role
from coord.raft.state import RaftState
from coord.raft.terms import become_follower
from coord.raft.types import Configuration


def propose_configuration(state: RaftState, target: Configuration) -> int | None:
    """Start towards ``target`` (voters and learners only); its entry's index, or None when it is refused.

    The way leads through a joint configuration, which the leader leaves by itself once it is committed. Where
    only learners change, no quorum does, and ``target`` is appended straight away.
    """
    current = state.configuration
    if state.role is not Role.LEADER or state.transfer_to:
        return None
    if current.outgoing or state.configuration_index > state.commit_index:
        return None
    if state.commit_index < state.term_start_index:
        return None
    if target.outgoing or target.learners_next or not target.voters or not is_well_formed(target):
        return None
    if target == current:
        return None
    if target.voters == current.voters:
        return append_configuration(state, target)
    return append_configuration(state, joint(current, target))


def on_commit(state: RaftState) -> None:
    """After the commit index moved: leave a committed joint configuration; leave office if no longer a voter.

    Leader only. A new leader finds the joint configuration of its predecessor in its log and gets here when it
    commits the no-op of its own term.
    """
    if state.configuration_index > state.commit_index:
        return
    if state.configuration.outgoing:
        append_configuration(state, leave_joint(state.configuration))
    elif not is_voter(state.configuration, state.member_id):
        _leave_office(state)


def _leave_office(state: RaftState) -> None:
    """The final configuration is committed, and this leader is not in it (thesis §4.2.2).

    The others are told what was committed, and the best of them is told to campaign, so that nobody has to wait for
    a timeout to find out that nobody leads.
    """
    commit_term = state.log.term_at(state.commit_index) or 0
    successor = 0
    for progress in state.peers:
        send(state, progress.peer, Commit(state.term, state.commit_index, commit_term))
        reached = state.acknowledged.get(progress.peer, 0)
        if reached > state.acknowledged.get(successor, 0) and is_voter(state.configuration, progress.peer):
            successor = progress.peer
    if successor:
        send(state, successor, TimeoutNow(state.term))
    become_follower(state, state.term, 0)
