"""The cluster's time goes on with its leader's, from where the log left it."""

import pytest

from coord.api.errors import OK
from coord.api.ops import Create, Kind, Set
from tests.replica.cluster import TICK_MS, Client, Cluster

SECOND_TICKS = 1000 // TICK_MS


def done(cluster: Cluster, client: Client, op: Create | Set) -> None:
    request = client.write(op)
    cluster.settle()
    assert client.reply(request)[1] == OK


@pytest.mark.parametrize("long_s", [0, 60])
def test_what_falls_due_does_so_in_time_after_all_members_were_down(long_s: int) -> None:
    """The interleaving: 1. A minute of the cluster's time is in the log, and in no snapshot. 2. All members start
    again. One of them leads before it has applied any of it: its reign begins at the time 0. 3. It applies its log,
    and is at 60 s. Were its time counted from where its reign began, it would stand still for that minute (or for the
    days that a log may hold), and nothing would fall due.
    """
    cluster = Cluster()
    client = cluster.client(1, 120_000)
    done(cluster, client, Create("/a"))
    for second in range(long_s):
        cluster.tick(SECOND_TICKS)
        done(cluster, client, Set("/a", str(second).encode()))
    before_ms = cluster.members[1].store.time_ms
    assert before_ms >= 1000 * long_s
    for number in (1, 2, 3):
        cluster.crash(number)
    for number in (1, 2, 3):
        cluster.start(number)
    leader = cluster.until_leader()
    other = cluster.client(leader, 60_000)
    done(cluster, other, Create("/ttl", kind=Kind.TTL, ttl_ms=2_000))
    store = cluster.members[leader].store
    assert "/ttl" in store.tree.znodes
    assert store.time_ms >= before_ms, "it never goes back"
    cluster.tick(SECOND_TICKS)
    assert "/ttl" in store.tree.znodes
    cluster.tick(2 * SECOND_TICKS)
    assert "/ttl" not in store.tree.znodes
    assert store.time_ms <= before_ms + 10_000
