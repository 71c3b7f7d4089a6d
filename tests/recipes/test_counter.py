"""Counters and sequences."""

import copy
import os
import pickle

import anyio
import pytest

from coord.client import DeadlineExceeded, InvalidRequest
from coord.recipes.counter import Counter, Sequence
from coord.testing import Cluster
from tests.recipes.house import both, clients, run


@both
def test_numbers(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            counter = Counter(client, "/a/b", initial=5)
            assert await counter.get() == 5
            assert await counter.add() == 6
            assert await counter.add(0) == 6
            assert await counter.add(-10) == -4
            assert await counter.add(10**30) == 10**30 - 4
            await counter.set(7)
            assert await counter.get() == 7
            assert await counter.add() == 8
            # Whoever has never heard of it, or has old news, is told the same.
            assert await Counter(client, "/a/b").add(2) == 10
            assert await counter.add() == 11
            assert await counter.get() == 11

    run(backend, main)


@both
def test_compare_and_set(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            counter = Counter(client, "/n", initial=3)
            assert not await counter.compare_and_set(0, 9)
            assert await client.exists("/n") is None
            assert await counter.compare_and_set(3, 9)
            assert not await counter.compare_and_set(3, 1)
            assert await counter.compare_and_set(9, 1)
            assert await counter.get() == 1

    run(backend, main)


@both
def test_every_addition_counts_once(backend: str, member: Cluster) -> None:
    """Additions of all sorts, by several sessions at a time: each is told another number, and the sum is right."""

    async def main() -> None:
        async with clients(member, 3) as several:
            seen: list[int] = []

            async def add(counter: Counter, amounts: list[int]) -> None:
                seen.extend([await counter.add(amount) for amount in amounts])

            async with anyio.create_task_group() as tasks:
                for client in several:
                    for amounts in ([1] * 20, [1] * 20, [2, 1, 5, 1], [3, 3]):
                        tasks.start_soon(add, Counter(client, "/n"), amounts)
            assert await Counter(several[0], "/n").get() == 3 * (40 + 9 + 6) == max(seen)
            assert len(set(seen)) == len(seen) == 3 * 46

    run(backend, main)


@both
def test_additions_of_one_never_hold_each_other_up(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as several:
            await Counter(several[0], "/n").set(0)
            counters = [Counter(client, "/n") for client in several]
            for counter in counters:
                await counter.get()
            before = several[0].revision
            async with anyio.create_task_group() as tasks:
                for counter in counters:
                    for _ in range(50):
                        tasks.start_soon(counter.add)
            await several[0].get("/n")
            assert several[0].revision == before + 100  # not one was in vain
            assert (await several[0].get("/n")).stat.version == 100

    run(backend, main)


@both
def test_swaps_that_race(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as several:
            won = []

            async def swap(number: int) -> None:
                if await Counter(several[number % 2], "/n").compare_and_set(0, number):
                    won.append(number)

            async with anyio.create_task_group() as tasks:
                for number in range(1, 20):
                    tasks.start_soon(swap, number)
            assert won == [await Counter(several[0], "/n").get()]

    run(backend, main)


@both
def test_deleted_it_begins_anew(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            counter = Counter(client, "/n")
            await counter.add(5)
            await client.delete("/n")
            assert await counter.get() == 0
            assert await counter.add(2) == 2

    run(backend, main)


@both
def test_what_is_no_number(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            counter = Counter(client, "/n")
            for wrong in (1.5, "1", True, None):
                with pytest.raises(InvalidRequest, match="whole number"):
                    await counter.add(wrong)  # type: ignore[arg-type]
                with pytest.raises(InvalidRequest, match="whole number"):
                    await counter.set(wrong)  # type: ignore[arg-type]
            with pytest.raises(InvalidRequest, match="4096 bits at most"):
                await counter.set(10**5000)
            with pytest.raises(InvalidRequest, match="path"):
                Counter(client, "n")
            with pytest.raises(InvalidRequest, match="deadline"):
                await counter.add(deadline="soon")  # type: ignore[arg-type]
            await client.create("/text", b"hello", parents=True)
            with pytest.raises(InvalidRequest, match="is no counter"):
                await Counter(client, "/text").add()
            with pytest.raises(InvalidRequest, match="is no counter"):
                await Counter(client, "/text").get()

    run(backend, main)


@both
def test_ids_are_given_once_and_grow(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as several:
            given: dict[int, list[int]] = {}

            async def take(number: int, sequence: Sequence) -> None:
                for _ in range(25):
                    given.setdefault(number, []).append(await sequence.next())

            async with anyio.create_task_group() as tasks:
                for number, client in enumerate(several):
                    sequence = Sequence(client, "/ids", block=7 + number)
                    for _ in range(3):
                        tasks.start_soon(take, number, sequence)
            every = [each for ids in given.values() for each in ids]
            assert len(set(every)) == len(every) == 150
            assert min(every) == 1
            for ids in given.values():
                assert ids == sorted(ids)

    run(backend, main)


@both
def test_ids_cost_one_request_for_each_block(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            sequence = Sequence(client, "/ids", block=10)
            assert [await sequence.next() for _ in range(10)] == list(range(1, 11))
            before = client.revision
            member.pause()
            try:
                with pytest.raises(DeadlineExceeded) as caught:
                    await sequence.next(deadline=0.5)
            finally:
                member.resume()
            assert caught.value.outcome == "refused"
            assert await sequence.next() in (11, 21)  # the block whose answer nobody waited for may be lost
            assert client.revision <= before + 3

    run(backend, main)


@both
def test_a_sequence_cannot_be_doubled(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            sequence = Sequence(client, "/ids")
            await sequence.next()
            for double in (copy.copy, copy.deepcopy, pickle.dumps):
                with pytest.raises(InvalidRequest, match="same ids"):
                    double(sequence)  # type: ignore[operator]
            sequence._process = os.getpid() + 1  # as it is found in a forked child
            with pytest.raises(InvalidRequest, match="fork"):
                await sequence.next()
            with pytest.raises(InvalidRequest, match="block"):
                Sequence(client, "/ids", block=0)

    run(backend, main)
