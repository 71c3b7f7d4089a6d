"""Sessions: opened, moved between members with their secret; ended no earlier and not much later than they may be."""

import pytest

from coord.api.errors import (
    OK,
    Disconnected,
    LimitExceeded,
    Overloaded,
    ProtocolError,
    SessionEnded,
    Unavailable,
)  # fmt: skip
from coord.api.ops import SESSIONS, Create, Exists, Kind, ReadMode
from coord.limits import MemberLimits, StoreLimits
from coord.raft.messages import Append
from coord.replica.leases import Leases
from coord.replica.settings import ReplicaSettings
from coord.wire import client_frames as frames
from coord.wire.client_frames import Hello, NewSession, ResumeSession
from coord.wire.peer_frames import ReadGranted, ReadRequest
from tests.replica.cluster import TICK_MS, Client, Cluster

TIMEOUT_MS = 2_000
TIMEOUT_TICKS = TIMEOUT_MS // TICK_MS
SLACK_TICKS = 15
"""Expiries are looked for every few ticks, and a follower's word travels as seldom."""


def alive(cluster: Cluster, client: Client) -> bool:
    return client.session in cluster.members[cluster.leader() or 1].store.sessions


# --- the handshake ---------------------------------------------------------------------------------------------------


def test_welcome() -> None:
    cluster = Cluster()
    for number in cluster.members:
        client = cluster.client(number, 7_000)
        welcome = client.welcome
        assert welcome is not None
        assert welcome.session == number
        assert welcome.timeout_ms == 7_000
        assert welcome.member == number
        assert welcome.cluster == b"c" * 16
        assert welcome.members == [(1, "host1:4711"), (2, "host2:4711"), (3, "host3:4711")]
        assert len(welcome.secret) == 16


def test_a_second_hello_and_haste_are_refused() -> None:
    cluster = Cluster()
    client = cluster.client(1)
    client.hello(Hello(None, "", None))
    hasty = cluster.connect(1)
    hasty.keepalive()
    twice = cluster.connect(1)
    for _ in range(2):
        twice.hello(Hello(NewSession(1000), "", None))
    early = cluster.connect(1)
    early.hello(Hello(NewSession(1000), "", None))
    early.write(Create("/a"))
    cluster.settle()
    for each in (client, hasty, twice, early):
        assert each.goodbye is not None
        assert each.goodbye.code == ProtocolError.code
    cluster.tick(20)
    # The sessions that were being opened for them have been ended: nobody knows their secrets.
    assert list(cluster.members[1].store.sessions) == [1]


def test_an_opening_that_meets_its_connections_close_in_one_step() -> None:
    """The hello is on its way into the log; its connection is closed in the very step that applies it."""
    cluster = Cluster()
    leader = cluster.leader()
    client = cluster.connect(leader)
    cluster.hold_messages(Append, leader)
    client.hello(Hello(NewSession(5000), "", None))
    cluster.settle()
    held = [message for message in cluster.held if message[1] == cluster.followers()[0]]
    cluster.travels = None
    cluster.members[leader].paused = True
    for _, to, message in held:
        cluster._fly(cluster.now_ms, leader, to, cluster.encoder.frame([message]))
    client.hello(Hello(None, "", None))
    cluster.settle()
    cluster.members[leader].paused = False
    cluster.settle()
    assert client.goodbye is not None
    assert cluster.members[leader].state.attached == {}
    cluster.tick(20)
    assert cluster.members[leader].store.sessions == {}


def test_another_cluster_is_refused() -> None:
    cluster = Cluster()
    for cluster_id, refused in ((b"d" * 16, True), (b"c" * 16, False)):
        client = cluster.connect(1)
        client.hello(Hello(None, "", cluster_id))
        cluster.settle()
        assert (client.goodbye is not None) == refused
    assert client.welcome is not None
    assert client.welcome.session == 0


def test_connections_are_bounded() -> None:
    cluster = Cluster(settings=ReplicaSettings(tick_ms=TICK_MS, limits=MemberLimits(connections=2)))
    clients = [cluster.connect(1) for _ in range(3)]
    cluster.settle()
    assert clients[2].goodbye is not None
    assert clients[2].goodbye.code == Overloaded.code
    clients[0].drop()
    cluster.settle()
    assert cluster.client(1).session


def test_sessions_are_bounded() -> None:
    settings = ReplicaSettings(tick_ms=TICK_MS, store_limits=StoreLimits(sessions=1))
    cluster = Cluster(settings=settings)
    cluster.tick(10)  # the leader writes its limits into the log
    cluster.client(1)
    client = cluster.connect(2)
    client.hello(Hello(NewSession(1000), "", None))
    cluster.settle()
    assert client.goodbye is not None
    assert client.goodbye.code == LimitExceeded.code


def test_no_quorum_no_session() -> None:
    cluster = Cluster()
    former = cluster.client(2)
    cluster.isolate(1)
    client, again = cluster.connect(1), cluster.connect(1)
    client.hello(Hello(NewSession(1000), "", None))
    again.hello(Hello(ResumeSession(former.session, former.secret), "", None))
    cluster.tick(550)
    for each in (client, again):
        assert each.goodbye is not None
        assert each.goodbye.code == Disconnected.code
    cluster.heal()
    cluster.tick(100)
    assert list(cluster.members[1].store.sessions) in ([], [former.session])


# --- moving ----------------------------------------------------------------------------------------------------------


def test_a_session_moves_with_its_secret() -> None:
    cluster = Cluster()
    client = cluster.client(1)
    client.write(Create("/e", kind=Kind.EPHEMERAL))
    cluster.settle()
    for number in (2, 3, 1):
        client = cluster.resumed(client, number)
        assert client.welcome is not None
        assert (client.welcome.session, client.welcome.secret, client.welcome.timeout_ms) == (1, b"", 5_000)
        request = client.write(Create(f"/n{number}"))
        cluster.settle()
        assert client.reply(request)[1] == OK
    assert "/e" in cluster.members[1].store.tree.znodes


def test_a_wrong_secret_is_refused() -> None:
    cluster = Cluster()
    client = cluster.client(1)
    for session, secret in ((client.session, b"x" * 16), (99, client.secret)):
        thief = cluster.connect(2)
        thief.hello(Hello(ResumeSession(session, secret), "", None))
        cluster.settle()
        assert thief.goodbye is not None
        assert thief.goodbye.code == SessionEnded.code
    assert not client.closed
    request = client.write(Create("/a"))
    cluster.settle()
    assert client.reply(request)[1] == OK


def test_a_newer_connection_at_the_same_member_takes_over() -> None:
    cluster = Cluster()
    client = cluster.client(2)
    again = cluster.resumed(client, 2)
    assert client.goodbye is not None
    assert client.goodbye.code == Disconnected.code
    request = again.write(Create("/a"))
    cluster.settle()
    assert again.reply(request)[1] == OK


def test_resuming_at_a_member_that_lags() -> None:
    """The member has not applied the opening yet: only a linearizable look says that the session lives."""
    cluster = Cluster()
    leader = cluster.leader()
    lagging = cluster.followers()[0]
    cluster.cut[(leader, lagging)] = None
    client = cluster.client(leader)
    assert client.session not in cluster.members[lagging].store.sessions
    again = cluster.connect(lagging)
    again.hello(Hello(ResumeSession(client.session, client.secret), "", None))
    cluster.settle()
    assert again.welcome is None
    assert again.goodbye is None
    cluster.heal()
    cluster.until(lambda: again.welcome is not None)


def test_an_ended_session_is_told_so() -> None:
    cluster = Cluster()
    client = cluster.client(1)
    client.write(Create("/e", kind=Kind.EPHEMERAL))
    request = client.end_session()
    cluster.settle()
    assert client.reply(request)[1] == OK
    assert client.goodbye is not None
    assert client.goodbye.code == SessionEnded.code
    assert "/e" not in cluster.members[2].store.tree.znodes
    again = cluster.resumed(client, 2)
    assert again.goodbye is not None
    assert again.goodbye.code == SessionEnded.code
    assert "has ended" in again.goodbye.message


# --- expiry ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_leader", [True, False])
def test_a_silent_session_expires_at_its_timeout(at_leader: bool) -> None:
    cluster = Cluster()
    member = cluster.leader() if at_leader else cluster.followers()[0]
    client = cluster.client(member, TIMEOUT_MS)
    client.write(Create("/e", kind=Kind.EPHEMERAL))
    cluster.settle()
    cluster.tick(TIMEOUT_TICKS)
    assert alive(cluster, client)
    cluster.tick(SLACK_TICKS)
    assert client.goodbye is not None
    assert client.goodbye.code == SessionEnded.code
    assert "/e" not in cluster.members[1].store.tree.znodes


@pytest.mark.parametrize("how", ["keepalive", "read", "write"])
@pytest.mark.parametrize("at_leader", [True, False])
def test_whoever_is_heard_of_stays(how: str, at_leader: bool) -> None:
    cluster = Cluster()
    member = cluster.leader() if at_leader else cluster.followers()[0]
    client = cluster.client(member, TIMEOUT_MS)
    for number in range(6):
        cluster.tick(TIMEOUT_TICKS * 2 // 3)
        if how == "keepalive":
            client.keepalive()
        elif how == "read":
            client.read(Exists("/"), ReadMode.LOCAL)
        else:
            client.write(Create(f"/n{number}"))
        cluster.settle()
    assert not client.closed
    assert alive(cluster, client)


def test_a_session_is_safe_until_its_timeout_after_the_last_keepalive() -> None:
    """However the keepalive falls between two ticks, and however late the tick after it is."""
    for late_ms in (0, 5, 19, 60, 95):
        cluster = Cluster()
        client = cluster.client(cluster.leader(), TIMEOUT_MS)
        cluster.tick(5)
        cluster.now_ms += late_ms  # no tick for so long: the collector, a busy machine
        sent_ms = cluster.now_ms
        request = client.keepalive()
        cluster.settle()
        assert client.reply(request)[1] == OK
        cluster.tick(TIMEOUT_TICKS - 10)
        while alive(cluster, client):
            cluster.now_ms += 2 - TICK_MS
            cluster.tick()
            assert cluster.now_ms < sent_ms + 2 * TIMEOUT_MS
        assert cluster.now_ms >= sent_ms + TIMEOUT_MS, late_ms


def test_a_paused_leader_expires_nobody_for_its_pause() -> None:
    """Expiry goes by waking time. By the wall, everybody would be overdue after a minute in a debugger."""
    cluster = Cluster(size=1)
    client = cluster.client(1, TIMEOUT_MS)
    cluster.now_ms += 60_000
    cluster.tick(10)
    assert alive(cluster, client)
    cluster.tick(TIMEOUT_TICKS + SLACK_TICKS)
    assert not alive(cluster, client)


def test_a_stepped_wall_clock_does_nothing() -> None:
    cluster = Cluster(size=1)
    client = cluster.client(1, TIMEOUT_MS)
    replica = cluster.members[1].replica
    assert replica is not None
    for wall_ms in (0, 10**15):
        replica.step(cluster.now_ms, wall_ms, [])
        cluster.tick()
        assert alive(cluster, client)


def test_a_new_leader_starts_every_sessions_time_afresh() -> None:
    """Nearly its whole timeout has passed when the leader goes; the new one never heard of the session."""
    cluster = Cluster()
    old = cluster.leader()
    client = cluster.client(old, TIMEOUT_MS)
    cluster.tick(TIMEOUT_TICKS - 5)
    cluster.crash(old)
    cluster.until_leader()
    cluster.tick(TIMEOUT_TICKS - 5)
    assert alive(cluster, client)
    again = cluster.resumed(client, cluster.leader())
    assert again.session == client.session
    cluster.tick(TIMEOUT_TICKS + SLACK_TICKS)
    assert not alive(cluster, client)


def test_a_deposed_leader_expires_nobody() -> None:
    """Cut off, it hears nothing from its clients' sessions; what it decides alone never happens."""
    cluster = Cluster()
    old = cluster.leader()
    client = cluster.client(cluster.followers()[0], TIMEOUT_MS)
    cluster.isolate(old)
    for _ in range(8):
        cluster.tick(TIMEOUT_TICKS // 3)
        client.keepalive()
        cluster.settle()
    cluster.heal()
    cluster.tick(30)
    assert alive(cluster, client)
    assert client.session in cluster.members[old].store.sessions


def test_a_keepalive_after_the_decision_does_not_pretend() -> None:
    """1. The leader proposes the expiry; nobody has it yet. 2. A keepalive arrives, and is confirmed by a round.

    It must not be answered before the expiry is applied: its client would go on, without its ephemerals.
    """
    cluster = Cluster()
    leader = cluster.leader()
    client = cluster.client(leader, TIMEOUT_MS)
    client.write(Create("/e", kind=Kind.EPHEMERAL))
    cluster.settle()
    cluster.tick(TIMEOUT_TICKS - 1)
    for number in cluster.followers():
        cluster.hold_disk(number)  # heartbeats are answered, appends are not
    cluster.until(lambda: cluster.members[leader].state.expire_index > 0, SLACK_TICKS)
    request = client.keepalive()
    remote = cluster.resumed(client, cluster.followers()[0])
    cluster.tick(3)
    assert not client.has(request)
    assert remote.welcome is None
    for number in cluster.followers():
        cluster.release_disk(number)
    assert not client.has(request)
    for each in (client, remote):
        assert each.goodbye is not None
        assert each.goodbye.code == SessionEnded.code


def test_a_keepalive_before_the_decision_prevents_it() -> None:
    cluster = Cluster()
    client = cluster.client(cluster.leader(), TIMEOUT_MS)
    cluster.tick(TIMEOUT_TICKS - 1)
    request = client.keepalive()
    cluster.settle()
    assert client.reply(request)[1] == OK
    cluster.tick(TIMEOUT_TICKS - SLACK_TICKS)
    assert alive(cluster, client)


def test_a_keepalive_without_a_quorum_is_not_answered_as_if_there_were_one() -> None:
    cluster = Cluster()
    client = cluster.client(cluster.leader())
    cluster.isolate(client.member)
    request = client.keepalive()
    cluster.tick(550)
    assert client.closed or client.reply(request)[1] == Unavailable.code


def test_a_followers_keepalive_travels_with_its_round() -> None:
    """What was said of the session before may be lost; the round that answers the keepalive says it again."""
    cluster = Cluster()
    follower = cluster.followers()[0]
    client = cluster.client(follower, TIMEOUT_MS)
    for _ in range(6):
        cluster.tick(TIMEOUT_TICKS * 2 // 3)
        # Only rounds get through, none of the lots that tell who was heard of.
        cluster.travels = lambda sender, to, message: (
            sender != follower
            or isinstance(message, ReadRequest)
            or (type(message).__module__ == "coord.raft.messages")
        )
        request = client.keepalive()
        cluster.tick()
        assert client.reply(request)[1] == OK
    assert alive(cluster, client)


def test_an_expiry_that_could_not_be_proposed_is_decided_again() -> None:
    """The leader was handing over when the session fell due, and the hand-over failed: it goes on leading.

    Else this session would be neither ended nor heard of again while this leader leads.
    """
    cluster = Cluster()
    leader = cluster.leader()
    client = cluster.client(leader, TIMEOUT_MS)
    cluster.tick(TIMEOUT_TICKS - 1)
    target = cluster.followers()[0]
    cluster.isolate(target)
    assert cluster.members[leader].state.raft.transfer_leadership(target)
    cluster.tick(SLACK_TICKS)
    cluster.tick(60)
    assert cluster.leader() == leader
    assert not alive(cluster, client)


def test_leases_of_sessions_unknown_are_passed_over() -> None:
    leases = Leases([1], 0, 100)
    leases.touch(2)
    leases.tick(500)
    assert leases.waking_ms == 100
    leases.tick(400)  # a clock that goes back counts for nothing
    assert leases.waking_ms == 100
    leases.opened(2)
    leases.tick(450)
    assert leases.take_overdue({1: 149, 2: 149}) == [1]
    assert leases.take_overdue({1: 149, 2: 149}) == []
    leases.touch(1)  # too late
    leases.ended(1)
    leases.ended(3)
    leases.tick(560)
    assert leases.take_overdue({2: 149}) == [2]


def test_an_opening_asked_for_in_an_earlier_life_is_nobodys() -> None:
    """Its nonce is of another boot: the answer must not welcome a connection of this life that has its number."""
    cluster = Cluster()
    follower = cluster.followers()[0]
    client = cluster.connect(follower)
    cluster.hold_messages(Append, cluster.leader())
    client.hello(Hello(NewSession(5_000), "", None))
    cluster.settle()
    cluster.restart(follower)
    other = cluster.connect(follower)
    cluster.travels = None
    cluster.deliver_held()
    cluster.tick(30)
    assert other.received == []
    assert not cluster.members[follower].state.attached


def test_sessions_are_told() -> None:
    cluster = Cluster()
    client = cluster.client(1)
    cluster.resumed(client, 2)
    request = client.request()
    client.send(frames.encode_reads(0, 0, [(request, [SESSIONS, None, 10])]))
    cluster.settle()
    assert [row[0] for row in client.reply(request)[4][0]] == [client.session]


def test_rounds_of_a_former_life_do_not_confirm_a_session() -> None:
    cluster = Cluster()
    follower = cluster.followers()[0]
    client = cluster.client(follower)
    cluster.hold_messages(ReadGranted)
    request = client.keepalive()
    cluster.settle()
    cluster.restart(follower)
    cluster.deliver_held()
    assert not client.has(request)


def test_a_member_that_has_opened_millions_of_sessions_opens_more() -> None:
    cluster = Cluster()
    cluster.members[1].state.openings = 2**32
    client = cluster.client(1)
    assert client.session
    assert cluster.client(1).session != client.session
