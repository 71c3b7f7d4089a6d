"""Membership: who is there, who went and why, and what ends a member's block."""

from collections.abc import Callable

import anyio
import pytest

from coord.client import (
    Client,
    Create,
    DeadlineExceeded,
    Delete,
    Exists,
    InvalidRequest,
    SessionEnded,
    connect,
)
from coord.client.core.endpoints import Endpoint
from coord.client.core.request import itself
from coord.client.dialling import Stream
from coord.recipes import membership
from coord.recipes.arguments import Deadline
from coord.recipes.membership import Change, Changes, Lost, Membership, What, Why
from coord.testing import Cluster
from tests.recipes.house import both, clients, fresh, run


async def told(changes: Changes, number: int) -> list[tuple[str, str, str | None]]:
    found = []
    with anyio.fail_after(10):
        for _ in range(number):
            change = await anext(changes)
            found.append((change.what.value, change.member.name, change.why and change.why.value))
    return found


def names(roster: tuple[membership.Member, ...]) -> list[str]:
    return [member.name for member in roster]


@both
def test_a_roster(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as [one, two], membership.observe(one, "/app/workers") as group:
            assert group.roster == ()
            async with membership.join(one, "/app/workers", "b", {"n": [1, {"x": None}]}) as b:
                assert names(b.roster) == ["b"]
                async with membership.join(two, "/app/workers", "a") as a:
                    roster = await b.wait_size(2)
                    assert names(roster) == names(a.roster) == names(group.roster) == ["a", "b"]
                    assert roster[1].attributes == b.attributes == {"n": [1, {"x": None}]}
                    assert roster[1].session == one.session_id
                    assert roster[1].joined_revision < roster[0].joined_revision
                    assert abs(roster[1].since_ms - roster[0].since_ms) < 10_000
                    assert roster[0].pulse is None
                    await a.update({"zone": "z"})
                    await group.wait_for(lambda roster: roster[0].attributes.get("zone") == "z")
                    assert (group.get("a") or b.roster[1]).attributes == {"zone": "z"}
                    assert group.get("c") is None
                assert await b.wait_for(lambda roster: len(roster) == 1)
            assert await group.wait_size(0) == ()
            await group.wait_for(lambda roster: not roster)
            assert await one.children("/app/workers") == []

    run(backend, main)


@both
def test_every_change_with_its_reason(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with (
            clients(member, 2) as [one, two],
            membership.observe(one, "/w") as group,
            membership.join(two, "/w", "before"),
        ):
            await group.wait_size(1)
            async with group.changes() as changes:
                assert names(changes.roster) == ["before"]
                async with membership.join(two, "/w", "a") as a:
                    await a.update({"x": 1})
                await told_is(
                    changes, ("joined", "a", None), ("updated", "a", None), ("left", "a", "said so")
                )

                async with connect(member.endpoints, namespace=one.root) as third:
                    stack = membership.join(third, "/w", "c")
                    await stack.__aenter__()
                    # The end of the session, without leaving.
                    await third._link.finished(third._core.end_session(context=third._link.waiter()), itself)
                    with pytest.raises(Lost):
                        await stack.__aexit__(None, None, None)
                await told_is(changes, ("joined", "c", None), ("left", "c", "said so"))

                async def be_removed() -> None:
                    async with membership.join(two, "/w", "d"):
                        await one.delete("/w/d")
                        await anyio.sleep_forever()

                with pytest.raises(Lost, match="deleted"):
                    await be_removed()
                await told_is(changes, ("joined", "d", None), ("left", "d", "removed"))
                assert names(changes.roster) == ["before"]

    run(backend, main)


async def told_is(changes: Changes, *expected: tuple[str, str, str | None]) -> None:
    assert await told(changes, len(expected)) == list(expected)


@both
def test_silence_is_told_apart_and_ends_the_block(backend: str, member: Cluster) -> None:
    """A member whose client is silent: its own block is cancelled by its own clock, before anybody sees it gone."""

    async def main() -> None:
        space = fresh()
        async with (
            connect(member.endpoints, namespace=space) as observer,
            membership.observe(observer, "/w") as group,
            group.changes() as changes,
            connect(member.endpoints, namespace=space, session_timeout=0.4) as silent,
        ):
            silent._link._dial = never  # type: ignore[assignment]

            async def be_silent() -> None:
                async with membership.join(silent, "/w", "a") as me:
                    silent._link._cut()  # it is cut off, and does not come back
                    try:
                        await anyio.sleep_forever()
                    finally:
                        assert names(group.roster) == ["a"]
                        assert me.failure is not None

            with pytest.raises(Lost, match="membership of 'a'") as caught:
                await be_silent()
            assert isinstance(caught.value.__cause__, SessionEnded)
            assert caught.value.outcome == "unknown"
            await told_is(changes, ("joined", "a", None), ("left", "a", "expired"))

    run(backend, main)


async def never(endpoint: object) -> None:
    await anyio.sleep_forever()


@both
def test_a_lost_member_is_told_at_its_next_call(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:

            async def go_on() -> None:
                async with membership.join(client, "/w", "a") as me:
                    await client.delete("/w/a")
                    with pytest.raises(Lost):
                        await me.update({})
                    with pytest.raises(Lost):
                        await me.update({})
                    with pytest.raises(Lost):
                        me.pulse()

            with pytest.raises(Lost):
                await go_on()
            assert await client.children("/w") == []

    run(backend, main)


@both
def test_one_who_has_the_name_now_is_left_alone(backend: str, member: Cluster) -> None:
    """1. A member is deleted. 2. Somebody else takes its name. 3. It has not heard of that yet, and changes its
    attributes, or leaves."""

    async def main() -> None:
        async with clients(member, 2) as [one, two]:

            async def go_on(update: bool) -> None:
                me = membership.join(one, "/w", "a")
                me._wait_removed = anyio.sleep_forever  # type: ignore[method-assign]
                async with me:
                    await two.multi(then=[Delete("/w/a"), Create("/w/a", b"another")])
                    if update:
                        await me.update({"x": 1})
                assert not update

            with pytest.raises(Lost, match="deleted"):
                await go_on(True)
            assert (await two.get("/w/a")).value == b"another"
            await two.delete("/w/a")
            await go_on(False)
            assert (await two.get("/w/a")).value == b"another"

    run(backend, main)


@both
def test_what_a_block_raises_is_what_comes_out(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            with pytest.raises(KeyError):
                async with membership.join(client, "/w", "a"):
                    raise KeyError("mine")
            assert await client.children("/w") == []
            with anyio.move_on_after(0.05) as scope:
                async with membership.join(client, "/w", "a"):
                    await anyio.sleep_forever()
            assert scope.cancelled_caught
            assert await client.children("/w") == []

    run(backend, main)


@both
def test_a_name_that_is_taken(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as [one, two]:
            async with membership.join(one, "/w", "a"):
                with pytest.raises(Exists, match="wait=True"):
                    async with membership.join(two, "/w", "a"):
                        pass
                with pytest.raises(DeadlineExceeded, match="not free in time") as caught:
                    async with membership.join(two, "/w", "a", wait=True, deadline=1.5):
                        pass
                assert caught.value.outcome == "refused"
                assert await one.children("/w") == ["a"]
            order: list[str] = []

            async def be(client: Client, name: str, leave: anyio.Event) -> None:
                async with membership.join(client, "/w", "a", {"is": name}, wait=True, pulse=5) as me:
                    order.append(name)
                    assert me.roster[0].attributes == {"is": name}
                    assert not me.roster[0].stuck
                    await leave.wait()

            first, second = anyio.Event(), anyio.Event()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(be, one, "first", first)
                await anyio.sleep(0.1)
                tasks.start_soon(be, two, "second", second)
                await anyio.sleep(0.1)
                assert order == ["first"]
                first.set()
                await anyio.sleep(0.1)
                assert order == ["first", "second"]
                second.set()
            assert await one.children("/w/.pulse") == []

    run(backend, main)


@both
def test_without_a_name(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with (
            clients(member, 1) as [client],
            membership.join(client, "/w") as a,
            membership.join(client, "/w") as b,
        ):
            assert a.name != b.name
            assert len(a.roster) == 2

    run(backend, main)


@both
def test_one_that_hangs_is_told_apart(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as [one, two], membership.observe(one, "/w") as group:
            async with group.changes() as changes, membership.join(two, "/w", "a", pulse=0.3) as me:
                for _ in range(30):  # three times as long as its pulse lasts
                    me.pulse()
                    await anyio.sleep(0.03)
                assert [member.stuck for member in group.roster] == [False]
                await told_is(changes, ("joined", "a", None), ("stuck", "a", None))
                assert [(each.name, each.stuck) for each in changes.roster] == [("a", True)]
                assert [(each.name, each.stuck) for each in group.roster] == [("a", True)]
                await me.update({"still": "here"})
                me.pulse()
                await told_is(changes, ("updated", "a", None), ("working", "a", None))
                assert [member.stuck for member in group.roster] == [False]
            async with group.changes() as changes:
                assert changes.roster == ()
            assert await one.children("/w/.pulse") == []

    run(backend, main)


@both
def test_pulses_are_sent_a_few_times_only(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as [one, two], membership.join(two, "/w", "a", pulse=3.0) as me:
            await one.get("/")
            before = one.revision
            for _ in range(1_000):
                me.pulse()
                await anyio.lowlevel.checkpoint()
            await anyio.sleep(0.1)
            assert (await one.get("/")).revision <= before + 2

    run(backend, main)


@both
def test_what_cannot_be(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            for wrong in ("", ".x", "a/b", 3):
                with pytest.raises(InvalidRequest, match="name"):
                    membership.join(client, "/w", wrong)  # type: ignore[arg-type]
            for wrong in ({"x": object()}, {1: 2}, [], {"x": float("nan")}):
                with pytest.raises(InvalidRequest, match="attributes are"):
                    membership.join(client, "/w", "a", wrong)  # type: ignore[arg-type]
            for wrong in (0, -1, True, "1", float("inf")):
                with pytest.raises(InvalidRequest, match="pulse"):
                    membership.join(client, "/w", "a", pulse=wrong)  # type: ignore[arg-type]
            with pytest.raises(InvalidRequest, match="path"):
                membership.observe(client, "w/")
            me = membership.join(client, "/w", "a")
            with pytest.raises(InvalidRequest, match="enter its block"):
                me.pulse()
            with pytest.raises(InvalidRequest, match="enter its block"):
                _ = me.roster
            async with me:
                with pytest.raises(InvalidRequest, match="pulse=10"):
                    me.pulse()
                with pytest.raises(InvalidRequest, match="entered once"):
                    await me.__aenter__()
                with pytest.raises(DeadlineExceeded, match="not 2 members"):
                    await me.wait_size(2, deadline=1.5)
                with pytest.raises(InvalidRequest, match="number of members"):
                    await me.wait_size(-1)
                with pytest.raises(InvalidRequest, match="is a function"):
                    await me.wait_for(5)  # type: ignore[arg-type]
                assert await client.children("/w") == ["a"]
            for late in (lambda: me.update({}), lambda: me.__aenter__()):
                with pytest.raises(InvalidRequest, match=r"block has ended|entered once"):
                    await late()
            with pytest.raises(InvalidRequest, match="block has ended"):
                me.pulse()
            twice = membership.join(client, "/w", "b")

            async def stays() -> None:
                async with twice:
                    await anyio.sleep_forever()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(stays)
                await anyio.wait_all_tasks_blocked()
                with pytest.raises(InvalidRequest, match="entered once"):
                    await twice.__aenter__()
                tasks.cancel_scope.cancel()

    run(backend, main)


@both
def test_znodes_that_are_no_records_are_members_all_the_same(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with (
            clients(member, 1) as [client],
            membership.observe(client, "/w") as group,
            group.changes() as changes,
        ):
            for name, value in (("a", b"\xff"), ("b", b'{"attributes": 3, "pulse": true}'), ("c", b"[]")):
                await client.create(f"/w/{name}", value, parents=True)
                change: Change = await anext(changes)
                assert (change.what, change.member.attributes, change.member.pulse) == (What.JOINED, {}, None)
            assert names(await group.wait_size(3)) == ["a", "b", "c"]
            await client.delete("/w/a")
            assert (await anext(changes)).why is Why.REMOVED

    run(backend, main)


@both
def test_a_join_that_is_cancelled_leaves_nobody(backend: str, member: Cluster) -> None:
    """Cancelled at every point of its way in: no ghost is left, though the session lives on."""

    async def main() -> None:
        async with clients(member, 1) as [client]:
            await client.create("/w", parents=True)
            for number in range(40):
                me = membership.join(client, "/w", "a", pulse=9)
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(cancel_after, scope, number)
                        async with me:
                            await anyio.sleep_forever()
                assert await client.children("/w", deadline=5) in ([], [".pulse"])
            assert await client.children("/w/.pulse") == []

    run(backend, main)


async def cancel_after(scope: anyio.CancelScope, turns: int) -> None:
    for _ in range(turns):
        await anyio.sleep(0.0001)
    scope.cancel()


@both
def test_a_join_whose_answer_never_came_leaves_nobody(backend: str, member: Cluster) -> None:
    """1. The create is sent, and done. 2. Its answer is lost; the deadline passes. 3. The caller has no member, and
    would not know of one: it is taken away again, once the member can be asked."""

    async def main() -> None:
        async with clients(member, 1, session_timeout=5) as [client]:
            me = membership.join(client, "/w", "a", deadline=0.4)

            join = me._join

            async def lose_the_answer(due: Deadline) -> None:
                member.cut_off(direction="out")
                await join(due)

            async def heal() -> None:
                await anyio.sleep(0.6)
                member.heal()

            me._join = lose_the_answer  # type: ignore[method-assign]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(heal)
                with pytest.raises(DeadlineExceeded):
                    await me.__aenter__()
            changed = (await client.log("/w")).entries
            assert [entry.path for entry in changed].count("/w/a") in (
                0,
                2,
            )  # never there, or made and deleted
            assert await client.exists("/w/a") is None

    try:
        run(backend, main)
    finally:
        member.heal()


@both
def test_members_outlive_the_leader(backend: str, coord_cluster: Cluster) -> None:
    async def main() -> None:
        async with clients(coord_cluster, 3, session_timeout=5) as several:

            async def be(number: int, leave: anyio.Event) -> None:
                async with membership.join(several[number], "/w", str(number), pulse=4) as me:
                    joined.append(me)
                    await leave.wait()
                    await me.update({"after": True})

            joined: list[Membership] = []
            leaves = [anyio.Event() for _ in several]
            async with membership.observe(several[0], "/w") as group, group.changes() as changes:
                async with anyio.create_task_group() as tasks:
                    for number, leave in enumerate(leaves):
                        tasks.start_soon(be, number, leave)
                    await group.wait_size(3)
                    coord_cluster.kill(coord_cluster.wait_leader())
                    for leave in leaves:
                        leave.set()
                await group.wait_size(0, deadline=10)
                found = await told(changes, 9)
                assert sorted(found) == sorted(
                    (what, str(number), why)
                    for number in range(3)
                    for what, why in (("joined", None), ("updated", None), ("left", "said so"))
                )

    run(backend, main)


@both
def test_a_gap_is_made_up_for(backend: str, coord_cluster_factory: Callable[..., Cluster]) -> None:
    """An observer was away for longer than history reaches back: the sum of what it is told is the roster all the
    same, and of those who went meanwhile nobody knows why.
    """

    async def main() -> None:
        cluster = coord_cluster_factory(1, limits={"history_revisions": 5})
        async with (
            clients(cluster, 2) as [one, two],
            membership.observe(one, "/w") as group,
            membership.join(two, "/w", "stays", pulse=60),
        ):
            await group.wait_size(1)
            async with group.changes() as changes:
                back = anyio.Event()
                dial = one._link._dial

                async def later(endpoint: Endpoint) -> Stream:
                    await back.wait()
                    return await dial(endpoint)

                async with membership.join(two, "/w", "goes"):
                    await told_is(changes, ("joined", "goes", None))
                    one._link._dial = later
                    one._link._cut()
                async with membership.join(two, "/w", "comes") as comes:
                    for number in range(20):
                        await comes.update({"number": number})
                    assert group.stale_for > 0
                    back.set()
                    await told_is(changes, ("left", "goes", "unknown"), ("joined", "comes", None))
                    assert [(each.name, each.stuck) for each in changes.roster] == [
                        ("comes", False),
                        ("stays", False),
                    ]
                    assert changes.roster == await group.wait_for(
                        lambda roster: names(roster) == ["comes", "stays"] and roster
                    )

    run(backend, main)
