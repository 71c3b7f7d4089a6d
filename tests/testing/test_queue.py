"""Queues for unit tests: nothing but the event loop, and time moves as the test says."""

from datetime import UTC, datetime

import anyio
import pytest

from coord.client import DeadlineExceeded
from coord.recipes.queue import (
    Again,
    App,
    Rate,
    Retry,
    Status,
    TaskFailed,
    TaskSkipped,
    chain,
    context,
    cron,
    group,
)
from coord.testing.queue import eager_queue, local_queue


def new_app() -> App:
    app = App("shop")
    app.ran = []  # type: ignore[attr-defined]

    @app.task
    async def add(a: int, b: int = 1) -> int:
        app.ran.append((a, b))  # type: ignore[attr-defined]
        return a + b

    @app.task
    async def total(numbers: list[int]) -> int:
        return sum(numbers)

    @app.task(retry=Retry(times=3))
    async def third_time(what: str) -> str:
        if context().attempt < 3:
            raise OSError("not yet")
        return what

    @app.task(retry=Retry(times=0))
    def broken() -> None:
        raise ValueError("it is broken")

    return app


async def test_an_hour_is_over_at_once() -> None:
    app = new_app()
    async with local_queue(app) as local:
        now = await local.queue.enqueue(app.tasks["add"].call(1))
        later = await local.queue.enqueue(
            app.tasks["add"].call(2).with_(delay=3600, needs={"gpu"}, queue="mail")
        )
        await local.settle()
        assert await now.result() == 2
        assert await later.status() is Status.DELAYED
        await local.advance(3599)
        assert await later.status() is Status.DELAYED
        await local.advance(1.5)
        assert await later.result() == 3


async def test_a_schedule_over_some_nights() -> None:
    app = new_app()
    app.schedule("nightly", cron("0 3 * * *"), app.tasks["add"].call(1), missed="all")
    async with local_queue(app) as local:
        await local.advance(3 * 86_400)
        [schedule] = await local.inspector.schedules()
        assert schedule.state is not None
        assert len(app.ran) == schedule.state.ticks == 3  # type: ignore[attr-defined]
        assert schedule.due_ms is not None
        assert datetime.fromtimestamp(schedule.due_ms / 1000, UTC).hour == 3


async def test_nothing_works_where_that_was_said() -> None:
    app = new_app()
    async with local_queue(app, works=False) as local:
        task = await local.queue.enqueue(app.tasks["add"].call(1))
        with pytest.raises(DeadlineExceeded, match="still run"):
            await local.settle(patience=0.1)
        assert await task.status() is Status.WAITING
        assert [each.id for each in await local.inspector.tasks("default")] == [task.id]


async def test_what_is_enqueued_eagerly_has_run() -> None:
    app = new_app()
    add, total = app.tasks["add"], app.tasks["total"]
    async with eager_queue(app) as queue:
        assert await (await queue.enqueue(add.call(1).with_(delay=86_400))).result(deadline=1) == 2
        assert await (await queue.enqueue(app.tasks["third_time"].call("x"))).result(deadline=1) == "x"
        chord = group([add.call(n) for n in range(3)]).then(total.call())
        assert await (await queue.enqueue(chord)).result(deadline=1) == 6
        assert [
            await each.result(deadline=1) for each in await queue.enqueue_many([add.call(5), add.call(6)])
        ] == [6, 7]
        failed = await queue.enqueue(app.tasks["broken"].call())
        with pytest.raises(TaskFailed, match="it is broken"):
            await failed.result(deadline=1)
        skipped = await queue.enqueue(chain(app.tasks["broken"].call(), add.call(1).ignoring_inputs()))
        with pytest.raises(TaskSkipped):
            await skipped.result(deadline=1)


async def test_a_rate_takes_no_real_time() -> None:
    app = new_app()
    add = app.tasks["add"]
    async with eager_queue(app) as queue:
        with anyio.fail_after(20):
            tasks = await queue.enqueue_many(
                [add.call(n).with_(rate=Rate("k", per_hour=60)) for n in range(5)]
            )
            assert [await each.result() for each in tasks] == [1, 2, 3, 4, 5]


async def test_what_never_ends_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coord.testing.queue.JUMPS_MAX", 5)
    app = new_app()

    @app.task(retry=Retry(times=1_000))
    async def for_ever() -> None:
        raise Again(in_s=3600)

    async with eager_queue(app) as queue:
        with pytest.raises(DeadlineExceeded, match="delayed tasks after 5"):
            await queue.enqueue(for_ever.call())


async def test_an_error_of_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError):
        async with eager_queue(new_app()):
            raise KeyError
