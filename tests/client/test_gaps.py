"""Watches whose history is gone: what their users are told instead. Over real sockets, on both backends."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import Any

import anyio
import pytest

from coord.client import ChangeKind, Client, Event, Gap, InvalidRequest, LimitExceeded, Reason, connect
from coord.client import watch as watch_module
from coord.client.core.mirror import Mirror
from coord.client.feed import Feed
from coord.limits import MemberLimits
from tests.client.house import House, both, house, run

HISTORY = 5
LIMITS = MemberLimits(history_revisions=HISTORY)

CREATED, SET, DELETED = ChangeKind.CREATED, ChangeKind.SET, ChangeKind.DELETED


@asynccontextmanager
async def two(limits: MemberLimits = LIMITS) -> AsyncIterator[tuple[House, Client, Client]]:
    """A client at the first door, and another one at the second, which stays open."""
    async with (
        house(2, limits) as at,
        connect(at.endpoints[:1], session_timeout=60.0, discover=False) as client,
        connect(at.endpoints[1:], discover=False) as other,
    ):
        yield at, client, other


@asynccontextmanager
async def absence(at: House, other: Client) -> AsyncIterator[None]:
    """The client at the first door is away, for longer than the history reaches."""
    await at.cut(at.doors[0], shut=True)
    yield
    for _ in range(HISTORY + 1):
        await other.set("/elsewhere", b"", create=True)
    at.doors[0].shut = False


def told(event: Event) -> tuple[ChangeKind, str, bytes | None, int]:
    return event.kind, event.path, event.value, event.version


@both
def test_the_difference_is_told_as_events(backend: str) -> None:
    async def main() -> None:
        async with two() as (at, client, other):
            for path in ("/a/same", "/a/set", "/a/gone/below", "/a/again/below", "/beside"):
                await other.create(path, b"1", parents=True)
            async with client.watch("/a", "subtree") as events:
                await other.set("/a/set", b"2")
                assert told(await anext(events)) == (SET, "/a/set", b"2", 1)
                resume = events.next_revision
                async with absence(at, other):
                    await other.set("/a/set", b"3")
                    await other.set("/a/set", b"4")
                    await other.delete("/a/gone", subtree=True)
                    await other.delete("/a/again", subtree=True)
                    await other.create("/a/again/below", b"5", parents=True)
                    await other.create("/a/new/below", b"6", parents=True)
                    await other.create("/a/came", b"and went")
                    await other.delete("/a/came")
                    await other.set("/beside", b"2")
                seen = [await anext(events)]
                assert events.next_revision == resume, "half of a difference cannot be resumed"
                seen += [await anext(events) for _ in range(8)]
                assert [told(event) for event in seen] == [
                    (DELETED, "/a/gone/below", None, 0),
                    (DELETED, "/a/gone", None, 0),
                    (DELETED, "/a/again/below", None, 0),
                    (DELETED, "/a/again", None, 0),
                    (CREATED, "/a/again", b"", 0),
                    (CREATED, "/a/again/below", b"5", 0),
                    (CREATED, "/a/new", b"", 0),
                    (CREATED, "/a/new/below", b"6", 0),
                    (SET, "/a/set", b"4", 3),
                ]
                revision = seen[0].revision
                assert {(event.revision, event.reason, event.session) for event in seen} == {
                    (revision, Reason.RELISTED, 0)
                }
                assert events.next_revision == revision + 1
                assert events._mirror is not None
                assert not [each for each in events._mirror.entries.values() if each.kept_value is not None]
                # And it is a watch as any other.
                written = await other.set("/a/same", b"2")
                event = await anext(events)
                assert (event.revision, event.reason) == (written.revision, Reason.REQUEST)
                async with absence(at, other):
                    await other.delete("/a/same")
                assert told(await anext(events)) == (DELETED, "/a/same", None, 1)

    run(backend, main)


@both
def test_only_what_the_watch_is_about_is_told(backend: str) -> None:
    async def main() -> None:
        async with two() as (at, client, other):
            await other.create("/a/b/c", parents=True)
            async with (
                client.watch("/a/b") as znode,
                client.watch("/a/b", "children") as children,
                client.watch("/missing") as missing,
            ):
                async with absence(at, other):
                    await other.set("/a/b", b"1")
                    await other.set("/a/b/c", b"2")
                    await other.create("/a/b/c/d")
                    await other.create("/missing", b"3")
                assert told(await anext(znode)) == (SET, "/a/b", b"1", 1)
                assert told(await anext(children)) == (SET, "/a/b/c", b"2", 1)
                assert told(await anext(missing)) == (CREATED, "/missing", b"3", 0)
                async with absence(at, other):
                    await other.delete("/a/b", subtree=True)
                    await other.delete("/missing")
                assert told(await anext(znode)) == (DELETED, "/a/b", None, 1)
                assert told(await anext(children)) == (DELETED, "/a/b/c", None, 1)
                assert told(await anext(missing)) == (DELETED, "/missing", None, 0)

    run(backend, main)


@both
def test_a_gap_in_which_nothing_happened_there_is_nothing_to_its_user(backend: str) -> None:
    async def main() -> None:
        async with two() as (at, client, other):
            await other.create("/a")
            async with client.watch("/a") as events:
                feed = events._feed
                seen: list[Event] = []

                async def take() -> None:
                    seen.append(await anext(events))

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(take)
                    async with absence(at, other):
                        pass
                    while events._feed is feed:
                        await anyio.sleep(0.01)
                    await client.set("/a", b"after")
                (event,) = seen
                assert (told(event), event.reason) == ((SET, "/a", b"after", 1), Reason.REQUEST)

    run(backend, main)


@both
def test_it_raises_where_that_was_asked_for(backend: str) -> None:
    async def main() -> None:
        async with two() as (at, client, other), client.watch("/a", on_gap="raise") as events:
            frames = at.doors[0].frames
            async with client.watch("/b", on_gap="raise"):
                assert at.doors[0].frames == frames + 1, "it costs no listing"
            await other.create("/a")
            async with absence(at, other):
                await other.set("/a", b"1")
            assert told(await anext(events)) == (CREATED, "/a", b"", 0)
            with pytest.raises(Gap):
                await anext(events)
            with pytest.raises(InvalidRequest, match="on_gap is one of relist, raise"):
                async with client.watch("/a", on_gap="ignore"):  # type: ignore[arg-type]
                    pass

    run(backend, main)


# --- from a revision ---------------------------------------------------------------------------------


@both
def test_the_past_is_told_before_a_difference(backend: str) -> None:
    async def main() -> None:
        async with two() as (at, client, other):
            await other.create("/a", b"1")
            await other.create("/b", b"1")
            page = await other.list("/")
            await other.set("/a", b"2")
            await other.delete("/b")
            async with client.watch("/", "children", page.revision + 1) as events:
                # All of it is lost to the members before any of it is taken.
                async with absence(at, other):
                    await other.set("/a", b"3")
                    await other.create("/b", b"2")
                seen = [await anext(events) for _ in range(5)]
                assert [(told(event), event.reason) for event in seen] == [
                    ((SET, "/a", b"2", 1), Reason.REQUEST),
                    ((DELETED, "/b", None, 0), Reason.REQUEST),
                    ((SET, "/a", b"3", 2), Reason.RELISTED),
                    ((CREATED, "/b", b"2", 0), Reason.RELISTED),
                    ((CREATED, "/elsewhere", b"", HISTORY), Reason.RELISTED),
                ]

    run(backend, main)


@both
def test_from_a_revision_that_is_gone_or_not_there_yet(backend: str) -> None:
    async def main() -> None:
        async with two() as (_, client, other):
            for _ in range(HISTORY + 2):
                last = await other.set("/a", b"", create=True)
            with pytest.raises(Gap) as caught:
                async with client.watch("/a", from_revision=1):
                    pass
            assert caught.value.outcome == "refused"
            async with client.watch("/a", from_revision=last.revision + 1) as events:
                assert events.next_revision == last.revision + 1
                await other.set("/a", b"x")
                assert (await anext(events)).value == b"x"
                assert events.next_revision == last.revision + 2
            # Where nothing happened nothing tells of it, but the answer to what is asked there.
            await client.get("/a")
            async with client.watch("/quiet", from_revision=last.revision) as events:
                await other.create("/quiet")
                assert (await anext(events)).path == "/quiet"
            last = await other.set("/a", b"x")
            with pytest.raises(InvalidRequest, match="nothing yet to be watched from"):
                async with client.watch("/a", from_revision=last.revision + 2):
                    pass
            async with client.watch("/a", from_revision=last.revision + 2, on_gap="raise") as events:
                await other.set("/a", b"y")
                await other.set("/a", b"z")
                assert (await anext(events)).value == b"z"
            assert not list(client._core._watches)

    run(backend, main)


@both
def test_the_past_that_is_held_is_bounded(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with two(MemberLimits()) as (_, client, other):
            for _ in range(5):
                await other.set("/a", b"", create=True)
            with pytest.raises(LimitExceeded) as caught:
                async with client.watch("/a", from_revision=1):
                    pass
            assert caught.value.details == {"limit": "past_events", "maximum": 3}
            assert not list(client._core._watches)
            async with client.watch("/a", from_revision=3) as events:
                assert [(await anext(events)).revision for _ in range(3)] == [3, 4, 5]

    monkeypatch.setattr(watch_module, "PAST_MAX", 3)
    run(backend, main)


# --- slow users, second gaps, users who go -----------------------------------------------------------


@both
def test_a_user_who_is_much_too_slow_sees_the_tree_as_it_is(backend: str) -> None:
    async def main() -> None:
        async with two() as (_, client, other):
            object.__setattr__(client._core.settings, "watch_buffer", 4)
            replica: dict[str, bytes | None] = {}
            async with client.watch("/", "children") as events:
                for number in range(200):
                    await other.set(f"/{number % 7}", b"%d" % number, create=True)
                    if number % 11 == 0:
                        await other.delete(f"/{number % 7}")
                await other.create("/end")
                relisted = 0
                while "/end" not in replica:
                    event = await anext(events)
                    assert (event.kind is CREATED) == (event.path not in replica), event
                    relisted += event.reason is Reason.RELISTED
                    if event.kind is DELETED:
                        del replica[event.path]
                    else:
                        replica[event.path] = event.value
                assert relisted
                assert sorted(replica) == [f"/{name}" for name in await other.children("/")]

    run(backend, main)


class Interrupted(Feed):
    """What is done before a listing's questions, or before a watch is opened, once each."""

    interruptions: list[Callable[[], Awaitable[None]]] = []  # noqa: RUF012
    openings: list[Callable[[], Awaitable[None]]] = []  # noqa: RUF012

    async def open(self, from_revision: int | None, ends_at: float) -> None:
        while self.openings:
            await self.openings.pop(0)()
        await super().open(from_revision, ends_at)

    async def ask(self, *arguments: Any, **named: Any) -> Any:
        while self.interruptions:
            await self.interruptions.pop(0)()
        return await super().ask(*arguments, **named)


@both
def test_a_gap_within_a_gap(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with two() as (at, client, other):
            await other.create("/a", b"1")
            async with client.watch("/a") as events:

                async def away_again() -> None:
                    async with absence(at, other):
                        await other.set("/a", b"3")
                    # It must be told of the gap before it asks on, or the listing would be whole without the watch.
                    with anyio.fail_after(10):
                        while events._next is None or events._next.feed.watching.error is None:
                            await anyio.sleep(0.01)

                async with absence(at, other):
                    await other.set("/a", b"2")
                Interrupted.interruptions = [away_again, away_again]
                assert told(await anext(events)) == (SET, "/a", b"3", 3)
                assert not Interrupted.interruptions

    monkeypatch.setattr(watch_module, "Feed", Interrupted)
    run(backend, main)


@both
def test_a_user_who_gives_up_and_asks_again_loses_nothing(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with two() as (at, client, other):
            await other.create("/a/b", parents=True)
            async with client.watch("/a", "subtree") as events:
                async with absence(at, other):
                    await other.create("/a/c")
                for stage in (Feed.open, Feed.ask):
                    waits = anyio.Event()

                    async def stuck(self: Feed, *_: object, waits: anyio.Event = waits) -> None:
                        waits.set()
                        await anyio.sleep(inf)

                    with monkeypatch.context() as patched:
                        patched.setattr(Feed, stage.__name__, stuck)
                        async with anyio.create_task_group() as tasks:
                            tasks.start_soon(anext, events)
                            await waits.wait()
                            tasks.cancel_scope.cancel()
                assert told(await anext(events)) == (CREATED, "/a/c", b"", 0)
            assert not list(client._core._watches)

    run(backend, main)


@pytest.mark.parametrize("stage", ["openings", "interruptions"])
@both
def test_one_that_is_left_while_it_reads_anew_leaves_nothing_open(
    backend: str, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with two() as (at, client, other), anyio.create_task_group() as tasks:
            ended = anyio.Event()

            async def follow() -> None:
                async for _ in events:
                    raise AssertionError("there was nothing to be told")
                ended.set()

            async with client.watch("/a") as events:
                tasks.start_soon(follow)
                left = anyio.Event()

                async def until_left() -> None:
                    reading.set()
                    await left.wait()

                reading = anyio.Event()
                monkeypatch.setattr(Interrupted, stage, [until_left])
                async with absence(at, other):
                    pass
                await reading.wait()
            left.set()
            await ended.wait()
            assert not list(client._core._watches)

    monkeypatch.setattr(watch_module, "Feed", Interrupted)
    run(backend, main)


@both
def test_several_tasks_may_take_from_one_watch(backend: str) -> None:
    async def main() -> None:
        async with two() as (at, client, other), client.watch("/", "children") as events:
            seen: list[Event] = []

            async def take() -> None:
                seen.append(await anext(events))

            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(take)
                async with absence(at, other):
                    await other.create("/a")
                    await other.create("/b")
            assert sorted(event.path for event in seen) == ["/a", "/b", "/elsewhere"]
            assert len(list(client._core._watches)) == 1, "one of them has read anew, for all"

    run(backend, main)


@both
def test_a_part_of_the_tree_that_is_too_large_is_refused(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Small(Mirror):
        def __init__(self, *arguments: object, **named: object) -> None:
            super().__init__(*arguments, **named, limit=3)  # type: ignore[arg-type, misc]

    async def main() -> None:
        async with two() as (_, client, other):
            for name in "abc":
                await other.create(f"/{name}")
            with pytest.raises(LimitExceeded) as caught:
                async with client.watch("/", "subtree"):
                    pass
            assert caught.value.outcome == "refused"
            assert not list(client._core._watches)
            async with client.watch("/", "children") as events:
                await other.create("/d")
                assert (await anext(events)).path == "/d"
                await other.set("/b", b"")
                with pytest.raises(LimitExceeded):
                    await anext(events)

    monkeypatch.setattr(watch_module, "Mirror", Small)
    run(backend, main)


@both
def test_in_a_namespace(backend: str) -> None:
    async def main() -> None:
        async with two() as (at, client, other):
            app = client.namespace("/app")
            async with app.watch("/", "subtree") as events:
                await other.create("/app/a", b"1", parents=True)
                assert [(await anext(events)).path for _ in range(2)] == ["/", "/a"]
                async with absence(at, other):
                    await other.set("/app/a", b"2")
                    await other.create("/beside")
                assert told(await anext(events)) == (SET, "/a", b"2", 1)
                async with absence(at, other):
                    await other.delete("/app", subtree=True)
                assert [(await anext(events)).path for _ in range(2)] == ["/a", "/"]

    run(backend, main)
