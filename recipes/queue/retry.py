"""Whether, and when, a task that failed is tried again. Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from random import Random

from coord.client import InvalidRequest
from coord.recipes.queue.errors import Again, GiveUp

Errors = tuple[type[BaseException], ...]

LONGEST_S = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long until the next attempt: ``first_s``, and ``factor`` times as long after each further one, up to
    ``max_s``; less up to ``jitter`` of it, by chance: so what failed together does not come again together.
    """

    first_s: float = 1.0
    factor: float = 2.0
    max_s: float = 3_600.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        numbers = (self.first_s, self.factor, self.max_s, self.jitter)
        if any(isinstance(each, bool) or not isinstance(each, int | float) for each in numbers):
            raise InvalidRequest(f"a backoff is made of numbers, not {self!r:.120}")
        if not (0 <= self.first_s <= self.max_s <= LONGEST_S and self.factor >= 1 and 0 <= self.jitter <= 1):
            raise InvalidRequest(
                f"a backoff has 0 <= first_s <= max_s <= {LONGEST_S:.0f} (30 days), factor >= 1 and jitter from 0 to "
                f"1, not {self!r:.120}"
            )

    def delay_s(self, attempt: int, dice: Random) -> float:
        """After the attempt of this number, from 1."""
        # The exponent is bounded: 2.0 ** 1024 is an OverflowError.
        whole: float = min(self.first_s * self.factor ** min(attempt - 1, 300), self.max_s)
        return whole * (1 - self.jitter * dice.random())


@dataclass(frozen=True, slots=True)
class Over:
    """It is not tried again."""

    why: str


@dataclass(frozen=True, slots=True)
class Later:
    """It is tried again after so many seconds."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Retry:
    """A task that fails is tried again up to ``times`` times, so run ``times + 1`` times at most; then it is a dead
    letter.

    ``backoff``: how long in between; a number is that many seconds, each time. ``on``: which exceptions are worth
    trying again; others end it at once; so do those in ``never``. ``workers``: give up only after it has failed on so
    many of them, as the first ones may be broken; it is tried three times as often at most.

    An attempt whose worker died, or was cut off, counts like one that raised: a task that kills its workers ends, too.
    """

    times: int = 3
    backoff: Backoff | float = Backoff()
    on: Errors = (Exception,)
    never: Errors = ()
    workers: int = 1

    def __post_init__(self) -> None:
        for name in ("times", "workers"):
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= 1_000:
                raise InvalidRequest(f"Retry.{name} is a whole number from 0 to 1000, not {number!r:.40}")
        for name in ("on", "never"):
            errors = getattr(self, name)
            if isinstance(errors, type):
                errors = (errors,)
                object.__setattr__(self, name, errors)
            if not isinstance(errors, tuple) or not all(
                isinstance(each, type) and issubclass(each, BaseException) for each in errors
            ):
                raise InvalidRequest(
                    f"Retry.{name} is a tuple of exceptions, like (OSError,), not {errors!r:.60}"
                )
        if not isinstance(self.backoff, Backoff):
            object.__setattr__(self, "backoff", _constant(self.backoff))

    @staticmethod
    def again(in_s: float | None = None, why: str = "") -> Again:
        """For a task that knows better: ``raise Retry.again(30)``."""
        return Again(in_s, why)

    def after(
        self, error: BaseException, attempt: int, workers: Collection[str], dice: Random
    ) -> Later | Over:
        """What becomes of a task whose attempt of this number, from 1, has raised ``error``; ``workers``: all on
        which it has failed, this one included.
        """
        if isinstance(error, GiveUp):
            return Over(str(error) or "the task gave up")
        asked = error.in_s if isinstance(error, Again) else None
        if not isinstance(error, Again) and (not isinstance(error, self.on) or isinstance(error, self.never)):
            return Over(f"{type(error).__name__} is not to be tried again")
        over = self.spent(attempt, workers)
        if over is not None:
            return over
        return Later(
            min(max(asked, 0.0), LONGEST_S) if asked is not None else self._backoff.delay_s(attempt, dice)
        )

    def spent(self, attempts: int, workers: Collection[str]) -> Over | None:
        """Why there is none after so many attempts, which failed on these ``workers``; ``None``: there is. Also asked
        before an attempt begins: those before it may all have taken their workers along, and nobody has asked.
        """
        if attempts <= self.times:
            return None
        if max(len(set(workers)), 1) < self.workers and attempts < 3 * (self.times + 1):
            return None
        return Over(f"it was tried {attempts} times")

    @property
    def _backoff(self) -> Backoff:
        if not isinstance(self.backoff, Backoff):
            raise TypeError("__post_init__ has made it one")
        return self.backoff


NEVER_AGAIN = Retry(times=0)


def _constant(seconds: object) -> Backoff:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InvalidRequest(f"Retry.backoff is a Backoff, or a number of seconds, not {seconds!r:.60}")
    return Backoff(first_s=seconds, factor=1.0, max_s=max(float(seconds), 0.0), jitter=0.0)
