"""Reads: as fresh as they were asked for, and no fresher than the quorum allows."""

import pytest

from coord.api.errors import OK, NotFound, Overloaded, Unavailable
from coord.api.ops import Create, Exists, Get, List, ReadMode, Set
from coord.limits import SERVER_FRAME_MAX_BYTES, MemberLimits
from coord.replica.reads import ReadRounds
from coord.replica.settings import ReplicaSettings
from coord.wire import client_frames as frames
from coord.wire.peer_frames import ReadGranted, ReadRequest
from tests.replica.cluster import TICK_MS, Cluster

FEW_TICKS = 15
WAIT_TICKS = 550
"""Past ``read_wait_ms``."""


@pytest.mark.parametrize("member", [1, 2, 3])
def test_a_linearizable_read_sees_what_was_acknowledged(member: int) -> None:
    cluster = Cluster()
    writer, reader = cluster.client(cluster.leader()), cluster.client(member)
    writer.write(Create("/a", b"0"))
    for number in range(5):
        write = writer.write(Set("/a", b"%d" % number))
        cluster.until(lambda write=write: writer.has(write))  # type: ignore[misc]
        read = reader.read(Get("/a"))
        cluster.settle()
        assert reader.reply(read)[4][0] == b"%d" % number
        assert reader.reply(read)[2] >= writer.reply(write)[2]


def test_a_linearizable_read_needs_a_quorum() -> None:
    cluster = Cluster()
    leader = cluster.leader()
    client = cluster.client(leader)
    cluster.isolate(leader)
    request = client.read(Get("/"))
    local = client.read(Get("/"), ReadMode.LOCAL)
    cluster.settle()
    assert client.reply(local)[1] == OK
    assert not client.has(request)
    cluster.tick(WAIT_TICKS)
    assert client.reply(request)[1] == Unavailable.code
    assert "quorum" in client.reply(request)[4]


def test_a_deposed_leader_serves_nothing_stale() -> None:
    """It does not know that it was deposed: a read at it waits, and is served when it follows again."""
    cluster = Cluster()
    old = cluster.leader()
    reader = cluster.client(old)
    writer = cluster.client(cluster.followers()[0])
    writer.write(Create("/a", b"old"))
    cluster.settle()
    cluster.isolate(old)
    early = reader.read(Get("/a"))
    cluster.settle()
    cluster.until(lambda: cluster.leader() not in (0, old))
    write = writer.write(Set("/a", b"new"))
    cluster.until(lambda: writer.has(write))
    late = reader.read(Get("/a"))
    cluster.tick(FEW_TICKS)
    assert not reader.has(late)
    cluster.heal()
    cluster.until(lambda: reader.has(late))
    assert reader.reply(late)[4][0] == b"new"
    assert reader.reply(early)[4][0] == b"new"


def test_a_read_waits_until_its_index_is_applied_here() -> None:
    """The leader grants an index that this member has not got to: served at once, it would be stale."""
    cluster = Cluster()
    leader = cluster.leader()
    lagging = cluster.followers()[0]
    reader, writer = cluster.client(lagging), cluster.client(leader)
    cluster.travels = lambda sender, to, message: (
        not (sender == leader and to == lagging) or isinstance(message, ReadGranted)
    )
    write = writer.write(Create("/a"))
    cluster.settle()
    assert writer.reply(write)[1] == OK
    request = reader.read(Exists("/a"))
    cluster.settle()
    assert not reader.has(request)
    cluster.heal()
    cluster.until(lambda: reader.has(request))
    assert reader.reply(request)[4] is not None


def test_a_late_grant_is_not_taken_for_a_later_round() -> None:
    """1. A round is asked; its grant is delayed. 2. The member gives up, and asks again. 3. A write is acknowledged.

    4. A read arrives. 5. The old grant arrives: its index is from before the write.
    """
    cluster = Cluster()
    leader = cluster.leader()
    lagging = cluster.followers()[0]
    reader, writer = cluster.client(lagging), cluster.client(leader)
    cluster.hold_messages(ReadGranted, leader)
    reader.read(Exists("/a"))
    cluster.settle()
    assert len(cluster.held) == 1
    late = cluster.held.pop()
    cluster.cut[(leader, lagging)] = None
    cluster.tick(2)
    write = writer.write(Create("/a"))
    cluster.settle()
    assert writer.reply(write)[1] == OK
    request = reader.read(Exists("/a"))
    # The round is given up before a new leader is looked for.
    cluster.tick(cluster.settings.round_ticks)
    cluster.cut.clear()
    cluster.held.append(late)
    cluster.cut[(lagging, leader)] = (
        None  # the new round goes unanswered, so only the late grant could serve it
    )
    cluster.members[lagging].paused = False
    sender, to, message = late
    cluster.held.clear()
    cluster._fly(cluster.now_ms, sender, to, cluster.encoder.frame([message]))
    cluster.settle()
    assert not reader.has(request)
    cluster.heal()
    cluster.until(lambda: reader.has(request))
    assert reader.reply(request)[4] is not None


def test_a_grant_of_an_earlier_life_is_not_taken() -> None:
    """Numbers begin at the boot nonce: the first round of this life has another number than the first of the last."""
    cluster = Cluster()
    leader = cluster.leader()
    lagging = cluster.followers()[0]
    reader, writer = cluster.client(lagging), cluster.client(leader)
    cluster.hold_messages(ReadGranted, leader)
    reader.read(Exists("/a"))
    cluster.settle()
    (late,) = cluster.held
    cluster.held.clear()
    cluster.travels = None
    cluster.restart(lagging)
    again = cluster.connect(lagging)
    again.hello(frames.Hello(None, "", None))
    cluster.tick(10)
    assert cluster.members[lagging].store.applied_index >= late[2].index  # type: ignore[union-attr]
    cluster.cut[(leader, lagging)] = None
    write = writer.write(Create("/a"))
    cluster.settle()
    assert writer.reply(write)[1] == OK
    cluster.travels = lambda sender, to, message: not isinstance(message, ReadRequest)
    request = again.read(Exists("/a"))
    cluster.settle()
    assert cluster.members[lagging].state.rounds.under_way
    cluster.cut.clear()
    sender, to, message = late
    cluster._fly(cluster.now_ms, sender, to, cluster.encoder.frame([message]))
    cluster.settle()
    assert not again.has(request)
    cluster.heal()
    cluster.until(lambda: again.has(request))
    assert again.reply(request)[4] is not None


def test_rounds_share_and_never_repeat_a_number() -> None:
    rounds, later = ReadRounds(1), ReadRounds(2)
    numbers = []
    for each in (rounds, later):
        for _ in range(50):
            numbers.append(each.ask()[0])
            each.give_up()
    assert len(dict.fromkeys(numbers)) == 100


def test_reads_share_rounds() -> None:
    cluster = Cluster()
    follower = cluster.followers()[0]
    client = cluster.client(follower)
    cluster.hold_messages(ReadRequest, follower)
    requests = [client.read(Get("/")) for _ in range(100)]
    cluster.settle()
    requests += [client.read(Get("/")) for _ in range(100)]
    cluster.settle()
    assert len(cluster.held) == 1  # what arrived later waits for the next
    cluster.travels = None
    cluster.deliver_held()
    assert all(client.has(each) for each in requests)


def test_a_refused_round_is_asked_again_of_the_next_leader() -> None:
    cluster = Cluster()
    old = cluster.leader()
    follower = cluster.followers()[0]
    client = cluster.client(follower)
    cluster.isolate(old)
    request = client.read(Get("/"))
    cluster.until(lambda: client.has(request))
    assert cluster.leader() != old
    assert client.reply(request)[1] == OK


def test_a_refused_round_is_not_asked_again_at_once() -> None:
    """The leader was restarted, and is none now; the follower does not know yet. They must not keep each other busy."""
    cluster = Cluster()
    follower = cluster.followers()[0]
    client = cluster.client(follower)
    cluster.restart(cluster.leader())
    asked: list[object] = []

    def counted(sender: int, to: int, message: object) -> bool:
        asked.extend([message] if isinstance(message, ReadRequest) else [])
        return True

    cluster.travels = counted
    request = client.read(Get("/"))
    cluster.settle()
    assert len(asked) == 1
    cluster.tick(3)
    assert len(asked) <= 4
    cluster.until(lambda: client.has(request))
    assert client.reply(request)[1] == OK


# --- at_least and local ----------------------------------------------------------------------------------------------


def test_at_least_waits_for_its_revision() -> None:
    cluster = Cluster()
    leader = cluster.leader()
    lagging = cluster.followers()[0]
    reader, writer = cluster.client(lagging), cluster.client(leader)
    cluster.cut[(leader, lagging)] = None
    write = writer.write(Create("/a"))
    cluster.settle()
    revision = writer.reply(write)[2]
    now = reader.read(Exists("/a"), ReadMode.AT_LEAST, revision - 1)
    request = reader.read(Exists("/a"), ReadMode.AT_LEAST, revision)
    local = reader.read(Exists("/a"), ReadMode.LOCAL)
    cluster.settle()
    assert reader.reply(now)[4] is None
    assert reader.reply(local)[4] is None
    assert not reader.has(request)
    cluster.heal()
    cluster.until(lambda: reader.has(request))
    assert reader.reply(request)[2] >= revision
    assert reader.reply(request)[4] is not None


def test_at_least_a_revision_that_does_not_come() -> None:
    cluster = Cluster()
    client = cluster.client(1, 60_000)
    request = client.read(Exists("/a"), ReadMode.AT_LEAST, 5)
    cluster.tick(WAIT_TICKS - 100)
    assert not client.has(request)
    cluster.tick(100)
    assert client.reply(request)[1] == Unavailable.code
    assert "revision 5" in client.reply(request)[4]
    assert len(cluster.members[1].state.waits) == 0


def test_cheap_reads_work_without_a_quorum() -> None:
    cluster = Cluster()
    client = cluster.client(1)
    write = client.write(Create("/a", b"x"))
    cluster.settle()
    revision = client.reply(write)[2]
    cluster.crash(2)
    cluster.crash(3)
    cluster.tick(100)
    local = client.read(Get("/a"), ReadMode.LOCAL)
    at_least = client.read(Get("/a"), ReadMode.AT_LEAST, revision)
    cluster.settle()
    assert client.reply(local)[4][0] == client.reply(at_least)[4][0] == b"x"


def test_waiting_reads_are_bounded() -> None:
    cluster = Cluster(settings=ReplicaSettings(tick_ms=TICK_MS, limits=MemberLimits(waiting_reads=2)))
    client = cluster.client(1)
    requests = [client.read(Get("/"), ReadMode.AT_LEAST, 9) for _ in range(4)]
    cluster.settle()
    assert [client.has(each) for each in requests] == [False, False, True, True]
    assert client.reply(requests[3])[1] == Overloaded.code
    assert "waiting_reads" in client.reply(requests[3])[4]
    linearizable = client.read(Get("/"))
    cluster.settle()
    assert client.reply(linearizable)[1] == Overloaded.code


def test_errors_of_reads_are_replies() -> None:
    cluster = Cluster()
    client = cluster.client(1)
    request = client.read(Get("/nope"))
    cluster.settle()
    assert client.reply(request)[1] == NotFound.code
    assert client.reply(request)[5] == {"path": "/nope"}


# --- to a client that has enough to take in --------------------------------------------------------------------------


def test_a_full_connection_gets_its_reads_later() -> None:
    cluster = Cluster()
    client = cluster.client(1)
    client.write(Create("/a", b"0"))
    cluster.settle()
    client.backlog(True)
    requests = [client.read(Get("/a"), mode) for mode in (ReadMode.LOCAL, ReadMode.LINEARIZABLE)]
    cluster.tick(3)
    assert not any(client.has(each) for each in requests)
    client.write(Set("/a", b"1"))
    cluster.tick(3)
    client.backlog(False)
    cluster.settle()
    assert [client.reply(each)[4][0] for each in requests] == [b"1", b"1"]


def test_frames_to_clients_stay_within_the_protocols_bound() -> None:
    """Many reads in one frame, each large, whether by values or by names and stats alone."""
    cluster = Cluster(size=1)
    client = cluster.client(1)
    for number in range(300):
        client.write(Create(f"/{number:0800d}", b"x" * 100))
        if not number % 20:
            cluster.settle()
    client.write(Create("/v", b"x" * 1_000_000))
    cluster.settle()
    sizes: list[int] = []
    take = client.take

    def measured(data: bytes, close: bool) -> None:
        at = 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 4], "big")
            sizes.append(length)
            at += 4 + length
        take(data, close)

    client.take = measured  # type: ignore[method-assign]
    for op, count in ((List("/", stats=True), 60), (Get("/v"), 20)):
        rows = [(client.request(), op.row()) for _ in range(count)]
        client.send(frames.encode_reads(ReadMode.LOCAL, 0, rows))
        cluster.until(lambda rows=rows: all(client.has(request) for request, _ in rows))  # type: ignore[misc]
    assert max(sizes) < SERVER_FRAME_MAX_BYTES // 4
