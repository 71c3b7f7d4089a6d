"""Discovery: who can be picked, and who is."""

from collections import Counter
from random import Random

import anyio
import pytest

from coord.client import InvalidRequest, Unavailable
from coord.recipes import discovery, membership
from coord.recipes.discovery import Endpoint, Picking
from coord.testing import Cluster
from tests.recipes.house import both, clients, run

THREE = [Endpoint("h", port, name=f"n{port}") for port in (1, 2, 3)]


def test_round_robin_takes_turns_whoever_comes_or_goes() -> None:
    picking = Picking("api", Random(1))
    first = picking.round_robin(THREE, ()).port
    turns = [picking.round_robin(THREE, ()).port for _ in range(6)]
    assert turns == [(first + step) % 3 + 1 for step in range(6)]
    last = turns[-1]
    left = [each for each in THREE if each.port != last]  # the one that was picked last goes
    following = [picking.round_robin(left, ()).port for _ in range(2)]
    assert sorted(following) == [each.port for each in left]
    assert following[0] == last % 3 + 1


def test_a_round_begins_anywhere() -> None:
    firsts = Counter(Picking("api", Random(seed)).round_robin(THREE, ()).port for seed in range(300))
    assert min(firsts[port] for port in (1, 2, 3)) > 60


def test_keys_stay_where_they_are() -> None:
    picking = Picking("api", Random(1))
    owners = {key: picking.by_key(key, THREE, ()).port for key in map(str, range(200))}
    assert set(owners.values()) == {1, 2, 3}
    for key, port in owners.items():
        without = [each for each in THREE if each.port != 2]
        now = picking.by_key(key, without, ()).port
        assert now == port or port == 2
        assert picking.by_key(key, THREE, [THREE[port - 1]]).port != port


def test_avoiding() -> None:
    picking = Picking("api", Random(1))
    for _ in range(9):
        assert picking.round_robin(THREE, THREE[:2]) == THREE[2]
        assert picking.random(THREE, THREE[1:]) == THREE[0]
    assert picking.round_robin(THREE, THREE) in THREE  # better than none
    with pytest.raises(Unavailable, match="'api'"):
        picking.random([], ())
    for wrong in (THREE[0], "api", [1], 5):
        with pytest.raises(InvalidRequest, match=r"avoid=\[it\]"):
            picking.random(THREE, wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="a key is text, not 17"):
        picking.by_key(17, THREE, ())  # type: ignore[arg-type]


@both
def test_a_service(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as [one, two], discovery.discover(one, "/s", "api") as service:
            with pytest.raises(Unavailable, match="none is registered"):
                service.pick()
            a, b = Endpoint("10.0.0.1", 80, {"zone": "a"}), Endpoint("::1", 81)
            async with discovery.register(two, "/s", "api", a, "a") as me, service.changes() as changes:
                assert await service.wait_for(lambda endpoints: [each.name for each in endpoints]) == ["a"]
                async with discovery.register(two, "/s", "api", b, "b"):
                    await service.wait_for(lambda endpoints: len(endpoints) == 2)
                    assert {service.pick().address for _ in range(2)} == {"10.0.0.1:80", "[::1]:81"}
                    assert discovery.endpoint_of((await anext(changes)).member) == Endpoint(
                        "::1", 81, {}, "b"
                    )
                await service.wait_for(lambda endpoints: len(endpoints) == 1)
                assert service.pick().metadata == {"zone": "a"}
                await me.update({"zone": "c"})
                await service.wait_for(lambda endpoints: endpoints[0].metadata == {"zone": "c"})
                assert service.pick().address == "10.0.0.1:80"
                await me.drain()
                await service.wait_for(lambda endpoints: not endpoints)
                await me.update({})
                await service.wait_for(lambda endpoints: not service.everyone[0].metadata)
                assert [(each.port, each.draining) for each in service.everyone] == [(80, True)]
                with pytest.raises(InvalidRequest, match="metadata is a mapping"):
                    await me.update("zone")  # type: ignore[arg-type]
                with pytest.raises(Unavailable, match="all are draining"):
                    service.pick_for("x")

    run(backend, main)


@both
def test_who_is_stuck_or_no_endpoint_is_not_picked(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with (
            clients(member, 1) as [client],
            discovery.discover(client, "/s", "api") as service,
            membership.join(client, "/s/api", "other"),
            discovery.register(client, "/s", "api", Endpoint("h", 1), "a", pulse=0.2) as me,
        ):
            assert service.pick().name == "a"
            await service.wait_for(lambda endpoints: not endpoints)
            assert [each.name for each in service.everyone] == ["a"]
            me.pulse()
            await service.wait_for(lambda endpoints: endpoints)
            assert service.stale_for == 0.0

    run(backend, main)


@both
def test_what_cannot_be(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            for wrong in (
                Endpoint("", 1),
                Endpoint("h", 0),
                Endpoint("h", True),
                Endpoint("h", 70000),
                Endpoint("h", 80, ["zone"]),  # type: ignore[arg-type]
                "h:1",
            ):
                with pytest.raises(InvalidRequest, match="ndpoint"):
                    discovery.register(client, "/s", "api", wrong)  # type: ignore[arg-type]
            with pytest.raises(InvalidRequest, match="service's name"):
                discovery.discover(client, "/s", "a/b")
            with pytest.raises(InvalidRequest, match="JSON"):
                discovery.register(client, "/s", "api", Endpoint("h", 1, {"x": anyio}))

    run(backend, main)
