"""Caches while connections break, histories are gone, members die and clients end. On both backends."""

from math import inf
from pathlib import Path
from random import Random

import anyio
import pytest

from coord.api.ops import Create, Delete, Set, TreeOp
from coord.api.paths import is_below
from coord.client import (
    ChangeKind,
    Client,
    CoordError,
    Disconnected,
    Event,
    LimitExceeded,
    Overloaded,
    SessionEnded,
    State,
    connect,
    copying,
)
from coord.client.feed import Feed
from coord.limits import MemberLimits
from tests.client.house import both, house, run
from tests.client.test_cache import content, stored, until
from tests.client.test_gaps import Interrupted, absence, two
from tests.processes import Cluster

# --- connections that break --------------------------------------------------------------------------


@both
def test_it_is_readable_while_it_is_away_and_says_so(backend: str) -> None:
    async def main() -> None:
        async with two() as (at, client, other), client.cache("/a") as cache:
            await client.create("/a", b"1")
            await at.cut(at.doors[0], shut=True)
            await until(lambda: not cache.current)
            first = cache.stale_for
            await anyio.sleep(0.05)
            assert first + 0.04 < cache.stale_for < 30
            await other.set("/a", b"2")
            found = cache.get("/a")
            assert found is not None
            assert found.value == b"1"
            assert cache.revision == 1
            at.doors[0].shut = False
            await cache.wait_revision(2)
            found = cache.get("/a")
            assert found is not None
            assert found.value == b"2"
            assert cache.current
            assert cache.stale_for == 0.0

    run(backend, main)


@both
def test_after_a_gap_the_old_copy_is_shown_until_the_new_one_is_whole(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with two() as (at, client, other):
            for path in ("/a/x", "/a/y"):
                await other.create(path, b"1", parents=True)
            async with client.cache("/a") as cache:
                looks: list[tuple[int, list[str], bool, bool]] = []
                old = cache.revision
                changes = cache.changes()
                assert await anext(changes) == old

                async def look() -> None:
                    looks.append((cache.revision, list(cache), cache.current, cache.stale_for > 0))

                Interrupted.interruptions = [look]
                async with absence(at, other):
                    await other.delete("/a/x")
                    await other.create("/a/z", b"2")
                    await other.set("/a/y", b"2")
                revision = await anext(changes)
                assert revision == cache.revision == other.revision
                assert looks == [(old, ["/a", "/a/x", "/a/y"], False, True)]
                assert content(cache) == await stored(client, "/a")
                assert cache.children("/a") == ["y", "z"]
                assert cache.current
                # One in which nothing happened is no change.
                watching = cache._copy.feed and cache._copy.feed.watching
                async with absence(at, other):
                    pass
                await until(
                    lambda: cache.current and cache._copy.feed and cache._copy.feed.watching is not watching
                )
                assert await cache.changed() == revision
                await client.set("/a/z", b"3")
                assert content(cache) == await stored(client, "/a")

    monkeypatch.setattr(copying, "Feed", Interrupted)
    run(backend, main)


@both
def test_a_client_with_no_room_for_a_listing_tries_again(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with two() as (at, client, other):
            await other.create("/a", b"1")
            async with client.cache("/a") as cache:

                async def no_room() -> None:
                    raise Overloaded("100000 requests wait to be sent")

                Interrupted.interruptions = [no_room, no_room]
                async with absence(at, other):
                    await other.set("/a", b"2")
                await cache.wait_for(lambda: (found := cache.get("/a")) and found.value == b"2")

    monkeypatch.setattr(copying, "Feed", Interrupted)
    run(backend, main)


@both
def test_a_slow_loop_pauses_its_watch_and_it_goes_on(backend: str) -> None:
    async def main() -> None:
        async with two(MemberLimits()) as (at, client, other), client.cache() as cache:
            object.__setattr__(client._core.settings, "watch_buffer", 10)
            frames = at.doors[0].frames
            # All of one revision come together: more than there is room for.
            await other.multi(then=[Create(f"/{number}") for number in range(100)])
            await other.create("/last")
            await cache.wait_for(lambda: "/last" in cache)
            assert content(cache) == await stored(other, "/")
            assert at.doors[0].frames >= frames + 2, "it was closed, and opened again"

    run(backend, main)


# --- how it ends -------------------------------------------------------------------------------------


@both
def test_when_the_session_ends_it_is_readable_and_waiting_raises(backend: str) -> None:
    async def main() -> None:
        async with house(1) as at, connect(at.endpoints, session_timeout=1.0) as client:
            await client.create("/a", b"1")
            async with client.cache("/a") as cache:
                failures: list[CoordError] = []

                async def wait() -> None:
                    try:
                        await cache.changed(cache.revision)
                    except CoordError as error:
                        failures.append(error)

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(wait)
                    at.doors[0].deaf = True
                    await client.wait_ended()
                assert isinstance(failures[0], SessionEnded)
                assert isinstance(cache.failure, SessionEnded)
                for wait_for in (
                    cache.wait_revision(5),
                    cache.wait_for(lambda: False),
                    anext(cache.changes()),
                ):
                    if wait_for is not None:
                        try:
                            await wait_for
                        except SessionEnded as error:
                            failures.append(error)
                assert len(failures) == 3, "the first change was there already"
                found = cache.get("/a")
                assert found is not None
                assert found.value == b"1"
                assert not cache.current
                assert cache.stale_for > 0
            with pytest.raises(SessionEnded):
                async with client.cache("/a"):
                    pass

    run(backend, main)


@both
def test_it_is_bounded(backend: str) -> None:
    async def main() -> None:
        async with two() as (_, client, other):
            for name in "abc":
                await other.create(f"/{name}")
            with pytest.raises(LimitExceeded) as caught:
                async with client.cache(limit=3):
                    pass
            assert caught.value.details == {"limit": "znodes", "maximum": 3}
            assert not list(client._core._watches)
            async with client.cache(limit=4) as cache:
                await other.delete("/a")
                await other.create("/d")
                await cache.wait_for(lambda: "/d" in cache)
                await other.create("/e")
                with pytest.raises(LimitExceeded):
                    await cache.wait_for(lambda: False)
                assert isinstance(cache.failure, LimitExceeded)
                await until(lambda: not list(client._core._watches))
            assert client.state is State.ATTACHED

    run(backend, main)


@both
def test_leaving_it_leaves_nothing_behind(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client, anyio.create_task_group() as tasks:
            seen: list[int] = []
            ends: list[str] = []

            async def follow() -> None:
                async for revision in cache.changes():
                    seen.append(revision)  # noqa: PERF401 - another task looks
                ends.append("the loop ended")
                try:
                    await cache.wait_for(lambda: False)
                except Disconnected as error:
                    ends.append(error.message)

            with pytest.raises(KeyError, match="mine"):  # noqa: PT012
                async with client.cache() as cache:
                    tasks.start_soon(follow)
                    await client.create("/a")
                    await until(lambda: seen)
                    raise KeyError("mine")
            assert not list(client._core._watches)
            await until(lambda: len(ends) == 2)
            assert ends == ["the loop ended", "this cache is closed"]
            await client.create("/b")
            assert list(cache) == ["/", "/a"], "as it was"
            assert not cache.current

            # Cancelled within, and while it is opened.
            with anyio.move_on_after(0.05) as scope:
                async with client.cache():
                    await anyio.sleep(inf)
            assert scope.cancelled_caught
            for stage in ("open", "ask"):

                async def stuck(*_: object) -> None:
                    await anyio.sleep(inf)

                with monkeypatch.context() as patched, anyio.move_on_after(0.05) as scope:
                    patched.setattr(Feed, stage, stuck)
                    async with client.cache():
                        raise AssertionError("not reached")
                assert scope.cancelled_caught
            assert not list(client._core._watches)
            assert client._core.unanswered == 0

    run(backend, main)


@both
def test_one_that_is_left_while_it_is_read_anew(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with two() as (at, client, other):
            reading, gone = anyio.Event(), anyio.Event()

            async def stuck() -> None:
                reading.set()
                try:
                    await anyio.sleep(inf)
                finally:
                    gone.set()

            async with client.cache("/a") as cache:
                Interrupted.interruptions = [stuck]
                async with absence(at, other):
                    await other.create("/a")
                await reading.wait()
            await gone.wait()
            assert not cache.current
            assert "/a" not in cache
            assert not list(client._core._watches)

    monkeypatch.setattr(copying, "Feed", Interrupted)
    run(backend, main)


@pytest.mark.parametrize("room", [True, False])
@both
def test_those_who_wait_are_told_when_the_client_goes_while_it_is_read_anew(
    backend: str, room: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with two() as (at, client, other):
            failures: list[CoordError] = []
            reading = anyio.Event()

            async def stuck() -> None:
                reading.set()
                if not room:
                    raise Overloaded("100000 requests wait to be sent")
                await anyio.sleep(inf)

            async def wait() -> None:
                try:
                    await cache.wait_for(lambda: False, deadline=inf)
                except CoordError as error:
                    failures.append(error)

            async with client.cache("/a") as cache, anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                Interrupted.interruptions = [stuck]
                async with absence(at, other):
                    pass
                await reading.wait()
                await client._link.stop()
            assert isinstance(failures[0], Disconnected)
            assert failures[0].message == "this client is closed"

    monkeypatch.setattr(copying, "Feed", Interrupted)
    monkeypatch.setattr(copying, "OVERLOADED_SECONDS", 20)
    run(backend, main)


@both
def test_one_that_outlives_its_client(backend: str) -> None:
    async def main() -> None:
        async with house() as at:
            async with connect(at.endpoints) as client:
                cache = client.cache()
                await cache.__aenter__()
                await client.create("/a")
            assert "/a" in cache
            assert isinstance(cache.failure, CoordError)
            await cache.__aexit__(None, None, None)

    run(backend, main)


# --- everything at once ------------------------------------------------------------------------------


class Writer:
    """Changes a tree at random, alone, and knows what it was at every revision."""

    def __init__(self, client: Client, dice: Random) -> None:
        self.client = client
        self.dice = dice
        self.now: dict[str, tuple[bytes, int, int, int]] = {}
        """Path -> value, version, created, modified."""
        self.states: dict[int, dict[str, tuple[bytes, int, int, int]]] = {}

    async def write(self) -> None:
        ops: list[TreeOp] = [self._op(number) for number in range(self.dice.choice((1, 1, 1, 3)))]
        result = await self.client.multi(then=[op for op in ops if op is not None])
        self.now = {path: _dated(fact, result.revision) for path, fact in self.now.items()}
        self.states[result.revision] = dict(self.now)

    def _op(self, number: int) -> TreeOp:
        dice = self.dice
        path = f"/t/{dice.choice('abc')}"
        if dice.random() < 0.6:
            path += f"/{dice.choice('abcd')}"
        known = self.now.get(path)
        if known is not None and dice.random() < 0.3:
            for each in [each for each in self.now if each == path or is_below(each, path)]:
                del self.now[each]
            return Delete(path, subtree=True)
        value = b"%d" % dice.randrange(1 << 32)
        for above in ("/t", path.rpartition("/")[0], path):
            self.now.setdefault(above, (b"", 0, -1, -1))
        _, version, created, _ = self.now[path]
        self.now[path] = (value, version + (known is not None), created, -1)
        return Set(path, value, create=True, parents=True)


def _dated(fact: tuple[bytes, int, int, int], revision: int) -> tuple[bytes, int, int, int]:
    """What was made or set in the last write has its revision only now."""
    value, version, created, modified = fact
    return value, version, revision if created < 0 else created, revision if modified < 0 else modified


@pytest.mark.parametrize("seed", [1, 2])
@both
def test_it_is_exact_at_every_revision_through_gaps_and_cuts(
    backend: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = Random(seed)
    monkeypatch.setattr("coord.client.core.endpoints.PAUSE_MAX_SECONDS", 0.02)

    async def main() -> None:
        async with (
            two(MemberLimits(history_revisions=30)) as (at, client, other),
            client.cache("/t") as cache,
            client.cache("/t", values=False) as second,
            anyio.create_task_group() as tasks,
        ):
            door = at.doors[0]
            writer = Writer(other, dice)
            writer.states[0] = {}
            looks: list[tuple[int, dict[str, tuple[bytes, int, int, int]]]] = []
            feeds: dict[int, object] = {}  # kept, for the place of one that is gone may be another's

            def look() -> None:
                feeds[id(cache._copy.feed)] = cache._copy.feed
                looks.append(
                    (
                        cache.revision,
                        {
                            path: (each.value, each.version, each.created_revision, each.modified_revision)
                            for path, each in content(cache).items()
                        },
                    )
                )

            async def follow() -> None:
                async for _ in cache.changes():
                    look()

            tasks.start_soon(follow)

            async def write(times: int) -> None:
                for _ in range(times):
                    await writer.write()
                    look()

            for _ in range(10):
                for _ in range(4):
                    await write(dice.randint(1, 10))
                    await at.cut(door)
                await until(lambda: cache.current)
                await at.cut(door, shut=True)
                await write(dice.choice((10, 60)))
                door.shut = False
                while not cache.current:
                    await write(1)
            assert len(feeds) > 2, "gaps did happen"
            for each in (cache, second):
                await each.wait_revision(other.revision)
            look()
            wrong = [(revision, found) for revision, found in looks if found != writer.states.get(revision)]
            assert not wrong[:1], (seed, writer.states.get(wrong[0][0]))
            assert looks[-1][1] == writer.now
            assert list(second) == sorted(writer.now)
            assert len({revision for revision, _ in looks}) > 60, "it did follow"
            tasks.cancel_scope.cancel()

    run(backend, main)


# --- real members ------------------------------------------------------------------------------------


FAILOVERS = 3


@pytest.mark.processes
@both
def test_a_cache_and_a_watch_across_failovers_agree_with_the_log(backend: str, tmp_path: Path) -> None:
    async def main() -> None:
        with anyio.fail_after(120):
            async with (
                connect(cluster.endpoints, deadline=inf) as client,
                client.watch("/t", "subtree") as events,
                client.cache("/t") as cache,
                anyio.create_task_group() as tasks,
            ):
                session, writer = client.session_id, Writer(client, Random(7))
                seen: list[Event] = []
                looks: list[tuple[int, list[str]]] = []

                async def follow_events() -> None:
                    async for event in events:
                        seen.append(event)  # noqa: PERF401 - another task looks

                async def follow_cache() -> None:
                    async for revision in cache.changes():
                        looks.append((revision, list(cache)))  # noqa: PERF401

                async def write() -> None:
                    while True:
                        await writer.write()

                for work in (follow_events, follow_cache):
                    tasks.start_soon(work)
                async with anyio.create_task_group() as writing:
                    writing.start_soon(write)
                    for failover in range(FAILOVERS):
                        # In turn the member that the client is at, and the leader.
                        victim = int((await client.status())["leader"]) if failover % 2 else client.member
                        member = cluster.members[victim - 1]
                        written = len(writer.states)
                        await anyio.to_thread.run_sync(member.kill)
                        await until(lambda written=written: len(writer.states) > written + 20)
                        member.start()
                        await anyio.to_thread.run_sync(member.wait_serving)
                    writing.cancel_scope.cancel()
                await client.set("/t/end", b"", create=True)
                await until(lambda: seen and seen[-1].path == "/t/end")
                tasks.cancel_scope.cancel()
                assert client.session_id == session
                assert content(cache) == await stored(client, "/t")
                log = [
                    (entry.revision, entry.kind, entry.path, entry.value)
                    for entry in await client.log("/t", from_revision=1, limit=10_000)
                ]
                assert [(each.revision, each.kind, each.path, each.value) for each in seen] == log
                paths: set[str] = set()
                states: dict[int, list[str]] = {}
                for revision, kind, path, _ in log:
                    (paths.discard if kind is ChangeKind.DELETED else paths.add)(path)
                    states[revision] = sorted(paths)
                wrong = [(revision, found) for revision, found in looks if found != states.get(revision, [])]
                assert not wrong[:1]

    with Cluster(tmp_path) as cluster:
        anyio.run(main, backend=backend)
