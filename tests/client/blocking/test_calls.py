"""The blocking client's calls, over real sockets."""

from math import inf

import pytest

from coord.client.blocking import (
    Conflict,
    CoordError,
    DeadlineExceeded,
    Exists,
    ExistsOp,
    Get,
    InvalidRequest,
    Kind,
    NotFound,
    SessionEnded,
    SessionRequired,
    Set,
    State,
    connect,
    when,
)
from tests.client.blocking.home import client_threads, ctrl_c, home, sent, threads, until


def test_the_tree() -> None:
    with home() as at, connect(at.endpoints, name="me") as client:
        created = client.create("/a/b", b"1", parents=True)
        assert (created.path, created.revision) == ("/a/b", 1)
        written = client.set("/a/b", b"2", version=0)
        assert (written.version, written.revision) == (1, 2)
        znode = client.get("/a/b")
        assert (znode.path, znode.value, znode.stat.version, znode.revision) == ("/a/b", b"2", 1, 2)
        with pytest.raises(Conflict) as caught:
            client.set("/a/b", b"3", version=0)
        assert caught.value.outcome == "refused"
        assert caught.value.details["version"] == 1
        with pytest.raises(NotFound):
            client.get("/nope")
        with pytest.raises(Exists):
            client.create("/a")
        assert client.exists("/nope") is None
        assert client.create("/q/n-", sequential=True, parents=True).path == "/q/n-0000000000"
        client.create("/e", ephemeral=True)
        assert client.get("/e", at_least=client.revision).stat.owner == client.session_id
        client.create("/t", ttl=60.0)
        stat = client.exists("/t", local=True)
        assert stat is not None
        assert (stat.kind, stat.ttl_ms) == (Kind.TTL, 60_000)
        assert client.children("/") == ["a", "e", "q", "t"]
        page = client.list("/", values=True, stats=True, limit=2, after="a")
        assert [child.name for child in page.children] == ["e", "q"]
        assert client.delete("/a", subtree=True).count == 2
        assert client.state is State.ATTACHED
        assert (client.member, client.session_timeout) == (1, 10.0)
        assert 0 < client.remaining() <= 10


def test_multi() -> None:
    with home() as at, connect(at.endpoints) as client:
        client.create("/a", b"1")
        result = client.multi(
            [when.version("/a") == 0, when.missing("/b")], then=[Set("/a", b"2"), Get("/a"), ExistsOp("/b")]
        )
        assert result.succeeded
        assert [type(each).__name__ for each in result.results] == ["Written", "Znode", "NoneType"]
        with pytest.raises(NotFound) as caught:
            client.multi(then=[Set("/a", b"x"), Set("/nope", b"x")])
        assert caught.value.details["position"] == 1
        with pytest.raises(InvalidRequest):
            client.multi([when.child_count("/a")], then=[])  # type: ignore[list-item]


def test_every_argument_that_cannot_be_is_an_error_of_ours() -> None:
    with home() as at, connect(at.endpoints) as client:
        for attempt in (
            lambda: client.create("no slash"),
            lambda: client.create("/a", ttl=-1.0),
            lambda: client.create("/a", ttl=1.0, ephemeral=True),
            lambda: client.set("/a", "text"),  # type: ignore[arg-type]
            lambda: client.get("/a", at_least=-1),
            lambda: client.get("/a", at_least=1, local=True),
            lambda: client.get("/a", deadline=float("nan")),
            lambda: client.list("/", limit=0),
            lambda: client.log(limit=-1),
            lambda: client.watch("/a", "everything").__enter__(),  # type: ignore[arg-type]
            lambda: client.watch("/a").next(),
            lambda: client.on_state(3),  # type: ignore[arg-type]
            lambda: client.see("x"),
        ):
            with pytest.raises(InvalidRequest):
                attempt()
        assert client.children("/") == []  # and the connection is none the worse
        assert at.doors[0].frames + at.doors[1].frames == 2


def test_the_service_itself() -> None:
    with home() as at, connect(at.endpoints, name="me", session_timeout=5.0) as client:
        client.create("/e", b"v", ephemeral=True)
        client.create("/x/y", parents=True)
        assert [(entry.path, entry.revision) for entry in client.log("/x")] == [("/x", 2), ("/x/y", 2)]
        (session,) = client.sessions()
        assert (session.session, session.client, session.timeout_ms) == (client.session_id, "me", 5_000)
        assert client.status()["role"] == "leader"


def test_a_namespace() -> None:
    with home() as at, connect(at.endpoints, namespace="/app") as client:
        assert client.root == "/app"
        client.create("/a/b", b"1", parents=True)
        assert client.get("/a/b").path == "/a/b"
        inner = client.namespace("/a")
        assert inner.root == "/app/a"
        assert inner.children("/") == ["b"]
        assert inner.session_id == client.session_id
        with inner.watch("/", "subtree") as events:
            inner.set("/b", b"2")
            assert events.next(10).path == "/b"
        with pytest.raises(NotFound):
            inner.get("/nope")
        client.see(str(inner.revision))
        assert client.get("/a/b", local=True).value == b"2"


def test_without_a_session_reads_and_watches_work() -> None:
    with home() as at, connect(at.endpoints, session=False) as client:
        assert (client.session_id, client.remaining()) == (0, inf)
        with pytest.raises(SessionRequired):
            client.create("/a")
        assert client.children("/") == []
        assert not at.sessions


# --- many threads ------------------------------------------------------------------------------------


def test_a_hundred_threads_share_frames() -> None:
    with home(1) as at, connect(at.endpoints) as client:
        client.create("/a")
        before = at.doors[0].frames

        def work(_: int) -> None:
            for _ in range(10):
                client.set("/a", b"x")
                client.get("/a")

        with threads(100, work):
            pass
        assert client.get("/a").stat.version == 1000
        assert at.doors[0].frames - before < 1000, "2000 requests"
        assert client._client._core.unanswered == 0


def test_a_call_does_not_wait_for_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coord.client.link.LOOK_SECONDS", 1_000.0)
    with home(1) as at, connect(at.endpoints, session_timeout=60.0, deadline=2.0) as client:
        client.create("/a")  # the clock would be looked at after three seconds: so long may a welcome take
        assert client.children("/") == ["a"]


def test_a_lost_connection_is_nothing_to_a_caller() -> None:
    with home(3) as at, connect(at.endpoints) as client, client.watch("/", "subtree") as events:
        session = client.session_id

        def work(number: int) -> None:
            for turn in range(20):
                client.create(f"/{number}-{turn}", b"", ephemeral=True)
                if (turn + number) % 4 == 0:  # fifty times in all, while others wait for answers
                    for door in at.doors:
                        at.cut(door)

        with threads(10, work):
            pass
        assert len(client.children("/")) == 200
        assert [events.next(10).revision for _ in range(200)] == list(range(1, 201))
        assert client.session_id == session
        assert at.sessions == 1


# --- what ends a wait --------------------------------------------------------------------------------


def test_deadlines() -> None:
    with home(1) as at, connect(at.endpoints, session_timeout=60.0, deadline=0.05) as client:
        at.doors[0].deaf = True
        with pytest.raises(DeadlineExceeded) as caught:
            client.set("/a", b"")
        assert caught.value.outcome == "unknown"
        with pytest.raises(DeadlineExceeded) as caught:
            client.get("/a")
        assert caught.value.outcome == "refused"
        with pytest.raises(DeadlineExceeded):
            client.children("/", deadline=0.01)
        with pytest.raises(DeadlineExceeded), client.watch("/a"):
            pass
        at.cut(at.doors[0], shut=True)
        for state in client.states():
            if state is State.SUSPENDED:
                break
        with pytest.raises(DeadlineExceeded, match="no member is connected") as caught:
            client.set("/a", b"")
        assert caught.value.outcome == "refused"
        at.doors[0].deaf = at.doors[0].shut = False
        assert client.children("/", deadline=10) == []


def test_ctrl_c_ends_a_wait_and_leaves_nothing_behind() -> None:
    with home(1) as at, connect(at.endpoints, session_timeout=60.0) as client:
        for wait in (
            lambda: client.set("/a", b"1", create=True, deadline=inf),
            lambda: client.get("/a", deadline=inf),
            lambda: client.children("/", deadline=inf),
        ):
            at.doors[0].deaf = True
            with ctrl_c(lambda: sent(client)):
                wait()
            at.doors[0].deaf = False
            at.cut(at.doors[0])
            client.set("/b", b"", create=True)
            assert client.children("/") == ["a", "b"], "it was sent, and may happen"
            assert sent(client) == 0, "and reads are not asked again"


def test_ctrl_c_while_connecting_and_while_waiting_for_news() -> None:
    with home(1) as at, connect(at.endpoints, session_timeout=60.0) as client:
        with client.watch("/", "children") as events:
            with ctrl_c(lambda: events._ahead._news._waiters):  # type: ignore[attr-defined]
                events.next()
            listeners = client._client._link._listeners
            with ctrl_c(lambda: listeners._callbacks):
                client.wait_ended()
            client.create("/a")
            assert events.next(10).path == "/a"
            assert not client._loop.look(lambda: listeners._callbacks)
        at.doors[0].deaf = True
        with ctrl_c(lambda: len(at.doors[0].streams) > 1), connect(at.endpoints) as never:
            never.children("/")
        at.doors[0].deaf = False
        at.cut(at.doors[0])
        until(lambda: len(client_threads()) == 1)  # the one that connected has left


def test_a_session_that_is_over_ends_every_wait() -> None:
    failures: list[CoordError] = []
    with home(2) as at, connect(at.endpoints, session_timeout=1.5, deadline=inf) as client:

        def call(number: int) -> None:
            with pytest.raises(SessionEnded) as caught:
                client.set("/a", b"", create=True) if number else client.get("/a", at_least=99)
            failures.append(caught.value)

        with client.watch("/") as events:
            for door in at.doors:
                door.deaf = True
            with threads(2, call):
                error = client.wait_ended()
            assert isinstance(error, SessionEnded)
            with pytest.raises(SessionEnded):
                events.next()
        assert sorted(each.outcome for each in failures) == ["refused", "unknown"]
        assert (str(client.state), client.remaining()) == ("ended", 0.0)
        with pytest.raises(SessionEnded) as caught:
            client.get("/")
        assert caught.value.outcome == "refused"
        assert list(client.states()) == [State.ENDED]
