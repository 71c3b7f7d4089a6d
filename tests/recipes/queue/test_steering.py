"""Looking at queues, and steering them: with the real service and real workers, in this event loop."""

from collections.abc import AsyncIterator
from math import inf

import anyio
import pytest

from coord.client import Client, Conflict, DeadlineExceeded, InvalidRequest, NotFound
from coord.recipes.queue import (
    App,
    Concurrency,
    Queue,
    QueueClosed,
    Retry,
    Status,
    Task,
    UnknownTask,
    chain,
    cron,
)
from coord.recipes.queue.facts import TaskFacts
from coord.recipes.queue.inspecting import Inspector
from coord.recipes.queue.steering import BATCH, Steering
from coord.recipes.queue.worker import Worker
from coord.testing.local import LocalMember, local_member


class Shop:
    """An app, its tasks, and all there is to handle it."""

    def __init__(self, member: LocalMember, client: Client) -> None:
        self.member, self.client = member, client
        self.app = App("shop", keep=600)
        self.gate = anyio.Event()
        self.broken = True

        @self.app.task
        async def add(a: int, b: int = 1) -> int:
            return a + b

        @self.app.task
        async def wait(what: str = "") -> str:
            await self.gate.wait()
            return what

        @self.app.task(retry=Retry(times=0))
        async def fail(why: str) -> str:
            if self.broken:
                raise OSError(why)
            return why

        self.add, self.wait, self.fail = add, wait, fail
        self.queue = Queue(client, self.app)
        self.inspector = Inspector(client, self.app.layout)
        self.steering = Steering(client, self.app.layout)

    def worker(self, **arguments: object) -> Worker:
        return Worker(self.client, self.app, name="w1", **arguments)  # type: ignore[arg-type]

    async def find(self, task: Task[object]) -> TaskFacts:
        return await self.inspector.find(task.id)

    async def until(self, task: Task[object], status: Status) -> TaskFacts:
        with anyio.fail_after(20):
            while (found := await self.find(task)).status is not status:
                await anyio.sleep(0.005)
        return found

    async def drained(self) -> None:
        with anyio.fail_after(20):
            await self.worker().serve_until_drained()


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with local_member() as member, member.connect() as client:
        yield Shop(member, client)


async def test_numbers_of_a_queue(shop: Shop) -> None:
    assert await shop.inspector.queues() == []
    one = Concurrency("k", 1)
    await shop.queue.enqueue(shop.wait.call("first").with_(concurrency=one))
    for _ in range(3):
        await shop.queue.enqueue(shop.wait.call().with_(concurrency=one))
    await shop.queue.enqueue(shop.add.call(1).with_(delay=60))
    await shop.queue.enqueue(chain(shop.add.call(1).with_(needs={"gpu"}), shop.add.call()))
    ended = await shop.queue.enqueue(shop.add.call(1).with_(priority=0))
    async with shop.worker(concurrency=2):
        await ended.result()
        await anyio.sleep(0.1)
        facts = await shop.inspector.queue("default")
        shop.gate.set()
    assert (facts.running, facts.waiting, facts.blocked, facts.delayed) == (1, 1, 3, 2)
    assert (facts.enqueued, facts.ended, facts.done, facts.dead) == (8, 1, 1, 0)
    assert sorted(facts.folders) == ["-", "gpu"]
    assert not facts.paused
    assert not facts.closed
    wall_ms = shop.member.wall_time * 1000
    assert facts.oldest_ms is not None
    assert wall_ms - 20_000 < facts.oldest_ms <= wall_ms
    assert [each.name for each in await shop.inspector.queues()] == ["default"]
    with pytest.raises(NotFound, match="no queue 'mail'"):
        await shop.inspector.queue("mail")


async def test_tasks_by_status_id_and_key(shop: Shop) -> None:
    waits = await shop.queue.enqueue(shop.add.call(1).with_(unique="k", same="request-1"))
    delayed = await shop.queue.enqueue(shop.add.call(2).with_(delay=60))
    first = await shop.queue.enqueue(shop.add.call(3).with_(priority=0))
    found = await shop.inspector.tasks("default")
    assert [each.id for each in found] == [first.id, waits.id, delayed.id]
    assert [each.status for each in found] == [Status.WAITING, Status.WAITING, Status.DELAYED]
    assert 0 < (found[2].begins_in_ms or 0) <= 60_000
    assert [each.id for each in await shop.inspector.tasks("default", status=Status.DELAYED)] == [delayed.id]
    assert len(await shop.inspector.tasks("default", limit=2)) == 2
    assert await shop.inspector.holder_of("default", "k") == waits.id
    assert await shop.inspector.holder_of("default", "request-1") == waits.id
    assert await shop.inspector.holder_of("default", "other") is None
    assert (await shop.inspector.find(waits.reference)).task == "add"
    with pytest.raises(InvalidRequest, match="a task's id looks like"):
        await shop.inspector.find("7")
    with pytest.raises(UnknownTask):
        await shop.inspector.find(waits.id[:-1] + ("0" if waits.id[-1] != "0" else "1"))


async def test_one_task_while_it_runs_and_when_it_has_ended(shop: Shop) -> None:
    task = await shop.queue.enqueue(shop.wait.call("x"))
    async with shop.worker():
        found = await shop.until(task, Status.RUNNING)
        assert found.worker
        assert found.since_ms
        assert found.record is not None
        assert found.record.arguments == b'{"what":"x"}'
        [w1] = await shop.inspector.workers()
        assert w1.name == "w1"
        shop.gate.set()
        ended = (await shop.until(task, Status.SUCCEEDED)).ended
    assert ended is not None
    assert (ended.value, ended.worker, ended.attempts) == (b'"x"', "w1", 1)
    assert [each.id for each in await shop.inspector.tasks("default", status=Status.SUCCEEDED)] == [task.id]


async def test_paused_nothing_begins_also_where_new_folders_come(shop: Shop) -> None:
    await shop.queue.enqueue(shop.add.call(0))
    await shop.steering.pause("default")
    await shop.steering.pause("default")
    assert (await shop.inspector.queue("default")).paused
    async with shop.worker(capabilities={"gpu"}) as worker:
        tasks = [
            await shop.queue.enqueue(shop.add.call(n).with_(needs=needs))
            for n, needs in enumerate([(), ("gpu",)])
        ]
        await anyio.sleep(0.1)
        assert worker.statistics().begun == 0
        await shop.steering.resume("default")
        with anyio.fail_after(20):
            assert [await each.result() for each in tasks] == [1, 2]
    assert not (await shop.inspector.queue("default")).paused


async def test_drained_it_takes_no_more_and_becomes_empty(shop: Shop) -> None:
    task = await shop.queue.enqueue(shop.wait.call())
    await shop.steering.close("default")
    await shop.steering.close("default")
    with pytest.raises(QueueClosed):
        await shop.queue.enqueue(shop.add.call(1))
    with pytest.raises(DeadlineExceeded):
        await shop.steering.wait_empty("default", deadline=0.05)
    told: list[int] = []
    async with shop.worker():
        await shop.until(task, Status.RUNNING)
        shop.gate.set()
        with anyio.fail_after(20):
            await shop.steering.wait_empty("default", told=told.append, deadline=inf)
    assert told[-1] == 0
    await shop.steering.open("default")
    await shop.queue.enqueue(shop.add.call(1))


async def test_purged_what_waits_is_cancelled_and_what_runs_runs_on(shop: Shop) -> None:
    runs = await shop.queue.enqueue(shop.wait.call("on"))
    async with shop.worker(concurrency=1):
        await shop.until(runs, Status.RUNNING)
        after = await shop.queue.enqueue(chain(shop.add.call(1), shop.add.call()))
        others = await shop.queue.enqueue_many([shop.add.call(n) for n in range(BATCH + 7)])
        delayed = await shop.queue.enqueue(shop.add.call(1).with_(delay=600, unique="k"))
        told: list[int] = []
        count = await shop.steering.purge("default", told=told.append)
        assert count == len(others) + 3
        assert told[-1] == count
        shop.gate.set()
        with anyio.fail_after(20):
            assert await runs.result() == "on"
    assert {await each.status() for each in [*others, delayed, after]} == {Status.CANCELLED}
    assert (await shop.queue.enqueue(shop.add.call(1).with_(unique="k"))).new  # the key is free
    assert (await shop.inspector.queue("default")).running == 0


async def test_dead_letters_run_again_or_are_forgotten(shop: Shop) -> None:
    tasks = [await shop.queue.enqueue(shop.fail.call(f"n{n}").with_(unique=f"k{n}")) for n in range(3)]
    skipped = await shop.queue.enqueue(shop.add.call(1).with_(after=tasks[0]))
    await shop.drained()
    letters = await shop.inspector.tasks("default", status=Status.FAILED)
    assert [each.id for each in letters] == [each.id for each in tasks]
    assert (await shop.inspector.queue("default")).dead == 3
    assert letters[0].ended is not None
    assert letters[0].ended.failure is not None
    assert "n0" in letters[0].ended.failure.message
    assert await skipped.status() is Status.SKIPPED
    shop.broken = False
    # Its key is another's by now.
    taken = await shop.queue.enqueue(shop.wait.call().with_(unique="k1"))
    with pytest.raises(Conflict, match="k1"):
        await shop.steering.retry(tasks[1].id)
    assert (await shop.steering.retry(tasks[0].reference)).id == tasks[0].id
    assert await tasks[0].status() is Status.WAITING
    assert await shop.steering.retry_dead("default") == 1
    await taken.cancel()
    await shop.drained()
    # A handle that is as old as the task finds its first end in the history; a new one looks at what is there.
    again = [shop.queue.task(each.reference) for each in (tasks[0], tasks[2])]
    assert [await each.result() for each in again] == ["n0", "n2"]
    assert await shop.steering.forget_dead("default") == 1
    assert (await shop.inspector.queue("default")).dead == 0
    with pytest.raises(Conflict, match="it is succeeded"):
        await shop.steering.retry(tasks[0].id)


async def test_a_delayed_task_at_once_and_others_not(shop: Shop) -> None:
    delayed = await shop.queue.enqueue(shop.add.call(1).with_(delay=600))
    first, later = shop.add.call(1).with_(delay=600), shop.add.call()
    awaiting = await shop.queue.enqueue(chain(first, later))
    await shop.steering.retry(delayed.id)
    assert await delayed.status() is Status.WAITING
    with pytest.raises(Conflict, match="comes after others"):
        await shop.steering.retry(awaiting.id)
    with pytest.raises(Conflict, match="nothing but a worker"):
        await shop.steering.retry(delayed.id)


async def test_cancelled_and_that_twice(shop: Shop) -> None:
    task = await shop.queue.enqueue(shop.add.call(1))
    assert (await shop.steering.cancel(task.id)).status is Status.WAITING
    with pytest.raises(Conflict, match="has ended already: cancelled"):
        await shop.steering.cancel(task.id)
    runs = await shop.queue.enqueue(shop.wait.call())
    async with shop.worker():
        await shop.until(runs, Status.RUNNING)
        assert (await shop.steering.cancel(runs.id)).status is Status.RUNNING
        await shop.until(runs, Status.CANCELLED)


async def test_schedules(shop: Shop) -> None:
    shop.app.schedule("nightly", cron("0 3 * * *"), shop.add.call(1))
    assert await shop.inspector.schedules() == []
    async with shop.worker():
        with anyio.fail_after(20):
            while not (found := await shop.inspector.schedules()):
                await anyio.sleep(0.005)
        [facts] = found
        assert facts.name == "nightly"
        assert facts.due_ms is not None
        assert facts.due_ms % 86_400_000 == 3 * 3_600_000
        await shop.steering.pause_schedule("nightly")
        [facts] = await shop.inspector.schedules()
        assert facts.state is not None
        assert facts.state.paused
        assert facts.due_ms is None
        await shop.steering.resume_schedule("nightly")
        await shop.steering.remove_schedule("nightly")
        with pytest.raises(NotFound, match="no schedule 'nightly'"):
            await shop.steering.remove_schedule("nightly")
        with pytest.raises(NotFound):
            await shop.steering.pause_schedule("nightly")
    await shop.client.create("/tasks/shop/schedules/odd", b"?")
    [odd] = await shop.inspector.schedules()
    assert odd.state is None
    assert "not a schedule" in odd.trouble
