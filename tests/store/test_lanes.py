"""Lanes: limits that znodes share. Never one claim too many, never a lost wake-up, and nothing looked at in vain."""

import random
from typing import Any

import pytest

from coord.api.commands import REQUESTS
from coord.api.errors import Claimed
from coord.api.events import CLAIMED, LANES_SET, RELEASED
from coord.api.ops import (
    Claim,
    ClaimFirst,
    ClaimInfo,
    ClaimSettings,
    Create,
    Delete,
    Kind,
    Lane,
    Multi,
    Release,
    SetLanes,
)
from coord.store import granting
from coord.store.lanes import Lanes
from tests.store.machine import Machine, check_claims, picture, reloaded

ONE = (Lane("x", width=1),)


@pytest.fixture
def machine() -> Machine:
    made = Machine()
    for path in ("/q", "/q/a", "/q/b", "/q/c", "/z"):
        made.do(Create(path))
    return made


def lanes(machine: Machine, *of: tuple[str, tuple[Lane, ...]]) -> None:
    for path, those in of:
        machine.do(SetLanes(path, those))


def found(machine: Machine, count: int = 9, session: int | None = None) -> list[str]:
    picture(machine.store)
    return [row[1] for row in machine.do(ClaimFirst("/q", count), session)[1]]


def claim(machine: Machine, path: str, **how: Any) -> int:
    number = machine.do(Claim(path, **{"wait": True, **how}))[0]
    assert isinstance(number, int)
    return number


def held(machine: Machine) -> list[str]:
    picture(machine.store)
    return sorted(machine.store.claims.held)


# --- width -----------------------------------------------------------------------------------------------------------


def test_so_many_at_once_wherever_they_are(machine: Machine) -> None:
    lanes(machine, ("/q/a", ONE), ("/q/b", ONE), ("/z", ONE))
    assert machine.changes()[-1][3][0][:4] == (LANES_SET, "/z", None, 1)
    assert found(machine) == ["a", "c"]
    error = machine.refused(Claim("/z"))
    assert isinstance(error, Claimed)
    assert "lane 'x' has no room" in error.message
    assert machine.read(ClaimInfo("/z"))[10] == (("x", 1, 0, 1),)
    machine.do(Release(1))
    assert found(machine) == ["a"]


def test_a_release_elsewhere_is_the_turn_of_who_waits(machine: Machine) -> None:
    """1. One holds /q/a, another waits for /z: both have the lane. 2. /q/a is released: at /z nothing has freed."""
    lanes(machine, ("/q/a", ONE), ("/z", ONE))
    first, second = claim(machine, "/q/a"), claim(machine, "/z")
    assert held(machine) == ["/q/a"]
    machine.do(Release(first))
    assert [each[:2] for each in machine.changes()[-1][3]] == [(RELEASED, "/q/a"), (CLAIMED, "/z")]
    assert machine.store.claims.held["/z"] == {second: machine.store.revision}


def test_who_has_waited_longest_is_first_wherever_it_waits(machine: Machine) -> None:
    lanes(machine, *[(path, ONE) for path in ("/q/a", "/q/b", "/q/c", "/z")])
    holder = claim(machine, "/q/c")
    second = machine.do(ClaimFirst("/q", wait=True))[0]  # would have a, b or c
    third = claim(machine, "/z")
    fourth = machine.do(ClaimFirst("/q", wait=True))[0]
    turns = []
    for number in (holder, second, third):
        machine.do(Release(number))
        (now,) = [each for path in held(machine) for each in machine.store.claims.held[path]]
        turns.append((now, machine.store.claims.by_number[now][1]))
    assert turns == [(second, "/q/a"), (third, "/z"), (fourth, "/q/a")]


@pytest.mark.parametrize("how", ["release", "session", "znode", "lanes", "wider", "forced"])
def test_whatever_makes_room_wakes(machine: Machine, how: str) -> None:
    other = machine.open()
    lanes(machine, ("/q/a", ONE), ("/z", ONE))
    holder = machine.do(Claim("/q/a"), other)[0]
    waits = claim(machine, "/z")
    if how == "release":
        machine.do(Release(holder), other)
    elif how == "session":
        machine.expire(other)
    elif how == "znode":
        machine.do(Delete("/q/a"))
    elif how == "lanes":
        machine.do(SetLanes("/q/a", ()))
    elif how == "wider":
        machine.do(SetLanes("/z", (Lane("x", width=2),)))
    else:
        machine.do(Release(holder, force=True))
    assert machine.store.claims.by_number[waits][7] == machine.store.revision
    picture(machine.store)


def test_all_lanes_must_have_room(machine: Machine) -> None:
    """1. a has x, b has x and y, /z has y. 2. x gets room: b's y has none. 3. y gets room: x has none any more."""
    x, y = Lane("x", width=1), Lane("y", width=1)
    lanes(machine, ("/q/a", (x,)), ("/q/b", (x, y)), ("/q/c", (y,)), ("/z", (y,)))
    in_x, in_y = claim(machine, "/q/a"), claim(machine, "/z")
    waits = claim(machine, "/q/b")
    after = claim(machine, "/q/a")
    machine.do(Release(in_x))
    assert held(machine) == ["/q/a", "/z"]
    machine.do(Release(in_y))
    assert held(machine) == ["/q/a"]
    machine.do(Release(after))
    assert machine.store.claims.held == {"/q/b": {waits: machine.store.revision}}


def test_each_znode_has_its_own_view(machine: Machine) -> None:
    lanes(machine, ("/q/a", ONE), ("/q/b", (Lane("x", width=3),)), ("/q/c", (Lane("x", width=2),)))
    assert found(machine) == ["a", "b"]
    machine.do(Release(1))
    assert found(machine) == ["c"]
    machine.do(Release(2))
    assert found(machine) == ["b"]
    machine.do(Release(4))
    machine.do(Release(3))
    assert found(machine, 1) == ["a"]


def test_claims_count_that_were_held_before_the_lane_was_set(machine: Machine) -> None:
    machine.do(ClaimSettings("/z", 3))
    for _ in range(2):
        claim(machine, "/z")
    lanes(
        machine,
        ("/z", (Lane("x", width=2),)),
        ("/q/a", (Lane("x", width=3),)),
        ("/q/b", (Lane("x", width=2),)),
    )
    assert machine.store.claims.lanes.held == {"x": 2}
    assert found(machine, 1) == ["a"]
    assert isinstance(machine.refused(Claim("/z")), Claimed)


def test_who_shares_counts_one_by_one(machine: Machine) -> None:
    lanes(machine, ("/z", (Lane("x", width=2),)))
    numbers = [claim(machine, "/z", shared=True) for _ in range(3)]
    assert list(machine.store.claims.held["/z"]) == numbers[:2]
    machine.do(Release(numbers[0]))
    assert list(machine.store.claims.held["/z"]) == numbers[1:]


def test_handing_on_takes_no_room(machine: Machine) -> None:
    lanes(machine, ("/z", (Lane("x", 1, 1000),)), ("/q/a", ONE))
    first = claim(machine, "/z")
    claim(machine, "/q/a")
    third = claim(machine, "/z")
    paid = dict(machine.store.claims.lanes.paid_ms)
    machine.do(Release(first, to=third))
    assert held(machine) == ["/z"]
    assert machine.store.claims.lanes.paid_ms == paid


def test_first_by_name_of_those_that_can_be(machine: Machine) -> None:
    lanes(machine, ("/q/a", (Lane("x", 1),)), ("/q/b", (Lane("y", 1),)), ("/z", (Lane("x", 1),)))
    holder = claim(machine, "/z")
    assert found(machine, 1) == ["b"]
    assert found(machine, 1) == ["c"]
    waits = machine.do(ClaimFirst("/q", wait=True))[0]
    machine.do(Release(holder))
    assert machine.store.claims.by_number[waits][1] == "/q/a"


def test_a_capacity_that_is_too_small_for_who_waits_first(machine: Machine) -> None:
    """Who waits at a znode with lanes and could never have it blocks it for those as well who want any child."""
    lanes(machine, ("/q/a", ONE), ("/z", ONE))
    machine.do(ClaimSettings("/q/a", 2))
    holder = claim(machine, "/z")
    for path in ("/q/b", "/q/c"):
        machine.do(Delete(path))
    waits = machine.do(ClaimFirst("/q", wait=True))[0]
    claim(machine, "/q/a", units=2)
    machine.do(ClaimSettings("/q/a", 1))
    machine.do(Release(holder))
    assert held(machine) == []
    machine.do(ClaimSettings("/q/a", 2))
    assert machine.store.claims.by_number[waits][1] == "/q/a"


# --- rates -----------------------------------------------------------------------------------------------------------


def rate(burst: int, interval_ms: int = 100) -> tuple[Lane, ...]:
    return (Lane("r", 0, interval_ms, burst),)


def test_one_in_each_interval(machine: Machine) -> None:
    lanes(machine, *[(f"/q/{name}", rate(1)) for name in "abc"])
    assert found(machine) == ["a"]
    machine.pass_time(99)
    assert found(machine) == []
    machine.pass_time(1)
    assert found(machine) == ["b"]
    machine.pass_time(1000)  # what was not used is not saved up
    assert found(machine) == ["c"]


def test_a_burst_and_then_one_in_each_interval() -> None:
    machine = Machine()
    machine.do(Create("/q"))
    for number in range(20):
        machine.do(Create(f"/q/{number:02}"))
        machine.do(SetLanes(f"/q/{number:02}", rate(5)))
    taken = []
    for _ in range(12):
        taken.append(len(found(machine, 20)))
        machine.pass_time(50)
    assert taken == [5, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0]
    machine.pass_time(300)
    assert len(found(machine, 20)) == 4


def test_who_waits_for_a_rate_is_woken(machine: Machine) -> None:
    lanes(machine, *[(path, rate(1)) for path in ("/q/a", "/z")], ("/q/b", rate(1)))
    claim(machine, "/q/a")
    second = claim(machine, "/z")
    machine.do(Claim("/q/c"))
    third = machine.do(ClaimFirst("/q", wait=True))[0]
    assert machine.store.next_due_ms == machine.now_ms + 100
    machine.pass_time(100)
    assert held(machine) == ["/q/a", "/q/c", "/z"]
    assert machine.store.claims.by_number[second][7]
    machine.pass_time(100)
    assert machine.store.claims.by_number[third][1] == "/q/b"
    machine.pass_time(100)
    assert machine.store.claims.lanes.paid_ms == {}
    assert machine.store.next_due_ms is None


def test_who_waits_goes_before_who_comes_in_the_entry_that_brings_the_time(machine: Machine) -> None:
    lanes(machine, ("/q/a", rate(1)), ("/z", rate(1)), ("/q/b", rate(1)))
    claim(machine, "/q/a")
    waits = claim(machine, "/z")
    machine.now_ms += 100
    assert machine.reply(Claim("/q/b"))[1] == Claimed.code
    assert machine.store.claims.by_number[waits][7]


def test_a_refused_multi_gives_back_what_it_took(machine: Machine) -> None:
    lanes(machine, ("/q/a", (*ONE, *rate(1))), ("/q/b", (*ONE, *rate(1))))
    machine.refused(Multi(then=(Claim("/q/a"), Delete("/nowhere"))))
    assert found(machine) == ["a", "c"]
    machine.refused(Multi(then=(Release(1), SetLanes("/q/a", ()), SetLanes("/q/b", ()), Delete("/nowhere"))))
    assert found(machine) == []


def test_lanes_keep_a_container_and_go_with_the_znode(machine: Machine) -> None:
    machine.do(Create("/c", kind=Kind.CONTAINER))
    lanes(machine, ("/c", ONE))
    machine.do(Release(claim(machine, "/c")))
    assert "/c" in machine.paths()
    lanes(machine, ("/c", ()))
    assert "/c" not in machine.paths()
    lanes(machine, ("/z", ONE))
    claim(machine, "/z")
    machine.do(Delete("/z"))
    assert machine.store.claims.lanes.of == {}
    assert machine.store.claims.lanes.held == {}
    assert machine.store.claims.lanes._views == {}


def test_snapshots_at_any_moment_change_nothing(machine: Machine) -> None:
    """The copy has built nothing yet, and finds the same."""
    dice = random.Random(5)
    for number in range(12):
        machine.do(Create(f"/q/{number:02}"))
        those = [Lane("x", dice.choice((0, 1, 2))), Lane("y", 1, dice.choice((0, 30))), *rate(2, 20)]
        machine.do(SetLanes(f"/q/{number:02}", tuple(dice.sample(those, dice.choice((1, 2, 3))))))
    for step in range(80):
        copy = Machine()
        copy.store, copy.now_ms, copy.next_request = (
            reloaded(machine.store),
            machine.now_ms,
            machine.next_request,
        )
        op = dice.choice(
            (ClaimFirst("/q", 2), ClaimFirst("/q", 1, wait=True), Claim(f"/q/{step % 12:02}", wait=True))
        )
        if machine.store.claims.by_number and dice.random() < 0.6:
            op = Release(dice.choice(list(machine.store.claims.by_number)))
        assert machine.reply(op) == copy.reply(op)
        ms = dice.choice((0, 5, 20))
        for each in (machine, copy):
            each.pass_time(ms)
        assert picture(machine.store) == picture(copy.store)


def test_what_one_revision_leaves_over_goes_on(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(granting, "GRANTS_MAX", 2)
    for number in range(8):
        machine.do(Create(f"/q/{number}"))
        machine.do(SetLanes(f"/q/{number}", (Lane("x", width=9),)))
    lanes(machine, ("/z", (Lane("x", width=9),)))
    machine.do(ClaimSettings("/z", 100))
    holders = [claim(machine, "/z") for _ in range(9)]
    machine.do(ClaimFirst("/q", 9))
    waits = [machine.do(ClaimFirst("/q", wait=True))[0] for _ in range(4)]
    waits += [claim(machine, "/z"), claim(machine, "/z")]
    machine.do(Multi(then=tuple(Release(each) for each in holders)))
    # Two in the revision of the releases, and two in the rest of that entry.
    claims = machine.store.claims
    assert [bool(claims.by_number[each][7]) for each in waits] == [True] * 4 + [False] * 2
    assert list(claims.unsettled) == ["/z"]
    copy = Machine()
    copy.store, copy.now_ms = reloaded(machine.store), machine.now_ms
    for each in (machine, copy):
        each.apply()
        assert all(each.store.claims.by_number[number][7] for number in waits)
        assert not each.store.claims.unsettled
        check_claims(each.store)
    assert picture(machine.store) == picture(copy.store)


def test_who_was_asked_for_what_decides_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """One replica was read from, and so looks at the rate earlier than the other; some are left over just then."""
    monkeypatch.setattr(granting, "GRANTS_MAX", 2)
    lanes(machine, ("/q/a", rate(2)), ("/q/b", rate(2)), ("/q/c", rate(9)))
    for _ in range(3):
        machine.do(Release(claim(machine, "/q/c")))
    holder = claim(machine, "/z")
    for _ in range(9):
        claim(machine, "/z", shared=True)
    copy = Machine()
    copy.store, copy.now_ms, copy.next_request = reloaded(machine.store), machine.now_ms, machine.next_request
    machine.store = reloaded(machine.store)
    machine.read(ClaimInfo("/q"))
    assert machine.store.claims.next_due_ms == machine.now_ms + 200
    assert copy.store.claims.next_due_ms == machine.now_ms + 300
    for each in (machine, copy):
        each.do(Release(holder))
        assert each.store.claims.unsettled
        each.now_ms += 200
        each.do(Create("/x"))
    assert picture(machine.store) == picture(copy.store)


# --- what it costs ---------------------------------------------------------------------------------------------------


class Counting(Lanes):
    """How often somebody asked for room."""

    __slots__ = ("asked",)

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def has_room(self, lane: Any) -> bool:
        self.asked += 1
        return super().has_room(lane)


def test_a_release_does_not_look_at_all_who_are_blocked() -> None:
    """5000 tasks of 500 customers with 10 each, one at a time for each of them, all in one rate."""
    machine = Machine()
    counting = Counting()
    machine.store.claims.lanes = counting
    machine.store._draft.candidates = type(machine.store.candidates)(machine.store.tree, machine.store.claims)
    machine.do(Create("/q"))
    rows = []
    for number in range(5000):
        path = f"/q/{number:05}"
        customer = [f"customer {number % 500}", 1, 0, 1]
        rows += [
            [10_000 + 2 * number, Create(path).row()],
            [10_001 + 2 * number, [20, path, [["smtp", 50, 1, 1000], customer]]],
        ]
    machine.apply((REQUESTS, machine.session, 0, rows))
    machine.next_request = 100_000
    numbers = [row[0] for row in machine.do(ClaimFirst("/q", 50))[1]]
    assert len(numbers) == 50
    assert machine.do(ClaimFirst("/q", 50))[1] == []
    assert machine.read(ClaimInfo("/q"))[11] == (0, 50, 0, 4950)
    before = counting.asked
    for number in numbers[:20]:
        machine.do(Release(number))
        assert len(machine.do(ClaimFirst("/q", 5))[1]) == 1
    assert (counting.asked - before) / 20 < 30
    check_claims(machine.store)
