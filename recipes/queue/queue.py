"""Enqueue, for whoever has a client. What is asked is in the plans; here it is sent."""

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, Final, TypeVar, overload

import anyio.lowlevel

from coord.client import Client, InvalidRequest, NotFound
from coord.recipes.arguments import Deadline, checked_client
from coord.recipes.queue.app import App
from coord.recipes.queue.building import Built, Parents, build, with_parents
from coord.recipes.queue.call import Call, Group, Workflow
from coord.recipes.queue.enqueueing import (
    BATCH_BYTES_MAX,
    BATCH_MAX,
    Answer,
    Enqueued,
    Known,
    New,
    NoFolders,
    enqueue,
    make_folders,
)
from coord.recipes.queue.errors import BadRecord, QueueClosed, QueueFull, UnknownTask
from coord.recipes.queue.layout import task_id
from coord.recipes.queue.plan import carry_out
from coord.recipes.queue.record import Dependent, decode_ended, decode_task
from coord.recipes.queue.running import Found
from coord.recipes.queue.task import Task, Tasks, reference_of

R = TypeVar("R")

BUILT_AT_ONCE: Final = 100
"""Calls that are checked and encoded in one turn of the event loop."""

_COUNT = count(int.from_bytes(os.urandom(3)))
"""Of all that this process enqueues: what it enqueues first stands first. It begins anywhere, and goes round."""


class Queue:
    """``Queue(client, app)``: for all queues of an app. It costs nothing, and runs nothing of its own; share one, or
    make one each time.
    """

    def __init__(self, client: Client, app: App) -> None:
        self._client = checked_client(client)
        if not isinstance(app, App):
            raise InvalidRequest(f"a Queue is for an App, not for {app!r:.60}")
        self.app = app

    @overload
    async def enqueue(  # type: ignore[overload-overlap]  # a group's result is a list, and its handle no Task
        self, workflow: Group[R], *, deadline: float | None = None
    ) -> Tasks[R]: ...
    @overload
    async def enqueue(self, workflow: Workflow[R], *, deadline: float | None = None) -> Task[R]: ...
    async def enqueue(self, workflow: Workflow[Any], *, deadline: float | None = None) -> Any:
        """Enqueue a call, a chain or a group, whole or not at all: one request, and one revision.

        Returns its :class:`~coord.recipes.queue.task.Task`: of a chain its last one's, of a group
        :class:`~coord.recipes.queue.task.Tasks`. Where another task has its key (``unique``, ``same``) nothing is
        enqueued, and that one is returned (``task.new`` is false).

        Raises, each refused: :class:`~coord.recipes.queue.errors.QueueFull`,
        :class:`~coord.recipes.queue.errors.QueueClosed`,
        :class:`~coord.recipes.queue.signature.BadArguments`, :class:`~coord.recipes.queue.errors.TooLarge`,
        :class:`~coord.recipes.queue.errors.UnknownTask` (of one that it is to come after). Else as any write;
        *cancellation* as of any write: it may be enqueued. Give it a key (``same``) to be able to ask again.
        """
        due = Deadline(self._client, deadline)
        built = self._build(workflow)
        answers = await self._enqueue(built, due)
        tasks = [self._task(built.tasks[end], built.calls[end], answers[end]) for end in built.ends]
        return Tasks(tasks) if isinstance(workflow, Group) else tasks[0] if len(tasks) == 1 else Tasks(tasks)

    async def enqueue_many(self, calls: Iterable[Call[R]], *, deadline: float | None = None) -> list[Task[R]]:
        """Enqueue many calls that have nothing to do with each other: some hundreds by each request, in their order.

        Each request happens whole or not at all; so where an error is raised, those before it were enqueued:
        ``details["enqueued"]`` of :class:`~coord.recipes.queue.errors.QueueFull` and
        :class:`~coord.recipes.queue.errors.QueueClosed` says how many. All calls are checked before the first is sent.
        """
        due = Deadline(self._client, deadline)
        built: list[Built] = []
        for call in calls:
            if not isinstance(call, Call) or call.options.after:
                raise InvalidRequest(
                    "enqueue_many takes calls that come after nothing; chains, groups and calls with after=… are "
                    "enqueued one by one"
                )
            built.append(self._build(call))
            if len(built) % BUILT_AT_ONCE == 0:
                # Ten thousand are seconds of checking and encoding: the session's keepalives need a turn meanwhile.
                await anyio.lowlevel.checkpoint()
        found: list[Task[R]] = []
        for batch in _batches(built):
            try:
                answers = await self._send([each.tasks[0] for each in batch], due)
            except (QueueFull, QueueClosed) as error:
                raise type(error)(error.message, {**error.details, "enqueued": len(found)}) from None
            for each, answer in zip(batch, answers, strict=True):
                if isinstance(answer, Known):
                    answer = await self._known(each.tasks[0], answer, due)
                found.append(self._task(each.tasks[0], each.calls[0], answer))
        return found

    def task(self, reference: str) -> Task[Any]:
        """The handle of a task that somebody else has enqueued, by its ``task.reference``. Nothing is asked."""
        queue, needs, id = reference_of(reference)
        return Task(self._client, self.app, self.app.layout.queue(queue), needs, id)

    # --- inside ---

    def _build(self, workflow: Workflow[Any]) -> Built:
        return build(self.app, workflow, self._new_id, time.time_ns() // 1_000_000)

    def _new_id(self, priority: int) -> str:
        return task_id(priority, self._client.revision, next(_COUNT), os.urandom(6))

    def _task(self, new: New, call: Call[Any], answer: Answer) -> Task[Any]:
        if isinstance(answer, Known):
            return Task(self._client, self.app, new.paths, answer.needs, answer.id, new=False)
        return Task(
            self._client,
            self.app,
            new.paths,
            new.needs,
            new.id,
            name=call.function.name,
            revision=getattr(answer, "revision", 0),
            keeps=new.record.keep_ms > 0,
        )

    async def _enqueue(self, built: Built, due: Deadline) -> Sequence[Answer]:
        """All of one workflow. Only a call by itself can have conditions of its own."""
        if len(built.tasks) > 1:
            return await self._send(built.tasks, due)
        return [await self._enqueue_one(built.tasks[0], built.calls[0].options.after, None, due)]

    async def _known(self, new: New, known: Known, due: Deadline) -> Answer:
        """``new``, which was asked for already, if the task that has its key is gone (or, where that is enough, has
        begun); else ``known``.
        """
        return await self._enqueue_one(new, (), known, due)

    async def _enqueue_one(
        self, new: New, after: tuple[Task[Any], ...], known: Known | None, due: Deadline
    ) -> Answer:
        delay_ms = new.hold_ms or 0
        while True:
            if known is not None:
                if new.instead_of == known.value or await self._is_valid(new, known, due):
                    return known
                new = replace(new, instead_of=known.value)
            asked = new
            if after:
                asked = with_parents(new, await self._parents(new, after, due), delay_ms)
            [answer] = await self._send([asked], due)
            if isinstance(answer, Enqueued):
                return answer
            # Else one that it is to come after is not as it was when it was read: once more.
            known = answer if isinstance(answer, Known) else None

    async def _is_valid(self, new: New, known: Known, due: Deadline) -> bool:
        """Whether a key is sure to be the task's that it names. That one may be gone, or have begun."""
        if known.by == "same":
            if not known.id:
                raise BadRecord(f"what stands at {new.paths.same(new.same or '')} names no task")
            return True
        if new.unique is None or new.unique.ttl_ms:
            return True
        if new.unique.until == "begun" or not known.id:
            return False
        path = new.paths.task(known.needs, known.id)
        return await self._client.exists(path, deadline=due.left) is not None

    async def _send(self, tasks: Sequence[New], due: Deadline) -> tuple[Answer, ...]:
        while True:
            plan = enqueue(tasks, self.app.max_length)
            answer = await carry_out(self._client, plan, deadline=due.left)
            if not isinstance(answer, NoFolders):
                return answer
            # Once for each queue; nobody deletes them but by hand.
            await self._client.multi(then=make_folders(answer), deadline=due.left)

    async def _parents(self, new: New, after: tuple[Task[Any], ...], due: Deadline) -> Parents:
        """What ``new`` is to come after, as it is now."""
        parents = Parents(len(after))
        for n, task in enumerate(after):
            if not isinstance(task, Task):
                raise InvalidRequest(f"after is a task, as enqueue returns it, or several; not {task!r:.60}")
            dependent = Dependent(
                new.paths.name, new.needs, new.id, n, len(after), new.hold_ms or 0, new.record.on
            )
            try:
                znode = await self._client.get(task.path, deadline=due.left)
            except NotFound:
                told = await task._told(due)
                if told is None:
                    raise UnknownTask(
                        f"{task} has ended, and how is not kept any more: nothing can come after it",
                        {"task": task.id},
                    ) from None
                parents.ended.append((n, told))
                parents.one_failed |= not decode_ended(told).succeeded
                continue
            record = decode_task(znode.value)
            record = replace(record, then=(*record.then, dependent))
            parents.found.append(Found(task.paths, task.needs, task.id, record, znode.stat.version))
        return parents


def _batches(built: Sequence[Built]) -> Iterable[list[Built]]:
    batch: list[Built] = []
    size = 0
    for each in built:
        length = len(each.tasks[0].record.arguments)
        if batch and (len(batch) >= BATCH_MAX or size + length > BATCH_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += length
    if batch:
        yield batch
