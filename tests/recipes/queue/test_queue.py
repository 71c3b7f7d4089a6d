"""Enqueueing, against a member: one request, keys, bounds, order."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

import anyio
import anyio.lowlevel
import pytest

from coord.client import (
    Client,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    Set,
    connect,
)
from coord.recipes.queue import (
    App,
    BadArguments,
    BadRecord,
    Call,
    Concurrency,
    NotSucceeded,
    Queue,
    QueueClosed,
    QueueFull,
    Rate,
    Status,
    TaskFailed,
    TooLarge,
    Unique,
    UnknownTask,
    chain,
    group,
)
from coord.recipes.queue.running import Done, Lost
from coord.testing import Cluster
from tests.recipes.house import both, clients, fresh, run
from tests.recipes.queue.hand import Hand
from tests.recipes.queue.shop import app, double, forget, send, total


def with_hand(
    cluster: Cluster, main: Callable[[Client, Queue, Hand], Awaitable[None]], backend: str = "asyncio"
) -> None:
    async def whole() -> None:
        async with clients(cluster, 1) as [client]:
            await main(client, Queue(client, app), Hand(client, app))

    run(backend, whole)


@both
def test_a_task_goes_its_way(member: Cluster, backend: str) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        task = await queue.enqueue(send.call("a@b", body="hi"))
        assert task.new
        assert await task.status() == Status.WAITING
        running = await hand.take("mail")
        assert running.id == task.id
        assert await hand.arguments(running) == {"to": "a@b", "body": "hi"}
        assert await task.status() == Status.RUNNING
        with pytest.raises(DeadlineExceeded) as caught:
            await task.result(deadline=0.05)
        assert caught.value.outcome == "refused"

        found: list[int] = []

        async def wait() -> None:
            found.append(await task.result())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert isinstance(await hand.complete(running, b"2"), Done)
        assert found == [2]
        assert await task.status() == Status.SUCCEEDED
        assert await task.result() == 2
        assert (await task.ended()).attempts == 1
        again = queue.task(task.reference)
        assert await again.result() == 2
        assert await client.children(running.paths.folder("-")) == []

    with_hand(member, main, backend)


def test_enqueueing_is_one_request(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        await queue.enqueue(send.call("a"))
        before = client.revision
        call = send.call("a").with_(
            delay=5,
            unique="u",
            same="s",
            deadline=9,
            concurrency=Concurrency("a", 2),
            rate=[Rate("b", per_second=20), Rate("c", per_minute=1, burst=3)],
        )
        task = await queue.enqueue(call)
        assert client.revision == before + 1
        assert await task.status() == Status.DELAYED
        facts = await client.claim_info(task.path)
        assert [(each.name, each.width, each.interval_ms, each.burst) for each in facts.lanes] == [
            ("c:a", 2, 0, 1),
            ("r:b", 0, 50, 1),
            ("r:c", 0, 60_000, 3),
        ]
        assert 0 < (facts.held_back_ms or 0) <= 5_000
        before = client.revision
        await queue.enqueue(group([send.call(str(n)) for n in range(9)]).then(total.call()).steps[0])
        assert client.revision == before + 1

    with_hand(member, main)


def test_what_waits_stands_by_priority_then_age(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        wanted = [await queue.enqueue(double.call(n).with_(priority=9)) for n in range(2)]
        many = await queue.enqueue_many([double.call(n) for n in range(3)])
        first = await queue.enqueue(double.call(9).with_(priority=0))
        async with connect(member.endpoints, namespace=client.root) as other:
            last = await Queue(other, app).enqueue(double.call(7))
        assert int(last.id[2:16], 16) >= int(first.id[2:16], 16) > 0
        order = [first, *many, last, *wanted]
        assert [(await hand.take()).id for _ in order] == [each.id for each in order]

    with_hand(member, main)


def test_who_stands_in_line_is_given_the_first_of_what_comes_together(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        folder = hand.app.layout.queue("default").folder("-")
        await queue.enqueue(double.call(1))
        await hand.complete(await hand.take())
        taken: list[tuple[int, str]] = []

        async def wait(waits: anyio.Event) -> None:
            [grant] = await client.claim_first(folder, waits=waits.set)
            taken.append((grant.number, grant.path.rpartition("/")[2][0]))

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                waits = anyio.Event()
                tasks.start_soon(wait, waits)
                await waits.wait()
            await queue.enqueue_many([double.call(1).with_(priority=each) for each in (9, 0, 5)])
        assert [priority for _, priority in sorted(taken)] == ["0", "5", "9"]

    with_hand(member, main)


def test_a_queue_that_is_full_or_closed(member: Cluster) -> None:
    small = App("small", max_length=3)

    @small.task
    def work() -> None: ...

    async def main(client: Client, _: Queue, hand: Hand) -> None:
        queue = Queue(client, small)
        with pytest.raises(QueueFull) as caught:
            await queue.enqueue(group([work.call()] * 4))
        assert caught.value.outcome == "refused"
        await queue.enqueue(group([work.call()] * 2))
        with pytest.raises(QueueFull):
            await queue.enqueue(group([work.call()] * 2))
        await queue.enqueue(work.call())
        with pytest.raises(QueueFull) as caught:
            await queue.enqueue(work.call())
        assert caught.value.details == {"queue": "default", "tasks": 3, "maximum": 3}
        with pytest.raises(QueueFull) as caught:
            await queue.enqueue_many([work.call().with_(queue="b") for _ in range(7)])
        assert caught.value.details["enqueued"] == 0
        assert "7 tasks at once are more than the queue b ever takes: 3" in caught.value.message
        running = await Hand(client, small).take()
        await Hand(client, small).complete(running)
        await queue.enqueue(work.call())  # there is room again
        await Hand(client, small).complete(await Hand(client, small).take())
        await client.create(running.paths.closed)
        with pytest.raises(QueueClosed) as closed:
            await queue.enqueue(work.call())
        assert closed.value.details == {"queue": "default"}

    with_hand(member, main)


def test_enqueue_many_leaves_turns_to_others(member: Cluster) -> None:
    """Ten thousand calls take seconds to be checked; without a turn for its keepalives a session would end."""

    wide = App("wide")

    @wide.task
    async def work(number: int) -> None: ...

    async def main(client: Client, _: Queue, hand: Hand) -> None:
        turns, seen = 0, set()

        async def take_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await anyio.lowlevel.checkpoint()

        def calls() -> Iterator[Call[None]]:
            for number in range(500):
                seen.add(turns)
                yield work.call(number)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take_turns)
            made = await Queue(client, wide).enqueue_many(calls())
            tasks.cancel_scope.cancel()
        assert len(seen) >= 4, "the calls were built in one turn"
        assert [each.id for each in made] == sorted(each.id for each in made)

    with_hand(member, main)


def test_enqueue_many_tells_how_far_it_came(member: Cluster) -> None:
    small = App("small", max_length=300)

    @small.task
    def work(text: str) -> None: ...

    async def main(client: Client, _: Queue, hand: Hand) -> None:
        queue = Queue(client, small)
        with pytest.raises(QueueFull) as caught:
            await queue.enqueue_many([work.call("") for _ in range(450)])
        assert caught.value.details["enqueued"] == 200
        paths = small.layout.queue("default")
        assert len(await client.children(paths.folder("-"))) == 200
        with pytest.raises(BadArguments):
            await queue.enqueue_many([work.call("x"), work.call(1)])  # type: ignore[arg-type]
        assert len(await client.children(paths.folder("-"))) == 200
        tasks = await queue.enqueue_many([work.call("x").with_(unique="u") for _ in range(3)])
        assert len({each.id for each in tasks}) == 1
        assert [each.new for each in tasks] == [True, False, False]
        large = await queue.enqueue_many([work.call("x" * 60_000).with_(queue="large") for _ in range(40)])
        assert len(large) == 40  # more bytes than one request may have

    with_hand(member, main)


def test_a_unique_key_until_the_end(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        call = double.call(1).with_(unique="key/1")
        first = await queue.enqueue(call)
        second = await queue.enqueue(call)
        assert (second.new, second.id) == (False, first.id)
        running = await hand.take()
        assert (await queue.enqueue(call)).id == first.id
        await hand.complete(running, b"2")
        assert await second.result() == 2
        third = await queue.enqueue(call)
        assert third.new
        await client.delete(third.path)  # by hand: its key stays behind
        fourth = await queue.enqueue(call)
        assert fourth.new
        running = await hand.take()
        assert running.id == fourth.id
        await client.delete(running.paths.unique("key/1"))
        fifth = await queue.enqueue(call)
        await hand.complete(running)
        assert (await queue.enqueue(call)).id == fifth.id  # the end of the fourth took only its own key
        await client.set(running.paths.unique("key/1"), b"what is this?")
        assert (await queue.enqueue(call)).new
        await client.create(running.paths.same("s"), b"what is this?")
        with pytest.raises(BadRecord):
            await queue.enqueue(double.call(1).with_(same="s"))

    with_hand(member, main)


def test_a_unique_key_until_it_has_begun_or_for_a_time(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        call = double.call(1).with_(unique=Unique("k", until="begun"))
        first = await queue.enqueue(call)
        assert (await queue.enqueue(call)).id == first.id
        running = await hand.take()
        second = await queue.enqueue(call)
        assert second.new
        assert (await queue.enqueue(call)).id == second.id
        await hand.complete(running)
        assert (await queue.enqueue(call)).id == second.id

        call = double.call(1).with_(unique=Unique("t", for_s=60), priority=0)
        first = await queue.enqueue(call)
        await hand.complete(await hand.take())
        again = await queue.enqueue(call)
        assert (again.id, again.new) == (first.id, False)
        await client.delete(first.paths.unique("t"))  # as its time does
        assert (await queue.enqueue(call)).new

    with_hand(member, main)


def test_the_same_request_twice_is_one_task(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        call = double.call(4).with_(same="order-7")
        first = await queue.enqueue(call)
        running = await hand.take()
        assert running.record.keep_ms == 86_400_000  # who asks again wants the result
        await hand.complete(running, b"8")
        second = await queue.enqueue(call)
        assert (second.new, second.id) == (False, first.id)
        assert await second.result() == 8
        assert await hand.nothing()
        tasks: list[str] = []

        async def enqueue() -> None:
            tasks.append((await queue.enqueue(double.call(1).with_(same="at once"))).id)

        async with anyio.create_task_group() as nursery:
            for _ in range(10):
                nursery.start_soon(enqueue)
        assert len(tasks) == 10
        assert len(set(tasks)) == 1

    with_hand(member, main)


def test_what_cannot_be_enqueued(member: Cluster) -> None:
    other = App("other")

    @other.task
    def strange() -> None: ...

    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        task = await queue.enqueue(double.call(1))
        for wrong, error in (
            (strange.call(), InvalidRequest),
            (double.call("x"), BadArguments),
            (double.call(), BadArguments),
            (send.call("x" * 70_000), TooLarge),
            (double, InvalidRequest),
            (None, InvalidRequest),
            (chain(double.call(1).with_(same="x"), double.call()), InvalidRequest),
            (chain(double.call(1), double.call().with_(after=[task])), InvalidRequest),
            (group([group([double.call(1)])]), InvalidRequest),
            (group([double.call(1)] * 1_001), InvalidRequest),
            (chain(double.call(1), group([double.call()] * 401)), InvalidRequest),
            (group([send.call("x" * 60_000)] * 40), TooLarge),
            (double.call(1).with_(after=["x"]), InvalidRequest),
            (chain(double.call(1), forget.call()), BadArguments),
        ):
            with pytest.raises(error) as caught:
                await queue.enqueue(wrong)  # type: ignore[arg-type]
            assert caught.value.outcome == "refused"
        for call in (double.call(1).with_(after=[task]), chain(double.call(1))):
            with pytest.raises(InvalidRequest):
                await queue.enqueue_many([call])  # type: ignore[list-item]
        assert len(await client.children(app.layout.queue("default").folder("-"))) == 1

    with_hand(member, main)


@pytest.mark.parametrize(
    "said",
    [
        {"priority": 10},
        {"priority": True},
        {"delay": -1},
        {"delay": float("inf")},
        {"deadline": 0},
        {"needs": "gpu"},
        {"unique": 3},
        {"unique": ""},
        {"same": "x" * 300},
        {"on": "failure"},
        {"keep": "long"},
        {"queue": "a/b"},
        {"concurrency": "a"},
        {"rate": [Rate("a", per_second=1), Rate("a", per_second=2)]},
        {"retry": 3},
        {"colour": "red"},
        {"headers": {"a": 1}},
        {"times": -1},
    ],
)
def test_what_cannot_be_said_of_a_call(said: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        double.call(1).with_(**said)


def test_a_result_that_is_not_kept(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        task = await queue.enqueue(forget.call())
        with pytest.raises(InvalidRequest, match="keep=0"):
            await task.result()
        with pytest.raises(InvalidRequest, match="keep=0"):
            await queue.task(task.reference).result()
        await hand.complete(await hand.take())
        assert await task.status() == Status.UNKNOWN
        with pytest.raises(UnknownTask):
            await queue.task(task.reference).result()
        for wrong in ("", "a/b", "a/b/c", "a/-/" + "0" * 35, 3):
            with pytest.raises(InvalidRequest):
                queue.task(wrong)  # type: ignore[arg-type]

    with_hand(member, main)


def test_a_failure_is_told_with_its_traceback(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        task = await queue.enqueue(double.call(1))
        running = await hand.take()
        assert isinstance(await hand.fail(running), Done)
        with pytest.raises(TaskFailed) as caught:
            await task.result()
        assert caught.value.details["traceback"] == "Traceback: here"
        assert "ValueError: bad" in caught.value.message
        assert isinstance(caught.value, NotSucceeded)
        await client.delete(running.paths.done(task.id))  # its time is over; the letter's is not
        with pytest.raises(TaskFailed):
            await queue.task(task.reference).result()
        assert (await task.wait()).outcome == "failed"

    with_hand(member, main)


def test_in_a_namespace_all_of_it_is_inside(member: Cluster) -> None:
    async def main() -> None:
        space = fresh()
        async with connect(member.endpoints) as client:
            inside = client.namespace(space)
            task = await Queue(inside, app).enqueue(double.call(2).with_(unique="u"))
            assert await client.exists(space + task.path) is not None
            running = await Hand(inside, app).take()
            await Hand(inside, app).complete(running, b"4")
            assert await task.result() == 4

    run("asyncio", main)


def test_ops_of_the_tasks_own_happen_with_its_end_or_not_at_all(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        task = await queue.enqueue(double.call(1))
        running = await hand.take()
        with pytest.raises(NotFound):
            await hand.complete(running, b"1", [Set("/a", b"1", create=True), Set("/b", b"1")])
        assert await task.status() == Status.RUNNING
        assert await client.exists("/a") is None
        late = replace(running, token=running.token - 1)
        assert isinstance(await hand.complete(late, b"1", [Set("/a", b"1", create=True)]), Lost)
        assert await client.exists("/a") is None
        assert isinstance(await hand.complete(running, b"1", [Set("/a", b"1", create=True)]), Done)
        assert (await client.get("/a")).value == b"1"

    with_hand(member, main)


def test_limits_hold_for_all_with_the_key(member: Cluster) -> None:
    async def main(client: Client, queue: Queue, hand: Hand) -> None:
        one = Concurrency("customer-7", 2)
        await queue.enqueue_many([double.call(n).with_(concurrency=one) for n in range(4)])
        await queue.enqueue(send.call("a").with_(concurrency=one))
        first, _ = await hand.take(), await hand.take()
        assert await hand.nothing()
        assert await hand.nothing("mail")
        await hand.again(first)  # its attempt has failed: another one's turn, in whichever queue
        third = await hand.take()
        assert third.id == first.id
        await hand.complete(third)
        await hand.take("mail")
        assert await hand.nothing()

        rate = Rate("provider", per_minute=1, burst=2)
        await queue.enqueue_many([double.call(n).with_(rate=rate, priority=1) for n in range(3)])
        await hand.complete(await hand.take())
        await hand.complete(await hand.take())
        assert await hand.nothing()

    with_hand(member, main)
