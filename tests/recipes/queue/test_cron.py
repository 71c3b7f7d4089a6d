"""When things are due. Pure: no clock is looked at."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coord.client import InvalidRequest
from coord.recipes.queue.cron import Cron, Every, When, cron, every, when_from_json

BERLIN = ZoneInfo("Europe/Berlin")


def at_ms(text: str, zone: str = "Europe/Berlin", fold: int = 0) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp() * 1000)


def local(when: When, after: str, count: int, zone: str = "Europe/Berlin") -> list[str]:
    times = when.times(at_ms(after, zone))
    found = [datetime.fromtimestamp(next(times) / 1000, ZoneInfo(zone)) for _ in range(count)]
    return [each.strftime("%m-%d %H:%M:%S %Z") for each in found]


def test_a_night_has_one_run_whatever_the_clocks_do() -> None:
    nightly = cron("30 2 * * *", tz="Europe/Berlin")
    # 02:30 is skipped: right after the gap.
    assert local(nightly, "2026-03-28T12:00", 2) == ["03-29 03:00:00 CEST", "03-30 02:30:00 CEST"]
    # 02:30 comes twice: the first.
    assert local(nightly, "2026-10-24T12:00", 2) == ["10-25 02:30:00 CEST", "10-26 02:30:00 CET"]


def test_asked_between_the_two_times_that_have_one_name() -> None:
    nightly = cron("30 2 * * *", tz="Europe/Berlin")
    between_ms = at_ms("2026-10-25T02:10", fold=1)  # 02:10 for the second time; 02:30 was due 40 minutes ago
    assert nightly.following(between_ms) == at_ms("2026-10-26T02:30")


def test_an_expression_that_says_how_often_goes_by_real_time() -> None:
    often = cron("*/30 * * * *", tz="Europe/Berlin")
    assert local(often, "2026-10-25T01:45", 4) == [
        "10-25 02:00:00 CEST",
        "10-25 02:30:00 CEST",
        "10-25 02:00:00 CET",
        "10-25 02:30:00 CET",
    ]
    assert local(often, "2026-03-29T01:15", 2) == ["03-29 01:30:00 CET", "03-29 03:00:00 CEST"]


def test_seconds_go_by_the_same_rules() -> None:
    assert local(cron("15,45 30 2 * * *", tz="Europe/Berlin"), "2026-03-29T00:00", 3) == [
        "03-29 03:00:15 CEST",
        "03-29 03:00:45 CEST",
        "03-30 02:30:15 CEST",
    ]
    assert cron("*/20 * * * * *").following(1_000_000_020_000) == 1_000_000_040_000


def test_names_lists_ranges_steps_and_the_last_day() -> None:
    assert local(cron("0 9-17/4 * JAN,mar MON-FRI", tz="Europe/Berlin"), "2026-01-02T10:00", 3) == [
        "01-02 13:00:00 CET",
        "01-02 17:00:00 CET",
        "01-05 09:00:00 CET",
    ]
    assert local(cron("0 0 L * *", tz="Europe/Berlin"), "2028-02-01T00:00", 1) == ["02-29 00:00:00 CET"]
    assert local(cron("0 0 13 * FRI", tz="Europe/Berlin"), "2026-02-07T00:00", 3) == [
        "02-13 00:00:00 CET",  # both: one tick
        "02-20 00:00:00 CET",  # a Friday is enough
        "02-27 00:00:00 CET",
    ]
    assert cron("@daily").following(0) == 86_400_000


def test_an_interval_is_the_same_for_everybody() -> None:
    assert every(0.2).following(1_000) == 1_200
    assert every(0.2).following(1_199) == 1_200
    assert every(300, offset=10).following(300_000) == 310_000
    assert every(300, offset=10).following(310_000) == 610_000
    assert every(60).following(-90_000) == -60_000


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("* * * *", "5 fields"),
        ("61 * * * *", "cannot be read: Bad minute"),
        ("0 0 30 2 *", "cannot be read"),
        ("0 0 * 2 MON#6", "cannot be read"),
        ("@often", "5 fields"),
        ("*" * 201, "200 characters"),
    ],
)
def test_what_cannot_be_is_refused_in_words(expression: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        cron(expression)


def test_zones_and_intervals_that_cannot_be() -> None:
    for tz in ("Europe/Berlyn", "../etc/passwd", "", "/etc/localtime"):
        with pytest.raises(InvalidRequest, match="no time zone"):
            cron("0 3 * * *", tz=tz)
    for seconds in (0, 0.05, -1, float("inf"), float("nan"), True, "5", 1e12):
        with pytest.raises(InvalidRequest):
            every(seconds)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="less than the interval"):
        every(10, offset=10)


@pytest.mark.parametrize("when", [cron("*/5 2 * * SUN", tz="Asia/Tokyo"), every(2.5, offset=1)])
def test_what_stands_in_the_tree_is_read_back(when: When) -> None:
    assert when_from_json(when.to_json()) == when
    assert str(when)


@pytest.mark.parametrize(
    "value",
    [None, 5, {}, {"cron": 5, "tz": "UTC"}, {"every_ms": 0, "offset_ms": 0}, {"cron": "x", "tz": "UTC"}],
)
def test_what_is_wrong_in_the_tree_is_said(value: object) -> None:
    with pytest.raises(InvalidRequest):
        when_from_json(value)


# --- for any expression: which times there are does not depend on where one looks from --------------------------------

FIELDS = st.tuples(
    st.sampled_from(["0", "30", "*", "*/20", "15,45", "0-59/7"]),
    st.sampled_from(["2", "1-4", "*", "*/2", "3", "0,12", "23"]),
    st.sampled_from(["*", "*", "1", "L", "25-31", "29"]),
    st.sampled_from(["*", "3", "10", "3,10"]),
    st.sampled_from(["*", "*", "SUN", "MON-FRI", "SUN#2"]),
).map(" ".join)
SECONDS = st.sampled_from(["", "0 ", "30 ", "5,55 ", "*/20 "])
ZONES = st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"])
CRONS = st.builds(lambda seconds, fields, tz: Cron(seconds + fields, tz), SECONDS, FIELDS, ZONES)
CHANGES = [
    at_ms(day, "UTC")
    for day in ("2026-03-08", "2026-03-29", "2026-04-05", "2026-10-04", "2026-10-25", "2026-11-01")
]
MOMENTS = st.builds(
    lambda day, seconds: day + seconds * 1000, st.sampled_from(CHANGES), st.integers(-90_000, 90_000)
)
WHENS = CRONS | st.builds(Every, st.integers(100, 10**7), st.integers(0, 99))


@settings(deadline=None)
@given(WHENS, MOMENTS, st.integers(0, 10**8))
def test_the_following_is_the_same_from_wherever_one_looks(when: When, moment_ms: int, later_ms: int) -> None:
    due_ms = when.following(moment_ms)
    assert due_ms is not None
    assert due_ms > moment_ms
    assert when.following(due_ms - 1) == due_ms
    between_ms = min(moment_ms + later_ms, due_ms - 1)
    assert when.following(between_ms) == due_ms


@settings(deadline=None)
@given(WHENS, MOMENTS, st.integers(0, 10**9), st.integers(0, 5))
def test_the_latest_are_the_last_of_all(when: When, moment_ms: int, span_ms: int, count: int) -> None:
    until_ms = moment_ms + min(span_ms, 20_000 * 100 if isinstance(when, Every) else span_ms)
    every_one = []
    for due_ms in when.times(moment_ms):
        if due_ms > until_ms:
            break
        every_one.append(due_ms)
    assert when.latest(moment_ms, until_ms, count) == (every_one[-count:] if count else [])


def test_utc_needs_no_zones() -> None:
    assert cron("0 0 * * *").following(0) == round(datetime(1970, 1, 2, tzinfo=UTC).timestamp() * 1000)
