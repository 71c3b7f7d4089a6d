"""To steer queues: pause, drain, empty them; run again, at once, or never. Needs a client and the app's root only.

Whatever is done to a task is one revision, and on condition that the task is still what was looked at: a task that
begins in the same moment runs on. What is done to many is done in batches; a batch happens whole or not at all.

**How a queue is paused.** Its folders are held back, so no task in them is granted to anybody, and a znode says so,
which holds back the folders that come later. What runs, runs on. Rejected: *telling the workers*: each would have to
hear of it, and one that is cut off would not; here nobody has to.

**What is done to a dead letter's dependents.** Nothing: they were told of the failure when it failed. A dead letter
that is enqueued again, and succeeds, does not wake what was skipped.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from typing import Any, Final

from coord.client import (
    Client,
    Conflict,
    Create,
    Delete,
    HoldBack,
    InvalidRequest,
    Lane,
    Multi,
    MultiResult,
    NotFound,
    SetLanes,
)
from coord.recipes.arguments import Deadline, wait_for
from coord.recipes.queue.app import App
from coord.recipes.queue.ending import discard
from coord.recipes.queue.errors import BadRecord, QueueClosed, UnknownTask
from coord.recipes.queue.facts import TaskFacts
from coord.recipes.queue.inspecting import Inspector
from coord.recipes.queue.layout import Layout, marker
from coord.recipes.queue.plan import Op, has_version, if_so, is_missing, is_there, is_unclaimed
from coord.recipes.queue.record import VERSION, Ended, encode_task
from coord.recipes.queue.running import Found
from coord.recipes.queue.task import Status, Task
from coord.recipes.queue.ticking import State, decode_state, encode_state

BATCH: Final = 100
"""Tasks by one request. The service does nothing else while it applies one."""

Told = Callable[[int], None]
"""Called with how many it has been so far."""


def _nobody(count: int) -> None:
    return None


class Steering:
    """``layout``: of the app. Raises as writes do; :class:`~coord.client.NotFound` where there is no such queue."""

    def __init__(self, client: Client, layout: Layout) -> None:
        self._client = client
        self._layout = layout
        self._inspector = Inspector(client, layout)

    # --- queues ------------------------------------------------------------------------------------------------------

    async def pause(self, queue: str) -> None:
        """Have no task begin, until :meth:`resume`. Tasks are enqueued all the same. Harmless where it is paused."""
        await self._hold(queue, True)

    async def resume(self, queue: str) -> None:
        await self._hold(queue, False)

    async def close(self, queue: str) -> None:
        """Take no more tasks: who enqueues is told :class:`~coord.recipes.queue.errors.QueueClosed`."""
        paths = self._layout.queue(queue)
        await self._inspector.queue(queue)
        await self._client.multi(then=[if_so([is_missing(paths.closed)], [Create(paths.closed)])])

    async def open(self, queue: str) -> None:
        """The contrary of :meth:`close`."""
        await self._inspector.queue(queue)
        await self._client.delete(self._layout.queue(queue).closed, missing_ok=True)

    async def wait_empty(self, queue: str, *, told: Told = _nobody, deadline: float = inf) -> None:
        """Until no task is left that has not ended; ``told`` of how many there are, as they become fewer. Raises
        :class:`~coord.client.DeadlineExceeded` (refused).
        """
        paths = self._layout.queue(queue)
        due = Deadline(self._client, deadline)
        # The folders are few, their tasks many: what is cached has no values.
        async with self._client.cache(paths.ready, values=False, deadline=due.left) as cache:

            def look() -> bool | None:
                left = sum([len(cache.children(paths.folder(each))) for each in cache.children(paths.ready)])
                told(left)
                return True if not left else None

            await wait_for(cache, look, due, f"the queue {queue} was not empty in time")

    async def purge(self, queue: str, *, told: Told = _nobody) -> int:
        """Cancel all tasks that wait; returns how many. What runs, runs on, and what comes after a task that is
        cancelled is skipped, as ever.
        """
        await self._inspector.queue(queue)
        now_ms = time.time_ns() // 1_000_000
        count, batch = 0, []
        async for task in self._inspector.waiting(queue):
            batch.append(self._discard(task, now_ms))
            if len(batch) == BATCH:
                count += await self._each(batch)
                batch = []
                told(count)
        count += await self._each(batch)
        told(count)
        return count

    async def forget_dead(self, queue: str, *, told: Told = _nobody) -> int:
        """Delete all dead letters; returns how many. Their results are kept for as long as they are."""
        return await self._with_dead(queue, self._forget, told)

    # --- tasks -------------------------------------------------------------------------------------------------------

    async def cancel(self, id: str, queue: str | None = None) -> TaskFacts:
        """End a task that waits; have the worker of one that runs end it. Returns it as it was. Raises
        :class:`~coord.recipes.queue.errors.UnknownTask` (refused), and :class:`~coord.client.Conflict` (refused) where
        it has ended already.
        """
        facts = await self._inspector.find(id, queue)
        if facts.ended is not None or not await self.task(facts).cancel():
            raise Conflict(f"the task {facts.id} has ended already: {facts.status}", {"status": facts.status})
        return facts

    async def retry(self, id: str, queue: str | None = None) -> TaskFacts:
        """Have a dead letter run again, with all its attempts before it; or a delayed task at once. Returns it as it
        was. Raises :class:`~coord.recipes.queue.errors.UnknownTask`, :class:`~coord.client.Conflict`,
        :class:`~coord.recipes.queue.errors.QueueClosed` (each refused).
        """
        facts = await self._inspector.find(id, queue)
        if facts.status is Status.FAILED and facts.record is not None:
            if not await self._each([self._again(facts)]):
                await self._why_not(facts)
            return facts
        if facts.status is Status.DELAYED:
            path = self.task(facts).path
            free = if_so([has_version(path, facts.version), is_unclaimed(path)], [HoldBack(path, 0)])
            if await self._each([free]):
                return facts
        said = {
            Status.AWAITING: "it comes after others, and begins when they are done",
            Status.WAITING: "it waits for nothing but a worker",
            Status.RUNNING: "it runs",
        }
        raise Conflict(
            f"the task {facts.id} cannot be run again: {said.get(facts.status, f'it is {facts.status}')}",
            {"status": facts.status},
        )

    async def retry_dead(self, queue: str, *, told: Told = _nobody) -> int:
        """Have all dead letters of a queue run again; returns how many. Those whose unique key another task has by now
        stay.
        """
        if (await self._inspector.queue(queue)).closed:
            raise QueueClosed(f"the queue {queue} is closed; open it first", {"queue": queue})
        return await self._with_dead(queue, self._again, told)

    # --- schedules ---------------------------------------------------------------------------------------------------

    async def pause_schedule(self, name: str) -> None:
        await self._put_schedule(name, lambda state: replace(state, paused=True))

    async def resume_schedule(self, name: str) -> None:
        """It goes on with the next tick from now; what was due meanwhile is not made up for. Also of use where a wrong
        clock has brought ticks of the future: it begins anew.
        """
        await self._put_schedule(name, lambda state: replace(state, paused=False, last_ms=None))

    async def remove_schedule(self, name: str) -> None:
        """It is gone until a worker starts whose code has it."""
        try:
            await self._client.delete(self._schedule(name))
        except NotFound:
            raise _no_schedule(name) from None

    # --- inside ------------------------------------------------------------------------------------------------------

    async def _hold(self, queue: str, paused: bool) -> None:
        paths = self._layout.queue(queue)
        facts = await self._inspector.queue(queue)
        delay_ms = None if paused else 0
        # A folder that comes in between is held back, or not, by what `paused` says when it comes.
        folders = [paths.folder(each) for each in facts.folders]
        hold = [if_so([is_there(each)], [HoldBack(each, delay_ms)]) for each in folders]
        if paused:
            said: Op = if_so([is_missing(paths.paused)], [Create(paths.paused)])
        else:
            said = Delete(paths.paused, missing_ok=True)
        await self._client.multi(then=[said, *hold])
        later = set((await self._inspector.queue(queue)).folders) - set(facts.folders)
        if later:
            await self._hold(queue, paused)

    def task(self, facts: TaskFacts) -> Task[Any]:
        """Its handle; a result is what JSON says, since no code of the app is known here."""
        app = App("steering", root=self._layout.root)
        return Task(self._client, app, self._layout.queue(facts.queue), facts.needs, facts.id)

    def _discard(self, task: Found, now_ms: int) -> Op:
        record = task.record
        ended = Ended(
            VERSION, "cancelled", record.task, record.at_ms, now_ms, attempts=record.attempts, why="purged"
        )
        plan = discard(task, ended)
        return Multi(plan.compare, plan.then, plan.otherwise)

    def _again(self, facts: TaskFacts) -> Op:
        """From among the dead to those who wait, under its id: who has its reference has it again."""
        if facts.record is None:
            raise BadRecord(f"the dead letter {facts.id} has no task in it")
        paths = self._layout.queue(facts.queue)
        path, dead = paths.task(facts.needs, facts.id), paths.dead(facts.id)
        # Those that come after it were told of its failure; its deadline has passed.
        record = replace(facts.record, attempts=0, writes=0, then=(), begin_by=False)
        conditions = [
            has_version(dead, facts.version),
            is_missing(path),
            is_missing(paths.closed),
            is_there(paths.folder(facts.needs)),
        ]
        then: list[Op] = [
            Create(path, encode_task(record)),
            Delete(dead),
            Delete(paths.done(facts.id), missing_ok=True),
        ]
        if record.lanes:
            then.append(SetLanes(path, tuple([Lane(*lane) for lane in record.lanes])))
        if record.unique:
            key = paths.unique(record.unique)
            conditions.append(is_missing(key))
            then.append(Create(key, marker(facts.needs, facts.id)))
        return if_so(conditions, then)

    def _forget(self, facts: TaskFacts) -> Op:
        paths = self._layout.queue(facts.queue)
        then = [Delete(paths.dead(facts.id)), Delete(paths.inputs(facts.id), subtree=True, missing_ok=True)]
        return if_so([has_version(paths.dead(facts.id), facts.version)], then)

    async def _with_dead(self, queue: str, what: Callable[[TaskFacts], Op], told: Told) -> int:
        await self._inspector.queue(queue)
        count, batch = 0, []
        async for letter in self._inspector.dead(queue):
            batch.append(what(letter))
            if len(batch) == BATCH:
                count += await self._each(batch)
                batch = []
                told(count)
        count += await self._each(batch)
        told(count)
        return count

    async def _each(self, ops: Sequence[Op]) -> int:
        """All of them, by one request; returns of how many the conditions held."""
        if not ops:
            return 0
        result = await self._client.multi(then=ops)
        return sum([isinstance(each, MultiResult) and each.succeeded for each in result.results])

    async def _why_not(self, facts: TaskFacts) -> None:
        paths = self._layout.queue(facts.queue)
        if await self._client.exists(paths.closed) is not None:
            raise QueueClosed(f"the queue {facts.queue} is closed; open it first", {"queue": facts.queue})
        key = facts.record.unique if facts.record else ""
        if key and await self._client.exists(paths.unique(key)) is not None:
            raise Conflict(f"another task has the unique key {key!r:.80} of {facts.id}", {"key": key})
        raise UnknownTask(f"{facts.id} is no dead letter any more", {"task": facts.id})

    def _schedule(self, name: str) -> str:
        if not name or "/" in name:
            raise InvalidRequest(f"a schedule's name is text without '/', not {name!r:.60}")
        return f"{self._layout.schedules}/{name}"

    async def _put_schedule(self, name: str, change: Callable[[State], State]) -> None:
        path = self._schedule(name)
        while True:
            try:
                znode = await self._client.get(path)
            except NotFound:
                raise _no_schedule(name) from None
            state = change(decode_state(znode.value))
            try:
                await self._client.set(path, encode_state(state), version=znode.stat.version)
            except Conflict:
                continue  # a tick came in between
            return


def _no_schedule(name: str) -> NotFound:
    return NotFound(
        f"there is no schedule {name!r:.80}; one is there once a worker has started whose code has it"
    )
