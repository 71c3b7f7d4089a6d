"""Majorities, one and joint, against their definition; and the configuration's codec."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.raft.configuration import decode_configuration, encode_configuration, joint, leave_joint
from coord.raft.quorum import cannot_win, greatest_reached, has_quorum
from coord.raft.types import Configuration

MEMBERS = (1, 2, 3, 4, 5)
groups = st.sets(st.sampled_from(MEMBERS), min_size=1).map(lambda group: tuple(sorted(group)))


def is_majority(group: tuple[int, ...], members: set[int]) -> bool:
    return 2 * len([member for member in group if member in members]) > len(group)


@given(groups, st.one_of(st.just(()), groups), st.dictionaries(st.sampled_from(MEMBERS), st.integers(0, 6)))
def test_the_greatest_index_that_quorums_have_reached(
    voters: tuple[int, ...], outgoing: tuple[int, ...], positions: dict[int, int]
) -> None:
    def reached(index: int) -> bool:
        members = {member for member in MEMBERS if positions.get(member, 0) >= index}
        return is_majority(voters, members) and (not outgoing or is_majority(outgoing, members))

    expected = max(index for index in range(7) if reached(index))
    assert greatest_reached(Configuration(voters, outgoing), positions) == expected


@given(groups, st.one_of(st.just(()), groups), st.dictionaries(st.sampled_from(MEMBERS), st.booleans()))
def test_votes(voters: tuple[int, ...], outgoing: tuple[int, ...], votes: dict[int, bool]) -> None:
    configuration = Configuration(voters, outgoing)
    granted = {member for member, grant in votes.items() if grant}
    won = is_majority(voters, granted) and (not outgoing or is_majority(outgoing, granted))
    assert has_quorum(configuration, votes) is won
    hopeful = granted | {member for member in MEMBERS if member not in votes}
    hope = is_majority(voters, hopeful) and (not outgoing or is_majority(outgoing, hopeful))
    assert cannot_win(configuration, votes) is not hope


@given(groups, groups)
def test_any_two_quorums_on_the_way_share_a_member(old: tuple[int, ...], new: tuple[int, ...]) -> None:
    """Between neighbours: C_old and C_old,new; C_old,new and C_new."""
    middle = joint(Configuration(old), Configuration(new))
    for one, other in ((Configuration(old), middle), (middle, leave_joint(middle))):
        for picks in product((False, True), repeat=len(MEMBERS)):
            group = dict(zip(MEMBERS, picks, strict=True))
            rest = {member: not picked for member, picked in group.items()}
            assert not (has_quorum(one, group) and has_quorum(other, rest))


def test_a_voter_becomes_a_learner_by_way_of_learners_next() -> None:
    middle = joint(Configuration((1, 2, 3), (), (4,)), Configuration((1, 2, 4), (), (3, 5)))
    assert middle == Configuration((1, 2, 4), (1, 2, 3), (5,), (3,))
    assert leave_joint(middle) == Configuration((1, 2, 4), (), (3, 5))
    assert decode_configuration(encode_configuration(middle)) == middle


@given(st.binary(max_size=40))
def test_the_codec_takes_only_what_it_makes(data: bytes) -> None:
    try:
        configuration = decode_configuration(data)
    except ValueError:
        return
    assert encode_configuration(configuration) == data


@pytest.mark.parametrize("cut", range(16))
def test_a_cut_configuration_is_refused(cut: int) -> None:
    with pytest.raises(ValueError):
        decode_configuration(encode_configuration(Configuration((1, 2)))[:cut])
