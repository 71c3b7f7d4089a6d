"""A worker: claims tasks, runs them, and says how they ended.

*What it guarantees.* A task whose attempt began here ends here, or is anybody's again: when the worker stops, crashes,
is paused or cut off. An end that comes too late, as somebody else has the task by then, is refused by the token of the
claim, and everything that was to happen with it does not. Nobody polls: who has nothing to do waits in line at the
service.

*What it does not.* An attempt may begin while an earlier one still runs, in a worker that is paused or cut off and does
not know: tasks run at least once. So what they do outside of coord is to be guarded (``context().token``,
``context().idempotency_key``), and what they do inside is done once by ``context().once``.

*What it asks of tasks.* An async task shares its event loop with all others, and with the session: one that computes
for longer than the session's timeout, without an ``await``, takes the worker's tasks from it. Write it as a plain
function (a thread), or say ``where="process"``.

::

    async with Worker(client, app, queues=["mail"], concurrency=20) as worker:
        ...  # it works meanwhile; at the end of the block it stops
    await Worker(client, app).run()  # until somebody calls its stop()
"""

import logging
import os
import socket
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from secrets import token_hex
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.abc

from coord.client import Client, CoordError, InvalidRequest
from coord.recipes.arguments import checked_client, checked_int, checked_name
from coord.recipes.queue.app import App
from coord.recipes.queue.layout import checked_needs
from coord.recipes.queue.queue import Queue
from coord.recipes.queue.schedules import Scheduler
from coord.recipes.queue.worker.attempt import Attempt
from coord.recipes.queue.worker.completing import Completer
from coord.recipes.queue.worker.folders import Drained, Source
from coord.recipes.queue.worker.hints import hints
from coord.recipes.queue.worker.job import Pools, Why
from coord.recipes.queue.worker.limits import Limits
from coord.recipes.queue.worker.progress import Progress
from coord.recipes.queue.worker.roster import be_listed
from coord.recipes.queue.worker.shop import Around, Shop
from coord.recipes.queue.worker.statistics import Counters, Statistics
from coord.recipes.queue.worker.stopping import Stopping, give_back
from coord.recipes.queue.worker.taking import Taking
from coord.recipes.scope import Beside, Scope

log = logging.getLogger("coord.worker")


class WorkerStuck(CoordError):
    """All slots of a worker are taken by threads that were abandoned at their time limits: it can do nothing more."""

    slug = "worker_stuck"
    outcome = "refused"


class Worker:
    """``queues``: of the app. ``concurrency``: tasks at a time. ``processes``: of those, how many in processes.
    ``capabilities``: what it has of what tasks need. ``grace``: seconds to finish what runs when it stops; the rest is
    handed back. ``name``: for people, and two attempts count as made on two workers by it. ``around``: besides
    ``app.around``; see :data:`~coord.recipes.queue.worker.shop.Around`. Made in the event loop of its client.
    """

    def __init__(
        self,
        client: Client,
        app: App,
        *,
        queues: Sequence[str] = ("default",),
        concurrency: int = 50,
        processes: int | None = None,
        capabilities: Iterable[str] = (),
        grace: float = 30.0,
        name: str | None = None,
        around: Sequence[Around] = (),
    ) -> None:
        if not isinstance(app, App):
            raise InvalidRequest(f"a worker is given the App whose tasks it runs, not {app!r:.60}")
        if isinstance(queues, str) or not queues:
            raise InvalidRequest(f"queues are a list of names, like ['default'], not {queues!r:.60}")
        self._client = checked_client(client)
        self.app = app
        self.concurrency = checked_int(concurrency, 1, "concurrency")
        self.grace = checked_seconds(grace, "grace")
        self.name = worker_name() if name is None else checked_name(name, "a worker's name")
        self.queues = tuple(dict.fromkeys(queues))
        self.capabilities = checked_needs(capabilities)
        count = (os.cpu_count() or 1) if processes is None else checked_int(processes, 1, "processes")
        self._counters = Counters()
        self._completer = Completer(client)
        self._progress = Progress(client)
        self._shop = Shop(
            client, app, self.name, Pools.of(count), self._completer, self._progress, self._counters,
            self._began, self._changed, self._finished, (*app.around, *around),
        )  # fmt: skip
        self._taking = Taking(self._shop, self.concurrency)
        self._stopping = Stopping(self._taking, self._completer, self.grace)
        self._limits = Limits(self._taking.attempts)
        self._sources = [Source(client, app.layout.queue(queue), self.capabilities) for queue in self.queues]
        self._tasks: anyio.abc.TaskGroup | None = None
        self._failure: CoordError | None = None
        # Events are made here and now, in the event loop that it is to live in.
        self._ready = anyio.Event()
        self._ended = anyio.Event()
        self._scope: Scope | None = None

    # --- facts ---

    @property
    def attempts(self) -> Mapping[str, Attempt]:
        """What has a slot, by the task's id."""
        return self._taking.attempts

    def statistics(self) -> Statistics:
        abandoned = sum(attempt.abandoned for attempt in self.attempts.values())
        return self._counters.statistics(len(self.attempts), abandoned)

    @property
    def stopping(self) -> bool:
        return self._stopping.asked

    async def wait_ready(self) -> None:
        """Until it takes tasks."""
        await self._ready.wait()

    # --- its life ---

    async def run(self) -> None:
        """Until :meth:`stop`, or for as long as its session lives: then it raises
        :class:`~coord.client.SessionEnded` (unknown), and all that ran was cancelled. :class:`WorkerStuck`
        where there is nothing left that it could do. *Cancellation:* what runs is handed back.
        """
        if self._tasks is not None or self._ended.is_set():
            raise InvalidRequest("a worker runs once; make another one")
        try:
            async with AsyncExitStack() as stack:
                for source in self._sources:
                    await source.open(stack)
                await self._run()
        finally:
            self._ended.set()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Take no more tasks, finish what runs within the ``grace``, and hand back the rest. Called once more: hand
        back at once. Returns at once; :meth:`run` ends when it is done.
        """
        if not self._stopping.asked:
            log.info("the worker %s stops; %d tasks run", self.name, len(self.attempts))
        self._stopping.ask()

    async def __aenter__(self) -> Self:
        scope = self._scope = Scope(self._client, f"the worker {self.name}")
        await scope.begin()
        scope.start(self._run_beside)
        try:
            await self._ready.wait()
        except BaseException as error:
            await scope.end(type(error), error, error.__traceback__)
            raise
        if self._ended.is_set():
            await scope.end(None, None, None)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if self._scope is None:
            raise InvalidRequest("a worker's block is entered before it is left")
        self.stop()
        if exc is not None:
            self.stop()  # whatever is wrong, nobody wants to wait for what runs
        try:
            with anyio.CancelScope(shield=exc is not None):
                await self._ended.wait()
        except BaseException as error:
            await self._scope.end(type(error), error, error.__traceback__)
            raise
        return await self._scope.end(exc_type, exc, traceback)

    async def _run_beside(self) -> None:
        try:
            await self.run()
        finally:
            self._ready.set()

    async def serve_until_drained(self) -> None:
        """Run until there is no task left in its queues: none that waits, is delayed, or runs anywhere. For tests, and
        for jobs that come and go. Raises as :meth:`run` does.
        """
        async with AsyncExitStack() as stack:
            drained = Drained(self._client, [source.paths.ready for source in self._sources])
            await drained.open(stack)

            async def stop_when_drained() -> None:
                await self._ready.wait()
                await drained.wait()
                self.stop()

            beside = Beside()
            await beside.begin()
            try:
                beside.start(stop_when_drained)
                await self.run()
            finally:
                await beside.finish()

    async def _run(self) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                self._start(self._wait_for_the_sessions_end)
                tasks.start_soon(self._completer.run)
                tasks.start_soon(self._progress.run)
                tasks.start_soon(self._limits.run)
                for source in self._sources:
                    self._start(partial(source.hear_of_cancels, self._look_at_cancels))
                    come = partial(self._taking.folder_came, source)
                    self._start(partial(source.watch_folders, come, self._taking.folder_went))
                self._start(partial(be_listed, self, self._client))
                if self.app.schedules:
                    self._start(Scheduler(Queue(self._client, self.app), by=self.name).run)
                tasks.start_soon(self._taking.run, self._changed)
                self._introduce_itself()
                self._ready.set()
                await self._stopping.wait_asked()
                await self._stopping.finish(lost=self._failure is not None)
                tasks.cancel_scope.cancel()
        finally:
            await give_back(self._client, self._taking.held())

    def _introduce_itself(self) -> None:
        log.info(
            "the worker %s takes tasks of %s, %d at a time",
            self.name,
            ", ".join(self.queues),
            self.concurrency,
        )
        for hint in hints(self.app, self.queues, self.capabilities):
            log.warning("%s", hint)

    # --- attempts ---

    def _began(self, attempt: Attempt) -> None:
        self._limits.began(attempt)

    def _finished(self, attempt: Attempt) -> None:
        self._taking.finished(attempt)
        self._stopping.changed()

    def _changed(self) -> None:
        self._stopping.changed()
        if len(self.attempts) >= self.concurrency and all(each.abandoned for each in self.attempts.values()):
            self._fail(WorkerStuck("all slots are taken by threads that were abandoned at their time limits"))

    # --- looking out ---

    def _start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``work``; a :class:`CoordError` that it raises is the end of this worker."""

        async def guarded() -> None:
            try:
                await work()
            except CoordError as error:
                self._fail(error)

        if self._tasks is None:
            raise RuntimeError("a worker that does not run")
        self._tasks.start_soon(guarded)

    def _fail(self, error: CoordError) -> None:
        if self._failure is None:
            self._failure = error
            log.error("the worker %s ends: %s", self.name, error)
            # At once: whoever gets its tasks may begin in this moment.
            for attempt in list(self.attempts.values()):
                attempt.stop(Why.LOST)
        self.stop()

    async def _wait_for_the_sessions_end(self) -> None:
        raise await self._client.wait_ended()

    def _look_at_cancels(self) -> None:
        for source in self._sources:
            for attempt in list(self.attempts.values()):
                if attempt.running.paths is source.paths and source.is_cancelled(attempt.running.id):
                    attempt.stop(Why.CANCELLED)


def worker_name() -> str:
    """One that no other worker has; it says where it is from."""
    return f"{socket.gethostname()[:60].lstrip('.') or 'worker'}-{os.getpid()}-{token_hex(3)}"


def checked_seconds(value: float, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise InvalidRequest(f"{what} is a number of seconds, 0 or more, not {value!r:.40}")
    return float(value)
