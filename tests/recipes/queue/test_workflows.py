"""Chains, groups, and what comes after what is there already."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio
import pytest

from coord.client import Client
from coord.recipes.queue import Queue, Status, TaskFailed, TaskSkipped, UnknownTask, chain, group
from coord.recipes.queue.ending import end
from coord.recipes.queue.plan import carry_out
from coord.recipes.queue.running import Changed, Done
from coord.testing import Cluster
from tests.recipes.queue.hand import Hand, ended
from tests.recipes.queue.shop import double, forget, total
from tests.recipes.queue.test_queue import with_hand

Main = Callable[[Client, Queue, Hand], Awaitable[None]]


async def work(hand: Hand, queue: str = "default") -> int:
    """Run what there is, as a worker does; returns how many."""
    count = 0
    while (running := await hand.next(queue)) is not None:
        count += 1
        inputs = await hand.inputs(running) if running.record.after else []
        if running.record.on == "success" and not all(each.succeeded for each in inputs):
            await hand.fail(running, "skipped")
            continue
        function = hand.app.tasks[running.record.task]
        value = function.function(**await hand.arguments(running))
        await hand.complete(running, function.signature.encode_result(value))
    return count


def test_a_chain_passes_results_on(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        task = await queue.enqueue(chain(double.call(1), double.call(10), double.call(more=100)))
        assert await task.status() == Status.AWAITING
        assert await work(hand) == 3
        assert await task.result() == 2 * (2 * 2 + 10) + 100
        assert await client.children(task.paths.all_inputs) == []

    with_hand(member, main)


def test_what_follows_a_group_has_the_list_of_results(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        task = await queue.enqueue(
            group([chain(double.call(n), double.call()) for n in range(4)]).then(total.call())
        )
        assert await work(hand) == 9
        assert await task.result() == 4 * (0 + 1 + 2 + 3)
        many = await queue.enqueue(chain(double.call(3), group([double.call(n) for n in range(3)])))
        assert await work(hand) == 4
        assert await many.result() == [12, 13, 14]  # type: ignore[comparison-overlap]
        none = await queue.enqueue(chain(double.call(3), forget.call().ignoring_inputs()))
        assert await work(hand) == 2
        assert await none.status() == Status.UNKNOWN
        crossed = await queue.enqueue(
            chain(group([double.call(1), double.call(2)]), group([total.call(), total.call()]))
        )
        assert await work(hand) == 4
        assert await crossed.result() == [6, 6]  # type: ignore[comparison-overlap]

    with_hand(member, main)


def test_the_last_two_of_a_group_may_end_in_any_order(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        task = await queue.enqueue(group([double.call(n) for n in range(20)]).then(total.call()))
        running = [await hand.take() for _ in range(20)]
        assert await hand.nothing()

        async def complete(n: int) -> None:
            assert isinstance(await hand.complete(running[n], str(n).encode()), Done)

        async with anyio.create_task_group() as tasks:
            for n in reversed(range(20)):
                tasks.start_soon(complete, n)
        assert (await hand.arguments(last := await hand.take())) == {"numbers": list(range(20))}
        assert last.id == task.id

    with_hand(member, main)


def test_many_ends_in_one_request(member: Cluster) -> None:
    """As a worker does it: each has its own conditions, and one that comes late does not hold up the others."""

    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        task = await queue.enqueue(group([double.call(n) for n in range(3)]).then(total.call()))
        running = [await hand.take() for _ in range(3)]
        late = replace(running[1], token=1)
        plans = [
            end(each, ended(each, "succeeded", b"5")) for each in (running[0], late, running[2], running[0])
        ]
        before = client.revision
        result = await client.multi(then=[each.multi() for each in plans])
        assert client.revision == before + 1
        answers = [plan.read(each) for plan, each in zip(plans, result.results, strict=True)]  # type: ignore[arg-type]
        assert [type(each).__name__ for each in answers] == ["Done", "Lost", "Done", "Lost"]
        assert await hand.nothing()
        await hand.complete(running[1], b"6")
        assert (await hand.take()).id == task.id

    with_hand(member, main)


def test_a_parent_that_fails_lets_go_at_once(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        task = await queue.enqueue(
            chain(group([double.call(1), double.call(2)]), total.call(), double.call(), double.call())
        )
        first = await hand.take()
        second = await hand.take()
        await hand.fail(first)
        skipped = await hand.take()  # the second runs still
        [told] = await hand.inputs(skipped)
        assert (told.outcome, told.failure and told.failure.traceback) == ("failed", "")
        await hand.fail(skipped, "skipped")
        await hand.complete(second, b"4")
        assert await work(hand) == 2  # the rest is skipped, one after the other
        with pytest.raises(TaskSkipped):
            await task.result()
        assert await client.children(task.paths.all_inputs) == []

    with_hand(member, main)


def test_one_that_runs_in_any_case_waits_for_all(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        task = await queue.enqueue(
            group([double.call(1), double.call(2)]).then(total.call().with_(on="finish"))
        )
        first, second = await hand.take(), await hand.take()
        await hand.fail(second)
        assert await hand.nothing()
        await hand.complete(first, b"2")
        assert await hand.arguments(running := await hand.take()) == {"numbers": [2, None]}
        assert running.id == task.id

    with_hand(member, main)


def test_a_delay_of_one_that_comes_after_begins_when_it_is_let_go(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        task = await queue.enqueue(chain(double.call(1), double.call().with_(delay=60)))
        await work(hand)
        facts = await client.claim_info(task.path)
        assert 50_000 < (facts.held_back_ms or 0) <= 60_000
        assert await task.status() == Status.DELAYED

    with_hand(member, main)


def test_a_dependent_that_was_cancelled_or_deleted_holds_nobody_up(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        first = await queue.enqueue(chain(double.call(1), double.call()))
        second = await queue.enqueue(chain(double.call(1), double.call()))
        assert await first.cancel()
        assert await first.status() == Status.CANCELLED
        await client.delete(second.path)  # by hand: its inputs stay
        assert await work(hand) == 2

    with_hand(member, main)


def test_after_tasks_that_are_there_already(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        done = await queue.enqueue(double.call(1))
        await hand.complete(await hand.take(), b"2")
        runs = await queue.enqueue(double.call(2))
        running = await hand.take()
        waits = await queue.enqueue(double.call(3))
        task = await queue.enqueue(total.call([9]).with_(after=[done, runs, waits]))
        assert await task.status() == Status.AWAITING

        # The end that the worker had in mind knows nothing of the new one.
        answer = await hand.complete(running, b"4")
        assert isinstance(answer, Changed)
        running = running.changed(answer)
        assert isinstance(await hand.complete(running, b"4"), Done)
        assert await task.status() == Status.AWAITING
        assert await work(hand) == 2
        assert await task.result() == 9

        after_all = await queue.enqueue(total.call([1]).with_(after=[done, runs]))
        assert await after_all.status() == Status.WAITING
        assert [each.value for each in await hand.inputs(await hand.take())] == [b"2", b"4"]

    with_hand(member, main)


def test_after_one_that_has_failed_or_is_forgotten(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        failed = await queue.enqueue(double.call(1))
        await hand.fail(await hand.take())
        waits = await queue.enqueue(double.call(3).with_(priority=9))
        skipped = await queue.enqueue(double.call(1).with_(after=[failed, waits], delay=60))
        anyway = await queue.enqueue(double.call(1).with_(after=failed, on="finish"))
        assert await skipped.status() == Status.WAITING  # there is nothing to wait for
        assert await work(hand) == 3
        with pytest.raises(TaskSkipped):
            await skipped.result()
        assert await anyway.result() == 2
        with pytest.raises(TaskFailed):
            await failed.result()
        forgotten = await queue.enqueue(forget.call())
        await work(hand)
        with pytest.raises(UnknownTask):
            await queue.enqueue(double.call(1).with_(after=[anyway, forgotten]))

    with_hand(member, main)


def test_with_a_key_it_comes_after_all_the_same(member: Cluster) -> None:
    """Also where the key is taken over from a task that was deleted by hand, which is asked for in a second request."""

    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        parent = await queue.enqueue(double.call(1))
        call = double.call(1).with_(unique="u", after=parent)
        first = await queue.enqueue(call)
        assert not (await queue.enqueue(call)).new
        await client.delete(first.path)
        second = await queue.enqueue(call)
        assert second.new
        assert await second.status() == Status.AWAITING
        assert await work(hand) == 2
        assert await second.result() == 2

    with_hand(member, main)


def test_many_who_come_after_one_at_a_time(member: Cluster) -> None:
    """They all change one record: each meets the others, reads again, and is not lost."""

    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        parent = await queue.enqueue(double.call(1))

        async def follow(n: int) -> None:
            await queue.enqueue(double.call(n).with_(after=parent))

        async with anyio.create_task_group() as tasks:
            for n in range(12):
                tasks.start_soon(follow, n)
        running = await hand.take()
        assert len(running.record.then) == 12
        assert running.version == 12
        assert isinstance(await carry_out(client, end(running, ended(running, "succeeded"))), Done)
        assert await work(hand) == 12

    with_hand(member, main)
