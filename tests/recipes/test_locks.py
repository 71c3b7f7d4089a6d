"""Locks of all kinds against a real member: who holds them, who waits, what becomes of a block that loses its lock."""

import asyncio
from contextlib import suppress

import anyio
import pytest

from coord.client import (
    Client,
    Conflict,
    DeadlineExceeded,
    Grant,
    InvalidRequest,
    NotHeld,
    StaleToken,
    Token,
    connect,
)
from coord.recipes.held import Held
from coord.recipes.lock import Lock
from coord.recipes.multilock import MultiLock
from coord.recipes.rwlock import ReadWriteLock
from coord.recipes.scope import Lost
from coord.recipes.semaphore import Semaphore
from coord.testing import Cluster
from tests.recipes.house import both, clients, run


async def until_waiting(client: Client, path: str, number: int) -> None:
    """Until so many claims wait there: each change of them is a revision."""
    while (info := await client.claim_info(path)).waiters != number:
        await client.exists("/", at_least=info.revision + 1)


# --- one holder ------------------------------------------------------------------------------------------------------


@both
def test_one_at_a_time_in_the_order_of_asking(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as (a, b):
            order: list[int] = []
            tokens: list[Token] = []
            inside = 0

            async def contender(number: int) -> None:
                nonlocal inside
                async with Lock((a, b)[number % 2], "/l") as grant:
                    inside += 1
                    assert inside == 1
                    order.append(number)
                    tokens.append(grant.token)
                    await anyio.sleep(0.002)
                    inside -= 1

            async with anyio.create_task_group() as tasks:
                first = await Lock(a, "/l").acquire()
                for number in range(6):
                    tasks.start_soon(contender, number)
                    await until_waiting(b, "/l", number + 1)
                await first.release()
            assert order == list(range(6))
            assert tokens == sorted(set(tokens))
            assert first.token < tokens[0]
            assert await a.exists("/l") is None  # nothing is left of it

    run(backend, main)


@both
def test_two_tasks_of_one_client_exclude_each_other(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as (client,):
            lock = Lock(client, "/l")
            async with lock:
                assert await lock.try_acquire() is None
                assert await Lock(client, "/l").try_acquire() is None
            grant = await lock.try_acquire()
            assert grant is not None
            assert grant.held
            await grant.release()
            assert not grant.held
            await grant.release()  # once more is no error

    run(backend, main)


@both
def test_in_time_or_not_at_all(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as (a, b):
            async with Lock(a, "/l"):
                for deadline in (0, 0.05):
                    with pytest.raises(DeadlineExceeded) as caught:
                        await Lock(b, "/l").acquire(deadline=deadline)
                    assert caught.value.outcome == "refused"
                await until_waiting(a, "/l", 0)  # who gave up does not stand in line
            async with Lock(b, "/l").hold(deadline=5) as grant:
                assert grant.held

    run(backend, main)


@both
def test_a_cancelled_waiter_leaves_nothing_behind(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as (a, b):
            for turns in range(8):  # wherever the cancellation finds it
                async with Lock(a, "/l"):
                    with anyio.CancelScope() as scope:
                        async with anyio.create_task_group() as tasks:
                            tasks.start_soon(Lock(b, "/l").acquire)
                            for _ in range(turns):
                                await anyio.sleep(0.001 * turns)
                            scope.cancel()
                    await until_waiting(a, "/l", 0)
            async with Lock(a, "/l").hold(deadline=5):
                assert [each.session for each in (await a.claims()).claims] == [a.session_id]

    run(backend, main)


@both
def test_entering_twice(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as (client,):
            plain, again = Lock(client, "/l"), Lock(client, "/r", reentrant=True)
            async with plain:
                with pytest.raises(InvalidRequest, match="reentrant"):
                    await plain.__aenter__()
            async with again as outer:
                async with again as inner:
                    assert inner is outer
                assert outer.held
                assert await again.try_acquire() is None
            assert not outer.held
            with pytest.raises(InvalidRequest, match="entered"):
                await again.__aexit__(None, None, None)

    run(backend, main)


@both
def test_a_block_is_entered_once(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as (client, other):
            for hold in (
                lambda: Lock(client, "/l").hold(deadline=5),
                lambda: Semaphore(client, "/s", 2).hold(deadline=5),
                lambda: MultiLock(client, ["/l", "/m"]).hold(deadline=5),
            ):
                block = hold()
                async with block:
                    with pytest.raises(InvalidRequest, match="entered once"):
                        await block.__aenter__()
                with pytest.raises(InvalidRequest, match="entered once"):
                    await block.__aenter__()
            # Also while it still waits; and who did not get in may try again.
            block = Lock(client, "/l").hold(deadline=0.05)
            async with Lock(other, "/l"), anyio.create_task_group() as tasks:
                tasks.start_soon(in_vain, block)
                await until_waiting(other, "/l", 1)
                with pytest.raises(InvalidRequest, match="entered once"):
                    await block.__aenter__()
            async with block as grant:
                assert grant.held

    async def in_vain(block: Held) -> None:
        with pytest.raises(DeadlineExceeded):
            await block.__aenter__()

    run(backend, main)


@both
def test_what_cannot_be(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as (client,):
            for wrong in (None, "client"):
                for make in (
                    lambda c: Lock(c, "/l"),
                    lambda c: ReadWriteLock(c, "/l"),
                    lambda c: Semaphore(c, "/l", 2),
                    lambda c: MultiLock(c, ["/l"]),
                ):
                    with pytest.raises(InvalidRequest, match=r"is for a client of coord\.client, not for"):
                        make(wrong)
            for wrong in ("/l", None, 5):
                with pytest.raises(InvalidRequest, match="several paths"):
                    MultiLock(client, wrong)  # type: ignore[arg-type]

    run(backend, main)


def test_cancelled_by_asyncio_itself_while_it_leaves(member: Cluster) -> None:
    """Task.cancel() goes through shields: 1. three locks are being given back. 2. The task is cancelled, as often as
    somebody likes. 3. None is held on.
    """

    async def main() -> None:
        async with clients(member, 2) as (client, other):
            for turns in range(12):
                task = asyncio.create_task(hold_three(client))
                while not (await other.claim_info("/n")).holders:  # the last that it takes
                    pass
                for _ in range(turns):
                    await asyncio.sleep(0)
                for _ in range(3):
                    task.cancel()
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                with suppress(asyncio.CancelledError):
                    await task
                for path in ("/l", "/m", "/n"):
                    await (await other.claim(path, deadline=5)).release()

    async def hold_three(client: Client) -> None:
        async with MultiLock(client, ["/l", "/m", "/n"]):
            await anyio.sleep_forever()

    run("asyncio", main)


# --- what it costs ---------------------------------------------------------------------------------------------------


@both
def test_a_lock_that_goes_round_takes_one_entry_for_each_turn(backend: str, member: Cluster) -> None:
    """Who leaves and enters again does both in one frame, and one entry of the log."""
    turns = 40

    async def main() -> None:
        async with clients(member, 2) as (a, b):

            async def contender(client: Client) -> None:
                lock = Lock(client, "/l", release_nowait=True)
                for _ in range(turns):
                    async with lock as grant:
                        assert grant.held
                    assert not grant.held

            first = await Lock(a, "/l").acquire()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(contender, a)
                tasks.start_soon(contender, b)
                await until_waiting(b, "/l", 2)  # before it goes round
                before = (await a.status())["commit_index"]
                await first.release()
            taken = (await a.status())["commit_index"] - before
            # The first holder's, and one for each turn, of which the last may be on its way.
            assert 2 * turns <= taken <= 2 * turns + 1

    run(backend, main)


@both
def test_a_block_has_no_tasks_of_its_own(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as (client,):
            async with Lock(client, "/warm"):
                before = len(anyio.get_running_tasks())
            async with Lock(client, "/l"), MultiLock(client, ["/m", "/n"]), Semaphore(client, "/s", 2):
                assert len(anyio.get_running_tasks()) == before

    run(backend, main)


# --- losing it -------------------------------------------------------------------------------------------------------


@both
def test_a_block_that_loses_its_lock_by_force_is_cancelled(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as (a, b):
            grants: list[Grant] = []

            async def forced() -> None:
                async with Lock(a, "/l") as grant:
                    grants.append(grant)
                    await b.release(grant.number, force=True)
                    await anyio.sleep_forever()

            async def deleted() -> None:
                async with Lock(a, "/l"):
                    await b.delete("/l")
                    await anyio.sleep_forever()

            with pytest.raises(Lost, match="another session"):
                await forced()
            with pytest.raises(NotHeld):
                grants[0].check()
            with pytest.raises(Lost, match="deleted"):
                await deleted()

    run(backend, main)


@both
def test_a_block_ends_before_somebody_else_can_hold_its_lock(backend: str, coord_cluster: Cluster) -> None:
    """Its client is cut off: by its own clock the block is over before the service lets the next one in."""

    async def main() -> None:
        ended_at = granted_at = 0.0
        here, elsewhere = coord_cluster.member(1).endpoint, coord_cluster.member(2).endpoint
        async with (
            connect(here, session_timeout=0.6, discover=False) as short,
            connect(elsewhere, discover=False) as b,
            anyio.create_task_group() as tasks,
        ):

            async def next_one() -> None:
                nonlocal granted_at
                async with Lock(b, "/l"):
                    granted_at = anyio.current_time()

            async def cut_off() -> None:
                nonlocal ended_at
                async with Lock(short, "/l") as grant:
                    tasks.start_soon(next_one)
                    await until_waiting(b, "/l", 1)
                    coord_cluster.cut_off(1, peers=False)
                    try:
                        await anyio.sleep_forever()
                    finally:
                        ended_at = anyio.current_time()
                        assert not grant.held
                        coord_cluster.heal(1)

            with pytest.raises(Lost):
                await cut_off()
        assert 0 < ended_at < granted_at

    run(backend, main)


@both
def test_an_answer_that_comes_with_the_loss_is_had(backend: str, member: Cluster) -> None:
    """What a block has done, and is answered for, it is told, although it has lost its lock by the same step."""

    async def main() -> None:
        async with clients(member, 1) as (client,):
            done: list[object] = []

            async def block() -> None:
                async with Lock(client, "/l") as grant:
                    done.append(await client.release(grant.number))
                    await anyio.sleep_forever()

            with pytest.raises(Lost):
                await block()
            assert len(done) == 1

    run(backend, main)


@both
def test_what_is_given_up_is_not_held(backend: str, member: Cluster) -> None:
    """From the asking on, and not from the answer: somebody else may hear of it first."""

    async def main() -> None:
        async with clients(member, 2) as (a, b):
            grant = await a.claim("/l")
            with pytest.raises(Conflict):
                await grant.hand_over(grant.number)
            assert grant.held  # on
            grant.release_nowait()
            assert (grant.held, grant.remaining(), grant.over) == (False, 0.0, None)
            with pytest.raises(NotHeld, match="is being given up"):
                grant.check()
            async with Lock(b, "/l") as next_one:
                assert next_one.token > grant.token
            assert isinstance(await grant.wait_over(), NotHeld)

    run(backend, main)


@both
def test_fences(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as (a, b):
            await a.create("/data", parents=True)
            async with Lock(a, "/l") as old:
                await a.fence("/data", "/l")
                await a.fenced(old).set("/data", b"by a")
                await b.fenced(old.token).create("/data/x", b"")  # tokens may be handed on
                with pytest.raises(StaleToken):
                    await a.set("/data", b"without")
            async with Lock(b, "/l") as new:
                with pytest.raises(StaleToken) as caught:
                    await a.fenced(old).delete("/data", subtree=True)
                assert caught.value.details["token"] == new.token.revision
                await b.fenced(new).delete("/data", subtree=True)

    run(backend, main)


# --- many ------------------------------------------------------------------------------------------------------------


@both
def test_readers_share_and_writers_do_not(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as (a, b):
            one, other = ReadWriteLock(a, "/l"), ReadWriteLock(b, "/l")
            seen: list[str] = []

            async def reader(name: str) -> None:
                async with other.read:
                    seen.append(name)
                    if name == "r1":
                        await anyio.sleep(0.02)

            async def writer() -> None:
                async with other.write:
                    seen.append("w")

            async with anyio.create_task_group() as tasks, one.read:
                async with other.read:
                    assert await other.write.try_acquire() is None
                tasks.start_soon(writer)
                await until_waiting(a, "/l", 1)
                assert await other.read.try_acquire() is None, "nobody passes a writer that waits"
                for number in (1, 2):
                    tasks.start_soon(reader, f"r{number}")
                    await until_waiting(a, "/l", 1 + number)
            assert seen[0] == "w"
            assert sorted(seen) == ["r1", "r2", "w"]

            for outer, inner in ((one.read, one.write), (one.write, one.read)):
                async with outer:
                    with pytest.raises(
                        InvalidRequest, match="read/write lock /l already, and would wait for itself"
                    ):
                        await inner.__aenter__()
            async with one.write:
                pass

    run(backend, main)


@both
def test_a_semaphores_units(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as (a, b):
            mine, theirs = Semaphore(a, "/s", 3), Semaphore(b, "/s", 3)
            async with mine.hold(2), theirs:
                assert await mine.try_acquire() is None
                with pytest.raises(DeadlineExceeded):
                    await theirs.acquire(deadline=0.05)
            async with mine.hold(3):
                with pytest.raises(Conflict, match="capacity of 3") as refused:
                    await Semaphore(b, "/s", 5).acquire()
                assert refused.value.details == {"path": "/s", "capacity": 3}
                for lock in (Lock(b, "/s"), MultiLock(b, ["/r", "/s"])):
                    with pytest.raises(Conflict, match="capacity of 3, and not of 1"):
                        await lock.acquire()
                assert not await b.exists("/r")
            with pytest.raises(InvalidRequest, match="nobody could"):
                await mine.acquire(4)
            await a.claim_settings("/s", capacity=5)
            async with Semaphore(b, "/s", 5).hold(5):
                assert await Semaphore(a, "/s", 5).try_acquire() is None
            async with Lock(a, "/l"):
                for units in (1, 2):
                    with pytest.raises(Conflict, match="capacity of 1"):
                        await Semaphore(b, "/l", 5).acquire(units)

    run(backend, main)


@both
def test_a_semaphore_made_by_many_at_once(backend: str, member: Cluster) -> None:
    """And again after somebody has deleted it: never with another capacity."""

    async def main() -> None:
        async with clients(member, 2) as (a, b):
            inside = most = 0

            async def user(client: Client) -> None:
                nonlocal inside, most
                for _ in range(15):
                    async with Semaphore(client, "/s", 2):
                        inside += 1
                        most = max(most, inside)
                        await anyio.sleep(0)
                        inside -= 1

            async with anyio.create_task_group() as tasks:
                for client in (a, b, a, b):
                    tasks.start_soon(user, client)
            assert most == 2
            await a.delete("/s")
            async with anyio.create_task_group() as tasks:
                for client in (a, b, a, b):
                    tasks.start_soon(user, client)
            assert most == 2

    run(backend, main)


@both
def test_a_multilock_has_all_or_none(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as (a, b):
            async with MultiLock(a, ["/b", "/a", "/b"]) as grants:
                assert [grant.path for grant in grants] == ["/a", "/b"]
                assert await MultiLock(b, ["/0", "/b"]).try_acquire() is None
                with pytest.raises(DeadlineExceeded, match="is not free") as caught:
                    await MultiLock(b, ["/0", "/b"]).acquire(deadline=0)
                assert caught.value.outcome == "refused"
                async with MultiLock(b, ["/0", "/1"]).hold(deadline=0) as free:
                    assert [grant.held for grant in free] == [True, True]
                with pytest.raises(DeadlineExceeded, match="given back"):
                    await MultiLock(b, ["/0", "/b"]).acquire(deadline=0.05)
                # What was granted in vain is given back without waiting for the answer.
                while {each.session for each in (await b.claims()).claims} != {a.session_id}:
                    await anyio.sleep(0.001)
                assert (await b.claims("/0")).claims == ()

            locks = MultiLock(a, ["/a", "/b"])
            async with locks:
                with pytest.raises(InvalidRequest, match="would wait for itself for ever"):
                    await locks.__aenter__()
            with pytest.raises(InvalidRequest, match="is left by the task that has entered it"):
                await locks.__aexit__(None, None, None)

            async def forced() -> None:
                async with MultiLock(a, ["/a", "/b"]) as (_, second):
                    await b.release(second.number, force=True)
                    await anyio.sleep_forever()

            with pytest.raises(Lost):
                await forced()
            assert (await b.claims()).claims == ()
            with pytest.raises(InvalidRequest):
                MultiLock(a, [])

    run(backend, main)


@both
def test_multilocks_in_any_order_do_not_wait_for_ever(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as (a, b):

            async def user(client: Client, paths: list[str]) -> None:
                for _ in range(10):
                    async with MultiLock(client, paths):
                        await anyio.sleep(0)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(user, a, ["/x", "/y", "/z"])
                tasks.start_soon(user, b, ["/z", "/x"])
                tasks.start_soon(user, b, ["/y", "/z"])

    run(backend, main)
