"""A report that a peer's process is gone (coord/raft/peer_down.py): whom it moves, and that it may be wrong."""

import pytest

from coord.raft.messages import Append, Heartbeat, PreVote, PreVoteReply, TimeoutNow, Vote, VoteReply
from coord.raft.peer_down import SHORT_TIMEOUTS, TURN_TICKS
from coord.raft.raft import Raft
from coord.raft.roles import Role
from coord.raft.types import Configuration, HardState, SnapshotMeta
from tests.raft.cluster import SETTINGS, Cluster
from tests.raft.test_traps import THREE, bench_leader, entry, lone, said, sync

BEAT = Heartbeat(1, 0, 0, 1)
SOON_TICKS = 1 + TURN_TICKS


def follower(configuration: Configuration = THREE, member: int = 1) -> Raft:
    """It follows 2 in term 1, and has just heard it."""
    raft = Raft(member, SETTINGS, 1, HardState(1, 0), SnapshotMeta(0, 0, configuration), ())
    raft.step(2, BEAT)
    sync(raft)
    assert raft.leader == 2
    return raft


def ticks_until_it_asks(raft: Raft) -> int:
    """For pre-votes; at most as long as anybody is patient."""
    for ticks in range(1, 2 * SETTINGS.election_ticks + 1):
        raft.tick()
        if said(raft.take_outputs(), PreVote):
            return ticks
    raise AssertionError("it does not ask")


def patience_of(raft: Raft) -> int:
    return raft._state.election_timeout


# -- when it is true --------------------------------------------------------------------------------------------


def test_the_first_asks_at_its_next_tick_and_the_others_in_their_turns() -> None:
    five = Configuration((1, 2, 3, 4, 5))
    turns = {}
    for member in (1, 3, 4, 5):
        raft = follower(five, member)
        raft.peer_down(2)
        turns[member] = ticks_until_it_asks(raft)
    assert turns == {1: 1, 3: 1 + TURN_TICKS, 4: 1 + 2 * TURN_TICKS, 5: 1 + 3 * TURN_TICKS}


def test_it_asks_for_pre_votes_and_its_term_and_vote_stay() -> None:
    raft = follower()
    before = raft.status()
    raft.peer_down(2)
    assert (raft.term, raft.status().vote, raft.leader) == (before.term, before.vote, 0)
    raft.tick()
    outputs = raft.take_outputs()
    assert outputs.persist is None
    assert said(outputs, PreVote) == [(2, PreVote(2, 0, 0)), (3, PreVote(2, 0, 0))]
    assert not said(outputs, Vote)


def test_it_answers_others_at_once() -> None:
    raft = follower()
    raft.step(3, PreVote(2, 0, 0))
    assert said(raft.take_outputs(), PreVoteReply) == [(3, PreVoteReply(1, False))]
    raft.peer_down(2)
    raft.step(3, PreVote(2, 0, 0))
    assert said(raft.take_outputs(), PreVoteReply) == [(3, PreVoteReply(2, True))]


def test_patience_never_grows_by_it() -> None:
    raft = follower(Configuration((1, 2, 3, 4, 5, 6, 7)), 7)
    left = 2
    for _ in range(patience_of(raft) - left):
        raft.tick()
    raft.peer_down(2)
    assert ticks_until_it_asks(raft) == left


def test_a_turn_that_failed_is_followed_by_another_soon_and_not_for_ever() -> None:
    """The other follower has not heard of the death yet, say: it refuses, and the dead one cannot answer."""
    raft = follower()
    raft.peer_down(2)
    waits = [ticks_until_it_asks(raft) for _ in range(SHORT_TIMEOUTS + 2)]
    assert waits[0] == 1
    assert all(2 <= wait < 8 for wait in waits[1 : SHORT_TIMEOUTS + 1])
    assert waits[-1] >= SETTINGS.election_ticks


def test_two_followers_elect_one_of_them_long_before_a_timeout() -> None:
    for seed in range(50):
        cluster = Cluster([1, 2, 3], seed=seed)
        cluster.elect(1)
        cluster.crash(1)
        for member in (2, 3) if seed % 2 else (3, 2):
            cluster.up(member).peer_down(1)
        cluster.pass_time(1)
        assert cluster.leaders() == [2], seed
        assert cluster.up(3).leader == 2, seed


def test_who_is_first_and_has_the_shorter_log_lets_the_other_win() -> None:
    cluster = Cluster([1, 2, 3])
    cluster.elect(1)
    cluster.up(1).propose(b"only 3 has it")
    cluster.pump(1)
    cluster.take(lambda sender, to, message: to == 2)
    cluster.settle()
    cluster.crash(1)
    for member in (2, 3):
        cluster.up(member).peer_down(1)
    cluster.pass_time(SOON_TICKS)
    assert cluster.leaders() == [3]


# -- when it is wrong -------------------------------------------------------------------------------------------


def test_one_follower_that_is_told_wrongly_again_and_again_disturbs_nobody() -> None:
    cluster = Cluster([1, 2, 3])
    cluster.elect(1)
    term = cluster.up(1).term
    for _ in range(30):
        cluster.up(2).peer_down(1)
        cluster.pass_time(3)
        assert cluster.leaders() == [1]
    assert cluster.up(2).term == term
    assert cluster.up(2).leader == 1
    assert patience_of(cluster.up(2)) >= SETTINGS.election_ticks


def test_a_quorum_that_is_told_wrongly_costs_one_election_and_what_was_acknowledged_is_there() -> None:
    cluster = Cluster([1, 2, 3])
    cluster.elect(1)
    term = cluster.up(1).term
    cluster.up(1).propose(b"acknowledged")
    cluster.settle()
    for member in (2, 3):
        cluster.up(member).peer_down(1)
    cluster.pass_time(4 * SETTINGS.election_ticks)
    assert cluster.leaders() == [2]
    assert cluster.up(2).term == term + 1
    assert any(each.data == b"acknowledged" for each in cluster.ghosts.committed)
    assert all(patience_of(cluster.up(member)) >= SETTINGS.election_ticks for member in (1, 3))


@pytest.mark.parametrize(
    "word", [BEAT, Append(1, 0, 0, 0, (entry(1, 1),))], ids=["a beat", "an append that was late"]
)
def test_the_leaders_next_word_brings_all_patience_back(word: Heartbeat | Append) -> None:
    for ticks in (0, 1):  # before its turn, and after it
        raft = follower()
        raft.peer_down(2)
        for _ in range(ticks):
            raft.tick()
        raft.step(2, word)
        raft.take_outputs()
        assert raft.leader == 2
        assert raft.role is Role.FOLLOWER
        assert patience_of(raft) >= SETTINGS.election_ticks
        assert ticks_until_it_asks(raft) >= SETTINGS.election_ticks


def test_who_grants_a_pre_vote_leaves_the_turn_to_the_other() -> None:
    raft = follower()
    raft.peer_down(2)
    raft.step(3, PreVote(2, 0, 0))
    assert said(raft.take_outputs(), PreVoteReply) == [(3, PreVoteReply(2, True))]
    assert ticks_until_it_asks(raft) >= SETTINGS.election_ticks


def test_who_refuses_one_keeps_its_turn() -> None:
    raft = follower()
    raft.step(2, Append(1, 0, 0, 0, (entry(1, 1),)))
    sync(raft)
    raft.peer_down(2)
    raft.step(3, PreVote(2, 0, 0))
    assert said(raft.take_outputs(), PreVoteReply) == [(3, PreVoteReply(1, False))]
    assert ticks_until_it_asks(raft) == 1


def test_a_campaign_has_its_time_on_a_slow_disk_too() -> None:
    raft = follower()
    raft.peer_down(2)
    raft.tick()
    raft.step(3, PreVoteReply(2, True))
    raft.take_outputs()  # its vote is on its way to the disk
    assert raft.role is Role.CANDIDATE
    assert ticks_until_it_asks(raft) >= SETTINGS.election_ticks


def test_who_voted_gives_the_candidate_a_whole_timeout() -> None:
    """1. It votes for 3 before its own turn; 2. 3 is slow to sync; 3. it would ask, with 3's own pre-vote, too."""
    raft = follower()
    raft.peer_down(2)
    raft.step(3, Vote(2, 0, 0, False))
    assert said(sync(raft), VoteReply) == [(3, VoteReply(2, True))]
    assert ticks_until_it_asks(raft) >= SETTINGS.election_ticks


def test_a_vote_of_this_term_is_given_once_all_the_same() -> None:
    raft = lone(term=1, vote=2)
    raft.step(2, BEAT)
    raft.peer_down(2)
    raft.step(3, Vote(1, 9, 1, False))
    assert said(sync(raft), VoteReply) == [(3, VoteReply(1, False))]


# -- whom it does not concern -----------------------------------------------------------------------------------


def test_only_who_follows_that_member_is_moved() -> None:
    raft = follower()
    for peer in (0, 1, 3, 9):
        raft.peer_down(peer)
    assert raft.leader == 2
    assert ticks_until_it_asks(raft) >= SETTINGS.election_ticks


def test_to_a_leader_it_is_no_news() -> None:
    raft = bench_leader()
    for peer in (1, 2):
        raft.peer_down(peer)
    assert raft.role is Role.LEADER
    assert raft.leader == 1


def test_a_candidate_goes_on_and_a_leader_that_was_one_has_all_its_patience_later() -> None:
    raft = follower()
    raft.peer_down(2)
    raft.tick()
    raft.peer_down(2)
    raft.step(3, PreVoteReply(2, True))
    sync(raft)
    assert raft.role is Role.CANDIDATE
    raft.peer_down(2)
    raft.step(3, VoteReply(2, True))
    sync(raft)
    assert raft.role is Role.LEADER
    raft.step(3, Heartbeat(3, 0, 0, 1))
    assert patience_of(raft) >= SETTINGS.election_ticks


@pytest.mark.parametrize("how", ["learner", "recovering"])
def test_who_may_not_campaign_only_ceases_to_defend(how: str) -> None:
    configuration = Configuration((2, 3), (), (1,)) if how == "learner" else Configuration((1, 2, 3))
    raft = lone(configuration=configuration, recovering=how == "recovering")
    raft.step(2, BEAT)
    sync(raft)
    raft.peer_down(2)
    assert raft.leader == 0
    for _ in range(4 * SETTINGS.election_ticks):
        raft.tick()
        assert not said(raft.take_outputs(), PreVote)
    raft.step(3, PreVote(2, 0, 0))
    assert said(raft.take_outputs(), PreVoteReply) == [(3, PreVoteReply(2, True))] or how == "recovering"
    raft.step(2, BEAT)
    assert raft.leader == 2


def test_a_handover_goes_on_as_it_was() -> None:
    raft = follower()
    raft.peer_down(2)
    raft.step(2, TimeoutNow(1))
    assert [message.forced for _, message in said(sync(raft), Vote) if isinstance(message, Vote)] == [
        True
    ] * 2
