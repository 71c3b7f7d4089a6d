"""Claims, rule by rule. Each story that a line of the store defends against is told in words."""

from typing import Any

import pytest

from coord.api.commands import EXPIRE_SESSIONS, REQUESTS
from coord.api.errors import Claimed, Conflict, CoordError, NotAllowed, NotFound, NotHeld
from coord.api.events import CLAIMED, CONFIGURED, CREATED, DELETED, QUEUED, RELEASED, WITHDRAWN, Reason
from coord.api.ops import (
    Claim,
    ClaimFirst,
    ClaimInfo,
    Claims,
    ClaimSettings,
    Compare,
    Create,
    Delete,
    Get,
    Kind,
    Multi,
    Operator,
    Release,
    Set,
    Target,
    WatchScope,
)
from coord.store import granting
from tests.store.machine import Machine, picture, reloaded


@pytest.fixture
def machine() -> Machine:
    made = Machine()
    made.do(Create("/a"))
    return made


def holders(machine: Machine, path: str = "/a") -> list[int]:
    """The numbers of the claims that are held at ``path``."""
    return sorted(machine.store.claims.held.get(path, ()))


def last_changes(machine: Machine) -> list[tuple[int, str, int, str]]:
    """``(kind, path, claim or request, why)`` of the last revision."""
    return [(each[0], each[1], each[5], Reason(each[6]).name) for each in machine.changes()[-1][3]]


def claim(machine: Machine, session: int | None = None, path: str = "/a", **how: Any) -> int:
    """Its number."""
    number = machine.do(Claim(path, **{"wait": True, **how}), session)[0]
    assert isinstance(number, int)
    return number


# --- granting --------------------------------------------------------------------------------------------------------


def test_a_free_znode_is_granted_with_the_revision_as_its_token(machine: Machine) -> None:
    assert machine.do(Claim("/a", label=b"me")) == (1, 2, 0, 1, 0)
    assert machine.store.revision == 2
    assert machine.changes()[-1][3] == ((CLAIMED, "/a", b"me", 0, machine.session, 1, 0),)
    picture(machine.store)


def test_what_is_held_is_refused_or_waited_for(machine: Machine) -> None:
    other = machine.open()
    claim(machine)
    error = machine.refused(Claim("/a"), other)
    assert isinstance(error, Claimed)
    assert error.details == {"path": "/a", "session": machine.session, "token": 2}
    assert machine.do(Claim("/a", wait=True, label=b"then me"), other) == (2, 0, 0, 1, 0)
    assert machine.changes()[-1][3] == ((QUEUED, "/a", b"then me", 0, other, 2, 0),)
    assert machine.do(Claim("/a", wait=True), other) == (3, 0, 1, 1, 0)


def test_two_tasks_of_one_client_exclude_each_other(machine: Machine) -> None:
    claim(machine)
    assert isinstance(machine.refused(Claim("/a")), Claimed)
    claim(machine)
    assert holders(machine) == [1]


def test_a_release_grants_the_next_in_the_same_revision(machine: Machine) -> None:
    first, second, third = claim(machine), claim(machine, machine.open()), claim(machine, machine.open())
    assert machine.do(Release(first)) == 2
    assert machine.store.revision == 5
    assert last_changes(machine) == [(RELEASED, "/a", first, "REQUEST"), (CLAIMED, "/a", second, "REQUEST")]
    assert machine.changes()[-1][3][0][3] == 2  # the token it had
    assert machine.store.claims.held["/a"] == {second: 5}
    machine.do(Release(second, force=True))
    assert holders(machine) == [third]


def test_tokens_grow_also_when_the_znode_is_made_again(machine: Machine) -> None:
    tokens = []
    for _ in range(3):
        tokens.append(machine.do(Claim("/a"))[1])
        machine.do(Delete("/a"))
        machine.do(Create("/a"))
    assert tokens == sorted(set(tokens))


def test_capacity_and_units(machine: Machine) -> None:
    machine.do(ClaimSettings("/a", capacity=5))
    one, two = claim(machine, units=3), claim(machine, units=2)
    assert holders(machine) == [one, two]
    three, four = claim(machine, units=4), claim(machine, units=1)
    machine.do(Release(two))
    # 1. One holds 3 of 5 units, three waits for 4. 2. Two releases its 2: four's one unit would fit, but three came
    # first. Were four granted, and then another like it, three would wait for ever.
    assert holders(machine) == [one]
    assert isinstance(machine.refused(Claim("/a", units=1)), Claimed)
    machine.do(Release(one))
    assert holders(machine) == [three, four]


def test_units_beyond_the_capacity_are_refused(machine: Machine) -> None:
    """They would wait for ever, and all who come after them."""
    error = machine.refused(Claim("/a", wait=True, units=2))
    assert error.details == {"limit": "capacity", "maximum": 1}
    assert machine.do(Claim("/a", shared=True, units=2))[1]  # who shares, shares


def test_a_capacity_that_is_not_the_one_believed_is_refused(machine: Machine) -> None:
    """1. A semaphore of three at /s. 2. A lock at /s would be one of three."""
    assert machine.do(Claim("/s", units=2, create=True, capacity=3))[1]
    assert [each[:2] for each in last_changes(machine)] == [
        (CREATED, "/s"),
        (CONFIGURED, "/s"),
        (CLAIMED, "/s"),
    ]
    assert machine.do(Claim("/s", capacity=3))[1]
    for believed in (1, 2, 4):
        error = machine.refused(Claim("/s", wait=True, capacity=believed))
        assert isinstance(error, Conflict)
        assert error.details == {"path": "/s", "capacity": 3}
    machine.do(Claim("/s", wait=True))  # believes nothing
    assert isinstance(machine.refused(Claim("/a", capacity=2)), Conflict)
    assert machine.do(Claim("/a", capacity=1))[1]


def test_a_refused_claim_makes_nothing(machine: Machine) -> None:
    assert machine.refused(Claim("/new/s", units=4, create=True, parents=True, capacity=3)).details == {
        "limit": "capacity",
        "maximum": 3,
    }
    assert isinstance(machine.refused(Claim("/new/s", create=True, capacity=3)), NotFound)
    assert "/new" not in machine.store.tree.znodes
    assert machine.store.claims.unknown


def test_what_a_claim_made_goes_with_it(machine: Machine) -> None:
    """A lock on each of a million orders leaves nothing behind."""
    number = claim(machine, path="/locks/orders/1", create=True, parents=True)
    machine.do(Create("/locks/kept"))
    machine.do(Release(number))
    assert list(machine.store.tree.children("/locks")) == ["kept"]
    machine.do(Delete("/locks/kept"))
    assert "/locks" not in machine.store.tree.znodes
    machine.do(Create("/plain/x/y", parents=True))
    machine.do(Delete("/plain/x/y"))
    assert "/plain/x" in machine.store.tree.znodes  # whoever creates a znode means what is above it to stay


def test_a_capacity_that_is_raised_grants_at_once(machine: Machine) -> None:
    numbers = [claim(machine) for _ in range(4)]
    machine.do(ClaimSettings("/a", capacity=3))
    assert last_changes(machine)[0][:2] == (CONFIGURED, "/a")
    assert holders(machine) == numbers[:3]
    machine.do(ClaimSettings("/a", capacity=1))
    assert holders(machine) == numbers[:3]  # nobody loses what it holds
    machine.do(Release(numbers[0]))
    machine.do(Release(numbers[1]))
    assert holders(machine) == [numbers[2]]
    machine.do(Release(numbers[2]))
    assert holders(machine) == [numbers[3]]


def test_readers_share_and_do_not_overtake_a_writer(machine: Machine) -> None:
    readers = [claim(machine, shared=True) for _ in range(2)]
    writer = claim(machine)
    late = claim(machine, shared=True)
    assert holders(machine) == readers
    machine.do(Release(readers[0]))
    assert holders(machine) == readers[1:]
    machine.do(Release(readers[1]))
    assert holders(machine) == [writer]
    later = claim(machine, shared=True)
    machine.do(Release(writer))
    assert holders(machine) == [late, later]
    assert len(set(machine.store.claims.held["/a"].values())) == 1  # one revision, one token


def test_the_withdrawal_of_the_head_lets_those_behind_it_in(machine: Machine) -> None:
    claim(machine, shared=True)
    writer, reader = claim(machine), claim(machine, shared=True)
    assert machine.do(Release(writer)) == 0
    assert last_changes(machine) == [(WITHDRAWN, "/a", writer, "REQUEST"), (CLAIMED, "/a", reader, "REQUEST")]


# --- release, and handing on -----------------------------------------------------------------------------------------


def test_only_ones_own_claim_or_by_force(machine: Machine) -> None:
    other = machine.open()
    mine = claim(machine)
    waiting = claim(machine, other)
    assert isinstance(machine.refused(Release(mine), other), NotHeld)
    assert isinstance(machine.refused(Release(99)), NotHeld)
    machine.do(Release(mine, force=True), other)
    assert last_changes(machine) == [(RELEASED, "/a", mine, "FORCED"), (CLAIMED, "/a", waiting, "REQUEST")]
    assert machine.changes()[-1][3][0][4] == machine.session  # whose claim it was
    assert isinstance(machine.refused(Release(mine)), NotHeld)


def test_a_claim_is_handed_on_out_of_order(machine: Machine) -> None:
    """A rolling deploy: the old instance hands on to the new one, past those who wait, and nobody gets in between."""
    mine, first, second = claim(machine), claim(machine, machine.open()), claim(machine, machine.open())
    machine.do(Release(mine, to=second))
    assert last_changes(machine) == [
        (RELEASED, "/a", mine, "TRANSFERRED"),
        (CLAIMED, "/a", second, "TRANSFERRED"),
    ]
    assert holders(machine) == [second]
    machine.do(Release(second, force=True))
    assert holders(machine) == [first]


def test_what_cannot_be_handed_on(machine: Machine) -> None:
    machine.do(Create("/b"))
    machine.do(ClaimSettings("/a", capacity=2))
    mine, shared, elsewhere = claim(machine), claim(machine, shared=True), claim(machine, path="/b")
    waiting_elsewhere, large = claim(machine, path="/b"), claim(machine, units=2)
    also_held = machine.do(Multi(then=(Release(shared), Release(large), Claim("/a"))))[1][2][0]
    for number, to in (
        (mine, waiting_elsewhere),
        (mine, elsewhere),
        (mine, 99),
        (mine, also_held),
        (mine, mine),
    ):
        assert isinstance(machine.refused(Release(number, to=to)), Conflict)
    large = claim(machine, units=2)
    assert isinstance(
        machine.refused(Release(mine, to=large)), Conflict
    )  # the other unit is held by somebody else
    assert isinstance(machine.refused(Release(large, to=large)), Conflict)
    machine.do(Release(also_held))
    assert holders(machine) == [mine]
    machine.do(Release(mine, to=large))
    assert holders(machine) == [large]


# --- the end of a session --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expires", [True, False])
def test_with_its_session_all_goes_in_one_revision(machine: Machine, expires: bool) -> None:
    other = machine.open()
    machine.do(Create("/b"))
    machine.do(Create("/e", kind=Kind.EPHEMERAL), other)
    held, waits = claim(machine, other), claim(machine, other, "/b")
    mine = claim(machine)
    before = machine.store.revision
    machine.expire(other) if expires else machine.end(other)
    assert machine.store.revision == before + 1
    why = "SESSION_EXPIRED" if expires else "SESSION_ENDED"
    assert last_changes(machine) == [
        (DELETED, "/e", 0, why), (RELEASED, "/a", held, why), (RELEASED, "/b", waits, why),
        (CLAIMED, "/a", mine, "REQUEST"),
    ]  # fmt: skip
    picture(machine.store)


def test_an_ended_session_is_granted_nothing(machine: Machine) -> None:
    """1. A session holds a znode, and waits for it with another claim. 2. It ends. Granted on as the first goes, the
    znode would be the second's, of a session that is no more, for ever."""
    other = machine.open()
    claim(machine, other), claim(machine, other)
    mine = claim(machine)
    machine.end(other)
    assert holders(machine) == [mine]
    assert list(machine.store.claims.by_number) == [mine]


def test_claim_in_the_very_entry_of_the_end(machine: Machine) -> None:
    other = machine.open()
    answers = machine.apply((EXPIRE_SESSIONS, [other]), (REQUESTS, other, 0, [[1, Claim("/a").row()]]))
    assert answers[1][0][1] == 30  # type: ignore[index]
    assert not machine.store.claims.by_number


def test_claims_survive_nothing_but_the_session(machine: Machine) -> None:
    """A retry gets its first answer, and no second claim."""
    first = machine.requests([(500, Claim("/a", wait=True))])
    again = machine.requests([(500, Claim("/a", wait=True))])
    assert first == again
    assert len(machine.store.claims.by_number) == 1
    released = machine.requests([(501, Release(1))])
    assert machine.requests([(501, Release(1))]) == released


# --- the lock delay --------------------------------------------------------------------------------------------------


def test_after_an_expiry_nobody_is_granted_for_the_delay(machine: Machine) -> None:
    other = machine.open()
    machine.do(ClaimSettings("/a", lock_delay_ms=100))
    claim(machine, other)
    waits = claim(machine)
    machine.expire(other)
    assert holders(machine) == []
    error = machine.refused(Claim("/a"))
    assert error.details == {"path": "/a", "session": 0, "token": 0}
    assert machine.read(ClaimInfo("/a"))[:5] == (1, 100, 100, 0, 1)
    assert machine.store.next_due_ms == machine.now_ms + 100
    machine.pass_time(99)
    assert holders(machine) == []
    assert reloaded(machine.store).next_due_ms == machine.now_ms + 1
    revision = machine.store.revision
    machine.pass_time(1)
    assert machine.store.claims.held["/a"] == {waits: revision + 1}
    assert machine.store.next_due_ms is None


@pytest.mark.parametrize("how", ["ended", "released", "waiting"])
def test_no_delay_unless_a_holders_session_expired(machine: Machine, how: str) -> None:
    other = machine.open()
    machine.do(ClaimSettings("/a", lock_delay_ms=100))
    if how == "waiting":
        held = claim(machine)
        claim(machine, other)
        machine.expire(other)
        machine.do(Release(held))
    else:
        held = claim(machine, other)
        machine.end(other) if how == "ended" else machine.do(Release(held), other)
    assert machine.do(Claim("/a"))[1]


def test_a_delay_can_be_cut_short(machine: Machine) -> None:
    other = machine.open()
    machine.do(ClaimSettings("/a", lock_delay_ms=1000))
    claim(machine, other)
    waits = claim(machine)
    machine.expire(other)
    machine.do(ClaimSettings("/a", lock_delay_ms=10))
    assert machine.store.claims.delays["/a"] == machine.now_ms + 10
    machine.do(ClaimSettings("/a"))
    assert holders(machine) == [waits]
    assert machine.store.claims.delays == {}
    machine.pass_time(2000)
    assert machine.store.next_due_ms is None  # the leader is not asked to look again and again


def test_a_container_outlives_its_delay(machine: Machine) -> None:
    """The last claim goes, and the container with it, and the delay with the container: a new one is free at once."""
    other = machine.open()
    claim(machine, other, "/lock", create=True)
    machine.do(ClaimSettings("/lock", lock_delay_ms=100))
    machine.expire(other)
    assert "/lock" in machine.paths()
    assert isinstance(machine.refused(Claim("/lock", create=True)), Claimed)


# --- znodes and claims -----------------------------------------------------------------------------------------------


def test_a_claim_can_make_its_znode_and_the_znode_goes_with_it(machine: Machine) -> None:
    assert isinstance(machine.refused(Claim("/l/x")), NotFound)
    assert isinstance(machine.refused(Claim("/l/x", create=True)), NotFound)
    held = claim(machine, path="/l/x", create=True, parents=True)
    assert last_changes(machine) == [
        (CREATED, "/l", 4, "REQUEST"), (CREATED, "/l/x", 4, "REQUEST"), (CLAIMED, "/l/x", held, "REQUEST"),
    ]  # fmt: skip
    assert machine.read(Get("/l/x"))[1][10] == Kind.CONTAINER
    waits = claim(machine, path="/l/x", create=True)
    machine.do(Release(held))
    assert holders(machine, "/l/x") == [waits]
    machine.do(Release(waits))
    assert last_changes(machine) == [
        (RELEASED, "/l/x", waits, "REQUEST"), (DELETED, "/l/x", 7, "EMPTY"), (DELETED, "/l", 7, "EMPTY"),
    ]  # fmt: skip
    assert machine.paths() == ["/", "/a"]


def test_a_container_lives_while_it_has_children_or_claims_or_settings(machine: Machine) -> None:
    machine.do(Create("/c", kind=Kind.CONTAINER))
    held = claim(machine, path="/c")
    machine.do(Create("/c/x"))
    machine.do(Release(held))
    held = claim(machine, path="/c")
    machine.do(Delete("/c/x"))
    assert "/c" in machine.paths()
    machine.do(ClaimSettings("/c", capacity=3))
    machine.do(Release(held))
    assert "/c" in machine.paths()  # what somebody said about it must not be lost
    machine.do(ClaimSettings("/c"))
    assert "/c" not in machine.paths()


def test_a_container_lives_while_somebody_waits_at_it_for_any_child(machine: Machine) -> None:
    machine.do(Create("/c", kind=Kind.CONTAINER))
    machine.do(Create("/c/x"))
    machine.do(Claim("/c/x"))
    waits = machine.do(ClaimFirst("/c", wait=True))[0]
    machine.do(Delete("/c/x"))
    assert "/c" in machine.paths()
    machine.do(Release(waits))
    assert "/c" not in machine.paths()


def test_a_ttl_znode_that_is_claimed_is_not_swept(machine: Machine) -> None:
    machine.do(Create("/t", kind=Kind.TTL, ttl_ms=100))
    held = claim(machine, path="/t")
    machine.pass_time(1000)
    assert machine.store.next_due_ms is not None
    assert machine.store.next_due_ms > machine.now_ms  # the leader is not asked to look again and again
    assert "/t" in reloaded(machine.store).tree.znodes
    machine.do(Release(held))
    machine.pass_time(99)
    assert "/t" in machine.paths()
    machine.pass_time(1)
    assert "/t" not in machine.paths()


def test_the_deletion_of_a_znode_ends_its_claims(machine: Machine) -> None:
    machine.do(Create("/a/b"))
    machine.do(ClaimSettings("/a/b", 2, 50))
    held, waits = claim(machine, path="/a/b", units=2), claim(machine, path="/a/b")
    first = claim_first(machine, "/a/b", wait=True)[0]
    machine.do(Delete("/a", subtree=True))
    assert last_changes(machine) == [
        (RELEASED, "/a/b", held, "ZNODE_DELETED"), (WITHDRAWN, "/a/b", waits, "ZNODE_DELETED"),
        (WITHDRAWN, "/a/b", first, "ZNODE_DELETED"), (DELETED, "/a/b", 7, "REQUEST"), (DELETED, "/a", 7, "REQUEST"),
    ]  # fmt: skip
    assert not any(machine.store.claims.state()[1:])
    machine.do(Create("/a/b", parents=True))
    assert machine.read(ClaimInfo("/a/b"))[:2] == (1, 0)


def test_an_ephemeral_cannot_be_claimed(machine: Machine) -> None:
    """Its session's end would end claims of others, any number of them, in its one revision."""
    machine.do(Create("/a/e", kind=Kind.EPHEMERAL))
    for op in (Claim("/a/e"), ClaimFirst("/a/e", wait=True), ClaimSettings("/a/e", 2)):
        assert isinstance(machine.refused(op), NotAllowed)
    assert claim_first(machine, "/a") == (0, [], 1)
    assert isinstance(machine.refused(Claim("/coord", create=True)), NotAllowed)


# --- the first of many -----------------------------------------------------------------------------------------------


def claim_first(machine: Machine, path: str, session: int | None = None, **how: Any) -> Any:
    return machine.do(ClaimFirst(path, **how), session)


def queue(machine: Machine, *names: str) -> None:
    machine.do(Create("/q"))
    for name in names:
        machine.do(Create(f"/q/{name}", name.encode()))


def test_the_first_children_that_nobody_claims(machine: Machine) -> None:
    queue(machine, "c", "a", "b", "d")
    claim(machine, path="/q/b")
    assert claim_first(machine, "/q", count=2, values=True) == (0, [(2, "a", b"a", 0), (3, "c", b"c", 0)], 1)
    assert machine.store.claims.held["/q/a"] == {2: machine.store.revision}
    assert claim_first(machine, "/q", count=9) == (0, [(4, "d", None, 0)], 1)
    revision = machine.store.revision
    assert claim_first(machine, "/q") == (0, [], 1)
    assert machine.store.revision == revision
    assert isinstance(machine.refused(ClaimFirst("/nowhere")), NotFound)


def test_who_waits_for_any_child_gets_the_next_one(machine: Machine) -> None:
    queue(machine, "a")
    held = claim_first(machine, "/q")[1][0][0]
    one, two, three = [claim_first(machine, "/q", machine.open(), wait=True)[0] for _ in range(3)]
    assert last_changes(machine) == [(QUEUED, "/q", three, "REQUEST")]
    machine.do(Release(held))
    assert last_changes(machine) == [(RELEASED, "/q/a", held, "REQUEST"), (CLAIMED, "/q/a", one, "REQUEST")]
    machine.do(Create("/q/b"))
    assert last_changes(machine)[1:] == [(CLAIMED, "/q/b", two, "REQUEST")]
    machine.do(Multi(then=(Delete("/q/b"), Create("/q/e", kind=Kind.EPHEMERAL), Create("/q/c"))))
    assert last_changes(machine)[-1] == (CLAIMED, "/q/c", three, "REQUEST")
    assert machine.store.claims.first == {}


def test_nobody_takes_a_child_from_who_waits_for_any(machine: Machine) -> None:
    """1. A waits at the queue. 2. B claims a child that is not there yet, and makes it. The child is A's."""
    queue(machine)
    waits = claim_first(machine, "/q", machine.open(), wait=True)[0]
    assert isinstance(machine.refused(Claim("/q/x", create=True)), Claimed)
    assert "/q/x" not in machine.paths()
    late = claim(machine, path="/q/x", create=True)
    assert holders(machine, "/q/x") == [waits]
    assert claim_first(machine, "/q", wait=True)[0]
    machine.do(Release(waits, force=True))
    assert holders(machine, "/q/x") == [late]  # who came before the second that waits for any
    picture(machine.store)


def test_a_finished_job_and_the_next_in_one_request(machine: Machine) -> None:
    """Complete and release: the multi deletes the job, and its claim with it."""
    queue(machine, "a", "b")
    claim_first(machine, "/q")
    machine.do(Multi(then=(Create("/done"), Delete("/q/a"))))
    assert claim_first(machine, "/q")[1][0][1] == "b"


# --- in a multi ------------------------------------------------------------------------------------------------------


def test_several_locks_at_once_or_none(machine: Machine) -> None:
    machine.do(Create("/b"))
    assert machine.do(Multi(then=(Claim("/a"), Claim("/b"))))[1] == [(1, 3, 0, 1, 0), (2, 3, 0, 1, 0)]
    machine.do(Release(1))
    before = picture(machine.store)
    error = machine.refused(Multi(then=(Set("/a", b"x"), Claim("/a"), Claim("/c", create=True), Claim("/b"))))
    assert isinstance(error, Claimed)
    assert error.details["position"] == 3
    after = picture(machine.store)
    assert before["claims"] == after["claims"]


def test_a_refused_multi_gives_nothing_to_those_who_wait(machine: Machine) -> None:
    """1. The multi releases: the next is granted. 2. It is refused, and takes its release back. Both would hold it."""
    mine, waits = claim(machine), claim(machine, machine.open())
    machine.refused(Multi(then=(Release(mine), Delete("/nowhere"))))
    assert holders(machine) == [mine]
    # …and what it had freed is not looked at in the next revision either.
    machine.do(Set("/a", b"x"))
    assert holders(machine) == [mine]
    machine.refused(Multi(then=(Release(mine), Claim("/a"))))  # the one who waits comes first
    machine.do(Release(mine))
    assert holders(machine) == [waits]


@pytest.mark.parametrize("last", [Delete("/nowhere"), Claim("/held"), Create("/a")])
def test_whatever_a_refused_multi_did_is_undone(machine: Machine, last: Any) -> None:
    machine.do(Create("/held"))
    claim(machine, path="/held")
    machine.do(ClaimSettings("/a", 2, 100))
    other = machine.open()
    one, two, three = claim(machine, other), claim(machine), claim(machine, other)
    machine.do(Create("/t", kind=Kind.TTL, ttl_ms=1000))
    claim(machine, path="/t")
    machine.now_ms += 10
    claim_first(machine, "/t", wait=True)
    done = (
        Release(two), Release(three, force=True), ClaimSettings("/a"), Claim("/new", create=True), Create("/t/x"),
        Release(one, force=True), Claim("/a"), Delete("/t", subtree=True), Delete("/a"), Create("/a"), last,
    )  # fmt: skip
    before = picture(machine.store)
    error = machine.refused(Multi(then=done))
    assert error.details["position"] == len(done) - 1
    after = picture(machine.store)
    for part in ("tree", "claims", "data_bytes", "ephemerals", "revision"):
        assert before[part] == after[part]
    copy = reloaded(machine.store)
    assert picture(copy)["claims"] == after["claims"]


def test_comparisons(machine: Machine) -> None:
    def holds(target: Target, operator: Operator, operand: int, path: str = "/a") -> bool:
        return bool(machine.do(Multi((Compare(target, path, operator, operand),)))[0])

    for target in (Target.CLAIM_TOKEN, Target.CLAIM_HOLDER, Target.CLAIM_COUNT):
        assert holds(target, Operator.EQUAL, 0)
        assert not holds(target, Operator.GREATER_OR_EQUAL, 0, "/nowhere")
    machine.do(ClaimSettings("/a", 2))
    other = machine.open()
    claim(machine), claim(machine, other)
    assert holds(Target.CLAIM_TOKEN, Operator.EQUAL, machine.store.revision)
    assert holds(Target.CLAIM_TOKEN, Operator.LESS, machine.store.revision + 1)
    assert holds(Target.CLAIM_HOLDER, Operator.EQUAL, other)
    assert holds(Target.CLAIM_COUNT, Operator.EQUAL, 2)
    assert not holds(Target.CLAIM_COUNT, Operator.NOT_EQUAL, 2)


# --- reading ---------------------------------------------------------------------------------------------------------


def test_claims_are_listed(machine: Machine) -> None:
    other = machine.open()
    machine.do(Create("/a/b"))
    token = machine.do(Claim("/a", label=b"x"))[1]
    for session in (machine.session, other):
        machine.do(Claim("/a", wait=True, shared=True, units=2), session)
    claim(machine, path="/a/b")
    claim_first(machine, "/a/b", wait=True)
    wall = machine.wall_ms
    rows = [
        (1, "/a", machine.session, "me", token, 1, False, b"x", wall, 0, 0),
        (2, "/a", machine.session, "me", 0, 2, True, b"", wall, 0, 0),
        (3, "/a", other, "me", 0, 2, True, b"", wall, 1, 0),
    ]
    assert machine.read(Claims("/a", WatchScope.ZNODE)) == (rows, False, 1)
    assert machine.read(Claims("/a", WatchScope.ZNODE, other)) == (rows[2:], False, 1)
    assert machine.read(Claims("/a", WatchScope.ZNODE, None, 1, 1)) == (rows[1:2], True, 1)
    assert [row[0] for row in machine.read(Claims("/"))[0]] == [1, 2, 3, 4, 5]
    assert [row[0] for row in machine.read(Claims("/a/b"))[0]] == [4, 5]
    assert machine.read(Claims("/nowhere")) == ([], False, 1)
    assert machine.read(ClaimInfo("/a")) == (1, 0, 0, 1, 2, [], [], 1, 0, 0, (), (0, 1, 0, 0))
    assert machine.read(ClaimInfo("/nowhere")) == (1, 0, 0, 0, 0, [], [], 1, 0, 0, (), (0, 0, 0, 0))


# --- more at once than fits into a revision --------------------------------------------------------------------------


def test_what_is_left_over_goes_on_in_the_next_entry(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(granting, "GRANTS_MAX", 10)
    writer = claim(machine)
    readers = [claim(machine, shared=True) for _ in range(55)]
    machine.do(Release(writer))
    # Ten with the release, ten by the end of its entry.
    assert holders(machine) == readers[:20]
    assert machine.store.next_due_ms == machine.store.time_ms
    late = claim(machine, shared=True)  # it overtakes nobody, but its entry goes on, before it and after
    assert holders(machine) == readers[:50]
    copy = reloaded(machine.store)
    assert picture(copy) == picture(machine.store)
    machine.apply()
    assert holders(machine) == [*readers, late]
    assert machine.store.next_due_ms is None


def test_a_znode_of_the_left_over_is_deleted(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(granting, "GRANTS_MAX", 1)
    queue(machine, "a", "b", "c", "d")
    numbers = [each[0] for each in claim_first(machine, "/q", count=4)[1]]
    waits = [claim_first(machine, "/q", machine.open(), wait=True)[0] for _ in range(4)]
    machine.do(Multi(then=tuple(Release(each) for each in numbers)))
    assert [holders(machine, f"/q/{name}") for name in "abcd"] == [waits[:1], waits[1:2], [], []]
    # A newcomer gets neither of the two that are free: they are for those who wait.
    assert [reply[1] for reply in machine.requests([(900, Claim("/q/d")), (901, Delete("/q/d"))])] == [16, 0]
    machine.apply()
    assert holders(machine, "/q/c") == waits[2:3]
    assert machine.store.claims.first == {"/q": waits[3:]}
    assert not machine.store.claims.unsettled


def test_errors_have_their_outcomes() -> None:
    for error in (Claimed, NotHeld):
        assert issubclass(error, CoordError)
        assert error.outcome == "refused"
