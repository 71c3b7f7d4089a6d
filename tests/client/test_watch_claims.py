"""A watch that is told of claims, too, and one that is not."""

from collections.abc import Iterator

import anyio
import pytest

from coord.client import ChangeKind, Event, InvalidRequest, connect
from coord.client.blocking import connect as connect_blocking
from coord.testing import Cluster, cluster


@pytest.fixture(scope="module")
def member() -> Iterator[Cluster]:
    with cluster(1) as made:
        yield made


def told(event: Event) -> tuple[ChangeKind, str, int, bytes | None]:
    return event.kind, event.path, event.request, event.value


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_claims_are_told_to_who_asks_and_to_nobody_else(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with (
            connect(member.endpoints, namespace=f"/{backend}") as client,
            connect(member.endpoints, namespace=f"/{backend}", session=False) as other,
        ):
            await client.create("/a", parents=True)
            async with (
                other.watch("/a", "subtree", on_gap="raise", claims=True) as all_events,
                other.watch("/a", "subtree") as events,
            ):
                async with await client.claim("/a", label=b"first") as first:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(client.claim, "/a")
                        while not (await client.claim_info("/a")).waiters:
                            await anyio.sleep(0)
                        tasks.cancel_scope.cancel()
                    await client.fence("/a/data", "/a")
                await client.claim_settings("/a", capacity=2)
                await client.set("/a", b"x")
                with anyio.fail_after(10):
                    found = [await anext(all_events) for _ in range(7)]
                    plain = await anext(events)
            waiting = found[1].request
            assert [told(event)[:3] for event in found] == [
                (ChangeKind.CLAIMED, "/a", first.number),
                (ChangeKind.QUEUED, "/a", waiting),
                (ChangeKind.WITHDRAWN, "/a", waiting),
                (ChangeKind.FENCED, "/a/data", found[3].request),
                (ChangeKind.RELEASED, "/a", first.number),
                (ChangeKind.CONFIGURED, "/a", found[5].request),
                (ChangeKind.SET, "/a", found[6].request),
            ]
            assert found[0].value == b"first"
            assert found[0].revision == first.token.revision
            assert told(plain) == told(found[6])

            with pytest.raises(InvalidRequest, match="on_gap='raise'"):
                async with client.watch("/a", claims=True):
                    pass

    anyio.run(main, backend=backend)


def test_for_plain_threads(member: Cluster) -> None:
    with (
        connect_blocking(member.endpoints) as client,
        client.watch("/b", on_gap="raise", claims=True) as events,
        client.claim("/b") as grant,
    ):
        created, claimed = events.next(10), events.next(10)
        assert created.kind is ChangeKind.CREATED
        assert told(claimed)[:3] == (ChangeKind.CLAIMED, "/b", grant.number)
