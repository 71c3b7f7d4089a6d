"""Whether an attempt is made again, and when."""

from random import Random

import pytest

from coord.client import InvalidRequest
from coord.recipes.queue import Backoff, GiveUp, Retry
from coord.recipes.queue.retry import LONGEST_S, Later, Over

DICE = Random(1)


def test_backoff_doubles_up_to_its_greatest() -> None:
    backoff = Backoff(first_s=1, factor=2, max_s=10, jitter=0)
    assert [backoff.delay_s(n, DICE) for n in (1, 2, 3, 4, 5, 10_000)] == [1, 2, 4, 8, 10, 10]


def test_jitter_takes_away_up_to_its_part() -> None:
    backoff = Backoff(first_s=8, jitter=0.5)
    delays = [backoff.delay_s(1, DICE) for _ in range(300)]
    assert 4 <= min(delays) < 4.5
    assert 7.5 < max(delays) <= 8


def test_times_are_tries_after_the_first() -> None:
    retry = Retry(times=2, backoff=3)
    assert retry.after(OSError(), 1, {"w"}, DICE) == Later(3)
    assert retry.after(OSError(), 2, {"w"}, DICE) == Later(3)
    assert retry.after(OSError(), 3, {"w"}, DICE) == Over("it was tried 3 times")
    assert retry.spent(2, ()) is None
    assert retry.spent(3, ()) is not None  # three workers died of it
    assert isinstance(Retry(times=0).after(OSError(), 1, {"w"}, DICE), Over)


def test_which_errors() -> None:
    retry = Retry(times=5, on=(OSError, KeyError), never=(FileNotFoundError,))
    assert isinstance(retry.after(KeyError(), 1, {"w"}, DICE), Later)
    assert isinstance(retry.after(FileNotFoundError(), 1, {"w"}, DICE), Over)
    assert isinstance(retry.after(ValueError(), 1, {"w"}, DICE), Over)
    assert Retry(on=OSError).on == (OSError,)  # type: ignore[arg-type]
    assert isinstance(Retry(on=()).after(OSError(), 1, {"w"}, DICE), Over)


def test_a_task_that_knows_better() -> None:
    retry = Retry(times=1, on=())
    assert retry.after(Retry.again(30), 1, {"w"}, DICE) == Later(30)
    assert retry.after(Retry.again(1e12), 1, {"w"}, DICE) == Later(LONGEST_S)
    assert retry.after(Retry.again(-1), 1, {"w"}, DICE) == Later(0)
    assert isinstance(retry.after(Retry.again(), 1, {"w"}, DICE), Later)
    assert isinstance(retry.after(Retry.again(30), 2, {"w"}, DICE), Over)
    assert retry.after(GiveUp("no such user"), 1, {"w"}, DICE) == Over("no such user")


def test_on_so_many_workers() -> None:
    retry = Retry(times=1, workers=2)
    assert isinstance(retry.after(OSError(), 2, {"a"}, DICE), Later)
    assert retry.spent(2, {"a"}) is None  # as `after` has said
    assert isinstance(retry.after(OSError(), 3, {"a", "b"}, DICE), Over)
    assert isinstance(retry.after(OSError(), 5, {"a"}, DICE), Later)
    assert isinstance(retry.after(OSError(), 6, {"a"}, DICE), Over)  # there is only one


@pytest.mark.parametrize(
    "arguments",
    [
        {"times": -1},
        {"times": True},
        {"times": 1.5},
        {"workers": 2_000},
        {"on": "OSError"},
        {"never": (3,)},
        {"backoff": "1s"},
        {"backoff": -1},
        {"backoff": float("nan")},
    ],
)
def test_what_cannot_be(arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        Retry(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "arguments", [{"first_s": 5, "max_s": 1}, {"factor": 0.5}, {"jitter": 2}, {"max_s": 1e9}]
)
def test_what_is_no_backoff(arguments: dict[str, float]) -> None:
    with pytest.raises(InvalidRequest):
        Backoff(**arguments)
