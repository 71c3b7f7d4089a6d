"""Claims among members: how those who wait hear of their grants, whoever leads, wherever they are attached."""

from typing import Any

import pytest

from coord.api.errors import OK, Gap, SessionRequired
from coord.api.events import CLAIMED, CREATED, QUEUED, RELEASED, Change, Reason
from coord.api.ops import (
    WATCH_CLAIMS,
    Claim,
    ClaimFirst,
    ClaimInfo,
    Claims,
    ClaimSettings,
    Create,
    Fence,
    FencedWrite,
    HoldBack,
    Lane,
    Op,
    ReadMode,
    Release,
    Set,
    SetLanes,
    WatchScope,
)
from coord.limits import MemberLimits
from coord.replica.settings import ReplicaSettings
from coord.store import granting
from coord.wire.client_frames import Hello
from tests.replica.cluster import TICK_MS, Client, Cluster

OWN = WatchScope.CLAIMS


def done(cluster: Cluster, client: Client, op: Op) -> Any:
    """The result of a write."""
    request = client.write(op)
    cluster.until(lambda: client.has(request))
    reply = client.reply(request)
    assert reply[1] == OK, reply
    return reply[4]


def own(client: Client, watch: int) -> list[tuple[int, int, int]]:
    """``(revision, kind, claim)``"""
    return [(revision, change[0], change[5]) for revision, change in client.events(watch)]


def watching(cluster: Cluster, client: Client, from_revision: int | None = None) -> int:
    watch = client.watch("/", from_revision, OWN)
    cluster.until(lambda: client.has(watch))
    assert client.reply(watch)[1] == OK
    return watch


@pytest.mark.parametrize("member", [1, 2, 3])
def test_a_grant_is_pushed_to_who_waits_and_to_nobody_else(member: int) -> None:
    cluster = Cluster()
    holder, waiter, other = cluster.client(1), cluster.client(member), cluster.client(2)
    done(cluster, holder, Create("/a"))
    watches = [watching(cluster, each) for each in (holder, waiter, other)]
    plain = other.watch("/")
    mine = done(cluster, holder, Claim("/a"))[0]
    theirs, token, before, incarnation, _ = done(cluster, waiter, Claim("/a", wait=True))
    assert (token, before, incarnation) == (0, 0, 1)
    done(cluster, holder, Release(mine))
    cluster.tick(2)
    revision = cluster.members[1].store.revision
    assert own(waiter, watches[1]) == [(revision - 1, QUEUED, theirs), (revision, CLAIMED, theirs)]
    assert own(holder, watches[0]) == [(revision - 2, CLAIMED, mine), (revision, RELEASED, mine)]
    assert own(other, watches[2]) == []
    assert other.events(plain) == []  # nobody is told of claims who has not asked
    assert cluster.members[2].store.claims.held["/a"] == {theirs: revision}


def test_a_grant_comes_before_any_reply_that_shows_it() -> None:
    """Both claims are on one connection: the release's own reply comes after the grant that it made."""
    cluster = Cluster()
    client = cluster.client(cluster.followers()[0])
    done(cluster, client, Create("/a"))
    watch = watching(cluster, client)
    first = done(cluster, client, Claim("/a"))[0]
    second = done(cluster, client, Claim("/a", wait=True))[0]
    release = client.write(Release(first))
    cluster.until(lambda: client.has(release))
    revision = client.reply(release)[2]
    assert own(client, watch)[-2:] == [(revision, RELEASED, first), (revision, CLAIMED, second)]
    words = client.order()
    assert words.index(f"event {revision}") < words.index(f"reply {release} at {revision}")
    read = client.read(ClaimInfo("/a"), ReadMode.LOCAL)
    cluster.settle()
    assert client.reply(read)[4][3] == 1


def test_no_session_no_claims_to_watch() -> None:
    cluster = Cluster()
    client = cluster.connect(1)
    client.hello(Hello(None, "", None))
    cluster.settle()
    watch = client.watch("/", None, OWN)
    cluster.settle()
    assert client.reply(watch)[1] == SessionRequired.code
    assert cluster.members[1].state.connections[client.connection].watch_count == 0
    elsewhere = cluster.client(1)
    refused = elsewhere.watch("/a", None, OWN)
    cluster.settle()
    assert elsewhere.reply(refused)[1] == 20


def test_scopes_with_and_without_claims() -> None:
    cluster = Cluster()
    writer, client = cluster.client(1), cluster.client(2)
    paths = ("/", "/q", "/q/a")
    scopes = (WatchScope.ZNODE, WatchScope.CHILDREN, WatchScope.SUBTREE)
    plain = {(path, scope): client.watch(path, 1, scope) for path in paths for scope in scopes}
    full = {(path, scope): client.watch(path, 1, scope | WATCH_CLAIMS) for path in paths for scope in scopes}
    for op in (Create("/q"), Create("/q/a"), Claim("/q/a"), ClaimFirst("/q", wait=True), Set("/q/a", b"x"), Release(1),
               ClaimSettings("/q", 3), Fence("/q/a", "/x")):  # fmt: skip
        done(cluster, writer, op)
    cluster.tick(2)

    def told(at: Client, watch: int) -> list[str]:
        return [f"{'.+s-crqw=f'[change[0]]}{change[1]}" for _, change in at.events(watch)]

    of_tree = {key: told(client, watch) for key, watch in plain.items()}
    assert of_tree[("/", WatchScope.SUBTREE)] == ["+/q", "+/q/a", "s/q/a"]
    assert of_tree[("/q", WatchScope.CHILDREN)] == ["+/q/a", "s/q/a"]
    seen = {key: told(client, watch) for key, watch in full.items()}
    assert seen == {
        ("/", WatchScope.ZNODE): [],
        ("/", WatchScope.CHILDREN): ["+/q", "q/q", "=/q"],
        ("/", WatchScope.SUBTREE): [
            "+/q",
            "+/q/a",
            "c/q/a",
            "q/q",
            "s/q/a",
            "r/q/a",
            "c/q/a",
            "=/q",
            "f/q/a",
        ],
        ("/q", WatchScope.ZNODE): ["+/q", "q/q", "=/q"],
        ("/q", WatchScope.CHILDREN): ["+/q/a", "c/q/a", "s/q/a", "r/q/a", "c/q/a", "f/q/a"],
        ("/q", WatchScope.SUBTREE): [
            "+/q",
            "+/q/a",
            "c/q/a",
            "q/q",
            "s/q/a",
            "r/q/a",
            "c/q/a",
            "=/q",
            "f/q/a",
        ],
        ("/q/a", WatchScope.ZNODE): ["+/q/a", "c/q/a", "s/q/a", "r/q/a", "c/q/a", "f/q/a"],
        ("/q/a", WatchScope.CHILDREN): [],
        ("/q/a", WatchScope.SUBTREE): ["+/q/a", "c/q/a", "s/q/a", "r/q/a", "c/q/a", "f/q/a"],
    }
    # Replayed, it is the same as it was live; and closing them leaves nothing behind.
    late = cluster.client(3)
    for (path, scope), watch in full.items():
        again = late.watch(path, 1, scope | WATCH_CLAIMS)
        cluster.settle()
        assert late.events(again) == client.events(watch)
    mine = watching(cluster, writer, 1)
    cluster.tick()
    assert own(writer, mine)[0][1] == CLAIMED
    for each in (client, late, writer):
        each.drop()
    cluster.settle()
    for member in cluster.members.values():
        watches = member.state.watches
        assert len(watches) == 0
        assert not watches._by_session
        assert not any(table for tables in (watches._tables, watches._of_claims) for table in tables.values())


def test_after_a_failover_the_grant_is_told_at_another_member_once() -> None:
    """1. W waits, and has heard of it. 2. Its member, the leader, stops. 3. The holder releases, at another. 4. W
    resumes its session at the third, and its watch by the revision: the grant, once, and nothing that it knows."""
    cluster = Cluster()
    leader = cluster.leader()
    first, second = cluster.followers()
    holder, waiter = cluster.client(first), cluster.client(leader)
    done(cluster, holder, Create("/a"))
    mine = done(cluster, holder, Claim("/a"))[0]
    watch = watching(cluster, waiter)
    theirs = done(cluster, waiter, Claim("/a", wait=True))[0]
    cluster.tick(2)
    ((revision, kind, number),) = own(waiter, watch)
    assert (kind, number) == (QUEUED, theirs)
    cluster.crash(leader)
    cluster.until_leader()
    done(cluster, holder, Release(mine))
    waiter = cluster.resumed(waiter, second)
    cluster.until(lambda: waiter.welcome is not None)
    watch = watching(cluster, waiter, revision + 1)
    cluster.until(lambda: bool(own(waiter, watch)))
    cluster.tick(3)
    assert [each[1:] for each in own(waiter, watch)] == [(CLAIMED, theirs)]
    token = own(waiter, watch)[0][0]
    assert cluster.members[second].store.claims.held["/a"] == {theirs: token}
    cluster.restart(leader)
    cluster.tick(20)
    assert cluster.members[leader].store.claims.state() == cluster.members[second].store.claims.state()


def test_after_a_gap_the_claims_are_read() -> None:
    settings = ReplicaSettings(tick_ms=TICK_MS, limits=MemberLimits(history_revisions=5))
    cluster = Cluster(settings=settings)
    holder, waiter = cluster.client(1), cluster.client(2)
    done(cluster, holder, Create("/a"))
    mine = done(cluster, holder, Claim("/a"))[0]
    theirs = done(cluster, waiter, Claim("/a", wait=True, label=b"w"))[0]
    known = waiter.reply(max(waiter.replies))[2]
    waiter.drop()
    done(cluster, holder, Release(mine))
    for number in range(10):
        done(cluster, holder, Create(f"/n{number}"))
    waiter = cluster.resumed(waiter, 3)
    cluster.until(lambda: waiter.welcome is not None)
    watch = waiter.watch("/", known + 1, OWN)
    cluster.settle()
    assert waiter.reply(watch)[1] == Gap.code
    read = waiter.read(Claims("/", session=waiter.session))
    cluster.until(lambda: waiter.has(read))
    rows, more, _ = waiter.reply(read)[4]
    assert [row[:6] for row in rows] == [[theirs, "/a", waiter.session, "client 2", known + 1, 1]]
    assert not more
    watching(cluster, waiter, waiter.reply(read)[2] + 1)


def test_who_expires_while_it_waits_is_passed_over() -> None:
    cluster = Cluster()
    holder, silent, waiter = cluster.client(1, 60_000), cluster.client(2, 1_000), cluster.client(3, 60_000)
    done(cluster, holder, Create("/a"))
    mine = done(cluster, holder, Claim("/a"))[0]
    done(cluster, silent, Claim("/a", wait=True))
    theirs = done(cluster, waiter, Claim("/a", wait=True))[0]
    watch = holder.watch("/a", None, WatchScope.ZNODE | WATCH_CLAIMS)
    cluster.until(lambda: silent.goodbye is not None)
    done(cluster, holder, Release(mine))
    cluster.tick(2)
    assert cluster.members[1].store.claims.held["/a"].keys() == {theirs}
    assert [change[6] for _, change in holder.events(watch)] == [Reason.SESSION_EXPIRED, 0, 0]


def test_an_expiry_hands_on_at_once_and_with_a_delay_later() -> None:
    cluster = Cluster()
    waiter = cluster.client(3, 60_000)
    done(cluster, waiter, Create("/a"))
    for delay_ms in (0, 600):
        done(cluster, waiter, ClaimSettings("/a", 1, delay_ms))
        holder = cluster.client(1, 1_000)
        done(cluster, holder, Claim("/a"))
        number = done(cluster, waiter, Claim("/a", wait=True))[0]
        cluster.until(lambda holder=holder: holder.goodbye is not None)  # type: ignore[misc]
        store = cluster.members[3].store
        ended_ms = store.time_ms
        if delay_ms:
            assert "/a" not in store.claims.held
            assert store.claims.delays == {"/a": ended_ms + delay_ms}
        cluster.until(lambda store=store: "/a" in store.claims.held)  # type: ignore[misc]
        assert delay_ms <= store.time_ms - ended_ms <= delay_ms + 10 * TICK_MS
        done(cluster, waiter, Release(number))


def test_a_delay_goes_on_under_the_next_leader() -> None:
    cluster = Cluster()
    waiter, holder = cluster.client(3, 60_000), cluster.client(1, 1_000)
    done(cluster, waiter, Create("/a"))
    done(cluster, waiter, ClaimSettings("/a", 1, 1_000))
    done(cluster, holder, Claim("/a"))
    number = done(cluster, waiter, Claim("/a", wait=True))[0]
    cluster.until(lambda: holder.goodbye is not None)
    cluster.crash(cluster.leader())
    leader = cluster.until_leader()
    store = cluster.members[leader].store
    assert "/a" not in store.claims.held
    cluster.until(lambda: "/a" in store.claims.held)
    assert list(store.claims.held["/a"]) == [number]


def test_what_is_held_back_and_what_waits_for_lanes_goes_on_under_the_next_leader() -> None:
    cluster = Cluster()
    waiter, holder = cluster.client(3, 60_000), cluster.client(1, 1_000)
    for path in ("/q", "/q/a", "/q/b", "/q/c"):
        done(cluster, waiter, Create(path))
    for path in ("/q/b", "/q/c"):
        done(cluster, waiter, SetLanes(path, (Lane("x", width=1), Lane("r", 0, 600))))
    done(cluster, waiter, HoldBack("/q/a", 1_500))
    assert [row[1] for row in done(cluster, holder, ClaimFirst("/q", 9))[1]] == ["b"]
    numbers = [done(cluster, waiter, ClaimFirst("/q", wait=True))[0] for _ in range(3)]
    cluster.crash(cluster.leader())
    leader = cluster.until_leader()
    store = cluster.members[leader].store

    def granted() -> list[str]:
        return [
            store.claims.by_number[number][1] if number in store.claims.by_number else ""
            for number in numbers
        ]

    assert granted() == ["/q"] * 3
    # The holder expires: b is lost, and the lane has room; the rate has, too, for one, and then for one more.
    cluster.until(lambda: granted()[0] != "/q")
    assert granted()[0] == "/q/b"
    assert store.claims.lost == {"/q/b": 1}
    cluster.until(lambda: granted()[1] == "/q/a")
    done(cluster, cluster.client(leader), Release(numbers[0], force=True))
    cluster.until(lambda: granted()[2] == "/q/b")
    cluster.tick(5)
    states = [
        member.store.claims.state() for member in cluster.members.values() if member.replica is not None
    ]
    assert len(states) == 2
    assert states[0] == states[1]


def test_thousands_who_share_are_let_in_lot_by_lot(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one revision may grant: the leader goes on by itself, without waiting for a tick."""
    monkeypatch.setattr(granting, "GRANTS_MAX", 10)
    cluster = Cluster()
    writer, readers = cluster.client(1), cluster.client(2)
    done(cluster, writer, Create("/a"))
    mine = done(cluster, writer, Claim("/a"))[0]
    numbers = [done(cluster, readers, Claim("/a", wait=True, shared=True))[0] for _ in range(95)]
    watch = watching(cluster, readers)
    now_ms = cluster.now_ms
    writer.write(Release(mine))
    cluster.settle()
    store = cluster.members[cluster.leader()].store
    assert not store.claims.unsettled
    assert cluster.now_ms == now_ms
    assert len(store.claims.held["/a"]) == 95
    cluster.tick(2)
    assert [number for _, _, number in own(readers, watch)] == numbers
    assert len({revision for revision, _, _ in own(readers, watch)}) == 10


def test_the_history_tells_of_claims() -> None:
    cluster = Cluster()
    client = cluster.client(1)
    done(cluster, client, Create("/a"))
    done(cluster, client, Claim("/a", label=b"who"))
    read = client.read_row([8, 1, 10])
    cluster.until(lambda: client.has(read))
    _, revisions = client.reply(read)[4]
    changes: list[Change] = [tuple(change) for _, _, _, told in revisions for change in told]
    assert [change[:3] for change in changes] == [(CREATED, "/a", b""), (CLAIMED, "/a", b"who")]


def test_a_stale_holder_is_refused_at_every_member() -> None:
    """1. A holds the lock, and is silent for too long. 2. B holds it. 3. A comes back, with a new session, and writes
    with its old token, at whichever member."""
    cluster = Cluster()
    silent, other = cluster.client(1, 1_000), cluster.client(2, 60_000)
    done(cluster, other, Create("/lock"))
    done(cluster, other, Create("/data"))
    done(cluster, other, Fence("/data", "/lock"))
    old = done(cluster, silent, Claim("/lock"))[1]
    done(cluster, silent, FencedWrite(((1, old),), Set("/data", b"a")))
    new = done(cluster, other, Claim("/lock", wait=True))[0]
    cluster.until(lambda: silent.goodbye is not None)
    token = cluster.members[1].store.claims.held["/lock"][new]
    for number in cluster.members:
        back = cluster.client(number)
        request = back.write(FencedWrite(((1, old),), Set("/data", b"late")))
        cluster.until(lambda back=back, request=request: back.has(request))  # type: ignore[misc]
        assert back.reply(request)[1] == 18
        assert back.reply(request)[5]["token"] == token  # type: ignore[index]
    done(cluster, other, FencedWrite(((1, token),), Set("/data", b"b")))
