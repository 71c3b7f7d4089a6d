"""Periodic jobs against a real member: each tick once at most, whoever leads, and what is missed is told."""

import anyio
import pytest

from coord.client import Client, InvalidRequest
from coord.recipes.lock import Lock
from coord.recipes.periodic import Missed, Periodic, State, Tick, following
from coord.recipes.scope import Lost
from coord.testing import Cluster
from tests.recipes.house import both, clients, run

EVERY = 0.02


class Enough(Exception):
    """The test has seen what it wanted."""


@pytest.mark.parametrize(
    ("last", "waited", "now", "expected"),
    [
        (7, False, 7, {"skip": 8, "once": 8, "all": 8}),
        (7, True, 3, {"skip": 8, "once": 8, "all": 8}),  # a clock that was set back
        (7, True, 8, {"skip": 8, "once": 8, "all": 8}),
        (7, False, 8, {"skip": 9, "once": 8, "all": 8}),  # it came due while a job ran, or nobody led
        (7, True, 12, {"skip": 13, "once": 12, "all": 8}),  # stopped while it waited
        (7, False, 12, {"skip": 13, "once": 12, "all": 8}),
    ],
)
def test_what_is_made_up_for(last: int, waited: bool, now: int, expected: dict[Missed, int]) -> None:
    assert {missed: following(last, waited, now, missed) for missed in expected} == expected


def test_what_is_written_is_read() -> None:
    state = State(12, 11, 0.1)
    assert State.decode(state.encode(), "/p") == state
    with pytest.raises(InvalidRequest, match="/p"):
        State.decode(b"something", "/p")


@both
def test_each_tick_once_wherever_the_leader_is(backend: str, member: Cluster) -> None:
    """Leaders are deposed all the time; what each tick's job does is counted at the end."""

    async def main() -> None:
        async with clients(member, 3) as (a, b, c):
            begun: list[int] = []
            by: list[str] = []

            async def process(client: Client, name: str) -> None:
                async def job(tick: Tick) -> None:
                    begun.append(tick.number)
                    by.append(name)
                    await anyio.sleep(EVERY / 4)

                await Periodic(client, "/job", EVERY, missed="all").run(job)

            async with anyio.create_task_group() as tasks:
                for client, name in ((a, "a"), (b, "b"), (c, "c")):
                    tasks.start_soon(process, client, name)
                while len(begun) < 60:
                    await anyio.sleep(EVERY * 2.5)
                    for claim in (await c.claims("/job")).claims:
                        if claim.token is not None:
                            await c.release(claim.number, force=True)
                tasks.cancel_scope.cancel()
            assert begun == sorted(set(begun)), "none twice, and in order"
            assert begun == list(range(begun[0], begun[-1] + 1)), "and all, as none died"
            assert len(set(by)) > 1

    run(backend, main)


@both
def test_one_who_goes_on_when_another_leads_begins_nothing(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as (a, b):
            ran: list[tuple[str, int]] = []
            interrupted: list[int | None] = []
            elsewhere = anyio.Event()

            async def first(tick: Tick) -> None:
                ran.append(("a", tick.number))
                if len(ran) > 1:
                    return
                [claim] = (await b.claims("/job")).claims
                tasks.start_soon(Periodic(b, "/job", EVERY).run, second)
                while len((await b.claims("/job")).claims) < 2:
                    await anyio.sleep(0.001)
                await b.release(claim.number, force=True)
                with anyio.CancelScope(shield=True):  # as one does that does not get to run
                    await elsewhere.wait()

            async def second(tick: Tick) -> None:
                ran.append(("b", tick.number))
                interrupted.append(tick.interrupted)
                elsewhere.set()
                raise Enough

            with pytest.raises(BaseExceptionGroup) as caught:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(Periodic(a, "/job", EVERY).run, first)
            assert caught.group_contains(Enough)
            assert [name for name, _ in ran] == ["a", "b"]
            assert ran[1][1] > ran[0][1]
            assert interrupted == [ran[0][1]]

    run(backend, main)


@both
def test_a_job_that_fails_is_told_to_the_next(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as (client,):
            seen: list[Tick] = []

            async def fails(tick: Tick) -> None:
                seen.append(tick)
                raise Enough

            async def three(tick: Tick) -> None:
                seen.append(tick)
                if len(seen) == 4:
                    raise Enough

            with pytest.raises(Enough):
                await Periodic(client, "/job", EVERY).run(fails)
            with pytest.raises(Enough):
                await Periodic(client, "/job", EVERY).run(three)
            first, second, third, _ = seen
            assert first.interrupted is None
            assert second.interrupted == first.number
            assert second.missed == second.number - first.number - 1
            assert third.interrupted is None
            assert second.due == second.number * EVERY
            assert second.token > first.token

    run(backend, main)


@both
@pytest.mark.parametrize(("missed", "numbers"), [("once", [100]), ("all", [96, 97, 98, 99, 100])])
def test_what_was_missed(backend: str, missed: Missed, numbers: list[int], member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as (client,):
            await client.create("/job/ticks", State(95, 95, 60.0).encode(), parents=True)
            seen: list[Tick] = []

            async def job(tick: Tick) -> None:
                seen.append(tick)
                if tick.number == 100:
                    raise Enough

            with pytest.raises(Enough):
                await Periodic(client, "/job", 60, missed=missed, clock=lambda: 100 * 60 + 1.5).run(job)
            assert [tick.number for tick in seen] == numbers
            assert sum(tick.missed for tick in seen) == 5 - len(numbers)

    run(backend, main)


@both
def test_a_clock_that_is_behind_waits(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as (client,):
            await client.create("/job/ticks", State(95, 95, 60.0).encode(), parents=True)
            with anyio.move_on_after(0.1) as scope:
                await Periodic(client, "/job", 60, missed="all", clock=lambda: 95 * 60 - 7).run(_never)
            assert scope.cancelled_caught

    run(backend, main)


async def _never(tick: Tick) -> None:
    raise AssertionError(tick)


@both
def test_ends_and_mistakes(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as (client,):
            await client.create("/job/ticks", State(95, 95, 60.0).encode(), parents=True)
            with pytest.raises(InvalidRequest, match="every 60 s"):
                await Periodic(client, "/job", 61).run(_never)
            for every in (0, -1, float("nan"), float("inf"), True, "1"):
                with pytest.raises(InvalidRequest):
                    Periodic(client, "/job", every)  # type: ignore[arg-type]
            with pytest.raises(InvalidRequest, match="skip"):
                Periodic(client, "/job", 1, missed="none")  # type: ignore[arg-type]

            with pytest.raises(InvalidRequest, match="a job is a function, not 5"):
                await Periodic(client, "/plain", EVERY).run(5)  # type: ignore[arg-type]
            with pytest.raises(InvalidRequest, match=r"async function.*coord\.recipes\.blocking"):
                await Periodic(client, "/plain", EVERY).run(lambda tick: None)  # type: ignore[arg-type, return-value]

            async def loses_another_lock(tick: Tick) -> None:
                async with Lock(client, "/l") as grant:
                    await client.release(grant.number)
                    await anyio.sleep_forever()

            with pytest.raises(Lost, match="the lock /l"):
                await Periodic(client, "/other", EVERY).run(loses_another_lock)

    run(backend, main)
