"""The recipes while leaders die and clients are paused: three members, and something happens to them all the time."""

from collections.abc import Awaitable, Callable
from random import Random

import anyio
import pytest

from coord.client import Client, SessionEnded
from coord.recipes import membership
from coord.recipes.barrier import DoubleBarrier
from coord.recipes.counter import Counter, Sequence
from coord.recipes.latch import Latch
from coord.recipes.membership import Change, Lost, What
from coord.testing import Cluster
from tests.recipes.house import both, clients, run

ROUNDS = 3
"""One of each harm."""
DEADLINE = 60.0


async def under_fire(cluster: Cluster, work: list[Callable[[], Awaitable[object]]]) -> None:
    """Do ``work`` while leaders are killed, paused and cut off, one after the other."""
    done = anyio.Event()

    async def burn() -> None:
        dice = Random(7)
        for number in range(ROUNDS):
            leader = await anyio.to_thread.run_sync(cluster.wait_leader)
            harm, repair = (
                (cluster.kill, cluster.restart),
                (cluster.pause, cluster.resume),
                (cluster.cut_off, cluster.heal),
            )[number % 3]
            await anyio.to_thread.run_sync(harm, leader)
            await anyio.sleep(0.4 + dice.random() * 0.3)
            await anyio.to_thread.run_sync(repair, leader)
        done.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(burn)
        for each in work:
            tasks.start_soon(each)
    assert done.is_set()


@both
def test_everything_counts_once(backend: str, coord_cluster: Cluster) -> None:
    async def main() -> None:
        async with clients(coord_cluster, 3, session_timeout=20) as several:
            numbers: list[int] = []
            ids: list[int] = []
            missing: list[int] = []

            async def count(client: Client, amount: int) -> None:
                counter, sequence = Counter(client, "/n"), Sequence(client, "/ids", block=3)
                latch = Latch(client, "/latch", 3 * 2 * 60)
                for _ in range(60):
                    numbers.append(await counter.add(amount, deadline=DEADLINE))
                    ids.append(await sequence.next(deadline=DEADLINE))
                    missing.append(await latch.count_down(deadline=DEADLINE))
                    await anyio.sleep(0.02)

            def counting(client: Client, amount: int) -> Callable[[], Awaitable[object]]:
                return lambda: count(client, amount)

            work = [counting(client, amount) for client in several for amount in (1, 5)]
            waiting = [lambda: Latch(several[0], "/latch", 360).wait(deadline=DEADLINE)]
            await under_fire(coord_cluster, [*work, *waiting])
            assert max(numbers) == await Counter(several[0], "/n").get() == 3 * 60 * (1 + 5)
            assert len(set(numbers)) == len(numbers) == 360
            assert len(set(ids)) == 360
            assert sorted(missing) == list(range(360))

    run(backend, main, 90)


@both
def test_rounds_keep_together(backend: str, coord_cluster: Cluster) -> None:
    async def main() -> None:
        async with clients(coord_cluster, 3, session_timeout=20) as several:
            came = [0, 0, 0]
            went = [0, 0, 0]

            async def party(number: int) -> None:
                for turn in range(1, 13):
                    barrier = DoubleBarrier(several[number], "/b", 3, deadline=DEADLINE)
                    came[number] = turn
                    await barrier.enter()
                    assert min(came) == turn
                    await anyio.sleep(0.05)
                    went[number] = turn
                    await barrier.leave()
                    assert min(went) == turn

            work: list[Callable[[], Awaitable[object]]] = [lambda number=n: party(number) for n in range(3)]  # type: ignore[misc]
            await under_fire(coord_cluster, work)
            assert went == [12, 12, 12]
            assert await several[0].children("/b") == []

    run(backend, main, 90)


@both
def test_changes_tell_the_roster(backend: str, coord_cluster: Cluster) -> None:
    """Whoever adds up the changes has the roster, whatever happened meanwhile."""

    async def main() -> None:
        async with clients(coord_cluster, 3, session_timeout=20) as several:
            found: list[Change] = []
            looking = anyio.Event()

            async def come_and_go(number: int) -> None:
                dice = Random(number)
                await looking.wait()
                for turn in range(10):
                    async with membership.join(
                        several[number], "/w", f"{number}", {"turn": turn}, deadline=DEADLINE
                    ) as me:
                        await anyio.sleep(dice.random() * 0.1)
                        await me.update({"turn": turn, "late": True}, deadline=DEADLINE)
                    await anyio.sleep(dice.random() * 0.1)
                await several[number].create(f"/done/{number}", parents=True, deadline=DEADLINE)

            async def look() -> None:
                there: set[str] = set()
                async with (
                    membership.observe(several[0], "/w", deadline=DEADLINE) as group,
                    group.changes() as changes,
                    membership.join(several[0], "/w", "end", deadline=DEADLINE),
                ):
                    looking.set()
                    async for change in changes:
                        found.append(change)
                        name = change.member.name
                        assert (name in there) == (change.what is not What.JOINED)
                        there ^= {name} if change.what in (What.JOINED, What.LEFT) else set()
                        assert {member.name for member in changes.roster} == there
                        if len(found) == 1 + 3 * 3 * 10:
                            break

            work: list[Callable[[], Awaitable[object]]] = [lambda n=n: come_and_go(n) for n in range(3)]  # type: ignore[misc]
            await under_fire(coord_cluster, [look, *work])
            for number in range(3):
                mine = [
                    (each.what.value, each.member.attributes["turn"])
                    for each in found
                    if each.member.name == str(number)
                ]
                assert mine == [(what, turn) for turn in range(10) for what in ("joined", "updated", "left")]

    run(backend, main, 90)


@both
def test_a_process_that_was_stopped_is_out_when_it_wakes(backend: str, coord_cluster: Cluster) -> None:
    """The whole event loop stands still for longer than the session, as after SIGSTOP: its block is cancelled
    before it does anything else, and others have seen it expire.
    """

    async def main() -> None:
        import time

        async with clients(coord_cluster, 1, session_timeout=0.5) as [stopped]:
            acted: list[str] = []

            async def work() -> None:
                async with membership.join(stopped, "/w", "a"):
                    await anyio.sleep(0.05)
                    time.sleep(1.2)
                    await stopped.set("/w", b"by a ghost")
                    acted.append("ghost")

            with pytest.raises((Lost, SessionEnded)) as caught:
                await work()
            assert isinstance(caught.value, Lost)
            assert acted == []

    run(backend, main)
