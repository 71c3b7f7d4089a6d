"""What a schedule does next. Pure: time is an argument."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coord.recipes.queue.cron import When, cron, every
from coord.recipes.queue.errors import BadRecord
from coord.recipes.queue.leader_clock import LeaderClock
from coord.recipes.queue.ticking import (
    ALL_MAX,
    COUNT_MAX,
    LATE_MS,
    TAKE_OVER_MS,
    Definition,
    Fire,
    Missed,
    Put,
    State,
    Wait,
    count,
    decode_state,
    encode_state,
    next_step,
    stagger_ms,
    ticks_due,
)

NOW_MS = 1_000_000_000_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000


def definition(when: When | None = None, missed: Missed = "skip", what: str = "report()") -> Definition:
    return Definition("nightly", when or every(3600), "report", "default", what, missed)


def begun(mine: Definition, last_ms: int = NOW_MS, by: str = "a") -> State:
    step = next_step(mine, None, last_ms, starting=True)
    assert isinstance(step, Put)
    return replace(step.state, by=by)


def fired(mine: Definition, state: State, now_ms: int, by: str = "a") -> tuple[list[int], State]:
    """The ticks that are enqueued until it waits."""
    due: list[int] = []
    for _ in range(1_000):
        step = next_step(mine, state, now_ms, by=by)
        if isinstance(step, Wait):
            return due, state
        if isinstance(step, Fire):
            due.append(step.due_ms)
        state = step.state
    raise AssertionError("it does not come to rest")


def test_it_begins_with_the_first_tick_after_it_was_made() -> None:
    mine = definition(every(3600, offset=60))
    first_ms = mine.when.following(NOW_MS)
    assert first_ms is not None
    assert next_step(mine, begun(mine), NOW_MS, by="a") == Wait(first_ms)
    step = next_step(mine, begun(mine), first_ms, by="a")
    assert isinstance(step, Fire)
    assert (step.due_ms, step.passed_over, step.state.last_ms, step.state.ticks) == (first_ms, 0, first_ms, 1)


def test_who_had_the_last_tick_comes_first_and_the_others_soon_after() -> None:
    mine = definition(every(10))
    state = begun(mine, NOW_MS)
    assert next_step(mine, state, NOW_MS, by="a") == Wait(NOW_MS + 10_000)
    assert next_step(mine, state, NOW_MS, by="b") == Wait(NOW_MS + 10_500)
    assert isinstance(next_step(mine, state, NOW_MS + 10_500, by="b"), Fire)
    assert stagger_ms(every(0.2), NOW_MS) == 50


@pytest.mark.parametrize(
    ("missed", "expected"),
    [("skip", []), ("once", [3]), ("all", [1, 2, 3])],
)
def test_missed_ticks(missed: Missed, expected: list[int]) -> None:
    mine = definition(every(3600), missed)
    start_ms = NOW_MS // HOUR_MS * HOUR_MS
    now_ms = start_ms + 3 * HOUR_MS + 10 * MINUTE_MS  # the third was ten minutes ago
    due, state = fired(mine, begun(mine, start_ms), now_ms)
    assert due == [start_ms + each * HOUR_MS for each in expected]
    assert state.last_ms == start_ms + 3 * HOUR_MS
    assert (state.ticks, state.passed_over) == (len(expected), 3 - len(expected))


@pytest.mark.parametrize("missed", ["skip", "once", "all"])
def test_a_tick_that_is_a_little_late_was_not_missed(missed: Missed) -> None:
    mine = definition(every(10), missed)
    due, state = fired(mine, begun(mine), NOW_MS + 45_000)
    assert due == [NOW_MS + each * 10_000 for each in (1, 2, 3, 4)]
    assert state.passed_over == 0


def test_one_that_is_on_time_stands_for_those_that_were_missed() -> None:
    mine = definition(every(300), "once")
    start_ms = NOW_MS // 300_000 * 300_000
    due, state = fired(mine, begun(mine, start_ms), start_ms + 3_000_000 + 30_000)
    assert due == [start_ms + 3_000_000]
    assert state.passed_over == 9


def test_all_has_a_bound() -> None:
    mine = definition(every(60), "all")
    start_ms = NOW_MS // 60_000 * 60_000
    due, state = fired(mine, begun(mine, start_ms), start_ms + 500 * MINUTE_MS + 1)
    on_time = LATE_MS // MINUTE_MS
    assert len(due) == ALL_MAX + on_time
    assert due[-1] == start_ms + 500 * MINUTE_MS
    assert state.passed_over == 500 - len(due)


def test_counting_has_a_bound() -> None:
    assert count(cron("* * * * *"), 0, 10**12) == COUNT_MAX
    assert count(every(1), 0, 10**12) == COUNT_MAX
    assert count(cron("* * * * *"), 0, 180_000) == 2
    assert count(every(60), 0, 180_000) == 2
    assert count(every(60), 0, 60_000) == 0


def test_paused_and_begun_anew() -> None:
    mine = definition(every(10))
    paused = replace(begun(mine), paused=True)
    assert next_step(mine, paused, NOW_MS + HOUR_MS, by="a") == Wait(None)
    resumed = replace(paused, paused=False, last_ms=None)
    assert fired(mine, resumed, NOW_MS + HOUR_MS)[0] == []  # what was due meanwhile is not made up for
    state = next_step(mine, resumed, NOW_MS + HOUR_MS, by="a")
    assert isinstance(state, Put)
    assert state.state.last_ms == NOW_MS + HOUR_MS


def test_what_was_removed_by_hand_stays_away_until_a_worker_starts() -> None:
    assert next_step(definition(), None, NOW_MS, by="a") == Wait(None)
    assert isinstance(next_step(definition(), None, NOW_MS, starting=True), Put)


def test_the_definition_of_who_started_last_counts() -> None:
    old, new = definition(every(10)), definition(every(20))
    state = begun(old, NOW_MS)
    step = next_step(new, state, NOW_MS + 5_000, starting=True, by="b")
    assert isinstance(step, Put)
    assert (step.state.digest, step.state.last_ms) == (
        new.digest,
        NOW_MS + 5_000,
    )  # other times: it begins anew
    # The old worker leaves it alone while somebody sees to it …
    assert next_step(old, step.state, NOW_MS + 15_000, by="a") == Wait(NOW_MS + 20_000 + TAKE_OVER_MS + 1)
    # … and takes it back when nobody does.
    back = next_step(old, step.state, NOW_MS + 20_000 + TAKE_OVER_MS + 1, by="a")
    assert isinstance(back, Put)
    assert back.state.digest == old.digest


def test_a_change_of_arguments_forgets_no_tick() -> None:
    state = replace(begun(definition(every(10))), ticks=7, paused=False, id="x")
    step = next_step(definition(every(10), what="report(2)"), state, NOW_MS + 25_000, starting=True)
    assert isinstance(step, Put)
    assert (step.state.last_ms, step.state.ticks, step.state.id) == (NOW_MS, 7, "x")


def test_a_paused_schedule_stays_so_with_a_new_definition() -> None:
    paused = replace(begun(definition(every(10))), paused=True)
    step = next_step(definition(every(20)), paused, NOW_MS, starting=True)
    assert isinstance(step, Put)
    assert step.state.paused
    assert next_step(definition(every(20)), paused, NOW_MS + HOUR_MS) == Wait(None)


@settings(deadline=None)
@given(
    st.sampled_from([every(7), every(60), cron("*/10 * * * *"), cron("0 3 * * *", tz="Europe/Berlin")]),
    st.sampled_from(["skip", "once", "all"]),
    st.lists(st.tuples(st.integers(1, 5 * HOUR_MS), st.sampled_from("ab")), max_size=20),
)
def test_whoever_looks_whenever_no_tick_comes_twice(
    when: When, missed: Missed, looks: list[tuple[int, str]]
) -> None:
    mine = definition(when, missed)
    state, now_ms = begun(mine), NOW_MS
    every_one: list[int] = []
    for later_ms, by in looks:
        now_ms += later_ms
        due, state = fired(mine, state, now_ms, by)
        every_one += due
    assert every_one == sorted(set(every_one))
    assert all(when.following(each - 1) == each for each in every_one)
    assert state.ticks == len(every_one)
    last_ms = state.last_ms or 0
    counted = count(when, NOW_MS, last_ms)
    if counted < COUNT_MAX:  # which stands for more
        assert state.ticks + state.passed_over == counted + (last_ms > NOW_MS)


def test_the_state_is_read_back_and_what_is_wrong_is_said() -> None:
    state = replace(begun(definition(cron("0 3 * * *", tz="Asia/Tokyo"))), paused=True, trouble="full")
    assert decode_state(encode_state(state)) == state
    for bad, says in [
        (b"", "the whole"),
        (b'{"v": 1}', "digest"),
        (encode_state(state).replace(b'"skip"', b'"often"'), "missed"),
        (encode_state(replace(state, v=2)), "version 2"),
    ]:
        with pytest.raises(BadRecord, match=says):
            decode_state(bad)


def test_many_ticks_that_are_due_are_those_that_come_one_by_one() -> None:
    mine = definition(every(0.1))
    state = begun(mine)
    now_ms = NOW_MS + 2_050
    one_by_one, end = fired(mine, state, now_ms)
    first = next_step(mine, state, now_ms, by="a")
    assert isinstance(first, Fire)
    together = ticks_due(mine, first, now_ms, "a", 50)
    assert [each.due_ms for each in together] == one_by_one
    assert len(together) == 20
    assert together[-1].state == end
    assert [each.due_ms for each in ticks_due(mine, first, now_ms, "a", 7)] == one_by_one[:7]


# --- the clock -------------------------------------------------------------------------------------------------------


def test_the_clock_is_set_by_what_the_leader_stamps() -> None:
    clock = LeaderClock()
    assert not clock.is_set
    clock.wrote(1_000_050, sent_ms=100, received_ms=200)
    assert clock.now_ms(200) == 1_000_100
    clock.wrote(
        1_001_000, sent_ms=1_000, received_ms=1_200
    )  # between -50 and 150 of what is thought: no change
    assert clock.now_ms(1_200) == 1_001_100
    clock.wrote(1_005_000, sent_ms=1_300, received_ms=1_300)
    assert clock.now_ms(1_300) == 1_005_000
    clock.wrote(1_000_000, sent_ms=1_300, received_ms=1_400)  # another leader, whose clock is behind
    assert clock.now_ms(1_400) == 1_000_100


def test_what_others_wrote_moves_it_forward_only() -> None:
    clock = LeaderClock()
    clock.saw(5_000, received_ms=10)
    assert not clock.is_set
    clock.wrote(1_000, sent_ms=0, received_ms=0)
    clock.saw(900, received_ms=0)
    assert clock.now_ms(0) == 1_000
    clock.saw(3_600_000, received_ms=100)
    assert clock.now_ms(100) == 3_600_000
