"""More than one step's work: it is done in parts, in turn, and what is promised holds between any two of them."""

from dataclasses import replace

import pytest

from coord.api.commands import REQUESTS
from coord.api.errors import OK, SessionEnded
from coord.api.ops import Create, Delete, Get, List, Multi, ReadMode, Set
from coord.limits import StoreLimits
from coord.replica.inputs import Outputs, Tick
from coord.replica.proposals import Proposals
from coord.replica.settings import ReplicaSettings
from coord.replica.turns import Turns
from coord.server.config import Config
from coord.store.expecting import expected_work
from coord.store.tree import Tree
from coord.wire.client_frames import encode_reads
from coord.wire.peer_frames import ReadGranted
from tests.replica.cluster import TICK_MS, Client, Cluster, Member
from tests.store.machine import Machine, picture

WORK_US = 1_000
CHILDREN = 100

ONE_BY_ONE = ReplicaSettings(tick_ms=TICK_MS, step_work_us=1)
"""A step applies one request, and answers one."""


class Steps(Cluster):
    """Remembers how many requests of each client each step has answered: ``(member, {connection: how many})``."""

    def __init__(self, settings: ReplicaSettings) -> None:
        self.steps: list[tuple[int, dict[int, int]]] = []
        super().__init__(settings=settings)

    def _do(self, member: Member, outputs: Outputs) -> None:
        self.steps.append((member.number, {each.connection: each.answered for each in outputs.clients}))
        super()._do(member, outputs)

    def answered_in(self, client: Client) -> list[int]:
        """The steps that answered ``client``, by their places."""
        return [place for place, (_, answered) in enumerate(self.steps) if answered.get(client.connection)]


def populated(settings: ReplicaSettings) -> tuple[Steps, Client]:
    cluster = Steps(settings)
    client = cluster.client(cluster.leader(), 60_000)
    client.write(*[Create(f"/p/{number:03}", b"", parents=True) for number in range(CHILDREN)])
    cluster.until(lambda: not client.unanswered)
    return cluster, client


def half_applied(cluster: Cluster, client: Client, *values: bytes) -> int:
    """Each value is set at ``/a`` by one frame, in one entry; the client's member stops after the first. Its entry."""
    member = cluster.members[client.member]
    member.goes_on = False
    client.write(*[Set("/a", value, create=True) for value in values])
    cluster.settle()
    entry = member.store.underway
    assert entry is not None
    assert (entry.command, entry.request) == (0, 1)
    assert client.received[-1].rows[0][3] == entry.index  # type: ignore[union-attr]
    return entry.index


# --- reads -----------------------------------------------------------------------------------------------------------


def test_one_clients_flood_leaves_turns_for_another() -> None:
    cluster, flooder = populated(ReplicaSettings(tick_ms=TICK_MS, step_work_us=WORK_US))
    other = cluster.client(flooder.member, 60_000)
    begin = len(cluster.steps)
    lists = [flooder.read(List("/p", stats=True)) for _ in range(50)]
    get = other.read(Get("/p/001"))
    cluster.settle()
    [answered] = cluster.answered_in(other)[-1:]
    flood = [place for place in cluster.answered_in(flooder) if place >= begin]
    assert len(flood) > 15  # 400 and more of 1000 each
    assert answered <= flood[1]
    assert [
        row for row in flooder.replies if row in lists
    ] == lists  # those of one connection stay in their order
    assert other.reply(get)[1] == OK
    assert max(sum(answered.values()) for _, answered in cluster.steps[begin:]) <= 4


def test_a_frame_of_many_reads_is_cut_too() -> None:
    """One frame may hold thousands. What is left of it comes before what was asked for later."""
    cluster, flooder = populated(ReplicaSettings(tick_ms=TICK_MS, step_work_us=WORK_US))
    other = cluster.client(flooder.member, 60_000)
    begin = len(cluster.steps)
    ids = [flooder.request() for _ in range(50)]
    flooder.send(encode_reads(0, 0, [(request, List("/p", stats=True).row()) for request in ids]))
    last = flooder.read(Get("/p/001"))
    gets = [other.read(Get("/p/001")) for _ in range(3)]
    cluster.settle()
    assert [row for row in flooder.replies if row in (*ids, last)] == [*ids, last]
    assert all(other.has(get) for get in gets)
    flood = [place for place in cluster.answered_in(flooder) if place >= begin]
    assert cluster.answered_in(other)[-1] <= flood[3] < flood[-1]


def test_a_keepalive_does_not_wait_behind_its_own_clients_flood() -> None:
    cluster, flooder = populated(ONE_BY_ONE)
    member = cluster.members[flooder.member]
    for _ in range(20):
        flooder.read(List("/p"))
    member.goes_on = False
    cluster.settle()
    assert member.state.turns.count > 10
    keepalive = flooder.keepalive()
    cluster.settle()
    assert flooder.reply(keepalive)[1] == OK
    assert member.state.turns.count > 10
    member.goes_on = True
    cluster.tick()
    assert not member.state.turns.count


def test_what_waits_for_its_turn_counts() -> None:
    cluster, flooder = populated(ONE_BY_ONE)
    state = cluster.members[flooder.member].state
    cluster.members[flooder.member].goes_on = False
    reads = [flooder.read(Get("/p/001"), ReadMode.LOCAL) for _ in range(10)]
    cluster.settle()
    assert state.waiting_reads == 9
    flooder.drop()  # nobody wants them any more, and nothing is kept of them
    cluster.settle()
    assert state.waiting_reads == 0
    assert not state.turns._queues
    assert not any(flooder.has(each) for each in reads[1:])


def test_a_read_that_waited_for_its_turn_shows_what_is_there_by_then() -> None:
    """And what one connection is shown never goes back."""
    cluster, writer = populated(ONE_BY_ONE)
    reader = cluster.client(writer.member, 60_000)
    reads = [reader.read(Get("/p/000")) for _ in range(8)]
    for number in range(4):
        writer.write(Set("/p/000", b"%d" % number))
    cluster.settle()
    shown = [reader.reply(each)[2] for each in reads]
    assert shown == sorted(shown)
    assert list(reader.replies)[-8:] == reads


# --- entries ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_leader", [True, False])
def test_a_read_waits_until_the_entry_is_applied_whole(at_leader: bool) -> None:
    """1. An entry sets 1 to 30; another member has answered that it did. 2. This one has set 1. 3. A read of what is
    committed, granted at that entry, would see 1, served now.
    """
    cluster = Cluster(settings=ONE_BY_ONE)
    at = cluster.leader() if at_leader else cluster.followers()[0]
    writer, reader = cluster.client(at, 60_000), cluster.client(at, 60_000)
    elsewhere = cluster.client(next(each for each in cluster.members if each != at), 60_000)
    values = [b"%d" % number for number in range(1, 31)]
    index = half_applied(cluster, writer, *values)
    store = cluster.members[at].store
    told = elsewhere.read(Get("/a"), ReadMode.LOCAL)
    read = reader.read(Get("/a"))
    local = reader.read(Get("/a"), ReadMode.LOCAL)
    cluster.settle()
    assert elsewhere.reply(told)[4][0] == b"30"
    revision = reader.reply(local)[2]
    assert revision < 30
    assert reader.reply(local)[3] == index - 1  # the last that it has whole
    assert reader.reply(local)[4][0] == values[revision - 1]
    early = reader.read(Get("/a"), ReadMode.AT_LEAST, store.revision)
    late = reader.read(Get("/a"), ReadMode.AT_LEAST, 30)
    cluster.settle()
    assert reader.reply(early)[2] >= revision
    assert store.underway is not None
    assert not reader.has(read)
    assert not reader.has(late)
    cluster.members[at].goes_on = True
    cluster.tick()
    assert reader.reply(read)[3] == index
    assert reader.reply(read)[4][0] == b"30"
    assert reader.reply(late)[4][0] == b"30"


def test_a_step_applies_no_more_than_its_share() -> None:
    """And a thousand heavy requests of one client are no reason for an election, nor for another's session to end."""
    cluster, flooder = populated(ReplicaSettings(tick_ms=TICK_MS, step_work_us=WORK_US))
    other = cluster.client(flooder.member, 60_000)
    begin = len(cluster.steps)
    heavy = Multi((), tuple(Set(f"/p/{number:03}", b"y") for number in range(50)))
    for _ in range(40):
        flooder.write(heavy)
    mine = other.write(Set("/b", b"", create=True))
    cluster.settle()
    assert other.reply(mine)[1] == OK
    by_leader = [answered for number, answered in cluster.steps[begin:] if number == flooder.member]
    assert max(sum(answered.values()) for answered in by_leader) <= WORK_US // (50 * 5) + 3
    assert not flooder.unanswered


def test_events_go_before_answers_also_within_an_entry() -> None:
    cluster = Cluster(settings=ONE_BY_ONE)
    writer = cluster.client(cluster.leader(), 60_000)
    watcher = cluster.client(cluster.leader(), 60_000)
    watch = writer.watch("/a", 1)
    watcher.watch("/a", 1)
    cluster.settle()
    half_applied(cluster, writer, b"1", b"2", b"3", b"4", b"5", b"6")
    assert [revision for revision, _ in writer.events(watch)] == [1]
    # A watch that is opened now is told what has been, and then the rest, each once.
    late = watcher.watch("/a", 1)
    cluster.settle()
    told = [revision for revision, _ in watcher.events(late)]
    assert told == [1, 2, 3, 4, 5, 6][: len(told)]
    assert 0 < len(told) < 6
    cluster.members[writer.member].goes_on = True
    cluster.tick(2)
    words = [word for word in writer.order() if not word.startswith("reply 1 ")]
    assert words == [
        word for number in range(1, 7) for word in (f"event {number}", f"reply {number + 1} at {number}")
    ]
    assert [revision for revision, _ in watcher.events(late)] == [1, 2, 3, 4, 5, 6]


def test_the_retry_of_a_frame_that_is_half_applied() -> None:
    """Its client goes elsewhere with it, and back: one answer to each, and each once."""
    cluster = Cluster(settings=ONE_BY_ONE)
    client = cluster.client(cluster.leader(), 60_000)
    half_applied(cluster, client, b"1", b"2", b"3")
    cluster.members[client.member].goes_on = True
    rows = {number: Set("/a", b"%d" % number, create=True).row() for number in (1, 2, 3)}
    client.unanswered.clear()
    client.unanswered.update(rows)
    again = cluster.resumed(client, client.member)
    again.write_again()
    cluster.tick()
    assert [again.reply(number)[2] for number in (1, 2, 3)] == [1, 2, 3]
    assert cluster.members[client.member].store.revision == 3


def test_a_frame_that_comes_again_between_two_parts_of_it() -> None:
    """1. Its first part is answered, to a connection that is lost. 2. On the next one the whole frame comes again.
    3. The other parts are answered there. Were it taken for applied with the last, nobody would answer its first part.
    """
    cluster = Cluster(settings=replace(ONE_BY_ONE, transit_work_us=1))
    client = cluster.client(cluster.followers()[0], 60_000)
    member = cluster.members[client.member]
    cluster.hold_messages(ReadGranted)
    again = cluster.resumed(client, client.member)  # granted before that frame was committed
    rows = {number: Set("/a", b"%d" % number, create=True).row() for number in range(1, 31)}
    half_applied(cluster, client, *[b"%d" % number for number in range(1, 31)])
    cluster.travels = None
    cluster.deliver_held()
    assert again.welcome is not None
    again.replies.clear()
    again.unanswered.update(rows)
    again.write_again()
    cluster.settle()
    assert member.store.underway is not None
    member.goes_on = True
    cluster.tick(3)
    assert sorted(number for number in again.replies if number in rows) == list(rows)
    assert member.store.revision == 30
    assert not member.state.proposals.pending_count


def test_a_session_that_ends_behind_its_own_flood() -> None:
    """Its end waits for its writes, also when these wait for their turn."""
    cluster = Cluster(settings=ReplicaSettings(tick_ms=TICK_MS, step_work_us=1, transit_work_us=1))
    for at in (cluster.leader(), cluster.followers()[0]):
        client = cluster.client(at, 60_000)
        writes = [client.write(Create("/s-", b"", sequential=True)) for _ in range(10)]
        end = client.end_session()
        cluster.tick(2)
        assert all(client.reply(each)[1] == OK for each in writes)
        assert list(client.replies)[-1] == end
        assert client.goodbye is not None
        assert client.goodbye.code == SessionEnded.code


# --- while something is left -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_leader", [True, False])
def test_a_restart_with_a_rest(at_leader: bool) -> None:
    cluster = Cluster(settings=ONE_BY_ONE)
    at = cluster.leader() if at_leader else cluster.followers()[0]
    client = cluster.client(at, 60_000)
    half_applied(cluster, client, b"1", b"2", b"3")
    cluster.members[at].goes_on = True
    cluster.restart(at)
    cluster.until_leader()
    again = cluster.resumed(client, at)
    cluster.until(lambda: again.welcome is not None)
    again.write_again()
    cluster.until(lambda: not again.unanswered)
    assert [again.reply(number)[2] for number in (2, 3)] == [2, 3]
    cluster.tick(20)
    same(cluster)


def test_a_leader_that_is_lost_with_a_rest() -> None:
    """It has not applied all that it has committed; it goes on with that as a follower, and answers."""
    cluster = Cluster(settings=ONE_BY_ONE)
    old = cluster.leader()
    client = cluster.client(old, 60_000)
    half_applied(cluster, client, b"1", b"2", b"3")
    cluster.isolate(old)
    cluster.until(lambda: cluster.leader() not in (0, old))
    other = cluster.client(cluster.leader(), 60_000)
    more = other.write(Set("/a", b"4"))
    cluster.until(lambda: other.has(more))
    cluster.members[old].goes_on = True
    cluster.heal()
    cluster.until(lambda: not client.unanswered)
    assert client.reply(3)[1] == OK
    cluster.tick(20)
    same(cluster)
    assert other.reply(more)[2] == 4


def test_a_snapshot_that_is_due_begins_when_the_entry_is_whole() -> None:
    """In the middle of it, it would hold half of an entry that a start goes on behind, or applies once more."""
    settings = ReplicaSettings(
        tick_ms=TICK_MS, step_work_us=1, snapshot_requests=6, snapshot_section_bytes=100
    )
    cluster = Cluster(settings=settings)
    at = cluster.leader()
    client = cluster.client(at, 60_000)
    member = cluster.members[at]
    maker = member.state.snapshot_maker
    client.write(*[Set("/b", b"%d" % number, create=True) for number in range(6)])
    member.paused = True  # no tick, and so no snapshot, until the next entry is half applied
    for _ in range(3):
        cluster.members[at].paused = False
        cluster.settle()
    index = half_applied(cluster, client, *[b"%d" % number for number in range(10)])
    assert maker.meta is None or maker.meta.index < index
    client.write(*[Set("/a", b"and %d" % number) for number in range(10)])
    while member.store.underway is not None:
        before = member.store.underway.index
        cluster.tick()
        assert maker.meta is None or maker.meta.index < before or member.store.underway is None
        if maker.due:
            break
    assert maker.due, "a snapshot was due within the entry"
    due_in = member.store.underway
    assert due_in is not None
    while maker.due:
        cluster.tick()
    assert maker.meta is not None
    assert maker.meta.index == due_in.index
    member.goes_on = True
    cluster.until(lambda: member.snapshots_saved > 0)
    cluster.tick(5)
    assert not client.unanswered
    before_restart = picture(member.store)
    cluster.restart(at)
    cluster.until_leader()
    cluster.tick(20)
    assert picture(member.store)["tree"] == before_restart["tree"]
    same(cluster)


def test_a_snapshot_is_installed_over_a_rest() -> None:
    """What was left is in it. Applied once more, on top of it, it would be applied twice."""
    settings = ReplicaSettings(
        tick_ms=TICK_MS, step_work_us=1, snapshot_entries=10, snapshot_section_bytes=100_000, catch_up_bytes=1
    )
    cluster = Cluster(settings=settings)
    behind = cluster.followers()[0]
    client = cluster.client(behind, 60_000)
    cluster.client(cluster.leader(), 60_000)
    half_applied(cluster, client, *[b"%d" % number for number in range(500)])
    member = cluster.members[behind]
    cluster.isolate(behind)
    other = cluster.client(cluster.leader(), 60_000)
    for number in range(40):
        other.write(Create(f"/n{number}", b"x" * 40))
        for each in cluster.members.values():
            if each is not member:
                each.inbox.append(Tick())
        cluster.settle()
    assert member.state.committed  # it was not stepped, and so did not go on
    cluster.heal()
    revision, left = member.store.revision, 0

    def is_installed() -> bool:
        nonlocal left
        if member.snapshots_installed == 0:
            left = len(member.state.committed)
        return member.snapshots_installed == 1

    cluster.until(is_installed)
    assert left, "something was left when it came"
    installed = member.disk.snapshot.index
    assert all(entry.index > installed for entry in member.state.committed)
    assert member.state.committed_bytes == sum(len(entry.data) for entry in member.state.committed)
    assert member.store.revision > revision + 10
    member.goes_on = True
    cluster.until(lambda: not client.unanswered)
    cluster.tick(20)
    same(cluster)


def test_a_leader_proposes_nothing_while_something_is_left() -> None:
    """What is committed now is what a read that is asked for now waits for."""
    cluster = Cluster(settings=ONE_BY_ONE)
    leader = cluster.leader()
    client, other = cluster.client(leader, 60_000), cluster.client(leader, 60_000)
    half_applied(cluster, client, b"1", b"2", b"3")
    raft = cluster.members[leader].state.raft
    last = raft.last_index
    mine = other.write(Set("/b", b"", create=True))
    cluster.settle()
    assert raft.last_index == last
    cluster.members[leader].goes_on = True
    cluster.tick()
    assert other.reply(mine)[1] == OK


def test_who_applies_slowly_is_given_a_larger_share() -> None:
    """What is left over grows no further than that: in the end hardly anything else is done."""
    settings = ReplicaSettings(tick_ms=TICK_MS, step_work_us=10, uncommitted_bytes=2_000)
    cluster = Cluster(settings=settings)
    slow = cluster.followers()[0]
    client = cluster.client(cluster.leader(), 60_000)
    member = cluster.members[slow]
    member.goes_on = False
    most = told = 0
    for number in range(100):
        client.write(*[Set(f"/n{each}", b"x" * 100, create=True) for each in range(5)])
        cluster.settle()
        most, told = max(most, member.state.committed_bytes), told + 5 * 100
        assert member.state.committed_bytes == sum(len(entry.data) for entry in member.state.committed), (
            number
        )
    assert 2_000 < most < told // 10
    member.goes_on = True
    cluster.tick(20)
    same(cluster)


def test_what_is_still_to_be_applied_is_not_passed_on_again() -> None:
    """It is in the log, and takes its time. Taken for lost, it would be in the log twice, and take twice as long."""
    settings = ReplicaSettings(tick_ms=TICK_MS, step_work_us=1, resend_ticks=10)
    cluster = Cluster(settings=settings)
    at = cluster.followers()[0]
    client = cluster.client(at, 60_000)
    half_applied(cluster, client, *[b"%d" % number for number in range(400)])
    last = cluster.members[at].state.raft.last_index
    cluster.tick(60)
    assert cluster.members[at].store.underway is not None
    assert cluster.members[at].state.raft.last_index == last


def same(cluster: Cluster) -> None:
    pictures = [picture(member.store) for member in cluster.members.values() if member.replica is not None]
    assert all(each == pictures[0] for each in pictures)


# --- what is on its way ----------------------------------------------------------------------------------------------


def test_no_more_is_on_its_way_than_is_applied_in_good_time() -> None:
    proposals = Proposals(1, 1 << 20, 100)
    for request in range(1, 6):
        proposals.add((REQUESTS, 7), request, b"seven %d" % request, request, 60)
    proposals.add((REQUESTS, 8), 1, b"eight", 1, 10)
    assert taken(proposals) == [b"seven 1", b"seven 2"]
    assert taken(proposals) == []
    assert not proposals.has_new
    proposals.applied((REQUESTS, 7), 1)
    assert proposals.has_new
    assert taken(proposals) == [b"seven 3"]  # 60, and 60 more
    proposals.applied((REQUESTS, 7), 2)
    assert taken(proposals) == [b"eight", b"seven 4"]
    # Another leader: all that is pending, in each session's order, and no more of it at a time than before.
    proposals.restart()
    assert taken(proposals) == [b"seven 3", b"seven 4"]
    proposals.applied(
        (REQUESTS, 7), 5
    )  # the old stream's were applied after all, with one that had not gone out again
    assert taken(proposals) == [b"eight"]
    proposals.restart()
    proposals.applied((REQUESTS, 8), 1)  # as above, before anything has gone out again
    assert taken(proposals) == []
    assert proposals.pending_count == 0
    assert not proposals.has_new
    proposals.add((REQUESTS, 8), 2, b"more than there is ever room for", 2, 1_000)
    assert taken(proposals) == [b"more than there is ever room for"]


def test_a_frame_is_not_answered_by_the_last_of_it() -> None:
    """1. Requests 1 and 2 were sent to another member; 1 is applied. 2. Their client comes here, and sends both in one
    frame, which waits for its turn. 3. The other member's 2 is applied.
    """
    proposals = Proposals(1, 1 << 20, 1)
    proposals.add((REQUESTS, 7), 2, b"one and two", 1)
    assert not proposals.applied((REQUESTS, 7), 2, 2)
    assert proposals.pending_count == 1
    assert taken(proposals) == [b"one and two"]
    assert proposals.applied((REQUESTS, 7), 2, 1)
    assert proposals.pending_count == 0


def taken(proposals: Proposals) -> list[bytes]:
    return [command for lot in proposals.take_lots(()) for command in lot.commands]


def test_turns() -> None:
    turns: Turns[str] = Turns()
    for who, item in ((1, "a"), (1, "b"), (1, "c"), (2, "x"), (3, "y")):
        turns.add(who, item)
    assert turns.take() == "a"
    turns.put_back(1, "rest of a")
    assert [turns.take() for _ in range(4)] == ["x", "y", "rest of a", "b"]
    assert turns.count == 1
    turns.clear()
    assert turns.count == 0


def test_what_is_expected_is_about_what_it_takes() -> None:
    machine = Machine()
    for number in range(200):
        machine.do(Create(f"/large/{number}", b"", parents=True))
        machine.do(Create(f"/small/{number % 20}/x{number}", b"", parents=True))
    limits = StoreLimits()
    for op in (
        Set("/large/1", b"x"),
        Create("/new"),
        Multi((), tuple(Set(f"/large/{number}", b"") for number in range(100))),
        Multi((), (Multi((), (List("/large", stats=True),)),)),
        Delete("/small/1", subtree=True),
    ):
        expected = expected_work([(1, op.row())], machine.store.tree, limits, 1 << 30)
        before = machine.store.work.done
        machine.do(op)
        assert expected / 4 <= machine.store.work.done - before <= expected * 1.5, op
    # One that is too large to look at is taken for the largest that there can be.
    large = [(1, Delete("/large", subtree=True).row())]
    assert expected_work(large, machine.store.tree, limits, 1 << 30) > limits.changes_per_request * 10
    assert expected_work(large * 1_000, machine.store.tree, limits, 10_000) < limits.changes_per_request * 40
    assert expected_work([(1, Delete("/nowhere", subtree=True).row())], Tree(), limits, 1 << 30) < 50


def test_a_step_is_shorter_than_a_beat() -> None:
    """The inequality of ``step_work_us``."""
    for settings in (ReplicaSettings(), Config(listen="127.0.0.1:1").replica_settings()):  # type: ignore[arg-type]
        assert 2 * settings.step_work_us <= settings.tick_ms * 1_000
