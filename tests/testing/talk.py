"""Talking to members of a cluster under test, and hearing that they say nothing."""

from coord.api.errors import OK
from coord.api.ops import Exists, Get, Set
from coord.testing import Cluster
from coord.wire.client_frames import encode_reads
from tests.rawclient import RawClient

SILENCE_S = 0.3
"""Longer than an answer takes, and than an election: what has not come by then does not."""


def client_of(made: Cluster, n: int = 1) -> RawClient:
    client = RawClient(port_of(made, n))
    client.hello()
    return client


def port_of(made: Cluster, n: int) -> int:
    return int(made.member(n).endpoint.rpartition(":")[2])


def put(client: RawClient, path: str, value: bytes = b"1") -> None:
    [reply] = client.write(Set(path, value, create=True).row())
    assert reply[1] == OK


def value(made: Cluster, n: int, path: str) -> bytes | None:
    """Read at member ``n``, linearizable."""
    client = RawClient(port_of(made, n))
    client.hello(0)
    [reply] = client.read(Get(path).row())
    client.close()
    return reply[4][0] if reply[1] == OK else None


def says_nothing(client: RawClient) -> bool:
    """It neither answers nor hangs up."""
    client.socket.settimeout(SILENCE_S)
    try:
        frame = client.frame()
    except TimeoutError:
        return True
    finally:
        client.socket.settimeout(20)
    raise AssertionError(f"it said {frame}")


def ask(client: RawClient) -> None:
    """A read, without waiting for its reply."""
    client.send(encode_reads(0, 0, [(1, Exists("/").row())]))


def other(n: int | None) -> int:
    assert n is not None
    return n % 3 + 1
