"""The driver of one client: what its process sees, and what the history says."""

import itertools
from typing import Any

import pytest

from coord.api.ops import Create, Get, Kind, List, Set
from coord.api.results import Created, Written, Znode
from coord.client.core.settings import CoreSettings
from coord.jepsen_like.history import (
    Note,
    Operation,
    SessionOpened,
    SessionOver,
    SessionProof,
    WatchOpened,
    WatchOver,
    WatchTold,
)
from coord.jepsen_like.workloads.clock import NEVER_NS
from coord.jepsen_like.workloads.driver import ClientDriver
from coord.jepsen_like.workloads.settings import DriverSettings
from coord.jepsen_like.workloads.workload import (
    DropReplies,
    EndSession,
    MoveAway,
    Pause,
    Read,
    Say,
    Script,
    Together,
    Unwatch,
    Wait,
    Watch,
)
from coord.limits import MemberLimits
from coord.replica.settings import ReplicaSettings
from tests.jepsen_like.workloads.world import MS, TICK_MS, World

SHORT = DriverSettings(deadline_ms=1_000, core=CoreSettings(session_timeout_ms=1_500))


def ran(world: World, script: Script, settings: DriverSettings | None = None) -> ClientDriver:
    driver = world.start(world.process(1), script, settings)
    world.run(driver)
    return driver


def test_operations_are_recorded_with_their_times_and_answers() -> None:
    world = World()
    seen: list[Any] = []

    def script() -> Script:
        seen.append((yield Create("/a", b"1")))
        seen.append((yield Get("/a")))
        seen.append((yield Create("/a")))
        seen.append((yield Read(Get("/a"), "local")))

    ran(world, script())
    operations = world.of(Operation)
    assert operations == seen
    created, read, refused, local = operations
    (opened,) = world.of(SessionOpened)
    assert created.op == Create("/a", b"1")
    assert created.result == Created("/a", 1)
    assert (created.outcome, created.mode, created.session) == ("ok", "write", opened.session)
    assert created.request > 0
    assert created.connection == 1
    assert created.member == world.member_of(world.drivers[0])
    assert isinstance(read.result, Znode)
    assert (read.mode, read.request, read.revision) == ("linearizable", 0, 1)
    assert read.index is not None
    assert read.index >= created.index
    assert (refused.outcome, refused.error, refused.result) == ("refused", "exists", None)
    assert refused.index > created.index
    assert local.mode == "local"
    for before, after in itertools.pairwise(operations):
        assert before.returned_ns is not None
        assert before.called_ns < before.returned_ns < after.called_ns, (
            "the order of one process is the order of time"
        )


def test_together_is_under_way_at_once_and_comes_back_in_the_order_of_asking() -> None:
    world = World()
    outcomes: list[Operation] = []

    def script() -> Script:
        yield Create("/a")
        outcomes.extend(
            (yield Together((Set("/a", b"1"), Get("/a"), Set("/a", b"2"), Read(Get("/a"), "local"))))
        )

    ran(world, script())
    assert [type(each.op) for each in outcomes] == [Set, Get, Set, Get]
    assert len({each.called_ns for each in outcomes}) == 1
    assert [each.result.version for each in outcomes if isinstance(each.result, Written)] == [1, 2]


def test_a_write_whose_connection_breaks_is_done_once_at_another_member() -> None:
    world = World()

    def script() -> Script:
        yield Create("/q")
        yield DropReplies((Create("/q/n-", sequential=True), Create("/q/n-", sequential=True)))
        yield List("/q")

    driver = world.start(world.process(1), script())
    world.run(driver)
    created, first, second, listed = world.of(Operation)
    assert [first.outcome, second.outcome] == ["ok", "ok"]
    assert first.connection == second.connection == 2, "the reply on the first connection was dropped"
    assert first.member != created.member
    assert first.called_ns < first.returned_ns
    assert len(listed.result.children) == 2
    assert [each.session for each in world.of(Operation)] == [1, 1, 1, 1]
    assert len(world.of(SessionOpened)) == 1


def test_nothing_more_is_taken_from_a_connection_that_was_left() -> None:
    world = World()

    def script() -> Script:
        yield Create("/a")
        yield DropReplies((Set("/a", b"1"),))

    driver = world.start(world.process(1), script())
    world.until(lambda: driver.wants_hang_up)
    (reply,) = world.wires[1].down
    driver.received(reply, world.now_ns + 1)
    assert world.outcomes(1) == [("Create", "ok")]
    world.run(driver)
    assert world.of(Operation)[1].connection == 2


def test_what_is_asked_while_nobody_is_connected_waits_and_its_call_is_when_it_was_asked() -> None:
    world = World()

    def script() -> Script:
        yield Create("/a")
        yield MoveAway()
        yield Set("/a", b"x")

    ran(world, script())
    created, was_set = world.of(Operation)
    assert was_set.called_ns == created.returned_ns + 1
    assert (was_set.outcome, was_set.connection) == ("ok", 2)
    assert was_set.member != created.member


def test_the_deadline_makes_a_write_unknown_and_a_read_refused() -> None:
    world = World()

    def script() -> Script:
        yield Create("/a")
        yield Together((Set("/a", b"1"), Get("/a")))

    driver = world.start(world.process(1), script(), DriverSettings(deadline_ms=500))
    world.until(lambda: bool(world.of(Operation)))
    world.deaf[1] = None
    world.run(driver)
    _, write, read = sorted(world.of(Operation), key=lambda each: (each.called_ns, each.request == 0))
    assert (write.outcome, write.error, write.returned_ns) == ("unknown", "deadline_exceeded", None)
    assert (write.connection, write.member, write.revision, write.index) == (0, 0, None, None)
    assert write.request > 0, "it was sent, and a log would name it"
    assert (read.outcome, read.error, read.connection) == ("refused", "deadline_exceeded", 0)
    assert read.returned_ns is not None
    assert 0 <= read.returned_ns - read.called_ns - 500 * MS < 2 * TICK_MS * MS


def test_a_write_that_was_not_sent_by_its_deadline_is_refused() -> None:
    world = World()
    for member in world.cluster.members:
        world.cluster.crash(member)

    def script() -> Script:
        yield Create("/a")

    ran(world, script(), DriverSettings(deadline_ms=500))
    (write,) = world.of(Operation)
    assert (write.outcome, write.error, write.session) == ("refused", "deadline_exceeded", 0)


def test_a_session_that_ends_by_the_clients_clock() -> None:
    world = World()

    def script() -> Script:
        yield Create("/e", kind=Kind.EPHEMERAL)
        yield Together((Set("/e", b"1"), Get("/e")))
        yield Create("/e", b"2", kind=Kind.EPHEMERAL)

    settings = DriverSettings(deadline_ms=60_000, core=CoreSettings(session_timeout_ms=1_500))
    driver = world.start(world.process(1), script(), settings)
    world.until(lambda: bool(world.of(Operation)))
    world.deaf[1] = None
    world.until(lambda: bool(world.of(SessionOver)))
    world.deaf.clear()
    world.run(driver)
    first, second = world.of(SessionOpened)
    (over,) = world.of(SessionOver)
    assert (over.session, over.by) == (first.session, "client")
    proofs = [each for each in world.of(SessionProof) if each.session == first.session]
    assert over.at_ns >= proofs[-1].called_ns + 0.99 * 1_500 * MS
    _, write, read, again = world.of(Operation)
    if write.mode != "write":
        write, read = read, write
    assert (write.outcome, write.error, write.session) == ("unknown", "session_ended", first.session)
    assert (read.outcome, read.error) == ("refused", "session_ended")
    assert again.session == second.session != first.session
    assert again.request == 1, "a new session counts from one"
    # Its ephemeral may still be there: the client errs on the early side.
    assert again.outcome in ("ok", "refused")


def test_a_session_that_a_member_ends() -> None:
    """The client's clock runs at half speed, so its keepalives come too late."""
    world = World()

    def script() -> Script:
        yield Create("/e", kind=Kind.EPHEMERAL)
        yield Pause(10_000)
        yield Create("/e", b"2", kind=Kind.EPHEMERAL)

    settings = DriverSettings(core=CoreSettings(session_timeout_ms=3_000), clock_rate=0.25)
    ran(world, script(), settings)
    over = world.of(SessionOver)[0]
    first, second = world.of(SessionOpened)[:2]
    assert (over.session, over.by) == (first.session, "member")
    assert world.outcomes(1) == [("Create", "ok"), ("Create", "ok")], "the first went with its session"
    assert world.of(Operation)[-1].session != first.session
    assert second.session != first.session


def test_a_session_that_its_process_ends() -> None:
    world = World()
    me = world.process(1)
    sessions: list[int] = []

    def script() -> Script:
        yield Create("/e", kind=Kind.EPHEMERAL)
        sessions.append(me.session)
        yield EndSession()
        sessions.append(me.session)
        yield Create("/e", kind=Kind.EPHEMERAL)
        sessions.append(me.session)

    world.run(world.start(me, script()))
    assert [(each.session, each.by) for each in world.of(SessionOver)] == [(sessions[0], "request")]
    assert world.outcomes(1) == [("Create", "ok"), ("Create", "ok")]
    assert sessions[1] == 0
    assert [each.session for each in world.of(SessionOpened)] == [sessions[0], sessions[2]]


@pytest.mark.parametrize(("timeout_ms", "keepalive_ms"), [(1_500, 500), (30_000, 5_000)])
def test_proofs_say_when_the_client_asked(timeout_ms: int, keepalive_ms: int) -> None:
    world = World()

    def script() -> Script:
        yield Create("/a")
        yield Pause(11_000)

    ran(world, script(), DriverSettings(core=CoreSettings(session_timeout_ms=timeout_ms)))
    proofs = world.of(SessionProof)
    assert len(proofs) >= 3
    for proof in proofs:
        assert proof.connection == 1
        assert 0 < proof.returned_ns - proof.called_ns <= 3 * TICK_MS * MS
    for before, after in itertools.pairwise(proofs):
        assert abs(after.called_ns - before.called_ns - keepalive_ms * MS) <= 2 * TICK_MS * MS


def test_a_watch_goes_on_after_its_connection_breaks() -> None:
    world = World()
    news: list[WatchTold] = []

    def watcher() -> Script:
        yield Create("/a")
        watched = yield Watch("/a", "znode")
        world.facts["open"] = True
        while len(news) < 6:
            told = yield Wait(watched, 100)
            if told:
                news.extend(told)
                yield MoveAway()
        yield Unwatch(watched)
        world.facts["over"] = watched.over

    def writer() -> Script:
        while "open" not in world.facts:
            yield Pause(10)
        for number in range(6):
            yield Set("/a", b"%d" % number)

    world.run(world.start(world.process(1), watcher()), world.start(world.process(2), writer()))
    opened, told = world.of(WatchOpened), world.of(WatchTold)
    assert news == told
    assert [each.changes[0][2] for each in told] == [b"%d" % number for number in range(6)]
    assert [each.revision for each in told] == list(range(2, 8))
    assert len({each.watch for each in (*opened, *told)}) == 1
    assert opened[0].from_revision is None
    assert opened[0].revision == 1
    assert len(opened) > 1
    for before, after in itertools.pairwise(opened):
        assert after.connection > before.connection
        through = max(each.revision for each in told if each.connection <= before.connection)
        assert (after.from_revision, after.revision) == (through + 1, through)
    (over,) = world.of(WatchOver)
    assert (over.error, world.facts["over"]) == ("", "")
    setter = [each.session for each in world.of(SessionOpened, 2)]
    assert {change[4] for each in told for change in each.changes} == set(setter)


def test_a_watch_that_history_has_outrun_ends_with_a_gap() -> None:
    world = World(ReplicaSettings(tick_ms=TICK_MS, limits=MemberLimits(history_revisions=3)))
    ends: list[tuple[str | None, int]] = []

    def script() -> Script:
        for number in range(10):
            yield Set("/a", b"%d" % number, create=True)
        watched = yield Watch("/a", "subtree", 2)
        ends.append((watched.over, watched.first_revision))
        watched = yield Watch("/a", "subtree", watched.first_revision)
        ends.append((watched.over, 0))

    ran(world, script())
    (over,) = world.of(WatchOver)
    assert over.error == "gap"
    assert over.first_revision > 2
    assert ends == [("gap", over.first_revision), (None, 0)]
    assert world.of(WatchOpened)[0].watch != over.watch


def test_a_watch_that_nobody_opens_in_time_is_over() -> None:
    world = World()

    def script() -> Script:
        yield Create("/a")
        watched = yield Watch("/a")
        assert (watched.over, watched.told) == ("deadline_exceeded", None)

    driver = world.start(world.process(1), script(), DriverSettings(deadline_ms=500))
    world.until(lambda: bool(world.of(Operation)))
    world.deaf[1] = None
    world.run(driver)
    assert [each.error for each in world.of(WatchOver)] == ["deadline_exceeded"]
    assert not world.of(WatchOpened)


def test_watches_end_with_their_session() -> None:
    world = World()

    def script() -> Script:
        watched = yield Watch("/", "subtree")
        yield Create("/a")
        assert not watched.over
        news = yield Wait(watched, 60_000)
        assert [each.revision for each in news] == [1]
        news = yield Wait(watched, 60_000)
        assert news == []
        assert (watched.over, watched.told) == ("session_ended", 1)
        watched = yield Watch("/", "subtree", watched.told + 1)
        yield Create("/b")
        news = yield Wait(watched, 60_000)
        assert [each.revision for each in news] == [2]

    driver = world.start(world.process(1), script(), SHORT)
    world.until(lambda: bool(world.of(WatchTold)))
    world.deaf[1] = None
    world.until(lambda: bool(world.of(SessionOver)))
    world.deaf.clear()
    world.run(driver)
    assert len({each.watch for each in world.of(WatchOpened)}) == 2


def test_events_stand_before_the_reply_that_shows_them() -> None:
    """Even when both come in one portion."""
    world = World()

    def script() -> Script:
        yield Watch("/", "subtree")
        for number in range(5):
            yield Together((Create(f"/{number}"), Read(List("/"), "local"), Create(f"/{number}/x")))

    ran(world, script())
    told = 0
    for each in world.history:
        if isinstance(each, WatchTold):
            told = each.revision
        elif isinstance(each, Operation):
            assert each.revision is not None
            assert each.revision <= told
    assert told == 10


def test_a_process_without_a_session_reads_and_watches() -> None:
    world = World()

    def script() -> Script:
        refused = yield Create("/a")
        assert (refused.outcome, refused.error) == ("refused", "session_required")
        yield EndSession()
        watched = yield Watch("/", "subtree")
        read = yield Get("/")
        assert read.outcome == "ok"
        yield MoveAway()
        yield Wait(watched, 500)

    world.run(world.start(world.process(1, has_session=False), script()))
    assert not world.of(SessionOpened)
    assert not world.of(SessionProof)
    assert not world.of(SessionOver)
    assert [each.session for each in world.of(Operation)] == [0, 0]
    assert len(world.of(WatchOpened)) == 2


def test_what_the_library_refuses_costs_time() -> None:
    """Else a process that insists would never let go."""
    world = World()

    def script() -> Script:
        for _ in range(50):
            yield Create("/a")

    driver = world.start(world.process(1, has_session=False), script())
    began_ns = world.now_ns
    world.run(driver)
    assert world.now_ns - began_ns >= 50 * MS


def test_stop_lets_what_is_under_way_end_and_close_gives_it_up() -> None:
    world = World()
    left: list[str] = []

    def script() -> Script:
        try:
            yield Watch("/")
            while True:
                yield Create("/n-", sequential=True)
        finally:
            left.append("the script was closed")

    running = script()
    driver = world.start(world.process(1), running)
    world.until(lambda: len(world.of(Operation)) == 3)
    assert not driver.done
    driver.stop(world.now_ns + 1)
    assert left
    assert not driver.done
    world.run(driver)
    assert world.outcomes(1) == [("Create", "ok")] * 4
    assert not world.of(WatchOver)
    driver.close(world.now_ns + 1)
    assert [each.error for each in world.of(WatchOver)] == [""]
    assert not driver.wants_connection
    assert driver.wants_hang_up
    assert driver.next_at_ns == NEVER_NS
    world.step(5)
    assert len(world.of(Operation)) == 4


def test_close_makes_a_sent_write_unknown_and_what_was_not_sent_refused() -> None:
    world = World()

    def script() -> Script:
        yield Create("/a")
        yield Together((Set("/a", b"1"), Get("/a")))

    driver = world.start(world.process(1), script())
    world.until(lambda: bool(world.of(Operation)))
    driver.close(world.now_ns + 1)
    assert driver.done
    assert [(each.mode, each.outcome) for each in world.of(Operation)[1:]] == [
        ("write", "unknown"),
        ("linearizable", "refused"),
    ]


def test_notes_and_what_a_process_knows() -> None:
    world = World()
    me = world.process(7)

    def script() -> Script:
        assert (me.session, me.revision) == (0, 0)
        yield Create("/a", me.fresh())
        yield Say("what", {"revision": me.revision, "has_session": me.session > 0})

    world.run(world.start(me, script()))
    (note,) = world.of(Note)
    assert (note.process, note.what, note.facts) == (7, "what", {"revision": 1, "has_session": True})
    assert [me.fresh(), me.fresh()] == [b"7.2", b"7.3"]


def test_bytes_that_are_no_members_are_noted_and_the_client_goes_on() -> None:
    world = World()

    def script() -> Script:
        yield Create("/a")

    driver = world.start(world.process(1), script())
    world.step()
    driver.received(b"HTTP/1.1 400 Bad Request\r\n\r\n", world.now_ns + 1)
    assert [each.what for each in world.of(Note)] == ["client_distrusts"]
    assert driver.wants_hang_up
    world.run(driver)
    assert world.outcomes(1) == [("Create", "ok")]


@pytest.mark.parametrize("rate", [0.99, 1.0, 1.01])
def test_a_wake_up_has_something_to_do(rate: float) -> None:
    """Rounding must not wake the driver too early: it would be woken again at once, for ever."""
    world = World()

    def script() -> Script:
        yield Pause(7_001)

    start_ns = 1_000_000_000_000_000_007
    settings = DriverSettings(core=CoreSettings(session_timeout_ms=1_511), clock_rate=rate)
    driver = ClientDriver(world.process(1), script(), world.history.append, settings, start_ns)
    now_ns, wakes = start_ns, 0
    driver.tick(now_ns)
    while not driver.done and wakes < 100:
        if driver.wants_hang_up:
            driver.disconnected(now_ns)
        if driver.wants_connection:
            driver.connected(1, wakes + 1, now_ns)
        driver.take_bytes()
        assert driver.next_at_ns > now_ns
        now_ns = driver.next_at_ns
        driver.tick(now_ns)
        wakes += 1
    assert driver.done
    assert now_ns == start_ns + 7_001 * MS
    assert wakes < 50
