"""Members that are cut off: what is lost, what is not, and how that ends."""

import pytest

from coord.api.ops import Set
from coord.testing import Cluster
from coord.wire.client_frames import encode_writes
from tests.rawclient import RawClient
from tests.testing.talk import ask, client_of, other, port_of, put, says_nothing, value


def test_clients_that_are_cut_off_are_not_heard(three: Cluster) -> None:
    client = client_of(three, 1)
    three.cut_off(1, peers=False)
    client.send(encode_writes(0, [(1, Set("/unheard", b"", create=True).row())]))
    newcomer = RawClient(port_of(three, 1))
    ask(newcomer)
    assert says_nothing(client)
    assert says_nothing(newcomer)
    assert value(three, 2, "/unheard") is None
    three.heal(1)
    assert client.frame() is None  # what was said there is lost, so it ends
    assert newcomer.frame() is None
    assert value(three, 1, "/unheard") is None


def test_a_reply_can_be_lost_and_its_write_be_done(three: Cluster) -> None:
    client = client_of(three, 1)
    three.cut_off(1, peers=False, direction="out")
    client.send(encode_writes(0, [(1, Set("/done", b"v", create=True).row())]))
    assert says_nothing(client)
    assert value(three, 2, "/done") == b"v"
    newcomer = RawClient(port_of(three, 1))
    ask(newcomer)
    assert says_nothing(newcomer)


def test_a_client_that_cannot_be_told_is_not_told_why_it_is_cut(three: Cluster) -> None:
    client = client_of(three, 1)
    three.cut_off(1, peers=False, direction="out")
    client.send(b"\xff" * 100)  # no frame of the protocol
    assert client.frame() is None


def test_a_member_that_hears_no_client_still_speaks(three: Cluster) -> None:
    client = client_of(three, 1)
    three.cut_off(1, peers=False, direction="in")
    client.send(encode_writes(0, [(1, Set("/unheard-too", b"", create=True).row())]))
    assert says_nothing(client)
    three.stop(1)
    assert "stopping" in client.goodbye().message
    assert value(three, 2, "/unheard-too") is None


@pytest.mark.parametrize("direction", ["both", "in", "out"])
def test_a_leader_that_is_cut_off_is_replaced(three: Cluster, direction: str) -> None:
    old = three.wait_leader()
    three.cut_off(old, clients=False, direction=direction)
    assert three.leader() != old
    new = three.wait_leader()
    assert new != old
    put(client_of(three, new), f"/replaced-{direction}")
    client = RawClient(port_of(three, old))
    client.hello(0)
    ask(client)
    assert says_nothing(client)  # it cannot confirm that it leads
    three.heal(old)
    assert value(three, old, f"/replaced-{direction}") == b"1"
    assert not _is_cut(three)


def test_two_members_can_be_cut_off_from_each_other(three: Cluster) -> None:
    one, another = (n for n in (1, 2, 3) if n != three.wait_leader())
    three.cut_off(one, peers=[another], clients=False)
    put(client_of(three, one), "/around")
    assert value(three, another, "/around") == b"1"
    three.heal(another)  # either end of it will do
    assert not _is_cut(three)


def test_a_cut_outlives_a_restart(three: Cluster) -> None:
    lone = other(three.wait_leader())
    three.cut_off(lone)
    three.kill(lone)
    three.restart(lone)
    client = RawClient(port_of(three, lone))
    ask(client)
    assert says_nothing(client)
    put(client_of(three, other(lone)), "/meanwhile")
    three.heal()
    assert value(three, lone, "/meanwhile") == b"1"


@pytest.mark.parametrize("direction", ["in", "out"])
def test_a_cut_holds_for_new_connections(three: Cluster, direction: str) -> None:
    leader = three.wait_leader()
    lone, third = (n for n in (1, 2, 3) if n != leader)
    client = client_of(three, leader)
    three.cut_off(lone, clients=False, direction=direction)
    three.restart(lone)
    three.kill(third)
    client.send(encode_writes(0, [(1, Set(f"/new-{direction}", b"", create=True).row())]))
    assert says_nothing(client)  # a majority would need the lone one to hear of it, and to say so
    three.heal()
    assert client.frame() is not None


def test_a_cut_in_a_pause_holds_from_its_end_on(three: Cluster) -> None:
    client = client_of(three, 1)
    three.pause(1)
    ask(client)
    three.cut_off(1)
    three.resume(1)
    assert says_nothing(client)


def _is_cut(made: Cluster) -> bool:
    return "cut off" in repr(made)
