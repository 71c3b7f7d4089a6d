"""Partitions over the members of a group, against a real member: never two owners, and none forgotten."""

from collections.abc import Awaitable, Callable

import anyio
import pytest

from coord.client import Client, InvalidRequest, StaleToken, Token, connect
from coord.recipes.hashing import spread
from coord.recipes.lock import Lock
from coord.recipes.partitioning import Partition, Partitioning, share_of
from coord.recipes.scope import Lost
from coord.testing import Cluster
from tests.recipes.house import both, clients, run


class Owners:
    """Who works on what, as the works themselves say: raises as soon as two do."""

    def __init__(self) -> None:
        self.by: dict[int, str] = {}
        self.tokens: dict[int, list[Token]] = {}
        self.changed = anyio.Event()

    def work(self, name: str, lingers: float = 0) -> Callable[[Partition], Awaitable[None]]:
        async def work(partition: Partition) -> None:
            assert partition.number not in self.by, "two owners"
            partition.check()
            self.by[partition.number] = name
            self.tokens.setdefault(partition.number, []).append(partition.token)
            self._ring()
            try:
                await anyio.sleep_forever()
            finally:
                if lingers:
                    with anyio.CancelScope(shield=True):
                        await anyio.sleep(lingers)
                assert self.by.pop(partition.number) == name
                self._ring()

        return work

    def _ring(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    async def until(self, *names: str, count: int) -> None:
        """Until each partition has the owner that it has with these members."""
        wanted = {number: name for name in names for number in share_of(name, names, count)}
        while self.by != wanted:
            await self.changed.wait()

    def check_tokens(self) -> None:
        for tokens in self.tokens.values():
            assert tokens == sorted(set(tokens))


def test_shares_are_those_of_spread() -> None:
    names = ["a", "b", "c"]
    shares = {name: share_of(name, names, 12) for name in names}
    assert sorted(number for share in shares.values() for number in share) == list(range(12))
    assert {len(share) for share in shares.values()} == {4}
    keys = [f"{number:02}" for number in range(12)]
    assert shares == {name: [int(key) for key in share] for name, share in spread(keys, names).items()}
    assert share_of("none", names, 12) == []
    assert share_of("a", [], 1) == []


@both
def test_members_come_and_go(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 3) as (a, b, c):
            owners = Owners()
            scopes: dict[str, anyio.CancelScope] = {}

            async def process(client: Client, name: str) -> None:
                with anyio.CancelScope() as scopes[name]:
                    await Partitioning(client, "/p", 12, name=name).run(owners.work(name, lingers=0.03))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(process, a, "a")
                await owners.until("a", count=12)
                tasks.start_soon(process, b, "b")
                tasks.start_soon(process, c, "c")
                await owners.until("a", "b", "c", count=12)
                for _ in range(4):  # in the midst of moves
                    scopes["b"].cancel()
                    await anyio.sleep(0.004)
                    tasks.start_soon(process, b, "b")
                    await anyio.sleep(0.012)
                await owners.until("a", "b", "c", count=12)
                scopes["a"].cancel()
                await owners.until("b", "c", count=12)
                scopes["b"].cancel()
                await owners.until("c", count=12)
                scopes["c"].cancel()
            owners.check_tokens()
            assert owners.by == {}
            assert (await a.claims()).claims == ()

    run(backend, main)


@both
def test_a_member_that_is_cut_off_has_ended_its_work_before_others_own_it(
    backend: str, coord_cluster: Cluster
) -> None:
    async def main() -> None:
        owners = Owners()
        here, elsewhere = coord_cluster.member(1).endpoint, coord_cluster.member(2).endpoint
        async with (
            connect(here, session_timeout=0.6, discover=False) as a,
            connect(elsewhere, discover=False) as b,
            anyio.create_task_group() as tasks,
        ):

            async def lost() -> None:
                with pytest.raises(Lost):
                    await Partitioning(a, "/p", 5, name="a").run(owners.work("a"))

            tasks.start_soon(lost)
            tasks.start_soon(Partitioning(b, "/p", 5, name="b").run, owners.work("b"))
            await owners.until("a", "b", count=5)
            coord_cluster.cut_off(1, peers=False)
            await owners.until("b", count=5)
            coord_cluster.heal(1)
            owners.check_tokens()
            tasks.cancel_scope.cancel()

    run(backend, main)


@both
def test_a_partition_that_moves_leaves_its_work_time_to_end(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as (a, b), anyio.create_task_group() as tasks:
            ended: list[int] = []
            at_b: list[int] = []
            first = Partitioning(a, "/p", 4, name="a", grace=10)

            async def at_leisure(partition: Partition) -> None:
                await partition.leaving.wait()
                assert partition.number not in at_b
                assert partition.held
                await anyio.sleep(0.05)
                ended.append(partition.number)

            async def there(partition: Partition) -> None:
                assert partition.number in ended, "it was given up before its work had ended"
                at_b.append(partition.number)
                if len(at_b) == 2:
                    tasks.cancel_scope.cancel()

            tasks.start_soon(first.run, at_leisure)
            while len(first.mine) < 4:
                await anyio.sleep(0.001)
            assert [each.number for each in first.mine] == [0, 1, 2, 3]
            tasks.start_soon(Partitioning(b, "/p", 4, name="b", grace=10).run, there)

    run(backend, main)


@both
def test_a_work_that_outstays_its_grace_is_cancelled(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as (a, b), anyio.create_task_group() as tasks:
            owners = Owners()
            tasks.start_soon(Partitioning(a, "/p", 4, name="a", grace=0.01).run, owners.work("a"))
            await owners.until("a", count=4)
            tasks.start_soon(Partitioning(b, "/p", 4, name="b").run, owners.work("b"))
            await owners.until("a", "b", count=4)
            tasks.cancel_scope.cancel()

    run(backend, main)


@both
def test_a_partition_that_is_taken_away_is_claimed_again(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as (a, b), anyio.create_task_group() as tasks:
            await b.create("/data", parents=True)
            await b.fence("/data", "/p/partitions/0")
            owned: list[Partition] = []

            async def work(partition: Partition) -> None:
                owned.append(partition)
                await partition.client.set("/data", b"x")
                if len(owned) == 1:
                    [claim] = (await b.claims("/p/partitions")).claims
                    await b.release(claim.number, force=True)
                    await anyio.sleep_forever()
                with pytest.raises(StaleToken):
                    await owned[0].client.set("/data", b"late")
                tasks.cancel_scope.cancel()

            tasks.start_soon(Partitioning(a, "/p", 1).run, work)
        assert len(owned) == 2
        assert owned[0].token < owned[1].token

    run(backend, main)


@both
def test_what_a_work_raises_is_raised(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as (client,):

            async def fails(partition: Partition) -> None:
                if partition.number == 1:
                    raise ZeroDivisionError
                await anyio.sleep_forever()

            async def loses_another_lock(partition: Partition) -> None:
                async with Lock(client, f"/l-{partition.number}") as grant:
                    await client.release(grant.number)
                    await anyio.sleep_forever()

            with pytest.raises(ZeroDivisionError):
                await Partitioning(client, "/p", 3).run(fails)
            with pytest.raises(Lost, match="the lock /l-"):
                await Partitioning(client, "/p", 3).run(loses_another_lock)
            assert (await client.claims()).claims == ()

    run(backend, main)


@both
def test_all_must_say_the_same_number(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 3) as (a, b, c), anyio.create_task_group() as tasks:
            owners = Owners()
            tasks.start_soon(Partitioning(a, "/p", 4, name="a").run, owners.work("a"))
            await owners.until("a", count=4)
            with pytest.raises(InvalidRequest, match="there are 4 partitions"):
                await Partitioning(b, "/p", 5, name="b").run(owners.work("b"))
            tasks.start_soon(Partitioning(c, "/p", 4, name="c").run, owners.work("c"))
            await owners.until("a", "c", count=4)
            tasks.cancel_scope.cancel()
            for count in (0, 1.5, "4", True):
                with pytest.raises(InvalidRequest):
                    Partitioning(a, "/p", count)  # type: ignore[arg-type]
            with pytest.raises(InvalidRequest, match="grace"):
                Partitioning(a, "/p", 1, grace=-1)
            with pytest.raises(InvalidRequest, match="at most"):
                Partitioning(a, "/p", 10**30)  # and not an attempt to reckon with so many

    run(backend, main)


@both
def test_it_runs_once_at_a_time(backend: str, member: Cluster) -> None:
    """Also one that owns nothing yet. Afterwards it may run again."""

    async def main() -> None:
        async with clients(member, 1) as (client,):
            owners = Owners()
            partitioning = Partitioning(client, "/p", 2, name="a")
            for _ in range(2):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(partitioning.run, owners.work("a"))
                    await anyio.wait_all_tasks_blocked()
                    with pytest.raises(InvalidRequest, match="runs already"):
                        await partitioning.run(owners.work("a"))
                    await owners.until("a", count=2)
                    tasks.cancel_scope.cancel()

    run(backend, main)


@both
def test_works_that_are_none(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as (client,):
            with pytest.raises(InvalidRequest, match="a work is a function, not 5"):
                await Partitioning(client, "/p", 1).run(5)  # type: ignore[arg-type]
            with pytest.raises(InvalidRequest, match=r"async function.*coord\.recipes\.blocking"):
                await Partitioning(client, "/p", 1).run(lambda partition: None)  # type: ignore[arg-type, return-value]

    run(backend, main)
