"""Optimistic transactions, one at a time, over real sockets, on both backends."""

import random
from collections.abc import Awaitable, Callable
from math import inf
from typing import NoReturn

import anyio
import pytest

from coord.client import (
    Client,
    Conflict,
    Created,
    DeadlineExceeded,
    Exists,
    InvalidRequest,
    Kind,
    NotFound,
    SessionRequired,
    StaleToken,
    Transaction,
    connect,
)
from coord.client.transaction import PAUSE_MAX_SECONDS, pause_seconds
from tests.client.house import both, house, run

# --- one at a time ----------------------------------------------------------------------------------------------------


@both
def test_read_compute_write(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            app = client.namespace("/app")
            await app.create("/a", b"1", parents=True)
            async with app.transaction() as t:
                znode = await t.get("/a")
                assert (znode.path, znode.value, znode.version, znode.owner) == ("/a", b"1", 0, 0)
                t.set("/a", znode.value + b"!")
                assert not await t.exists("/b")
                t.create("/b", ephemeral=True)
                t.create("/n-", sequential=True)
                assert not t.results
            assert [type(each).__name__ for each in t.results] == ["Written", "Created", "Created"]
            assert isinstance(t.results[2], Created)
            assert t.results[2].path == "/n-0000000000"
            after = await app.get("/a")
            assert (after.value, after.stat.modified_revision) == (b"1!", t.revision)
            assert await client.children("/app") == ["a", "b", "n-0000000000"]

    run(backend, main)


@both
def test_it_sees_its_own_writes(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            await client.create("/a/x", b"1", parents=True)
            async with client.transaction() as t:
                t.set("/a/x", b"2")
                assert (await t.get("/a/x")).value == b"2"
                t.create("/a/y", b"3", ephemeral=True)
                mine = await t.get("/a/y")
                assert (mine.value, mine.owner, mine.created_revision) == (b"3", client.session_id, None)
                assert await t.children("/a") == ["x", "y"]
                t.delete("/a/x")
                assert await t.children("/a") == ["y"]
                assert not await t.exists("/a/x")
                with pytest.raises(NotFound):
                    await t.get("/a/x")
                t.set("/b/c/d", b"4", create=True, parents=True)
                assert await t.children("/b") == ["c"]
                assert await t.children("/") == ["a", "b"]
                t.delete("/a", subtree=True)
                with pytest.raises(NotFound):
                    await t.children("/a")
                t.create("/q", kind=Kind.CONTAINER)
                t.create("/q/x")
                t.delete("/q/x")
                for attempt in (t.children("/q"), t.exists("/q"), t.children("/")):
                    with pytest.raises(InvalidRequest, match="container"):
                        await attempt
            assert await client.children("/") == ["b"]

    run(backend, main)


async def set_a(client: Client) -> None:
    await client.set("/a", b"2")


async def make_again(client: Client) -> None:
    await client.when().then.delete("/a", subtree=True).create("/a", b"1").create("/a/x").commit()


async def add_child(client: Client) -> None:
    await client.create("/a/y")


async def make_missing(client: Client) -> None:
    await client.create("/nope")


async def set_child(client: Client) -> None:
    await client.set("/a/x", b"other")


Read = Callable[[Transaction], Awaitable[object]]


async def read_a(t: Transaction) -> None:
    await t.get("/a")


async def read_that_a_is(t: Transaction) -> None:
    assert await t.exists("/a")


async def read_children(t: Transaction) -> None:
    assert await t.children("/a") == ["x"]


async def read_missing(t: Transaction) -> None:
    assert not await t.exists("/nope")


async def read_missing_children(t: Transaction) -> None:
    with pytest.raises(NotFound):
        await t.children("/nope")


@both
@pytest.mark.parametrize(
    ("read", "change", "path"),
    [
        (read_a, set_a, "/a"),
        (read_a, make_again, "/a"),
        (read_that_a_is, make_again, "/a"),
        (read_children, add_child, "/a"),
        (read_children, make_again, "/a"),
        (read_missing, make_missing, "/nope"),
        (read_missing_children, make_missing, "/nope"),
        (read_a, add_child, None),
        (read_children, set_a, None),
        (read_children, set_child, None),
    ],
)
def test_what_is_a_conflict(
    backend: str, read: Read, change: Callable[[Client], Awaitable[None]], path: str | None
) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            await client.when().then.create("/a", b"1").create("/a/x").commit()
            caught: Conflict | None = None
            try:
                async with client.transaction() as t:
                    await read(t)
                    await change(client)
                    t.set("/written", b"", create=True)
            except Conflict as error:
                caught = error
            if path is None:
                assert caught is None
                assert t.revision > 0
            else:
                assert caught is not None
                assert (caught.outcome, caught.details) == ("refused", {"path": path})
                assert t.stale
            assert (await client.exists("/written") is None) == (path is not None)

    run(backend, main)


@both
def test_a_read_that_would_not_fit_is_the_conflict(backend: str) -> None:
    """The story at the top of readset.py: nobody sees 150."""

    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            await client.when().then.create("/a", b"50").create("/b", b"50").create("/c", b"").commit()

            async def naive() -> None:
                async with client.transaction() as t:
                    assert (await t.get("/a")).value == b"50"
                    await client.when().then.set("/a", b"0").set("/b", b"100").commit()
                    await t.get("/b")
                    raise AssertionError("not reached")

            with pytest.raises(Conflict) as caught:
                await naive()
            assert caught.value.details == {"path": "/a"}

            async def deaf() -> None:
                async with client.transaction() as t:
                    await t.get("/a")
                    await client.when().then.set("/a", b"50").set("/b", b"50").commit()
                    for attempt in (t.get("/b"), t.get("/a"), t.children("/")):
                        with pytest.raises(Conflict):
                            await attempt
                    with pytest.raises(Conflict):
                        t.set("/c", b"")

            with pytest.raises(Conflict):
                await deaf()
            assert (await client.get("/c")).stat.version == 0
            # What others do elsewhere is no conflict, though a multi is spent on finding out.
            before = at.replica.state.store.applied_index
            async with client.transaction() as t:
                await t.get("/a")
                await client.set("/c", b"x")
                assert not await t.exists("/nope")
                assert (await t.get("/b")).value == b"50"
            assert at.replica.state.store.applied_index == before + 2
            assert t.revision == 0

    run(backend, main)


@both
def test_a_comparison_that_fails_has_written_nothing(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            await client.create("/a")
            asked = 0

            async def never(*arguments: object) -> NoReturn:
                nonlocal asked
                asked += 1
                raise DeadlineExceeded("no answer")

            async with client.transaction() as t:
                await t.get("/a")
                await client.create("/b")
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(client, "_write", never)
                    with pytest.raises(DeadlineExceeded) as caught:
                        await t.exists("/nope")
                assert (caught.value.outcome, asked) == ("refused", 1)
                assert not await t.exists("/nope")  # as it is known now

    run(backend, main)


@both
def test_tasks_that_read_a_stale_state_ask_once(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            await client.create("/a")
            conflicts = 0

            async def read(path: str) -> None:
                nonlocal conflicts
                try:
                    await t.get(path)
                except Conflict:
                    conflicts += 1

            t = client.transaction()
            await t.get("/a")
            await client.set("/a", b"2")
            before = at.replica.state.store.applied_index
            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    tasks.start_soon(read, f"/{number}")
            assert conflicts == 20
            assert at.replica.state.store.applied_index == before + 1

    run(backend, main)


@both
def test_children_of_what_has_gone_since_it_was_read(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            await client.create("/a")

            async def read() -> None:
                async with client.transaction() as t:
                    await t.get("/a")
                    await client.delete("/a")
                    await t.children("/a")

            with pytest.raises(Conflict, match="deleted") as caught:
                await read()
            assert caught.value.details == {"path": "/a"}

    run(backend, main)


@both
def test_reads_alone_cost_no_write(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            await client.create("/a")
            before = at.replica.state.store.applied_index, at.doors[0].frames + at.doors[1].frames
            async with client.transaction() as t:
                async with anyio.create_task_group() as tasks:
                    for path in ("/a", "/b", "/c"):
                        tasks.start_soon(t.exists, path)
                    tasks.start_soon(t.children, "/a")
                for path in ("/a", "/b", "/c"):
                    await t.exists(path)  # from what was read
            assert (t.results, t.revision) == ((), 0)
            after = at.replica.state.store.applied_index, at.doors[0].frames + at.doors[1].frames
            assert after[0] == before[0]
            assert after[1] <= before[1] + 4, "each is asked for once; most likely all of them in one frame"
            async with client.transaction():
                pass

    run(backend, main)


@both
def test_a_transaction_wants_a_session(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints, session=False) as client:
            with pytest.raises(SessionRequired):
                client.transaction()
            with pytest.raises(SessionRequired):
                await client.transact(read_missing)

    run(backend, main)


@both
def test_a_long_listing_is_read_in_pages(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            names = [f"{number:05}" for number in range(2_500)]
            branch = client.when().then.create("/q")
            for name in names:
                branch.create(f"/q/{name}")
            await branch.commit()
            async with client.transaction() as t:
                assert await t.children("/q") == names

            async def change() -> None:
                for number in range(40):
                    await client.create(f"/q/x{number}")

            async def count(t: Transaction) -> int:
                return len(await t.children("/q"))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(change)
                found = await client.transact(count)
            # One revision for each child from the second on: so the number says of which state it is.
            assert 2_500 <= found <= 2_540

            async def late() -> None:
                async with client.transaction() as t:
                    await t.children("/q")
                    await client.create("/q/late")
                    t.set("/q", b"")

            with pytest.raises(Conflict):
                await late()

    run(backend, main)


@both
def test_errors_leave_nothing_written(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            t = client.transaction()

            async def fail(error: Exception | None) -> None:
                async with t:
                    t.create("/a")
                    if error is not None:
                        raise error
                    t.create("/a")

            with pytest.raises(KeyError, match="mine"):
                await fail(KeyError("mine"))
            with anyio.move_on_after(0.01) as scope:
                async with client.transaction() as t:
                    t.create("/a")
                    await anyio.sleep(inf)
            assert scope.cancelled_caught
            t = client.transaction()
            with pytest.raises(Exists):
                await fail(None)
            assert not t.stale
            for attempt in (lambda: t.create("/b"), lambda: t.set("/b", b""), lambda: t.delete("/b")):
                with pytest.raises(InvalidRequest, match="over"):
                    attempt()
            with pytest.raises(InvalidRequest, match="over"):
                await t.get("/b")
            with pytest.raises(InvalidRequest, match="over"):
                await t.commit()
            with pytest.raises(InvalidRequest, match="over"):
                async with t:
                    pass
            async with client.transaction() as t:
                with pytest.raises(InvalidRequest):
                    t.set("/a", "text")  # type: ignore[arg-type]
                with pytest.raises(InvalidRequest):
                    t.create("a")
                with pytest.raises(InvalidRequest):
                    t.create("/a", ttl=1.0, ephemeral=True)
            assert await client.children("/") == []

    run(backend, main)


@both
def test_below_a_fence(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            await client.create("/data", b"1")
            await client.fence("/data", "/turn")
            grant = await client.claim("/turn")
            holder = client.fenced(grant)

            async def append(t: Transaction) -> None:
                t.set("/data", (await t.get("/data")).value + b"!")

            await holder.transact(append)
            with pytest.raises(StaleToken):
                await client.transact(append)
            await grant.release()
            with pytest.raises(StaleToken):
                await holder.transact(append)
            assert (await client.get("/data")).value == b"1!"

    run(backend, main)


# --- again and again ----------------------------------------------------------------------------------------------


@both
def test_transact_tries_again_and_returns_what_was_returned(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            await client.create("/a", b"0")
            tries = 0

            async def increment(t: Transaction) -> int:
                nonlocal tries
                tries += 1
                number = int((await t.get("/a")).value) + 1
                if tries <= 3:
                    await client.set("/a", b"%d" % (10 * tries))
                t.set("/a", b"%d" % number)
                return number

            assert await client.transact(increment) == 31
            assert tries == 4
            assert (await client.get("/a")).value == b"31"

    run(backend, main)


@both
def test_an_error_is_raised_unless_a_conflict_made_it(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            await client.when().then.create("/a", b"50").create("/b", b"50").commit()
            tries = 0

            async def check(t: Transaction) -> str:
                nonlocal tries
                tries += 1
                await t.get("/a")
                if tries == 1:
                    await client.when().then.set("/a", b"0").set("/b", b"100").commit()
                try:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(t.get, "/b")
                except Exception as error:
                    raise ZeroDivisionError("what became of it") from error
                return "done"

            assert await client.transact(check) == "done"
            assert tries == 2

            async def fail(t: Transaction) -> None:
                nonlocal tries
                tries += 1
                await t.get("/a")
                t.set("/a", b"x")
                raise ZeroDivisionError("of its own")

            with pytest.raises(ZeroDivisionError, match="own"):
                await client.transact(fail)

            async def conflict(t: Transaction) -> None:
                nonlocal tries
                tries += 1
                await client.set("/a", b"x", version=99)  # not through t: not its conflict

            with pytest.raises(Conflict):
                await client.transact(conflict)
            assert tries == 4
            assert (await client.get("/a")).value == b"0"

    run(backend, main)


@both
def test_transact_ends_at_its_deadline(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints, session_timeout=60.0) as client:
            await client.create("/a", b"0")

            async def unlucky(t: Transaction) -> None:
                await t.get("/a")
                await client.set("/a", b"x")
                t.set("/a", b"y")

            client._dice = Long()
            with pytest.raises(DeadlineExceeded, match=r"conflict: 1$") as caught:
                await client.transact(unlucky, deadline=10)
            assert caught.value.outcome == "refused"
            assert isinstance(caught.value.__cause__, Conflict)

            async def late(t: Transaction) -> None:
                await t.get("/a")
                for door in at.doors:
                    door.deaf = True
                t.set("/a", b"y")

            with pytest.raises(DeadlineExceeded) as caught:
                await client.transact(late, deadline=0.1)
            assert caught.value.outcome == "unknown", "the commit was sent"
            with pytest.raises(DeadlineExceeded) as caught:
                async with client.transaction(deadline=0.1) as t:
                    await t.get("/a")
            assert caught.value.outcome == "refused"

    run(backend, main)


class Long(random.Random):
    """Every pause would be longer than any deadline."""

    def random(self) -> float:
        return 1e9


def test_pauses_grow_and_are_not_in_step() -> None:
    dice = random.Random(1)
    pauses = [[pause_seconds(tries, dice) for _ in range(200)] for tries in (1, 5, 10, 40, 10_000)]
    assert all(0 <= pause <= PAUSE_MAX_SECONDS for each in pauses for pause in each)
    averages = [sum(each) / len(each) for each in pauses]
    assert averages[0] < averages[1] < averages[2]
    assert averages[3] > 0.4
    assert len(set(pauses[3])) == 200
