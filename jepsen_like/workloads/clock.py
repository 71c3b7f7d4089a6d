"""A client's own clock: float seconds, as its core wants them, beside the nanoseconds of the history."""

from math import floor, inf
from typing import Final

NEVER_NS: Final = 1 << 63

SLACK_NS: Final = 1_000
"""A wake-up is late by so much, lest rounding make it too early and so happen again at once."""


class Clock:
    """Counts from the driver's start, so that the seconds are small and exact to well below a nanosecond."""

    def __init__(self, start_ns: int, rate: float) -> None:
        self._start_ns = start_ns
        self._rate = rate

    def seconds(self, at_ns: int) -> float:
        return (at_ns - self._start_ns) / 1e9 * self._rate

    def not_after_ns(self, seconds: float) -> int:
        """An instant of the history, less than two nanoseconds before."""
        return self._start_ns + floor(seconds / self._rate * 1e9) - 1

    def wake_ns(self, seconds: float) -> int:
        """An instant at which ``seconds`` have surely passed."""
        return NEVER_NS if seconds == inf else self.not_after_ns(seconds) + SLACK_NS
