"""The known traps, one test each, stated in what a user would lose. The traces tell some of them at length."""

import pytest

from coord.api.checks import InvariantViolation
from coord.raft.configuration import encode_configuration
from coord.raft.messages import (
    Append,
    AppendRefused,
    AppendReply,
    Commit,
    Heartbeat,
    HeartbeatReply,
    Message,
    PreVote,
    PreVoteReply,
    RecoveryTarget,
    SnapshotInstalled,
    SnapshotSection,
    TimeoutNow,
    Vote,
    VoteReply,
)
from coord.raft.outputs import Outputs
from coord.raft.raft import Raft
from coord.raft.roles import Role
from coord.raft.types import (
    ENTRY_COMMANDS,
    ENTRY_CONFIGURATION,
    Configuration,
    Entry,
    HardState,
    SnapshotMeta,
)
from tests.raft.cluster import SETTINGS, Cluster

THREE = Configuration((1, 2, 3))


def entry(index: int, term: int, data: bytes = b"x") -> Entry:
    return Entry(index, term, ENTRY_COMMANDS, data)


def lone(
    term: int = 1,
    vote: int = 0,
    entries: tuple[Entry, ...] = (),
    configuration: Configuration = THREE,
    recovering: bool = False,
    seed: int = 1,
) -> Raft:
    """Member 1, alone on the bench."""
    none = SnapshotMeta(0, 0, configuration)
    return Raft(1, SETTINGS, seed, HardState(term, vote), none, entries, recovering)


def said(outputs: Outputs, kind: type[Message]) -> list[tuple[int, Message]]:
    return [(to, message) for to, message in outputs.messages if type(message) is kind]


def sync(raft: Raft) -> Outputs:
    """Take outputs, sync what is to be written, take outputs again: the messages of both."""
    first = raft.take_outputs()
    if first.persist is None:
        return first
    raft.persisted(first.persist.number)
    second = raft.take_outputs()
    second.messages[:0] = first.messages
    second.committed[:0] = first.committed
    second.reads[:0] = first.reads
    if second.persist is not None:
        raft.persisted(second.persist.number)
        third = raft.take_outputs()
        third.messages[:0] = second.messages
        third.committed[:0] = second.committed
        third.reads[:0] = second.reads
        return third
    return second


def bench_leader(entries: tuple[Entry, ...] = (), configuration: Configuration = THREE) -> Raft:
    """Member 1, elected by 2; its no-op is on its own disk only."""
    raft = lone(term=entries[-1].term if entries else 0, entries=entries, configuration=configuration)
    while raft.role is Role.FOLLOWER:
        raft.tick()
    raft.step(2, PreVoteReply(raft.term + 1, True))
    sync(raft)
    raft.step(2, VoteReply(raft.term, True))
    assert raft.role is Role.LEADER
    sync(raft)
    return raft


# -- commitment -------------------------------------------------------------------------------------------------


def test_replicas_of_an_older_terms_entry_do_not_commit_it() -> None:
    """Thesis figure 3.7: see the trace of that name for what would be lost."""
    raft = bench_leader((entry(1, 1), entry(2, 1)))
    raft.step(2, AppendReply(raft.term, 2, False))
    raft.step(3, AppendReply(raft.term, 2, False))
    assert raft.commit_index == 0
    raft.step(2, AppendReply(raft.term, 3, False))
    assert raft.commit_index == 3


def test_a_leader_counts_itself_only_for_what_is_on_its_own_disk() -> None:
    raft = bench_leader(configuration=Configuration((1, 2)))
    raft.step(2, AppendReply(raft.term, 1, False))
    assert raft.commit_index == 1
    raft.propose(b"x")
    outputs = raft.take_outputs()
    raft.step(2, AppendReply(raft.term, 2, False))
    assert raft.commit_index == 1
    assert outputs.persist is not None
    raft.persisted(outputs.persist.number)
    assert raft.commit_index == 2


def test_a_followers_commit_is_bounded_by_what_it_verified() -> None:
    """What lies beyond the entries of this message may be what a deposed leader left here."""
    raft = lone(term=1, entries=(entry(1, 1), entry(2, 1, b"left behind")))
    raft.step(2, Append(2, 1, 1, 2, ()))
    assert raft.commit_index == 1
    raft.step(2, Heartbeat(2, 2, 2, 1))
    raft.step(2, Commit(2, 2, 2))
    assert raft.commit_index == 1
    raft.step(2, Append(2, 1, 1, 2, (entry(2, 2),)))
    assert raft.commit_index == 2


def test_a_learner_never_counts() -> None:
    raft = bench_leader(configuration=Configuration((1, 2, 3), (), (4, 5)))
    raft.step(4, AppendReply(raft.term, 1, False))
    raft.step(5, AppendReply(raft.term, 1, False))
    assert raft.commit_index == 0
    raft.read_index(1)
    sync(raft)
    raft.step(2, AppendReply(raft.term, 1, False))
    assert raft.commit_index == 1
    round_of_read = said(sync(raft), Heartbeat)[0][1]
    assert isinstance(round_of_read, Heartbeat)
    raft.step(4, HeartbeatReply(raft.term, round_of_read.round, False))
    raft.step(5, HeartbeatReply(raft.term, round_of_read.round, False))
    assert raft.take_outputs().reads == []
    raft.step(3, HeartbeatReply(raft.term, round_of_read.round, False))
    assert raft.take_outputs().reads == [(1, 1)]


@pytest.mark.parametrize("count", range(1, 8))
def test_a_quorum_is_more_than_half(count: int) -> None:
    cluster = Cluster(range(1, count + 1))
    cluster.elect(1)
    cluster.settle()
    for down in range(2, count + 1):
        cluster.crash(down)
        before = cluster.ghosts.committed_index
        cluster.up(1).propose(b"x")
        cluster.settle()
        alive = count - (down - 1)
        assert (cluster.ghosts.committed_index > before) is (2 * alive > count)


# -- the disk ---------------------------------------------------------------------------------------------------


def test_a_vote_leaves_only_when_it_is_on_disk() -> None:
    raft = lone()
    raft.step(2, Vote(2, 0, 0, False))
    outputs = raft.take_outputs()
    assert outputs.messages == []
    assert outputs.persist is not None
    assert outputs.persist.hard_state == HardState(2, 2)
    raft.persisted(outputs.persist.number)
    assert raft.take_outputs().messages == [(2, VoteReply(2, True))]


def test_a_vote_of_a_term_that_is_over_is_dropped() -> None:
    raft = lone()
    raft.step(2, Vote(2, 0, 0, False))
    first = raft.take_outputs()
    raft.step(3, Vote(3, 0, 0, False))
    raft.take_outputs()
    assert first.persist is not None
    raft.persisted(first.persist.number)
    assert said(raft.take_outputs(), VoteReply) == []
    raft.persisted(first.persist.number + 1)
    assert raft.take_outputs().messages == [(3, VoteReply(3, True))]


def test_a_candidate_asks_when_its_own_vote_and_log_are_on_disk() -> None:
    raft = lone(configuration=Configuration((1, 2)))
    raft.step(2, Append(1, 0, 0, 0, (entry(1, 1),)))
    slow = raft.take_outputs().persist
    raft.step(2, TimeoutNow(1))
    outputs = raft.take_outputs()
    assert said(outputs, Vote) == []
    assert slow is not None
    assert outputs.persist is not None
    raft.persisted(slow.number)
    assert said(raft.take_outputs(), Vote) == []
    raft.persisted(outputs.persist.number)
    assert said(raft.take_outputs(), Vote) == [(2, Vote(2, 1, 1, True))]


def test_a_sole_voter_leads_only_when_its_vote_is_on_disk() -> None:
    raft = lone(configuration=Configuration((1,)))
    raft.tick()
    outputs = raft.take_outputs()
    assert raft.status().role == "candidate"
    assert outputs.persist is not None
    raft.persisted(outputs.persist.number)
    assert raft.status().role == "leader"


def test_an_acknowledgement_waits_for_the_disk() -> None:
    raft = lone()
    raft.step(2, Append(1, 0, 0, 0, (entry(1, 1),)))
    outputs = raft.take_outputs()
    assert outputs.messages == []
    assert outputs.persist is not None
    raft.persisted(outputs.persist.number)
    assert raft.take_outputs().messages == [(2, AppendReply(1, 1, False))]


def test_an_acknowledgement_goes_as_far_as_the_disk() -> None:
    raft = lone()
    raft.step(2, Append(1, 0, 0, 0, (entry(1, 1),)))
    raft.take_outputs()
    raft.step(2, Append(1, 1, 1, 0, (entry(2, 1),)))
    raft.take_outputs()
    raft.persisted(1)
    assert raft.take_outputs().messages == [(2, AppendReply(1, 1, False))]
    raft.persisted(2)
    assert raft.take_outputs().messages == [(2, AppendReply(1, 2, False))]


def test_an_acknowledgement_waits_for_the_term_to_be_on_disk() -> None:
    raft = lone(entries=(entry(1, 1),))
    raft.step(2, Append(2, 1, 1, 0, ()))
    assert said(raft.take_outputs(), AppendReply) == []
    raft.persisted(1)
    assert raft.take_outputs().messages == [(2, AppendReply(2, 1, False))]


def test_a_late_sync_does_not_acknowledge_what_was_truncated() -> None:
    """The story in persistence.py."""
    raft = lone(entries=(entry(1, 1),))
    raft.step(2, Append(1, 1, 1, 0, (entry(2, 1, b"old"),)))
    raft.take_outputs()
    raft.step(3, Append(2, 1, 1, 0, (entry(2, 2, b"new"),)))
    raft.take_outputs()
    raft.persisted(1)
    assert raft.persisted_index == 1
    assert said(raft.take_outputs(), AppendReply) == []
    raft.persisted(2)
    assert raft.take_outputs().messages == [(3, AppendReply(2, 2, False))]


def test_a_batch_vouches_for_nothing_that_was_truncated_and_came_back() -> None:
    """ABA: the story in log.py. The entry is the same, the batch that brings it back to the disk is not."""
    raft = lone(entries=(entry(1, 1),))
    raft.step(2, Append(1, 1, 1, 0, (entry(2, 1, b"a"),)))
    raft.take_outputs()
    raft.step(3, Append(2, 1, 1, 0, (entry(2, 2, b"b"),)))
    raft.take_outputs()
    raft.step(2, Append(3, 1, 1, 0, (entry(2, 1, b"a"),)))
    raft.take_outputs()
    raft.persisted(1)
    assert raft.persisted_index == 1
    raft.persisted(2)
    assert raft.persisted_index == 1
    raft.persisted(3)
    assert raft.take_outputs().messages == [(2, AppendReply(3, 2, False))]


# -- the log ----------------------------------------------------------------------------------------------------


def test_a_repeated_append_does_not_cut_what_came_after_it() -> None:
    raft = lone()
    first = Append(1, 0, 0, 0, (entry(1, 1),))
    raft.step(2, first)
    raft.step(2, Append(1, 1, 1, 0, (entry(2, 1),)))
    raft.step(2, first)
    assert raft.last_index == 2
    assert said(sync(raft), AppendReply)[-1] == (2, AppendReply(1, 2, False))


def test_what_is_committed_is_never_truncated() -> None:
    raft = lone()
    raft.step(2, Append(1, 0, 0, 1, (entry(1, 1), entry(2, 1))))
    assert raft.commit_index == 1
    raft.step(3, Append(2, 0, 0, 0, (entry(1, 2), entry(2, 2))))
    assert raft.term_at(1) == 1


def test_the_later_last_term_wins_and_only_then_the_longer_log() -> None:
    raft = lone(term=3, entries=(entry(1, 1), entry(2, 3)))
    raft.step(2, Vote(4, 9, 2, False))
    assert said(sync(raft), VoteReply) == [(2, VoteReply(4, False))]
    raft.step(3, Vote(5, 1, 3, False))
    assert said(sync(raft), VoteReply) == [(3, VoteReply(5, False))]
    raft.step(2, Vote(6, 1, 4, False))
    assert said(sync(raft), VoteReply) == [(2, VoteReply(6, True))]


@pytest.mark.parametrize(
    "entries",
    [
        (entry(3, 1),),
        (entry(2, 1), entry(4, 1)),
        (entry(2, 9),),
        (entry(2, 1), Entry(3, 1, ENTRY_CONFIGURATION, b"\x00")),
        (Entry(2, 1, ENTRY_CONFIGURATION, encode_configuration(THREE) + b"\x00"),),
    ],
)
def test_an_impossible_append_changes_nothing(entries: tuple[Entry, ...]) -> None:
    raft = lone(entries=(entry(1, 1),))
    raft.step(2, Append(1, 1, 1, 3, entries))
    assert (raft.last_index, raft.commit_index, raft.configuration) == (1, 0, THREE)


# -- reads ------------------------------------------------------------------------------------------------------


def test_reads_wait_for_a_commit_of_the_leaders_own_term() -> None:
    raft = bench_leader((entry(1, 1),))
    assert raft.read_index(7)
    for _ in range(3):
        raft.tick()
        raft.tick()
        for _, beat in said(raft.take_outputs(), Heartbeat):
            assert isinstance(beat, Heartbeat)
            raft.step(2, HeartbeatReply(raft.term, beat.round, False))
    assert raft.take_outputs().reads == []
    raft.step(2, AppendReply(raft.term, 2, False))
    beat = said(raft.take_outputs(), Heartbeat)[0][1]
    assert isinstance(beat, Heartbeat)
    raft.step(2, HeartbeatReply(raft.term, beat.round, False))
    assert raft.take_outputs().reads == [(7, 2)]


def test_an_answer_to_an_earlier_beat_confirms_no_later_read() -> None:
    raft = bench_leader((entry(1, 1),))
    raft.step(2, AppendReply(raft.term, 2, False))
    raft.tick()
    raft.tick()
    earlier = said(raft.take_outputs(), Heartbeat)[0][1]
    assert isinstance(earlier, Heartbeat)
    raft.read_index(7)
    later = said(raft.take_outputs(), Heartbeat)[0][1]
    assert isinstance(later, Heartbeat)
    raft.step(2, HeartbeatReply(raft.term, earlier.round, False))
    raft.step(3, HeartbeatReply(raft.term - 1, later.round, False))  # when it led an earlier term
    assert raft.take_outputs().reads == []
    raft.step(3, HeartbeatReply(raft.term, later.round, False))
    assert raft.take_outputs().reads == [(7, 2)]


def test_reads_are_refused_when_leadership_is_lost() -> None:
    raft = bench_leader()
    raft.step(2, AppendReply(raft.term, 1, False))
    raft.read_index(7)
    raft.take_outputs()
    raft.read_index(8)
    raft.step(2, HeartbeatReply(raft.term + 1, 0, False))
    outputs = raft.take_outputs()
    assert (outputs.reads, outputs.reads_refused) == ([], [7, 8])
    assert not raft.read_index(9)


# -- who may disturb whom ---------------------------------------------------------------------------------------


def test_a_member_that_hears_a_leader_answers_no_candidate() -> None:
    """A removed member calls elections for ever; so does one that was cut off."""
    raft = lone()
    raft.step(2, Heartbeat(1, 0, 0, 1))
    sync(raft)
    raft.step(3, PreVote(9, 9, 9))
    raft.step(3, Vote(9, 9, 9, False))
    assert sync(raft).messages == [(3, PreVoteReply(1, False))]
    assert raft.term == 1
    for _ in range(SETTINGS.election_ticks):
        raft.tick()
    raft.take_outputs()
    raft.step(3, Vote(9, 9, 9, False))
    assert said(sync(raft), VoteReply) == [(3, VoteReply(9, True))]


def test_an_election_that_the_leader_asked_for_is_answered() -> None:
    raft = lone()
    raft.step(2, Heartbeat(1, 0, 0, 1))
    raft.step(3, Vote(2, 0, 0, True))
    assert said(sync(raft), VoteReply) == [(3, VoteReply(2, True))]


def test_a_removed_member_deposes_nobody() -> None:
    cluster = Cluster([1, 2, 3, 4])
    cluster.elect(1)
    assert cluster.up(1).propose_configuration(THREE) is not None
    cluster.settle()
    term = cluster.up(1).term
    cluster.pass_time(100)
    assert cluster.up(4).role is not Role.LEADER
    assert cluster.leaders() == [1]
    assert {cluster.up(member).term for member in (1, 2, 3)} == {term}


def test_a_leader_that_hears_nobody_steps_down_though_it_is_heard() -> None:
    cluster = Cluster([1, 2, 3])
    cluster.elect(1)
    cluster.isolate(1, inbound=True, outbound=False)
    cluster.pass_time(8 * SETTINGS.election_ticks)
    assert cluster.leaders() in ([2], [3])
    cluster.up(cluster.leaders()[0]).propose(b"x")
    cluster.settle()
    assert cluster.ghosts.committed[-1].data == b"x"


def test_terms_do_not_grow_in_a_bridge() -> None:
    """1 and 3 hear 2, but not each other (Cloudflare, November 2020): the leader stays, and so does the term."""
    cluster = Cluster([1, 2, 3])
    cluster.elect(1)
    cluster.cut[1, 3] = cluster.cut[3, 1] = True
    cluster.pass_time(40 * SETTINGS.election_ticks)
    assert cluster.leaders() == [1]
    assert cluster.up(1).term == 1


def test_a_leader_steps_down_for_a_later_term_in_an_answer() -> None:
    raft = bench_leader()
    raft.step(3, AppendReply(raft.term + 3, 0, False))
    assert (raft.role, raft.term) == (Role.FOLLOWER, 4)


def test_a_stranger_cannot_depose_a_leader() -> None:
    raft = bench_leader()
    raft.step(9, AppendReply(raft.term + 3, 0, False))
    raft.step(9, Vote(raft.term + 3, 99, 99, False))
    assert (raft.role, raft.term) == (Role.LEADER, 1)


def test_two_leaders_in_one_term_are_noticed() -> None:
    raft = lone()
    raft.step(2, Heartbeat(1, 0, 0, 1))
    with pytest.raises(InvariantViolation, match="a term has one leader"):
        raft.step(3, Heartbeat(1, 0, 0, 1))


# -- membership -------------------------------------------------------------------------------------------------


def test_changes_of_membership_do_not_overlap() -> None:
    raft = bench_leader()
    four = Configuration((1, 2, 3, 4))
    assert raft.propose_configuration(four) is None  # before a commit of its own term
    raft.step(2, AppendReply(raft.term, 1, False))
    assert raft.propose_configuration(four) == 2
    assert raft.configuration == Configuration((1, 2, 3, 4), (1, 2, 3))
    assert raft.propose_configuration(Configuration((1, 2))) is None  # joint, not committed
    sync(raft)
    raft.step(2, AppendReply(raft.term, 2, False))
    assert raft.commit_index == 1  # two of three, but two of four
    raft.step(4, AppendReply(raft.term, 2, False))
    assert raft.commit_index == 2
    assert raft.configuration == four  # it goes on by itself
    assert raft.propose_configuration(Configuration((1, 2))) is None  # final, not committed
    sync(raft)
    raft.step(2, AppendReply(raft.term, 3, False))
    raft.step(3, AppendReply(raft.term, 3, False))
    assert raft.commit_index == 3
    assert raft.propose_configuration(Configuration((1, 2))) == 4


@pytest.mark.parametrize(
    "target",
    [
        Configuration(()),
        Configuration((2, 1)),
        Configuration((1, 1)),
        Configuration((1, 2), (), (2,)),
        Configuration((1, 2), (3,)),
        Configuration((1, 2), (), (), (3,)),
        Configuration((0, 1)),
        THREE,
    ],
)
def test_impossible_configurations_are_refused(target: Configuration) -> None:
    raft = bench_leader()
    raft.step(2, AppendReply(raft.term, 1, False))
    assert raft.propose_configuration(target) is None


def test_a_truncated_configuration_takes_its_effect_along() -> None:
    raft = lone()
    joint = Configuration((1, 2, 4), (1, 2, 3))
    raft.step(
        2, Append(1, 0, 0, 0, (entry(1, 1), Entry(2, 1, ENTRY_CONFIGURATION, encode_configuration(joint))))
    )
    assert raft.configuration == joint
    raft.step(3, Append(2, 1, 1, 0, (entry(2, 2),)))
    assert raft.configuration == THREE


def test_a_removed_leader_may_be_needed_once_more() -> None:
    """The story in election.may_campaign."""
    cluster = Cluster([1, 2])
    cluster.elect(1)
    cluster.cut[1, 2] = False
    assert cluster.up(1).propose_configuration(Configuration((2,))) is not None
    while cluster.up(1).configuration.outgoing:
        cluster.pump(1)
        for to in (2, 1):
            while cluster.network and cluster.network[0][1] == to:
                cluster.deliver(0)
                cluster.pump(to)
            cluster.sync(to)
            cluster.pump(to) if to == 2 else None
    cluster.network.clear()
    cluster.pump(1)
    cluster.network.clear()
    cluster.sync(1)
    cluster.crash(1)
    cluster.start(1)
    assert cluster.up(1).configuration == Configuration((2,))
    cluster.pass_time(12 * SETTINGS.election_ticks)
    assert cluster.leaders() == [2]
    assert cluster.up(2).configuration == Configuration((2,))


# -- snapshots --------------------------------------------------------------------------------------------------


def test_a_snapshot_that_meets_its_own_entry_replaces_nothing() -> None:
    raft = lone(entries=(entry(1, 1), entry(2, 1), entry(3, 1)))
    raft.step(2, SnapshotSection(1, SnapshotMeta(2, 1, THREE), 0, b"", True))
    outputs = raft.take_outputs()
    assert outputs.sections_received == []
    assert said(outputs, SnapshotInstalled) == [(2, SnapshotInstalled(1, 2))]
    assert (raft.last_index, raft.commit_index) == (3, 2)


def test_a_snapshot_older_than_what_is_committed_is_not_taken() -> None:
    raft = lone()
    raft.step(2, Append(1, 0, 0, 3, (entry(1, 1), entry(2, 1), entry(3, 1))))
    sync(raft)
    raft.step(2, SnapshotSection(1, SnapshotMeta(2, 1, THREE), 0, b"", True))
    assert raft.take_outputs().sections_received == []
    assert raft.last_index == 3


def test_nothing_moves_while_a_snapshot_is_loaded() -> None:
    """The story in snapshots.py."""
    raft = lone(entries=(entry(1, 1),))
    meta = SnapshotMeta(5, 1, Configuration((1, 2)))
    raft.step(2, SnapshotSection(1, meta, 0, b"all", True))
    assert raft.take_outputs().sections_received == [(meta, 0, b"all", True)]
    raft.step(3, Append(2, 1, 1, 2, (entry(2, 2), entry(3, 2))))
    raft.step(3, Heartbeat(2, 1, 1, 1))
    assert (raft.last_index, raft.commit_index) == (1, 0)
    assert said(sync(raft), AppendReply) == []
    for _ in range(3 * SETTINGS.election_ticks):
        raft.tick()
    assert raft.role is Role.FOLLOWER  # its log is about to be replaced
    raft.snapshot_installed(meta)
    assert (raft.first_index, raft.last_index, raft.commit_index) == (6, 5, 5)
    assert raft.configuration == Configuration((1, 2))
    raft.step(3, Append(2, 5, 1, 6, (entry(6, 2),)))
    assert [e.index for e in raft.take_outputs().committed] == [6]


def test_an_append_at_the_boundary_of_a_snapshot_is_matched_there() -> None:
    raft = Raft(1, SETTINGS, 1, HardState(3, 0), SnapshotMeta(5, 2, THREE), ())
    raft.step(2, Append(3, 4, 2, 5, (entry(5, 2), entry(6, 3))))
    assert (raft.last_index, raft.term_at(6)) == (6, 3)
    assert (raft.term_at(5), raft.term_at(4)) == (2, None)


def test_a_refused_snapshot_is_sent_again() -> None:
    cluster = Cluster([1, 2, 3])
    cluster.elect(1)
    cluster.isolate(3)
    cluster.up(1).propose(b"x")
    cluster.settle()
    cluster.snapshot(1)
    cluster.heal()
    cluster.auto_install = False
    for _ in range(3):
        cluster.pass_time(SETTINGS.election_ticks)
        assert 3 in cluster.installing
        cluster.install(3, good=False)
    cluster.auto_install = True
    cluster.pass_time(2 * SETTINGS.election_ticks)
    assert cluster.members[3].digest == cluster.members[1].digest


def test_a_receiver_that_restarts_gets_its_snapshot_from_the_beginning() -> None:
    cluster = Cluster([1, 2, 3])
    cluster.elect(1)
    cluster.isolate(3)
    cluster.up(1).propose(b"x")
    cluster.settle()
    cluster.snapshot(1)
    cluster.heal()
    while not any(
        isinstance(message, SnapshotSection) and message.section for _, _, message in cluster.network
    ):
        if cluster.network:
            cluster.deliver(0)
        else:
            cluster.tick(1)
        for member in (1, 2, 3):
            cluster.pump(member)
    cluster.crash(3)
    cluster.start(3)
    cluster.pass_time(4 * SETTINGS.election_ticks)
    assert cluster.members[3].digest == cluster.members[1].digest


def test_a_refusal_that_the_network_repeats_does_not_rewind() -> None:
    raft = bench_leader(tuple(entry(index, 1) for index in range(1, 6)))
    raft.step(2, AppendRefused(raft.term, 5, 3, 1, False))
    raft.take_outputs()
    raft.step(2, AppendRefused(raft.term, 5, 1, 1, False))
    assert raft.status().peers[0].next_index == 4
    raft.step(2, AppendReply(raft.term, 3, False))
    raft.step(2, AppendRefused(raft.term, 3, 1, 1, False))
    assert raft.status().peers[0].state == "replicate"


# -- recovering -------------------------------------------------------------------------------------------------


def test_a_recovering_member_promises_nothing() -> None:
    raft = lone(term=0, recovering=True)
    for _ in range(5 * SETTINGS.election_ticks):
        raft.tick()
    assert raft.role is Role.FOLLOWER
    raft.step(2, PreVote(1, 9, 9))
    raft.step(2, Vote(1, 9, 9, True))
    assert sync(raft).messages == [(2, PreVoteReply(0, False)), (2, VoteReply(1, False))]
    raft.step(2, Append(1, 0, 0, 0, (entry(1, 1),)))
    assert said(sync(raft), AppendReply) == [(2, AppendReply(1, 1, True))]


def test_a_recovering_members_answers_count_for_nothing() -> None:
    raft = bench_leader()
    raft.step(2, AppendReply(raft.term, 1, True))
    assert raft.commit_index == 0
    raft.step(3, AppendReply(raft.term, 1, False))
    assert raft.commit_index == 1
    raft.read_index(7)
    beat = said(raft.take_outputs(), Heartbeat)[0][1]
    assert isinstance(beat, Heartbeat)
    raft.step(2, HeartbeatReply(raft.term, beat.round, True))
    assert raft.take_outputs().reads == []
    for _ in range(2 * SETTINGS.election_ticks):
        raft.step(2, HeartbeatReply(raft.term, beat.round, True))
        raft.tick()
    assert raft.role is Role.FOLLOWER


def test_a_member_with_an_empty_disk_is_not_whole_by_the_word_of_a_deposed_leader() -> None:
    """The story in recovering.py: 1 leads term 1, cut off; 2 and 3 commit in term 2; 3 loses its disk and meets 1."""
    cluster = Cluster([1, 2, 3])
    cluster.elect(1)
    cluster.isolate(1)
    cluster.stalled[1] = True
    cluster.elect(2)
    cluster.up(2).propose(b"only on 2 and 3")
    cluster.settle()
    assert cluster.ghosts.committed[-1].data == b"only on 2 and 3"
    cluster.crash(3)
    cluster.replace_disk(3)
    cluster.heal()
    cluster.isolate(2)
    cluster.start(3, recovering=True)
    cluster.stalled[1] = False
    cluster.up(1).propose(b"against it")
    for _ in range(SETTINGS.election_ticks - 2):
        cluster.tick(1)
        cluster.settle()
    assert cluster.up(3).recovering
    assert all(e.data != b"against it" for e in cluster.ghosts.committed)
    cluster.heal()
    cluster.pass_time(10 * SETTINGS.election_ticks)
    assert not cluster.up(3).recovering
    assert cluster.members[3].digest == cluster.members[2].digest


def test_a_target_for_an_earlier_life_is_not_taken() -> None:
    raft = lone(term=1, recovering=True)
    raft.step(2, Append(1, 0, 0, 1, (entry(1, 1),)))
    raft.step(2, RecoveryTarget(1, 12345, 1))
    sync(raft)
    assert raft.recovering


def test_recovering_ends_when_the_vote_of_the_term_is_spent_and_durable() -> None:
    cluster = Cluster([1, 2, 3])
    cluster.elect(1)
    cluster.crash(3)
    cluster.replace_disk(3)
    cluster.start(3, recovering=True)
    cluster.pass_time(3 * SETTINGS.heartbeat_ticks)
    assert not cluster.up(3).recovering
    assert cluster.members[3].disk.hard_state == HardState(1, 1)
    cluster.up(3).step(2, Vote(1, 99, 99, True))
    outputs = cluster.up(3).take_outputs()
    assert said(outputs, VoteReply) == [(2, VoteReply(1, False))]
    cluster.crash(2)
    cluster.up(1).propose(b"x")
    cluster.settle()
    assert cluster.ghosts.committed[-1].data == b"x"  # it counts again


def test_a_lost_hard_state_is_no_younger_than_the_log() -> None:
    raft = lone(term=1, vote=2, entries=(entry(1, 4),))
    assert raft.term == 4
    persist = raft.take_outputs().persist
    assert persist is not None
    assert persist.hard_state == HardState(4, 0)
