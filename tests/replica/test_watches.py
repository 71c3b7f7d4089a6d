"""Watches: in order, all of one revision together, once, without gaps, and before any reply that shows their effect."""

from typing import Any

import pytest

from coord.api.errors import OK, Gap, LimitExceeded, ProtocolError
from coord.api.events import CREATED, Change
from coord.api.ops import Create, Delete, Get, Kind, Multi, ReadMode, Set, WatchScope
from coord.limits import MemberLimits
from coord.replica import serving, watches
from coord.replica.settings import ReplicaSettings
from coord.wire import client_frames as frames
from coord.wire.peer_frames import ReadGranted
from tests.replica.cluster import TICK_MS, Client, Cluster


def told(client: Client, watch: int) -> list[tuple[int, str]]:
    return [(revision, change[1]) for revision, change in client.events(watch)]


def filled(count: int, settings: ReplicaSettings | None = None) -> tuple[Cluster, Client]:
    """A cluster with ``count`` revisions, and the client that made them."""
    cluster = Cluster(settings=settings)
    client = cluster.client(cluster.leader())
    for number in range(1, count + 1):
        client.write(Create(f"/n{number}", b"%d" % number))
    cluster.settle()
    return cluster, client


def test_from_now_on() -> None:
    cluster, writer = filled(3)
    for number in cluster.members:
        client = cluster.client(number)
        watch = client.watch("/")
        cluster.settle()
        revision = cluster.members[1].store.revision
        assert client.reply(watch)[1:3] == [OK, revision]
        writer.write(Create(f"/m{number}", b"v"))
        cluster.settle()
        cluster.tick()
        assert told(client, watch) == [(revision + 1, f"/m{number}")]
        (_, change) = client.events(watch)[0]
        assert change == (CREATED, f"/m{number}", b"v", 0, writer.session, 3 + number, 0)


def test_from_now_means_after_everything_that_was_acknowledged() -> None:
    """At a member that lags, too: a write acknowledged before the watch was asked for is not news."""
    cluster = Cluster()
    leader = cluster.leader()
    lagging = cluster.followers()[0]
    client, writer = cluster.client(lagging), cluster.client(leader)
    cluster.cut[(leader, lagging)] = None
    request = writer.write(Create("/before"))
    cluster.settle()
    assert writer.reply(request)[1] == OK
    watch = client.watch("/")
    cluster.settle()
    assert not client.has(watch)
    cluster.heal()
    cluster.until(lambda: client.has(watch))
    writer.write(Create("/after"))
    cluster.settle()
    cluster.tick(2)
    assert [path for _, path in told(client, watch)] == ["/after"]


@pytest.mark.parametrize("first", [1, 4, 10, 11, 15])
def test_from_a_revision(first: int) -> None:
    cluster, writer = filled(10)
    client = cluster.client(cluster.followers()[0])
    watch = client.watch("/", from_revision=first)
    cluster.settle()
    assert client.reply(watch)[2] == first - 1
    assert told(client, watch) == [(number, f"/n{number}") for number in range(first, 11)]
    for number in range(11, 21):
        writer.write(Create(f"/n{number}"))
        cluster.settle()
    cluster.tick()
    # A revision that is still to come is waited for: another member may have been further.
    assert told(client, watch) == [(number, f"/n{number}") for number in range(first, 21)]


def test_scopes() -> None:
    cluster, writer = filled(0)
    client = cluster.client(1)
    watches = {
        (path, scope): client.watch(path, 1, scope)
        for path in ("/", "/a", "/a/b")
        for scope in list(WatchScope)[:3]
    }
    for op in (
        Create("/a"),
        Create("/a/b"),
        Create("/ab"),
        Create("/a/b/c"),
        Set("/a", b"x"),
        Set("/", b"r"),
    ):
        writer.write(op)
    cluster.settle()
    seen = {key: [path for _, path in told(client, watch)] for key, watch in watches.items()}
    assert seen == {
        ("/", WatchScope.ZNODE): ["/"],
        ("/", WatchScope.CHILDREN): ["/a", "/ab", "/a"],
        ("/", WatchScope.SUBTREE): ["/a", "/a/b", "/ab", "/a/b/c", "/a", "/"],
        ("/a", WatchScope.ZNODE): ["/a", "/a"],
        ("/a", WatchScope.CHILDREN): ["/a/b"],
        ("/a", WatchScope.SUBTREE): ["/a", "/a/b", "/a/b/c", "/a"],
        ("/a/b", WatchScope.ZNODE): ["/a/b"],
        ("/a/b", WatchScope.CHILDREN): ["/a/b/c"],
        ("/a/b", WatchScope.SUBTREE): ["/a/b", "/a/b/c"],
    }
    # Replayed, it is the same as it was live.
    late = cluster.client(2)
    for (path, scope), watch in watches.items():
        again = late.watch(path, 1, scope)
        cluster.settle()
        assert late.events(again) == client.events(watch)


def test_all_of_one_revision_together() -> None:
    cluster, writer = filled(0)
    client = cluster.client(2)
    one, two = client.watch("/a"), client.watch("/")
    cluster.settle()
    writer.write(
        Multi(then=(Create("/a"), Create("/a/b"), Create("/c"))),
        Delete("/a", subtree=True),
        Create("/a", b"2"),
    )
    cluster.settle()
    cluster.tick()
    groups = [
        group for frame in client.received if isinstance(frame, frames.Events) for group in frame.groups
    ]
    assert [(group.revision, [change[1] for change, _ in group.events]) for group in groups] == [
        (1, ["/a", "/a/b", "/c"]),
        (2, ["/a/b", "/a"]),
        (3, ["/a"]),
    ]
    assert groups[0].events[0][1] == [one, two] or groups[0].events[0][1] == [two, one]
    assert groups[0].events[2][1] == [two]


def test_the_end_of_a_session_is_told_as_one() -> None:
    cluster, _ = filled(0)
    client, other = cluster.client(1), cluster.client(2)
    watch = client.watch("/")
    other.write(Create("/e1", kind=Kind.EPHEMERAL), Create("/e2", kind=Kind.EPHEMERAL))
    cluster.settle()
    other.end_session()
    cluster.settle()
    cluster.tick()
    assert told(client, watch)[2:] == [(3, "/e1"), (3, "/e2")]


def in_order(client: Client) -> bool:
    """No reply shows a revision whose events come later; watches' own replies aside."""
    shown = 0
    watches = [f"reply {watch} " for watch in client.replies if told(client, watch)]
    for word in client.order():
        kind, number, *rest = word.split()
        if kind == "event" and int(number) <= shown:
            return False
        if kind == "reply" and not any(word.startswith(watch) for watch in watches):
            shown = max(shown, int(rest[-1]))
    return True


@pytest.mark.parametrize("at_leader", [True, False])
def test_events_come_before_replies_that_show_them(at_leader: bool) -> None:
    cluster, writer = filled(0)
    client = cluster.client(cluster.leader() if at_leader else cluster.followers()[0])
    watch = client.watch("/")
    cluster.settle()
    for number in range(10):
        client.write(Create(f"/own{number}"))
        writer.write(Create(f"/other{number}"))
        client.read(Get("/"), ReadMode.LOCAL)
        client.read(Get("/"))
        if number % 2:
            cluster.settle()
    cluster.settle()
    cluster.tick(2)
    assert len(told(client, watch)) == 20
    assert in_order(client)


def test_the_past_comes_before_replies_and_the_present_after_it() -> None:
    """While a watch is told its past, in lots, replies are held back; live events of others go on."""
    settings = ReplicaSettings(tick_ms=TICK_MS, replay_revisions=3)
    cluster, writer = filled(20, settings)
    client = cluster.client(cluster.leader())
    live = client.watch("/live")
    cluster.settle()
    watch = client.watch("/", from_revision=5)
    request = client.read(Get("/"), ReadMode.LOCAL)
    write = client.write(Create("/mine"))
    cluster.settle()
    for number in range(3):
        writer.write(Create(f"/live{number}"), Set("/n1", b"again"))
        cluster.tick()
    writer.write(Create("/live"))
    cluster.tick(20)
    revisions = [revision for revision, _ in told(client, watch)]
    assert revisions == list(range(5, cluster.members[1].store.revision + 1))
    order = client.order()
    for answered in (request, write):
        shown = client.reply(answered)[2]
        assert order.index(f"event {shown}") < order.index(f"reply {answered} at {shown}")
    assert order.index(f"reply {watch} at 4") < order.index("event 5")
    assert [path for _, path in told(client, live)] == ["/live"]


def test_a_gap_is_said_at_once() -> None:
    limits = MemberLimits(history_revisions=5)
    cluster, _ = filled(20, ReplicaSettings(tick_ms=TICK_MS, limits=limits))
    client = cluster.client(1)
    for first, gap in ((1, True), (15, True), (16, False), (21, False)):
        watch = client.watch("/", from_revision=first)
        cluster.settle()
        reply = client.reply(watch)
        assert (reply[1] == Gap.code) == gap
        if gap:
            assert reply[5] == {"first_revision": 16, "revision": 20}
    assert cluster.members[1].state.connections[client.connection].watch_count == 2


def test_a_slow_reader_is_told_of_the_gap_that_outran_it() -> None:
    """A connection that is full is not told the past; the history goes on without it, and in the end past it."""
    settings = ReplicaSettings(tick_ms=TICK_MS, replay_revisions=2, limits=MemberLimits(history_revisions=10))
    cluster, writer = filled(10, settings)
    client = cluster.client(cluster.leader())
    watch = client.watch("/", from_revision=1)
    client.backlog(True)
    request = client.read(Get("/"), ReadMode.LOCAL)
    cluster.settle()
    for number in range(15):
        writer.write(Create(f"/m{number}"))
        cluster.tick()
    before = told(client, watch)
    assert before == [(number, f"/n{number}") for number in range(1, len(before) + 1)]
    assert len(before) <= 4
    assert not client.has(request)
    assert not client.watch_ends()
    client.backlog(False)
    cluster.tick(2)
    (end,) = client.watch_ends()
    assert (end.watch, end.code) == (watch, Gap.code)
    assert end.details["first_revision"] == 16
    assert told(client, watch) == before
    assert client.has(request)
    writer.write(Create("/later"))
    cluster.settle()
    assert told(client, watch) == before


def test_a_slow_reader_that_catches_up() -> None:
    cluster, writer = filled(10, ReplicaSettings(tick_ms=TICK_MS, replay_revisions=2))
    client = cluster.client(cluster.leader())
    watch = client.watch("/", from_revision=1)
    client.backlog(True)
    cluster.settle()
    for number in range(11, 16):
        writer.write(Create(f"/n{number}"))
        cluster.tick()
    client.backlog(False)
    cluster.tick(20)
    assert told(client, watch) == [(number, f"/n{number}") for number in range(1, 16)]


def behind_then_installed(history: int) -> tuple[Cluster, Client, int]:
    """A watch at a member that falls far behind, and gets a snapshot."""
    settings = ReplicaSettings(
        tick_ms=TICK_MS, snapshot_entries=10, catch_up_bytes=1, limits=MemberLimits(history_revisions=history)
    )
    cluster = Cluster(settings=settings)
    writer = cluster.client(cluster.leader())
    lagging = cluster.followers()[0]
    client = cluster.client(lagging, 60_000)
    watch = client.watch("/")
    cluster.settle()
    writer.write(Create("/first"))
    cluster.settle()
    cluster.tick()
    assert told(client, watch) == [(1, "/first")]
    cluster.isolate(lagging)
    for number in range(40):
        writer.write(Create(f"/n{number}"))
        cluster.tick()
    request = client.read(Get("/first"))
    cluster.heal()
    cluster.until(lambda: cluster.members[lagging].snapshots_installed > 0)
    writer.write(Create("/last"))
    cluster.until(lambda: client.has(request))
    cluster.tick(5)
    return cluster, client, watch


def test_after_a_snapshot_was_installed_nothing_is_missing() -> None:
    _, client, watch = behind_then_installed(1000)
    expected = ["/first", *[f"/n{number}" for number in range(40)], "/last"]
    assert told(client, watch) == list(enumerate(expected, 1))
    assert client.watch_ends() == []
    assert in_order(client)


def test_after_a_snapshot_was_installed_a_gap_is_said() -> None:
    cluster, client, watch = behind_then_installed(10)
    assert told(client, watch) == [(1, "/first")]
    assert [end.watch for end in client.watch_ends()] == [watch]
    assert cluster.members[client.member].state.watches.replaying == {}
    again = client.watch("/")
    cluster.settle()
    assert client.reply(again)[1] == OK


def test_unwatch() -> None:
    cluster, writer = filled(0)
    client = cluster.client(1)
    watch = client.watch("/")
    kept = client.watch("/")
    cluster.settle()
    writer.write(Create("/a"))
    cluster.settle()
    request = client.unwatch(watch)
    again = client.unwatch(watch)
    cluster.settle()
    writer.write(Create("/b"))
    cluster.settle()
    cluster.tick()
    assert client.reply(request)[1] == client.reply(again)[1] == OK
    assert told(client, watch) == [(1, "/a")]
    assert told(client, kept) == [(1, "/a"), (2, "/b")]


def test_unwatch_while_the_past_is_being_told() -> None:
    cluster, _ = filled(30, ReplicaSettings(tick_ms=TICK_MS, replay_revisions=2))
    client = cluster.client(1)
    watch = client.watch("/", from_revision=1)
    cluster.settle()
    request = client.unwatch(watch)
    cluster.settle()
    assert client.reply(request)[1] == OK
    assert len(told(client, watch)) < 30
    assert cluster.members[1].state.connections[client.connection].replaying == 0


def test_watches_are_bounded() -> None:
    limits = MemberLimits(watches_per_connection=2)
    cluster, _ = filled(0, ReplicaSettings(tick_ms=TICK_MS, limits=limits))
    client = cluster.client(1)
    watches = [client.watch("/") for _ in range(3)]
    cluster.settle()
    assert [client.reply(watch)[1] for watch in watches] == [OK, OK, LimitExceeded.code]
    client.unwatch(watches[0])
    again = client.watch("/")
    cluster.settle()
    assert client.reply(again)[1] == OK


@pytest.mark.parametrize("at_once", [True, False])
def test_a_number_is_used_once(at_once: bool) -> None:
    """Also when the first has not been opened yet, for it waits for its round: two watches of one number would
    leave one behind in the tables, and an event for a connection that is gone.
    """
    cluster, writer = filled(0)
    client = cluster.client(1)
    client.watch("/a", number=7)
    if not at_once:
        cluster.settle()
    client.watch("/b", number=7)
    cluster.settle()
    assert client.goodbye is not None
    assert client.goodbye.code == ProtocolError.code
    writer.write(Create("/a"), Create("/b"))
    cluster.settle()
    cluster.tick()
    assert len(cluster.members[1].state.watches) == 0


def test_a_lost_connection_takes_its_watches_along() -> None:
    cluster, writer = filled(3)
    client = cluster.client(1)
    client.watch("/")
    client.watch("/", from_revision=1)
    cluster.settle()
    client.watch("/n1")
    client.drop()
    writer.write(Create("/a"))
    cluster.settle()
    cluster.tick()
    assert len(cluster.members[1].state.watches) == 0


def test_a_watch_resumes_at_another_member() -> None:
    cluster, writer = filled(3)
    seen: list[tuple[int, Change]] = []
    number, first = 1, 1
    for round_number in range(6):
        client = cluster.client(number)
        watch = client.watch("/", from_revision=first)
        cluster.settle()
        writer.write(Create(f"/r{round_number}"))
        cluster.settle()
        cluster.tick(round_number % 2)
        seen += client.events(watch)
        first = max([first, *[revision + 1 for revision, _ in client.events(watch)]])
        client.drop()
        number = number % 3 + 1
        writer.write(Create(f"/missed{round_number}"))
        cluster.settle()
    client = cluster.client(number)
    watch = client.watch("/", from_revision=first)
    cluster.settle()
    cluster.tick()
    seen += client.events(watch)
    assert [revision for revision, _ in seen] == list(range(1, 16))


def test_a_watch_that_waits_for_its_round_is_answered_or_refused() -> None:
    cluster, _ = filled(0)
    follower = cluster.followers()[0]
    client = cluster.client(follower, 60_000)
    cluster.hold_messages(ReadGranted)
    watch = client.watch("/")
    cluster.tick(530)
    assert client.reply(watch)[1] != OK
    assert cluster.members[follower].state.connections[client.connection].watch_count == 0
    cluster.heal()
    again = client.watch("/")
    cluster.tick(20)
    assert client.reply(again)[1] == OK


def test_watches_that_one_revision_concerns_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "MATCHES_MAX", 10)
    cluster = Cluster()
    greedy, modest, writer = cluster.client(1), cluster.client(1), cluster.client(2)
    for _ in range(6):
        greedy.watch("/")
    watch = modest.watch("/")
    cluster.settle()
    writer.write(Create("/a"))
    cluster.settle()
    assert greedy.goodbye is None  # six of ten
    request = writer.write(Multi((), (Create("/b"), Create("/c"))))
    cluster.settle()
    assert writer.reply(request)[1] == OK
    assert greedy.goodbye is not None
    assert greedy.goodbye.code == LimitExceeded.code
    assert greedy.goodbye.details["limit"] == "events_per_revision"
    assert told(modest, watch) == [(1, "/a"), (2, "/b"), (2, "/c")]


def test_many_watches_that_come_back_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "REPLAY_CHANGES", 7)
    cluster, writer = filled(30, ReplicaSettings(tick_ms=TICK_MS, replay_revisions=2))
    client = cluster.client(1)
    opened = [client.watch("/", from_revision=1) for _ in range(5)]
    cluster.settle()
    writer.write(Create("/last"))
    cluster.until(lambda: all(len(told(client, watch)) == 31 for watch in opened))
    for watch in opened:
        assert [revision for revision, _ in told(client, watch)] == list(range(1, 32))


def test_many_watches_opened_at_once_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "REPLAY_CHANGES", 7)
    cluster, _ = filled(30)
    client = cluster.client(1)
    state = cluster.members[1].state
    looked_at: list[int] = []
    replay_some = serving._replay_some

    def counted(*arguments: Any) -> int:
        looked_at.append(replay_some(*arguments))
        return looked_at[-1]

    monkeypatch.setattr(serving, "_replay_some", counted)
    opened = [client.watch("/", from_revision=1) for _ in range(5)]
    cluster.settle()
    assert state.watches.replaying  # some wait for the next step
    cluster.until(lambda: all(len(told(client, watch)) == 30 for watch in opened))
    assert max(looked_at) <= 8
