"""Barrier and double barrier."""

from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from unittest.mock import Mock

import anyio
import pytest

from coord.client import (
    Cache,
    Cached,
    Client,
    DeadlineExceeded,
    InvalidRequest,
    SessionEnded,
    Znode,
    connect,
)
from coord.client.core.request import itself
from coord.recipes.barrier import Barrier, DoubleBarrier
from coord.testing import Cluster
from tests.recipes.house import both, clients, fresh, run


@both
def test_a_barrier(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as [one, two]:
            barrier = Barrier(one, "/a/barrier")
            await Barrier(two, "/a/barrier").wait()  # there is none
            assert await barrier.create()
            assert not await Barrier(two, "/a/barrier").create()
            passed: list[int] = []

            async def wait(number: int) -> None:
                await Barrier(two, "/a/barrier").wait()
                passed.append(number)

            async with anyio.create_task_group() as tasks:
                for number in range(3):
                    tasks.start_soon(wait, number)
                await anyio.sleep(0.05)
                assert passed == []
                assert await barrier.remove()
            assert len(passed) == 3
            assert not await barrier.remove()

    run(backend, main)


@both
def test_a_barrier_that_is_there_again_at_once(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as [one, two]:
            barrier = Barrier(one, "/barrier")
            for _ in range(10):
                await barrier.create()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(Barrier(two, "/barrier").wait)
                    await anyio.sleep(0.03)
                    tasks.start_soon(barrier.remove)
                    tasks.start_soon(barrier.create)

    run(backend, main)


@both
def test_waiting_in_vain(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            await Barrier(client, "/barrier").create()
            with pytest.raises(DeadlineExceeded, match="not removed in time") as caught:
                await Barrier(client, "/barrier").wait(deadline=1.5)
            assert caught.value.outcome == "refused"
            with pytest.raises(InvalidRequest, match="path"):
                Barrier(client, "barrier")

    run(backend, main)


@both
def test_an_ephemeral_barrier_goes_with_its_maker(backend: str, member: Cluster) -> None:
    async def main() -> None:
        space = fresh()
        async with (
            connect(member.endpoints, namespace=space) as client,
            anyio.create_task_group() as tasks,
            connect(member.endpoints, namespace=space) as maker,
        ):
            assert await Barrier(maker, "/barrier").create(ephemeral=True)
            tasks.start_soon(Barrier(client, "/barrier").wait)
            await anyio.sleep(0.02)

    run(backend, main)


async def soon(what: Callable[[], Awaitable[object]]) -> None:
    await anyio.sleep(0.05)
    await what()


class Rounds:
    """Checks: nobody is inside before all have come, nor out before all have gone."""

    def __init__(self, parties: int) -> None:
        self.parties = parties
        self.entering = self.entered = self.leaving = self.left = 0

    async def go(self, client: Client, path: str, rounds: int, dice: Random) -> None:
        for _ in range(rounds):
            barrier = DoubleBarrier(client, path, self.parties)
            await anyio.sleep(dice.random() * 0.01)
            self.entering += 1
            await barrier.enter()
            self.entered += 1
            assert self.entering >= -(-self.entered // self.parties) * self.parties
            await anyio.sleep(dice.random() * 0.01)
            self.leaving += 1
            await barrier.leave()
            self.left += 1
            assert self.leaving >= -(-self.left // self.parties) * self.parties


@both
@pytest.mark.parametrize("parties", [1, 2, 5])
def test_rounds_of_a_double_barrier(backend: str, parties: int, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as several:
            rounds, dice = Rounds(parties), Random(parties)
            async with anyio.create_task_group() as tasks:
                for number in range(parties):
                    tasks.start_soon(rounds.go, several[number % 2], "/b", 5, dice)
            assert rounds.left == 5 * parties
            assert await several[0].children("/b") == []

    run(backend, main)


@both
def test_more_than_a_round_holds(backend: str, member: Cluster) -> None:
    """Nine parties, three at a time: those who are too many wait, and nobody is inside with other than two others."""

    async def main() -> None:
        async with clients(member, 3) as several:
            inside: list[int] = []
            most = 0

            async def go(number: int) -> None:
                nonlocal most
                async with DoubleBarrier(several[number % 3], "/b", 3):
                    inside.append(number)
                    most = max(most, len(inside))
                    await anyio.sleep(0.01)
                    inside.remove(number)

            async with anyio.create_task_group() as tasks:
                for number in range(9):
                    tasks.start_soon(go, number)
            assert most == 3

    run(backend, main)


@both
def test_one_dies_while_the_others_gather(backend: str, member: Cluster) -> None:
    async def main() -> None:
        space = fresh()
        async with connect(member.endpoints, namespace=space) as client:
            entered: list[int] = []

            async def go(number: int) -> None:
                async with DoubleBarrier(client, "/b", 2):
                    entered.append(number)

            async def die() -> None:
                async with connect(member.endpoints, namespace=space) as dying:
                    end = partial(dying._core.end_session, context=dying._link.waiter())
                    tasks.start_soon(soon, lambda: dying._link.finished(end(), itself))
                    with pytest.raises(SessionEnded):
                        await DoubleBarrier(dying, "/b", 2).enter()

            async with anyio.create_task_group() as tasks:
                await die()
                tasks.start_soon(go, 1)
                await anyio.sleep(0.1)
                assert entered == []
                tasks.start_soon(go, 2)
            assert sorted(entered) == [1, 2]

    run(backend, main)


@both
def test_one_dies_inside(backend: str, member: Cluster) -> None:
    """The others leave without it; and if it was the last one in there, the next round still begins."""

    async def main() -> None:
        space = fresh()
        async with connect(member.endpoints, namespace=space) as client:
            for survivor_leaves_first in (False, True):
                mine = DoubleBarrier(client, "/b", 2)
                async with connect(member.endpoints, namespace=space) as dying:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(mine.enter)
                        tasks.start_soon(DoubleBarrier(dying, "/b", 2).enter)
                    async with anyio.create_task_group() as tasks:
                        if survivor_leaves_first:
                            tasks.start_soon(mine.leave)
                            await anyio.sleep(0.05)
                        await dying._link.finished(
                            dying._core.end_session(context=dying._link.waiter()), itself
                        )
                        if not survivor_leaves_first:
                            tasks.start_soon(mine.leave)
            rounds = Rounds(2)
            async with anyio.create_task_group() as tasks:
                for _ in range(2):
                    tasks.start_soon(rounds.go, client, "/b", 2, Random(1))

    run(backend, main)


@both
def test_who_does_not_wait_any_longer_has_gone(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as [one, two]:
            alone = DoubleBarrier(one, "/b", 2)
            with pytest.raises(DeadlineExceeded, match="all had come") as caught:
                await alone.enter(deadline=1.5)
            assert caught.value.outcome == "refused"
            assert await one.children("/b") == []
            with anyio.move_on_after(0.05):
                await alone.enter()
            assert await one.children("/b") == []

            other = DoubleBarrier(two, "/b", 2)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(alone.enter)
                tasks.start_soon(other.enter)
            with pytest.raises(DeadlineExceeded, match="before the round before had ended"):
                await DoubleBarrier(one, "/b", 2).enter(deadline=1.5)
            with pytest.raises(DeadlineExceeded, match="all had left"):
                await alone.leave(deadline=1.5)
            assert len(await one.children("/b")) == 1
            await other.leave(deadline=1)
            assert await one.children("/b") == []

    run(backend, main)


@both
def test_an_error_inside_does_not_wait_for_others(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            other = DoubleBarrier(client, "/b", 2)

            async def fail() -> None:
                async with DoubleBarrier(client, "/b", 2):
                    raise KeyError("mine")

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(other.enter)
                with pytest.raises(KeyError):
                    await fail()
                assert len(await client.children("/b")) == 1
            await other.leave(deadline=5)
            assert await client.children("/b") == []

    run(backend, main)


@both
def test_who_leaves_has_left(backend: str, member: Cluster) -> None:
    """Also one whose deadline has passed before it began to, and one whose znode somebody has deleted."""

    async def main() -> None:
        async with clients(member, 1) as [client]:
            one, other = (DoubleBarrier(client, "/b", 2) for _ in range(2))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one.enter)
                tasks.start_soon(other.enter)
            with pytest.raises(DeadlineExceeded):
                await one.leave(deadline=0)
            [left] = await client.children("/b")
            await client.delete(f"/b/{left}")
            await other.leave(deadline=5)
            assert await client.children("/b") == []

    run(backend, main)


@both
def test_the_znode_goes_while_one_waits_for_its_round(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            await DoubleBarrier(client, "/b", 1).enter()
            get = client.get

            async def gone(path: str, *, deadline: float | None = None) -> Znode:
                await client.delete(path, subtree=True)
                client.get = get  # type: ignore[method-assign]
                return await get(path, deadline=deadline)

            client.get = gone  # type: ignore[assignment, method-assign]
            async with DoubleBarrier(client, "/b", 1, deadline=5):
                assert client.get == get

    run(backend, main)


@pytest.mark.parametrize(
    ("version", "children", "over"),
    [(None, [], True), (4, ["me"], True), (4, [], True), (3, ["me"], False), (3, [], True)],
)
def test_a_round_is_over_when_nobody_is_left_in_it_or_the_next_has_begun(
    version: int | None, children: list[str], over: bool
) -> None:
    cache = Mock(spec=Cache)
    cache.get.return_value = None if version is None else Mock(spec=Cached, version=version)
    cache.children.return_value = children
    barrier = DoubleBarrier(Mock(spec=Client), "/b", 2)
    assert barrier._is_over(cache, 3) is over


@both
def test_children_that_are_no_parties(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            await client.create("/b", b"gathering 2", parents=True)
            await client.create("/b/one")
            await client.create("/b/two")
            with pytest.raises(InvalidRequest, match="2 znodes below '/b', where"):
                await DoubleBarrier(client, "/b", 2).enter(deadline=5)
            assert await client.children("/b") == ["one", "two"]

    run(backend, main)


@both
def test_what_cannot_be(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            for wrong in (0, 1.0, True):
                with pytest.raises(InvalidRequest, match="parties"):
                    DoubleBarrier(client, "/b", wrong)  # type: ignore[arg-type]
            barrier = DoubleBarrier(client, "/b", 1)
            with pytest.raises(InvalidRequest, match="has not entered"):
                await barrier.leave()
            await barrier.enter()
            with pytest.raises(InvalidRequest, match="entered already"):
                await barrier.enter()
            with pytest.raises(InvalidRequest, match="'inside 1', and not for 2 parties"):
                await DoubleBarrier(client, "/b", 2).enter()
            await barrier.leave()
            # Also when nobody is there.
            with pytest.raises(InvalidRequest, match="'inside 1', and not for 2 parties"):
                await DoubleBarrier(client, "/b", 2).enter()
            with anyio.fail_after(8), pytest.raises(DeadlineExceeded):  # the client's own is 10 s
                await DoubleBarrier(client, "/c", 2, deadline=0.5).enter()

    run(backend, main)


@both
def test_one_object_is_one_party(backend: str, member: Cluster) -> None:
    """Also while it comes, and while it leaves: else a second task would make a party that nobody knows of."""

    async def main() -> None:
        async with clients(member, 1) as [client]:
            barrier = DoubleBarrier(client, "/b", 2)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(barrier.enter)
                await anyio.wait_all_tasks_blocked()
                with pytest.raises(InvalidRequest, match="entered already"):
                    await barrier.enter()
                async with DoubleBarrier(client, "/b", 2):
                    assert len(await client.children("/b")) == 2
                    tasks.start_soon(barrier.leave)
                    await anyio.wait_all_tasks_blocked()
                    with pytest.raises(InvalidRequest, match="has not entered"):
                        await barrier.leave()
            assert await client.children("/b") == []

    run(backend, main)


@both
def test_the_session_ends_in_a_wait(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with connect(member.endpoints, namespace=fresh(), session_timeout=0.3) as client:

            async def pause() -> None:
                await anyio.sleep(0.1)
                member.pause()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(pause)
                with pytest.raises(SessionEnded):
                    await DoubleBarrier(client, "/b", 2).enter()
            member.resume()

    try:
        run(backend, main)
    finally:
        member.resume()
