"""Every workload, at real replicas, among broken connections, cut-off members and sessions that end."""

from collections import Counter
from itertools import chain
from random import Random

import pytest

from coord.api.ops import Multi, Set
from coord.api.results import MultiResult
from coord.jepsen_like.history import Note, Operation, Record, SessionOver, WatchTold
from coord.jepsen_like.workloads import PARTS, WORKLOADS
from coord.jepsen_like.workloads.conversation import check_conversation
from coord.jepsen_like.workloads.mixed import Mixed
from coord.jepsen_like.workloads.workload import Process, Say, Script
from tests.jepsen_like.workloads.world import World

STEPS = 250
READERS_ONLY = 4
"""The process without a session."""


def history(name: str, seed: int, steps: int = STEPS) -> list[Record]:
    world = World(seed=seed)
    world.run_workload(WORKLOADS[name](Random(seed)), READERS_ONLY, steps)
    return world.whole_history()


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_goes_through_its_faults_and_nothing_is_found(name: str) -> None:
    records = history(name, seed=2)
    workload = WORKLOADS[name](Random(2))
    assert workload.name == name
    assert [found for check in (*workload.checks, check_conversation) for found in check(records)] == []
    operations = [each for each in records if isinstance(each, Operation)]
    outcomes = Counter(each.outcome for each in operations)
    assert outcomes["ok"] > 50
    assert all(
        each.mode != "write" or each.outcome == "refused"
        for each in operations
        if each.process == READERS_ONLY
    )
    # Setup and finish have worked, each to its end.
    assert any(each.outcome == "ok" for each in operations if each.process == 0)
    last = [each for each in operations if each.process == READERS_ONLY + 1]
    assert last
    assert any(each.outcome == "ok" or each.error == "not_found" for each in last)


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_same_seed_makes_the_same_history(name: str) -> None:
    assert history(name, seed=3, steps=60) == history(name, seed=3, steps=60)
    assert history(name, seed=3, steps=60) != history(name, seed=4, steps=60)


def test_the_faults_leave_their_traces() -> None:
    """Else the runs above would say nothing of what they are for."""
    records = [each for seed in (1, 2, 3) for each in history("mixed", seed)]
    operations = [each for each in records if isinstance(each, Operation)]
    outcomes = {(each.mode == "write", each.outcome) for each in operations}
    assert outcomes == {(True, "ok"), (True, "refused"), (True, "unknown"), (False, "ok"), (False, "refused")}
    assert {each.by for each in records if isinstance(each, SessionOver)} >= {"client"}
    assert max(each.connection for each in operations) > 10


def test_transactions_append_read_and_lose_races() -> None:
    records = [each for seed in range(1, 5) for each in history("append", seed)]
    done = Counter(
        (each.result.succeeded, sum(isinstance(op, Set) for op in each.op.then))
        for each in records
        if isinstance(each, Operation) and isinstance(each.op, Multi) and isinstance(each.result, MultiResult)
    )
    assert {succeeded for succeeded, _ in done} == {True, False}
    assert {appends for _, appends in done} >= {0, 1, 2}


def test_watches_see_every_kind_of_change() -> None:
    records = [each for seed in range(1, 5) for each in history("watching", seed)]
    told = [change for each in records if isinstance(each, WatchTold) for change in each.changes]
    assert {change[0] for change in told} == {1, 2, 3}
    assert {change[6] for change in told} >= {0, 3}
    assert any(len(each.changes) > 1 for each in records if isinstance(each, WatchTold))


def test_mixed_holds_what_it_was_drawn_and_judges_with_all_their_checks() -> None:
    drawn = Counter[str]()
    for seed in range(100):
        mixed = WORKLOADS["mixed"](Random(seed))
        assert isinstance(mixed, Mixed)
        names = [part.name for part in mixed.parts]
        assert len(names) == len(set(names)) >= 2
        drawn.update(names)
        assert mixed.checks == tuple(check for part in mixed.parts for check in part.checks)
    assert set(drawn) == set(PARTS)


class Brief:
    """Ends of itself, after so many steps."""

    checks = ()

    def __init__(self, name: str, count: int) -> None:
        self.name = name
        self._count = count

    def setup(self) -> Script:
        yield Say(f"{self.name} setup")

    def process(self, me: Process) -> Script:
        for number in range(self._count):
            yield Say(self.name, {"number": number})

    def finish(self, me: Process) -> Script:
        yield Say(f"{self.name} finish")


def test_mixed_goes_on_when_a_part_has_ended() -> None:
    world = World()
    mixed = Mixed(Random(1), [Brief("one", 3), Brief("other", 200)])
    me = world.process(1)
    world.run(world.start(me, chain(mixed.setup(), mixed.process(me), mixed.finish(me))))
    said = [each.what for each in world.of(Note)]
    assert Counter(said) == {
        "one setup": 1, "other setup": 1, "one": 3, "other": 200, "one finish": 1, "other finish": 1,
    }  # fmt: skip
    assert said.index("other") < len(said) - 1 - said[::-1].index("one"), "in turns"
