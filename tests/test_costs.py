"""What a request costs, counted and not timed: a guard against getting slower that no noise of a machine can trip.

Counted are the calls (of Python functions of the pure rooms, and of C functions from there) that all three members make
for one request, codecs included, in a cluster in one thread. The same program makes the same number each time. A change
that makes a request dearer by more than a tenth fails here, and so does one that makes it cheaper: write the new number
down, so that it is kept. What it means in time is a matter for ``bench/``.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from coord.api.ops import Claim, Get, Multi, ReadMode, Release, Set, WatchScope
from coord.client.core.request import WRITE
from coord.wire.client_frames import encode_replies
from tests.client.script import Script
from tests.replica.cluster import Client, Cluster

ROOMS = tuple(
    str(Path(__file__).resolve().parent.parent / "coord" / room)
    for room in ("api", "raft", "store", "wire", "replica")
)
CLIENT = tuple(
    str(Path(__file__).resolve().parent.parent / room)
    for room in ("client/core", "coord/client/core", "coord/wire", "coord/api")
)
BATCH = 64
MARGIN = 0.1

Act = Callable[[Cluster, Client], None]


def counted(act: Callable[[], None], rooms: tuple[str, ...] = ROOMS) -> int:
    """The calls that ``act`` makes within the pure rooms."""
    calls = 0
    ours: dict[str, bool] = {}

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        if event in ("call", "c_call"):
            file = frame.f_code.co_filename
            known = ours.get(file)
            if known is None:
                known = ours[file] = file.startswith(rooms)
            calls += known

    sys.setprofile(count)
    try:
        act()
    finally:
        sys.setprofile(None)
    return calls


def sets(count: int) -> Act:
    def act(cluster: Cluster, client: Client) -> None:
        client.confirmed = client.next_request - 1
        client.write(*[Set(f"/a/{number}", b"x" * 100) for number in range(count)])
        cluster.settle()

    return act


def gets(count: int) -> Act:
    def act(cluster: Cluster, client: Client) -> None:
        for number in range(count):
            client.read(Get(f"/a/{number}"))
        cluster.settle()

    return act


def claims(cluster: Cluster, client: Client) -> None:
    client.confirmed = client.next_request - 1
    number = client.write(Claim("/a/0"))
    cluster.settle()
    client.write(Release(client.reply(number)[4][0]))
    cluster.settle()


def multis(cluster: Cluster, client: Client) -> None:
    client.confirmed = client.next_request - 1
    client.write(*[Multi(then=(Set(f"/a/{number}", b"y"), Get("/a/1"))) for number in range(BATCH)])
    cluster.settle()


@pytest.mark.parametrize(
    ("what", "act", "requests", "at_leader", "calls"),
    [
        ("64 sets in one frame at the leader", sets(BATCH), BATCH, True, 94),
        ("64 sets in one frame at a follower", sets(BATCH), BATCH, False, 95),
        ("one set at the leader", sets(1), 1, True, 1044),
        ("one set at a follower", sets(1), 1, False, 1121),
        ("64 linearizable gets at the leader", gets(BATCH), BATCH, True, 80),
        ("one linearizable get at a follower", gets(1), 1, False, 588),
        ("a claim and its release", claims, 2, True, 1071),
        ("64 multis of a set and a get", multis, BATCH, True, 277),
    ],
)
def test_what_a_request_costs(what: str, act: Act, requests: int, at_leader: bool, calls: float) -> None:
    cluster = Cluster()
    client = cluster.client(cluster.leader() if at_leader else cluster.followers()[0])
    client.write(*[Set(f"/a/{number}", b"", create=True, parents=True) for number in range(BATCH)])
    cluster.settle()
    act(cluster, client)  # once before: what is made at first use is made
    cost = counted(lambda: act(cluster, client)) / requests
    assert cost == pytest.approx(calls, rel=MARGIN), (
        f"{what}: {cost:.1f} calls a request, {calls} are written down"
    )


@pytest.mark.parametrize(
    ("what", "mode", "op", "answer", "calls"),
    [
        ("64 sets", WRITE, Set("/a", b"x" * 100), 5, 34),
        ("64 gets", ReadMode.LINEARIZABLE, Get("/a"), (b"x" * 100, tuple(range(12))), 38),
    ],
)
def test_what_a_request_costs_the_clients_core(
    what: str, mode: int, op: Set | Get, answer: object, calls: float
) -> None:
    """From the row of its op to its typed result."""
    script = Script()
    script.connect()
    core = script.core
    rows = [op.row() for _ in range(BATCH)]

    def act() -> None:
        asked = [core.write(row) if mode == WRITE else core.read(row, mode) for row in rows]
        core.take_bytes()
        core.received(encode_replies([(each.id, 0, 7, 7, answer) for each in asked]), script.now)
        assert len([request.result() for request in core.take_completed()]) == BATCH

    act()
    cost = counted(act, CLIENT) / BATCH
    assert cost == pytest.approx(calls, rel=MARGIN), (
        f"{what}: {cost:.1f} calls a request, {calls} are written down"
    )


def test_a_watched_change_costs_little_for_each_watch() -> None:
    """Ten times the watches on one connection: one event in one frame, still."""
    costs = []
    for watches in (10, 100):
        cluster = Cluster()
        client = cluster.client(cluster.leader())
        client.write(Set("/a/0", b"", create=True, parents=True))
        for _ in range(watches):
            client.watch("/a/0")
        cluster.settle()
        sets(1)(cluster, client)
        costs.append(counted(lambda cluster=cluster, client=client: sets(1)(cluster, client)))  # type: ignore[misc]
    assert costs[1] - costs[0] < 3 * (100 - 10)


def test_a_change_that_many_watch_is_encoded_once() -> None:
    """A session more with twenty watches costs a few calls, whatever the numbers of its watches."""
    costs = []
    for sessions in (5, 55):
        cluster = Cluster()
        writer = cluster.client(cluster.leader())
        writer.write(Set("/a/0", b"", create=True, parents=True))
        for _ in range(sessions):
            client = cluster.client(cluster.leader())
            for _ in range(20):
                client.watch("/a/0")
        cluster.settle()
        sets(1)(cluster, writer)
        costs.append(counted(lambda cluster=cluster, writer=writer: sets(1)(cluster, writer)))  # type: ignore[misc]
    assert (costs[1] - costs[0]) / 50 == pytest.approx(30, rel=MARGIN)


def test_watches_of_other_paths_cost_a_change_nothing() -> None:
    costs = []
    for watches in (10, 1_000):
        cluster = Cluster()
        writer, idle = cluster.client(cluster.leader()), cluster.client(cluster.leader())
        writer.write(Set("/a/0", b"", create=True, parents=True))
        for number in range(watches):
            idle.watch(f"/idle/{number}", scope=WatchScope(1 + number % 3))
        cluster.settle()
        sets(1)(cluster, writer)
        costs.append(counted(lambda cluster=cluster, writer=writer: sets(1)(cluster, writer)))  # type: ignore[misc]
    assert costs[0] == costs[1]


def test_a_request_costs_the_same_in_a_large_tree() -> None:
    """Of the calls; the time of each is the business of ``bench/``."""
    costs = []
    for znodes in (100, 10_000):
        cluster = Cluster()
        client = cluster.client(cluster.leader())
        for start in range(0, znodes, 1_000):
            some = range(start, min(start + 1_000, znodes))
            client.write(*[Set(f"/b/{number}", b"", create=True, parents=True) for number in some])
            cluster.settle()
        client.write(*[Set(f"/a/{number}", b"", create=True, parents=True) for number in range(BATCH)])
        cluster.settle()
        sets(BATCH)(cluster, client)
        costs.append(counted(lambda cluster=cluster, client=client: sets(BATCH)(cluster, client)))  # type: ignore[misc]
    assert costs[1] <= costs[0] * 1.02
