"""Queues for the unit tests of programs that have tasks: in the test's event loop, with a time that the test moves.

::

    async with local_queue(app) as local:              # the whole thing, in this event loop
        task = await local.queue.enqueue(send.call("a@b").with_(delay=3600))
        await local.advance(3600)                      # an hour later, when all that was due has run
        assert await task.result() == 1

    async with eager_queue(app) as queue:              # enqueue runs it, and all that follows from it, at once
        task = await queue.enqueue(send.call("a@b").with_(delay=3600))
        assert await task.result() == 1

Nothing is imitated: the member is a real one without sockets and disk (:mod:`coord.testing.local`), and so are the
client, the queue, the workers and the schedules. So retries, keys, limits, workflows and dead letters are what they are
in production; there is no second implementation that could differ.
"""

from collections.abc import Iterable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import anyio
import anyio.abc

from coord.api.errors import DeadlineExceeded, NotFound
from coord.client import Cache, Client
from coord.recipes.queue.app import App
from coord.recipes.queue.call import Call
from coord.recipes.queue.inspecting import Inspector
from coord.recipes.queue.layout import needs_of
from coord.recipes.queue.queue import Queue
from coord.recipes.queue.task import Task
from coord.recipes.queue.worker import Worker
from coord.testing.local import LocalMember, local_member

R = TypeVar("R")

PATIENCE_S: Final = 30.0
"""Real seconds, for tasks that can run to have run."""
JUMPS_MAX: Final = 1_000
"""Times that :meth:`LocalQueue.run_all` moves the time on: tasks that enqueue one another for ever are told."""


class LocalQueue:
    """See the module; made by :func:`local_queue`."""

    def __init__(self, app: App, *, works: bool = True) -> None:
        self.app = app
        self.member: LocalMember = local_member()
        self._works = works
        self._stack = AsyncExitStack()
        self._client: Client | None = None
        self._cache: Cache | None = None
        self._tasks: anyio.abc.TaskGroup | None = None
        self._workers: dict[tuple[str, str], Worker] = {}
        """By the folder for which each was made: every set of needs has a worker that has it."""

    @property
    def client(self) -> Client:
        if self._client is None:
            raise RuntimeError("this queue is not open: async with local_queue(app) as local: …")
        return self._client

    @property
    def queue(self) -> Queue:
        """For enqueueing."""
        return Queue(self.client, self.app)

    @property
    def inspector(self) -> Inspector:
        """For looking."""
        return Inspector(self.client, self.app.layout)

    async def settle(self, *, patience: float = PATIENCE_S) -> None:
        """Wait until nothing runs, and nothing could begin unless time went on. ``patience``: in real seconds; then
        :class:`~coord.client.DeadlineExceeded` (refused).
        """
        with anyio.move_on_after(patience):
            while True:
                seen = self._seen.revision
                await self._serve()
                if await self._is_quiet():
                    return
                # Whatever ends or begins changes something here; and what holds a rate back goes by real time.
                with anyio.move_on_after(0.05):
                    await self._seen.changed(seen)
        raise DeadlineExceeded(f"tasks still run after {patience:g} s", outcome="refused")

    async def advance(self, seconds: float, *, patience: float = PATIENCE_S) -> None:
        """Let time pass, and wait until what was due by then, schedules included, has run (:meth:`settle`)."""
        await self.settle(patience=patience)
        await self.member.advance(seconds)
        if self.app.schedules and self._workers:
            await self.client.set(self.app.layout.schedules, b"")  # so that schedulers hear what time it is
        await self.settle(patience=patience)

    async def run_all(self, *, patience: float = PATIENCE_S) -> None:
        """Run all tasks to their ends, moving time on to whatever is delayed. Schedules that are due on the way are
        enqueued, too. Raises :class:`~coord.client.DeadlineExceeded` (refused) as :meth:`settle`, or where there is
        no end to it.
        """
        for _ in range(JUMPS_MAX):
            await self.settle(patience=patience)
            wait_ms = await self._next_ms()
            if wait_ms is None:
                return
            await self.advance((wait_ms + 1) / 1000, patience=patience)
        raise DeadlineExceeded(f"there are delayed tasks after {JUMPS_MAX} of them, still", outcome="refused")

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.member)
            self._client = await stack.enter_async_context(self.member.connect(name="test"))
            await self._client.create(self.app.layout.queues, parents=True)
            self._cache = await stack.enter_async_context(
                self._client.cache(self.app.layout.root, values=False)
            )
            self._tasks = await stack.enter_async_context(_Tasks())
            if self._works and self.app.schedules:
                await self._start("default", "-")  # schedules want somebody who enqueues them
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(exc_type, exc, traceback)

    # --- inside ------------------------------------------------------------------------------------------------------

    @property
    def _seen(self) -> Cache:
        if self._cache is None:
            raise RuntimeError("this queue is not open: async with local_queue(app) as local: …")
        return self._cache

    async def _serve(self) -> None:
        """Have a worker for each set of needs that there is in each queue."""
        if not self._works:
            return
        for name, needs in await self._folders():
            if (name, needs) not in self._workers:
                await self._start(name, needs)

    async def _start(self, name: str, needs: str) -> None:
        worker = Worker(
            self.client, self.app, queues=[name], capabilities=needs_of(needs), name=f"{name}:{needs}"
        )
        self._workers[name, needs] = worker
        if self._tasks is not None:
            self._tasks.start_soon(worker.run)
        await worker.wait_ready()

    async def _folders(self) -> list[tuple[str, str]]:
        found = []
        for name in await self.inspector.names():
            try:
                folders = await self.client.children(self.app.layout.queue(name).ready)
            except NotFound:
                continue
            found += [(name, needs) for needs in folders]
        return found

    async def _is_quiet(self) -> bool:
        """Nothing runs, or could; asked in an order in which nothing can hide: a tick that is dealt with is a task."""
        if self._works:
            now_ms = self.member.wall_time * 1000
            for each in await self.inspector.schedules():
                if each.due_ms is not None and each.due_ms <= now_ms:
                    return False
        for name, needs in await self._folders():
            facts = await self.client.claim_info(self.app.layout.queue(name).folder(needs))
            paused = facts.held_back
            if facts.children.held or (facts.children.free and not paused):
                return False
        return True

    async def _next_ms(self) -> int | None:
        """How long until the first delayed task begins, or one that waits for its rate may."""
        waits: list[int] = []
        for name in await self.inspector.names():
            facts = await self.inspector.queue(name)
            if facts.paused:
                continue
            if facts.blocked:
                waits.append(self.member.next_due_ms)
            async for task in self.inspector.waiting(name):
                found = await self.client.claim_info(task.path)
                if found.held_back and found.held_back_ms is not None:
                    waits.append(found.held_back_ms)
        return min(waits, default=None)


class EagerQueue(Queue):
    """A queue whose tasks have run when they are enqueued, with all that comes of them; delays take no time."""

    def __init__(self, local: LocalQueue) -> None:
        super().__init__(local.client, local.app)
        self.local = local

    async def enqueue(self, workflow: Any, *, deadline: float | None = None) -> Any:
        """As :meth:`Queue.enqueue`, and run it. An error of a task is told by its ``result()``."""
        task = await super().enqueue(workflow, deadline=deadline)
        await self.local.run_all()
        return task

    async def enqueue_many(self, calls: Iterable[Call[R]], *, deadline: float | None = None) -> list[Task[R]]:
        """As :meth:`Queue.enqueue_many`, and run them."""
        tasks = await super().enqueue_many(calls, deadline=deadline)
        await self.local.run_all()
        return tasks


class _Eager:
    def __init__(self, app: App) -> None:
        self._local = LocalQueue(app)

    async def __aenter__(self) -> EagerQueue:
        return EagerQueue(await self._local.__aenter__())

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._local.__aexit__(exc_type, exc, traceback)


class _Tasks:
    """A task group that is cancelled at its end, and keeps an exception of the block as it is."""

    def __init__(self) -> None:
        self._group = anyio.create_task_group()

    async def __aenter__(self) -> anyio.abc.TaskGroup:
        return await self._group.__aenter__()

    async def __aexit__(self, *error: object) -> None:
        self._group.cancel_scope.cancel()
        await self._group.__aexit__(None, None, None)


def local_queue(app: App, *, works: bool = True) -> LocalQueue:
    """``async with local_queue(app) as local``. ``works=False``: nothing is run; for tests of what is enqueued."""
    return LocalQueue(app, works=works)


def eager_queue(app: App) -> _Eager:
    """``async with eager_queue(app) as queue``."""
    return _Eager(app)
