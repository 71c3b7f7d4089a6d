"""One attempt of one task, from its grant to the answer that it has ended.

::

    grant ─▶ is it ours to run? ──▶ its inputs are read ─▶ job runs ─▶ settled ─▶ plan ─▶ answered
               │ cancelled, spent,        (if it has any)                │          ▲        │ changed: plan again
               │ expired, skipped ───────────────────────────────────────┼──────────┘
               └ unknown: set aside                                      └ over: nothing of it runs any more

The slot is taken until it is answered *and* over. The two come in either order: the end of a thread that was abandoned
is reported long before it is over.
"""

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Any, Final, TypeAlias

import anyio.from_thread

from coord.client import Client, CoordError, Grant, HoldBack, NotFound, Release, Token
from coord.recipes.queue import record as records
from coord.recipes.queue.app import App, TaskFunction
from coord.recipes.queue.context import Context
from coord.recipes.queue.ending import end, retry
from coord.recipes.queue.enqueueing import NoFolders, make_folders
from coord.recipes.queue.errors import TooLarge
from coord.recipes.queue.plan import Op, Plan, is_claimed_by
from coord.recipes.queue.record import VERSION, Ended, Failure, TaskRecord
from coord.recipes.queue.record import Outcome as End
from coord.recipes.queue.retry import Over
from coord.recipes.queue.running import Changed, Done, Lost, Running
from coord.recipes.queue.signature import BadArguments
from coord.recipes.queue.worker.completing import Completer
from coord.recipes.queue.worker.job import Job, Pools, Raised, Returned, Stopped, Why
from coord.recipes.queue.worker.progress import Progress, encode
from coord.recipes.queue.worker.statistics import Counters

log = logging.getLogger("coord.worker")

UNKNOWN_HOLD_MS: Final = 30_000
"""For how long a task is held back that no function of this worker is for: others may have newer code."""

Around: TypeAlias = Callable[[Context], AbstractAsyncContextManager[Any]]
"""Entered around each attempt, on the event loop: what is before its ``yield`` happens before the task, what is behind
it after; a task that fails is an exception there. It may raise another one, or one of its own: then that counts."""


class LostWithWorkers(Exception):
    """All attempts of a task ended with the death of their worker (or its being cut off); perhaps because of it."""


@dataclass
class Shop:
    """What all attempts of one worker share."""

    client: Client
    app: App
    name: str
    pools: Pools
    completer: Completer
    progress: Progress
    counters: Counters
    began: Callable[["Attempt"], None]
    """An attempt's job begins."""
    changed: Callable[[], None]
    """The end of one was answered."""
    finished: Callable[["Attempt"], None]
    """Its slot is free."""
    around: Sequence[Around] = ()
    # It only spreads retries over time; nothing is decided by it.
    dice: Random = field(default_factory=Random)


class Attempt:
    """Runs one task. It raises nothing."""

    def __init__(
        self,
        shop: Shop,
        running: Running,
        token: Token,
        task: TaskFunction[..., Any],
    ) -> None:
        self.running = running
        self.task = task
        self.began = time.monotonic()
        self.began_ms = round(time.time() * 1000)
        self.job: Job | None = None
        self.stopped: Why | None = None
        self.reported = False
        """Its end is on its way, or there is none to report."""
        self.answered = False
        self.over = False
        self._shop = shop
        self._token = token
        self._made_folders = False
        shop.counters.begun += 1
        if running.attempt == 1:
            shop.counters.waits.add((self.began_ms - running.record.at_ms) / 1000)

    @property
    def record(self) -> TaskRecord:
        return self.running.record

    @property
    def abandoned(self) -> bool:
        """Its end was reported, and it still runs."""
        return self.answered and not self.over

    @property
    def kill_at(self) -> float:
        """When it is :meth:`overdue`, by ``time.monotonic()``."""
        return math.inf if self.job is None or self.reported else self.job.kill_at

    def __str__(self) -> str:
        return f"{self.record.task} {self.running.id} (attempt {self.running.attempt})"

    # --- from outside ---

    def stop(self, why: Why) -> None:
        """End it. Only the first reason counts; but that it is lost always does."""
        if self.reported and why is not Why.LOST:
            return
        if self.stopped is None:
            self.stopped = why
        if self.job is not None:
            self.job.stop(why)
            self._report_if_settled()

    def overdue(self) -> None:
        if self.job is not None:
            self.job.overdue()
            self._report_if_settled()

    def interrupt(self) -> None:
        """Wait no longer for what can't be ended."""
        if self.job is not None:
            self.job.interrupt()

    # --- its life ---

    async def run(self) -> None:
        """To its end. *Cancellation:* it is handed back."""
        try:
            await self._run()
        except CoordError as error:
            # Reading its inputs has failed: with the session, which is told elsewhere, or the tree is not as it was.
            log.warning("%s is handed back: %s", self, error)
            self._hand_back()
        finally:
            if not self.reported:
                self._hand_back()
            self.over = True
            self._finish_if_free()

    async def _run(self) -> None:
        running, record = self.running, self.record
        before = running.attempt - 1
        if before and (over := self._retry_rules().spent(before, record.workers)) is not None:
            error = LostWithWorkers(f"{running.lost} of {before} attempts ended with their worker's death")
            self._end("failed", failure=Failure.of(error), why=over.why)
            return
        inputs: list[Ended] = []
        if record.begin_by and not await self._is_in_time():
            self._end("expired", why="it had not begun by its deadline")
            return
        if record.after:
            inputs = await self._inputs()
            failed = next((each for each in inputs if not each.succeeded), None)
            if len(inputs) < record.after and failed is None:
                log.error("%s has %d of %d inputs; it is handed back", self, len(inputs), record.after)
                self._set_aside(None)
                return
            if failed is not None and record.on == "success":
                self._end(
                    "skipped", why=f"a task that it comes after, {failed.task}, ended as {failed.outcome}"
                )
                return
        if self.stopped is not None:
            self._stopped(self.stopped)
            return
        job = self.job = self._job(inputs)
        self._shop.began(self)
        if self._shop.around:
            await self._run_around(job)
        else:
            await job.run()
        self._report_if_settled()

    def _job(self, inputs: Sequence[Ended]) -> Job:
        running, record = self.running, self.record
        values = [each.value for each in inputs]
        shown = [json.loads(each) for each in values]
        here = Context(
            running.id, running.paths.name, record.task, running.attempt, self._token, shown,
            report=self._report_progress,
        )  # fmt: skip
        limit_s = self.task.options.time_limit
        if record.time_limit_ms is not None:
            limit_s = record.time_limit_ms / 1000
        return Job(self.task, here, self._shop.pools, record.arguments, record.passes, values, limit_s)

    async def _run_around(self, job: Job) -> None:
        """With what the app wants around each attempt."""
        raised: Raised | None = None
        try:
            async with AsyncExitStack() as stack:
                for each in self._shop.around:
                    await stack.enter_async_context(each(job.context))
                outcome = await job.run()
                if isinstance(outcome, Raised):
                    raised = outcome
                    raise outcome.error
        except Exception as error:  # noqa: BLE001 - whatever the app's own code raises fails the attempt
            job.failed_around(error, raised)

    def _retry_rules(self) -> Any:
        rules = self.task.options.retry
        return rules if self.record.times is None else replace(rules, times=self.record.times)

    async def _is_in_time(self) -> bool:
        path = self.running.paths.begin_by(self.running.id)
        return await self._shop.client.exists(path, deadline=math.inf) is not None

    async def _inputs(self) -> list[Ended]:
        path = self.running.paths.inputs(self.running.id)
        found: list[Ended] = []
        more, after = True, None
        while more:
            page = await self._shop.client.list(path, values=True, after=after, deadline=math.inf)
            found += [records.decode_ended(child.value or b"") for child in page.children]
            more, after = page.more, page.children[-1].name if page.children else None
        return found

    # --- its end ---

    def _report_if_settled(self) -> None:
        job = self.job
        if job is None or job.outcome is None or self.reported:
            return
        outcome, counters = job.outcome, self._shop.counters
        counters.runs.add(time.monotonic() - job.began)
        if isinstance(outcome, Returned):
            self._end("succeeded", value=outcome.result, once=job.context.ops)
        elif isinstance(outcome, Stopped):
            self._stopped(outcome.why)
        else:
            self._failed(outcome)

    def _stopped(self, why: Why) -> None:
        if why is Why.CANCELLED:
            self._end("cancelled", why="it was cancelled while it ran")
        elif why is Why.HANDED_BACK:
            self._hand_back()
        else:
            self._over("lost")

    def _failed(self, raised: Raised) -> None:
        error, running = raised.error, self.running
        if isinstance(error, BadArguments | TooLarge):
            verdict: Any = Over(f"{type(error).__name__} is not to be tried again")
        else:
            workers = self.record.workers | {self._shop.name}
            verdict = self._retry_rules().after(error, running.attempt, workers, self._shop.dice)
        failure = Failure.of(error, raised.traceback)
        if isinstance(verdict, Over):
            log.error("%s has failed, and is a dead letter, as %s:\n%s", self, verdict.why, raised.traceback)
            self._end("failed", failure=failure, why=verdict.why)
            return
        log.warning(
            "%s has failed, and is tried again in %.1f s:\n%s", self, verdict.delay_s, raised.traceback
        )
        attempt = records.Attempt(running.attempt, self.began_ms, self._took_ms(), self._shop.name, failure)
        # The service counts lost attempts, and forgets none: what is written down is the reported ones only.
        self._ask(partial(retry, attempt=attempt, delay_ms=round(verdict.delay_s * 1000)), "retried")

    def _end(
        self,
        outcome: End,
        *,
        value: bytes = b"null",
        failure: Failure | None = None,
        why: str = "",
        once: Sequence[Op] = (),
    ) -> None:
        running, record = self.running, self.record
        ended = Ended(
            VERSION, outcome, record.task, record.at_ms, round(time.time() * 1000), self._took_ms(), running.attempt,
            self._shop.name, failure, why, value,
        )  # fmt: skip
        told_of_progress = running.attempt > 1 or (self.job is not None and self.job.context.has_reported)
        self._ask(partial(end, ended=ended, once=once, reported=told_of_progress), outcome, alone=bool(once))

    def _took_ms(self) -> int:
        return round((time.monotonic() - self.began) * 1000)

    def _ask(self, plan: Callable[[Running], Plan[Any]], what: str, *, alone: bool = False) -> None:
        """Ask for an end, and count it as ``what`` when it has happened."""
        self.reported = True
        self._shop.progress.forget(self.running.id)
        self._shop.completer.add(plan(self.running), partial(self._told, plan, what, alone), alone=alone)

    def _told(self, plan: Callable[[Running], Plan[Any]], what: str, alone: bool, answer: Any) -> None:
        if isinstance(answer, Done):
            self._over(what)
        elif isinstance(answer, Changed):
            try:
                self.running = self.running.changed(answer)
            except CoordError as error:
                log.error("%s is no task any more: %s", self, error)
                self._set_aside(None)
                return
            self._ask(plan, what, alone=alone)
        elif isinstance(answer, Lost):
            log.warning("%s is another worker's by now; that it has %s does not count", self, what)
            self._over("lost")
        else:
            self._refused(plan, what, alone, answer)

    def _refused(
        self, plan: Callable[[Running], Plan[Any]], what: str, alone: bool, error: CoordError
    ) -> None:
        if error.outcome == "unknown" or self.stopped is Why.LOST:
            self._over(
                "lost"
            )  # the session is over; somebody will look at the task again, if it is still there
        elif alone:
            self._failed(Raised(error, f"what it has asked for by once() was refused: {error}"))
        elif isinstance(error, NotFound) and not self._made_folders:
            # Somebody has deleted a folder of the queue's: of results, for instance.
            self._made_folders = True
            missing = NoFolders(((self.running.paths, self.running.needs),))
            again = partial(self._ask, plan, what)
            self._shop.completer.add(
                Plan((), tuple(make_folders(missing)), (), lambda result: None), lambda answer: again()
            )
        else:
            log.error("%s can't be ended as %s, and is set aside: %s", self, what, error)
            self._set_aside(None)

    def _hand_back(self) -> None:
        self.reported = True
        release = Release(self.running.claim)
        self._shop.completer.add(
            Plan((), (release,), (), lambda result: None),
            lambda answer: self._over("handed_back"),
            alone=True,
        )

    def _set_aside(self, hold_ms: int | None) -> None:
        self.reported = True
        aside = set_aside(self.running.path, self.running.token, self.running.claim, hold_ms)
        self._shop.completer.add(aside, lambda answer: self._over("set_aside"), alone=True)

    def _over(self, counted_as: str) -> None:
        """Its end has happened, or can't."""
        self.reported = True
        if not self.answered:
            self.answered = True
            self._shop.counters.count(counted_as)
            log.debug("%s: %s", self, counted_as)
            self._shop.changed()
        self._finish_if_free()

    def _finish_if_free(self) -> None:
        if self.over and self.answered:
            self._shop.finished(self)

    # --- progress ---

    def _report_progress(self, value: Any) -> None:
        """From inside of the task, in whichever thread it runs."""
        data = encode(value)
        if self.job is not None and self.job.kind == "thread":
            anyio.from_thread.run_sync(self._tell_progress, data)
        else:
            self._tell_progress(data)

    def _tell_progress(self, data: bytes) -> None:
        if not self.reported:
            self._shop.progress.tell(self.running, data)


def set_aside(path: str, token: int, claim: int, hold_ms: int | None) -> Plan[None]:
    """Give back what can't be run here, and hold it back: for others who may, or (``None``) for somebody to look at."""
    return Plan(
        (is_claimed_by(path, token),), (HoldBack(path, hold_ms), Release(claim)), (), lambda result: None
    )


def release(grant: Grant) -> Plan[None]:
    """Give back what there is no room for. It does not count as an attempt."""
    return Plan((), (Release(grant.number),), (), lambda result: None)
