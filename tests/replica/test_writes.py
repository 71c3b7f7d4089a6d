"""Writes: passed on, retried, applied once and in order, whoever leads."""

import pytest

from coord.api.errors import OK, LimitExceeded, Overloaded, SessionEnded, SessionRequired
from coord.api.ops import Create, Get, Multi, Set
from coord.limits import MemberLimits
from coord.raft.messages import Append
from coord.replica.proposals import Proposals
from coord.replica.settings import ReplicaSettings
from coord.wire.client_frames import Hello
from coord.wire.peer_frames import Forward, ForwardRefused
from tests.replica.cluster import TICK_MS, Client, Cluster


def requests_in_order(cluster: Cluster, session: int) -> list[int]:
    """The ids of a session's requests, as they were applied."""
    return [
        request
        for number in sorted(cluster.revisions)
        for request in dict.fromkeys(
            change[5] for change in cluster.revisions[number][3] if change[4] == session
        )
    ]


def lose_a_lot(cluster: Cluster, client: Client, path: str) -> int:
    """``client`` creates ``path``: its member passes that on, and it never arrives. The request."""
    cluster.hold_messages(Forward, client.member)
    request = client.write(Create(path))
    cluster.settle()
    cluster.heal()
    cluster.held.clear()
    return request


def same_everywhere(cluster: Cluster) -> None:
    stores = [member.store for member in cluster.members.values()]
    assert len({store.applied_index for store in stores}) == 1
    assert all(store.tree.znodes == stores[0].tree.znodes for store in stores)


def test_a_follower_passes_writes_on() -> None:
    cluster = Cluster()
    for number in (*cluster.followers(), cluster.leader()):
        client = cluster.client(number)
        request = client.write(Create(f"/n{number}", b"x"), Set(f"/n{number}", b"y"))
        cluster.settle()
        assert client.reply(request)[1] == OK
        assert client.reply(request - 1)[1] == OK
    assert cluster.members[1].store.revision == 6
    cluster.tick(5)
    same_everywhere(cluster)


def test_writes_need_a_session() -> None:
    cluster = Cluster()
    client = cluster.connect(1)
    client.hello(Hello(None, "", None))
    request = client.write(Create("/a"))
    end = client.end_session()
    keepalive = client.keepalive()
    cluster.settle()
    assert client.reply(request)[1] == SessionRequired.code
    assert client.reply(end)[1] == SessionRequired.code
    assert client.reply(keepalive)[1] == OK
    assert cluster.members[1].store.revision == 0


def test_a_change_of_leaders_with_writes_pending() -> None:
    """Each is applied once and in its order, though some were proposed by both leaders and some by neither."""
    cluster = Cluster()
    old = cluster.leader()
    follower = cluster.followers()[0]
    client = cluster.client(follower)
    own = cluster.client(old)
    requests = [client.write(Create("/a", b"0"))]
    cluster.settle()
    cluster.isolate(old)
    for number in range(1, 4):
        requests.append(client.write(Set("/a", b"%d" % number)))
        own.write(Set("/", b"%d" % number))
        cluster.settle()
        cluster.tick()
    assert not client.has(requests[1])
    cluster.until(lambda: cluster.leader() not in (0, old))
    cluster.until(lambda: client.has(requests[-1]))
    requests.append(client.write(Set("/a", b"last")))
    cluster.settle()
    cluster.heal()
    cluster.until(lambda: not own.unanswered)
    cluster.tick(20)
    assert [client.reply(request)[1] for request in requests] == [OK] * len(requests)
    assert requests_in_order(cluster, client.session) == requests
    assert requests_in_order(cluster, own.session) == list(range(1, 4))
    assert cluster.read(Get("/a"))[0] == b"last"
    same_everywhere(cluster)


def test_a_lost_reply_is_asked_for_again_at_another_member() -> None:
    cluster = Cluster()
    client = cluster.client(1)
    request = client.write(Create("/q-", sequential=True), Create("/q-", sequential=True))
    client.drop()  # the reply finds nobody
    cluster.settle()
    assert cluster.members[2].store.revision == 2
    for number in (2, 3, 1):
        client = cluster.resumed(client, number)
        client.unanswered = {1: Create("/q-", sequential=True).row(), 2: Create("/q-", sequential=True).row()}
        client.write_again()
        cluster.settle()
        assert [client.reply(each)[4] for each in (request - 1, request)] == [
            "/q-0000000000",
            "/q-0000000001",
        ]
        client.replies.clear()
    assert cluster.members[2].store.revision == 2


def test_a_retry_after_a_restart_from_a_snapshot() -> None:
    """The kept replies are part of the snapshot: without them the retry would be a second write."""
    settings = ReplicaSettings(tick_ms=TICK_MS, snapshot_entries=5, catch_up_bytes=1)
    cluster = Cluster(settings=settings)
    client = cluster.client(1)
    client.write(Create("/q-", sequential=True))
    cluster.settle()
    other = cluster.client(2)
    for number in range(10):
        other.write(Create(f"/n{number}"))
        cluster.tick()
    cluster.tick(20)
    for number in cluster.members:
        assert cluster.members[number].snapshots_saved
        assert cluster.members[number].disk.start_index > client.reply(1)[3]
    for number in cluster.members:
        cluster.crash(number)
    for number in cluster.members:
        cluster.start(number)
    cluster.until_leader()
    again = cluster.resumed(client, 3)
    again.unanswered = {1: Create("/q-", sequential=True).row()}
    again.write_again()
    cluster.until(lambda: again.has(1))
    assert again.reply(1) == client.reply(1)
    assert cluster.members[1].store.revision == 11


def test_a_lost_lot_does_not_stop_a_follower_while_others_write() -> None:
    """Lots of follower F are lost, and none comes after them for the leader to refuse: F's patience is all there is.

    Meanwhile member G's clients go on writing: that F applies their commands is no progress of its own.
    """
    cluster = Cluster()
    unlucky, busy = cluster.followers()
    client, other = cluster.client(unlucky), cluster.client(busy)
    other.write(Create("/busy"))
    cluster.settle()
    lose_a_lot(cluster, client, "/a")
    second = lose_a_lot(cluster, client, "/a/b")
    for _ in range(2 * cluster.settings.resend_ticks):
        other.write(Set("/busy", b"x"))
        cluster.tick()
    assert client.reply(second)[1] == OK
    assert requests_in_order(cluster, client.session) == [1, 2]


def test_what_a_leader_did_not_take_is_passed_on_again_at_once() -> None:
    """One lot is lost, the next one comes after a hole: the leader says so, and nobody waits for a timeout."""
    cluster = Cluster()
    follower = cluster.followers()[0]
    client = cluster.client(follower)
    lose_a_lot(cluster, client, "/a")
    second = client.write(Create("/a/b"))
    cluster.tick(3)  # of resend_ticks
    assert client.reply(second)[1] == OK
    assert requests_in_order(cluster, client.session) == [1, 2]


def test_a_leader_without_room_takes_the_rest_as_soon_as_it_has_some() -> None:
    """Sim seed 700000045. Ten times what the leader has room for waits at a follower, whose clients come and go.

    1. It takes the first lots, and has no room for the next: those and all after them are not taken.
    2. A client of the follower gives up, and asks another member for the same. That is applied, and looks like
       progress: the follower waits on.
    3. So it is for ever, if nobody tells the follower, and nothing of its own is taken any more.
    """
    settings = ReplicaSettings(tick_ms=TICK_MS, uncommitted_bytes=1000, entry_bytes=300)
    cluster = Cluster(settings=settings)
    follower, leader = cluster.followers()[0], cluster.leader()
    client, other = cluster.client(follower), cluster.client(follower)
    other.write(Create("/other"))
    cluster.settle()
    passed_on: list[Forward] = []

    def travels(sender: int, to: int, message: object) -> bool:
        if isinstance(message, Forward):
            passed_on.append(message)
        return True

    requests = [client.write(Create(f"/n{number}", b"x" * 250)) for number in range(40)]
    cluster.travels = travels
    for _ in range(2 * 40):
        other.write(Set("/other", b"x"))
        other = cluster.resumed(other, leader if other.member == follower else follower)
        cluster.tick()
    assert all(client.has(each) for each in requests)
    assert requests_in_order(cluster, client.session) == requests
    again = len({lot.stream for lot in passed_on})
    assert again < 15, "it takes four at a time, of forty"


def test_a_refusal_waits_until_what_was_taken_is_committed() -> None:
    """Told earlier, the follower would pass that on again, and so the leader would have no room for the rest, again."""
    proposals = Proposals(boot=1, lot_bytes=100)
    lots = [Forward(7, number, (b"x",), ()) for number in range(4)]
    assert proposals.receive(2, lots[0])
    assert not proposals.receive(2, lots[2])  # after a hole
    proposals.refuse(2, lots[2], 40)
    assert proposals.take_refused(50) == []  # what was taken is not in the log yet
    proposals.take_gathered()
    proposals.proposed(41)
    assert proposals.take_refused(40) == []
    assert proposals.take_refused(41) == [(2, ForwardRefused(7))]
    assert proposals.take_refused(41) == []
    proposals.refuse(2, lots[3], 41)  # it did not hear of it, and went on
    assert proposals.take_refused(41) == [(2, ForwardRefused(7))]


def test_a_refusal_of_a_former_stream_is_old_news() -> None:
    proposals = Proposals(boot=1, lot_bytes=100)
    proposals.add((1, 5), 1, b"x")
    [first] = proposals.take_lots(())
    proposals.begin_anew(ForwardRefused(first.stream))
    [second] = proposals.take_lots(())
    assert second == Forward(first.stream + 1, 0, (b"x",), ())
    proposals.begin_anew(ForwardRefused(first.stream))
    assert proposals.take_lots(()) == []


def test_what_comes_again_or_too_late_is_no_hole() -> None:
    proposals = Proposals(boot=1, lot_bytes=100)
    for stream in (7, 8):
        assert proposals.receive(2, Forward(stream, 0, (b"x",), ()))
    proposals.take_gathered()
    for late in (Forward(7, 1, (b"x",), ()), Forward(8, 0, (b"x",), ())):
        assert not proposals.receive(2, late)
        proposals.refuse(2, late, 40)
    assert proposals.take_refused(40) == []


def test_a_leader_that_is_slow_is_not_given_everything_again_and_again() -> None:
    """It takes three times as long as a follower waits, for ever: the follower learns to wait, and goes on so."""
    cluster = Cluster()
    follower, leader = cluster.followers()[0], cluster.leader()
    client = cluster.client(follower)
    waits = cluster.settings.resend_ticks
    cluster.delays = lambda sender, to: (3 * waits * TICK_MS if (sender, to) == (follower, leader) else 0,)
    replica = cluster.members[follower].replica
    assert replica is not None
    proposals = replica.state.proposals
    before = proposals._stream
    for number in range(25):
        client.write(Create(f"/{number}"))
        cluster.tick(waits * 3 // 2)  # some are always under way, and seldom is one applied
    assert proposals.pending_count > 0
    assert proposals._stream - before <= 12


def test_a_stream_with_a_hole_is_not_taken_on() -> None:
    """Lot 0 (x=1) is late, lot 1 (x=2) arrives: taken alone, x would end as 1, though the client set 2 last."""
    cluster = Cluster()
    follower = cluster.followers()[0]
    client = cluster.client(follower)
    client.write(Create("/x"))
    cluster.settle()
    cluster.hold_messages(Forward, follower)
    client.write(Set("/x", b"1"))
    cluster.settle()
    cluster.travels = None
    client.write(Set("/x", b"2"))
    cluster.settle()
    assert not client.has(2)
    assert not client.has(3)
    cluster.deliver_held()  # late, and out of its place in between
    cluster.until(lambda: client.has(3))
    assert requests_in_order(cluster, client.session) == [1, 2, 3]
    assert cluster.read(Get("/x"))[0] == b"2"


def test_a_lot_repeated_by_the_network_is_harmless() -> None:
    cluster = Cluster()
    follower = cluster.followers()[0]
    client = cluster.client(follower)
    cluster.delays = lambda sender, to: (0, 0, TICK_MS)
    for number in range(5):
        client.write(Create(f"/q{number}-", sequential=True))
        cluster.tick()
    cluster.delays = None
    cluster.tick(2 * cluster.settings.resend_ticks)
    assert requests_in_order(cluster, client.session) == [1, 2, 3, 4, 5]


def test_nothing_is_acknowledged_before_a_quorum_has_synced() -> None:
    cluster = Cluster()
    leader = cluster.leader()
    client = cluster.client(leader)
    for number in cluster.followers():
        cluster.hold_disk(number)
    request = client.write(Create("/a"))
    cluster.tick(3)
    assert not client.has(request)
    cluster.release_disk(cluster.followers()[0])
    assert client.reply(request)[1] == OK


def test_what_comes_gathers_while_an_entry_is_on_its_way() -> None:
    """One larger entry is less work for all than many small ones."""
    cluster = Cluster()
    leader = cluster.leader()
    raft = cluster.members[leader].state.raft
    client = cluster.client(leader)
    for number in cluster.followers():
        cluster.hold_disk(number)
    before = raft.last_index

    def writes(*names: str) -> None:
        for each in names:
            client.write(Create(each))
            cluster.settle()

    writes("/a", "/b", "/c")
    assert (raft.last_index, raft.persisted_index, raft.commit_index) == (before + 1, before + 1, before)
    cluster.release_disk(cluster.followers()[0])
    assert raft.last_index == raft.commit_index == before + 2
    cluster.hold_disk(cluster.followers()[0])
    writes("/d", "/e")
    assert raft.last_index == before + 3
    cluster.tick()  # 20 ms: the others are slow, or far away
    assert (raft.last_index, raft.commit_index) == (before + 4, before + 2)
    cluster.hold_disk(leader)
    cluster.tick()
    writes("/f", "/g")
    cluster.tick()  # its own disk is slow: its sync would have to wait for that of the last one
    assert raft.last_index == before + 5
    for number in (leader, *cluster.followers()):
        cluster.release_disk(number)
    cluster.tick(2)
    assert raft.last_index == raft.commit_index == before + 6
    same_everywhere(cluster)


def test_what_was_not_synced_may_be_lost_and_is_not_acknowledged() -> None:
    cluster = Cluster()
    leader = cluster.leader()
    client = cluster.client(leader)
    for number in cluster.members:
        cluster.hold_disk(number)
    request = client.write(Create("/a"))
    cluster.settle()
    for number in cluster.members:
        cluster.crash(number)
    for number in cluster.members:
        cluster.start(number)
    cluster.until_leader()
    assert not client.has(request)
    again = cluster.resumed(client, cluster.leader())
    again.write_again()
    cluster.until(lambda: again.has(request))
    assert again.reply(request)[1:3] == [OK, 1]


def test_pending_commands_are_bounded() -> None:
    """Past the bound the connection is closed: nothing may be taken after what was not, or the session's order is lost.

    Said again on a new connection, each is applied once and in its order, also those that had been taken.
    """
    cluster = Cluster(settings=ReplicaSettings(tick_ms=TICK_MS, limits=MemberLimits(pending_commands=3)))
    client = cluster.client(cluster.leader())
    cluster.isolate(client.member)
    requests = [client.write(Create(f"/n{number}")) for number in range(5)]
    cluster.settle()
    assert client.goodbye is not None
    assert client.goodbye.code == Overloaded.code
    assert client.replies == {}
    cluster.heal()
    cluster.tick(30)  # those that were taken go through
    again = cluster.resumed(client, cluster.until_leader())
    cluster.until(lambda: again.welcome is not None)
    again.write_again()
    cluster.until(lambda: all(again.has(each) for each in requests))
    assert [again.reply(each)[1] for each in requests] == [OK] * 5
    assert requests_in_order(cluster, client.session) == requests


def test_pending_bytes_are_bounded() -> None:
    cluster = Cluster(settings=ReplicaSettings(tick_ms=TICK_MS, limits=MemberLimits(pending_bytes=1000)))
    client = cluster.client(1)
    client.write(Create("/a", b"x" * 2000))
    cluster.settle()
    assert client.goodbye is not None
    assert client.goodbye.code == Overloaded.code
    assert "pending_bytes" in client.goodbye.message


def test_a_leader_appends_no_more_while_too_much_is_not_committed() -> None:
    cluster = Cluster(settings=ReplicaSettings(tick_ms=TICK_MS, uncommitted_bytes=1000, entry_bytes=300))
    leader = cluster.leader()
    client = cluster.client(leader)
    for number in cluster.followers():
        cluster.hold_disk(number)
    for number in range(50):
        client.write(Create(f"/n{number}", b"x" * 100))
        cluster.settle()
    assert cluster.members[leader].state.raft.uncommitted_bytes < 1500
    for number in cluster.followers():
        cluster.release_disk(number)
    cluster.until(lambda: not client.unanswered)
    assert requests_in_order(cluster, client.session) == list(range(1, 51))


@pytest.mark.parametrize("ends", [True, False])
def test_a_write_that_comes_after_the_end(ends: bool) -> None:
    cluster = Cluster()
    follower = cluster.followers()[0]
    client = cluster.client(follower)
    again = cluster.resumed(client, cluster.leader())
    if ends:
        again.end_session()
    cluster.hold_messages(Append, cluster.leader())  # the follower does not learn of the end yet
    cluster.settle()
    client.write(Create("/late"))
    cluster.settle()
    cluster.travels = None
    cluster.deliver_held()
    cluster.tick(20)
    paths = list(cluster.members[1].store.tree.znodes)
    if ends:
        assert client.goodbye is not None
        assert client.goodbye.code == SessionEnded.code
        assert paths == ["/"]
    else:
        assert "/late" in paths


def test_multis_that_read_more_at_once_than_may_wait_for_a_client() -> None:
    """Each reads little that is small to ask for; what they read together is never put into frames."""
    limits = MemberLimits(outbox_bytes=5000)
    cluster = Cluster(settings=ReplicaSettings(tick_ms=TICK_MS, limits=limits))
    greedy, other = cluster.client(1), cluster.client(1)
    other.write(Create("/large", b"x" * 1000))
    cluster.settle()
    read = Multi(then=(Get("/large"),))
    last = greedy.write(*[read] * 4)
    cluster.settle()
    assert greedy.reply(last)[1] == OK
    watch = greedy.watch("/", "znode")
    cluster.settle()
    greedy.write(*[read] * 1000)
    cluster.settle()
    assert greedy.goodbye is not None
    assert greedy.goodbye.code == LimitExceeded.code
    assert greedy.goodbye.details == {"limit": "outbox_bytes", "maximum": 5000}
    assert len(greedy.replies) == 5, "the four, and the watch"
    assert not greedy.has(watch + 1)
    last = other.write(Set("/large", b"y"))
    cluster.settle()
    assert other.reply(last)[1] == OK
    # Its session goes on, and so does what it asked for.
    again = cluster.resumed(greedy, 2)
    again.unanswered = dict(list(greedy.unanswered.items())[:4])
    asked = list(again.unanswered)
    again.write_again()
    cluster.settle()
    assert [again.reply(request)[4][1][0][0] for request in asked] == [b"x" * 1000] * 4
