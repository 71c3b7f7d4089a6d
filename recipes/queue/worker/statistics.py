"""What a worker counts."""

from dataclasses import dataclass, field
from math import frexp
from typing import Final

BUCKETS: Final = 64
SMALLEST_S: Final = 2.0**-14
"""61 µs. Each bucket reaches to 1.41 times the one before; the last to two days."""


class Durations:
    """How long something took: counted in buckets, so a bound on memory, and at most a fifth of error."""

    __slots__ = ("_counts", "count", "total_s")

    def __init__(self) -> None:
        self._counts = [0] * BUCKETS
        self.count = 0
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        seconds = max(seconds, 0.0)
        mantissa, exponent = frexp(seconds / SMALLEST_S)  # 0.5 <= mantissa < 1
        bucket = 2 * exponent + (mantissa >= 0.70710678)
        self._counts[min(max(bucket, 0), BUCKETS - 1)] += 1
        self.count += 1
        self.total_s += seconds

    def share(self, share: float) -> float:
        """Seconds that this share of them (0.5: the median) did not exceed, to within a bucket; 0: there are none."""
        wanted, seen = share * self.count, 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return SMALLEST_S * float(2.0 ** (bucket / 2 - 0.75))  # its middle
        return 0.0


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of one worker since it began. ``statistics()`` returns a copy."""

    running: int
    """Slots that are taken; with ends that are being reported, and threads that were abandoned."""
    abandoned: int
    begun: int
    """Attempts."""
    succeeded: int
    failed: int
    """Dead letters."""
    retried: int
    cancelled: int
    expired: int
    skipped: int
    lost: int
    """Attempts whose end was refused, as the task was not this worker's any more."""
    handed_back: int
    set_aside: int
    """Tasks that this worker could not run: unknown, or no tasks at all."""
    wait_p50_s: float
    """From enqueueing to the first attempt, by the wall clocks of two machines; with the task's own delay."""
    wait_p99_s: float
    run_p50_s: float
    """Of an attempt."""
    run_p99_s: float
    run_total_s: float


@dataclass(slots=True)
class Counters:
    """What is counted; see :class:`Statistics`."""

    begun: int = 0
    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    cancelled: int = 0
    expired: int = 0
    skipped: int = 0
    lost: int = 0
    handed_back: int = 0
    set_aside: int = 0
    waits: Durations = field(default_factory=Durations)
    runs: Durations = field(default_factory=Durations)

    def count(self, what: str) -> None:
        setattr(self, what, getattr(self, what) + 1)

    def statistics(self, running: int, abandoned: int) -> Statistics:
        return Statistics(
            running,
            abandoned,
            self.begun,
            self.succeeded,
            self.failed,
            self.retried,
            self.cancelled,
            self.expired,
            self.skipped,
            self.lost,
            self.handed_back,
            self.set_aside,
            self.waits.share(0.5),
            self.waits.share(0.99),
            self.runs.share(0.5),
            self.runs.share(0.99),
            self.runs.total_s,
        )
