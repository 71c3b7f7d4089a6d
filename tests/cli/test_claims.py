"""``coord claims`` and ``coord why`` against a real member."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from coord.cli.app import build
from coord.cli.exits import USAGE
from coord.client.blocking import Client, Lane, connect
from coord.testing import Cluster, cluster

APP = build()
Coord = Callable[..., str]


@pytest.fixture(scope="module")
def member() -> Iterator[Cluster]:
    with cluster(1) as made:
        yield made


@pytest.fixture
def coord(member: Cluster) -> Coord:
    def run(*arguments: str, code: int = 0) -> str:
        environment = {"COORD_ENDPOINTS": member.endpoints[0]}
        result = CliRunner().invoke(APP, list(arguments), env=environment)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == code, result.output
        return str(result.output)

    return run


@pytest.fixture
def pair(member: Cluster) -> Iterator[tuple[Client, Client]]:
    with connect(member.endpoints, name="web") as a, connect(member.endpoints, name="job") as b:
        yield a, b


def wait_behind(client: Client, path: str, **rest: Any) -> None:
    """Stand in line, and leave it to the service to answer."""
    client._loop.hand(lambda: client._client._link.claims.ask(_row(path, **rest), _Nobody()))
    while (info := client.claim_info(path)).waiters == 0:
        client.exists("/", at_least=info.revision + 1)


class _Nobody:
    def set(self) -> None:
        pass


def _row(path: str, **rest: Any) -> Any:
    from coord.client import Claim

    return Claim(path, True, **rest).row()


def test_the_table_and_its_json(coord: Coord, pair: tuple[Client, Client]) -> None:
    a, b = pair
    with a.claim("/t/a", label=b"nightly") as grant:
        wait_behind(b, "/t/a", shared=True)
        header, first, second = coord("claims", "/t").splitlines()
        assert header.split() == [
            "path", "number", "state", "session", "client", "token", "units", "shared", "label", "since",
        ]  # fmt: skip
        token = f"{grant.token.incarnation}-{grant.token.revision}"
        held = ["/t/a", str(grant.number), "held", str(a.session_id), "web", token, "1", "nightly"]
        assert first.split()[:8] == held
        assert second.split()[0] == "/t/a"
        assert "waiting (1)" in second
        assert "shared" in second
        rows = [json.loads(line) for line in coord("claims", "/t", "--json").splitlines()]
        assert [(row["state"], row["client"], row["token"], row["label"]) for row in rows] == [
            ("held", "web", [grant.token.incarnation, grant.token.revision], "nightly"),
            ("waiting", "job", None, ""),
        ]
        assert rows[1]["shared"] is True
        assert coord("claims", "/none", "--json") == ""


def test_why_in_words(coord: Coord, pair: tuple[Client, Client]) -> None:
    a, b = pair
    assert coord("why", "/w/a").splitlines() == ["Nobody holds /w/a.", "Nobody waits for it."]
    with a.claim("/w/a", label=b"nightly"):
        a.create("/w/data", b"")
        a.fence("/w/data", "/w/a")
        wait_behind(b, "/w/a")
        a.claim_settings("/w/a", lock_delay=1.5)
        told = coord("why", "/w/a")
        assert f"/w/a is held by session {a.session_id} (web, 'nightly') for 0." in told
        assert "1 waits for it" in told
        assert f"1. session {b.session_id} (job) for 0." in told
        assert "a lock delay of 1.5 s" in told
        assert "Its token is what writes at and below /w/data must present." in told
        assert "must present the token of /w/a" in coord("why", "/w/data")
        assert "DEADLOCK" not in told
        assert "what it holds itself" not in told
    with a.claim("/w/itself"):
        wait_behind(a, "/w/itself")
        assert f"Session {a.session_id} waits for what it holds itself: for ever" in coord("why", "/w/itself")
    assert "is not a path" in coord("why", "w", code=USAGE)


def test_why_of_a_semaphore(coord: Coord, pair: tuple[Client, Client]) -> None:
    a, _ = pair
    a.create("/s", b"")
    a.claim_settings("/s", capacity=3)
    with a.claim("/s", units=2):
        told = coord("why", "/s")
    assert "2 units, token" in told
    assert "2 of its capacity of 3 units are held." in told
    assert "Nobody waits for it." in told


def test_why_tells_a_deadlock_wherever_it_is(coord: Coord, pair: tuple[Client, Client]) -> None:
    a, b = pair
    with a.claim("/d/a"), b.claim("/d/b"):
        wait_behind(a, "/d/b")
        assert "DEADLOCK" not in coord("why", "/d/a")
        wait_behind(b, "/d/a")
        told = coord("why", "/d/a")
        assert "DEADLOCK" in told
        assert (
            f"session {a.session_id} (web) waits for /d/b, which is held by session {b.session_id} (job)"
            in told
        )
        assert (
            f"session {b.session_id} (job) waits for /d/a, which is held by session {a.session_id} (web)"
            in told
        )
        assert "DEADLOCK" in coord("why", "/")
        why = json.loads(coord("why", "/d/a", "--json"))
        (circle,) = why["deadlocks"]
        sessions = [(wait["waiter"]["session"], wait["blocker"]["session"]) for wait in circle]
        assert sessions == [(a.session_id, b.session_id), (b.session_id, a.session_id)]


def test_why_nobody_is_granted_what_nobody_holds(coord: Coord, pair: tuple[Client, Client]) -> None:
    a, _ = pair
    a.create("/h", b"")
    a.hold_back("/h", None)
    a.lanes("/h", [Lane("smtp", width=3, interval_ms=50, burst=20)])
    assert coord("why", "/h").splitlines() == [
        "Nobody holds /h.",
        "It is held back: until somebody says otherwise nobody is granted it.",
        "It is granted only while its lane 'smtp' has room: 3 held at a time and one in 0.05 s, 20 at once, in the "
        "whole cluster.",
        "Nobody waits for it.",
    ]
    a.hold_back("/h", 60)
    assert "It is held back: until 60.0 s of cluster time are over" in coord("why", "/h")


def test_why_and_fence_in_json(coord: Coord, pair: tuple[Client, Client]) -> None:
    a, b = pair
    assert json.loads(coord("fence", "/j/data", "/j/lock", "--json")) == {
        "path": "/j/data",
        "claim": "/j/lock",
    }
    with a.claim("/j/lock", label=b"nightly") as grant:
        wait_behind(b, "/j/lock", shared=True)
        why = json.loads(coord("why", "/j/lock", "--json"))
        token = str(grant.token)
        assert json.loads(coord("fence", "/j/data", "--remove", "--token", token, "--json"))["claim"] is None
    assert (why["path"], why["capacity"], why["fences"], why["deadlocks"]) == ("/j/lock", 1, ["/j/data"], [])
    (holder,), (waiter,) = why["holders"], why["waiters"]
    assert (holder["session"], holder["label"], holder["token"]) == (
        a.session_id,
        "nightly",
        [grant.token.incarnation, grant.token.revision],
    )
    assert (waiter["session"], waiter["shared"], waiter["token"]) == (b.session_id, True, None)
