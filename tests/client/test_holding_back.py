"""Held back, lanes, lost claims and nested multis, as a client asks for them."""

import anyio
import pytest

from coord.api.ops import Multi
from coord.client import (
    ChangeKind,
    Claimed,
    ClaimFacts,
    Client,
    HoldBack,
    InvalidRequest,
    Lane,
    MultiResult,
    Set,
    SetLanes,
    connect,
    when,
)
from coord.client.blocking import connect as connect_blocking
from coord.testing import cluster

BACKENDS = pytest.mark.parametrize("backend", ["trio", "asyncio"])


async def facts(client: Client, path: str) -> ClaimFacts:
    return await client.claim_info(path)


@BACKENDS
def test_all_of_it_inside_a_namespace(backend: str) -> None:
    async def main() -> None:
        with cluster(1) as members:
            async with connect(members.endpoints) as whole, connect(members.endpoints) as other:
                client = whole.namespace("/app")
                for path in ("/q", "/q/a", "/q/b", "/q/c"):
                    await client.create(path, path.encode(), parents=True)
                await client.hold_back("/q/a", 1.5)
                await client.lanes("/q/b", [Lane("x", width=1)])
                await client.lanes("/q/c", [Lane("x", width=1)])
                b = (await client.claim_first("/q", 9))[0]
                assert (b.path, b.lost_before) == ("/q/b", 0)
                info = await client.claim_info("/q")
                assert (info.children.held, info.children.held_back, info.children.blocked) == (1, 1, 1)
                assert (await facts(client, "/q/c")).lanes == (Lane("x", width=1),)
                held_back = await facts(client, "/q/a")
                assert held_back.held_back
                assert 0 < (held_back.held_back_ms or 0) <= 1_500
                with pytest.raises(Claimed, match="lane 'x' has no room"):
                    await client.claim("/q/c", wait=False)
                # It comes when its time is over, and is pushed.
                (a,) = await client.claim_first("/q", values=True, deadline=5)
                assert (a.path, a.value) == ("/q/a", b"/q/a")
                await b.release()
                await client.hold_back("/q", None)
                assert (await facts(client, "/q")).held_back_ms is None
                assert await client.claim_first("/q", wait=False) == []
                await client.hold_back("/q", 0)
                assert not (await facts(client, "/q")).held_back
                # Lost claims are told with the grant, at once or pushed.
                taken = await other.claim("/app/q/b")
                assert taken.lost_before == 0
                await client.release(taken.number, force=True)
                again = await client.claim("/q/b")
                assert again.lost_before == 1
                async with anyio.create_task_group() as tasks:

                    async def wait_for_it() -> None:
                        granted = await other.claim("/app/q/b", deadline=5)
                        assert granted.lost_before == 2
                        assert (await facts(client, "/q/b")).lost == 2

                    tasks.start_soon(wait_for_it)
                    while not (await facts(client, "/q/b")).waiters:
                        await anyio.sleep(0)
                    await other.release(again.number, force=True)

    anyio.run(main, backend=backend)


@BACKENDS
def test_who_has_to_wait_is_told_so(backend: str) -> None:
    async def main() -> None:
        with cluster(1) as members:
            async with connect(members.endpoints) as client, anyio.create_task_group() as tasks:
                told: list[str] = []
                await client.create("/q/a", parents=True)
                await client.claim_first("/q", waits=lambda: told.append("at once"))
                assert told == []
                status = await client.status()
                assert (status["claims_held"], status["claims_waiting"], status["claims_granted"]) == (
                    1,
                    0,
                    1,
                )
                waits = anyio.Event()

                async def wait() -> None:
                    [grant] = await client.claim_first("/q", waits=waits.set)
                    told.append(grant.path)

                tasks.start_soon(wait)
                await waits.wait()
                assert (await client.claim_info("/q")).waiters == 1
                assert (await client.status())["claims_waiting"] == 1
                await client.create("/q/b")
                while not told:
                    await anyio.sleep(0.001)
                assert told == ["/q/b"]

                def fails() -> None:
                    raise LookupError("the caller's own")

                with pytest.raises(LookupError):
                    await client.claim_first("/q", waits=fails)
                with anyio.fail_after(5):
                    while (await client.claim_info("/q")).waiters:
                        await anyio.sleep(0.001)  # it is being given back

    anyio.run(main, backend=backend)


@BACKENDS
def test_a_multi_within_a_multi(backend: str) -> None:
    async def main() -> None:
        with cluster(1) as members:
            async with connect(members.endpoints, namespace="/app") as client:
                await client.create("/a", b"0", parents=True)
                inner = client.when(when.value("/a") == b"1").then.create("/b").hold_back("/a", 0).get("/a")
                done = await (
                    client.when()
                    .then.set("/a", b"1")
                    .hold_back("/a", None)
                    .lanes("/a", [Lane("x", interval_ms=10)])
                    .multi(inner)
                    .delete("/nowhere", missing_ok=True)
                    .commit()
                )
                within = done.results[3]
                assert isinstance(within, MultiResult)
                assert within.succeeded
                assert within.results[2].value == b"1"  # type: ignore[union-attr]
                assert done.results[4].count == 0  # type: ignore[union-attr]
                assert not (await facts(client, "/a")).held_back
                # The same, in one step.
                both = Multi((), (HoldBack("/a", 5_000),)), SetLanes("/a", ())
                assert (await client.multi(then=[Set("/a", b"2"), *both])).succeeded
                assert (await facts(client, "/a")).lanes == ()
                assert (await client.delete("/nowhere", missing_ok=True)).count == 0

    anyio.run(main, backend=backend)


@BACKENDS
def test_a_watch_tells_of_it(backend: str) -> None:
    async def main() -> None:
        with cluster(1) as members:
            async with connect(members.endpoints) as client:
                await client.create("/a")
                async with client.watch("/a", on_gap="raise", claims=True) as events:
                    await client.hold_back("/a", 1.5)
                    await client.lanes("/a", [Lane("x"), Lane("y")])
                    await client.hold_back("/a", None)
                    with anyio.fail_after(10):
                        found = [await anext(events) for _ in range(3)]
                assert [(event.kind, event.version) for event in found] == [
                    (ChangeKind.HELD_BACK, 1_500),
                    (ChangeKind.LANES_SET, 2),
                    (ChangeKind.HELD_BACK, 2**63 - 1),
                ]

    anyio.run(main, backend=backend)


def test_for_plain_threads() -> None:
    with cluster(1) as members, connect_blocking(members.endpoints) as client:
        client.create("/q/a", parents=True)
        client.lanes("/q/a", [Lane("x", 1)])
        client.hold_back("/q/a", 0.05)
        (grant,) = client.claim_first("/q", deadline=5)
        assert grant.lost_before == 0
        done = client.when().then.multi(client.when(when.missing("/b")).then.create("/b")).commit()
        assert done.results[0].succeeded  # type: ignore[union-attr]
        assert client.delete("/nowhere", missing_ok=True).count == 0


def test_mistakes_are_told() -> None:
    with cluster(1) as members, connect_blocking(members.endpoints) as client:
        client.create("/a")
        for delay in (-1, True, "5", float("nan")):
            with pytest.raises(InvalidRequest, match="a delay is a number of seconds"):
                client.hold_back("/a", delay)  # type: ignore[arg-type]
        for lanes in ("smtp", ["smtp"], [("smtp", 5)]):
            with pytest.raises(InvalidRequest, match="is not a lane"):
                client.lanes("/a", lanes)  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest, match="at most 4 lanes"):
            client.lanes("/a", [Lane(str(number)) for number in range(5)])
        with pytest.raises(InvalidRequest, match="lane's width"):
            client.lanes("/a", [Lane("x", width=-1)])
        with pytest.raises(InvalidRequest, match="is not a multi"):
            client.when().then.multi([Set("/a", b"")])  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest, match="is not a lane"):
            client.when().then.lanes("/a", ["x"])  # type: ignore[list-item]
