"""How plans reach the service: many by one request.

What ends at the same time is asked for in one multi, each plan nested in it with its own conditions; so an end that
comes too late is told so, and the others happen. While requests are under way the next batch gathers: a batch is
whatever there is, never a timer.

An op that is *refused* undoes its whole batch. So plans that may be (with ops of a task's own) are sent ``alone``; and
if a batch is refused all the same, its plans are sent again, each for itself, and whoever is to blame is told.

A batch asks for what is to happen, and not why it did not: that is half of what a plan says, and nearly always in vain.
A plan whose conditions did not hold is sent again, whole and by itself. Nothing of it has happened; should they hold by
then, it happens then.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

import anyio

from coord.client import Client, CoordError, Multi, MultiResult
from coord.recipes.queue.plan import Plan

BATCH_MAX: Final = 100
BATCH_WEIGHT_MAX: Final = 1_000
"""Conditions and ops, with those that are nested: below what one multi may have."""
BATCH_BYTES_MAX: Final = 512 * 1024
PIPELINE_MAX: Final = 3
"""Batches under way: one is applied while the next is on its way."""

Told: TypeAlias = Callable[[Any], None]
"""Called with the plan's answer, or with the :class:`CoordError` that it was refused with. It must not raise."""


class Waiting(NamedTuple):
    plan: Plan[Any]
    multi: Multi
    """The same as an op, without what it does otherwise."""
    told: Told
    alone: bool
    weight: int
    size: int


class Completer:
    """Invariant: each plan that is added is told of once, unless :meth:`run` is cancelled."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._queue: deque[Waiting] = deque()
        self._under_way = 0
        self._news = anyio.Event()
        self._tasks: anyio.abc.TaskGroup | None = None

    def __len__(self) -> int:
        return len(self._queue) + self._under_way

    def add(self, plan: Plan[Any], told: Told, *, alone: bool = False) -> None:
        """Ask for it soon."""
        multi = Multi(plan.compare, plan.then)
        weight, size = weigh(multi)
        self._queue.append(Waiting(plan, multi, told, alone or weight > BATCH_WEIGHT_MAX, weight, size))
        self._news.set()

    async def run(self) -> None:
        """Until cancelled. Errors are told to those who have asked."""
        async with anyio.create_task_group() as tasks:
            while True:
                while self._queue and self._under_way < PIPELINE_MAX:
                    batch = self._next_batch()
                    self._under_way += 1
                    tasks.start_soon(self._send, batch)
                self._news = anyio.Event()
                await self._news.wait()

    def _next_batch(self) -> list[Waiting]:
        queue = self._queue
        batch = [queue.popleft()]
        weight, size = batch[0].weight, batch[0].size
        while queue and not batch[0].alone and len(batch) < BATCH_MAX:
            first = queue[0]
            if first.alone or weight + first.weight > BATCH_WEIGHT_MAX or size + first.size > BATCH_BYTES_MAX:
                break
            batch.append(queue.popleft())
            weight += first.weight
            size += first.size
        return batch

    async def _send(self, batch: list[Waiting]) -> None:
        try:
            if len(batch) == 1:
                await self._send_one(batch[0])
            else:
                await self._send_many(batch)
        finally:
            self._under_way -= 1
            self._news.set()

    async def _send_many(self, batch: list[Waiting]) -> None:
        try:
            ops = [each.multi for each in batch]
            result = await self._client.multi(then=ops, deadline=math.inf)
        except CoordError:
            # Nothing of it has happened, or the session is over, and then each will be told that.
            for each in batch:
                await self._send_one(each)
            return
        failed: list[Waiting] = []
        for each, answer in zip(batch, result.results, strict=True):
            if not isinstance(answer, MultiResult):
                raise TypeError(f"a nested multi is answered by its result, not by {answer!r:.80}")
            if answer.succeeded:
                each.told(each.plan.read(answer))
            else:
                failed.append(each)
        for each in failed:
            await self._send_one(each)

    async def _send_one(self, each: Waiting) -> None:
        plan = each.plan
        try:
            result = await self._client.multi(plan.compare, plan.then, plan.otherwise, deadline=math.inf)
        except CoordError as error:
            each.told(error)
        else:
            each.told(plan.read(result))


def weigh(multi: Multi) -> tuple[int, int]:
    """Of its conditions and ops, with those that are nested, how many there are, and the bytes of their values."""
    weight, size = 1 + len(multi.compare), 0
    for op in (*multi.then, *multi.otherwise):
        if isinstance(op, Multi):
            inner = weigh(op)
            weight += inner[0]
            size += inner[1]
        else:
            weight += 1
            size += len(getattr(op, "value", b""))
    return weight, size
