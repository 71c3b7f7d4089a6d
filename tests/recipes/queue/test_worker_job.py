"""One attempt: on the loop, in a thread, in a process; its limits, and its end. No service."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from coord.client import Create, InvalidRequest, Token
from coord.recipes.queue.app import App
from coord.recipes.queue.context import Context, Interrupted, context
from coord.recipes.queue.errors import Again, GiveUp, TimeLimit
from coord.recipes.queue.signature import BadArguments
from coord.recipes.queue.worker.job import Job, Outcome, Pools, ProcessDied, Raised, Returned, Stopped, Why
from tests.recipes.house import both, run

app = App("test")
gate = threading.Event()
hanging = threading.Event()


class Odd(Exception):
    """Can be pickled, and not unpickled."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__("odd")


@app.task(time_limit=0.05)
async def sleeps(seconds: float) -> str:
    await anyio.sleep(seconds)
    return "slept"


@app.task(time_limit=0.05)
async def cleans_up_badly() -> None:
    try:
        await anyio.sleep(60)
    finally:
        raise OSError("while ending")


@app.task
async def says(what: str) -> dict[str, Any]:
    here = context()
    here.progress(0.5)
    here.once(Create("/x"))
    return {"what": what, "id": here.id, "attempt": here.attempt, "left": here.remaining() > 1e9}


@app.task
async def raises() -> None:
    raise ValueError("bad luck")


@app.task
async def ends_the_process() -> None:
    raise SystemExit(3)


@app.task
async def is_cancelled_by_itself() -> None:
    async def inner() -> None:
        await asyncio.sleep(60)

    task = asyncio.ensure_future(inner())
    await asyncio.sleep(0)
    task.cancel()
    await task


@app.task(time_limit=0.05, kill_after=0.05)
def spins(looks: bool) -> str:
    while not gate.wait(0.005):
        if looks:
            context()
    return "late"


@app.task
def in_a_thread() -> str:
    return f"{context().id} {threading.current_thread() is threading.main_thread()}"


@app.task(where="process", time_limit=30)
def in_a_process(what: str) -> Any:
    here = context()
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "odd":
        raise Odd(1, 2)
    if what == "again":
        raise Again(7)
    if what == "progress":
        here.progress(1)
    print("this goes to stderr")
    here.once(Create("/p"))
    return [os.getpid(), here.id, here.attempt]


@app.task(where="process", time_limit=0.2, kill_after=0.3)
def computes(stubborn: bool) -> None:
    while True:
        try:
            time.sleep(0.01)
        except TimeLimit:
            if not stubborn:
                raise


def job(
    name: str, arguments: bytes = b"{}", pools: Pools | None = None, said: list[Any] | None = None
) -> Job:
    task = app.tasks[name]
    here = Context("id-1", "default", name, 2, Token(1, 5), report=(said if said is not None else []).append)
    return Job(task, here, pools or Pools.of(1), arguments, "none", [], task.options.time_limit)


def ran(backend: str, made: Callable[[], Job], beside: Callable[[Job], Any] | None = None) -> Outcome:
    found: list[Outcome] = []

    async def main() -> None:
        one = made()
        async with anyio.create_task_group() as tasks:
            if beside is not None:
                tasks.start_soon(beside, one)
            await one.run()
            assert one.outcome is not None
            found.append(one.outcome)
            tasks.cancel_scope.cancel()

    run(backend, main)
    return found[0]


@both
def test_a_result_and_what_the_context_says(backend: str) -> None:
    said: list[Any] = []
    made: list[Job] = []

    def make() -> Job:
        made.append(job("says", b'{"what":"hi"}', said=said))
        return made[0]

    assert ran(backend, make) == Returned(b'{"what":"hi","id":"id-1","attempt":2,"left":true}')
    assert said == [0.5]
    assert made[0].context.ops == [Create("/x")]
    assert ran(backend, lambda: job("in_a_thread")) == Returned(b'"id-1 False"')
    with pytest.raises(InvalidRequest):
        context()


@both
def test_what_it_raises_is_its_failure_with_its_own_traceback(backend: str) -> None:
    outcome = ran(backend, lambda: job("raises"))
    assert isinstance(outcome, Raised)
    assert "bad luck" in outcome.traceback
    assert "test_worker_job.py" in outcome.traceback
    assert "worker/job.py" not in outcome.traceback
    outcome = ran(backend, lambda: job("ends_the_process"))
    assert isinstance(outcome, Raised)
    assert isinstance(outcome.error, SystemExit)
    outcome = ran(backend, lambda: job("says", b'{"what":3,"more":1}'))
    assert isinstance(outcome, Raised)
    assert isinstance(outcome.error, BadArguments)


def test_a_cancellation_of_its_own_is_a_failure_and_no_end_of_the_worker() -> None:
    outcome = ran("asyncio", lambda: job("is_cancelled_by_itself"))
    assert isinstance(outcome, Raised)
    assert isinstance(outcome.error, asyncio.CancelledError)


@both
def test_an_async_task_is_cancelled_at_its_time_limit(backend: str) -> None:
    outcome = ran(backend, lambda: job("sleeps", b'{"seconds":60}'))
    assert isinstance(outcome, Raised)
    assert isinstance(outcome.error, TimeLimit)
    outcome = ran(backend, lambda: job("cleans_up_badly"))
    assert isinstance(outcome, Raised)
    assert isinstance(outcome.error, TimeLimit)
    assert "while ending" in outcome.traceback


@both
@pytest.mark.parametrize("why", list(Why))
def test_an_async_task_that_is_stopped_is_cancelled(backend: str, why: Why) -> None:
    async def stop(one: Job) -> None:
        one.stop(why)
        one.stop(Why.HANDED_BACK)

    def make() -> Job:
        one = job("sleeps", b'{"seconds":60}')
        one.limit_s = None
        return one

    assert ran(backend, make, stop) == Stopped(why)

    def stopped() -> Job:
        one = make()
        one.stop(why)  # before it has begun
        return one

    assert ran(backend, stopped) == Stopped(why)


@both
def test_a_thread_hears_of_its_time_limit_when_it_asks(backend: str) -> None:
    outcome = ran(backend, lambda: job("spins", b'{"looks":true}'))
    assert isinstance(outcome, Raised)
    assert isinstance(outcome.error, TimeLimit)


@both
@pytest.mark.parametrize("why", list(Why))
def test_a_thread_that_is_stopped_hears_of_it_and_only_a_cancelled_one_is_waited_for(
    backend: str, why: Why
) -> None:
    outcomes: list[Outcome | None] = []

    async def stop(one: Job) -> None:
        one.context.ends_at = float("inf")
        one.stop(why)
        outcomes.append(one.outcome)
        with pytest.raises(Interrupted):
            one.context.check()

    assert ran(backend, lambda: job("spins", b'{"looks":true}'), stop) == Stopped(why)
    assert outcomes == [None if why is Why.CANCELLED else Stopped(why)]


@both
def test_a_thread_that_does_not_ask_is_abandoned_and_its_result_is_not_looked_at(backend: str) -> None:
    gate.clear()

    async def kill(one: Job) -> None:
        await anyio.sleep(max(one.kill_at - time.monotonic(), 0))
        one.overdue()
        assert isinstance(one.outcome, Raised)
        gate.set()

    outcome = ran(backend, lambda: job("spins", b'{"looks":false}'), kill)
    assert isinstance(outcome, Raised)
    assert isinstance(outcome.error, TimeLimit)
    assert "abandoned" in str(outcome.error)
    gate.clear()


@pytest.mark.processes
@both
def test_a_process_runs_it_fails_alone_and_is_ended_by_force(backend: str) -> None:
    async def main() -> None:
        pools = Pools.of(1)

        async def one(what: str) -> Job:
            made = job("in_a_process", b'{"what":"%s"}' % what.encode(), pools)
            await made.run()
            return made

        first = await one("")
        assert isinstance(first.outcome, Returned)
        assert first.outcome.result.endswith(b',"id-1",2]')
        assert first.context.ops == [Create("/p")]
        assert (await one("")).outcome == first.outcome  # the same process
        for what, kind in (
            ("odd", Again),
            ("again", Again),
            ("progress", InvalidRequest),
            ("die", ProcessDied),
        ):
            outcome = (await one(what)).outcome
            assert isinstance(outcome, Raised)
            assert isinstance(outcome.error, kind), what
        fresh = (await one("")).outcome
        assert isinstance(fresh, Returned)
        assert fresh != first.outcome  # another process
        soft = job("computes", b'{"stubborn":false}', pools)
        await soft.run()
        assert isinstance(soft.outcome, Raised)
        assert isinstance(soft.outcome.error, TimeLimit)
        hard = job("computes", b'{"stubborn":true}', pools)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hard.run)
            await anyio.sleep(max(hard.kill_at - time.monotonic(), 0))
            hard.overdue()
        assert isinstance(hard.outcome, Raised)
        assert isinstance(hard.outcome.error, TimeLimit)

    run(backend, main, 60)


def test_what_a_task_wants_of_its_retry_comes_from_a_process_too() -> None:
    from coord.recipes.queue.worker.process import _raised

    assert _raised(GiveUp("no"), None).error is not None
    answer = _raised(Odd(1, 2), app.tasks["in_a_process"])
    assert answer.error is None
    assert isinstance(answer.stand_in, Again)
    assert "Odd: odd" in str(answer.stand_in)
