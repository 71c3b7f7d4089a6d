"""What can be said of a task besides its arguments: where its function is defined, and for one call of it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, Literal

from coord.client import InvalidRequest
from coord.recipes.queue.layout import PRIORITIES, checked_needs, checked_queue, key_name
from coord.recipes.queue.record import KEEP_MS, On
from coord.recipes.queue.retry import Retry

if TYPE_CHECKING:
    from coord.recipes.queue.task import Task

Where = Literal["here", "thread", "process"]
Until = Literal["begun", "ended"]

DAY_S: Final = 86_400.0
LONGEST_S: Final = 3_650 * DAY_S
LANES_MAX: Final = 4
AFTER_MAX: Final = 100
"""Tasks that one may come after that were enqueued before it; those of one workflow have its own bound."""


@dataclass(frozen=True, slots=True)
class Concurrency:
    """Of all tasks with this ``key``, in whatever queue of whatever app, at most ``limit`` run at a time."""

    key: str
    limit: int = 1

    def __post_init__(self) -> None:
        key_name(self.key)
        _whole(self.limit, 1, "Concurrency.limit")

    def lane(self) -> tuple[str, int, int, int]:
        return (f"c:{self.key}", self.limit, 0, 1)


@dataclass(frozen=True, slots=True)
class Rate:
    """Of all tasks with this ``key``, in whatever queue of whatever app, at most ``per_second`` (or ``per_minute``,
    ``per_hour``) begin in that time, evenly; after a pause, ``burst`` at once.
    """

    key: str
    per_second: float | None = None
    per_minute: float | None = None
    per_hour: float | None = None
    burst: int = 1

    def __post_init__(self) -> None:
        key_name(self.key)
        _whole(self.burst, 1, "Rate.burst")
        self.lane()

    def lane(self) -> tuple[str, int, int, int]:
        said = [
            (each, seconds)
            for each, seconds in ((self.per_second, 1), (self.per_minute, 60), (self.per_hour, 3_600))
            if each is not None
        ]
        if len(said) != 1:
            raise InvalidRequest("a Rate says one of per_second, per_minute and per_hour")
        number, seconds = said[0]
        if isinstance(number, bool) or not isinstance(number, int | float) or not number > 0:
            raise InvalidRequest(f"a Rate is a number above 0, not {number!r:.40}")
        interval_ms = round(1_000 * seconds / number)
        if not 1 <= interval_ms <= 1_000 * DAY_S:
            raise InvalidRequest(
                f"a Rate is 1000 in a second at most, and one in a day at least, not {self!r:.120}"
            )
        return (f"r:{self.key}", 0, interval_ms, self.burst)


@dataclass(frozen=True, slots=True)
class Unique:
    """There is no second task with this ``key`` in its queue: whoever enqueues one is given the first.

    Until the first has ``ended`` (whether well or not), or until it has ``begun``, or ``for_s`` seconds from when it
    was enqueued.
    """

    key: str
    until: Until = "ended"
    for_s: float | None = None

    def __post_init__(self) -> None:
        key_name(self.key)
        if self.until not in ("ended", "begun"):
            raise InvalidRequest(f"Unique.until is 'ended' or 'begun', not {self.until!r:.40}")
        if self.for_s is not None:
            seconds_of(self.for_s, "Unique.for_s", least=0.001)


@dataclass(frozen=True, slots=True)
class Options:
    """All of them, checked. ``None``: not said."""

    queue: str = "default"
    priority: int = 5
    """0 is first, 9 is last."""
    needs: frozenset[str] = frozenset()
    """Capabilities: only workers that have them all run it."""
    retry: Retry = field(default_factory=Retry)
    times: int | None = None
    """Instead of ``retry.times``."""
    time_limit: float | None = None
    """Seconds, for one attempt."""
    kill_after: float | None = None
    """Seconds after the time limit until it is abandoned (a thread) or killed (a process)."""
    keep: float = KEEP_MS / 1_000
    """Seconds for which its result is kept; 0: it has none."""
    where: Where = "here"
    """A plain function runs in a thread, or in a process of its own pool; an async one ``here``, on the event loop."""
    delay: float = 0.0
    """Seconds, by the service's clock, before it can begin; counted from when the last is done that it comes after."""
    deadline: float | None = None
    """Seconds from now within which it must have begun; else it expires."""
    unique: Unique | None = None
    same: str | None = None
    """An idempotency key: who enqueues with the same one again is given the task of the first time."""
    same_for: float = DAY_S
    concurrency: tuple[Concurrency, ...] = ()
    rate: tuple[Rate, ...] = ()
    after: "tuple[Task[Any], ...]" = ()
    on: On = "success"
    """When a task that this one comes after does not succeed: ``success``: this one is skipped; ``finish``: it runs."""
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        put = object.__setattr__
        checked_queue(self.queue)
        if isinstance(self.priority, bool) or self.priority not in range(PRIORITIES):
            raise InvalidRequest(
                f"a priority is a whole number from 0 (first) to 9, not {self.priority!r:.40}"
            )
        put(self, "needs", checked_needs(self.needs))
        _optional(self.retry or 0, Retry, "retry")
        if self.times is not None:
            replace(self.retry, times=self.times)  # checks it
        for name in ("time_limit", "kill_after", "deadline"):
            if getattr(self, name) is not None:
                put(self, name, seconds_of(getattr(self, name), name, least=0.001))
        for name in ("keep", "delay"):
            put(self, name, seconds_of(getattr(self, name), name))
        put(self, "same_for", seconds_of(self.same_for, "same_for", least=0.001))
        if self.where not in ("here", "thread", "process"):
            raise InvalidRequest(f"where is 'here', 'thread' or 'process', not {self.where!r:.40}")
        _optional(self.unique, Unique, "unique")
        if self.same is not None:
            key_name(self.same)
        put(self, "concurrency", _several(self.concurrency, Concurrency, "concurrency"))
        put(self, "rate", _several(self.rate, Rate, "rate"))
        if len({lane[0] for lane in self.lanes}) != len(self.lanes) or len(self.lanes) > LANES_MAX:
            raise InvalidRequest(
                f"a task has {LANES_MAX} keys of concurrency and rate at most, and each once"
            )
        after = tuple(self.after) if isinstance(self.after, Sequence) else (self.after,)
        if len(after) > AFTER_MAX:
            raise InvalidRequest(f"a task comes after {AFTER_MAX} others at most, not {len(after)}")
        put(self, "after", after)
        if self.on not in ("success", "finish"):
            raise InvalidRequest(f"on is 'success' or 'finish', not {self.on!r:.40}")
        if not isinstance(self.headers, dict) or not all(
            isinstance(each, str) for pair in self.headers.items() for each in pair
        ):
            raise InvalidRequest("headers are a dict of texts")

    @property
    def lanes(self) -> tuple[tuple[str, int, int, int], ...]:
        """As :class:`coord.client.Lane` has them."""
        return (*[each.lane() for each in self.concurrency], *[each.lane() for each in self.rate])

    def with_(self, said: dict[str, Any]) -> "Options":
        """These, with others in their place."""
        unknown = sorted(said.keys() - NAMES)
        if unknown:
            raise InvalidRequest(
                f"a task has no option {unknown[0]!r:.60}; it has {', '.join(sorted(NAMES))}"
            )
        if isinstance(said.get("unique"), str):
            said = {**said, "unique": Unique(said["unique"])}
        return replace(self, **said)


NAMES: Final = frozenset([each.name for each in fields(Options)])

AT_CALL: Final = frozenset(
    {
        "queue", "priority", "needs", "times", "time_limit", "keep", "delay", "deadline", "unique", "same", "same_for",
        "concurrency", "rate", "after", "on", "headers",
    }
)  # fmt: skip
"""What a call can say. The rest is the function's: it decides on the worker, when the task runs."""


def seconds_of(value: object, what: str, least: float = 0.0) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise InvalidRequest(f"{what} is a number of seconds, not {value!r:.60}")
    if not least <= value <= LONGEST_S:
        raise InvalidRequest(
            f"{what} is from {least:g} seconds to {LONGEST_S:.0f} (ten years), not {value:g}"
        )
    return float(value)


def _whole(number: object, least: int, what: str) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= 1_000_000:
        raise InvalidRequest(f"{what} is a whole number from {least} to 1000000, not {number!r:.40}")


def _optional(given: object, kind: type[Any], what: str) -> None:
    if given is not None and not isinstance(given, kind):
        raise InvalidRequest(f"{what} is a {kind.__name__}, not {given!r:.60}")


def _several(given: Any, kind: type[Any], what: str) -> tuple[Any, ...]:
    """One, or several of them, as a tuple."""
    found = (given,) if isinstance(given, kind) else tuple(given) if isinstance(given, list | tuple) else None
    if found is None or not all(isinstance(each, kind) for each in found):
        raise InvalidRequest(f"{what} is a {kind.__name__}, or several, not {given!r:.60}")
    return found
