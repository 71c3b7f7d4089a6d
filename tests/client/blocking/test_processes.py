"""One blocking client, many threads, and real members that are killed and stopped under it."""

import signal
from pathlib import Path

import pytest

from coord.client.blocking import connect
from tests.client.blocking.home import threads
from tests.processes import Cluster

WORKERS, TURNS = 20, 15


@pytest.mark.processes
@pytest.mark.parametrize("trouble", [signal.SIGKILL, signal.SIGSTOP])
def test_a_member_that_is_gone_is_nothing_to_a_caller(trouble: signal.Signals, tmp_path: Path) -> None:
    with (
        Cluster(tmp_path) as cluster,
        connect(cluster.endpoints[:1], session_timeout=8.0) as client,  # the others are learned
        client.watch("/", "subtree") as events,
        client.cache("/q") as cache,
    ):
        session, first = client.session_id, client.member

        def work(number: int) -> None:
            for turn in range(TURNS):
                client.set(f"/k-{number}", b"%d" % turn, create=True)
                client.create("/q/n-", sequential=True, parents=True)
                if number == 0 and turn == 1:
                    cluster.members[first - 1].signal(trouble)

        with threads(WORKERS, work):
            pass
        assert client.session_id == session
        assert client.member != first
        assert len(client.children("/q")) == WORKERS * TURNS
        seen: dict[str, list[bytes | None]] = {}
        created = 0
        while created < WORKERS * TURNS or sum(map(len, seen.values())) < WORKERS * TURNS:
            event = events.next(60)
            if event.path.startswith("/k-"):
                seen.setdefault(event.path, []).append(event.value)
            elif event.path.startswith("/q/"):
                created += 1
        assert all(values == [b"%d" % turn for turn in range(TURNS)] for values in seen.values())
        cache.wait_revision(client.revision)
        assert cache.children("/q") == client.children("/q")
