"""The client as its users have it, over real sockets, on both backends."""

from math import inf

import anyio
import pytest

from coord.client import (
    Conflict,
    CoordError,
    DeadlineExceeded,
    Disconnected,
    Exists,
    ExistsOp,
    Gap,
    Get,
    InvalidRequest,
    Kind,
    NotFound,
    SessionEnded,
    SessionRequired,
    Set,
    State,
    Unavailable,
    connect,
    when,
)
from coord.client.client import Client
from coord.limits import MemberLimits
from tests.client.house import both, house, run


async def until_state(client: Client, state: State) -> None:
    with anyio.fail_after(10):
        while client.state is not state:
            await client._link._state_changed.wait()


@both
def test_the_tree(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints, name="me") as client:
            created = await client.create("/a/b", b"1", parents=True)
            assert (created.path, created.revision) == ("/a/b", 1)
            written = await client.set("/a/b", b"2", version=0)
            assert (written.version, written.revision) == (1, 2)
            znode = await client.get("/a/b")
            assert (znode.path, znode.value, znode.stat.version, znode.revision) == ("/a/b", b"2", 1, 2)
            with pytest.raises(Conflict) as caught:
                await client.set("/a/b", b"3", version=0)
            assert caught.value.outcome == "refused"
            assert caught.value.details["version"] == 1
            with pytest.raises(NotFound):
                await client.get("/nope")
            with pytest.raises(Exists):
                await client.create("/a")
            assert await client.exists("/nope") is None
            stat = await client.exists("/a")
            assert stat is not None
            assert stat.child_count == 1
            first = await client.create("/q/n-", sequential=True, parents=True)
            assert first.path == "/q/n-0000000000"
            await client.create("/e", ephemeral=True)
            assert (await client.get("/e", at_least=client.revision)).stat.owner == client.session_id
            await client.create("/t", ttl=60.0)
            stat = await client.exists("/t", local=True)
            assert stat is not None
            assert (stat.kind, stat.ttl_ms) == (Kind.TTL, 60_000)
            await client.create("/c", kind=Kind.CONTAINER)
            assert await client.children("/") == ["a", "c", "e", "q", "t"]
            page = await client.list("/", values=True, stats=True, limit=2, after="a")
            assert [child.name for child in page.children] == ["c", "e"]
            assert page.more
            deleted = await client.delete("/a", subtree=True)
            assert deleted.count == 2
            assert client.state is State.ATTACHED
            assert client.member == 1
            assert client.session_timeout == 10.0

    run(backend, main)


@both
def test_multi(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            await client.create("/a", b"1")
            result = await client.multi(
                [when.version("/a") == 0, when.value("/a") != b"2", when.missing("/b"), when.exists("/a")],
                then=[Set("/a", b"2"), Get("/a"), ExistsOp("/b")],
            )
            assert result.succeeded
            assert [type(each).__name__ for each in result.results] == ["Written", "Znode", "NoneType"]
            result = await client.multi(
                [when.modified_revision("/a") < 2], then=[Set("/a", b"3")], otherwise=[Get("/a")]
            )
            assert not result.succeeded
            with pytest.raises(NotFound) as caught:
                await client.multi(then=[Set("/a", b"x"), Set("/nope", b"x")])
            assert caught.value.details["position"] == 1
            assert (await client.get("/a")).value == b"2"
            with pytest.raises(InvalidRequest):
                await client.multi([when.child_count("/a")], then=[])  # type: ignore[list-item]

    run(backend, main)


def test_conditions_are_compared_with_their_kind() -> None:
    with pytest.raises(TypeError):
        when.version("/a") == b"1"  # noqa: B015
    with pytest.raises(TypeError):
        when.value("/a") < 1  # noqa: B015


@both
def test_every_argument_that_cannot_be_is_an_error_of_ours(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            for attempt in (
                client.create("no slash"),
                client.create("/a", ttl=-1.0),
                client.create("/a", ttl=1.0, ephemeral=True),
                client.create("/a", kind=Kind.CONTAINER, ephemeral=True),
                client.set("/a", "text"),  # type: ignore[arg-type]
                client.get("/a", at_least=-1),
                client.get("/a", at_least=1, local=True),
                client.list("/", limit=0),
                client.log(limit=-1),
            ):
                with pytest.raises(InvalidRequest):
                    await attempt
            with pytest.raises(InvalidRequest):
                async with client.watch("/a", "everything"):  # type: ignore[arg-type]
                    pass
            assert await client.children("/") == []  # and the connection is none the worse
            assert at.doors[0].frames + at.doors[1].frames == 2

    run(backend, main)


@both
def test_the_service_itself(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints, name="me", session_timeout=5.0) as client:
            await client.create("/e", b"v", ephemeral=True)
            await client.create("/x/y", parents=True)
            page = await client.log("/x")
            assert [(entry.path, entry.revision) for entry in page] == [("/x", 2), ("/x/y", 2)]
            assert (page.first_revision, page.next_revision, page.revision) == (1, 3, 2)
            (entry,) = await client.log(from_revision=1, limit=1)
            assert (entry.path, entry.value, entry.session) == ("/e", b"v", client.session_id)
            (session,) = await client.sessions()
            assert (session.session, session.client, session.timeout_ms) == (client.session_id, "me", 5_000)
            assert session.ephemerals == ("/e",)
            assert (await client.status())["role"] == "leader"

    run(backend, main)


@both
def test_leaving_the_block_ends_the_session(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints, session=False) as other:
            async with other.watch("/e") as events:
                async with connect(at.endpoints) as client:
                    await client.create("/e", ephemeral=True)
                assert [(await anext(events)).kind.name for _ in range(2)] == ["CREATED", "DELETED"]
            assert not at.replica.state.store.sessions
            assert client.state in (State.ENDED, State.CLOSED)
            with pytest.raises(CoordError):
                await client.get("/e")

    run(backend, main)


@both
def test_without_a_session_reads_and_watches_work(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints, session=False) as client:
            assert client.session_id == 0
            with pytest.raises(SessionRequired):
                await client.create("/a")
            assert await client.children("/") == []
            assert not at.replica.state.store.sessions

    run(backend, main)


# --- at the same time --------------------------------------------------------------------------------


@both
def test_many_tasks_share_frames(backend: str) -> None:
    async def main() -> None:
        async with house(1) as at, connect(at.endpoints) as client:
            await client.create("/a")
            before = at.doors[0].frames

            async def work() -> None:
                await client.set("/a", b"x")
                await client.get("/a")

            async with anyio.create_task_group() as tasks:
                for _ in range(1000):
                    tasks.start_soon(work)
            assert (await client.get("/a")).stat.version == 1000
            assert at.doors[0].frames - before < 100

    run(backend, main)


@both
def test_a_cancelled_call_leaves_nothing_behind(backend: str) -> None:
    async def main() -> None:
        async with house(1) as at, connect(at.endpoints, session_timeout=60.0) as client:
            at.doors[0].deaf = True
            for call in (client.set("/a", b"1", create=True), client.get("/a"), client.children("/")):
                with anyio.move_on_after(0.05) as scope:
                    await call
                assert scope.cancelled_caught
            with anyio.move_on_after(0.05):
                async with client.watch("/"):
                    pass
            assert all(request.done for request in client._core._requests._waiting.values())
            at.doors[0].deaf = False
            await at.cut(at.doors[0])
            await client.set("/b", b"1", create=True)
            assert await client.children("/") == ["a", "b"], (
                "it was sent, and may happen; the reads are not asked again"
            )
            assert client._core.unanswered == 0
            assert not list(client._core._watches)
            assert client._core._requests._confirmed() == client._core._requests._last_id

    run(backend, main)


# --- connections that break --------------------------------------------------------------------------


@both
def test_a_lost_connection_is_nothing_to_a_caller(backend: str) -> None:
    async def main() -> None:
        async with house(3) as at, connect(at.endpoints) as client, client.watch("/", "subtree") as events:
            session = client.session_id
            stop = False

            async def trouble() -> None:
                while not stop:
                    for door in at.doors:
                        await at.cut(door)
                    await anyio.sleep(0.01)

            async def work(number: int) -> None:
                for turn in range(20):
                    await client.create(f"/{number}-{turn}", b"", ephemeral=True)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(trouble)
                async with anyio.create_task_group() as workers:
                    for number in range(10):
                        workers.start_soon(work, number)
                stop = True
            assert len(await client.children("/")) == 200
            seen = [await anext(events) for _ in range(200)]
            assert [event.revision for event in seen] == list(range(1, 201))
            assert client.session_id == session
            assert len(at.replica.state.store.sessions) == 1

    run(backend, main)


@both
def test_a_member_that_hangs_is_left(backend: str) -> None:
    async def main() -> None:
        # Without a session: this machine may be busy for longer than a short one would bear.
        async with house(2) as at, connect(at.endpoints, session=False, session_timeout=0.9) as client:
            (present,) = [door for door in at.doors if door.streams]
            present.deaf = True
            assert await client.children("/") == []  # asked of the deaf one, answered by the other
            assert client.state is State.ATTACHED

    run(backend, main)


@both
def test_a_session_whose_members_are_all_gone_ends_by_the_clock(backend: str) -> None:
    async def main() -> None:
        async with (
            house(2) as at,
            connect(at.endpoints, session_timeout=1.0, deadline=inf) as client,
            client.watch("/") as events,
        ):
            began = anyio.current_time()
            failures: list[CoordError] = []

            async def call() -> None:
                try:
                    await client.set("/a", b"", create=True)
                except CoordError as error:
                    failures.append(error)

            for door in at.doors:
                door.deaf = True
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                error = await client.wait_ended()
            assert isinstance(error, SessionEnded)
            assert anyio.current_time() - began > 0.6
            assert [(type(each), each.outcome) for each in failures] == [(SessionEnded, "unknown")]
            with pytest.raises(SessionEnded):
                await anext(events)
            with pytest.raises(SessionEnded) as caught:
                await client.get("/")
            assert caught.value.outcome == "refused"

    run(backend, main)


@both
def test_a_session_that_was_ended_elsewhere_is_told(backend: str) -> None:
    async def main() -> None:
        async with house(1) as at, connect(at.endpoints, session_timeout=1.0) as client:
            (door,) = at.doors
            door.deaf = True
            door.shut = True
            while at.replica.state.store.sessions:
                await anyio.sleep(0.01)
            # Its own clock has told it already, or the member does, or will now.
            door.deaf = door.shut = False
            assert isinstance(await client.wait_ended(), SessionEnded)

    run(backend, main)


@both
def test_deadlines(backend: str) -> None:
    async def main() -> None:
        async with house(1) as at, connect(at.endpoints, session_timeout=60.0, deadline=0.05) as client:
            at.doors[0].deaf = True
            with pytest.raises(DeadlineExceeded) as caught:
                await client.set("/a", b"")
            assert caught.value.outcome == "unknown"
            with pytest.raises(DeadlineExceeded) as caught:
                await client.get("/a")
            assert caught.value.outcome == "refused"
            with pytest.raises(DeadlineExceeded):
                await client.children("/", deadline=0.01)
            with pytest.raises(DeadlineExceeded):
                async with client.watch("/a"):
                    pass
            await at.cut(at.doors[0], shut=True)
            await until_state(client, State.SUSPENDED)
            with pytest.raises(DeadlineExceeded, match="no member is connected") as caught:
                await client.set("/a", b"")
            assert caught.value.outcome == "refused"
            at.doors[0].deaf = at.doors[0].shut = False
            assert await client.children("/", deadline=10) == []

    run(backend, main)


# --- watches -----------------------------------------------------------------------------------------


@both
def test_a_watch_begins_where_it_is_told_to(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            for number in range(5):
                await client.set("/a", b"%d" % number, create=True)
            async with client.watch("/a", from_revision=3) as events:
                assert events.next_revision == 3
                assert [(await anext(events)).value for _ in range(3)] == [b"2", b"3", b"4"]
                assert events.next_revision == 6
            async with client.watch("/", "children") as events:
                await client.create("/a/below")
                await client.create("/b")
                assert (await anext(events)).path == "/b"

    run(backend, main)


@both
def test_a_gap_is_raised_from_the_loop_or_the_opening(backend: str) -> None:
    async def main() -> None:
        async with house(1, MemberLimits(history_revisions=5)) as at, connect(at.endpoints) as client:
            async with client.watch("/a", on_gap="raise") as events:
                await client.set("/a", b"first", create=True)
                assert (await anext(events)).value == b"first"
                await at.cut(at.doors[0], shut=True)
                # The cluster goes on without this client, for longer than its history reaches.
                at.replica.state.store.history.first_revision = 90
                at.doors[0].shut = False
                with pytest.raises(Gap) as caught:
                    await anext(events)
                assert caught.value.details["first_revision"] == 90
            with pytest.raises(Gap):
                async with client.watch("/a", from_revision=1):
                    pass

    run(backend, main)


@both
def test_a_slow_user_is_served_from_the_history(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            client._core.settings = settings = client._core.settings
            object.__setattr__(settings, "watch_buffer", 10)
            async with client.watch("/a") as events:
                for number in range(100):
                    await client.set("/a", b"%d" % number, create=True)
                assert events._feed is not None
                assert len(events._feed.watching.buffer) < 20
                assert [(await anext(events)).value for _ in range(100)] == [
                    b"%d" % each for each in range(100)
                ]

    run(backend, main)


# --- connecting, and leaving -------------------------------------------------------------------------


@both
def test_connecting_where_nobody_is(backend: str) -> None:
    async def main() -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        await listener.aclose()
        with pytest.raises(Unavailable, match="refused") as caught:
            async with connect(f"127.0.0.1:{port}", deadline=0.2):
                raise AssertionError("not reached")
        assert caught.value.outcome == "refused"

    run(backend, main)


@both
def test_connecting_to_something_else(backend: str) -> None:
    async def main() -> None:
        async def answer(stream: anyio.abc.SocketStream) -> None:
            async with stream:
                try:
                    await stream.receive()
                    await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    pass  # the client's time was up

        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, answer)
            with pytest.raises(Unavailable, match="does not look like a member"):
                async with connect(f"127.0.0.1:{port}", deadline=0.3):
                    raise AssertionError("not reached")
            tasks.cancel_scope.cancel()

    run(backend, main)


@both
def test_the_blocks_own_error_comes_out_as_it_is(backend: str) -> None:
    async def main() -> None:
        async with house() as at:
            with pytest.raises(KeyError, match="mine"):
                async with connect(at.endpoints):
                    raise KeyError("mine")
            with anyio.move_on_after(0.2) as scope:
                async with connect(at.endpoints):
                    await anyio.sleep(inf)
            assert scope.cancelled_caught
            error = None
            try:
                with anyio.move_on_after(0.2):
                    async with connect(at.endpoints):
                        try:
                            await anyio.sleep(inf)
                        finally:
                            raise KeyError("while cancelled")
            except KeyError as caught:
                error = caught
            assert error is not None
            with anyio.move_on_after(0.05) as scope:
                async with connect("127.0.0.1:1"):
                    raise AssertionError("not reached")
            assert scope.cancelled_caught
            assert not at.replica.state.store.sessions

    run(backend, main)


@both
def test_calls_of_other_tasks_are_told_when_the_client_is_closed(backend: str) -> None:
    async def main() -> None:
        async with house(1) as at, anyio.create_task_group() as tasks:
            failures: list[CoordError] = []

            async def call(client: Client) -> None:
                try:
                    await client.get("/", at_least=1000)
                except CoordError as error:
                    failures.append(error)

            async with connect(at.endpoints, session=False) as client:
                tasks.start_soon(call, client)
                await client.get("/")
            while not failures:
                await anyio.lowlevel.checkpoint()
            assert isinstance(failures[0], Disconnected)
            assert failures[0].outcome == "refused"

    run(backend, main)


@both
def test_a_bug_in_the_library_is_told_to_every_caller(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with house(1) as at, connect(at.endpoints) as client:

            def broken(data: bytes, now: float) -> None:
                raise ZeroDivisionError("oh")

            client._core.received = broken  # type: ignore[method-assign]
            with pytest.raises(CoordError, match="bug of its own"):
                await client.get("/")
            with pytest.raises(CoordError, match="bug of its own"):
                await client.get("/")

    run(backend, main)


@pytest.mark.parametrize(
    "arguments",
    [
        {"endpoints": ""},
        {"endpoints": "http://localhost"},
        {"endpoints": 4711},
        {"endpoints": [4711]},
        {"endpoints": "coord://localhost/?colour=red"},
        {"deadline": 0},
        {"deadline": float("nan")},
        {"deadline": "10"},
        {"namespace": "app"},
        {"at_least": "new"},
        {"endpoints": "localhost:70000"},
        {"endpoints": "::1:4711"},
        {"session_timeout": 0},
        {"session_timeout": float("nan")},
        {"session_timeout": "10"},
        {"name": "x" * 129},
    ],
)
def test_arguments_of_connect(arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        connect(**arguments)  # type: ignore[arg-type]


def test_endpoints_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COORD_ENDPOINTS", "a:1,[::1]:2")
    assert sorted(str(connect()._route).split(",")) == ["[::1]:2", "a:1"]
    monkeypatch.delenv("COORD_ENDPOINTS")
    assert str(connect()._route) == "127.0.0.1:4711"
