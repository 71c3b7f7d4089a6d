"""The client against real members, as real processes that are killed under it."""

from pathlib import Path

import anyio
import pytest

from coord.client import connect
from tests.client.house import both
from tests.processes import Cluster

WORKERS, TURNS = 20, 15


@pytest.mark.processes
@both
def test_a_killed_member_is_nothing_to_a_caller(backend: str, tmp_path: Path) -> None:
    async def main() -> None:
        with anyio.fail_after(60):
            async with (
                connect(cluster.endpoints[:1], name="victim") as client,  # the others are learned
                client.watch("/", "subtree") as events,
            ):
                session, first = client.session_id, client.member
                turns = 0

                async def work(number: int) -> None:
                    nonlocal turns
                    for turn in range(TURNS):
                        await client.set(f"/k-{number}", b"%d" % turn, create=True)
                        await client.create("/q/n-", sequential=True, parents=True)
                        turns += 1
                        if turns == WORKERS:
                            cluster.members[0].kill()

                async with anyio.create_task_group() as workers:
                    for number in range(WORKERS):
                        workers.start_soon(work, number)
                assert client.session_id == session
                assert client.member != first
                assert len(await client.children("/q")) == WORKERS * TURNS
                seen: dict[str, list[bytes | None]] = {}
                created = 0
                while created < WORKERS * TURNS or sum(map(len, seen.values())) < WORKERS * TURNS:
                    event = await anext(events)
                    if event.path.startswith("/k-"):
                        seen.setdefault(event.path, []).append(event.value)
                    elif event.path.startswith("/q/"):
                        created += 1
                assert all(values == [b"%d" % turn for turn in range(TURNS)] for values in seen.values())

    with Cluster(tmp_path) as cluster:
        anyio.run(main, backend=backend)
