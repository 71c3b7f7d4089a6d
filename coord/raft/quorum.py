"""The arithmetic of majorities, of one set of voters or of two at once (joint consensus, thesis §4.3).

Learners appear nowhere in this file: that is how they never count.
"""

from collections.abc import Mapping

from coord.raft.types import Configuration


def majority(count: int) -> int:
    """The smallest number of members that is more than half: any two such groups share a member."""
    return count // 2 + 1


def greatest_reached(configuration: Configuration, positions: Mapping[int, int]) -> int:
    """The greatest number that a quorum has reached, where ``positions`` says how far each member is.

    In joint consensus a quorum is a majority of the voters *and* a majority of the outgoing voters, so the
    answer is the lesser of the two. A member without a position is at 0.
    """
    reached = _reached_by_majority(configuration.voters, positions)
    if configuration.outgoing:
        return min(reached, _reached_by_majority(configuration.outgoing, positions))
    return reached


def _reached_by_majority(voters: tuple[int, ...], positions: Mapping[int, int]) -> int:
    if not voters:
        return 0
    sorted_positions = sorted([positions.get(voter, 0) for voter in voters])
    return sorted_positions[len(voters) - majority(len(voters))]


def has_quorum(configuration: Configuration, members: Mapping[int, bool]) -> bool:
    """Whether those members that map to True make up a quorum."""
    if not _has_majority(configuration.voters, members):
        return False
    return not configuration.outgoing or _has_majority(configuration.outgoing, members)


def _has_majority(voters: tuple[int, ...], members: Mapping[int, bool]) -> bool:
    agreeing = sum([members.get(voter, False) for voter in voters])
    return agreeing >= majority(len(voters))


def cannot_win(configuration: Configuration, votes: Mapping[int, bool]) -> bool:
    """Whether so many refused that the rest cannot make a quorum any more; the unheard are counted as grants."""
    hopeful = {
        voter: votes.get(voter, True)
        for group in (configuration.voters, configuration.outgoing)
        for voter in group
    }
    return not has_quorum(configuration, hopeful)
