"""What the observer demands beyond what any history shows: of changes of members, of who is whole again, of what
members remember, of whom they serve, and of time.
"""

from types import SimpleNamespace
from typing import Any

import pytest

from coord.api.commands import OPEN_SESSION, REQUESTS, Command
from coord.api.ops import Create, Set
from coord.jepsen_like.sim.bounds import Bounds
from coord.jepsen_like.sim.run import simulate
from coord.jepsen_like.sim.simulation import Simulation
from coord.jepsen_like.sim.trace import Trace
from coord.jepsen_like.sim.world import World
from coord.limits import MemberLimits
from coord.raft.types import Configuration, Entry, HardState
from coord.replica import leading
from coord.store.store import Store

QUIET = World(workload="tree", clients=2, think_ms=50, safety_ms=3_000, session_timeout_ms=1_000)


def _simulation(**world: Any) -> Simulation:
    return Simulation(1, World(**world), Trace())


def _broken(sim: Simulation) -> list[str]:
    return [violation.what.partition(" (")[0] for violation in sim.violations]


JOINT = Configuration((1, 2), (1, 2, 3), (), (3,))
"""3, which votes, is to learn."""
WRONG = "who votes and who learns is as somebody asked for"


@pytest.mark.parametrize(
    ("steps", "is_right"),
    [
        ((JOINT, Configuration((1, 2), (), (3,))), True),
        ((JOINT, Configuration((1, 2))), False),
        ((JOINT, Configuration((1, 2, 3))), False),
        ((Configuration((1, 2), (1, 2, 3)),), False),
        ((Configuration((1, 2), (2, 3), (), (3,)),), False),
        ((Configuration((1, 2), (), (3,)),), False),
    ],
)
def test_a_change_of_members_is_the_one_that_was_asked_for(
    steps: tuple[Configuration, ...], is_right: bool
) -> None:
    sim = _simulation(voters=3)
    sim.ghosts.asked_for[((1, 2), (3,))] = None
    for index, each in enumerate(steps, 1):
        sim.ghosts._follows(1, each)
        sim.ghosts.configurations.append((index, each))
    assert _broken(sim) == [WRONG] * (not is_right)


@pytest.mark.parametrize(
    ("asked", "vote", "wrong"),
    [
        (1, 2, []),
        (3, 2, ["who is whole again has all that was committed when it asked for it"]),
        (None, 2, ["who is whole again has all that was committed when it asked for it"]),
        (1, 0, ["who is whole again has no vote to give"]),
    ],
)
def test_who_is_whole_again_has_its_target_and_no_vote(
    asked: int | None, vote: int, wrong: list[str]
) -> None:
    sim = _simulation()
    entries = [Entry(index, 1, 0, b"") for index in (1, 2)]
    sim.ghosts.committed += entries
    ghost = sim.ghosts.members[1]
    ghost.durable, ghost.durable_state, ghost.recovery_asked = entries, HardState(1, vote), asked
    sim.ghosts.whole(1)
    assert _broken(sim) == wrong


class Pair:
    """The oracle, and a member that has applied the same."""

    def __init__(self, entries: int, history_revisions: int = 100) -> None:
        self.sim = _simulation(history_revisions=history_revisions)
        self.store = Store(MemberLimits(history_revisions=history_revisions))
        self.both((OPEN_SESSION, 1, 1, 1, 5_000, b"", "", ""))
        for number in range(entries):
            op = Set("/x", b"%d" % number) if number else Create("/x")
            self.both((REQUESTS, 1, 0, [(number + 1, op.row())]))

    def both(self, command: Command) -> None:
        for store in (self.store, self.sim.ghosts.oracle.store):
            store.apply(store.applied_index + 1, 0, 7, [command])

    def compare(self) -> list[str]:
        life: Any = SimpleNamespace(
            member=SimpleNamespace(number=1), replica=SimpleNamespace(state=SimpleNamespace(store=self.store))
        )
        self.sim.ghosts.oracle._compare_history(life)
        return _broken(self.sim)


def test_the_same_past_is_the_same() -> None:
    pair = Pair(5)
    assert pair.compare() == []
    pair.both((REQUESTS, 1, 0, [(9, Set("/x", b"later").row())]))
    assert pair.compare() == []
    assert Pair(20, history_revisions=5).compare() == []


def test_another_past_is_seen_whenever_it_was() -> None:
    pair = Pair(5)
    revision, index, wall_ms, changes = pair.store.history._revisions[1]
    pair.store.history._revisions[1] = (revision, index, wall_ms + 1, changes)
    assert pair.compare()[0].startswith("member 1 tells another history of 1 to 5")


def test_a_past_that_was_forgotten_too_early_is_seen() -> None:
    pair = Pair(5)
    pair.store.history._drop(2)
    assert pair.compare()[0].startswith(
        "member 1 has 3 revisions of its past, at revision 5; it is to keep 100"
    )


@pytest.mark.parametrize(
    ("session", "wrong"),
    [(1, []), (2, ["member 1 serves session 2 on, which is over, and does not tell its client"])],
)
def test_a_member_that_serves_a_session_on_that_is_over_is_seen(session: int, wrong: list[str]) -> None:
    pair = Pair(1)
    state = SimpleNamespace(
        proposals=SimpleNamespace(pending_count=0),
        store=pair.store,
        attached={session: 7},
        raft=SimpleNamespace(status=lambda: SimpleNamespace(peers=())),
    )
    life: Any = SimpleNamespace(
        member=pair.sim.member(1), inbox_size=0, replica=SimpleNamespace(state=state), wires={}
    )
    pair.sim.member(1).life = life
    Bounds(pair.sim).watch()
    assert [each.rpartition(", at")[0] for each in _broken(pair.sim)] == wrong


def test_a_time_that_stands_still_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert simulate(1, QUIET).ok
    monkeypatch.setattr(leading, "cluster_time_ms", lambda state: state.store.time_ms)
    assert "ms later, in peace" in simulate(1, QUIET).violations[0].what
