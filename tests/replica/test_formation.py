"""How a cluster comes to be, and how a member without its disk comes back."""

import random

from coord.api.errors import OK
from coord.api.ops import Create, Exists
from coord.raft.messages import PreVoteReply, VoteReply
from coord.raft.roles import Role
from coord.replica.formation import ESTABLISHED, FORMED, FRESH, Formation
from coord.wire.peer_frames import FormationProbe, FormationReply
from tests.replica.cluster import Cluster


def unformed(size: int = 3) -> Cluster:
    return Cluster(size=size, formed=False)


def start(cluster: Cluster, *numbers: int) -> None:
    for number in numbers:
        cluster.start(number)
    cluster.settle()


def ids(cluster: Cluster) -> list[bytes | None]:
    return [member.disk.cluster for member in cluster.members.values()]


def recovering(cluster: Cluster, number: int) -> bool:
    return cluster.members[number].disk.recovering


def write(cluster: Cluster, number: int, path: str) -> None:
    client = cluster.client(number)
    request = client.write(Create(path))
    cluster.until(lambda: client.has(request))
    assert client.reply(request)[1] == OK
    client.drop()


def test_all_fresh() -> None:
    cluster = unformed()
    start(cluster, 3, 1, 2)
    cluster.until_leader()
    assert ids(cluster) == [bytes([1, 1]) * 8] * 3  # drawn by the lowest id
    assert not any(recovering(cluster, number) for number in cluster.members)
    write(cluster, 2, "/a")


def test_one_alone_founds_at_once() -> None:
    cluster = unformed(1)
    start(cluster, 1)
    assert cluster.members[1].replica is not None
    cluster.until_leader()


def test_a_peer_that_can_be_reached_now_is_asked_at_once() -> None:
    formation = Formation(2, (1, 3), 1, b"c" * 16, probe_ticks=10)
    formation.tick()
    asked = dict(formation.messages)
    formation.messages.clear()
    formation.receive(1, FormationReply(asked[1].nonce, FRESH, b""))
    formation.lost(3)
    assert formation.messages == [(3, asked[3])]  # the same probe: what 1 has answered still counts
    formation.receive(1, FormationReply(asked[1].nonce, FORMED, b"d" * 16))
    formation.receive(3, FormationReply(asked[3].nonce, FRESH, b""))
    formation.messages.clear()
    formation.lost(3)
    assert formation.messages == []


def test_nothing_happens_before_all_have_answered() -> None:
    cluster = unformed()
    start(cluster, 1, 2)
    cluster.tick(200)
    assert ids(cluster) == [None, None, None]
    formation = cluster.members[1].formation
    assert formation is not None
    assert formation.waiting_for == [3]
    start(cluster, 3)
    cluster.until_leader()
    assert ids(cluster) == [bytes([1, 1]) * 8] * 3


def test_answers_may_be_lost() -> None:
    cluster = unformed(5)
    dice = random.Random(1)
    cluster.travels = lambda sender, to, message: dice.random() < 0.85
    start(cluster, 1, 2, 3, 4, 5)
    cluster.until(lambda: None not in ids(cluster), 2_000)
    cluster.heal()
    cluster.until_leader()
    assert len(dict.fromkeys(ids(cluster))) == 1


def test_a_wiped_member_recovers_and_does_not_vote_until_then() -> None:
    """A, B, C; a write is on A and B; B loses its disk. Could B vote as if it were new, B and C might forget it."""
    cluster = unformed()
    start(cluster, 1, 2, 3)
    leader = cluster.until_leader()
    wiped, behind = cluster.followers()
    cluster.cut[(leader, behind)] = None
    write(cluster, leader, "/a")
    assert "/a" not in cluster.members[behind].store.tree.znodes
    cluster.wipe(wiped)
    cluster.isolate(leader)
    cluster.cut.pop((leader, wiped))
    cluster.cut.pop((wiped, leader))
    start(cluster, wiped)
    votes = []
    cluster.travels = lambda sender, to, message: bool(
        votes.append(message) or True
        if sender == wiped and isinstance(message, PreVoteReply | VoteReply) and message.granted
        else True
    )
    cluster.until(lambda: cluster.members[wiped].disk.cluster is not None)
    # It learns that the cluster is there, and then the leader goes: the one that has all of it.
    cluster.crash(leader)
    cluster.heal()
    cluster.travels = lambda sender, to, message: bool(
        votes.append(message) or True
        if sender == wiped and isinstance(message, PreVoteReply | VoteReply) and message.granted
        else True
    )
    cluster.tick(300)
    assert recovering(cluster, wiped)
    assert votes == []
    assert cluster.leader() == 0
    start(cluster, leader)
    cluster.until_leader()
    cluster.until(lambda: not recovering(cluster, wiped))
    assert "/a" in cluster.members[wiped].store.tree.znodes
    cluster.crash(leader)
    assert cluster.until_leader() in (wiped, behind)  # now its vote counts again
    assert cluster.read(Exists("/a"), wiped) is not None


def test_a_member_that_is_recovering_stays_so_through_a_restart() -> None:
    cluster = unformed()
    start(cluster, 1, 2, 3)
    leader = cluster.until_leader()
    wiped = cluster.followers()[0]
    cluster.wipe(wiped)
    start(cluster, wiped)
    cluster.hold_disk(wiped)
    cluster.until(lambda: cluster.members[wiped].replica is not None)
    cluster.restart(wiped)
    assert cluster.members[wiped].state.raft.recovering
    cluster.until(lambda: not recovering(cluster, wiped))
    cluster.restart(wiped)
    assert not cluster.members[wiped].state.raft.recovering
    assert cluster.members[leader].state.raft.role is Role.LEADER


def test_the_founder_wiped() -> None:
    """It draws no second cluster."""
    cluster = unformed()
    start(cluster, 1, 2, 3)
    cluster.until_leader()
    write(cluster, 2, "/a")
    cluster.wipe(1)
    start(cluster, 1)
    cluster.until(lambda: cluster.members[1].replica is not None)
    assert ids(cluster) == [bytes([1, 1]) * 8] * 3
    cluster.until(lambda: not recovering(cluster, 1))
    assert cluster.read(Exists("/a"), 1) is not None


def test_the_founder_wiped_before_anything_happened() -> None:
    """The others were told the first id, and are without any term yet: nobody can have counted on the founder."""
    cluster = unformed()
    start(cluster, 1, 2, 3)
    cluster.until(lambda: cluster.members[1].replica is not None)
    cluster.tick(12)
    assert cluster.leader() == 0
    assert ids(cluster) == [bytes([1, 1]) * 8] * 3
    cluster.wipe(1)
    start(cluster, 1)
    cluster.until_leader()
    assert ids(cluster) == [bytes([1, 1]) * 8] * 3


def test_a_late_member_finds_a_cluster_that_is_there() -> None:
    """It was there, answered that it is fresh, and was away while the others began."""
    cluster = unformed()
    start(cluster, 1, 2, 3)
    cluster.isolate(3)
    cluster.until(lambda: cluster.members[1].replica is not None or cluster.now_ms > 5_000)
    cluster.heal()
    start_over = [number for number in cluster.members if cluster.members[number].replica is None]
    cluster.until_leader()
    assert len(dict.fromkeys(ids(cluster))) == 1
    assert start_over
    write(cluster, 3, "/a")


def test_most_disks_lost_is_for_an_operator_to_decide() -> None:
    """B is wiped and joins again, recovering, without having met the leader; then C and A are wiped. B knows that a
    cluster was there. If it did not say so, A and C would begin a new one, empty, without a word.
    """
    cluster = unformed()
    start(cluster, 1, 2, 3)
    cluster.until_leader()
    write(cluster, 1, "/a")
    for number in (1, 2, 3):
        cluster.crash(number)
    cluster.wipe(2)
    start(cluster, 1, 2)  # no quorum: one is down, and one has nothing
    cluster.until(lambda: recovering(cluster, 2))
    cluster.crash(1)
    cluster.wipe(1)
    cluster.wipe(3)
    start(cluster, 1, 3)
    cluster.tick(500)
    assert cluster.leader() == 0
    assert all(recovering(cluster, number) for number in cluster.members)


# --- the object alone ------------------------------------------------------------------------------------------------


def test_only_answers_to_the_present_probe_count() -> None:
    """Answers of different times say nothing together: one was fresh then, the other is now."""
    formation = Formation(1, (2, 3), 5, b"d" * 16, 1)
    formation.tick()
    first = formation.messages[0][1]
    assert isinstance(first, FormationProbe)
    formation.receive(2, FormationReply(first.nonce, FRESH, b""))
    formation.tick()
    formation.receive(3, FormationReply(first.nonce, FRESH, b""))
    assert formation.outcome is None
    formation.receive(3, FormationReply(first.nonce + 1, FRESH, b""))
    assert formation.outcome is None
    formation.receive(4, FormationReply(first.nonce + 1, ESTABLISHED, b"x" * 16))
    assert formation.outcome is None  # a stranger
    formation.receive(2, FormationReply(first.nonce + 1, FRESH, b""))
    assert formation.outcome == (b"d" * 16, False)


def test_who_is_not_the_founder_waits_for_it() -> None:
    formation = Formation(2, (1, 3), 5, b"d" * 16, 1)
    formation.tick()
    nonce = (5 << 20) + 1
    formation.receive(1, FormationReply(nonce, FRESH, b""))
    formation.receive(3, FormationReply(nonce, FRESH, b""))
    assert formation.outcome is None
    formation.tick()
    formation.receive(1, FormationReply(nonce + 1, FORMED, b"x" * 16))
    assert formation.outcome is None  # not all yet: the third may be established
    formation.receive(3, FormationReply(nonce + 1, FRESH, b""))
    assert formation.outcome == (b"x" * 16, False)


def test_one_established_answer_is_enough() -> None:
    formation = Formation(1, (2, 3), 5, b"d" * 16, 1)
    formation.tick()
    formation.receive(3, FormationReply((5 << 20) + 1, ESTABLISHED, b"x" * 16))
    assert formation.outcome == (b"x" * 16, True)


def test_a_fresh_member_says_so() -> None:
    formation = Formation(1, (2,), 5, b"d" * 16, 1)
    formation.receive(2, FormationProbe(9))
    assert formation.messages == [(2, FormationReply(9, FRESH, b""))]
