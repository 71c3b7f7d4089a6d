"""The face for plain threads: each of its methods, once."""

import threading

import anyio
import pytest

from coord.client import InvalidRequest
from coord.client import connect as async_connect
from coord.client.blocking import connect
from coord.recipes.blocking.queue import Queue, Status
from coord.recipes.queue import TaskFailed, group
from coord.testing import Cluster
from tests.recipes.house import fresh
from tests.recipes.queue.hand import Hand
from tests.recipes.queue.shop import app, double


def test_each_of_its_methods(member: Cluster) -> None:
    space = fresh()
    with connect(member.endpoints, namespace=space, deadline=10) as client:
        queue = Queue(client, app)
        first = queue.enqueue(double.call(1))
        second = queue.enqueue(double.call(1).with_(after=first))
        third, fourth = queue.enqueue_many([double.call(2), double.call(3)])
        both = queue.enqueue(group([double.call(4), double.call(5)]))
        assert (first.new, first.name, first.queue, first.needs) == (True, "double", "default", "-")
        assert client.exists(first.path) is not None
        assert [each.status() for each in (first, second, *both)] == [
            Status.WAITING,
            Status.AWAITING,
            Status.WAITING,
            Status.WAITING,
        ]
        record = first.record()
        assert record is not None
        assert len(record.then) == 1
        assert third.cancel()
        assert third.ended().outcome == "cancelled"
        assert not third.expire()
        assert both.cancel() == len(both) == 2
        go = threading.Event()

        async def work() -> None:
            async with async_connect(member.endpoints, namespace=space) as other:
                hand = Hand(other, app)
                await hand.complete(await hand.take(), b"2")
                running = await hand.take()
                await hand.fail(await hand.take())
                await other.create(running.paths.progress(running.id), b"0.5", ttl=60)
                await anyio.to_thread.run_sync(go.wait)
                await hand.complete(running, b"2")

        thread = threading.Thread(target=lambda: anyio.run(work))
        thread.start()
        try:
            assert first.result() == 2
            with pytest.raises(TaskFailed):
                fourth.result()
            with second.progress() as reports:
                for report in reports:
                    assert report == 0.5
                    break
            seen = []
            for report in second.progress():
                seen.append(report)
                go.set()
            assert seen == [0.5]
        finally:
            go.set()
            thread.join()
        assert second.wait().succeeded
        assert queue.task(second.reference).result() == 2
        assert queue.enqueue(group([double.call(1)]), deadline=5).cancel(deadline=5) == 1
        assert repr(first) == f"<task double {first.reference}>"
        with pytest.raises(InvalidRequest):
            queue.task("x")
