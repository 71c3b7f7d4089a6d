"""Schedules, with a service: each tick once, whoever is there."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import anyio
import pytest

from coord.client import Client, connect
from coord.recipes.queue import App, Queue, cron, every
from coord.recipes.queue.cron import When
from coord.recipes.queue.record import TaskRecord, decode_task
from coord.recipes.queue.schedules import Scheduler
from coord.recipes.queue.ticking import Missed, State, decode_state, encode_state
from coord.testing import Cluster
from coord.testing.local import LocalMember, local_member

SCHEDULES = "/tasks/shop/schedules"
READY = "/tasks/shop/queues/default/ready/-"


def app_with(when: When, missed: Missed = "once", unique: str | None = None, max_length: int = 1_000) -> App:
    app = App("shop", max_length=max_length)

    @app.task
    def report(what: str = "") -> None: ...

    app.schedule("nightly", when, report.call("all").with_(unique=unique), missed=missed)
    return app


async def tasks(client: Client) -> list[TaskRecord]:
    if await client.exists(READY) is None:
        return []
    page = await client.list(READY, values=True)
    return [decode_task(each.value or b"") for each in page.children]


async def due_ms(client: Client) -> list[int]:
    return [int(each.headers["due_ms"]) for each in await tasks(client)]


async def state(client: Client) -> State:
    return decode_state((await client.get(f"{SCHEDULES}/nightly")).value)


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 20.0) -> None:
    with anyio.fail_after(seconds):
        while not await condition():
            await anyio.sleep(0.005)


async def advance(member: LocalMember, client: Client, seconds: float) -> None:
    """And have the schedulers hear of it."""
    await member.advance(seconds)
    await client.set(SCHEDULES, b"")


async def advance_past(member: LocalMember, client: Client, when: When, *, dealt: bool = True) -> None:
    """To a second after the next tick, and until it was dealt with."""
    tick_ms = when.following(round(member.wall_time * 1000))
    assert tick_ms is not None
    await advance(member, client, tick_ms / 1000 - member.wall_time + 1)

    async def dealt_with() -> bool:
        return not dealt or ((await state(client)).last_ms or 0) >= tick_ms

    await until(dealt_with)


@pytest.fixture
async def member() -> AsyncIterator[LocalMember]:
    async with local_member() as made:
        yield made


async def begun(client: Client) -> None:
    await until(lambda: client.exists(f"{SCHEDULES}/nightly"))


async def test_a_night_after_the_other(member: LocalMember) -> None:
    when = cron("0 3 * * *", tz="Asia/Tokyo")
    async with member.connect() as client, anyio.create_task_group() as group:
        group.start_soon(Scheduler(Queue(client, app_with(when)), by="a").run)
        await begun(client)
        for _ in range(3):
            await advance_past(member, client, when)
        found = await tasks(client)
        assert [int(each.headers["due_ms"]) % 86_400_000 for each in found] == [18 * 3_600_000] * 3
        assert [each.headers["schedule"] for each in found] == ["nightly"] * 3
        assert found[0].arguments == b'{"what":"all"}'
        now = await state(client)
        assert (now.ticks, now.passed_over, now.by, now.trouble) == (3, 0, "a", "")
        assert await client.exists(f"{READY}/{now.id}") is not None
        group.cancel_scope.cancel()


async def test_of_many_workers_one_enqueues_each_tick(member: LocalMember) -> None:
    when = every(0.1)
    async with member.connect() as client, anyio.create_task_group() as group:
        for by in "abc":
            group.start_soon(Scheduler(Queue(client, app_with(when)), by=by).run)
        await begun(client)

        async def ten() -> bool:
            return len(await tasks(client)) >= 10

        await until(ten)
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            found = await due_ms(client)
            assert found == list(
                range(found[0], found[-1] + 1, 100)
            )  # each once, in their order, and none left out


async def test_ticks_of_a_short_interval_that_were_missed_come_by_few_requests(member: LocalMember) -> None:
    async with member.connect() as client, anyio.create_task_group() as group:
        group.start_soon(Scheduler(Queue(client, app_with(every(0.1))), by="a").run)
        await begun(client)
        before = (await client.get(f"{SCHEDULES}/nightly")).stat.version
        await advance(member, client, 20)

        async def all_came() -> bool:
            return (await state(client)).ticks >= 200

        await until(all_came)
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            found = await due_ms(client)
            assert found == list(range(found[0], found[-1] + 1, 100))
            assert (await state(client)).ticks == len(found)
            # Some more than 200 are due, 50 by one request; others come one by one meanwhile.
            assert (await client.get(f"{SCHEDULES}/nightly")).stat.version - before < 50


async def test_of_many_ticks_as_many_are_enqueued_as_there_is_room_for(member: LocalMember) -> None:
    when = every(1.0)
    async with member.connect() as client, anyio.create_task_group() as group:
        group.start_soon(Scheduler(Queue(client, app_with(when, max_length=7)), by="a").run)
        await begun(client)
        await advance(member, client, 20)

        async def all_dealt_with() -> bool:
            # Between a tick's revision and the one that says it was not taken it looks as if it was.
            now = await state(client)
            return now.ticks == 7 and now.passed_over >= 13 and "takes 7 at most" in now.trouble

        await until(all_dealt_with)
        assert len(await tasks(client)) == 7
        group.cancel_scope.cancel()


async def test_ticks_that_come_to_nothing_for_one_reason_are_told_of_once(
    member: LocalMember, caplog: pytest.LogCaptureFixture
) -> None:
    made = App("shop")

    @made.task
    async def report(what: str) -> None: ...

    made.schedule("nightly", every(0.1), report.call("x").with_(unique="one at a time"))
    async with member.connect() as client, anyio.create_task_group() as group:
        with caplog.at_level(logging.WARNING, logger="coord.recipes.queue"):
            group.start_soon(Scheduler(Queue(client, made), by="a").run)
            await begun(client)

            async def three() -> bool:
                return (await state(client)).passed_over >= 3

            await until(three)
        group.cancel_scope.cancel()
    assert [each.message.count("has its unique key") for each in caplog.records] == [1]


async def test_when_the_one_that_enqueued_is_gone_another_one_does(member: LocalMember) -> None:
    when = cron("0 * * * *")
    async with member.connect() as client, anyio.create_task_group() as group:
        scope = anyio.CancelScope()

        async def first() -> None:
            with scope:
                await Scheduler(Queue(client, app_with(when)), by="a").run()

        group.start_soon(first)
        await begun(client)
        await advance_past(member, client, when)
        group.start_soon(Scheduler(Queue(client, app_with(when)), by="b").run)
        scope.cancel()
        await advance_past(member, client, when)
        assert (await state(client)).by == "b"
        assert len(await tasks(client)) == 2
        group.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("trouble", "says"),
    [("closed", "closed"), ("full", "takes 1 at most"), ("unique", "unique key")],
)
async def test_a_tick_that_the_queue_does_not_take_is_passed_over(
    member: LocalMember, trouble: str, says: str
) -> None:
    when = cron("0 * * * *")
    app = app_with(
        when, unique="it" if trouble == "unique" else None, max_length=1 if trouble == "full" else 1_000
    )
    async with member.connect() as client, anyio.create_task_group() as group:
        group.start_soon(Scheduler(Queue(client, app), by="a").run)
        await begun(client)
        await advance_past(member, client, when)
        if trouble == "closed":
            await client.create("/tasks/shop/queues/default/closed")
        await advance_past(member, client, when)

        async def told() -> bool:
            return bool((await state(client)).trouble)

        await until(told)
        now = await state(client)
        assert (now.ticks, now.passed_over) == (1, 1)
        assert says in now.trouble
        assert len(await tasks(client)) == 1
        # The next one comes again.
        await client.delete("/tasks/shop/queues/default/closed", missing_ok=True)
        await client.delete(READY, subtree=True)
        await advance_past(member, client, when)
        assert (await state(client)).trouble == ""
        assert len(await tasks(client)) == 1  # though its folder was gone
        group.cancel_scope.cancel()


async def test_paused_then_removed_by_hand(member: LocalMember) -> None:
    when = cron("0 * * * *")
    path = f"{SCHEDULES}/nightly"
    async with member.connect() as client, anyio.create_task_group() as group:
        group.start_soon(Scheduler(Queue(client, app_with(when)), by="a").run)
        await begun(client)
        await client.set(path, encode_state(replace(await state(client), paused=True)))
        await advance(member, client, 7_200)
        await anyio.sleep(0.05)
        assert await tasks(client) == []
        await client.set(path, encode_state(replace(await state(client), paused=False, last_ms=None)))
        await advance_past(member, client, when)
        assert len(await tasks(client)) == 1  # and not those of the pause
        await client.delete(path)
        await advance(member, client, 7_200)
        await anyio.sleep(0.05)
        assert await client.exists(path) is None
        group.cancel_scope.cancel()


async def test_what_is_no_schedule_is_left_alone_and_said_once(
    member: LocalMember, caplog: pytest.LogCaptureFixture
) -> None:
    async with member.connect() as client, anyio.create_task_group() as group:
        await client.create(f"{SCHEDULES}/nightly", b"what?", parents=True)
        with caplog.at_level(logging.ERROR, logger="coord.recipes.queue"):
            group.start_soon(Scheduler(Queue(client, app_with(every(60))), by="a").run)
            await anyio.sleep(0.05)
            await advance(member, client, 7_200)
            await advance(member, client, 7_200)
            await anyio.sleep(0.05)
        assert [each.message.count("is not a schedule") for each in caplog.records] == [1]
        assert (await client.get(f"{SCHEDULES}/nightly")).value == b"what?"
        group.cancel_scope.cancel()


async def test_the_deployment_that_started_last_decides(member: LocalMember) -> None:
    async with member.connect() as client, anyio.create_task_group() as group:
        group.start_soon(Scheduler(Queue(client, app_with(cron("0 * * * *"))), by="old").run)
        await begun(client)
        group.start_soon(Scheduler(Queue(client, app_with(cron("30 * * * *"))), by="new").run)

        async def adopted() -> bool:
            return (await state(client)).when["cron"] == "30 * * * *"

        await until(adopted)
        # First to a half hour, whatever time it is now: a leap over one by minutes would look to the old one as if
        # nobody was left who has the new definition, and it would take over.
        await advance_past(member, client, cron("30 * * * *"))
        await advance_past(member, client, cron("0 * * * *"), dealt=False)
        await advance_past(member, client, cron("30 * * * *"))
        assert [each % 3_600_000 for each in await due_ms(client)] == [1_800_000] * 2
        group.cancel_scope.cancel()


async def test_a_cron_fires_through_ten_failovers_each_tick_once(coord_cluster: Cluster) -> None:
    """Three workers, an interval of 0.2 s; the leader is killed ten times, and once each worker is."""
    async with connect(coord_cluster.endpoints) as client:
        async with anyio.create_task_group() as group:
            scopes = []

            async def worker(by: str) -> None:
                with anyio.CancelScope() as scope:
                    scopes.append(scope)
                    async with connect(coord_cluster.endpoints, session_timeout=2) as own:
                        await Scheduler(Queue(own, app_with(every(0.2))), by=by).run()

            for by in "abc":
                group.start_soon(worker, by)
            await begun(client)
            for failover in range(10):
                ticks = (await state(client)).ticks

                async def some(ticks: int = ticks) -> bool:
                    return (await state(client)).ticks >= ticks + 2

                leader = await anyio.to_thread.run_sync(coord_cluster.wait_leader)
                await anyio.to_thread.run_sync(coord_cluster.kill, leader)
                await until(some)
                await anyio.to_thread.run_sync(coord_cluster.restart, leader)
                if failover in (3, 6):
                    scopes[failover // 3 - 1].cancel()
            group.cancel_scope.cancel()
        found = await due_ms(client)
        now = await state(client)
        assert len(found) >= 20
        assert found == list(range(found[0], found[-1] + 1, 200))
        assert (now.ticks, now.passed_over, now.last_ms) == (len(found), 0, found[-1])
