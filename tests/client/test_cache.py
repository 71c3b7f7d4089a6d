"""The cache as its users have it, over real sockets, on both backends."""

import sys
import threading
from collections.abc import Callable
from math import inf

import anyio
import pytest

from coord.api.ops import Create, Delete, Set, TreeOp
from coord.client import (
    Cache,
    Cached,
    Client,
    DeadlineExceeded,
    InvalidRequest,
    connect,
)
from coord.limits import MemberLimits
from tests.client.house import both, house, run
from tests.client.test_gaps import absence, two


async def until(condition: Callable[[], object]) -> None:
    """What no event of the library tells: that it has noticed something."""
    while not condition():
        await anyio.sleep(0.005)


def content(cache: Cache) -> dict[str, Cached]:
    return {path: found for path in cache if (found := cache.get(path)) is not None}


async def stored(client: Client, path: str) -> dict[str, Cached]:
    """By plain reads, of a tree that stands still."""
    if await client.exists(path) is None:
        return {}
    znode = await client.get(path)
    stat = znode.stat
    found = {
        path: Cached(
            path, znode.value, stat.version, stat.created_revision, stat.modified_revision, stat.modified_ms
        )
    }
    for name in await client.children(path):
        found |= await stored(client, f"{path.rstrip('/')}/{name}")
    return found


@both
def test_it_is_whole_when_it_is_entered_and_follows(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            await client.create("/cfg/a/deep", b"1", parents=True)
            await client.create("/cfg/b", b"2")
            await client.set("/cfg/b", b"3")
            await client.create("/beside", b"4")
            async with client.cache("/cfg") as cache:
                assert list(cache) == ["/cfg", "/cfg/a", "/cfg/a/deep", "/cfg/b"]
                assert content(cache) == await stored(client, "/cfg")
                assert cache.children("/cfg") == ["a", "b"]
                assert cache.children("/cfg/b") == cache.children("/cfg/nope") == []
                assert cache.get("/cfg/nope") is None
                assert "/cfg/a" in cache
                assert "/beside" not in cache
                assert len(cache) == 4
                assert cache.current
                assert cache.stale_for == 0.0
                assert cache.failure is None
                assert cache.revision >= 4
                for number in range(50):
                    await client.set("/cfg/b", b"%d" % number)
                    found = cache.get("/cfg/b")
                    assert found is not None
                    assert found.value == b"%d" % number, "a client's own write is there when it returns"
                    assert cache.revision == client.revision
                await client.delete("/cfg", subtree=True)
                assert len(cache) == 0
                assert cache.children("/cfg") == []
                await client.create("/cfg/new", b"5", parents=True)
                await client.set("/cfg", b"6")
                assert content(cache) == await stored(client, "/cfg")
                assert cache.children("/cfg") == ["new"]

    run(backend, main)


@both
def test_the_whole_tree_and_what_is_not_there(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            async with client.cache() as cache, client.cache("/a/b") as missing:
                assert list(cache) == ["/"]
                assert list(missing) == []
                await client.create("/a/b/c", b"1", parents=True)
                assert list(cache) == ["/", "/a", "/a/b", "/a/b/c"]
                assert cache.children("/") == ["a"]
                assert list(missing) == ["/a/b", "/a/b/c"]
                for wrong in ("/a", "/a/bc", "/", 7):
                    with pytest.raises(InvalidRequest):
                        missing.get(wrong)  # type: ignore[arg-type]
                    with pytest.raises(InvalidRequest):
                        missing.children(wrong)  # type: ignore[arg-type]
                    assert wrong not in missing
            assert not list(client._core._watches)

    run(backend, main)


@both
def test_names_only(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            await client.create("/a", b"1")
            async with client.cache(values=False) as cache:
                await client.create("/b", b"1")
                for path in ("/a", "/b"):
                    found = cache.get(path)
                    assert found is not None
                    with pytest.raises(InvalidRequest, match="keeps no values"):
                        _ = found.value

    run(backend, main)


@both
def test_many_pages_and_many_directories(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            await client.multi(then=[Create(f"/{number:03}") for number in range(100)])
            await client.multi(then=[Create(f"/{number:03}/x", b"v") for number in range(100)])
            async with client.cache() as cache:
                assert len(cache) == 201
                assert content(cache) == await stored(client, "/")

    monkeypatch.setattr("coord.client.core.listing.PAGE", 7)
    run(backend, main)


# --- waiting -----------------------------------------------------------------------------------------


@both
def test_wait_revision_shows_what_others_did(backend: str) -> None:
    async def main() -> None:
        async with two() as (at, client, other), client.cache("/a") as cache:
            for number in range(20):
                written = await other.set("/a", b"%d" % number, create=True)
                assert await cache.wait_revision(written.revision) >= written.revision
                found = cache.get("/a")
                assert found is not None
                assert found.value == b"%d" % number
            # Also of changes that are not in it; and it costs nothing when it is there already.
            written = await other.set("/elsewhere", b"", create=True)
            await cache.wait_revision(written.revision)
            frames = at.doors[0].frames
            assert await cache.wait_revision(written.revision) == cache.revision
            await client.set("/elsewhere", b"")
            await cache.wait_revision(client.revision)
            assert at.doors[0].frames == frames + 1, "the set alone"
            # Also right after another connection, on which nothing was said of the watch yet.
            await at.cut(at.doors[0])
            written = await other.set("/a", b"new")
            await cache.wait_revision(written.revision)
            found = cache.get("/a")
            assert found is not None
            assert found.value == b"new"

    run(backend, main)


@both
def test_deadlines_and_wrong_arguments(backend: str) -> None:
    async def main() -> None:
        async with two(MemberLimits(read_wait_ms=20)) as (_, client, other), client.cache("/a") as cache:
            waits = (
                lambda: cache.wait_revision(100, deadline=0.2),
                lambda: cache.changed(cache.revision, deadline=0.05),
                lambda: cache.wait_for(lambda: "/a/b" in cache, deadline=0.05),
            )
            for wait in waits:
                with pytest.raises(DeadlineExceeded) as caught:
                    await wait()
                assert caught.value.outcome == "refused"
            for wrong in (-1, "7", None):
                with pytest.raises(InvalidRequest):
                    await cache.wait_revision(wrong)  # type: ignore[arg-type]
            with pytest.raises(InvalidRequest):
                client.cache("/a", limit=0)
            with pytest.raises(InvalidRequest):
                client.cache(7)  # type: ignore[arg-type]
            with pytest.raises(InvalidRequest):
                async with client.cache("no slash"):
                    pass
            with pytest.raises(InvalidRequest, match="opened once"):
                async with cache:
                    pass
            await other.create("/a")
            # A revision that is yet to come is waited for, for longer than a member waits.
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(cache.wait_revision, 3)
                await anyio.sleep(0.1)
                await other.set("/elsewhere", b"", create=True)
                await other.set("/elsewhere", b"")

    run(backend, main)


@both
def test_changes_are_told_to_whoever_waits(backend: str) -> None:
    async def main() -> None:
        async with two() as (_, client, other), client.cache("/a") as cache:
            before = cache.revision
            changes = cache.changes()
            assert await anext(changes) == await cache.changed() == before
            seen: list[int] = []

            async def follow() -> None:
                async for revision in cache.changes():
                    seen.append(revision)  # noqa: PERF401 - another task looks

            async def wait() -> None:
                assert await cache.changed(before) == before + 2

            async def ready() -> None:
                assert await cache.wait_for(lambda: cache.get("/a/ready")) == cache.get("/a/ready")

            async with anyio.create_task_group() as tasks:
                for work in (follow, wait, ready):
                    tasks.start_soon(work)
                await anyio.wait_all_tasks_blocked()
                await other.create("/elsewhere")  # none of its business
                await other.create("/a")
                assert await anext(changes) == before + 2
                await other.create("/a/ready")
                await cache.wait_for(lambda: "/a/ready" in cache)
                await until(lambda: seen[-1] == before + 3)
                tasks.cancel_scope.cancel()
            assert seen == [before, before + 2, before + 3]
            # Taken late, they are one.
            for _ in range(5):
                last = await other.set("/a", b"")
            await cache.wait_revision(last.revision)
            assert await anext(changes) == last.revision

    run(backend, main)


# --- other threads: what the blocking face builds upon -----------------------------------------------


@both
def test_whoever_is_told_of_a_reply_sees_it_in_the_cache(backend: str) -> None:
    """Another thread may run as soon as its request is set: the cache must have been told before."""

    class Looker:
        seen: list[Cached | None]

        def set(self) -> None:
            self.seen = [cache.get("/a")]

    async def main() -> None:
        nonlocal cache
        async with house(1) as at, connect(at.endpoints) as client, client.cache() as cache:
            for number in range(20):
                looker = Looker()
                client._core.write(Set("/a", b"%d" % number, create=True).row(), inf, looker)
                client._link.settle()
                await until(lambda looker=looker: hasattr(looker, "seen"))
                (found,) = looker.seen
                assert found is not None
                assert found.value == b"%d" % number

    cache: Cache
    run(backend, main)


@both
def test_no_thread_is_told_of_a_revision_that_it_cannot_see(backend: str) -> None:
    async def main() -> None:
        async with house(1) as at, connect(at.endpoints) as client, client.cache() as cache:
            await client.create("/a/x", b"0", parents=True)
            ahead: list[tuple[int, int]] = []
            over = threading.Event()

            def look() -> None:
                while not over.is_set():
                    revision = cache.revision
                    found = cache.get("/a/x")
                    names = cache.children("/a")
                    if found is None or found.modified_revision < revision or names[-1:] != ["x"]:
                        ahead.append((revision, found.modified_revision if found else 0))

            reader = threading.Thread(target=look)
            reader.start()
            try:
                for number in range(300):
                    # "/a/x" is set last: the slowest moment is between the events of one revision.
                    others: list[TreeOp] = [
                        Delete(f"/a/{each}") if f"/a/{each}" in cache else Create(f"/a/{each}")
                        for each in range(number % 7)
                    ]
                    await client.multi(then=[*others, Set("/a/x", b"")])
            finally:
                over.set()
                await anyio.to_thread.run_sync(reader.join)
            assert not ahead[:1]
            assert cache.children("/a") == await client.children("/a")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        run(backend, main)
    finally:
        sys.setswitchinterval(interval)


@both
def test_in_a_namespace(backend: str) -> None:
    async def main() -> None:
        async with two() as (at, client, other):
            await other.create("/app/cfg/a", b"1", parents=True)
            app = client.namespace("/app")
            async with app.cache("/cfg") as cache, app.cache() as whole:
                await other.create("/app/cfg/b", b"2")
                await cache.wait_revision(other.revision)
                assert list(cache) == ["/cfg", "/cfg/a", "/cfg/b"]
                assert cache.children("/cfg") == ["a", "b"]
                found = cache.get("/cfg/b")
                assert found is not None
                assert (found.path, found.value) == ("/cfg/b", b"2")
                await whole.wait_revision(other.revision)
                assert list(whole) == ["/", "/cfg", "/cfg/a", "/cfg/b"]
                async with absence(at, other):
                    await other.delete("/app/cfg", subtree=True)
                await cache.wait_for(lambda: len(cache) == 0)
                await whole.wait_for(lambda: list(whole) == ["/"])

    run(backend, main)
