"""The recipes in plain threads: what is theirs alone."""

import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import anyio
import pytest
from pydantic import BaseModel

from coord.client import DeadlineExceeded, InvalidRequest, NotFound
from coord.client import connect as connect_async
from coord.client.blocking import Client, connect
from coord.recipes import counter as tasks_counter
from coord.recipes.blocking import discovery, membership
from coord.recipes.blocking.barrier import Barrier, DoubleBarrier
from coord.recipes.blocking.bridge import Bridge, Inside
from coord.recipes.blocking.config import Config
from coord.recipes.blocking.counter import Counter, Sequence
from coord.recipes.blocking.latch import Latch
from coord.recipes.blocking.membership import Lost, What, Why
from coord.recipes.discovery import Endpoint
from coord.testing import Cluster
from tests.recipes.house import fresh

SECONDS = 10


class Limits(BaseModel):
    rate: int


@pytest.fixture
def client(member: Cluster) -> Iterator[Client]:
    with connect(member.endpoints, namespace=fresh(), deadline=SECONDS) as made:
        yield made


@pytest.fixture
def other(member: Cluster, client: Client) -> Iterator[Client]:
    with connect(member.endpoints, namespace=client.root, deadline=SECONDS) as made:
        yield made


def test_counting_in_many_threads(client: Client, other: Client) -> None:
    counters = [Counter(client, "/n"), Counter(other, "/n")]
    with ThreadPoolExecutor(16) as pool:
        seen = list(pool.map(lambda number: counters[number % 2].add(1 + number % 3), range(150)))
    assert len(set(seen)) == 150
    assert counters[0].get() == max(seen) == 300
    assert counters[1].compare_and_set(300, 1)
    counters[0].set(5)
    assert counters[1].get() == 5


def test_ids_in_many_threads(client: Client, other: Client) -> None:
    sequences = [Sequence(client, "/ids", block=10), Sequence(other, "/ids", block=7)]
    with ThreadPoolExecutor(16) as pool:
        given = list(pool.map(lambda number: sequences[number % 2].next(), range(300)))
    assert len(set(given)) == 300


def test_ids_of_a_block_cost_nothing(client: Client, member: Cluster) -> None:
    sequence = Sequence(client, "/ids", block=5)
    sequence.next()
    member.pause()
    try:
        assert [sequence.next() for _ in range(4)] == [2, 3, 4, 5]
        with pytest.raises(DeadlineExceeded):
            sequence.next(deadline=0.5)
    finally:
        member.resume()
    with pytest.raises(InvalidRequest, match="same ids"):
        sequence.__reduce__()


def test_a_latch_and_a_barrier(client: Client, other: Client) -> None:
    barrier, latch = Barrier(client, "/barrier"), Latch(client, "/latch", 8)
    assert barrier.create()

    def work(number: int) -> None:
        using = (client, other)[number % 2]
        Barrier(using, "/barrier").wait()
        Latch(using, "/latch", 8).count_down()

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(work, number) for number in range(8)]
        with pytest.raises(DeadlineExceeded):
            latch.wait(deadline=0.5)
        assert latch.remaining() == 8
        assert barrier.remove()
        latch.wait()
        for each in running:
            each.result(SECONDS)


def test_a_double_barrier(client: Client, other: Client) -> None:
    inside: list[int] = []

    def party(number: int) -> int:
        with DoubleBarrier((client, other)[number % 2], "/b", 4):
            inside.append(number)
            time.sleep(0.01)
            return len(inside)

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(party, range(8)))[-1] == 8
    barrier = DoubleBarrier(client, "/two", 2, deadline=1.5)
    with pytest.raises(DeadlineExceeded):
        barrier.enter()
    with pytest.raises(KeyError), DoubleBarrier(client, "/one", 1):
        raise KeyError("mine")
    assert client.children("/one") == []


def test_members_and_their_changes(client: Client, other: Client) -> None:
    with membership.observe(client, "/w") as group, group.changes() as changes:
        with membership.join(other, "/w", "a", {"x": 1}, pulse=0.2) as me:
            assert group.wait_size(1)[0].attributes == {"x": 1}
            me.update({"x": 2})
            found = [changes.next(SECONDS).what for _ in range(3)]
            assert found == [What.JOINED, What.UPDATED, What.STUCK]
            me.pulse()
            assert changes.next(SECONDS).what is What.WORKING
            assert group.wait_for(lambda roster: [each.name for each in roster if not each.stuck]) == ["a"]
            assert (group.get("a") or me.roster[0]).attributes == me.attributes == {"x": 2}
            assert not me.lost.is_set()
        assert me.failure is None
        assert not me.lost.is_set()
        for change in changes:
            assert (change.what, change.why) == (What.LEFT, Why.SAID_SO)
            break
        with pytest.raises(DeadlineExceeded):
            changes.next(0.05)
        assert group.roster == changes.roster == ()


def test_a_lost_membership_is_told(client: Client, other: Client) -> None:
    def be_removed() -> None:
        with membership.join(client, "/w", "a") as me:
            other.delete("/w/a")
            assert me.lost.wait(SECONDS)
            assert me.failure is not None
            with pytest.raises(Lost, match="deleted"):
                me.update({})
            with pytest.raises(Lost, match="deleted"):
                me.pulse()

    with pytest.raises(Lost, match="deleted"):
        be_removed()

    def fail() -> None:
        with membership.join(client, "/w", "a") as me:
            other.delete("/w/a")
            assert me.lost.wait(SECONDS)
            raise KeyError("mine")

    with pytest.raises(KeyError):
        fail()


def test_the_end_of_the_session_is_told(member: Cluster) -> None:
    def be_silent() -> None:
        with membership.join(client, "/w", "a") as me:
            member.pause()
            began_at = time.monotonic()
            assert me.lost.wait(SECONDS)
            assert time.monotonic() - began_at < 5

    with connect(member.endpoints, namespace=fresh(), session_timeout=0.4) as client:
        try:
            with pytest.raises(Lost):
                be_silent()
        finally:
            member.resume()


def test_the_client_is_closed_under_a_member(member: Cluster) -> None:
    client = connect(member.endpoints, namespace=fresh()).open()
    me = membership.join(client, "/w", "a")
    group = membership.observe(client, "/w")
    me.__enter__()
    group.__enter__()
    client.close()
    assert me.lost.wait(SECONDS)
    with pytest.raises(Lost, match="client was closed"):
        me.__exit__(None, None, None)
    group.__exit__(None, None, None)


def test_a_service(client: Client, other: Client) -> None:
    with discovery.discover(client, "/s", "api") as service:
        with discovery.register(other, "/s", "api", Endpoint("h", 1), "a") as me:
            assert service.wait_for(lambda endpoints: len(endpoints)) == 1
            assert service.pick() == service.pick_random() == service.pick_for("k")
            assert service.stale_for == 0.0
            me.drain()
            service.wait_for(lambda endpoints: not endpoints)
            assert [each.draining for each in service.everyone] == [True]
        service.wait_for(lambda _: not service.everyone)
        with service.changes() as changes:
            assert changes.roster == ()


def test_a_config(client: Client, other: Client) -> None:
    config = Config(client, "/c", Limits)
    with pytest.raises(NotFound):
        config.watch().__enter__()
    first = config.publish(Limits(rate=1))
    with config.watch() as live:
        seen: list[int] = []

        def follow() -> None:
            seen.extend(published.value.rate for published in live)

        thread = threading.Thread(target=follow)
        thread.start()
        Config(other, "/c", Limits).publish(Limits(rate=2), version=first.version)
        while live.value.rate != 2:
            time.sleep(0.001)
        assert (live.error, live.failure, live.published.version) == (None, None, 1)
    thread.join(SECONDS)
    assert not thread.is_alive()
    assert seen[-1] == 2
    assert config.roll_back(config.history()[0].revision).value == Limits(rate=1)
    assert config.read().value == Limits(rate=1)


def test_the_wrong_sort_of_client(client: Client, member: Cluster) -> None:
    with pytest.raises(InvalidRequest, match=r"the same in coord.recipes.blocking"):
        tasks_counter.Counter(client, "/n")  # type: ignore[arg-type]

    async def main() -> None:
        async with connect_async(member.endpoints) as asynchronous:
            for make in (Counter, Barrier):
                with pytest.raises(InvalidRequest, match=r"the same in coord.recipes$"):
                    make(asynchronous, "/n")  # type: ignore[arg-type]

    anyio.run(main)


def test_blocks_that_are_not_open(client: Client) -> None:
    me = membership.join(client, "/w", "a")
    with pytest.raises(InvalidRequest, match="enter its block"):
        _ = me.roster
    with me, pytest.raises(InvalidRequest, match="entered once"):
        me.__enter__()
    live = Config(client, "/c", Limits, default=Limits(rate=1)).watch()
    with pytest.raises(InvalidRequest, match="enter its block"):
        _ = live.value


def test_a_fault_within_is_not_kept_quiet(client: Client) -> None:
    @asynccontextmanager
    async def faulty() -> AsyncIterator[int]:
        yield 1
        raise ZeroDivisionError

    inside = Inside(Bridge(client), faulty, "a block")
    assert inside.enter(SECONDS) == 1
    with pytest.raises(ZeroDivisionError):
        inside.leave(None, None, None)


def test_deadlines_of_ids(client: Client) -> None:
    ids = Sequence(client, "/ids", block=5)
    for wrong in ("5", float("nan"), True):
        with pytest.raises(InvalidRequest, match="a deadline is"):
            ids.next(deadline=wrong)  # type: ignore[arg-type]
    assert [ids.next(deadline=1e300), ids.next(deadline=float("inf"))] == [1, 2]
