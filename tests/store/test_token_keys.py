"""The members' public keys in the tree: how they come, retire and go; and that nobody else writes there."""

from typing import Any

import pytest

from coord.api.commands import PUT_TOKEN_KEY
from coord.api.errors import InvalidRequest, NotAllowed, NotFound
from coord.api.events import CHANGED, CREATED, DELETED, Reason
from coord.api.ops import (
    Claim,
    ClaimFirst,
    ClaimSettings,
    Create,
    Delete,
    Fence,
    Kind,
    Multi,
    RotateTokenKeys,
    Set,
)
from coord.api.paths import TOKEN_KEYS
from coord.limits import MemberLimits
from coord.store.token_keys import KEYS_PER_MEMBER, key_generation
from coord.store.znode import KIND, VALUE
from coord.wire.op_rows import check_op
from tests.store.machine import Machine, picture, reloaded

RETIRE_MS = 60_000


def put(machine: Machine, key: str, generation: int = 0) -> None:
    """Member ``1`` of ``1-abc`` puts its key there."""
    member = int(key.partition("-")[0])
    machine.apply((PUT_TOKEN_KEY, member, key, b"public " + key.encode(), generation, RETIRE_MS))
    picture(machine.store)  # looks whether it is sound


def keys(machine: Machine) -> dict[str, Kind]:
    tree = machine.store.tree
    return {name: Kind(tree.znodes[f"{TOKEN_KEYS}/{name}"][KIND]) for name in tree.children(TOKEN_KEYS)}


def last_changes(machine: Machine) -> list[tuple[int, str]]:
    return [(change[0], change[1]) for change in machine.changes()[-1][3]]


def test_a_store_in_which_nobody_signs_has_no_keys() -> None:
    machine = Machine()
    assert key_generation(machine.store.tree) is None
    assert machine.paths() == ["/"]


def test_the_first_key_makes_what_it_stands_in() -> None:
    machine = Machine()
    put(machine, "1-a")
    assert keys(machine) == {"1-a": Kind.PERSISTENT}
    assert machine.store.tree.znodes[f"{TOKEN_KEYS}/1-a"][VALUE] == b"public 1-a"
    assert key_generation(machine.store.tree) == 0
    assert last_changes(machine) == [
        (CREATED, "/coord"), (CREATED, TOKEN_KEYS), (CREATED, f"{TOKEN_KEYS}/1-a"),
    ]  # fmt: skip
    [*_, (_, _, _, changes)] = machine.changes()
    assert {change[4:] for change in changes} == {(0, 0, Reason.REQUEST)}  # nobody's request


def test_the_same_key_again_changes_nothing() -> None:
    machine = Machine()
    put(machine, "1-a")
    before = machine.store.revision
    put(machine, "1-a")
    assert machine.store.revision == before


def test_a_members_former_keys_retire_and_those_of_others_stay() -> None:
    machine = Machine()
    for key in ("1-a", "2-a", "11-a", "1-b"):
        put(machine, key)
    assert keys(machine) == {
        "1-a": Kind.TTL, "1-b": Kind.PERSISTENT, "2-a": Kind.PERSISTENT, "11-a": Kind.PERSISTENT,
    }  # fmt: skip
    assert machine.store.tree.znodes[f"{TOKEN_KEYS}/1-a"][VALUE] == b"public 1-a"
    machine.pass_time(RETIRE_MS - 1)
    assert "1-a" in keys(machine)
    put(machine, "1-c")  # and a key that retires already does not begin anew
    machine.pass_time(1)
    assert keys(machine) == {
        "1-b": Kind.TTL, "1-c": Kind.PERSISTENT, "2-a": Kind.PERSISTENT, "11-a": Kind.PERSISTENT,
    }  # fmt: skip
    machine.pass_time(RETIRE_MS - 1)
    assert "1-b" not in keys(machine)
    assert key_generation(machine.store.tree) == 0


def test_no_member_has_more_than_so_many() -> None:
    machine = Machine()
    put(machine, "2-a")
    for number in range(3 * KEYS_PER_MEMBER):
        put(machine, f"1-{number:02}")
    newest = [f"1-{number:02}" for number in range(2 * KEYS_PER_MEMBER, 3 * KEYS_PER_MEMBER)]
    assert list(keys(machine)) == [*newest, "2-a"]
    assert keys(machine)[newest[-1]] == Kind.PERSISTENT


def test_a_rotation_is_told_and_old_keys_are_not_taken_any_more() -> None:
    machine = Machine()
    put(machine, "1-a")
    assert machine.do(RotateTokenKeys()) == 1
    assert last_changes(machine) == [(CHANGED, TOKEN_KEYS)]
    assert machine.changes()[-1][3][0][4] == machine.session
    put(machine, "2-a")  # it was on its way when the rotation was asked for
    assert keys(machine) == {"1-a": Kind.PERSISTENT}
    put(machine, "2-b", 1)
    put(machine, "1-b", 1)
    assert keys(machine) == {"1-a": Kind.TTL, "1-b": Kind.PERSISTENT, "2-b": Kind.PERSISTENT}
    assert machine.do(RotateTokenKeys()) == 2
    assert machine.store.tree.znodes[TOKEN_KEYS][VALUE] == b"2"


def test_a_rotation_before_any_key_asks_for_the_first_ones() -> None:
    machine = Machine()
    assert machine.do(RotateTokenKeys()) == 1
    assert last_changes(machine) == [(CREATED, "/coord"), (CREATED, TOKEN_KEYS)]
    put(machine, "1-a", 1)
    assert keys(machine) == {"1-a": Kind.PERSISTENT}


def test_a_revoked_key_does_not_come_back() -> None:
    """Its member was down when it was revoked, and still has it in its folder."""
    machine = Machine()
    put(machine, "1-a")
    put(machine, "2-a")
    assert machine.do(RotateTokenKeys("1-a")) == 1
    assert last_changes(machine) == [(DELETED, f"{TOKEN_KEYS}/1-a"), (CHANGED, TOKEN_KEYS)]
    put(machine, "1-a")
    assert keys(machine) == {"2-a": Kind.PERSISTENT}
    assert isinstance(machine.refused(RotateTokenKeys("1-a")), NotFound)
    assert key_generation(machine.store.tree) == 1


def test_the_retry_of_a_rotation_rotates_once() -> None:
    machine = Machine()
    op = RotateTokenKeys()
    [first], [again] = machine.requests([(900, op)]), machine.requests([(900, op)])
    assert first == again
    assert key_generation(machine.store.tree) == 1


@pytest.mark.parametrize("path", ["/coord", TOKEN_KEYS, f"{TOKEN_KEYS}/1-a"])
@pytest.mark.parametrize(
    "make",
    [
        lambda path: Set(path, b"mine"),
        lambda path: Set(path, b"mine", create=True),
        lambda path: Set(path, b"mine", version=7),
        lambda path: Delete(path, subtree=True),
        lambda path: Create(f"{path}/x"),
        lambda path: Create(f"{path}/x-", sequential=True),
        lambda path: Multi(then=(Set(path, b"mine"),)),
        lambda path: Multi(then=(Delete(path, subtree=True),)),
        lambda path: Claim(path),
        lambda path: ClaimFirst(path),
        lambda path: ClaimSettings(path, 2),
        lambda path: Fence(path, "/lock"),
    ],
)
def test_nobody_else_writes_there(make: Any, path: str) -> None:
    machine = Machine()
    put(machine, "1-a")
    error = machine.refused(make(path))
    assert isinstance(error, NotAllowed), error
    assert "the service's own" in error.message


def test_who_waits_for_any_child_of_the_root_is_not_granted_the_services_own() -> None:
    machine = Machine()
    waits, _, _ = machine.do(ClaimFirst("/", wait=True))
    put(machine, "1-a")
    machine.pass_time(1)
    assert machine.do(ClaimFirst("/"), machine.open())[:2] == (0, [])
    assert waits in machine.store.claims.first["/"]
    machine.do(Create("/job"))
    assert waits in machine.store.claims.held["/job"]


def test_a_fence_on_everything_does_not_keep_keys_out() -> None:
    machine = Machine()
    machine.do(Create("/lock"))
    machine.do(Fence("/", "/lock"))
    put(machine, "1-a")
    assert machine.do(RotateTokenKeys("1-a")) == 1


def test_keys_are_in_a_snapshot() -> None:
    machine = Machine()
    put(machine, "1-a")
    machine.do(RotateTokenKeys())
    put(machine, "1-b", 1)
    copy = reloaded(machine.store)
    assert picture(copy) == picture(machine.store)
    assert key_generation(copy.tree) == 1


def test_it_has_no_place_in_a_multi() -> None:
    with pytest.raises(InvalidRequest):
        check_op([7, [], [RotateTokenKeys().row()], []], MemberLimits())
