"""What holds claims back, and how often they were lost. Each story that a line of the store defends against is told."""

import pytest

from coord.api.commands import REQUESTS
from coord.api.errors import Claimed, NotAllowed, NotFound
from coord.api.events import CLAIMED, DELETED, HELD_BACK, QUEUED, RELEASED, UNTIL_TOLD, Reason
from coord.api.ops import (
    Claim,
    ClaimFirst,
    ClaimInfo,
    Claims,
    ClaimSettings,
    Create,
    Delete,
    HoldBack,
    Kind,
    Multi,
    Release,
    SetLanes,
)
from coord.store import claims as store_claims
from tests.store.machine import Machine, picture, reloaded


@pytest.fixture
def machine() -> Machine:
    made = Machine()
    for path in ("/q", "/q/a", "/q/b", "/q/c"):
        made.do(Create(path))
    return made


def found(machine: Machine, count: int = 9, session: int | None = None) -> list[str]:
    """The names of the children that were claimed."""
    return [row[1] for row in machine.do(ClaimFirst("/q", count), session)[1]]


def last(machine: Machine) -> list[tuple[int, str, int]]:
    """``(kind, path, version)`` of the last revision's changes."""
    picture(machine.store)
    return [(each[0], each[1], each[3]) for each in machine.changes()[-1][3]]


def test_a_znode_is_held_back_for_a_time(machine: Machine) -> None:
    machine.do(HoldBack("/q/a", 100))
    assert last(machine) == [(HELD_BACK, "/q/a", 100)]
    error = machine.refused(Claim("/q/a"))
    assert isinstance(error, Claimed)
    assert "held back" in error.message
    assert found(machine) == ["b", "c"]
    revision = machine.store.revision
    machine.pass_time(99)
    assert found(machine) == []
    machine.pass_time(1)
    assert machine.store.revision == revision  # when the time is over nothing is told
    assert found(machine) == ["a"]


def test_who_waits_is_granted_when_the_time_is_over(machine: Machine) -> None:
    machine.do(HoldBack("/q/a", 100))
    number = machine.do(Claim("/q/a", wait=True))[0]
    assert machine.store.next_due_ms == machine.now_ms + 100
    machine.pass_time(100)
    assert machine.store.claims.held["/q/a"] == {number: machine.store.revision}
    assert last(machine) == [(CLAIMED, "/q/a", 0)]
    assert machine.store.next_due_ms is None


def test_who_waits_for_any_child_is_granted_it_when_its_time_is_over(machine: Machine) -> None:
    for name in "abc":
        machine.do(HoldBack(f"/q/{name}", {"a": 30, "b": 20, "c": 10}[name]))
    numbers = [machine.do(ClaimFirst("/q", wait=True))[0] for _ in range(2)]
    machine.pass_time(10)
    machine.pass_time(10)
    claims = machine.store.claims
    assert [claims.by_number[number][1] for number in numbers] == ["/q/c", "/q/b"]
    picture(machine.store)


def test_until_it_is_said_otherwise(machine: Machine) -> None:
    machine.do(HoldBack("/q/a", None))
    assert last(machine) == [(HELD_BACK, "/q/a", UNTIL_TOLD)]
    assert machine.store.next_due_ms is None
    number = machine.do(Claim("/q/a", wait=True))[0]
    machine.pass_time(10**9)
    assert "/q/a" not in machine.store.claims.held
    machine.do(HoldBack("/q/a", 0))
    assert last(machine) == [(HELD_BACK, "/q/a", 0), (CLAIMED, "/q/a", 0)]
    assert number in machine.store.claims.held["/q/a"]


def test_what_is_said_later_counts(machine: Machine) -> None:
    machine.do(HoldBack("/q/a", 100))
    machine.do(HoldBack("/q/a", 10))
    machine.pass_time(10)
    assert found(machine, 1) == ["a"]
    machine.do(HoldBack("/q/b", 10))
    machine.do(HoldBack("/q/b", 100))
    machine.pass_time(10)
    assert found(machine) == ["c"]
    machine.pass_time(90)
    assert found(machine) == ["b"]
    assert machine.do(HoldBack("/q/b", 0)) is None  # over already: said all the same
    assert last(machine) == [(HELD_BACK, "/q/b", 0)]


def test_a_held_claim_goes_on_and_can_be_handed_on(machine: Machine) -> None:
    first = machine.do(Claim("/q/a"))[0]
    second = machine.do(Claim("/q/a", wait=True))[0]
    machine.do(HoldBack("/q/a", 100))
    machine.do(Release(first, to=second))
    assert list(machine.store.claims.held["/q/a"]) == [second]
    third = machine.do(Claim("/q/a", wait=True))[0]
    machine.do(Release(second))
    assert "/q/a" not in machine.store.claims.held
    machine.pass_time(100)
    assert list(machine.store.claims.held["/q/a"]) == [third]


def test_a_queue_that_is_paused(machine: Machine) -> None:
    """At a parent: nobody is granted any child of it; by its name it can be had. All go on when it is over."""
    machine.do(HoldBack("/q", None))
    assert found(machine) == []
    numbers = [machine.do(ClaimFirst("/q", wait=True))[0] for _ in range(2)]
    machine.do(Create("/q/0"))
    machine.do(Claim("/q/b"))  # who waits at a parent that is held back is not before anybody
    assert not machine.store.claims.held.keys() & {"/q/0", "/q/a", "/q/c"}
    machine.do(HoldBack("/q", 0))
    assert [machine.store.claims.by_number[number][1] for number in numbers] == ["/q/0", "/q/a"]
    assert last(machine) == [(HELD_BACK, "/q", 0), (CLAIMED, "/q/0", 0), (CLAIMED, "/q/a", 0)]
    machine.do(HoldBack("/q", 50))
    assert found(machine) == []
    machine.pass_time(50)
    assert found(machine) == ["c"]


def test_a_paused_queue_goes_on_also_where_it_was_loaded(machine: Machine) -> None:
    """Which children are free is not in a snapshot."""
    machine.do(HoldBack("/q", 40))
    machine.do(HoldBack("/q/a", 70))
    numbers = [machine.do(ClaimFirst("/q", wait=True))[0] for _ in range(3)]
    machine.store = reloaded(machine.store)
    machine.pass_time(40)
    paths = [machine.store.claims.by_number[number][1] for number in numbers]
    assert paths == ["/q/b", "/q/c", "/q"]
    machine.pass_time(30)
    assert machine.store.claims.by_number[numbers[2]][1] == "/q/a"
    picture(machine.store)


def test_a_lock_delay_and_a_holding_back_do_not_touch_each_other(machine: Machine) -> None:
    other = machine.open()
    machine.do(ClaimSettings("/q/a", 1, 100))
    machine.do(Claim("/q/a"), other)
    machine.expire(other)
    number = machine.do(Claim("/q/a", wait=True))[0]
    machine.do(HoldBack("/q/a", 30))
    machine.do(HoldBack("/q/a", 0))
    assert "/q/a" not in machine.store.claims.held
    machine.do(HoldBack("/q/a", 150))
    machine.pass_time(100)
    assert machine.read(ClaimInfo("/q/a"))[2] == 0
    assert "/q/a" not in machine.store.claims.held
    machine.pass_time(50)
    assert list(machine.store.claims.held["/q/a"]) == [number]


def test_it_goes_with_the_znode(machine: Machine) -> None:
    machine.do(HoldBack("/q/a", 100))
    machine.do(Delete("/q/a"))
    machine.do(Create("/q/a"))
    assert found(machine, 1) == ["a"]
    machine.pass_time(100)
    picture(machine.store)


def test_a_refused_multi_takes_it_back(machine: Machine) -> None:
    machine.do(HoldBack("/q/a", 100))
    machine.do(ClaimFirst("/q", wait=True))
    machine.refused(Multi(then=(HoldBack("/q/a", 0), HoldBack("/q/b", 10), Delete("/nowhere"))))
    assert found(machine, 2) == ["c"]
    assert machine.store.claims.held_back == {"/q/a": machine.now_ms + 100}


def test_a_container_stays_while_it_is_held_back_and_goes_when_that_is_over(machine: Machine) -> None:
    machine.do(Claim("/c", create=True))
    machine.do(HoldBack("/c", 100))
    machine.do(Release(1))
    assert "/c" in machine.paths()
    machine.pass_time(100)
    assert "/c" not in machine.paths()
    assert last(machine) == [(DELETED, "/c", 0)]
    machine.do(Create("/d", kind=Kind.CONTAINER))
    machine.do(Create("/d/e", kind=Kind.CONTAINER))
    for path in ("/d", "/d/e"):
        machine.do(HoldBack(path, 10))
    machine.pass_time(10)  # the child takes its parent along, whose time is over, too
    assert machine.paths() == ["/", "/q", "/q/a", "/q/b", "/q/c"]
    machine.do(Create("/d", kind=Kind.CONTAINER))
    machine.do(HoldBack("/d", None))
    machine.do(HoldBack("/d", 0))
    assert "/d" not in machine.paths()


def test_a_ttl_znode_lives_as_long_as_it_would(machine: Machine) -> None:
    """What must have begun by a time, and may begin from another: the one does not put the other off."""
    machine.do(Create("/q/t", b"", Kind.TTL, ttl_ms=50))
    machine.do(HoldBack("/q/t", 100))
    machine.pass_time(50)
    assert "/q/t" not in machine.paths()
    assert not machine.store.claims.held_back


def test_what_cannot_be_held_back(machine: Machine) -> None:
    machine.do(Create("/e", kind=Kind.EPHEMERAL))
    for op in (HoldBack("/e", 5), SetLanes("/e", ()), HoldBack("/coord", 5)):
        assert isinstance(machine.refused(op), NotAllowed | NotFound)
    assert isinstance(machine.refused(HoldBack("/nowhere", 5)), NotFound)
    machine.do(HoldBack("/", 10))
    assert machine.do(ClaimFirst("/", 9))[1] == []
    machine.pass_time(10)
    assert [row[1] for row in machine.do(ClaimFirst("/", 9))[1]] == ["q"]


def test_at_most_so_many_in_one_revision(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred thousand tasks are due at once: the entry goes on, and so do the next ones."""
    monkeypatch.setattr(store_claims, "TAKE_OVER_MAX", 3)
    for number in range(7):
        machine.do(Create(f"/q/{number}"))
        machine.do(HoldBack(f"/q/{number}", 100 - number))
    copy = Machine()
    copy.store = reloaded(machine.store)
    copy.now_ms, copy.next_request = machine.now_ms, machine.next_request
    for each in (machine, copy):
        each.pass_time(200)
        assert sorted(each.store.claims.held_back) == ["/q/0", "/q/1", "/q/2", "/q/3"]
        assert each.store.next_due_ms is not None
        assert each.store.next_due_ms <= each.now_ms
        assert found(each) == ["4", "5", "6", "a", "b", "c"]
        each.apply()
        each.apply()
        assert each.store.claims.held_back == {}
        assert each.store.next_due_ms is None
    assert picture(machine.store) == picture(copy.store)


def test_a_lock_delay_that_is_over_and_was_not_looked_at_goes_with_its_settings(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot has a delay beside its settings: there is none without."""
    monkeypatch.setattr(store_claims, "TAKE_OVER_MAX", 1)
    other = machine.open()
    for path in ("/q/a", "/q/b"):
        machine.do(ClaimSettings(path, 1, 50))
        machine.do(Claim(path), other)
    machine.expire(other)
    machine.now_ms += 50
    machine.do(ClaimSettings("/q/b", 1, 0))
    copy = Machine()
    copy.store, copy.now_ms, copy.next_request = reloaded(machine.store), machine.now_ms, machine.next_request
    assert machine.reply(Claim("/q/b")) == copy.reply(Claim("/q/b"))
    assert picture(machine.store) == picture(copy.store)


def test_who_waits_with_too_many_units_blocks_it_for_those_who_want_any_child(machine: Machine) -> None:
    """Whether or not their parent was held back meanwhile, and whoever came first."""
    for name in "bc":
        machine.do(Delete(f"/q/{name}"))
    machine.do(ClaimSettings("/q/a", 3))
    holder = machine.do(Claim("/q/a", units=3))[0]
    waits = machine.do(ClaimFirst("/q", wait=True))[0]
    blocks = machine.do(Claim("/q/a", wait=True, units=3))[0]
    machine.do(ClaimSettings("/q/a", 1))
    machine.do(HoldBack("/q", None))
    machine.do(Release(holder))
    machine.do(HoldBack("/q", 0))
    picture(machine.store)
    assert machine.store.claims.held == {}
    machine.do(Release(blocks))
    assert machine.store.claims.held == {"/q/a": {waits: machine.store.revision}}


def test_many_different_times_cost_little() -> None:
    """And those that were set anew leave nothing behind."""
    machine = Machine()
    machine.do(Create("/q"))
    for number in range(500):
        machine.do(Create(f"/q/{number}"))
    for turn in range(20):
        rows = [
            [turn * 1000 + number + 10_000, HoldBack(f"/q/{number}", 1000 + turn + number).row()]
            for number in range(500)
        ]
        machine.apply((REQUESTS, machine.session, 0, rows))
    assert len(machine.store.claims._delay_heap) <= 2 * 500 + 64
    assert len(machine.store.claims.held_back) == 500


# --- lost claims -----------------------------------------------------------------------------------------------------


def test_a_claim_whose_session_ended_or_expired_was_lost(machine: Machine) -> None:
    ends, expires = machine.open(), machine.open()
    machine.do(Claim("/q/a"), ends)
    machine.do(Claim("/q/a", wait=True), expires)
    machine.do(Claim("/q/a", wait=True, label=b"me"))
    machine.end(ends)
    assert last(machine) == [(RELEASED, "/q/a", machine.store.revision - 3), (CLAIMED, "/q/a", 1)]
    machine.expire(expires)
    assert last(machine)[1] == (CLAIMED, "/q/a", 2)
    assert machine.read(ClaimInfo("/q/a"))[8] == 2
    assert [row[-1] for row in machine.read(Claims("/q/a"))[0]] == [2]


def test_who_waited_has_lost_nothing(machine: Machine) -> None:
    other = machine.open()
    machine.do(Claim("/q/a"))
    machine.do(Claim("/q/a", wait=True), other)
    machine.do(ClaimFirst("/q", 9, wait=True), other)
    machine.do(ClaimFirst("/q", 9, wait=True), other)
    machine.expire(other)
    assert machine.store.claims.lost == {"/q/b": 1, "/q/c": 1}
    machine.do(Release(1))
    assert machine.do(Claim("/q/a"))[4] == 0


def test_force_loses_and_a_release_does_not(machine: Machine) -> None:
    other = machine.open()
    machine.do(Release(machine.do(Claim("/q/a"))[0]))
    machine.do(Release(machine.do(Claim("/q/a"))[0], force=True))  # one's own
    assert machine.store.claims.lost == {}
    machine.do(Release(machine.do(Claim("/q/a"))[0], force=True), other)
    assert machine.do(ClaimFirst("/q"))[1][0][3] == 1
    first = machine.do(Claim("/q/b"))[0]
    second = machine.do(Claim("/q/b", wait=True))[0]
    machine.do(Release(first, to=second))
    assert machine.store.claims.lost == {"/q/a": 1}
    third = machine.do(Claim("/q/b", wait=True))[0]
    machine.do(Release(second, to=third, force=True), other)
    assert last(machine)[1] == (CLAIMED, "/q/b", 1)


def test_lost_claims_go_with_the_znode_and_travel_in_a_snapshot(machine: Machine) -> None:
    other = machine.open()
    machine.do(Claim("/q/a"), other)
    machine.do(Claim("/c", create=True), other)
    machine.expire(other)
    assert machine.store.claims.lost == {"/q/a": 1}  # the container went
    machine.store = reloaded(machine.store)
    assert machine.do(Claim("/q/a"))[4] == 1
    machine.refused(Multi(then=(Release(3, force=True), Delete("/nowhere"))), machine.open())
    assert machine.store.claims.lost == {"/q/a": 1}
    machine.do(Delete("/q/a"))
    machine.do(Create("/q/a"))
    assert machine.do(Claim("/q/a"))[4] == 0


def test_the_queued_change_and_the_reasons_are_as_they_were(machine: Machine) -> None:
    other = machine.open()
    machine.do(Claim("/q/a"), other)
    machine.do(Claim("/q/a", wait=True, label=b"x"))
    assert last(machine) == [(QUEUED, "/q/a", 0)]
    machine.expire(other)
    assert [each[6] for each in machine.changes()[-1][3]] == [Reason.SESSION_EXPIRED, Reason.REQUEST]
