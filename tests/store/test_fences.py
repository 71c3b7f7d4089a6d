"""Fences: who may write below them, whatever their client believes."""

from typing import Any

import pytest

from coord.api.errors import LimitExceeded, NotAllowed, NotFound, StaleToken
from coord.api.events import FENCED
from coord.api.ops import Claim, ClaimInfo, Create, Delete, Fence, FencedWrite, Get, Kind, Multi, Release, Set
from coord.limits import StoreLimits
from tests.store.machine import Machine, picture, reloaded


@pytest.fixture
def machine() -> Machine:
    """``/data`` is fenced by ``/lock``, which nobody holds."""
    made = Machine()
    for path in ("/lock", "/data", "/data/x", "/database"):
        made.do(Create(path))
    made.do(Fence("/data", "/lock"))
    return made


def take(machine: Machine, path: str = "/lock", session: int | None = None) -> tuple[int, tuple[int, int]]:
    """``(number, token)``."""
    number, token, _, incarnation, _ = machine.do(Claim(path), session)
    return number, (incarnation, token)


def stale(machine: Machine, op: Any, *tokens: tuple[int, int]) -> dict[str, Any]:
    """What the refusal says."""
    error = machine.refused(FencedWrite(tokens, op) if tokens else op)
    assert isinstance(error, StaleToken), error
    return dict(error.details)


WRITES = [
    Set("/data", b"v"),
    Set("/data/x", b"v"),
    Set("/data/new/er", b"v", create=True, parents=True),
    Create("/data/new"),
    Create("/data/new/er", parents=True),
    Create("/data/q-", sequential=True),
    Create("/data/", sequential=True),
    Delete("/data/x"),
    Delete("/data", subtree=True),
    Multi(then=(Set("/database", b"v"), Set("/data/x", b"v"))),
    Fence("/data", None),
    Fence("/data", "/database"),
    Fence("/data/x", "/database"),
]


@pytest.mark.parametrize("op", WRITES, ids=lambda op: type(op).__name__)
def test_a_write_wants_the_token_of_a_present_holder(op: Any, machine: Machine) -> None:
    """The story of every lock service: 1. A holds the lock, and is paused. 2. Its session expires; B holds it, and
    writes. 3. A wakes up, and writes: it must not."""
    assert stale(machine, op)["token"] == 0  # nobody holds it: nobody writes
    other = machine.open()
    _, old = take(machine, session=other)
    machine.expire(other)
    assert stale(machine, op, old)["token"] == 0
    _, new = take(machine)
    details = stale(machine, op, old)
    assert (details["token"], details["incarnation"]) == (new[1], 1)
    assert (details["fence"], details["claim"]) == ("/data", "/lock")
    stale(machine, op)
    stale(
        machine, op, (2, new[1]), (0, new[1]), (1, new[1] + 1)
    )  # another life of the cluster's, and one to come
    machine.do(FencedWrite((old, new), op))
    picture(machine.store)


@pytest.mark.parametrize("op", [Delete("/d", subtree=True), Multi(then=(Delete("/d", subtree=True),))])
def test_a_deletion_that_takes_a_fenced_subtree_along(op: Any) -> None:
    machine = Machine()
    for path in ("/lock", "/d", "/d/e", "/d/e/f"):
        machine.do(Create(path))
    machine.do(Fence("/d/e", "/lock"))
    assert stale(machine, op)["fence"] == "/d/e"
    _, token = take(machine)
    machine.do(FencedWrite((token,), op))
    machine.do(Create("/d"))
    machine.do(Delete("/d", subtree=True))  # nothing of the fenced is in it
    assert stale(machine, Create("/d/e/f", parents=True))["token"] == token[1]  # the fence is still there


def test_what_is_beside_the_fence_is_free(machine: Machine) -> None:
    machine.do(Set("/database", b"v"))
    machine.do(Create("/dat"))
    machine.do(Set("/lock", b"v"))
    machine.do(Set("/", b"v"))
    assert machine.read(Get("/data/x"))[0] == b""


def test_a_token_can_be_handed_on_to_another_session(machine: Machine) -> None:
    _, token = take(machine)
    machine.do(FencedWrite((token,), Set("/data/x", b"v")), machine.open())


def test_tokens_are_presented_once(machine: Machine) -> None:
    """The next request of the same frame presents nothing."""
    _, token = take(machine)
    write = Set("/data/x", b"v")
    replies = machine.requests([(900, FencedWrite((token,), write)), (901, write)])
    assert [reply[1] for reply in replies] == [0, StaleToken.code]


def test_several_fences_each_want_a_token(machine: Machine) -> None:
    machine.do(Create("/inner"))
    _, token = take(machine)
    machine.do(FencedWrite((token,), Fence("/data/x", "/inner")))
    assert machine.read(ClaimInfo("/data/x/y"))[5] == ["/inner", "/lock"]
    assert machine.read(ClaimInfo("/inner"))[6] == ["/data/x"]
    _, inner = take(machine, "/inner")
    write = Set("/data/x", b"v")
    assert stale(machine, write, token)["claim"] == "/inner"
    assert stale(machine, write, inner)["claim"] == "/lock"
    machine.do(FencedWrite((token, inner), write))


def test_any_of_several_holders_may_write(machine: Machine) -> None:
    one, two = machine.do(Claim("/lock", shared=True)), machine.do(Claim("/lock", shared=True))
    for each in (one, two):
        machine.do(FencedWrite(((1, each[1]),), Set("/data/x", b"v")))
    machine.do(Release(one[0]))
    stale(machine, Set("/data/x", b"v"), (1, one[1]))
    machine.do(FencedWrite(((1, two[1]),), Set("/data/x", b"v")))


def test_a_multi_is_all_or_nothing_and_tokens_end_with_the_claim_in_it(machine: Machine) -> None:
    number, token = take(machine)
    first = FencedWrite((token,), Multi(then=(Set("/data/x", b"1"), Release(number))))
    late = FencedWrite((token,), Multi(then=(Release(number), Set("/data/x", b"2"))))
    assert machine.refused(late).details["position"] == 1
    assert machine.store.claims.held["/lock"] == {number: token[1]}
    machine.do(first)  # complete and release, in one request
    assert stale(machine, Set("/data/x", b"3"), token)["token"] == 0


def test_the_service_itself_is_not_fenced(machine: Machine) -> None:
    """The ends of sessions and TTLs, and containers that are left empty."""
    other = machine.open()
    _, token = take(machine)
    made = (
        Create("/data/e", kind=Kind.EPHEMERAL), Create("/data/t", kind=Kind.TTL, ttl_ms=10),
        Create("/data/c", kind=Kind.CONTAINER), Create("/data/c/e", kind=Kind.EPHEMERAL),
    )  # fmt: skip
    machine.do(FencedWrite((token,), Multi(then=made)), other)
    machine.end(other)
    machine.pass_time(10)
    assert machine.paths() == ["/", "/data", "/data/x", "/database", "/lock"]


def test_the_claim_may_lie_inside_of_its_fence() -> None:
    """Nobody could be the first to hold it, were its znode fenced by itself."""
    machine = Machine()
    machine.do(Create("/app"))
    machine.do(Fence("/app", "/app/lock"))
    stale(machine, Create("/app/lock"))
    number, token, *_ = machine.do(Claim("/app/lock", create=True))
    assert stale(machine, Create("/app/x"))["token"] == token
    machine.do(FencedWrite(((1, token),), Create("/app/x")))
    assert stale(machine, Claim("/app/other", create=True))["claim"] == "/app/lock"
    assert stale(machine, Delete("/app/lock"))["token"] == token
    machine.do(Release(number))
    assert machine.paths() == ["/", "/app", "/app/x"]


def test_setting_and_taking_away(machine: Machine) -> None:
    assert machine.changes()[-1][3] == ((FENCED, "/data", b"/lock", 0, machine.session, 5, 0),)
    _, token = take(machine)
    machine.do(FencedWrite((token,), Fence("/data", "/database")))
    stale(machine, Set("/data/x", b"v"), token)
    _, other = take(machine, "/database")
    machine.do(FencedWrite((other,), Fence("/data", None)))
    assert machine.changes()[-1][3][0][:3] == (FENCED, "/data", None)
    machine.do(Set("/data/x", b"v"))
    assert isinstance(machine.refused(Fence("/data", None)), NotFound)
    for op in (Fence("/coord", "/lock"), Fence("/data", "/coord/lock")):
        assert isinstance(machine.refused(op), NotAllowed)
    assert machine.store.fences.by_claim == {}


def test_a_refused_multi_takes_its_fences_back(machine: Machine) -> None:
    _, token = take(machine)
    parts = (Fence("/data", "/database"), Fence("/x", "/lock"), Delete("/nowhere"))
    machine.refused(FencedWrite((token,), Multi(then=parts)))
    assert machine.store.fences.by_path == {"/data": "/lock"}
    picture(machine.store)


def test_fences_are_bounded() -> None:
    machine = Machine(StoreLimits(fences=2))
    machine.do(Fence("/a", "/l"))
    machine.do(Fence("/b", "/l"))
    error = machine.refused(Fence("/c", "/l"))
    assert isinstance(error, LimitExceeded)
    assert error.details == {"limit": "fences", "maximum": 2}


def test_fences_and_the_incarnation_travel_in_a_snapshot(machine: Machine) -> None:
    machine.store.incarnation = 3
    _, token = take(machine)
    assert token[0] == 3
    stale(machine, Set("/data/x", b"v"), (1, token[1]))
    machine.do(FencedWrite((token,), Set("/data/x", b"v")))
    machine.store = reloaded(machine.store)
    stale(machine, Set("/data/x", b"v"), (1, token[1]))
    machine.do(FencedWrite((token,), Set("/data/x", b"w")))
    assert picture(reloaded(machine.store)) == picture(machine.store)
