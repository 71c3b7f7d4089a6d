"""Ends of tasks and of attempts: fenced, told, cancelled, expired."""

from dataclasses import replace

import anyio
import pytest

from coord.client import Client, InvalidRequest, connect
from coord.recipes.queue import Queue, Status, TaskCancelled, TaskExpired
from coord.recipes.queue.record import decode_dead
from coord.recipes.queue.running import Changed, Done, Lost
from coord.testing import Cluster
from tests.recipes.house import run
from tests.recipes.queue.hand import Hand
from tests.recipes.queue.shop import app, double
from tests.recipes.queue.test_queue import with_hand


def test_an_attempt_that_failed_is_written_down_and_made_again(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        task = await queue.enqueue(double.call(1).with_(unique="u"))
        running = await hand.take()
        assert running.attempt == 1
        before = client.revision
        assert isinstance(await hand.again(running, 60_000), Done)
        assert client.revision == before + 1
        assert await task.status() == Status.DELAYED
        record = await task.record()
        assert record is not None
        assert [(each.n, each.worker, each.failure.message) for each in record.history] == [(1, "w1", "no")]
        await client.hold_back(task.path, 0)
        second = await hand.take()
        assert (second.attempt, second.version, second.record.unique) == (2, 1, "u")
        assert isinstance(await hand.complete(running), Lost)  # the first attempt, late
        assert isinstance(await hand.again(second), Done)
        third = await hand.take()
        assert third.attempt == 3
        assert isinstance(await hand.complete(third, b"2"), Done)
        assert (await task.ended()).attempts == 3
        assert (await queue.enqueue(double.call(1).with_(unique="u"))).new

    with_hand(member, main)


def test_an_attempt_whose_worker_died_counts_and_its_late_end_does_not(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        task = await queue.enqueue(double.call(1))
        async with connect(member.endpoints, namespace=client.root) as other:
            first = await Hand(other, app).take()
        second = await hand.take()
        assert (second.lost, second.attempt) == (1, 2)
        assert isinstance(await hand.complete(replace(first)), Lost)
        assert isinstance(await hand.again(first, 1), Lost)
        assert await task.status() == Status.RUNNING
        assert isinstance(await hand.again(second), Done)
        third = await hand.take()
        assert (third.record.attempts, third.lost, third.attempt) == (1, 1, 3)

    with_hand(member, main)


def test_a_task_that_is_handed_back_is_the_next_and_that_is_no_attempt(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        await queue.enqueue_many([double.call(1), double.call(2)])
        taken = await hand.take_grant()
        assert taken is not None
        grant, first = taken
        await grant.release()
        again = await hand.take()
        assert (again.id, again.attempt) == (first.id, 1)

    with_hand(member, main)


def test_somebody_wrote_the_record_by_hand(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        task = await queue.enqueue(double.call(1))
        value = (await client.get(task.path)).value
        await client.set(task.path, value)
        running = await hand.take()
        answer = await hand.complete(running)
        assert isinstance(answer, Changed)
        assert isinstance(await hand.again(running.changed(answer)), Done)
        running = await hand.take()
        assert running.version == 2  # it is known again
        assert isinstance(await hand.complete(running), Done)

    with_hand(member, main)


def test_cancelling(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        task = await queue.enqueue(double.call(1).with_(unique="u", deadline=60))
        assert await task.cancel()
        with pytest.raises(TaskCancelled):
            await task.result()
        assert not await task.cancel()
        assert await client.exists(task.paths.begin_by(task.id)) is None
        assert await client.exists(task.paths.unique("u")) is None

        task = await queue.enqueue(double.call(1))
        running = await hand.take()
        assert await task.cancel()
        assert await task.cancel()  # it runs still
        assert await client.children(task.paths.all_cancel) == [task.id]
        assert await task.status() == Status.RUNNING
        await hand.fail(running, "cancelled")
        assert await client.children(task.paths.all_cancel) == []
        assert not await task.cancel()

        task = await queue.enqueue(double.call(1))
        running = await hand.take()
        await hand.again(running, 60_000)
        assert await task.cancel()
        assert (await task.ended()).attempts == 1
        assert not await queue.task(task.reference).cancel()

    with_hand(member, main)


def test_cancelling_meets_a_change(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        parent = await queue.enqueue(double.call(1))
        found: list[bool] = []

        async def cancel() -> None:
            found.append(await parent.cancel())

        async def follow() -> None:
            await queue.enqueue(double.call(2).with_(after=parent, on="finish"))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(follow)
            tasks.start_soon(cancel)
        assert found == [True]
        for _ in range(5):  # whoever came before the end and whoever came after it
            assert (await hand.inputs(await hand.take()))[0].outcome == "cancelled"
        assert await hand.nothing()

    with_hand(member, main)


def test_a_deadline(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        task = await queue.enqueue(double.call(1).with_(deadline=60))
        assert not await task.expire()
        await client.delete(task.paths.begin_by(task.id))  # as its time does
        assert await task.expire()
        with pytest.raises(TaskExpired):
            await task.result()
        assert not await task.expire()
        task = await queue.enqueue(double.call(1).with_(deadline=0.02))
        while await client.exists(task.paths.begin_by(task.id)) is not None:
            await anyio.sleep(0.01)
        assert await task.status() == Status.WAITING
        await hand.take()
        assert not await task.expire()  # who runs it has looked

    with_hand(member, main)


def test_a_dead_letter_has_all_that_is_needed(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        task = await queue.enqueue(double.call(1).with_(needs={"gpu"}, headers={"trace": "1"}))
        running = await hand.take(needs="gpu")
        await hand.again(running)
        await hand.fail(await hand.take(needs="gpu"))
        dead = decode_dead((await client.get(task.paths.dead(task.id))).value)
        assert (dead.needs, dead.ended.attempts, dead.record.attempts) == ("gpu", 2, 1)
        assert dead.record.arguments == b'{"number":1}'
        assert dead.record.headers == {"trace": "1"}

    with_hand(member, main)


def test_progress_is_told_until_the_end(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        task = await queue.enqueue(double.call(1))
        running = await hand.take()
        path = task.paths.progress(task.id)
        await client.create(path, b"1", ttl=60)
        seen: list[object] = []
        async for report in task.progress():
            seen.append(report)
            if report == 3:
                await hand.complete(running)
            else:
                await client.set(path, str(report + 1).encode())
        assert seen == [1, 2, 3]
        assert await client.exists(path) is None
        assert [each async for each in task.progress()] == []
        task = await queue.enqueue(double.call(1))
        async with task.progress() as reports:
            await hand.fail(await hand.take(), "cancelled")
            assert [each async for each in reports] == []
            with pytest.raises(InvalidRequest):
                await reports.__aenter__()


def test_the_last_report_and_the_end_may_come_at_once(member: Cluster) -> None:
    """Both watches have something to tell when their reader looks: neither is lost."""

    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        for _ in range(20):
            task = await queue.enqueue(double.call(1))
            running = await hand.take()
            path = task.paths.progress(task.id)
            await client.create(path, b"1", ttl=60)
            async with task.progress() as reports:
                await client.set(path, b"2")
                await hand.complete(running)
                assert [each async for each in reports] == [1, 2]

    with_hand(member, main, "trio")  # asyncio cancels who comes second before it has taken anything


def test_a_result_that_comes_while_it_is_awaited_elsewhere(member: Cluster) -> None:
    """By a handle that knows nothing of the task but its reference, and by many at a time."""

    async def main() -> None:
        async with (
            connect(member.endpoints, namespace="/awaited") as client,
            connect(member.endpoints, namespace="/awaited") as other,
        ):
            task = await Queue(client, app).enqueue(double.call(1))
            found: list[int] = []

            async def wait() -> None:
                found.append(await Queue(other, app).task(task.reference).result())

            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(wait)
                await anyio.sleep(0.02)
                hand = Hand(client, app)
                await hand.complete(await hand.take(), b"2")
            assert found == [2] * 5

    run("trio", main)
