"""When something is due, again and again: cron expressions in a time zone, and intervals. Pure.

::

    cron("0 3 * * *", tz="Europe/Berlin")     # each night at three, there
    cron("*/15 9-17 * * MON-FRI")             # UTC, where no zone is said
    cron("*/10 * * * * *")                    # six fields: the first is seconds
    cron("@hourly")
    every(300)                                # seconds; at whole multiples since 1970 (UTC)

Expressions are read as Debian's cron reads them, by the library cronsim: names (``MON``, ``JAN``), lists, ranges,
steps; ``L`` (the last day), ``LW`` (the last working day), ``FRI#2`` (the second Friday), ``5L`` (the last Friday).
Where both day fields are given, either is enough, unless one of them begins with ``*``.

*When clocks are changed.* A time of day that is skipped is due right after the gap, and one that comes twice is due
the first time: a nightly job runs each night, once. An expression whose minute or hour begins with ``*`` says how
often, and not at what time: it goes by the time that really passes. This is Debian's cron, too.

Times are milliseconds since 1970 (UTC) in here, as whole numbers: a tick's time is compared with those of other
processes, and must be the very same there.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from math import inf
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from coord.client import InvalidRequest

EVERY_MIN_MS: Final = 100
"""A tick is a write, and a task: what is to happen more often is a loop in one task."""
EVERY_MAX_S: Final = 10.0 * 366 * 86_400

EXPRESSION_MAX: Final = 200
"""Characters."""

MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_SOME_DAY: Final = datetime(2024, 1, 1, tzinfo=UTC)
_HOUR_MS: Final = 3_600_000
_SPANS_MS: Final = (_HOUR_MS, *(days * 24 * _HOUR_MS for days in (1, 8, 63, 370, 1_500, 12_000)))
"""How far back :meth:`When.latest` looks: an hour, a day, …, 33 years."""


class When:
    """What both have in common. ``following(t) > t``, and ``following`` never falls where ``t`` rises."""

    def following(self, after_ms: int) -> int | None:
        """The first time after ``after_ms``; ``None``: there is none within 50 years."""
        return next(self.times(after_ms), None)

    def times(self, after_ms: int) -> Iterator[int]:
        """All times after ``after_ms``, in order."""
        raise NotImplementedError

    def latest(self, since_ms: int, until_ms: int, count: int) -> list[int]:
        """The last ``count`` times in ``(since_ms, until_ms]``, in order; fewer where there are not so many.

        It looks forward from further and further back, and never backward: which times there are must not depend on
        the direction they are looked for in.
        """
        for span_ms in _SPANS_MS:
            start_ms = max(since_ms, until_ms - span_ms)
            found = deque(self._until(start_ms, until_ms), count)
            if len(found) == count or start_ms == since_ms:
                break
        return list(found)

    def _until(self, after_ms: int, until_ms: int) -> Iterator[int]:
        for due_ms in self.times(after_ms):
            if due_ms > until_ms:
                return
            yield due_ms

    def to_json(self) -> dict[str, Any]:
        """What stands in the tree; :func:`when_from_json` reads it."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Every(When):
    """Every so many seconds. ``offset_ms < every_ms``: so long after the whole multiples."""

    every_ms: int
    offset_ms: int = 0

    def times(self, after_ms: int) -> Iterator[int]:
        due_ms = ((after_ms - self.offset_ms) // self.every_ms + 1) * self.every_ms + self.offset_ms
        while True:
            yield due_ms
            due_ms += self.every_ms

    def latest(self, since_ms: int, until_ms: int, count: int) -> list[int]:
        last_ms = (until_ms - self.offset_ms) // self.every_ms * self.every_ms + self.offset_ms
        found = range(last_ms, since_ms, -self.every_ms)[:count]
        return list(reversed(found))

    def to_json(self) -> dict[str, Any]:
        return {"every_ms": self.every_ms, "offset_ms": self.offset_ms}

    def __str__(self) -> str:
        offset = f", {self.offset_ms / 1000:g} s later" if self.offset_ms else ""
        return f"every {self.every_ms / 1000:g} s{offset}"


@dataclass(frozen=True, slots=True)
class Cron(When):
    """By an expression, in a time zone. Made by :func:`cron`, which checks them."""

    expression: str
    tz: str = "UTC"
    _parsed: "_Parsed" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_parsed", _parsed(self.expression, self.tz))

    def times(self, after_ms: int) -> Iterator[int]:
        minutes, zone, seconds = self._parsed
        # The minute that `after_ms` lies in may have seconds left. The library's minutes come once more where clocks go
        # back (02:30, asked for at the second 02:10, is told as the first 02:30): what is not later is passed over.
        start = datetime.fromtimestamp(after_ms // 60_000 * 60 - 1, zone)
        last_ms = after_ms
        for minute in CronSim(minutes, start):
            minute_ms = round(minute.timestamp()) * 1000
            for second in seconds:
                due_ms = minute_ms + second * 1000
                if due_ms > last_ms:
                    last_ms = due_ms
                    yield due_ms

    def to_json(self) -> dict[str, Any]:
        return {"cron": self.expression, "tz": self.tz}

    def __str__(self) -> str:
        return f"{self.expression} ({self.tz})"


_Parsed = tuple[str, tzinfo, tuple[int, ...]]
"""The expression's five fields, the zone, the seconds in each minute."""


@lru_cache(maxsize=1000)
def _parsed(expression: str, tz: str) -> _Parsed:
    if not isinstance(expression, str) or len(expression) > EXPRESSION_MAX:
        raise InvalidRequest(f"a cron expression is text of at most {EXPRESSION_MAX} characters")
    fields = MACROS.get(expression.strip().lower(), expression).split()
    if len(fields) not in (5, 6):
        raise InvalidRequest(
            f"a cron expression has 5 fields (minute hour day month weekday), or 6 with seconds first, or is one of "
            f"{', '.join(MACROS)}; not {expression!r:.80}"
        )
    try:
        whole = CronSim(" ".join(fields), _SOME_DAY)
        never = next(whole, None) is None
    except CronSimError as error:
        raise InvalidRequest(f"the cron expression {expression!r:.80} cannot be read: {error}") from None
    if never:
        raise InvalidRequest(f"the cron expression {expression!r:.80} never comes true")
    # Seconds are ours, so that an expression with them goes by the same rules when clocks are changed: the library has
    # none for such.
    return " ".join(fields[-5:]), _zone(tz), tuple(sorted(whole.seconds))


def _zone(tz: str) -> tzinfo:
    if tz == "UTC":
        return UTC  # also where no zones are installed
    try:
        return ZoneInfo(tz)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise InvalidRequest(
            f"there is no time zone {tz!r:.60}: names are such as Europe/Berlin or UTC (and need the package tzdata "
            "where the system has none)"
        ) from None


def cron(expression: str, *, tz: str = "UTC") -> Cron:
    """Times by a cron expression of 5 fields, or 6 with seconds first. Raises
    :class:`~coord.client.InvalidRequest` (refused) for one that cannot be read, or never comes true.
    """
    return Cron(expression, tz)


def every(seconds: float, *, offset: float = 0.0) -> Every:
    """Every so many seconds (at least 0.1), at whole multiples since 1970 (UTC), ``offset`` seconds later.

    Raises :class:`~coord.client.InvalidRequest` (refused).
    """
    every_ms = _milliseconds(seconds, "an interval")
    offset_ms = _milliseconds(offset, "an offset")
    if every_ms < EVERY_MIN_MS:
        raise InvalidRequest(f"an interval is at least {EVERY_MIN_MS / 1000:g} s, not {seconds!r:.40}")
    if not offset_ms < every_ms:
        raise InvalidRequest(f"the offset of an interval is less than the interval, not {offset!r:.40}")
    return Every(every_ms, offset_ms)


def _milliseconds(seconds: float, what: str) -> int:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < inf:
        raise InvalidRequest(f"{what} is a number of seconds, not {seconds!r:.40}")
    if seconds > EVERY_MAX_S:
        raise InvalidRequest(f"{what} is at most {EVERY_MAX_S:g} s, not {seconds!r:.40}")
    return round(seconds * 1000)


def when_from_json(value: Any) -> When:
    """What :meth:`When.to_json` made. Raises :class:`~coord.client.InvalidRequest` (refused): what stands in the tree
    may be anybody's.
    """
    match value:
        case {"cron": str(expression), "tz": str(tz)}:
            return cron(expression, tz=tz)
        case {"every_ms": int(every_ms), "offset_ms": int(offset_ms)}:
            return every(every_ms / 1000, offset=offset_ms / 1000)
    raise InvalidRequest(f"this does not say when something is due: {value!r:.80}")
