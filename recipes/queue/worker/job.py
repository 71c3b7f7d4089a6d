"""One attempt, while it runs: on the event loop, in a thread, or in a process; its time, and its end.

What comes of it is one of three: it :class:`Returned`, it :class:`Raised` (a time limit counts as that), or it was
:class:`Stopped` from outside. It is *settled* as soon as that is known, once; and *over* when nothing of it runs
any more. Both are the same moment for what can be interrupted, and they are not for a thread, which nobody can
end: then the attempt is settled without it (another worker may begin the next one), and its slot is free when it is
over.

::

             here (async)              thread                                  process
    limit    cancelled                 context() raises TimeLimit in it        TimeLimit is raised in it
    + kill   settled without it        settled without it: abandoned           killed
    stopped  cancelled                 context() raises Interrupted in it      killed
"""

import inspect
import math
import pickle
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import anyio
import anyio.to_process
import anyio.to_thread
from anyio import BrokenWorkerProcess, CancelScope, get_cancelled_exc_class

from coord.recipes.queue.context import Context, Interrupted
from coord.recipes.queue.errors import TimeLimit
from coord.recipes.queue.worker import process

KILL_AFTER_S: Final = 10.0
"""From the time limit until it is settled without it, unless the task says otherwise."""


class Why(Enum):
    """An attempt was stopped because of this."""

    CANCELLED = "the task was cancelled"
    HANDED_BACK = "the worker stops, and has handed the task back"
    LOST = "the worker has lost its session, and so the task may be another worker's"


@dataclass(frozen=True, slots=True)
class Returned:
    result: bytes
    """JSON."""


@dataclass(frozen=True, slots=True)
class Raised:
    error: BaseException
    traceback: str


@dataclass(frozen=True, slots=True)
class Stopped:
    why: Why


Outcome = Returned | Raised | Stopped


@dataclass(frozen=True, slots=True)
class Pools:
    """Where plain functions run."""

    threads: anyio.CapacityLimiter
    processes: anyio.CapacityLimiter

    @classmethod
    def of(cls, processes: int) -> "Pools":
        # Threads need no bound of their own: slots are theirs. (A thread that was abandoned has its slot still.)
        return cls(anyio.CapacityLimiter(math.inf), anyio.CapacityLimiter(processes))


class Job:
    """One attempt. ``task``: the function's, of the app; ``arguments``, ``inputs``: JSON."""

    __slots__ = (
        "_pools", "_scope", "_why", "arguments", "began", "context", "inputs", "kind", "limit_s", "outcome", "passes",
        "task",
    )  # fmt: skip

    def __init__(
        self,
        task: Any,
        context: Context,
        pools: Pools,
        arguments: bytes,
        passes: Any,
        inputs: list[bytes],
        limit_s: float | None,
    ) -> None:
        self.task = task
        self.context = context
        self.arguments = arguments
        self.passes = passes
        self.inputs = inputs
        self.limit_s = limit_s
        self.kind = kind_of(task)
        self.began = time.monotonic()
        self.outcome: Outcome | None = None
        """Set when it is settled."""
        self._pools = pools
        self._scope: CancelScope | None = None
        self._why: Why | None = None
        if limit_s is not None:
            context.ends_at = self.began + limit_s
        context.interruptible = self.kind == "here"

    @property
    def kill_at(self) -> float:
        """When :meth:`overdue` is to be called, by ``time.monotonic()``."""
        if self.limit_s is None:
            return math.inf
        after = self.task.options.kill_after
        return self.began + self.limit_s + (KILL_AFTER_S if after is None else after)

    # --- from outside ---

    def stop(self, why: Why) -> None:
        """End it, as far as that can be done; only the first reason counts."""
        if self._why is not None or self.outcome is not None:
            return
        self._why = why
        self.context.stop(Interrupted(why.value))
        if self.kind != "thread":
            self.interrupt()
        elif why is not Why.CANCELLED:
            # Its claim is given back, or gone: whatever the thread does is not waited for. Whoever cancels a task
            # would rather see it end, and waits: its keys are free when it is over.
            self._settle(Stopped(why))

    def overdue(self) -> None:
        """It has had its time, and more, and still runs."""
        if self.kind == "process":
            self.interrupt()
            return
        error = TimeLimit(
            f"the time limit of {self.limit_s:g} s has passed, and it went on; it was abandoned"
        )
        self._settle(Stopped(self._why) if self._why is not None else Raised(error, str(error)))

    def interrupt(self) -> None:
        """End what can be ended, and wait no longer for what can't."""
        if self._scope is not None:
            self._scope.cancel()

    def failed_around(self, error: BaseException, raised: Raised | None) -> None:
        """What is around it has raised ``error``; perhaps only what it ``raised`` itself."""
        if not isinstance(self.outcome, Stopped) and (raised is None or error is not raised.error):
            self.outcome = Raised(error, _told(error))

    # --- inside ---

    async def run(self) -> Outcome:
        """To its end. *Cancellation:* as :meth:`interrupt`."""
        limit = self.limit_s if self.kind == "here" else None
        deadline = math.inf if limit is None else anyio.current_time() + limit
        outcome: Outcome | None = None
        with CancelScope(deadline=deadline) as scope:
            self._scope = scope
            if self._why is not None:
                scope.cancel()
            try:
                outcome = Returned(await self._result())
            except _RemoteError as error:
                outcome = Raised(error.error, error.traceback)
            except BaseException as error:  # a task may raise anything, and ends nobody but itself
                if not _own(error, scope):
                    raise
                outcome = Raised(error, _told(error))
        if self._why is not None and not isinstance(outcome, Returned):
            outcome = Stopped(self._why)  # what it raised on its way out is of no interest
        elif outcome is None or (scope.cancel_called and isinstance(outcome, Raised)):
            late = TimeLimit(f"the time limit of {self.limit_s or 0:g} s has passed")
            outcome = Raised(late, outcome.traceback if isinstance(outcome, Raised) else str(late))
        self._settle(outcome)
        return outcome

    def _settle(self, outcome: Outcome) -> None:
        if self.outcome is None:
            self.outcome = outcome

    async def _result(self) -> bytes:
        if self.kind == "process":
            return await self._in_a_process()
        signature = self.task.signature
        bound = signature.decode(self.arguments, self.passes, self.inputs)
        with self.context:
            if self.kind == "here":
                value = await self.task.function(*bound.args, **bound.kwargs)
            else:
                value = await anyio.to_thread.run_sync(
                    _in_a_thread,
                    self.task.function,
                    bound,
                    abandon_on_cancel=True,
                    limiter=self._pools.threads,
                )
        result: bytes = signature.encode_result(value)
        return result

    async def _in_a_process(self) -> bytes:
        function, here = self.task.function, self.context
        order = process.Order(
            function.__module__, function.__qualname__, self.arguments, self.passes, self.inputs, here.inputs,
            here.id, here.queue, here.name, here.attempt, here.token, self.limit_s,
        )  # fmt: skip
        try:
            answer = await anyio.to_process.run_sync(
                process.run, order, cancellable=True, limiter=self._pools.processes
            )
        except BrokenWorkerProcess:
            died = ProcessDied("the process that ran it has died")
            raise _RemoteError(died, f"ProcessDied: {died}\n") from None
        if answer.result is None:
            raise _RemoteError(_exception(answer), answer.traceback)
        here.ops.extend(answer.ops)
        return answer.result


class ProcessDied(Exception):
    """The process of a task with where='process' has ended under it: killed, out of memory, crashed."""


class _RemoteError(Exception):
    """What was raised in another process."""

    def __init__(self, error: BaseException, told: str) -> None:
        self.error = error
        self.traceback = told


def kind_of(task: Any) -> str:
    """Where it runs: "here", "thread" or "process"."""
    if task.options.where == "process":
        return "process"
    return "here" if task.is_async else "thread"


def _in_a_thread(function: Callable[..., Any], bound: inspect.BoundArguments) -> Any:
    return function(*bound.args, **bound.kwargs)


def _exception(answer: process.Answer) -> BaseException:
    if answer.error is not None:
        error = pickle.loads(answer.error)
        if isinstance(error, BaseException):
            return error
    return answer.stand_in or ProcessDied("it raised what can't be told")


def _own(error: BaseException, scope: CancelScope) -> bool:
    """Whether ``error`` is the task's; else it is of whoever ends this worker, or of the scope."""
    group = error if isinstance(error, BaseExceptionGroup) else BaseExceptionGroup("", [error])
    if group.subgroup((KeyboardInterrupt, GeneratorExit)):
        return False
    if group.subgroup(get_cancelled_exc_class()):
        # A task of asyncio's may raise the cancellation of something else that it has waited for.
        return not scope.cancel_called and anyio.current_effective_deadline() > -math.inf
    return True


def _told(error: BaseException) -> str:
    """Its traceback, without the frames that are ours."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__") == __name__:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames))
