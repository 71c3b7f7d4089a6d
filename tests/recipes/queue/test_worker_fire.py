"""Workers while members are killed, paused and cut off: nothing is lost, and what is done once is done once."""

from collections import Counter
from collections.abc import Callable, Iterator

import anyio
import pytest

from coord.client import Connecting, Create, connect
from coord.recipes.queue import App, Queue, Retry, context
from coord.recipes.queue.worker.serving import Serving
from coord.testing import Cluster, cluster
from tests.recipes.house import run

TASKS = 120


@pytest.fixture
def three() -> Iterator[Cluster]:
    with cluster(3) as made:
        yield made


def kill(members: Cluster, number: int) -> Callable[[], None]:
    members.kill(number)
    return lambda: members.restart(number)


def pause(members: Cluster, number: int) -> Callable[[], None]:
    members.pause(number)
    return lambda: members.resume(number)


def cut_off(members: Cluster, number: int) -> Callable[[], None]:
    members.cut_off(number)
    return lambda: members.heal(number)


def cut_off_from_clients(members: Cluster, number: int) -> Callable[[], None]:
    members.cut_off(number, peers=False)
    return lambda: members.heal(number)


@pytest.mark.parametrize("fault", [kill, pause, cut_off, cut_off_from_clients])
def test_members_go_and_come_while_workers_work(
    three: Cluster, fault: Callable[[Cluster, int], Callable[[], None]]
) -> None:
    app = App("fire")
    runs: Counter[int] = Counter()

    @app.task(retry=Retry(times=50, backoff=0.02))
    async def effect(number: int) -> int:
        runs[number] += 1
        await anyio.sleep(0.02)
        if runs[number] == 1 and number % 10 == 0:
            raise OSError("the first time")
        context().once(Create(f"/effects/{number}-{context().attempt}"))
        return number

    def connecting() -> Connecting:
        # Shorter than the faults, so that sessions are lost to them; and than what a busy machine does to a process.
        return connect(three.endpoints, session_timeout=1.5, deadline=30)

    async def main() -> None:
        async with connect(three.endpoints, session_timeout=60, deadline=60) as client:
            await client.create("/effects")
            queue = Queue(client, app)
            servings = [Serving(connecting, app, concurrency=5, name=f"w{n}", grace=10) for n in range(2)]
            async with anyio.create_task_group() as tasks:
                for serving in servings:
                    tasks.start_soon(serving.run)
                enqueued = []
                for part in range(3):
                    enqueued += await queue.enqueue_many(
                        [effect.call(n) for n in range(part * TASKS // 3, (part + 1) * TASKS // 3)]
                    )
                    number = await anyio.to_thread.run_sync(three.wait_leader)
                    undo = await anyio.to_thread.run_sync(fault, three, number)
                    await anyio.sleep(0.4 if part else 1.6)
                    await anyio.to_thread.run_sync(undo)
                assert [await task.result(deadline=60) for task in enqueued] == list(range(TASKS))
                for serving in servings:
                    serving.stop()
            names = await client.children("/effects")
            assert Counter(int(name.split("-")[0]) for name in names) == Counter(range(TASKS))
            assert not await client.children(app.layout.queue("default").folder("-"))
            assert not [row for row in (await client.claims(app.layout.queues)).claims if row.token]

    run("asyncio", main, 120)
