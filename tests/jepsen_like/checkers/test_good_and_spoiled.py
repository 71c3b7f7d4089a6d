"""Good histories are accepted, with all their prefixes; with one fault each they are not."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coord.jepsen_like.checkers import CHECKS, judge
from coord.jepsen_like.history import Operation, Record, dump, load
from tests.jepsen_like.checkers.faults import FAULTS
from tests.jepsen_like.checkers.world import World

seeds = st.integers(0, 1 << 32)


@settings(max_examples=60, deadline=None)
@given(seeds, st.booleans(), st.integers(1, 6))
def test_good_histories_are_accepted(seed: int, with_log: bool, processes: int) -> None:
    assert judge(World(seed, processes, with_log=with_log).run(300)) == []


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_a_history_is_judged_alike_after_a_file(seed: int) -> None:
    records = World(seed).run(150)
    assert load(dump(records)) == records


@settings(max_examples=30, deadline=None)
@given(seeds, st.booleans(), st.data())
def test_every_prefix_of_a_good_history_is_good(seed: int, with_log: bool, data: st.DataObject) -> None:
    records = World(seed, with_log=with_log).run(200)
    for count in data.draw(st.lists(st.integers(1, len(records)), min_size=3, max_size=6)):
        assert judge(prefix(records, count)) == []


def prefix(records: list[Record], count: int) -> list[Record]:
    """The first ``count`` records, and the writes that had been called by then, as ones without an answer."""
    now_ns = max(
        getattr(each, "at_ns", None) or getattr(each, "returned_ns", None) or 0 for each in records[:count]
    )
    unanswered = [
        replace(
            each, connection=0, member=0, returned_ns=None, outcome="unknown", error="session_ended", revision=None,
            index=None, result=None,
        )
        for each in records[count:]
        if isinstance(each, Operation) and each.mode == "write" and each.called_ns <= now_ns
    ]  # fmt: skip
    return [*records[:count], *unanswered]


@pytest.mark.parametrize("name", FAULTS)
def test_each_planted_fault_is_found(name: str) -> None:
    """In every history that has a place for it."""
    fault, promise = FAULTS[name]
    planted = 0
    seed = 0
    while planted < 12 and seed < 150:
        spoiled = fault(World(seed).run(600 if promise == "sessions" else 250), Random(seed))
        if spoiled is not None:
            planted += 1
            found = CHECKS[promise](spoiled)
            assert found, (name, seed)
            assert all(0 <= place < len(spoiled) for each in found for place in each.records)
        seed += 1
    assert planted >= 5


WITHOUT_LOG = (
    "stale_read", "wrong_value", "false_conflict", "future_write", "search_wrong_value", "dropped_event",
    "duplicated_event", "reordered_events", "half_a_revision", "event_after_the_reply", "told_over_early",
    "proof_of_the_dead", "at_least_not_reached", "changed_digest", "phantom_element", "shuffled_list", "aborted_append",
)  # fmt: skip


@pytest.mark.parametrize("name", WITHOUT_LOG)
def test_faults_are_found_without_a_log(name: str) -> None:
    """In some histories: in the fog, and of what nobody acknowledged, nothing can be said."""
    fault, promise = FAULTS[name]
    planted = found = 0
    for seed in range(25):
        spoiled = fault(World(seed, with_log=False).run(250), Random(seed))
        if spoiled is not None:
            planted += 1
            found += bool(CHECKS[promise](spoiled))
    assert planted
    assert found >= planted * 0.2, (found, planted)
