"""The children of a parent that are free: how they are found the first time that somebody asks."""

import pytest

from coord.api.commands import PUT_TOKEN_KEY
from coord.api.ops import Claim, ClaimFirst, ClaimSettings, Create, HoldBack, Kind, Lane, Release, SetLanes
from coord.store.candidates import Candidates
from tests.store.machine import Machine, check_candidates

MANY = 300


def odd_ones(machine: Machine, above: str, holder: int) -> None:
    """Children of ``above``: one that is held, waited for, held back, in a delay, has lanes, is ephemeral."""
    for name in ("held", "waited", "back", "delayed", "laned"):
        machine.do(Create(f"{above}/{name}"))
    machine.do(Claim(f"{above}/held"))
    machine.do(ClaimSettings(f"{above}/waited", 2))
    number = machine.do(Claim(f"{above}/waited"))[0]
    machine.do(Claim(f"{above}/waited", wait=True, units=2))
    machine.do(ClaimSettings(f"{above}/waited", 1))
    machine.do(Release(number))  # who waits there wants more than there is
    machine.do(HoldBack(f"{above}/back", None))
    machine.do(ClaimSettings(f"{above}/delayed", 1, 10_000))
    machine.do(Claim(f"{above}/delayed"), holder)
    machine.do(SetLanes(f"{above}/laned", (Lane("slow", 1),)))
    machine.do(Create(f"{above}/ephemeral", kind=Kind.EPHEMERAL))


@pytest.mark.parametrize("above", ["/q", "/"])
def test_the_first_look_finds_the_odd_ones(above: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few of many children are; as are some of others, above and below, that are no business of this parent's."""
    machine = Machine()
    machine.apply((PUT_TOKEN_KEY, 1, "1-a", b"public", 0, 60_000))  # makes the service's own subtree
    prefix = above.rstrip("/")
    for path in ("/q", "/other"):
        machine.do(Create(path))
    for number in range(MANY):
        machine.do(Create(f"{prefix}/{number:03d}"))
    holder = machine.open()
    for each in (prefix, "/other", f"{prefix}/000"):
        odd_ones(machine, each, holder)
    machine.do(Create("/other/005"))
    machine.do(Claim("/other/005"))
    machine.do(Claim("/"))
    machine.expire(holder)  # begins the delays
    looks: list[str] = []
    state = Candidates._state

    def look(self: Candidates, path: str) -> object:
        looks.append(path)
        return state(self, path)

    monkeypatch.setattr(Candidates, "_state", look)
    children = machine.store.candidates.children(above)
    monkeypatch.undo()
    assert len(looks) < MANY / 10, "each of them was looked at"
    assert children.counts[1:] == [1, 2, 1, 2 if above == "/" else 1]
    assert children.free.size == len(machine.store.tree.children(above)) - sum(children.counts)
    check_candidates(machine.store)


def test_few_children_are_looked_at_one_by_one() -> None:
    """Elsewhere more is odd than there are children here."""
    machine = Machine()
    for path in ("/q", "/q/a", "/q/b", "/other"):
        machine.do(Create(path))
    for number in range(20):
        machine.do(Create(f"/other/{number}"))
        machine.do(Claim(f"/other/{number}"))
    machine.do(HoldBack("/q/a", None))
    assert [row[1] for row in machine.do(ClaimFirst("/q", 9))[1]] == ["b"]
    check_candidates(machine.store)
