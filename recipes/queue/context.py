"""What a task can know and say while it runs: ``context()``.

::

    from coord.recipes.queue import context

    @app.task(time_limit=30)
    async def copy(source: str) -> int:
        here = context()
        print(here.id, here.attempt, here.token, here.remaining())
        here.progress({"copied": 1})  # for whoever watches
        here.once(Set("/copies", b"1"))  # is done if, and only if, this very attempt completes
        ...

It is of the task that calls it, also in a thread that the worker runs a plain function in. A plain function can't be
interrupted from outside: so each call of ``context()`` in one is where it hears that its time is over
(:class:`~coord.recipes.queue.errors.TimeLimit`), that somebody has cancelled it (:class:`Interrupted`), or that the
worker has lost it (likewise).
"""

import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from math import inf
from types import TracebackType
from typing import Any, Final, Self

from coord.client import InvalidRequest
from coord.client import Token as FencingToken
from coord.recipes.queue.errors import TimeLimit

_current: Final[ContextVar["Context | None"]] = ContextVar("coord.recipes.queue.context", default=None)

ONCE_MAX: Final = 200
"""Ops of one completion that are the task's own."""


class Interrupted(Exception):
    """There is no use in going on: the task was cancelled, handed back or lost. What it returns is not looked at."""


@dataclass
class Context:
    """One attempt of one task, as it is seen from inside. Any thread may use it."""

    id: str
    queue: str
    name: str
    """Of the function: ``"send"``."""
    attempt: int
    """1 for the first. Attempts whose worker died are counted."""
    token: FencingToken
    """Greater for each later attempt of this task: a resource that refuses lower ones than it has seen is safe from
    workers that were given up for dead."""
    inputs: Sequence[Any] = ()
    """What the tasks returned that this one comes after, in their order."""
    ends_at: float = inf
    """When its time is over, by ``time.monotonic()``."""
    report: Callable[[Any], None] | None = None
    """Who hears of progress."""
    ops: list[Any] = field(default_factory=list)
    """What :meth:`once` was given."""
    stopped: Exception | None = None
    """What every later look raises."""
    interruptible: bool = False
    """A coroutine is cancelled by other means, and so is told nothing here."""

    @property
    def idempotency_key(self) -> str:
        """The same for all attempts of this task, and for no other task: for services that take one."""
        return self.id

    def remaining(self) -> float:
        """Seconds until its time limit; ``inf`` without one."""
        return max(self.ends_at - time.monotonic(), 0.0)

    def check(self) -> None:
        """Raise :class:`TimeLimit` or :class:`Interrupted`, if a plain function should end."""
        if self.interruptible:
            return
        if self.stopped is not None:
            raise self.stopped
        if time.monotonic() >= self.ends_at:
            raise TimeLimit("the time limit of this task has passed")

    def progress(self, value: Any) -> None:
        """Report how far it is: what JSON can say. Returns at once; of many in quick succession the last is shown."""
        self.check()
        if self.report is None:
            raise InvalidRequest(
                "a task with where='process' can't report its progress: it is not connected; run it in a thread"
            )
        self.report(value)

    def once(self, *ops: Any) -> None:
        """Do this (``Create``, ``Set``, ``Delete`` and so on of :mod:`coord.client`) in the very step in which this
        attempt completes: exactly once, whatever becomes of workers. If it fails, or is refused because the task is
        another worker's by now, nothing of it is done. An op that the service refuses fails the attempt.
        """
        self.check()
        for op in ops:
            if not hasattr(op, "row"):
                raise InvalidRequest(f"once() takes ops, as Set('/a', b'1') of coord.client, not {op!r:.60}")
        if len(self.ops) + len(ops) > ONCE_MAX:
            raise InvalidRequest(f"once() takes at most {ONCE_MAX} ops for one task")
        self.ops.extend(ops)

    # --- for whoever runs it ---

    def stop(self, why: Exception) -> None:
        """From now on every look raises ``why``; the first one stays."""
        if self.stopped is None:
            self.stopped = why

    def __enter__(self) -> Self:
        """Be what ``context()`` returns."""
        self._before: Token[Context | None] = _current.set(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _current.reset(self._before)


def context() -> Context:
    """Of the task that calls it. Raises :class:`InvalidRequest` outside of one; in a plain function
    :class:`TimeLimit` or :class:`Interrupted`, when it should end.
    """
    found = _current.get()
    if found is None:
        raise InvalidRequest("context() is for the inside of a task that a worker runs")
    found.check()
    return found
