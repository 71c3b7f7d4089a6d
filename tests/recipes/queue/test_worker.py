"""Workers and a real member: what becomes of tasks, whatever becomes of their workers."""

import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from coord.client import Client, Create, SessionEnded
from coord.recipes import membership
from coord.recipes.queue import (
    App,
    Context,
    GiveUp,
    Queue,
    Retry,
    Status,
    TaskCancelled,
    TaskExpired,
    TaskFailed,
    TaskSkipped,
    context,
    group,
)
from coord.recipes.queue.worker import Worker, WorkerStuck
from coord.recipes.scope import Lost
from coord.testing import Cluster
from tests.recipes.house import both, clients, run


class World:
    """An app, what its tasks have done, and events that they wait for."""

    def __init__(self) -> None:
        self.app = App("test")
        self.runs: list[str] = []
        self.attempts: list[int] = []
        self.begun = anyio.Event()
        self.go = anyio.Event()
        self.thread_go = threading.Event()
        task = self.app.task

        @task
        async def note(what: str) -> str:
            self.runs.append(what)
            return what

        @task
        async def waits(what: str = "") -> str:
            self.attempts.append(context().attempt)
            self.begun.set()
            await self.go.wait()
            context().once(Create(f"/effect-{context().id}", context().token.revision.to_bytes(8, "big")))
            self.runs.append(what)
            return what

        @task
        def holds() -> str:
            self.attempts.append(context().attempt)
            anyio.from_thread.run_sync(self.begun.set)
            while not self.thread_go.wait(0.005):
                context()
            return "held"

        @task(retry=Retry(times=2, backoff=0.01))
        async def fails(times: int) -> int:
            self.attempts.append(context().attempt)
            if context().attempt <= times:
                raise OSError("not yet")
            return context().attempt

        @task(retry=Retry(times=5, backoff=0.01))
        async def gives_up() -> None:
            raise GiveUp("no such user")

        @task(retry=Retry(times=1, backoff=0.01))
        async def asks_too_much() -> None:
            self.attempts.append(context().attempt)
            context().once(Create("/there-is/no-such/parent"))

        @task(time_limit=0.05, kill_after=0.05, retry=Retry(times=0))
        def hangs() -> None:
            self.thread_go.wait(20)

        @task
        async def total(parts: list[int]) -> int:
            return sum(parts)

        @task
        async def one(number: int) -> int:
            return number

        @task(needs={"gpu"})
        async def draws() -> str:
            return "drawn"

    def call(self, name: str, *args: Any, **said: Any) -> Any:
        return self.app.tasks[name].call(*args).with_(**said)


@asynccontextmanager
async def world(member: Cluster, number: int = 1, session_timeout: float = 30) -> AsyncIterator[Any]:
    async with clients(member, number, session_timeout) as several:
        made = World()
        yield made, Queue(several[0], made.app), several


async def effects(client: Client) -> list[str]:
    return [each for each in await client.children("/") if each.startswith("effect-")]


@both
def test_tasks_are_run_in_their_order_and_their_results_are_theirs(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with world(member) as (w, queue, [client]):
            for n, priority in enumerate((5, 9, 0, 5)):
                await queue.enqueue(w.call("note", f"{priority}-{n}", priority=priority))
            await queue.enqueue(w.call("note", "later", priority=9, delay=0.05))
            worker = Worker(client, w.app, concurrency=1)
            await worker.serve_until_drained()
            assert w.runs[:4] == ["0-2", "5-0", "5-3", "9-1"]
            assert w.runs[4] == "later"
            counted = worker.statistics()
            assert (counted.begun, counted.succeeded, counted.running) == (5, 5, 0)
            task = await queue.enqueue(group([w.call("one", n) for n in range(5)]).then(w.call("total")))
            async with Worker(client, w.app):
                assert await task.result() == 10

    run(backend, main)


@both
def test_what_fails_is_tried_again_and_then_a_dead_letter(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with world(member) as (w, queue, [client]), Worker(client, w.app) as worker:
            assert await (await queue.enqueue(w.call("fails", 2))).result() == 3
            assert w.attempts == [1, 2, 3]
            task = await queue.enqueue(w.call("fails", 3))
            with pytest.raises(TaskFailed) as caught:
                await task.result()
            assert "not yet" in str(caught.value.details["traceback"])
            assert caught.value.details["attempts"] == 3
            with pytest.raises(TaskFailed):
                await (await queue.enqueue(w.call("gives_up"))).result()
            dependent = await queue.enqueue(w.call("note", "never", after=(task,)).ignoring_inputs())
            with pytest.raises(TaskSkipped):
                await dependent.result()
            with pytest.raises(TaskExpired):
                await (await queue.enqueue(w.call("note", "late", deadline=0.001, delay=0.1))).result()
            assert w.runs == []
        counted = worker.statistics()
        assert (counted.retried, counted.failed) == (4, 2)

    run(backend, main)


@both
def test_an_op_of_the_tasks_own_that_is_refused_fails_the_attempt(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with world(member) as (w, queue, [client]), Worker(client, w.app):
            task = await queue.enqueue(w.call("asks_too_much"))
            beside = [await queue.enqueue(w.call("one", n)) for n in range(20)]
            with pytest.raises(TaskFailed) as caught:
                await task.result()
            assert "once()" in str(caught.value.details["traceback"])
            assert w.attempts == [1, 2]
            assert [await each.result() for each in beside] == list(range(20))

    run(backend, main)


@both
def test_a_worker_that_was_given_up_for_dead_completes_nothing(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with world(member, 2) as (w, queue, [client, other]):
            a = Worker(client, w.app, name="a")
            async with a:
                task = await queue.enqueue(w.call("waits", "first"))
                await w.begun.wait()
                w.begun = anyio.Event()
                a._taking.stop()  # it is not to take it again itself
                [attempt] = a.attempts.values()
                async with Worker(other, w.app, name="b") as b:
                    # As if its session had expired, but it goes on: what a pause makes of a worker.
                    await other.release(attempt.running.claim, force=True)
                    await w.begun.wait()
                    assert w.attempts == [1, 2]
                    w.go.set()
                    assert (await task.wait()).worker == "b"
                    while a.attempts:
                        await anyio.sleep(0.005)
                    assert len(await effects(client)) == 1
                assert a.statistics().lost == 1
                assert b.statistics().succeeded == 1

    run(backend, main)


@both
def test_cancelling_a_task_that_waits_runs_in_a_thread_or_on_the_loop(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with world(member, 2) as (w, queue, [client, other]):
            waiting = await queue.enqueue(w.call("note", "never"))
            assert await waiting.cancel()
            async with Worker(other, w.app) as worker:
                for name in ("waits", "holds"):
                    w.begun = anyio.Event()
                    task = await queue.enqueue(w.call(name))
                    await w.begun.wait()
                    assert await task.status() is Status.RUNNING
                    await task.cancel()
                    with pytest.raises(TaskCancelled):
                        await task.result()
            assert worker.statistics().cancelled == 2
            assert w.runs == []
            assert not await effects(client)

    run(backend, main)


@both
def test_a_worker_that_stops_finishes_what_it_can_and_hands_back_the_rest(
    backend: str, member: Cluster
) -> None:
    async def main() -> None:
        async with world(member) as (w, queue, [client]):
            first = Worker(client, w.app, grace=0.05)
            async with first:
                tasks = [await queue.enqueue(w.call("waits", "a")), await queue.enqueue(w.call("holds"))]
                while len(w.attempts) < 2:
                    await anyio.sleep(0.005)
            assert first.statistics().handed_back == 2
            assert [await each.status() for each in tasks] == [Status.WAITING] * 2
            w.go.set()
            w.thread_go.set()
            async with Worker(client, w.app) as second:
                assert [await each.result() for each in tasks] == ["a", "held"]
            assert second.statistics().succeeded == 2
            assert w.attempts == [1, 1, 1, 1]  # not counted

            w.go = anyio.Event()
            w.begun = anyio.Event()
            async with Worker(client, w.app, grace=60):  # in time
                task = await queue.enqueue(w.call("waits", "b"))
                await w.begun.wait()
                w.go.set()
            assert await task.status() is Status.SUCCEEDED

    run(backend, main)


@both
def test_a_worker_that_is_cancelled_leaves_nothing_held(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with world(member) as (w, queue, [client]):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(Worker(client, w.app).run)
                task = await queue.enqueue(w.call("waits"))
                await w.begun.wait()
                tasks.cancel_scope.cancel()
            assert await task.status() is Status.WAITING
            assert not (await client.claims("/")).claims

    run(backend, main)


@both
def test_what_is_on_its_way_back_when_a_worker_is_cancelled_is_given_back(
    backend: str, member: Cluster
) -> None:
    async def main() -> None:
        async with world(member) as (w, _, [client]):
            newer = App("test")

            @newer.task
            async def unheard_of() -> None: ...

            task = await Queue(client, newer).enqueue(unheard_of.call())
            worker = Worker(client, w.app)
            asked = anyio.Event()

            class Silent:
                async def multi(self, *_: Any, **__: Any) -> None:
                    asked.set()
                    await anyio.sleep_forever()

            worker._completer._client = Silent()  # type: ignore[assignment]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(worker.run)
                await asked.wait()
                assert await task.status() is Status.RUNNING
                tasks.cancel_scope.cancel()
            assert not (await client.claims("/")).claims
            assert await task.status() is Status.WAITING

    run(backend, main)


@both
def test_a_worker_whose_session_ends_cancels_all_at_once_and_its_tasks_are_others(
    backend: str, member: Cluster
) -> None:
    async def main() -> None:
        async with world(member, 2) as (w, queue, [_, short]):
            worker = Worker(short, w.app)
            task = await queue.enqueue(w.call("waits", "x"))

            async def works() -> None:
                async with worker:
                    await w.begun.wait()
                    short._core.close(SessionEnded("as if nothing had been heard for long"))
                    short._link.settle()
                    await anyio.sleep(60)

            with pytest.raises(Lost) as caught:
                await works()
            assert isinstance(caught.value.__cause__, SessionEnded)
            assert not worker.attempts
            assert w.runs == []
            assert worker.statistics().lost == 1
            assert await task.status() in (Status.RUNNING, Status.WAITING)

    run(backend, main)


def test_what_cannot_be_run_here_is_set_aside_and_nothing_else_waits_for_it(member: Cluster) -> None:
    async def main() -> None:
        async with world(member) as (w, queue, [client]):
            newer = App("test")

            @newer.task
            async def unheard_of() -> None: ...

            await queue.enqueue(w.call("note", "0"))
            strange = await Queue(client, newer).enqueue(unheard_of.call().with_(priority=0))
            folder = w.app.layout.queue("default").folder("-")
            await client.create(f"{folder}/0-garbage", b"\xff{")
            async with Worker(client, w.app, concurrency=1) as worker:
                assert await (await queue.enqueue(w.call("note", "1"))).result() == "1"
                assert worker.statistics().set_aside == 2
            assert w.runs == ["0", "1"]
            assert await strange.status() is Status.DELAYED
            assert (await client.get(f"{folder}/0-garbage")).value == b"\xff{"

    run("asyncio", main)


def test_queues_and_capabilities_come_as_they_come(member: Cluster) -> None:
    async def main() -> None:
        async with world(member, 2) as (w, queue, [client, other]):
            plain = Worker(client, w.app, queues=["default", "other"])
            async with plain, Worker(other, w.app, capabilities={"gpu", "eu"}, name="able"):
                task = await queue.enqueue(w.call("draws"))
                assert (await task.wait()).worker == "able"
                assert await (await queue.enqueue(w.call("one", 3, queue="other"))).result() == 3
                async with membership.observe(client, w.app.layout.workers) as group:
                    while len(group.roster) < 2:
                        await anyio.sleep(0.01)
                    [able] = [each for each in group.roster if each.name == "able"]
                    assert able.attributes["capabilities"] == ["eu", "gpu"]

    run("asyncio", main)


def test_a_task_whose_workers_die_is_a_dead_letter_in_the_end(member: Cluster) -> None:
    async def main() -> None:
        async with world(member, 2) as (w, queue, [client, other]):
            task = await queue.enqueue(w.call("fails", 0))
            for _ in range(3):
                [grant] = await client.claim_first(w.app.layout.queue("default").folder("-"))
                await other.release(grant.number, force=True)
            async with Worker(client, w.app):
                with pytest.raises(TaskFailed) as caught:
                    await task.result()
            assert "3 of 3 attempts" in str(caught.value.details["message"])
            assert w.attempts == []

    run("asyncio", main)


def test_threads_that_hang_are_abandoned_and_a_worker_of_nothing_else_ends(member: Cluster) -> None:
    async def main() -> None:
        async with world(member) as (w, queue, [client]):
            worker = Worker(client, w.app, concurrency=2)
            tasks = [await queue.enqueue(w.call("hangs")) for _ in range(2)]
            try:
                with pytest.raises(WorkerStuck):
                    await worker.run()
                for task in tasks:
                    with pytest.raises(TaskFailed):
                        await task.result()
            finally:
                w.thread_go.set()

    run("asyncio", main)


def test_what_is_around_each_attempt(member: Cluster) -> None:
    async def main() -> None:
        async with world(member) as (w, queue, [client]):
            seen: list[Any] = []

            @asynccontextmanager
            async def around(task: Context) -> AsyncIterator[None]:
                seen.append(("before", task.name))
                try:
                    yield
                except OSError as error:
                    seen.append(str(error))
                    raise GiveUp("because of what is around it") from None
                seen.append("after")

            w.app.around.append(around)
            async with Worker(client, w.app, around=[around]):
                assert await (await queue.enqueue(w.call("one", 1))).result() == 1
                with pytest.raises(TaskFailed) as caught:
                    await (await queue.enqueue(w.call("fails", 1))).result()
            assert "around it" in str(caught.value.details["message"])
            once = ("before", "one"), ("before", "fails")
            # The inner one has turned it into another error, which the outer one lets pass.
            assert seen == [once[0], once[0], "after", "after", once[1], once[1], "not yet"]

    run("asyncio", main)


def test_progress_is_told(member: Cluster) -> None:
    async def main() -> None:
        async with world(member) as (w, queue, [client]):
            go = anyio.Event()

            app: App = w.app

            @app.task
            async def steps() -> None:
                for step in range(100):
                    context().progress({"step": step})
                await go.wait()

            async with Worker(client, w.app):
                task = await queue.enqueue(steps.call())
                async for told in task.progress():
                    if told == {"step": 99}:
                        break
                go.set()
                await task.wait()
                assert not await client.children(w.app.layout.queue("default").all_progress)

    run("asyncio", main)


def test_hundreds_of_tasks_and_two_workers(member: Cluster) -> None:
    async def main() -> None:
        async with world(member, 3) as (w, queue, [_, a, b]):
            tasks = await queue.enqueue_many([w.call("note", str(n)) for n in range(400)])
            async with Worker(a, w.app, concurrency=20) as one, Worker(b, w.app, concurrency=20) as two:
                for task in tasks:
                    await task.wait()
            assert one.statistics().succeeded + two.statistics().succeeded == 400
            assert Counter(w.runs) == Counter(map(str, range(400)))

    run("asyncio", main)
