"""Many transactions at once, judged as one at a time: over sockets, through cuts and failovers, on both backends."""

import random
from dataclasses import dataclass, field

import anyio
import pytest

from coord.client import Client, Conflict, CoordError, Transaction, connect
from coord.testing import cluster
from tests.client.house import House, both, house, run

PATHS = [f"/r/{name}" for name in "abcde"]


@dataclass
class Done:
    """One transaction that was committed: what it read and what it wrote."""

    revision: int
    began_at: int
    """A revision that the tree had reached before it began."""
    read: dict[str, bytes | None] = field(default_factory=dict)
    names: list[str] | None = None
    wrote: dict[str, bytes | None] = field(default_factory=dict)
    """``None``: deleted."""


def replay(history: list[Done]) -> None:
    """One after the other, in the order of their revisions, each reads what is there then. One that only read has
    no place of its own: there must be one for it, and not before it began.
    """
    state: dict[str, bytes | None] = dict.fromkeys(PATHS)
    states = {0: dict(state)}
    for done in sorted((done for done in history if done.revision), key=lambda done: done.revision):
        assert fits(done, state), done
        state.update(done.wrote)
        states[done.revision] = dict(state)
    for done in history:
        if not done.revision:
            last = max(revision for revision in states if revision <= done.began_at)
            later = [state for revision, state in states.items() if revision >= last]
            assert any(fits(done, state) for state in later), done


def fits(done: Done, state: dict[str, bytes | None]) -> bool:
    names = sorted(path[3:] for path, value in state.items() if value is not None)
    return all(state[path] == value for path, value in done.read.items()) and done.names in (None, names)


@both
@pytest.mark.parametrize("seed", range(3))
def test_as_if_one_at_a_time(backend: str, seed: int) -> None:
    history: list[Done] = []
    tries = 0

    async def work(client: Client, dice: random.Random) -> None:
        async def some(t: Transaction) -> Done:
            nonlocal tries
            tries += 1
            done = Done(0, began_at)
            for path in dice.sample(PATHS, dice.randrange(4)):
                done.read[path] = (await t.get(path)).value if await t.exists(path) else None
                if dice.random() < 0.3:
                    await anyio.lowlevel.checkpoint()
            if dice.random() < 0.3:
                done.names = await t.children("/r")
            if dice.random() < 0.7:
                for path in dice.sample(PATHS, dice.randrange(1, 3)):
                    value = (
                        None if dice.random() < 0.3 and done.read.get(path) is not None else dice.randbytes(4)
                    )
                    if value is None:
                        t.delete(path)
                    else:
                        t.set(path, value, create=True)
                    done.wrote[path] = value
                    assert await t.exists(path) == (value is not None)
            return done

        for _ in range(25):
            began_at = client.revision
            held: list[Transaction] = []

            async def keep(t: Transaction, held: list[Transaction] = held) -> Done:
                held.append(t)
                return await some(t)

            done = await client.transact(keep)
            done.revision = held[-1].revision
            history.append(done)

    async def main() -> None:
        async with house(2) as at, connect(at.endpoints) as one, connect(at.endpoints) as two:
            await one.create("/r")
            async with anyio.create_task_group() as tasks:
                for number in range(8):
                    tasks.start_soon(work, (one, two)[number % 2], random.Random(seed * 100 + number))

    run(backend, main)
    assert len(history) == 200
    assert tries > 210, "there were conflicts"
    assert sum(1 for done in history if not done.revision and (done.read or done.names is not None)) > 20
    replay(history)


def test_that_the_replay_finds_a_write_skew() -> None:
    first = Done(5, 0, {"/r/a": None, "/r/b": None}, None, {"/r/a": b"x"})
    second = Done(6, 0, {"/r/a": None, "/r/b": None}, None, {"/r/b": b"x"})
    with pytest.raises(AssertionError):
        replay([second, first])
    replay([first, Done(6, 0, {"/r/a": b"x", "/r/b": None}, ["a"], {"/r/b": b"x"})])
    replay([first, Done(0, 4, {"/r/a": None})])
    with pytest.raises(AssertionError):
        replay([first, Done(0, 5, {"/r/a": None})])


@both
def test_no_write_skew(backend: str) -> None:
    """Two doctors are on call, and each may leave if the other stays. Both leave at once: one must be refused."""

    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            await client.when().then.create("/on").create("/on/a", b"yes").create("/on/b", b"yes").commit()
            reads = Meeting(2)

            async def leave(me: str, other: str) -> bool:
                try:
                    async with client.transaction() as t:
                        if (await t.get(other)).value != b"yes":
                            return False
                        await reads.join()
                        t.set(me, b"no")
                except Conflict:
                    return False
                return True

            left: list[bool] = []

            async def doctor(me: str, other: str) -> None:
                left.append(await leave(me, other))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(doctor, "/on/a", "/on/b")
                tasks.start_soon(doctor, "/on/b", "/on/a")
            assert sorted(left) == [False, True]

    run(backend, main)


@both
def test_nor_by_way_of_a_listing(backend: str) -> None:
    """Each adds itself where it finds nobody."""

    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            await client.create("/on")
            reads = Meeting(2)
            failures: list[CoordError] = []

            async def enter(name: str) -> None:
                try:
                    async with client.transaction() as t:
                        assert await t.children("/on") == []
                        await reads.join()
                        t.create(f"/on/{name}")
                except Conflict as error:
                    failures.append(error)

            async with anyio.create_task_group() as tasks:
                for name in "ab":
                    tasks.start_soon(enter, name)
            assert len(failures) == 1
            assert "the children of '/on'" in failures[0].message

    run(backend, main)


class Meeting:
    """All have come before any goes on."""

    def __init__(self, count: int) -> None:
        self._missing = count
        self._all = anyio.Event()

    async def join(self) -> None:
        self._missing -= 1
        if not self._missing:
            self._all.set()
        await self._all.wait()


@both
def test_many_increments_lose_none(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            await client.create("/n", b"0")

            async def increment(t: Transaction) -> None:
                t.set("/n", b"%d" % (int((await t.get("/n")).value) + 1))

            async def work() -> None:
                for _ in range(5):
                    await client.transact(increment)

            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(work)
                tasks.start_soon(cut_now_and_then, at)
            assert (await client.get("/n")).value == b"100"
            assert (await client.get("/n")).stat.version == 100

    async def cut_now_and_then(at: House) -> None:
        for number in range(4):
            await anyio.sleep(0.05)
            await at.cut(at.doors[number % 2])

    run(backend, main)


@both
def test_none_is_lost_or_done_twice_across_failovers(backend: str) -> None:
    async def main() -> None:
        async with connect(made.endpoints) as client:
            await client.create("/n", b"0")
            returned: list[int] = []
            enough = False

            async def increment(t: Transaction) -> int:
                number = int((await t.get("/n")).value) + 1
                t.set("/n", b"%d" % number)
                return number

            async def work() -> None:
                while not enough:
                    returned.append(await client.transact(increment))

            async with anyio.create_task_group() as tasks:
                for _ in range(4):
                    tasks.start_soon(work)
                for _ in range(2):
                    leader = made.wait_leader()
                    made.kill(leader)
                    await client.transact(increment_elsewhere)  # somebody else leads, and answers
                    made.restart(leader)
                enough = True
            # Each has seen a state of its own, and nobody saw what was not committed.
            assert sorted(returned) == list(range(1, len(returned) + 1))
            assert (await client.get("/n")).value == b"%d" % len(returned)
            assert (await client.get("/elsewhere")).value == b"xx"

    async def increment_elsewhere(t: Transaction) -> None:
        before = (await t.get("/elsewhere")).value if await t.exists("/elsewhere") else b""
        t.set("/elsewhere", before + b"x", create=True)

    with cluster(3) as made:
        run(backend, main)
