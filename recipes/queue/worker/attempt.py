"""One attempt of one task, from its grant to its end.

::

    grant ─▶ is it ours to run? ──▶ its inputs are read ─▶ job runs ─▶ settled ─▶ reported ─▶ answered
               │ cancelled, spent,        (if it has any)                │           ▲
               │ expired, skipped ───────────────────────────────────────┼───────────┘
               └ unknown: set aside                                      └ over: nothing of it runs any more

The slot is taken until it is answered *and* over. The two come in either order: the end of a thread that was abandoned
is reported long before it is over.
"""

import json
import logging
import math
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import anyio.from_thread

from coord.client import CoordError, Token
from coord.recipes.queue import record as records
from coord.recipes.queue.app import TaskFunction
from coord.recipes.queue.context import Context
from coord.recipes.queue.record import Ended, Failure, TaskRecord
from coord.recipes.queue.running import Running
from coord.recipes.queue.worker.job import Job, Raised, Returned, Stopped, Why
from coord.recipes.queue.worker.progress import encode
from coord.recipes.queue.worker.reporting import Report
from coord.recipes.queue.worker.shop import Shop

log = logging.getLogger("coord.worker")


class LostWithWorkers(Exception):
    """All attempts of a task ended with the death of their worker (or its being cut off); perhaps because of it."""


class Attempt:
    """Runs one task. It raises nothing."""

    def __init__(self, shop: Shop, running: Running, token: Token, task: TaskFunction[..., Any]) -> None:
        self.task = task
        self.report = Report(shop, running, task, self._answered)
        self.job: Job | None = None
        self.stopped: Why | None = None
        self.over = False
        self._shop = shop
        self._token = token
        shop.counters.begun += 1
        if running.attempt == 1:
            shop.counters.waits.add((self.began_ms - running.record.at_ms) / 1000)

    @property
    def running(self) -> Running:
        """As it was last read."""
        return self.report.running

    @property
    def record(self) -> TaskRecord:
        return self.report.running.record

    @property
    def began_ms(self) -> int:
        """Wall clock, for people."""
        return self.report.began_ms

    @property
    def answered(self) -> bool:
        return self.report.answered

    @property
    def abandoned(self) -> bool:
        """Its end was reported, and it still runs."""
        return self.report.answered and not self.over

    @property
    def kill_at(self) -> float:
        """When it is :meth:`overdue`, by ``time.monotonic()``."""
        return math.inf if self.job is None or self.report.asked else self.job.kill_at

    def __str__(self) -> str:
        return str(self.report)

    # --- from outside ---

    def stop(self, why: Why) -> None:
        """End it. Only the first reason counts; but that it is lost always does."""
        if why is Why.LOST:
            self.report.is_lost = True
        elif self.report.asked:
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
            log.warning("%s is not run: %s", self, error)
            if self.report.is_lost:
                self.report.lost()
        finally:
            if not self.report.asked:
                self.report.hand_back()
            self.over = True
            self._finish_if_free()

    async def _run(self) -> None:
        running, record, report = self.running, self.record, self.report
        before = running.attempt - 1
        if before and (over := report.retry_rules.spent(before, record.workers)) is not None:
            error = LostWithWorkers(f"{running.lost} of {before} attempts ended with their worker's death")
            report.end("failed", failure=Failure.of(error), why=over.why)
            return
        inputs: list[Ended] = []
        if record.begin_by and not await self._is_in_time():
            report.end("expired", why="it had not begun by its deadline")
            return
        if record.after:
            inputs = await self._inputs()
            failed = next((each for each in inputs if not each.succeeded), None)
            if len(inputs) < record.after and failed is None:
                log.error("%s has %d of %d inputs; it is handed back", self, len(inputs), record.after)
                report.set_aside(None)
                return
            if failed is not None and record.on == "success":
                why = f"a task that it comes after, {failed.task}, ended as {failed.outcome}"
                report.end("skipped", why=why)
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
        if job is None or job.outcome is None or self.report.asked:
            return
        outcome = job.outcome
        self._shop.counters.runs.add(time.monotonic() - job.began)
        if isinstance(outcome, Returned):
            self.report.end("succeeded", value=outcome.result, once=job.context.ops)
        elif isinstance(outcome, Stopped):
            self._stopped(outcome.why)
        else:
            self.report.failed(outcome)

    def _stopped(self, why: Why) -> None:
        if why is Why.CANCELLED:
            self.report.end("cancelled", why="it was cancelled while it ran")
        elif why is Why.HANDED_BACK:
            self.report.hand_back()
        else:
            self.report.lost()

    def _answered(self, counted_as: str) -> None:
        self._shop.counters.count(counted_as)
        self._shop.changed()
        self._finish_if_free()

    def _finish_if_free(self) -> None:
        if self.over and self.report.answered:
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
        if not self.report.asked:
            self.report.told_progress = True
            self._shop.progress.tell(self.running, data)
