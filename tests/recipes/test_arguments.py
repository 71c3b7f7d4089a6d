"""Truth values where a number is asked for: ``deadline=True`` is a mistake, and no second.

Everything that any recipe, and any call of the client, is given goes the same few ways: so each of those is tried once,
and each kind of number of each recipe.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

import coord.client.blocking as threads
from coord.client import Client, InvalidRequest
from coord.recipes import config, counter, discovery, membership
from coord.recipes.barrier import Barrier, DoubleBarrier
from coord.recipes.blocking.lock import Lock as BlockingLock
from coord.recipes.election import Election
from coord.recipes.latch import Latch
from coord.recipes.lock import Lock
from coord.recipes.multilock import MultiLock
from coord.recipes.partitioning import Partitioning
from coord.recipes.periodic import Periodic
from coord.recipes.semaphore import Semaphore
from coord.testing import Cluster, cluster
from coord.testing.local import local_member
from tests.recipes.house import both, run

Call = Callable[[Client, Any], object]


@pytest.fixture(scope="module")
def member() -> Iterator[Cluster]:
    with cluster(1) as made:
        yield made


async def enter(block: AbstractAsyncContextManager[object]) -> None:
    async with block:
        pass


DEADLINES: dict[str, Call] = {
    "get": lambda client, wrong: client.get("/", deadline=wrong),
    "children": lambda client, wrong: client.children("/", deadline=wrong),
    "create": lambda client, wrong: client.create("/wrong", deadline=wrong),
    "claim": lambda client, wrong: client.claim("/wrong", deadline=wrong),
    "transact": lambda client, wrong: client.transact(lambda t: t.get("/"), deadline=wrong),
    "transaction": lambda client, wrong: client.transaction(deadline=wrong),
    "watch": lambda client, wrong: enter(client.watch("/", deadline=wrong)),
    "cache": lambda client, wrong: enter(client.cache("/", deadline=wrong)),
    "lock": lambda client, wrong: enter(Lock(client, "/wrong").hold(deadline=wrong)),
    "lock, without a block": lambda client, wrong: Lock(client, "/wrong").acquire(deadline=wrong),
    "lock, tried": lambda client, wrong: Lock(client, "/wrong").try_acquire(deadline=wrong),
    "locks": lambda client, wrong: MultiLock(client, ["/wrong", "/also"]).acquire(deadline=wrong),
    "semaphore": lambda client, wrong: Semaphore(client, "/wrong", 2).acquire(deadline=wrong),
    "election": lambda client, wrong: enter(Election(client, "/wrong").lead(deadline=wrong)),
    "leader": lambda client, wrong: Election(client, "/wrong").leader(deadline=wrong),
    "barrier": lambda client, wrong: Barrier(client, "/wrong").create(deadline=wrong),
    "double barrier": lambda client, wrong: DoubleBarrier(client, "/wrong", 1, deadline=wrong).enter(),
    "latch": lambda client, wrong: Latch(client, "/wrong", 1).count_down(deadline=wrong),
    "counter": lambda client, wrong: counter.Counter(client, "/wrong").add(deadline=wrong),
    "group": lambda client, wrong: enter(membership.join(client, "/wrong", "me", deadline=wrong)),
}

COUNTS: dict[str, Call] = {
    "capacity": lambda client, wrong: enter(Semaphore(client, "/wrong", wrong).hold()),
    "units": lambda client, wrong: Semaphore(client, "/wrong", 2).acquire(wrong),
    "units of a claim": lambda client, wrong: client.claim("/wrong", units=wrong),
    "how many claims": lambda client, wrong: client.claim_first("/", wrong),
    "page": lambda client, wrong: client.list("/", limit=wrong),
    "version": lambda client, wrong: client.set("/", b"", version=wrong),
    "revision": lambda client, wrong: client.get("/", at_least=wrong),
    "amount": lambda client, wrong: counter.Counter(client, "/wrong").add(wrong),
    "initial": lambda client, wrong: counter.Counter(client, "/wrong", initial=wrong),
    "block": lambda client, wrong: counter.Sequence(client, "/wrong", block=wrong),
    "latch": lambda client, wrong: Latch(client, "/wrong", wrong),
    "parties": lambda client, wrong: DoubleBarrier(client, "/wrong", wrong),
    "kept": lambda client, wrong: config.Config(client, "/wrong", int, keep=wrong),
    "partitions": lambda client, wrong: Partitioning(client, "/wrong", wrong),
}

SECONDS: dict[str, Call] = {
    "ttl": lambda client, wrong: client.create("/wrong", ttl=wrong),
    "delay": lambda client, wrong: client.hold_back("/", wrong),
    "lock delay": lambda client, wrong: client.claim_settings("/", lock_delay=wrong),
    "pulse": lambda client, wrong: enter(membership.join(client, "/wrong", "me", pulse=wrong)),
    "pulse of a service": lambda client, wrong: enter(
        discovery.register(client, "/wrong", "s", "h:1", pulse=wrong)
    ),
    "grace": lambda client, wrong: Partitioning(client, "/wrong", 4, grace=wrong),
    "period": lambda client, wrong: Periodic(client, "/wrong", every=wrong),
}

ALL = {"deadline": DEADLINES, "count": COUNTS, "seconds": SECONDS}


@asynccontextmanager
async def a_client() -> AsyncIterator[Client]:
    async with local_member() as member, member.connect() as client:
        yield client


@both
@pytest.mark.parametrize("kind", ALL)
def test_a_truth_value_is_no_number(backend: str, kind: str) -> None:
    async def main() -> None:
        async with a_client() as client:
            taken = []
            for name, call in ALL[kind].items():
                for wrong in (True, False):
                    try:
                        asked = call(client, wrong)
                        if isinstance(asked, Awaitable):
                            await asked
                    except InvalidRequest:
                        continue
                    taken.append((name, wrong))
            assert taken == []
            assert await client.exists("/wrong") is None

    run(backend, main)


def test_nor_in_threads(member: Cluster) -> None:
    with threads.connect(member.endpoints) as client:
        lock = BlockingLock(client, "/wrong")
        calls: list[Callable[[Any], object]] = [
            lambda wrong: client.get("/", deadline=wrong),
            lambda wrong: client.claim("/wrong", deadline=wrong),
            lambda wrong: lock.acquire(deadline=wrong),
            lambda wrong: lock.hold(deadline=wrong).__enter__(),
        ]
        for call in calls:
            for wrong in (True, False):
                with pytest.raises(InvalidRequest, match="a deadline is a number of seconds, not"):
                    call(wrong)
        assert client.exists("/wrong") is None
