"""The latch."""

from collections.abc import Callable

import anyio
import pytest

from coord.client import Client, DeadlineExceeded, InvalidRequest, SessionEnded, connect
from coord.recipes.latch import Latch
from coord.testing import Cluster
from tests.recipes.house import away, both, clients, run


async def until_it_waits(client: Client) -> None:
    """A latch of this client: its watch is open, and it has looked."""
    for _ in range(3):
        await anyio.wait_all_tasks_blocked()
        await client.exists("/")


@both
def test_it_opens_after_the_last_and_stays_open(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 3) as several:
            order: list[str] = []

            async def wait(client: Client) -> None:
                await Latch(client, "/a/latch", 3).wait()
                order.append("through")

            async with anyio.create_task_group() as tasks:
                for client in several:
                    tasks.start_soon(wait, client)
                await anyio.sleep(0.05)
                for client, missing in zip(several, (2, 1, 0), strict=True):
                    assert order == []
                    assert await Latch(client, "/a/latch", 3).count_down() == missing
            assert order == ["through"] * 3
            latch = Latch(several[0], "/a/latch", 3)
            assert await latch.count_down() == 0
            assert await latch.remaining() == 0
            await latch.wait(deadline=1)

    run(backend, main)


@both
def test_each_counts_once_when_all_come_at_a_time(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as several:
            missing: list[int] = []

            async def count(client: Client) -> None:
                missing.append(await Latch(client, "/latch", 40).count_down())

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(Latch(several[0], "/latch", 40).wait)
                for number in range(40):
                    tasks.start_soon(count, several[number % 2])
            assert sorted(missing) == list(range(40))

    run(backend, main)


@both
def test_one_who_opens_it_may_delete_it_at_once(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as [one, other]:
            latch = Latch(other, "/latch", 1)
            for _ in range(10):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(Latch(one, "/latch", 1).wait)
                    await anyio.sleep(0.02)
                    await latch.count_down()
                    await other.delete("/latch")

    run(backend, main)


@both
def test_one_who_was_away_for_long_learns_that_it_is_open(
    backend: str, coord_cluster_factory: Callable[..., Cluster]
) -> None:
    """Longer than history reaches back: it is told then as if it had been created open."""

    async def main() -> None:
        cluster = coord_cluster_factory(1, limits={"history_revisions": 5})
        async with clients(cluster, 2) as [one, two]:
            latch = Latch(two, "/latch", 3)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(Latch(one, "/latch", 3).wait)
                await until_it_waits(one)
                with away(one):
                    for _ in range(3):
                        await latch.count_down()
                    for number in range(3, 10):
                        await two.create(f"/other-{number}")

    run(backend, main)


@both
def test_waiting_in_vain(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            latch = Latch(client, "/latch", 2)
            await latch.count_down()
            with pytest.raises(DeadlineExceeded, match="was not open in time") as caught:
                await latch.wait(deadline=1.5)
            assert caught.value.outcome == "refused"
            assert await latch.remaining() == 1

    run(backend, main)


@both
def test_another_count(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            await Latch(client, "/latch", 2).count_down()
            with pytest.raises(InvalidRequest, match="another count"):
                await Latch(client, "/latch", 3).count_down()
            with pytest.raises(InvalidRequest, match="another count"):
                await Latch(client, "/latch", 3).wait()

            async def count() -> None:
                await until_it_waits(client)
                await Latch(client, "/later", 2).count_down()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(count)
                with pytest.raises(InvalidRequest, match="another count"):
                    await Latch(client, "/later", 3).wait()
            assert await Latch(client, "/latch", 2).remaining() == 1
            for wrong in (0, -1, 1.0, True, "1"):
                with pytest.raises(InvalidRequest, match="count"):
                    Latch(client, "/latch", wrong)  # type: ignore[arg-type]

    run(backend, main)


@both
def test_the_session_ends_in_a_wait(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with connect(member.endpoints, session_timeout=0.3) as client:

            async def pause() -> None:
                await anyio.sleep(0.1)
                member.pause()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(pause)
                with pytest.raises(SessionEnded):
                    await Latch(client, "/never", 1).wait()
            member.resume()

    try:
        run(backend, main)
    finally:
        member.resume()
