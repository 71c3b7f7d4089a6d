"""A task, as those hold it who did not run it: its state, its result, its progress; and how to cancel it."""

import json
import time
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Generic, Literal, TypeVar, cast

import anyio

from coord.client import ChangeKind, Client, DeadlineExceeded, Gap, InvalidRequest, NotFound
from coord.recipes.arguments import Deadline
from coord.recipes.queue.app import App
from coord.recipes.queue.ending import cancel, expire
from coord.recipes.queue.errors import UnknownTask, not_succeeded
from coord.recipes.queue.layout import QueuePaths, checked_queue, is_id
from coord.recipes.queue.plan import Plan, carry_out
from coord.recipes.queue.record import (
    VERSION,
    Ended,
    TaskRecord,
    decode_dead,
    decode_ended,
    decode_task,
    encode_ended,
)
from coord.recipes.queue.reports import Reports
from coord.recipes.queue.running import Changed, Found, Gone

R_co = TypeVar("R_co", covariant=True)

RECENT: int = 1_000
"""Revisions that a member looks through for a result that may be there already: more would cost it more than a read."""


class Status(StrEnum):
    """What a task is at a moment."""

    WAITING = "waiting"
    DELAYED = "delayed"
    """It begins later: it was told to, or an attempt has failed."""
    AWAITING = "awaiting"
    """It comes after others that are not done."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"
    """It has ended, and how is not kept any more; or it never was."""


class Task(Generic[R_co]):
    """What :meth:`~coord.recipes.queue.queue.Queue.enqueue` returns. It costs nothing to keep, or to forget."""

    def __init__(
        self,
        client: Client,
        app: App,
        paths: QueuePaths,
        needs: str,
        id: str,
        *,
        name: str = "",
        new: bool = True,
        revision: int = 0,
        keeps: bool = True,
    ) -> None:
        self._client = client
        self._app = app
        self._revision = revision
        """At which it was enqueued, where that is known: its end is later."""
        self._keeps = keeps
        self.paths = paths
        self.needs = needs
        self.id = id
        self.name = name
        """Of its function, where that is known."""
        self.new = new
        """It was enqueued by this very call; else another task had its key, and this is that one."""

    @property
    def queue(self) -> str:
        return self.paths.name

    @property
    def path(self) -> str:
        """Where it stands in the tree until it has ended."""
        return self.paths.task(self.needs, self.id)

    @property
    def reference(self) -> str:
        """For others, who find it by ``queue.task(reference)``; text without spaces."""
        return f"{self.paths.name}/{self.needs}/{self.id}"

    def __repr__(self) -> str:
        return f"<task {self.name + ' ' if self.name else ''}{self.reference}>"

    # --- how it ended ---

    async def result(self, *, deadline: float | None = None) -> R_co:
        """What the function returned, once it has; of the type that it declares.

        Raises :class:`~coord.recipes.queue.errors.NotSucceeded`: ``TaskFailed`` (with the ``traceback`` in its
        ``details``), ``TaskCancelled``, ``TaskExpired``, ``TaskSkipped``;
        :class:`~coord.recipes.queue.errors.UnknownTask` where its end is forgotten, and
        :class:`~coord.client.DeadlineExceeded` (refused) where it has not ended in time. *Cancellation* leaves nothing
        behind; the task goes on.
        """
        ended = await self.wait(deadline=deadline)
        if not ended.succeeded:
            raise not_succeeded(ended.outcome, f"the task {ended.task} {self.id}", ended.details)
        function = self._app.tasks.get(ended.task)
        if function is None:
            return cast(R_co, json.loads(ended.value))
        return cast(R_co, function.signature.decode_result(ended.value))

    async def wait(self, *, deadline: float | None = None) -> Ended:
        """How it ended, once it has, whether well or not. Raises as :meth:`result`, but for its end."""
        due = Deadline(self._client, deadline)
        self._check_that_it_keeps()
        with anyio.move_on_after(due.left):
            while True:
                try:
                    return await self._wait(due)
                except Gap:
                    self._revision = 0  # once more, from the beginning
        raise DeadlineExceeded(f"{self} has not ended before the deadline", outcome="refused")

    async def _wait(self, due: Deadline) -> Ended:
        fresh = self._revision > 0 and self._client.revision - self._revision < RECENT
        begin = self._revision + 1 if fresh else None
        done = self._client.watch(self.paths.done(self.id), "znode", begin, on_gap="raise", deadline=due.left)
        async with done as events:
            # Its end is one revision: who sees that it is there, and watches already, will be told.
            if not fresh:
                record = await self.record(deadline=due.left)
                if record is None:
                    return await self.ended(deadline=due.left)
                self._keeps = record.keep_ms > 0
                self._check_that_it_keeps()
            async for event in events:
                if event.kind is ChangeKind.CREATED and event.value is not None:
                    return decode_ended(event.value)
        raise UnknownTask(f"the watch for {self} was closed")

    def _check_that_it_keeps(self) -> None:
        if not self._keeps:
            raise InvalidRequest(f"{self} keeps no result: it was enqueued with keep=0")

    async def ended(self, *, deadline: float | None = None) -> Ended:
        """How it ended, if it has; without waiting. Raises
        :class:`~coord.recipes.queue.errors.UnknownTask` (refused) where nothing is known of that.
        """
        due = Deadline(self._client, deadline)
        told = await self._told(due)
        if told is None:
            raise UnknownTask(
                f"{self} is not known here: it has ended, and its result was kept for a time only; or it never was, or "
                "it has not ended",
                {"task": self.id},
            )
        return decode_ended(told)

    async def _told(self, due: Deadline) -> bytes | None:
        """The bytes of its :class:`Ended`; ``None``: there are none."""
        try:
            return (await self._client.get(self.paths.done(self.id), deadline=due.left)).value
        except NotFound:
            pass
        try:
            letter = await self._client.get(self.paths.dead(self.id), deadline=due.left)
        except NotFound:
            return None
        return encode_ended(decode_dead(letter.value).ended)

    # --- what it is ---

    async def status(self, *, deadline: float | None = None) -> Status:
        """What it is just now."""
        due = Deadline(self._client, deadline)
        facts = await self._client.claim_info(self.path, deadline=due.left)
        if facts.holders:
            return Status.RUNNING
        if await self._client.exists(self.path, deadline=due.left) is None:
            told = await self._told(due)
            return Status.UNKNOWN if told is None else Status(decode_ended(told).outcome)
        if facts.held_back:
            return Status.AWAITING if facts.held_back_ms is None else Status.DELAYED
        return Status.WAITING

    async def record(self, *, deadline: float | None = None) -> TaskRecord | None:
        """What is written down of it, with the attempts that have failed; ``None``: it has ended."""
        try:
            znode = await self._client.get(self.path, deadline=deadline)
        except NotFound:
            return None
        return decode_task(znode.value)

    def progress(self, *, deadline: float | None = None) -> Reports:
        """What it reports (``context().progress(…)``): ``async for report in task.progress(): …``, until it has ended;
        see :class:`~coord.recipes.queue.reports.Reports`. ``deadline``: for the members' first answer.
        """
        due = Deadline(self._client, deadline)
        return Reports(self._client, self.path, self.paths.progress(self.id), lambda: due.left)

    # --- its end ---

    async def cancel(self, *, deadline: float | None = None) -> bool:
        """End it, if it waits; if it runs, have its worker end it (a thread ends where it next asks for its
        ``context()``). False: it has ended already. Those that come after it are skipped.
        """
        due = Deadline(self._client, deadline)
        return await self._end("cancelled", due)

    async def expire(self, *, deadline: float | None = None) -> bool:
        """End it, if it waits past its deadline. Whoever would run it does this, too; False: it does not."""
        return await self._end("expired", Deadline(self._client, deadline))

    async def _end(self, outcome: Literal["cancelled", "expired"], due: Deadline) -> bool:
        try:
            znode = await self._client.get(self.path, deadline=due.left)
        except NotFound:
            return False
        value, version = znode.value, znode.stat.version
        while True:
            record = decode_task(value)
            found = Found(self.paths, self.needs, self.id, record, version)
            attempts, now_ms = record.attempts, time.time_ns() // 1_000_000
            ended = Ended(VERSION, outcome, record.task, record.at_ms, now_ms, attempts=attempts)
            plan: Plan[object] = cancel(found, ended) if outcome == "cancelled" else expire(found, ended)
            answer = await carry_out(self._client, plan, deadline=due.left)
            if not isinstance(answer, Changed):
                return not isinstance(answer, Gone)
            value, version = answer.value, answer.version


class Tasks(Generic[R_co]):
    """The tasks of a group, in its order. What :meth:`~coord.recipes.queue.queue.Queue.enqueue` returns for one."""

    def __init__(self, members: Sequence[Task[R_co]]) -> None:
        self.members = tuple(members)

    def __iter__(self) -> Iterator[Task[R_co]]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    def __repr__(self) -> str:
        return f"<{len(self.members)} tasks>"

    async def result(self, *, deadline: float | None = None) -> list[R_co]:
        """The results of all. Raises what :meth:`Task.result` raises of the first of them that has none."""
        if not self.members:
            return []
        due = Deadline(self.members[0]._client, deadline)
        return [await each.result(deadline=due.left) for each in self.members]

    async def cancel(self, *, deadline: float | None = None) -> int:
        """Cancel all; returns how many had not ended."""
        if not self.members:
            return 0
        due = Deadline(self.members[0]._client, deadline)
        return sum([await each.cancel(deadline=due.left) for each in self.members])


def reference_of(reference: str) -> tuple[str, str, str]:
    """``(queue, needs, id)`` of a :attr:`Task.reference`."""
    parts = reference.split("/") if isinstance(reference, str) else []
    if len(parts) != 3 or not parts[1] or not is_id(parts[2]):
        raise InvalidRequest(
            f"a task's reference is 'queue/needs/id', as task.reference has it; not {reference!r:.80}"
        )
    return checked_queue(parts[0]), parts[1], parts[2]
