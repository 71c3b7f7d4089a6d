"""Namespaces: a part of the tree as if it were the whole, on both backends; and revisions that are handed on."""

from dataclasses import replace

import pytest

from coord.api.errors import NotFound as NotFoundError
from coord.api.errors import StaleToken
from coord.api.ops import CreateFlag
from coord.client import (
    ChangeKind,
    Conflict,
    Create,
    Created,
    Disconnected,
    Exists,
    Get,
    InvalidRequest,
    List,
    MultiResult,
    NotFound,
    Set,
    State,
    Unavailable,
    Znode,
    connect,
    when,
)
from coord.client.core.arguments import freshness
from coord.client.core.causality import Floor, parse_revision
from coord.client.core.namespace import Namespace, below
from coord.limits import MemberLimits
from tests.client.house import both, house, run

# --- paths ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inside", "outside"), [("/", "/app"), ("/a", "/app/a"), ("/a/b", "/app/a/b"), ("/app", "/app/app")]
)
def test_paths_both_ways(inside: str, outside: str) -> None:
    space = Namespace("/app")
    assert space.outside(inside) == outside
    assert space.inside(outside) == inside


@pytest.mark.parametrize("path", ["/", "/apple", "/ap", "/other/app"])
def test_what_is_not_in_it(path: str) -> None:
    assert Namespace("/app").inside(path) is None


@pytest.mark.parametrize("path", ["", "x", "pie", "./x", b"/x", None, 7])
def test_no_path_leads_out(path: object) -> None:
    with pytest.raises(InvalidRequest):
        Namespace("/app").outside(path)  # type: ignore[arg-type]


def test_nested_ones() -> None:
    app = below(None, "/app")
    inner = below(app, "/a/b")
    assert inner is not None
    assert inner.root == "/app/a/b"
    assert below(app, "/") is not None
    assert below(None, "/") is None
    for bad in ("app", "/app/", "", "/..", None):
        with pytest.raises(InvalidRequest):
            below(app, bad)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest):
        below(below(None, "/" + "a" * 1000), "/" + "b" * 100)


def test_ops_are_translated_whole() -> None:
    space = Namespace("/app")
    multi = [
        7,
        [when.missing("/x").row(), (when.value("/") == b"v").row()],
        [Create("/n-", sequential=True).row(), Set("/", b"").row(), List("/l", after="m").row()],
        [Get("/g").row()],
    ]
    _, compare, then, otherwise = space.op(multi)
    assert [row[1] for row in (*compare, *then, *otherwise)] == [
        "/app/x", "/app", "/app/n-", "/app", "/app/l", "/app/g",
    ]  # fmt: skip
    assert then[2][4] == "m"
    number = Create("/", sequential=True).row()
    assert number[4] == CreateFlag.SEQUENTIAL
    assert space.op(number)[1] == "/app/"
    assert space.op([8, None, 10]) == [8, None, 10]
    with pytest.raises(InvalidRequest):
        space.op([99, "/a"])  # where its paths are, if it has any, is not known


def test_details_of_an_error_that_are_elsewhere_are_none() -> None:
    error = Namespace("/app/x").error(NotFoundError("no parent", {"path": "/app", "position": 3}))
    assert error.details == {"position": 3}
    stale = StaleToken("too late", {"token": 7, "fence": "/app/x/data", "claim": "/locks/a"})
    assert Namespace("/app/x").error(stale).details == {"token": 7, "fence": "/data"}


# --- calls ----------------------------------------------------------------------------------------------------


@both
def test_everything_is_from_inside(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints, name="me") as client:
            app = client.namespace("/app")
            assert (client.root, app.root) == ("/", "/app")
            assert type(app) is type(client)
            with pytest.raises(NotFound) as caught:
                await app.create("/a")
            assert caught.value.details["path"] == "/"
            assert "'/app'" in caught.value.message  # for people: the whole path
            created = await app.create("/a", b"1", parents=True)
            assert created.path == "/a"
            assert (await client.get("/app/a")).value == b"1"
            assert (await app.get("/a")).path == "/a"
            assert (await app.get("/")).path == "/"
            assert (await app.create("/n-", sequential=True)).path == "/n-0000000000"
            assert (await app.create("/", sequential=True)).path == "/0000000001"
            await app.set("/", b"root")
            assert (await client.get("/app")).value == b"root"
            assert await app.children("/") == ["0000000001", "a", "n-0000000000"]
            assert [child.name for child in (await app.list("/", limit=1)).children] == ["0000000001"]
            with pytest.raises(Exists) as exists:
                await app.create("/a")
            assert exists.value.details["path"] == "/a"
            with pytest.raises(Conflict) as conflict:
                await app.set("/a", b"", version=7)
            assert conflict.value.details == {"path": "/a", "version": 0, "revision": 1}
            result = await app.multi(
                [when.value("/a") == b"1"], then=[Create("/b"), Get("/b")], otherwise=[Get("/")]
            )
            assert [each.path for each in result.results if isinstance(each, Created | Znode)] == ["/b"] * 2
            result = await app.multi([when.missing("/a")], otherwise=[Get("/")])
            assert isinstance(result.results[0], Znode)
            assert result.results[0].path == "/"
            assert [entry.path for entry in await app.log("/a")] == ["/a"]
            assert {entry.path for entry in await app.log()} == {
                "/", "/a", "/b", "/n-0000000000", "/0000000001",
            }  # fmt: skip
            inner = app.namespace("/a").namespace("/b")
            assert inner.root == "/app/a/b"
            await inner.create("/c", parents=True)
            assert await app.exists("/a/b/c") is not None
            assert (await app.delete("/", subtree=True)).count == 7
            assert await client.children("/") == []
            assert app.session_id == client.session_id
            assert len(at.replica.state.store.sessions) == 1
            for path in ("x", "/../x", "/a/", ""):
                with pytest.raises(InvalidRequest):
                    await app.create(path, parents=True)
            with pytest.raises(InvalidRequest):
                await app.get(3)  # type: ignore[arg-type]
            assert await client.children("/") == []

    run(backend, main)


@both
def test_watches_tell_from_inside(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            app = client.namespace("/app")
            async with app.watch("/", "subtree") as events:
                await client.create("/apple", b"not here")
                await client.create("/app/a", b"1", parents=True)
                await app.delete("/a")
                told = [await anext(events) for _ in range(3)]
            assert [(event.kind, event.path) for event in told] == [
                (ChangeKind.CREATED, "/"), (ChangeKind.CREATED, "/a"), (ChangeKind.DELETED, "/a"),
            ]  # fmt: skip

    run(backend, main)


@both
def test_caches_and_transactions_are_inside_too(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            app = client.namespace("/app")
            async with app.cache() as cache:
                async with app.transaction() as t:
                    with pytest.raises(NotFound):
                        await t.children("/")
                    t.create("/a", b"1", parents=True)
                    assert await t.children("/") == ["a"]
                await cache.wait_revision(t.revision)
                assert list(cache) == ["/", "/a"]
                assert cache.children("/") == ["a"]
                await client.delete("/app", subtree=True)
                await cache.wait_for(lambda: len(cache) == 0)

    run(backend, main)


@both
def test_a_view_shares_its_clients_end(backend: str) -> None:
    async def main() -> None:
        async with house() as at:
            async with connect(at.endpoints) as client:
                app = client.namespace("/app")
                await app.create("/", ephemeral=True)
            assert app.state is client.state is State.CLOSED
            with pytest.raises(Disconnected, match="this client is closed"):
                await app.get("/")

    run(backend, main)


def test_results_without_a_path_are_as_they_were() -> None:
    space = Namespace("/app")
    assert space.result(None) is None
    result = MultiResult(True, (Created("/app/x", 1), None), 1)
    assert space.result(result) == replace(result, results=(Created("/x", 1), None))


# --- revisions that are handed on -----------------------------------------------------------------------------


def test_how_fresh_a_read_is() -> None:
    assert freshness(None, False, 0) == (0, 0)
    assert freshness(None, False, 9) == (0, 0)  # linearizable shows it in any case
    assert freshness(5, False, 9) == (1, 9)
    assert freshness(12, False, 9) == (1, 12)
    assert freshness(None, True, 0) == (2, 0)
    assert freshness(None, True, 9) == (1, 9)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "-1",
        "1.0",
        "+1",
        "1_000",
        "\N{ARABIC-INDIC DIGIT THREE}",
        "9" * 19,
        "9" * 40,
        b"1",
        None,
        1.0,
        -1,
    ],
)
def test_what_is_no_revision(text: object) -> None:
    with pytest.raises(InvalidRequest):
        parse_revision(text)  # type: ignore[arg-type]


def test_a_floor_never_goes_down() -> None:
    floor = Floor()
    for revision, after in ((3, 3), ("10", 10), (" 7\n", 10)):
        floor.see(revision)
        assert floor.revision == after


@both
def test_a_client_sees_what_it_was_told_to_see(backend: str) -> None:
    async def main() -> None:
        limits = MemberLimits(read_wait_ms=100)
        async with house(limits=limits) as at, connect(at.endpoints, session=False) as reader:
            async with connect(at.endpoints) as writer:
                await writer.create("/a")
                token = str(writer.revision)
            app = reader.namespace("/app")
            app.see(token)
            assert reader.revision >= int(token)
            assert (await reader.get("/a", local=True)).revision >= int(token)
            # Of a revision that is still to come, nothing is shown; but linearizable reads are as ever.
            reader.see(1000)
            assert app.revision == 1000
            assert await reader.children("/") == ["a"]
            for stale in (
                reader.get("/a", local=True),
                reader.get("/a", at_least=1),
                app.exists("/", local=True),
            ):
                with pytest.raises(Unavailable):
                    await stale
            assert (await reader.status())["revision"] < 1000
            with pytest.raises(InvalidRequest):
                reader.see("soon")

    run(backend, main)


@both
def test_a_revision_from_the_environment(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with house() as at:
            monkeypatch.setenv("COORD_AT_LEAST", "70")
            async with connect(at.endpoints) as client:
                assert client.revision == 70
            async with connect(at.endpoints, at_least="90") as client:
                assert client.revision == 90
            monkeypatch.setenv("COORD_AT_LEAST", "soon")
            with pytest.raises(InvalidRequest, match="COORD_AT_LEAST"):
                connect(at.endpoints)

    run(backend, main)
