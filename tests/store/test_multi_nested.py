"""Multis within multis; deleting what need not be there; and free children, found without a search."""

import random

import pytest

from coord.api.errors import Conflict, LimitExceeded, NotAllowed, NotEmpty, NotFound, StaleToken
from coord.api.ops import (
    Claim,
    ClaimFirst,
    ClaimInfo,
    Compare,
    Create,
    Delete,
    Fence,
    FencedWrite,
    Get,
    HoldBack,
    Kind,
    List,
    Multi,
    Operator,
    Release,
    Set,
    Target,
)
from coord.limits import StoreLimits
from coord.store.znode import Znode
from coord.store.znodes import Znodes
from tests.store.machine import Machine, check_claims, picture, reloaded


@pytest.fixture
def machine() -> Machine:
    made = Machine()
    made.do(Create("/a", b"0"))
    return made


def is_value(value: bytes) -> Compare:
    return Compare(Target.VALUE, "/a", Operator.EQUAL, value)


def test_an_inner_comparison_sees_what_was_done_before_it(machine: Machine) -> None:
    inner = Multi((is_value(b"1"),), (Create("/b"), Get("/a")), (Create("/c"),))
    done = machine.do(Multi((), (Set("/a", b"1"), inner, Create("/d"))))
    assert done == (True, [1, (True, ["/b", machine.read(Get("/a"))]), "/d"])
    assert machine.store.revision == 2
    assert [each[1] for each in machine.changes()[-1][3]] == ["/a", "/b", "/d"]
    assert machine.do(Multi((), (Set("/a", b"2"), inner)))[1] == [2, (False, ["/c"])]
    picture(machine.store)


def test_a_refused_op_on_any_level_undoes_all(machine: Machine) -> None:
    held = machine.do(Claim("/a"))[0]
    inner = Multi((), (Release(held), HoldBack("/a", 50), Multi((), (Create("/c"), Delete("/nowhere")))))
    error = machine.refused(Multi((), (Create("/b"), Set("/a", b"1"), inner)))
    assert isinstance(error, NotFound)
    assert (error.details["position"], error.details["positions"]) == (2, [2, 2, 1])
    # After an inner one that was done, the place is the outer's.
    error = machine.refused(Multi((), (Multi((), (Create("/b"),)), Delete("/nowhere"))))
    assert error.details == {"path": "/nowhere", "position": 1}


def test_what_was_undone_is_not_counted_as_granted(machine: Machine) -> None:
    machine.refused(Multi((), (Claim("/a"), Delete("/nowhere"))))
    assert machine.store.claims.granted == 0
    machine.do(Multi((), (Claim("/a"),)))
    assert (machine.store.claims.granted, machine.store.claims.waiting_count) == (1, 0)
    machine.do(Claim("/a", wait=True))
    assert (machine.store.claims.granted, machine.store.claims.waiting_count) == (1, 1)


def test_all_levels_count_together() -> None:
    machine = Machine(StoreLimits(multi_ops=6, multi_reply_bytes=100, changes_per_request=3))
    two = Multi((), (Create("/x"),), (Create("/y"),))
    error = machine.refused(Multi((), (two, Get("/")), (two,)))
    assert isinstance(error, LimitExceeded)
    assert error.details == {"limit": "multi_ops", "maximum": 6}
    machine.do(Create("/v", b"x" * 60))
    error = machine.refused(Multi((), (Get("/v"), Multi((), (Get("/v"),)))))
    assert error.details["limit"] == "multi_reply_bytes"
    error = machine.refused(Multi((), (Create("/1"), Create("/2"), Multi((), (Create("/3"), Create("/4"))))))
    assert error.details["limit"] == "changes_per_request"
    assert machine.paths() == ["/", "/v"]


def test_nested_reads_alone_change_nothing(machine: Machine) -> None:
    deep = Multi((), (List("/"),))
    for _ in range(3):
        deep = Multi((), (deep,))
    assert machine.do(deep) == (True, [(True, [(True, [(True, [([("a", None, None)], False)])])])])
    assert machine.store.revision == 1


def test_tokens_are_presented_to_all_levels(machine: Machine) -> None:
    machine.do(Create("/lock"))
    token = machine.do(Claim("/lock"))[1]
    machine.do(Fence("/a", "/lock"))
    op = Multi((), (Multi((), (Set("/a", b"1"),)),))
    assert isinstance(machine.refused(op), StaleToken)
    machine.do(FencedWrite(((1, token),), op))


# --- delete with missing_ok --------------------------------------------------------------------------------------


def test_what_is_not_there_need_not_be_deleted(machine: Machine) -> None:
    revision = machine.store.revision
    assert machine.do(Delete("/b/c", missing_ok=True)) == 0
    assert machine.do(Delete("/b", 5, 7, True, missing_ok=True)) == 0
    assert machine.do(Multi((), (Delete("/b", missing_ok=True),))) == (True, [0])
    assert machine.store.revision == revision
    machine.do(Create("/a/b"))
    assert isinstance(machine.refused(Delete("/a", missing_ok=True)), NotEmpty)
    assert isinstance(machine.refused(Delete("/a/b", version=3, missing_ok=True)), Conflict)
    assert isinstance(machine.refused(Delete("/", missing_ok=True)), NotAllowed)
    assert machine.do(Delete("/a", subtree=True, missing_ok=True)) == 2


def test_what_is_not_there_may_be_fenced_all_the_same(machine: Machine) -> None:
    """Or who holds no longer would learn what only the holder may do."""
    machine.do(Fence("/f", "/lock"))
    assert isinstance(machine.refused(Delete("/f/x", missing_ok=True)), StaleToken)


# --- free children ---------------------------------------------------------------------------------------------------


def test_whenever_it_is_built_it_finds_the_same() -> None:
    """Of three stores that are told the same, one has its children built from the start, one after each snapshot
    anew, and one only when somebody asks.
    """
    dice = random.Random(3)
    early, late, loaded = Machine(), Machine(), Machine()
    sessions = {1: early.session}
    for each in (early, late, loaded):
        each.do(Create("/q"))
        sessions[2] = each.open()
    early.read(ClaimInfo("/q"))
    early.store.candidates.children("/q")
    for step in range(300):
        if step % 7 == 0:
            loaded.store = reloaded(loaded.store)
        path = f"/q/{dice.randrange(9)}"
        numbers = [*early.store.claims.by_number] or [1]
        kind = dice.choice((Kind.PERSISTENT, Kind.EPHEMERAL, Kind.TTL))
        ms = dice.choice((0, 0, 10))
        session = dice.choice((1, 2))
        op = dice.choice(
            (
                Create(path, b"", kind, ttl_ms=10 if kind is Kind.TTL else 0),
                Create(path),
                Delete(path, missing_ok=True),
                Claim(path, wait=dice.random() < 0.5),
                HoldBack(path, dice.choice((0, 10, 30, None))),
                Release(dice.choice(numbers), force=True),
                Multi((), (Create(path), Delete(f"/q/{dice.randrange(9)}"), HoldBack(path, 5))),
                Multi((), (Delete(path, missing_ok=True), HoldBack("/q", 5), Delete("/nowhere"))),
                Delete("/q", subtree=True) if step % 50 == 49 else Delete(path, missing_ok=True),
                Create("/q"),
                *[ClaimFirst("/q", dice.choice((1, 3)), wait=dice.random() < 0.3)] * (3 if step > 100 else 0),
            )
        )
        replies = []
        for each in (early, late, loaded):
            each.pass_time(ms)
            replies.append(each.reply(op, sessions[session]))
        assert replies[0] == replies[1] == replies[2], op
        if "/q" in early.store.tree.znodes:
            early.store.candidates.children("/q")
        check_claims(early.store)
    assert picture(early.store) == picture(late.store) == picture(loaded.store)


def test_free_ones_are_found_among_many_that_are_not() -> None:
    """The claims of a hundred thousand are not passed over one by one: what it costs is in no way their number."""
    machine = Machine()
    machine.do(Create("/q"))
    store = machine.store
    for number in range(3_000):
        store.apply(
            store.applied_index + 1,
            machine.now_ms,
            0,
            [(0, machine.session, 0, [[10 + number, Create(f"/q/{number:05}").row()]])],
        )
    machine.next_request = 10_000
    assert len(machine.do(ClaimFirst("/q", 2_990))[1]) == 2_990
    looked_at = 0

    class Looking(Znodes):
        def __getitem__(self, path: str) -> Znode:
            nonlocal looked_at
            looked_at += 1
            return super().__getitem__(path)

    looking = Looking()
    looking.put_all(store.tree.znodes.items())
    store.tree.znodes = looking  # type: ignore[misc]
    assert [row[1] for row in machine.do(ClaimFirst("/q", 2))[1]] == ["02990", "02991"]
    assert looked_at < 20


def test_it_goes_with_its_parent() -> None:
    machine = Machine()
    machine.do(Create("/q"))
    machine.do(Create("/q/a"))
    machine.do(ClaimFirst("/q"))
    machine.do(Delete("/q", subtree=True))
    assert machine.store.candidates._parents == {}


def test_a_child_whose_deletion_is_undone_is_free_as_it_was() -> None:
    machine = Machine()
    machine.do(Create("/q"))
    machine.do(Create("/q/a"))
    machine.read(ClaimInfo("/q"))
    machine.refused(Multi((), (Delete("/q/a"), Create("/q/b"), Delete("/nowhere"))))
    assert [row[1] for row in machine.do(ClaimFirst("/q", 9))[1]] == ["a"]
    check_claims(machine.store)


def test_who_waits_for_any_child_of_a_parent_whose_deletion_is_undone() -> None:
    machine = Machine()
    machine.do(Create("/q"))
    machine.do(Create("/q/a"))
    machine.do(HoldBack("/q/a", 50))
    waits = machine.do(ClaimFirst("/q", wait=True))[0]
    machine.refused(Multi((), (Delete("/q", subtree=True), Delete("/nowhere"))))
    machine.pass_time(50)
    assert machine.store.claims.by_number[waits][1] == "/q/a"
    check_claims(machine.store)


def test_of_the_children_so_many_are_what() -> None:
    machine = Machine()
    machine.do(Create("/q"))
    assert machine.read(ClaimInfo("/q"))[11] == (0, 0, 0, 0)
    for child in "abcdef":
        machine.do(Create(f"/q/{child}", kind=Kind.EPHEMERAL if child == "f" else Kind.PERSISTENT))
    machine.do(HoldBack("/q/a", 10))
    machine.do(HoldBack("/q/b", None))
    machine.do(Claim("/q/b", wait=True))
    machine.do(Claim("/q/c"))
    machine.do(HoldBack("/q/c", 10))
    info = machine.read(ClaimInfo("/q"))
    assert info[11] == (2, 1, 2, 0)  # and an ephemeral
    assert machine.read(ClaimInfo("/q/a"))[9:11] == (10, ())
    assert machine.read(ClaimInfo("/q/b"))[9] is None
    assert machine.read(ClaimInfo("/q/d"))[9] == 0
