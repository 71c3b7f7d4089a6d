"""Handing leadership over (thesis §3.10): stop proposing, let the target catch up, tell it to campaign at once.

Nothing here is needed for safety: the target still has to win an election. While the leader waits it refuses
proposals, so it waits at most one election timeout and then goes on leading.
"""

from coord.raft.configuration import is_voter
from coord.raft.messages import TimeoutNow
from coord.raft.persistence import send
from coord.raft.roles import Role
from coord.raft.state import RaftState


def transfer_leadership(state: RaftState, to: int) -> bool:
    """Begin to hand over to ``to``; False when it cannot be: not leading, or ``to`` does not vote or is this member."""
    if state.role is not Role.LEADER or to == state.member_id or not is_voter(state.configuration, to):
        return False
    if to != state.transfer_to:
        state.transfer_to = to
        state.transfer_elapsed = 0
    urge_transfer(state)
    return True


def urge_transfer(state: RaftState) -> None:
    """If the target has the whole log on its disk, tell it to campaign; again at each beat, for it may be lost."""
    to = state.transfer_to
    if to and state.acknowledged.get(to, 0) == state.log.last_index:
        send(state, to, TimeoutNow(state.term))


def tick_transfer(state: RaftState) -> None:
    """Give up after an election timeout: the target may be dead, and meanwhile nobody can write."""
    if state.transfer_to:
        state.transfer_elapsed += 1
        if state.transfer_elapsed >= state.settings.election_ticks:
            state.transfer_to = 0
