"""What somebody found who used the library for the first time."""

from collections.abc import Iterator

import anyio
import pytest

from coord.api.events import ChangeKind, Event, Reason
from coord.client import InvalidRequest, connect
from coord.client.blocking.loop import Loop
from coord.client.blocking.watch import Ahead
from coord.testing import Cluster, cluster
from tests.client.house import both, run


@pytest.fixture(scope="module")
def member() -> Iterator[Cluster]:
    with cluster(1) as made:
        yield made


@both
@pytest.mark.parametrize("deadline", ["1", None, 1 + 1j, 10**400, float("nan"), [], True + 0j])
def test_a_deadline_that_is_none_is_refused_and_harms_nobody(
    backend: str, member: Cluster, deadline: object
) -> None:
    async def main() -> None:
        async with connect(member.endpoints) as client:
            if deadline is not None:
                with pytest.raises(InvalidRequest, match="number of seconds"):
                    await client.watch("/", deadline=deadline).__aenter__()  # type: ignore[arg-type]
                with pytest.raises(InvalidRequest, match="number of seconds"):
                    await client.exists("/", deadline=deadline)  # type: ignore[arg-type]
            assert await client.exists("/", deadline=5) is not None
            async with client.watch("/", deadline=5):
                await anyio.sleep(0)

    run(backend, main)


@both
def test_arguments_of_other_kinds(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with connect(member.endpoints) as client:
            for kind in (None, "ephemeral", float("nan"), [], 1):
                with pytest.raises(InvalidRequest, match="kind of znode"):
                    await client.create("/k", kind=kind)  # type: ignore[arg-type]
            with pytest.raises(InvalidRequest, match="ttl"):
                await client.create("/k", ttl=10**400)
            with pytest.raises(InvalidRequest, match="scope"):
                await client.watch("/", []).__aenter__()  # type: ignore[arg-type]
            for path in ("app", "/app/", "//", None):
                with pytest.raises(InvalidRequest):
                    await client.log(path)  # type: ignore[arg-type]

    run(backend, main)


@both
def test_a_cache_is_not_current_when_the_session_may_be_over(backend: str, member: Cluster) -> None:
    """1. The process stands still for longer than its session. 2. It goes on, and looks at the cache before
    anything else has had a turn."""

    async def main() -> None:
        async with connect(member.endpoints) as client, client.cache("/") as cache:
            assert cache.current
            link = client._link
            now = link._now
            link._now = lambda: now() + 3_600  # type: ignore[method-assign]
            assert not cache.current
            link._now = now  # type: ignore[method-assign]
            assert cache.current

    run(backend, main)


def test_a_thread_that_goes_on_within_a_difference_loses_nothing_of_it() -> None:
    """After a gap, events of one listing are taken one by one: until the last of them no revision would do but the
    one before the gap."""

    def event(path: str, revision: int, reason: Reason) -> Event:
        return Event(ChangeKind.SET, path, revision, b"", 1, 1, reason, 0)

    ahead = Ahead(Loop.__new__(Loop))
    ahead._next_revision = 10
    ahead._add(event("/a", 110, Reason.RELISTED), 10)
    ahead._add(event("/b", 110, Reason.RELISTED), 111)
    ahead._add(event("/c", 112, Reason.REQUEST), 113)
    resumes = []
    while ahead._events:
        resumes.append(ahead.next_revision)
        ahead.take(0)
    assert [*resumes, ahead.next_revision] == [10, 10, 111, 113]
