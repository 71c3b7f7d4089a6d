"""``coord token-keys`` against a real member."""

import json
from collections.abc import Callable, Iterator

import pytest
from typer.testing import CliRunner

from coord.cli.app import build
from coord.cli.exits import NOT_FOUND, USAGE
from coord.client import SignedToken
from coord.client.blocking import Client, connect
from coord.recipes.fencing.signed import KeySet, UnknownKey, Verifier
from coord.testing import Cluster, cluster

APP = build()
Coord = Callable[..., str]


@pytest.fixture
def member() -> Iterator[Cluster]:
    with cluster(1) as made:
        yield made


@pytest.fixture
def client(member: Cluster) -> Iterator[Client]:
    with connect(member.endpoints) as made:
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


def test_there_are_none_until_somebody_signs(coord: Coord) -> None:
    assert coord("token-keys").split() == ["key", "member", "state", "made"]
    assert coord("token-keys", "list", "--json") == ""
    assert json.loads(coord("token-keys", "jwks")) == {"keys": []}


def test_from_the_first_to_a_revoked_one(coord: Coord, client: Client) -> None:
    with client.claim("/lock") as grant:
        before = grant.sign(ttl=600)
        [row] = [json.loads(line) for line in coord("token-keys", "--json").splitlines()]
        assert (row["key"], row["member"], row["state"]) == (before.key, 1, "in use")
        assert row["jwk"]["x"]
        assert before.key in coord("token-keys")
        copied = coord("token-keys", "jwks")
        assert Verifier(KeySet(copied)).verify(str(before), path="/lock") == before
        assert json.loads(coord("get", f"{SignedToken.KEYS}/{before.key}")) == row["jwk"]
        assert coord("token-keys", "rotate").startswith("generation 1:")
        with client.cache(SignedToken.KEYS) as cache:
            cache.wait_for(lambda: len(cache) == 3, deadline=10)
            states = {
                each["key"]: each["state"]
                for each in map(json.loads, coord("token-keys", "--json").splitlines())
            }
            assert states.pop(before.key) == "retiring"
            assert list(states.values()) == ["in use"]
            assert json.loads(coord("token-keys", "revoke", before.key, "--json"))["generation"] == 2
            cache.wait_for(lambda: f"{SignedToken.KEYS}/{before.key}" not in cache, deadline=10)
            copied = coord("token-keys", "jwks")
        with pytest.raises(UnknownKey):
            Verifier(KeySet(copied)).verify(str(before), path="/lock")


def test_mistakes_are_told(coord: Coord) -> None:
    assert "which key?" in coord("token-keys", "revoke", code=USAGE)
    assert "takes no key" in coord("token-keys", "rotate", "1-a", code=USAGE)
    assert "'revok'" in coord("token-keys", "revok", code=USAGE)
    assert "no znode" in coord("token-keys", "revoke", "1-a", code=NOT_FOUND)
    assert "name of a key" in coord("token-keys", "revoke", "a/b", code=USAGE)
