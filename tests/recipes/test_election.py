"""Elections against real members: who leads, who is told of it, and what becomes of a leader that is gone."""

import anyio
import pytest

from coord.client import (
    ChangeKind,
    Client,
    DeadlineExceeded,
    Event,
    InvalidRequest,
    NotFound,
    NotHeld,
    Reason,
    StaleToken,
    Token,
    connect,
)
from coord.recipes.arguments import Deadline
from coord.recipes.election import Election, Fold, Leader, Leaders, Leadership, present
from coord.recipes.scope import Lost
from coord.testing import Cluster, cluster
from tests.recipes.house import both, clients, run


async def until_waiting(client: Client, path: str, number: int) -> None:
    """Until so many candidates wait there: each change of them is a revision."""
    while (info := await client.claim_info(path)).waiters != number:
        await client.exists("/", at_least=info.revision + 1)


async def following(leaders: Leaders, number: int) -> list[Leader | None]:
    return [await anext(leaders) for _ in range(number)]


# --- leading ---------------------------------------------------------------------------------------------------------


@both
def test_each_candidate_leads_in_turn_and_observers_are_told_in_order(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 3) as (a, b, watching):
            order: list[bytes] = []
            tokens: list[Token] = []
            seen: list[Leader | None] = []

            async def candidate(client: Client, value: bytes) -> None:
                async with Election(client, "/e", value).lead(deadline=10) as leadership:
                    leadership.check()
                    assert leadership.held
                    assert 0 < leadership.remaining() <= 10
                    order.append(leadership.value)
                    tokens.append(leadership.token)

            async def observe() -> None:
                async with Election(watching, "/e").observe() as leaders:
                    async for leader in leaders:
                        seen.append(leader)
                        if len(seen) == 6:
                            return

            election = Election(a, "/e", b"first")
            async with anyio.create_task_group() as tasks, election.lead() as first:
                tasks.start_soon(observe)
                for number in range(4):
                    tasks.start_soon(candidate, (a, b)[number % 2], b"%d" % number)
                    await until_waiting(b, "/e", number + 1)
                waiting = await election.candidates()
                assert [each.value for each in waiting] == [b"0", b"1", b"2", b"3"]
                assert {each.session for each in waiting} == {a.session_id, b.session_id}
                leader = await Election(b, "/e").leader()
                assert leader == Leader(
                    first.number,
                    first.token,
                    b"first",
                    a.session_id or 0,
                    leader.client if leader else "",
                )
                while not seen:
                    await anyio.sleep(0.001)
            assert order == [b"0", b"1", b"2", b"3"]
            assert tokens == sorted(set(tokens))
            assert tokens[0] > first.token
            # Nobody was told that nobody led in between: the next one leads in the same revision.
            assert [each and each.value for each in seen] == [b"first", *order, None]
            assert [each.token for each in seen if each] == [first.token, *tokens]
            assert all(each.client for each in seen if each)
            assert await election.leader() is None
            assert await election.candidates() == ()

    run(backend, main)


@both
def test_in_time_or_no_candidate_any_more(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as (a, b):
            async with Election(a, "/e").lead():
                for deadline in (0, 0.05):
                    with pytest.raises(DeadlineExceeded) as caught:
                        async with Election(b, "/e").lead(deadline=deadline):
                            raise AssertionError
                    assert caught.value.outcome == "refused"
                await until_waiting(a, "/e", 0)
                with anyio.move_on_after(0.05):
                    async with Election(b, "/e").lead():
                        raise AssertionError
                await until_waiting(a, "/e", 0)
            leading = Election(b, "/e").lead()
            async with leading as leadership:
                pass
            with pytest.raises(NotHeld):
                leadership.check()
            with pytest.raises(InvalidRequest, match="once"):
                await leading.__aenter__()

    run(backend, main)


@both
def test_a_leader_that_is_deposed_is_cancelled_and_writes_nothing_more(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as (a, b):
            await a.create("/data", parents=True)
            await a.fence("/data", "/e")
            leaderships: list[Leadership] = []

            async def deposed() -> None:
                async with Election(a, "/e").lead() as leadership:
                    leaderships.append(leadership)
                    await leadership.client.set("/data", b"a")
                    await b.release(leadership.number, force=True)
                    await anyio.sleep_forever()

            with pytest.raises(Lost, match="another session"):
                await deposed()
            [former] = leaderships
            async with Election(b, "/e").lead() as present_one:
                with pytest.raises(StaleToken):
                    await former.client.set("/data", b"late")
                await present_one.client.set("/data", b"b")
            with pytest.raises(StaleToken):
                await present_one.client.set("/data", b"late")
            assert (await a.get("/data")).value == b"b"

    run(backend, main)


# --- handing over ----------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("by", ["number", "name"])
def test_handing_over_leaves_no_gap(backend: str, by: str, member: Cluster) -> None:
    async def main() -> None:
        space = f"/hand-over-{backend}-{by}"
        async with (
            connect(member.endpoints, namespace=space, name="old") as a,
            connect(member.endpoints, namespace=space, name="other") as b,
            connect(member.endpoints, namespace=space, name="new") as c,
        ):
            led: list[str] = []
            old, other, new = (
                Election(a, "/e", b"old"),
                Election(b, "/e", b"other"),
                Election(c, "/e", b"new"),
            )

            async def candidate(election: Election, name: str) -> None:
                async with election.lead():
                    led.append(name)

            async with old.observe() as leaders:
                async with anyio.create_task_group() as tasks, old.lead() as leadership:
                    tasks.start_soon(candidate, other, "other")
                    await until_waiting(a, "/e", 1)
                    tasks.start_soon(candidate, new, "new")
                    await until_waiting(a, "/e", 2)
                    number = (await old.candidates())[1].number
                    await old.hand_over(leadership, to="new" if by == "name" else number)
                    await anyio.sleep_forever()  # the block has ended, without an error
                told = await following(leaders, 5)
            assert not leadership.held
            assert led == ["new", "other"]
            assert [each and each.client for each in told] == [None, "old", "new", "other", None]
            async with old.lead() as leadership:
                with pytest.raises(NotFound):
                    await old.hand_over(leadership, to="new")
                with pytest.raises(NotFound):
                    await old.hand_over(leadership, to=10**6)
                with pytest.raises(InvalidRequest):
                    await new.hand_over(leadership, to=1.5)  # type: ignore[arg-type]
                with pytest.raises(InvalidRequest):
                    await Election(a, "/other").hand_over(leadership, to=1)
                assert leadership.held
            with pytest.raises(NotHeld):
                await old.hand_over(leadership, to=1)

    run(backend, main)


@both
def test_an_error_of_the_block_that_has_handed_over_is_not_lost(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as (a, b), anyio.create_task_group() as tasks:
            here, there = Election(a, "/e"), Election(b, "/e")

            async def candidate() -> None:
                async with there.lead():
                    pass

            async def leader() -> None:
                async with here.lead() as leadership:
                    tasks.start_soon(candidate)
                    await until_waiting(a, "/e", 1)
                    try:
                        await here.hand_over(leadership, (await here.candidates())[0].number)
                    finally:
                        raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await leader()

    run(backend, main)


# --- under fire ------------------------------------------------------------------------------------------------------


@both
def test_no_two_leaders_believe_at_a_time_when_one_is_cut_off(backend: str, coord_cluster: Cluster) -> None:
    async def main() -> None:
        here, elsewhere = coord_cluster.member(1).endpoint, coord_cluster.member(2).endpoint
        ended_at = began_at = 0.0
        async with (
            connect(here, session_timeout=0.6, discover=False, name="a") as a,
            connect(elsewhere, discover=False, name="b") as b,
            anyio.create_task_group() as tasks,
            Election(b, "/e").observe() as leaders,
        ):

            async def candidate() -> None:
                nonlocal began_at
                async with Election(b, "/e", b"b").lead():
                    began_at = anyio.current_time()

            async def cut_off() -> None:
                nonlocal ended_at
                async with Election(a, "/e", b"a").lead() as leadership:
                    tasks.start_soon(candidate)
                    await until_waiting(b, "/e", 1)
                    coord_cluster.cut_off(1, peers=False)
                    try:
                        await anyio.sleep_forever()
                    finally:
                        ended_at = anyio.current_time()
                        assert not leadership.held
                        coord_cluster.heal(1)

            with pytest.raises(Lost):
                await cut_off()
            told = await following(leaders, 4)
        assert 0 < ended_at < began_at
        assert [each and each.value for each in told] == [None, b"a", b"b", None]

    run(backend, main)


@both
def test_the_service_loses_its_leader_and_the_election_does_not(backend: str, coord_cluster: Cluster) -> None:
    async def main() -> None:
        async with (
            connect(coord_cluster.endpoints, session_timeout=5, name="a") as a,
            connect(coord_cluster.endpoints, session_timeout=5, name="b") as b,
            Election(b, "/e").observe() as leaders,
        ):
            async with Election(a, "/e", b"a").lead() as leadership:
                coord_cluster.kill(coord_cluster.wait_leader())
                await a.create("/after", b"")
                assert leadership.held
            async with Election(b, "/e", b"b").lead():
                pass
            told = await following(leaders, 5)
            assert [each and each.value for each in told] == [None, b"a", None, b"b", None]

    run(backend, main, 60)


# --- observing -------------------------------------------------------------------------------------------------------


@both
def test_an_observer_that_was_away_for_long_goes_on_with_the_present_leader(backend: str) -> None:
    """History reaches back over a few revisions only, and the observer does not take: a gap."""

    async def main() -> None:
        with cluster(1, limits={"history_revisions": 20}) as small:
            async with (
                connect(small.endpoints) as a,
                connect(small.endpoints, session=False) as watching,
                Election(watching, "/e").observe() as leaders,
            ):
                object.__setattr__(watching._core.settings, "watch_buffer", 4)
                tokens = []
                for number in range(60):
                    async with Election(a, "/e", b"%d" % number).lead() as leadership:
                        tokens.append(leadership.token)
                async with Election(a, "/e", b"last").lead() as leadership:
                    told: list[Leader | None] = []
                    while not told or told[-1] is None or told[-1].value != b"last":
                        told.append(await anext(leaders))
                    assert told[-1].token == leadership.token
                    seen = [each.token for each in told if each]
                    assert seen == sorted(set(seen))
                    assert len(seen) < 60, "there was no gap, and the test has shown nothing"

    run(backend, main)


@both
def test_the_present_leader_is_found_behind_many_candidates(backend: str, member: Cluster) -> None:
    """Its claim has the greatest number of all, since the leadership was handed to it: it is not on the first page."""

    async def main() -> None:
        async with clients(member, 1) as (client,), anyio.create_task_group() as tasks:
            election = Election(client, "/e", b"x")

            async def stand() -> None:
                async with election.lead():
                    await anyio.sleep_forever()

            async with election.lead() as first:
                for _ in range(1005):
                    tasks.start_soon(stand)
                await until_waiting(client, "/e", 1005)
                waiting = await election.candidates()
                assert [each.number for each in waiting] == sorted({each.number for each in waiting})
                await election.hand_over(first, waiting[-1].number)
            leader, revision, _ = await present(client, "/e", Deadline(client, 10))
            assert leader is not None
            assert leader.number == waiting[-1].number
            assert revision >= leader.token.revision
            tasks.cancel_scope.cancel()

    run(backend, main, 60)


def event(kind: ChangeKind, revision: int, number: int) -> Event:
    return Event(kind, "/e", revision, b"v", 0, 7, Reason.REQUEST, 0, number)


def test_a_fold_tells_who_leads_after_each_revision() -> None:
    before = Leader(1, Token(2, 10), b"", 5, "a")
    fold = Fold(before, 12, 2)
    seen = []
    for each in (
        event(ChangeKind.RELEASED, 11, 1),  # it was known before
        event(ChangeKind.QUEUED, 13, 2),
        event(ChangeKind.RELEASED, 13, 9),  # not this one's
        event(ChangeKind.WITHDRAWN, 13, 1),
        event(ChangeKind.RELEASED, 14, 1),
        event(ChangeKind.CLAIMED, 14, 2),
    ):
        fold.apply(each)
        seen.append(fold.leader)
    assert seen == [before, before, before, before, None, Leader(2, Token(2, 14), b"v", 7, "")]


@both
def test_arguments(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as (client,):
            with pytest.raises(InvalidRequest, match="path"):
                Election(client, "e")
            with pytest.raises(InvalidRequest, match="blocking"):
                Election(None, "/e")  # type: ignore[arg-type]
            with pytest.raises(InvalidRequest, match="open"):
                await anext(Election(client, "/e").observe())
            with pytest.raises(InvalidRequest, match="on_gap"):
                async with client.watch("/e", claims=True):
                    pass

    run(backend, main)
