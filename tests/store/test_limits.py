"""Each limit of the store, and the name of what happens there."""

import pytest

from coord.api.commands import SET_LIMITS
from coord.api.errors import LimitExceeded
from coord.api.events import Revision
from coord.api.ops import LOG, Create, Delete, Get, Kind, Multi, Set
from coord.limits import MemberLimits, StoreLimits
from coord.store.history import History
from coord.store.snapshot import SESSIONS, StoreSnapshot
from tests.store.machine import Machine, Op, loaded, picture, reloaded, sections_of


def bounced(machine: Machine, op: Op, limit: str, maximum: int) -> None:
    error = machine.refused(op)
    assert isinstance(error, LimitExceeded)
    assert error.details["limit"] == limit
    assert error.details["maximum"] == maximum
    assert limit in error.message


def test_znodes() -> None:
    machine = Machine(StoreLimits(znodes=3))
    machine.do(Create("/a"))
    bounced(machine, Create("/b/c", parents=True), "znodes", 3)
    machine.do(Create("/b"))
    bounced(machine, Create("/c"), "znodes", 3)
    machine.do(Delete("/a"))
    machine.do(Create("/c"))


def test_data_bytes() -> None:
    machine = Machine(StoreLimits(data_bytes=100))
    machine.do(Create("/a", b"x" * 90))
    bounced(machine, Create("/b", b"x" * 10), "data_bytes", 100)
    bounced(machine, Set("/a", b"x" * 99), "data_bytes", 100)
    machine.do(Set("/a", b"x" * 98))
    machine.do(Set("/a", b"x" * 97))  # less is always possible
    machine.do(Delete("/a"))
    machine.do(Create("/b", b"x" * 98))


def test_children() -> None:
    machine = Machine(StoreLimits(children=2))
    machine.do(Create("/a"))
    machine.do(Create("/b"))
    bounced(machine, Create("/c"), "children", 2)
    bounced(machine, Create("/c/d", parents=True), "children", 2)
    machine.do(Create("/a/1/2/3", parents=True))


def test_changes_per_request() -> None:
    machine = Machine(StoreLimits(changes_per_request=4))
    for number in range(4):
        machine.do(Create(f"/a/n{number}", parents=True))
    bounced(machine, Delete("/a", subtree=True), "changes_per_request", 4)
    bounced(
        machine, Multi(then=tuple(Create(f"/b{number}") for number in range(5))), "changes_per_request", 4
    )
    bounced(
        machine,
        Multi(then=(Create("/x"), Delete("/a/n0"), Delete("/a", subtree=True))),
        "changes_per_request",
        4,
    )
    machine.do(Delete("/a/n0"))
    machine.do(Delete("/a", subtree=True))


def test_ephemerals_per_session() -> None:
    machine = Machine(StoreLimits(ephemerals_per_session=2))
    machine.do(Create("/a", kind=Kind.EPHEMERAL))
    machine.do(Create("/b", kind=Kind.EPHEMERAL))
    bounced(machine, Create("/c", kind=Kind.EPHEMERAL), "ephemerals_per_session", 2)
    machine.do(Create("/c"))
    machine.do(Create("/d", kind=Kind.EPHEMERAL), machine.open())
    machine.do(Delete("/a"))
    machine.do(Create("/e", kind=Kind.EPHEMERAL))


def test_limits_are_replicated_state() -> None:
    machine = Machine()
    machine.apply((SET_LIMITS, {"znodes": 1, "a_name_from_the_future": 5}))
    assert machine.store.limits == StoreLimits(znodes=1)
    bounced(machine, Create("/a"), "znodes", 1)
    assert reloaded(machine.store).limits == StoreLimits(znodes=1)


# --- history ---------------------------------------------------------------------------------------------------------


def revision(number: int, size: int = 0) -> Revision:
    return (number, number, 0, ((1, "/a", b"x" * size, 0, 1, 1, 0),))


def test_history_is_bounded_in_number() -> None:
    history = History(10, 10**9)
    for number in range(1, 5_001):
        history.extend([revision(number)])
        assert len(history) == min(number, 10)
        assert history.last_revision == number
        assert history.first_revision == max(1, number - 9)
    assert [each[0] for each in history.since(0)] == list(range(4991, 5001))
    assert [each[0] for each in history.since(4995, 2)] == [4995, 4996]
    assert history.since(5001) == []


def test_history_is_bounded_in_bytes() -> None:
    history = History(10**6, 10_000)
    for number in range(1, 101):
        history.extend([revision(number, 1000)])
    assert 5 <= len(history) <= 10
    history.extend([revision(101, 50_000)])
    assert (history.first_revision, history.last_revision, len(history)) == (101, 101, 1)
    for number in range(102, 200):
        history.extend([revision(number, 1000)])
    assert 5 <= len(history) <= 10


def test_a_member_with_less_history_loads_the_newest_of_it() -> None:
    machine = Machine()
    for number in range(50):
        machine.do(Create(f"/n{number}"))
    sections = sections_of(StoreSnapshot(machine.store))
    store = loaded(sections, MemberLimits(history_revisions=5))
    assert [each[0] for each in store.history.since(0)] == [46, 47, 48, 49, 50]
    assert store.revision == 50


def test_the_log_op() -> None:
    machine = Machine()
    for number in range(5):
        machine.do(Create(f"/n{number}"))
    read = machine.store.read
    assert read([LOG, None, 2], machine.member_limits) == (1, machine.changes()[3:])
    assert read([LOG, 2, 2], machine.member_limits) == (1, machine.changes()[1:3])
    assert read([LOG, 9, 2], machine.member_limits) == (1, [])
    assert read([LOG, None, 100], machine.member_limits) == (1, machine.changes())


@pytest.mark.parametrize("first", [None, 1])
def test_the_log_op_is_bounded_in_bytes(first: int | None) -> None:
    """History is 64 MiB, and a frame to a client 32: an answer with all of it could never arrive."""
    machine = Machine()
    for number in range(20):
        machine.do(Create(f"/n{number:02}", b"x" * 1000))
    _, found = machine.store.read([LOG, first, 100], MemberLimits(list_page_bytes=5_000))
    assert 3 <= len(found) <= 5
    expected = machine.changes()[: len(found)] if first else machine.changes()[-len(found) :]
    assert found == expected
    _, found = machine.store.read([LOG, first, 100], MemberLimits(list_page_bytes=1))
    assert len(found) == 1  # one always, or a reader would never get on


# --- a snapshot's sections -------------------------------------------------------------------------------------------


def test_a_section_of_sessions_is_bounded_by_what_their_replies_hold() -> None:
    """A section travels in one frame. Kept replies of multis that read make a session's row heavy."""
    machine = Machine()
    machine.do(Create("/a", b"x" * 100_000))
    sessions = [machine.open() for _ in range(20)]
    for session in sessions:
        machine.requests([(1, Multi(then=(Create(f"/{session}"), *[Get("/a")] * 5)))], session)
    sections = sections_of(StoreSnapshot(machine.store, 200_000))
    assert max(len(section) for section in sections) < 1_000_000
    assert picture(loaded(sections)) == picture(machine.store)
    assert sum(section[1] == SESSIONS for section in sections) >= 10


def test_value_bytes() -> None:
    machine = Machine(StoreLimits(value_bytes=10))
    machine.do(Create("/a", b"x" * 10))
    bounced(machine, Create("/b", b"x" * 11), "value_bytes", 10)
    bounced(machine, Set("/a", b"x" * 11), "value_bytes", 10)
    bounced(machine, Set("/c", b"x" * 11, create=True), "value_bytes", 10)
    bounced(machine, Multi(then=(Set("/a", b"y"), Set("/a", b"x" * 11))), "value_bytes", 10)
    machine.do(Set("/a", b"z"))


def test_multi_ops() -> None:
    machine = Machine(StoreLimits(multi_ops=2))
    machine.do(Multi(then=(Create("/a"), Create("/b"))))
    bounced(machine, Multi(then=(Create("/c"),), otherwise=(Create("/d"), Create("/e"))), "multi_ops", 2)
