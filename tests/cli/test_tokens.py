"""Writes below a fence from the shell: ``--token``, and the environment that ``coord lock`` makes."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from typer.testing import CliRunner

from coord.cli.app import build
from coord.cli.exits import CONFLICT, USAGE
from coord.client.blocking import Client, connect
from coord.testing import Cluster, cluster

APP = build()
Coord = Callable[..., str]


@pytest.fixture(scope="module")
def member() -> Iterator[Cluster]:
    with cluster(1) as made:
        yield made


@pytest.fixture
def client(member: Cluster) -> Iterator[Client]:
    with connect(member.endpoints) as made:
        yield made


@pytest.fixture
def coord(member: Cluster, monkeypatch: pytest.MonkeyPatch) -> Coord:
    for name in ("COORD_FENCING_TOKEN", "COORD_FENCING_TOKENS"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, code: int = 0, token: str | None = None) -> str:
        environment = {"COORD_ENDPOINTS": member.endpoints[0], "COORD_FENCING_TOKEN": token}
        result = CliRunner().invoke(APP, list(arguments), env=environment)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == code, result.output
        return str(result.output)

    return run


def test_writes_below_a_fence_need_the_token(coord: Coord, client: Client) -> None:
    client.create("/data")
    client.fence("/data", "/lock")
    former = client.claim("/lock")
    coord("create", "/data/a", "1", "--token", str(former.token))
    coord("set", "/data/a", "2", "--token", str(former.token))
    assert "/lock" in coord("set", "/data/a", "none", code=CONFLICT)
    former.release()
    with client.claim("/lock") as grant:
        # The former's token, given; that of the environment does not count then.
        for words in (("set", "/data/a", "late"), ("create", "/data/b"), ("delete", "/data/a")):
            told = coord(*words, "--token", str(former.token), token=str(grant.token), code=CONFLICT)
            assert str(grant.token.revision) in told
        assert client.get("/data/a").value == b"2"
        coord("set", "/data/a", "3", token=str(grant.token))
        coord("delete", "/data/a", "--subtree", token=f"{former.token} {grant.token}")
    assert client.children("/data") == []


def test_a_fence_is_made_and_taken_away(coord: Coord, client: Client) -> None:
    coord("create", "/shut")
    assert "/shut is fenced by the claim of /locks/shut" in coord("fence", "/shut", "/locks/shut")
    assert client.claim_info("/shut").fenced_by == ("/locks/shut",)
    coord("fence", "/shut", "--remove", code=CONFLICT)  # nobody holds it
    with client.claim("/locks/shut") as grant:
        coord("fence", "/shut", "--remove", token=str(grant.token))
    coord("set", "/shut", "x")
    for words in (("/shut",), ("/shut", "/locks/shut", "--remove")):
        assert "one of them" in coord("fence", *words, code=USAGE)


def test_elsewhere_a_token_changes_nothing(coord: Coord) -> None:
    coord("create", "/free", "x", "--token", "7-7")
    coord("set", "/free", "y", token="7-7")


@pytest.mark.parametrize("token", ["4711", "1-", "one-two", "0-5"])
def test_what_is_no_token_is_told_before_anything_happens(token: str, coord: Coord) -> None:
    for told in (
        coord("create", "/never", "--token", token, code=USAGE),
        coord("create", "/never", token=token, code=USAGE),
    ):
        assert "COORD_FENCING_TOKEN" in told
    assert "/never" not in coord("ls", "/")


@pytest.mark.processes
def test_below_coord_lock_it_need_not_be_given(member: Cluster, client: Client) -> None:
    client.create("/guarded")
    client.fence("/guarded", "/locks/guarded")
    command = [sys.executable, "-m", "coord"]
    environment = {**os.environ, "COORD_ENDPOINTS": member.endpoints[0]}
    create = [*command, "create", "/guarded/by-the-holder"]
    done = subprocess.run(
        [*command, "lock", "/locks/guarded", "--", *create], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    alone = subprocess.run(
        [*command, "delete", "/guarded/by-the-holder"], env=environment, capture_output=True, text=True
    )
    assert alone.returncode == CONFLICT, alone.stderr
    assert client.children("/guarded") == ["by-the-holder"]
