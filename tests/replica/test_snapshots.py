"""Snapshots: made while writing goes on, the log trimmed after; sent to whom the log cannot help; started from."""

import pytest

from coord.api.errors import OK
from coord.api.ops import Create, Exists, Get, Kind, Set
from coord.limits import MemberLimits
from coord.raft.messages import SnapshotSection
from coord.raft.types import Configuration, SnapshotMeta
from coord.replica import applying
from coord.replica.settings import ReplicaSettings
from coord.replica.snapshots import SnapshotMaker
from coord.replica.state import ReplicaState
from coord.store.store import Store
from tests.replica.cluster import TICK_MS, Client, Cluster
from tests.store.machine import picture

SETTINGS = ReplicaSettings(
    tick_ms=TICK_MS,
    snapshot_entries=20,
    snapshot_section_bytes=300,
    snapshot_sections_per_tick=1,
    catch_up_bytes=500,
)


def same(cluster: Cluster) -> None:
    """All members' states, in full."""
    cluster.tick(10)
    pictures = [picture(member.store) for member in cluster.members.values() if member.replica is not None]
    assert all(each == pictures[0] for each in pictures)


def busy(cluster: Cluster, client: Client, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        client.write(Create(f"/n{number}", b"x" * 40), Set("/counter", b"%d" % number, create=True))
        cluster.tick()
    cluster.until(lambda: not client.unanswered)


def test_made_while_writing_and_started_from() -> None:
    cluster = Cluster(settings=SETTINGS)
    client = cluster.client(cluster.leader(), 60_000)
    client.write(Create("/e", kind=Kind.EPHEMERAL))
    busy(cluster, client, 60)
    for number, member in cluster.members.items():
        assert member.snapshots_saved >= 1
        assert member.disk.start_index > 10  # the log was trimmed
        assert member.state.raft.first_index > 10
        assert member.store.tree.keep is None or member.saving
        assert number in (1, 2, 3)
    same(cluster)
    before = picture(cluster.members[1].store)
    for number in cluster.members:
        cluster.crash(number)
    for number in cluster.members:
        cluster.start(number)
    cluster.until_leader()
    cluster.tick(20)
    after = picture(cluster.members[1].store)
    for part in ("tree", "sessions", "revision", "history", "ephemerals", "next_session", "limits"):
        assert after[part] == before[part], part
    same(cluster)


def test_each_member_restarted_in_turn() -> None:
    cluster = Cluster(settings=SETTINGS)
    client = cluster.client(1, 60_000)
    for number in (2, 3, 1, 2):
        busy(cluster, client, 25, 100 * number)
        at = client.member % 3 + 1 if client.member == number else client.member
        client = cluster.resumed(client, at) if at != client.member else client
        cluster.until(lambda client=client: client.welcome is not None)  # type: ignore[misc]
        cluster.restart(number)
        cluster.until_leader()
        client.write_again()
        cluster.until(lambda client=client: not client.unanswered)  # type: ignore[misc]
        cluster.tick(30)
        same(cluster)


def test_a_member_far_behind_gets_the_snapshot() -> None:
    cluster = Cluster(settings=SETTINGS)
    leader = cluster.leader()
    behind = cluster.followers()[0]
    client = cluster.client(leader, 60_000)
    busy(cluster, client, 5)
    cluster.isolate(behind)
    busy(cluster, client, 60, 100)
    cluster.heal()
    cluster.until(lambda: cluster.members[behind].snapshots_installed == 1)
    busy(cluster, client, 5, 200)
    cluster.tick(30)
    same(cluster)
    assert cluster.members[behind].disk.snapshot.index > 20
    cluster.restart(behind)
    cluster.tick(30)
    same(cluster)


def test_sections_lost_and_repeated() -> None:
    cluster = Cluster(settings=SETTINGS)
    behind = cluster.followers()[0]
    client = cluster.client(cluster.leader(), 60_000)
    cluster.isolate(behind)
    busy(cluster, client, 60)
    cluster.heal()
    count = 0

    def some_lost(sender: int, to: int, message: object) -> bool:
        nonlocal count
        count += isinstance(message, SnapshotSection)
        return not (isinstance(message, SnapshotSection) and count % 2)

    cluster.travels = some_lost
    cluster.until(lambda: cluster.members[behind].snapshots_installed == 1, 3_000)
    cluster.heal()
    cluster.tick(30)
    same(cluster)


def test_a_crash_amid_installing() -> None:
    cluster = Cluster(settings=SETTINGS)
    behind = cluster.followers()[0]
    client = cluster.client(cluster.leader(), 60_000)
    cluster.isolate(behind)
    busy(cluster, client, 60)
    cluster.heal()
    sections = 0

    def the_first_few(sender: int, to: int, message: object) -> bool:
        nonlocal sections
        sections += isinstance(message, SnapshotSection)
        return not isinstance(message, SnapshotSection) or sections <= 3

    cluster.travels = the_first_few
    cluster.until(lambda: sections > 3)
    receiving = cluster.members[behind].receiving
    assert receiving is not None
    assert len(receiving[1]) == 3
    cluster.restart(behind)
    cluster.heal()
    cluster.until(lambda: cluster.members[behind].snapshots_installed == 1)
    cluster.tick(30)
    same(cluster)


def test_clients_of_a_member_that_leapt() -> None:
    """Pending writes are asked again and answered from the snapshot's table; ended sessions are told so."""
    cluster = Cluster(settings=SETTINGS)
    leader = cluster.leader()
    behind = cluster.followers()[0]
    writer = cluster.client(leader, 60_000)
    stays, ends = cluster.client(behind, 60_000), cluster.client(behind, 1_000)
    for number in cluster.members:
        if number != behind:
            cluster.cut[(number, behind)] = None  # it hears nothing; what it says arrives
    request = stays.write(Create("/mine"))
    cluster.settle()
    assert "/mine" in cluster.members[leader].store.tree.znodes
    assert not stays.has(request)
    waiting = stays.read(Exists("/mine"))
    at_least = stays.read(Get("/mine"), mode=1, at_least=cluster.members[leader].store.revision)  # type: ignore[arg-type]
    busy(cluster, writer, 80)
    cluster.heal()
    cluster.until(lambda: cluster.members[behind].snapshots_installed == 1)
    cluster.until(lambda: stays.has(request) and stays.has(waiting) and stays.has(at_least))
    assert stays.reply(request)[1] == OK
    assert stays.reply(waiting)[4] is not None
    assert ends.goodbye is not None
    made = [
        change for revision in cluster.revisions.values() for change in revision[3] if change[1] == "/mine"
    ]
    assert len(made) == 1
    cluster.tick(30)
    same(cluster)


def test_a_snapshot_installed_while_an_own_one_is_made() -> None:
    """The own one is of a state that is gone. It is given up, and the next is made when its time comes."""
    settings = ReplicaSettings(
        tick_ms=TICK_MS,
        snapshot_entries=20,
        snapshot_section_bytes=100,
        snapshot_sections_per_tick=1,
        catch_up_bytes=1,
        limits=MemberLimits(history_revisions=10),
    )
    cluster = Cluster(settings=settings)
    leader = cluster.leader()
    behind = cluster.followers()[0]
    client = cluster.client(leader, 60_000)
    cluster.tick(5)
    for number in range(25):
        client.write(Create(f"/n{number}"))
        cluster.settle()
    cluster.tick(1)
    assert cluster.members[behind].saving is not None  # begun; it will take many ticks
    cluster.members[behind].paused = True
    cluster.isolate(behind)
    busy(cluster, client, 80, 100)
    cluster.members[behind].paused = False
    cluster.heal()
    # Only what installs gets through at first, so that the own one is not finished before.
    cluster.until(lambda: cluster.members[behind].snapshots_installed == 1)
    assert cluster.members[behind].store.tree.keep is None
    saved = cluster.members[behind].snapshots_saved
    busy(cluster, client, 120, 300)
    cluster.tick(300)
    assert cluster.members[behind].snapshots_saved > saved
    same(cluster)


def test_a_snapshot_that_fails_is_made_again() -> None:
    cluster = Cluster(settings=SETTINGS)
    for member in cluster.members.values():
        member.saving_held = True
    client = cluster.client(cluster.leader(), 60_000)
    busy(cluster, client, 40)
    first = {number: member.state.raft.first_index for number, member in cluster.members.items()}
    assert set(first.values()) == {1}
    for number, member in cluster.members.items():
        member.saving_held = False
        cluster.save(number, ok=False)
    cluster.settle()
    assert all(member.state.raft.first_index == 1 for member in cluster.members.values())
    busy(cluster, client, 60, 200)
    assert all(member.snapshots_saved for member in cluster.members.values())
    same(cluster)


def test_the_log_is_trimmed_only_after_the_snapshot_is_durable() -> None:
    cluster = Cluster(settings=SETTINGS)
    for member in cluster.members.values():
        member.saving_held = True
    client = cluster.client(cluster.leader(), 60_000)
    busy(cluster, client, 60)
    for number in cluster.members:
        assert cluster.members[number].disk.start_index == 0
        cluster.crash(number)
    for number in cluster.members:
        cluster.start(number)
    cluster.until_leader()
    cluster.tick(10)
    assert "/n59" in cluster.members[1].store.tree.znodes
    same(cluster)


# --- when one is due -------------------------------------------------------------------------------------------------


def due_after(maker: SnapshotMaker, znodes: int, data_bytes: int) -> int:
    """How many entries of ten requests and 2000 bytes are applied until it begins one."""
    for count in range(1, 1000):
        maker.applied(count, 2_000, 10)
        if maker.tick(znodes, data_bytes):
            maker.begin(Store(), SnapshotMeta(0, 0, Configuration((1,))))
            maker.saved(ok=True)
            return count
    return 1000


def test_one_is_due_after_so_many_requests_or_bytes() -> None:
    """Each request costs a restart the same, however small it is; but a large tree is not saved all the time."""
    maker = SnapshotMaker(ReplicaSettings(snapshot_requests=600, snapshot_log_bytes=10**9), 2)
    assert due_after(maker, 100, 0) == 61
    assert due_after(maker, 6_000, 0) == 101
    maker = SnapshotMaker(ReplicaSettings(snapshot_requests=10**6, snapshot_log_bytes=100_000), 2)
    assert due_after(maker, 100, 0) == 51
    assert due_after(maker, 100, 400_000) == 101


def test_members_do_not_save_theirs_at_the_same_time() -> None:
    makers = [SnapshotMaker(ReplicaSettings(snapshot_requests=600), member) for member in (1, 2, 3)]
    assert [due_after(maker, 0, 0) for maker in makers] == [41, 61, 21]
    assert [due_after(maker, 0, 0) for maker in makers] == [61, 61, 61]


def test_in_quiet_times_a_quarter_of_it_is_enough_and_members_take_turns() -> None:
    """Sections of 100 bytes, two a tick: 8000 bytes take 40 ticks."""
    settings = ReplicaSettings(
        snapshot_requests=600,
        snapshot_quiet_ticks=10,
        snapshot_section_bytes=100,
        snapshot_sections_per_tick=2,
    )
    makers = [SnapshotMaker(settings, member) for member in (3, 1, 2)]
    for maker in makers:
        maker.applied(1, 2_000, 140)
        assert not any(maker.tick(0, 8_000) for _ in range(1000))
        maker.applied(2, 2_000, 10)
        # The first ten are not quiet, however many were before: in them, this was applied.
        ticks = next(count for count in range(1000) if maker.tick(0, 8_000))
        assert ticks == 20 + (0, 40, 80)[makers.index(maker)]
        maker.begin(Store(), SnapshotMeta(2, 1, Configuration((1,))))
        assert not any(maker.tick(0, 8_000) for _ in range(1000))  # one at a time
        maker.saved(ok=True)
        assert not any(maker.tick(0, 8_000) for _ in range(1000))  # and not for nothing


def test_while_little_is_asked_for_all_the_time_no_time_is_quiet() -> None:
    settings = ReplicaSettings(snapshot_requests=10_000, snapshot_quiet_ticks=10)
    maker, largest = SnapshotMaker(settings, 2), 0
    for count in range(1000):
        if not count % 10:
            maker.applied(count, 100, 51)
        largest = max(largest, maker.log_requests)
        assert not maker.tick(0, 0)
    assert largest == 5_100
    assert sum(maker.tick(0, 0) for _ in range(30)) == 20  # after the first quiet ten


def test_a_start_after_a_quiet_time_has_little_to_apply() -> None:
    settings = ReplicaSettings(
        tick_ms=TICK_MS,
        snapshot_requests=400,
        snapshot_quiet_ticks=20,
        snapshot_section_bytes=200,
        catch_up_bytes=1,
    )
    cluster = Cluster(settings=settings)
    client = cluster.client(cluster.leader(), 600_000)
    busy(cluster, client, 60)
    assert not any(member.snapshots_saved or member.saving for member in cluster.members.values())
    began: dict[int, int] = {}
    for tick in range(200):
        cluster.tick()
        for number, member in cluster.members.items():
            if member.saving:
                began.setdefault(number, tick)
    assert list(began) == [3, 1, 2]
    assert began[1] - began[3] == began[2] - began[1] > 10
    assert [member.snapshots_saved for member in cluster.members.values()] == [1, 1, 1]
    for member in cluster.members.values():
        assert member.disk.start_index > 50
    before = picture(cluster.members[1].store)
    cluster.restart(1)
    cluster.tick(20)
    assert cluster.members[1].state.snapshot_maker.log_requests == 0
    assert picture(cluster.members[1].store)["tree"] == before["tree"]
    same(cluster)


def test_a_start_applies_its_log_in_lots(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has been applied and not told yet is memory: a start may have hundreds of thousands of requests to apply."""
    cluster = Cluster()
    client = cluster.client(cluster.leader(), 60_000)
    busy(cluster, client, 30)
    before = picture(cluster.members[1].store)
    for number in cluster.members:
        cluster.crash(number)
    waiting: list[int] = []
    tell_events = applying._tell_events

    def count(state: ReplicaState) -> None:
        waiting.append(len(state.store.fresh))
        tell_events(state)

    monkeypatch.setattr(applying, "_tell_events", count)
    monkeypatch.setattr(applying, "LOT_BYTES", 300)
    for number in cluster.members:
        cluster.start(number)
    cluster.until_leader()
    cluster.tick(20)
    assert sum(waiting) == 3 * before["revision"]
    assert max(waiting) <= 10
    same(cluster)
    assert picture(cluster.members[1].store)["tree"] == before["tree"]
