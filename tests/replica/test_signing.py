"""Signed tokens among members: what is signed, when not, and how keys come, turn and go."""

from dataclasses import replace
from hashlib import sha512
from typing import Any

import pytest

from coord.api.commands import PUT_TOKEN_KEY
from coord.api.errors import (
    OK,
    CoordError,
    InvalidRequest,
    NotAllowed,
    NotHeld,
    Overloaded,
    SessionRequired,
    Unavailable,
    from_code,
)
from coord.api.ops import Claim, Get, Kind, ReadMode, Release, RotateTokenKeys, Set, SignToken
from coord.api.paths import TOKEN_KEYS
from coord.api.signed import SignedToken
from coord.api.tokens import Token
from coord.limits import TOKEN_TTL_MAX_MS, MemberLimits
from coord.replica.inputs import Signer, TokenKeyMade
from coord.replica.settings import ReplicaSettings
from coord.replica.signing import SKEW_MS
from coord.replica.token_keys import ASK_AGAIN_TICKS
from coord.store.znode import KIND
from coord.wire.client_frames import Hello
from coord.wire.entries import encode_command
from coord.wire.peer_frames import Forward
from tests.replica.cluster import CLUSTER_ID, TICK_MS, Client, Cluster

LEAD_MS = 2_000
SETTINGS = ReplicaSettings(
    tick_ms=TICK_MS, token_key_lead_ms=LEAD_MS, limits=MemberLimits(read_wait_ms=1_000)
)


def signer(member: int, name: str = "a", generation: int = 0) -> Signer:
    """Not a good one, but one that is known by its signatures, and as long as they are."""
    key = f"{member}-{name}"
    return Signer(
        key, b"public " + key.encode(), generation, lambda data: sha512(key.encode() + data).digest()
    )


def cluster_of(size: int = 3) -> Cluster:
    return Cluster(size, SETTINGS, signers={number: signer(number) for number in range(1, size + 1)})


def done(cluster: Cluster, client: Client, *ops: Any) -> Any:
    """The result of the last."""
    for op in ops:
        request = client.write(op)
        cluster.until(lambda request=request: client.has(request))
        assert client.reply(request)[1] == OK, client.reply(request)
    return client.reply(request)[4]


def asked(
    cluster: Cluster, client: Client, number: int, ttl_ms: int = 0, mode: ReadMode = ReadMode.LINEARIZABLE
) -> Any:
    """What is answered: a token, or an error."""
    request = client.read(SignToken(number, ttl_ms), mode)
    cluster.until(lambda: client.has(request))
    return answer(client, request)


def answer(client: Client, request: int) -> SignedToken | CoordError:
    reply = client.reply(request)
    return SignedToken.parse(reply[4]) if reply[1] == OK else from_code(reply[1], reply[4], reply[5])


def signed(cluster: Cluster, client: Client, number: int, ttl_ms: int = 0) -> SignedToken:
    found = asked(cluster, client, number, ttl_ms)
    assert isinstance(found, SignedToken), found
    assert found.signature == sha512(found.key.encode() + found.signed).digest()
    return found


def keys(cluster: Cluster, member: int = 1) -> dict[str, Kind]:
    tree = cluster.members[member].store.tree
    return {name: Kind(tree.znodes[f"{TOKEN_KEYS}/{name}"][KIND]) for name in tree.children(TOKEN_KEYS)}


def make_keys(cluster: Cluster, name: str, generation: int, *members: int) -> None:
    """The shells have made what they were asked for."""
    for number in members or cluster.members:
        member = cluster.members[number]
        assert member.keys_wanted[-1] == generation
        member.inbox.append(TokenKeyMade(signer(number, name, generation)))
    cluster.settle()


def test_who_signs_nothing_has_no_keys_and_no_revisions() -> None:
    cluster = cluster_of()
    client = cluster.client(2)
    done(cluster, client, Claim("/a", create=True))
    cluster.tick(200)
    assert {member.store.revision for member in cluster.members.values()} == {1}
    assert not any(member.keys_wanted for member in cluster.members.values())


@pytest.mark.parametrize("member", [1, 2, 3])
def test_what_is_signed(member: int) -> None:
    cluster = cluster_of()
    client = cluster.client(member, timeout_ms=7_000)
    number, revision, _, incarnation, *_ = done(
        cluster, client, Set("/x", b"", create=True), Claim("/a/ä", create=True, parents=True)
    )
    found = signed(cluster, client, number)
    assert found.cluster == CLUSTER_ID.hex()
    assert (found.path, found.token, found.session) == ("/a/ä", Token(incarnation, revision), client.session)
    assert found.client == f"client {client.connection}"
    assert found.key == f"{member}-a"
    now_ms = 1_700_000_000_000 + cluster.now_ms
    assert now_ms - 2_000 < 1000 * found.issued_s <= now_ms
    assert 0 <= 1000 * found.expires_s - (now_ms + 7_000) < 1_000
    assert now_ms + 60_000 <= 1000 * signed(cluster, client, number, 60_000).expires_s < now_ms + 62_000
    cluster.tick(10)
    # One member was asked; the keys of all are there, for those who copy them once.
    for each in cluster.members:
        assert keys(cluster, each) == dict.fromkeys(["1-a", "2-a", "3-a"], Kind.PERSISTENT)
    revision = cluster.members[1].store.revision
    cluster.tick(200)
    assert cluster.members[1].store.revision == revision


def test_the_default_time_is_the_sessions_but_not_more_than_may_be_asked_for() -> None:
    cluster = cluster_of(1)
    client = cluster.client(1, timeout_ms=3_600_000)
    number = done(cluster, client, Claim("/a", create=True))[0]
    found = signed(cluster, client, number)
    assert TOKEN_TTL_MAX_MS // 1000 <= found.expires_s - found.issued_s <= TOKEN_TTL_MAX_MS // 1000 + 1


def test_only_the_holders_session_is_signed_for() -> None:
    cluster = cluster_of()
    holder, other = cluster.client(1), cluster.client(2)
    number = done(cluster, holder, Claim("/a", create=True))[0]
    waiting = done(cluster, other, Claim("/a", wait=True))[0]
    assert isinstance(asked(cluster, other, number), NotHeld)
    assert isinstance(asked(cluster, other, waiting), NotHeld)
    assert isinstance(asked(cluster, holder, 99), NotHeld)
    signed(cluster, holder, number)
    done(cluster, holder, Release(number))
    assert isinstance(asked(cluster, holder, number), NotHeld)
    later = signed(cluster, other, waiting)
    assert later.session == other.session


def test_how_it_has_to_be_asked() -> None:
    cluster = cluster_of()
    client = cluster.client(1)
    number = done(cluster, client, Claim("/a", create=True))[0]
    assert isinstance(asked(cluster, client, number, mode=ReadMode.LOCAL), InvalidRequest)
    assert isinstance(asked(cluster, client, number, mode=ReadMode.AT_LEAST), InvalidRequest)
    nobody = cluster.connect(1)
    nobody.hello(Hello(None, "", None))
    cluster.settle()
    assert isinstance(asked(cluster, nobody, number), SessionRequired)
    assert cluster.members[1].store.revision == 1  # none of them made keys
    without = Cluster(1, SETTINGS)
    client = without.client(1)
    assert isinstance(asked(without, client, 1), NotAllowed)


def test_a_member_that_is_cut_off_signs_nothing() -> None:
    """1. B holds a claim, at a follower that is cut off then. 2. Somebody takes the claim away. 3. B asks for a
    signature: the follower's own state says that B holds it."""
    cluster = cluster_of()
    cut_off = cluster.followers()[0]
    client = cluster.client(cut_off)
    number = done(cluster, client, Claim("/a", create=True))[0]
    signed(cluster, client, number)
    cluster.isolate(cut_off)
    other = cluster.client(cluster.until_leader())
    done(cluster, other, Release(number, force=True))
    assert cluster.members[cut_off].store.claims.held["/a"]
    assert isinstance(asked(cluster, client, number), Unavailable)
    request = client.read(SignToken(number))
    cluster.tick(5)
    cluster.heal()
    cluster.until(lambda: client.has(request))
    assert isinstance(answer(client, request), NotHeld)


def test_who_waits_for_the_key_is_answered_in_its_turn_and_once() -> None:
    cluster = cluster_of()
    follower = cluster.followers()[0]
    client = cluster.client(follower)
    number = done(cluster, client, Set("/x", b"v", create=True), Claim("/a", create=True))[0]
    cluster.hold_messages(Forward)
    requests = [client.read(op) for op in (Get("/x"), SignToken(number), Get("/x"))]
    cluster.tick(20)
    assert not client.has(requests[1])
    assert cluster.members[follower].state.proposals.pending_count == 1  # it is on its way, once
    cluster.travels = None
    cluster.deliver_held()
    cluster.until(lambda: all(client.has(each) for each in requests))
    assert isinstance(answer(client, requests[1]), SignedToken)
    assert not cluster.members[follower].state.token_keys.waiting


def test_who_waits_for_the_key_for_too_long_is_told() -> None:
    cluster = cluster_of()
    follower = cluster.followers()[0]
    client, gone = cluster.client(follower), cluster.client(follower)
    number = done(cluster, client, Claim("/a", create=True))[0]
    gone.read(SignToken(number))
    cluster.hold_messages(Forward)
    request = client.read(SignToken(number))
    cluster.tick(5)
    gone.drop()
    cluster.until(lambda: client.has(request))
    error = answer(client, request)
    assert isinstance(error, Unavailable)
    assert "key" in error.message
    assert not cluster.members[follower].state.token_keys.waiting


def test_only_so_many_wait_for_the_key() -> None:
    limits = MemberLimits(waiting_reads=3)
    cluster = Cluster(3, replace(SETTINGS, limits=limits), signers={each: signer(each) for each in (1, 2, 3)})
    client = cluster.client(cluster.followers()[0])
    number = done(cluster, client, Claim("/a", create=True))[0]
    cluster.hold_messages(Forward)
    requests = []
    for _ in range(5):
        requests.append(client.read(SignToken(number)))
        cluster.tick()
    assert [client.has(each) for each in requests] == [False, False, False, True, True]
    assert isinstance(answer(client, requests[4]), Overloaded)
    cluster.travels = None
    cluster.deliver_held()
    cluster.until(lambda: all(client.has(each) for each in requests))
    assert isinstance(answer(client, requests[2]), SignedToken)


def test_a_rotation_while_in_use() -> None:
    cluster = cluster_of()
    client = cluster.client(1, timeout_ms=60_000)
    number = done(cluster, client, Claim("/a", create=True))[0]
    assert signed(cluster, client, number).key == "1-a"
    cluster.tick(5)
    done(cluster, client, RotateTokenKeys())
    cluster.tick(2)
    assert signed(cluster, client, number).key == "1-a"  # the shell has not made one yet
    make_keys(cluster, "b", 1)
    cluster.tick(2)
    began_ms = cluster.now_ms
    assert keys(cluster) == {
        **dict.fromkeys(["1-a", "2-a", "3-a"], Kind.TTL), **dict.fromkeys(["1-b", "2-b", "3-b"], Kind.PERSISTENT),
    }  # fmt: skip
    while (found := signed(cluster, client, number)).key == "1-a":
        cluster.tick()
    assert found.key == "1-b"
    assert LEAD_MS - 5 * TICK_MS < cluster.now_ms - began_ms < LEAD_MS + 5 * TICK_MS
    assert keys(cluster)["1-a"] == Kind.TTL  # what it signed last is good for as long as can be
    last_ms = LEAD_MS + TOKEN_TTL_MAX_MS + SKEW_MS
    for member in cluster.members.values():
        tree = member.store.tree
        assert tree.next_due_ms is not None
        assert tree.next_due_ms <= member.store.time_ms + last_ms
        assert tree.next_due_ms >= member.store.time_ms + last_ms - LEAD_MS - 1_000
    assert [member.keys_wanted for member in cluster.members.values()] == [[1]] * 3


def test_the_next_key_turns_present_though_nobody_signs() -> None:
    """Else the first to sign a day later would be given the old key, which is about to go."""
    cluster = cluster_of(1)
    client = cluster.client(1, timeout_ms=60_000)
    number = done(cluster, client, Claim("/a", create=True))[0]
    signed(cluster, client, number)
    done(cluster, client, RotateTokenKeys())
    cluster.tick(2)
    make_keys(cluster, "b", 1)
    cluster.tick(LEAD_MS // TICK_MS + 5)
    assert signed(cluster, client, number).key == "1-b"


def test_a_rotation_asks_for_the_first_keys() -> None:
    cluster = cluster_of()
    client = cluster.client(1)
    done(cluster, client, RotateTokenKeys())
    cluster.tick(2)
    make_keys(cluster, "b", 1)
    cluster.tick(5)
    assert keys(cluster) == dict.fromkeys(["1-b", "2-b", "3-b"], Kind.PERSISTENT)
    number = done(cluster, client, Claim("/a", create=True))[0]
    assert signed(cluster, client, number).key == "1-b"


def test_a_key_that_does_not_come_is_asked_for_again() -> None:
    cluster = cluster_of(1)
    client = cluster.client(1, timeout_ms=120_000)
    done(cluster, client, RotateTokenKeys())
    cluster.tick(ASK_AGAIN_TICKS - 10)
    assert cluster.members[1].keys_wanted == [1]
    cluster.tick(20)
    assert cluster.members[1].keys_wanted == [1, 1]
    done(cluster, client, RotateTokenKeys())  # another one: at once
    cluster.tick(1)
    assert cluster.members[1].keys_wanted == [1, 1, 2]


def test_a_revoked_key_signs_nothing_more_and_its_successor_at_once() -> None:
    cluster = cluster_of()
    client = cluster.client(2)
    number = done(cluster, client, Claim("/a", create=True))[0]
    assert signed(cluster, client, number).key == "2-a"
    cluster.tick(5)
    other = cluster.client(1)
    done(cluster, other, RotateTokenKeys("2-a"))
    request = client.read(SignToken(number))
    cluster.tick(5)
    assert not client.has(request)
    make_keys(cluster, "b", 1)
    cluster.tick(3)  # far less than the lead
    found = answer(client, request)
    assert isinstance(found, SignedToken)
    assert found.key == "2-b"
    assert "2-a" not in keys(cluster)
    assert keys(cluster)["1-a"] == Kind.TTL


def test_a_member_that_comes_back_with_a_revoked_key_does_not_put_it_back() -> None:
    cluster = cluster_of()
    client = cluster.client(1)
    number = done(cluster, client, Claim("/a", create=True))[0]
    signed(cluster, client, number)
    cluster.tick(5)
    cluster.crash(2)
    done(cluster, client, RotateTokenKeys("2-a"))
    cluster.start(2)  # with the key in its folder
    cluster.until(lambda: cluster.members[2].keys_wanted == [1])
    cluster.tick(100)
    assert "2-a" not in keys(cluster)
    make_keys(cluster, "b", 1, 2)
    cluster.tick(3)
    assert keys(cluster)["2-b"] == Kind.PERSISTENT


def test_a_member_whose_folder_was_replaced_has_another_key() -> None:
    cluster = cluster_of()
    client = cluster.client(1)
    number = done(cluster, client, Claim("/a", create=True))[0]
    signed(cluster, client, number)
    cluster.tick(5)
    cluster.wipe(2)
    cluster.signers[2] = signer(2, "new")
    cluster.start(2)
    cluster.until(lambda: "2-new" in keys(cluster))
    assert keys(cluster)["2-a"] == Kind.TTL


def test_what_an_earlier_life_has_proposed_is_not_taken_for_this_ones() -> None:
    """1. A follower's key is on its way. 2. One of its former folder, of the same generation, comes, and is applied.
    3. What was on its way is lost, and nobody counts it as pending any more."""
    cluster = cluster_of()
    leader, follower = cluster.leader(), cluster.followers()[0]
    client = cluster.client(follower)
    number = done(cluster, client, Claim("/a", create=True))[0]
    cluster.hold_messages(Forward)
    request = client.read(SignToken(number))
    cluster.tick(2)
    late = (PUT_TOKEN_KEY, follower, f"{follower}-late", b"public", 0, 1_000)
    cluster.members[leader].state.proposals.add((PUT_TOKEN_KEY, 0), 0, encode_command(late))
    cluster.tick(2)
    assert f"{follower}-late" in keys(cluster, follower)
    cluster.held.clear()
    cluster.travels = None
    cluster.until(lambda: client.has(request))
    found = answer(client, request)
    assert isinstance(found, SignedToken), found
    assert found.key == f"{follower}-a"
    assert keys(cluster)[f"{follower}-late"] == Kind.TTL


def test_a_key_on_its_way_when_the_leader_goes_arrives() -> None:
    cluster = cluster_of()
    leader = cluster.leader()
    follower = cluster.followers()[0]
    client = cluster.client(follower)
    number = done(cluster, client, Claim("/a", create=True))[0]
    cluster.hold_messages(Forward)
    request = client.read(SignToken(number))
    cluster.tick(2)
    cluster.crash(leader)  # and what was passed on to it is lost
    cluster.held.clear()
    cluster.travels = None
    cluster.until_leader()
    cluster.until(lambda: client.has(request))
    assert isinstance(answer(client, request), SignedToken)
