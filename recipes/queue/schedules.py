"""Schedules: tasks that are enqueued when it is time, once in the cluster for each tick, whichever workers live.

*What it guarantees.* A tick is enqueued in the one revision that writes down that it was: by no two workers, not once
more by a worker that was stopped or cut off, nor after a failover of the service. There is no leader among the workers
that could be missing, and nothing to be configured: every worker runs this.

*What it does not.* Enqueue while no worker runs, or no member serves; what was missed then is made up for as
``missed`` says. A tick that the queue does not take (it is full, or closed, or the call has a unique key that an
earlier tick's task still has) is counted as passed over, and not tried again.

*By which clock.* The leader's; see :mod:`coord.recipes.queue.leader_clock`. Of deployments that differ:
:mod:`coord.recipes.queue.ticking`.

*What it costs.* A write for each tick, an event of it for each worker, and a write by each worker in ten minutes, for
its clock. The task that comes has ``schedule`` and ``due_ms`` in its ``headers``.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import inf
from typing import Final, NoReturn

import anyio

from coord.client import (
    Cache,
    Client,
    Compare,
    CoordError,
    Create,
    Get,
    MultiResult,
    Operator,
    Set,
    Target,
    Znode,
)
from coord.client.clock import now
from coord.recipes.arguments import Deadline
from coord.recipes.queue.enqueueing import (
    BATCH_BYTES_MAX,
    BATCH_MAX,
    Enqueued,
    Known,
    New,
    NoFolders,
    enqueue,
    make_folders,
)
from coord.recipes.queue.errors import BadRecord, QueueClosed, QueueFull
from coord.recipes.queue.layout import QueuePaths
from coord.recipes.queue.leader_clock import LeaderClock
from coord.recipes.queue.plan import Op, has_version, if_so, is_missing, is_there, nested
from coord.recipes.queue.queue import Queue
from coord.recipes.queue.schedule import Schedule
from coord.recipes.queue.ticking import (
    AT_ONCE_MAX,
    Fire,
    Put,
    State,
    Wait,
    decode_state,
    encode_state,
    next_step,
    ticks_due,
)

log: Final = logging.getLogger("coord.recipes.queue")

LOOK_MS: Final = 600_000
"""So often, at least, the leader is asked for the time."""


class Scheduler:
    """``await Scheduler(queue, by="a name").run()``; a worker does, and needs no other's.

    ``by``: who this is, for people, and so that the worker that had the last tick is the first to try the next one.
    """

    def __init__(self, queue: Queue, *, by: str = "") -> None:
        self._queue = queue
        self._client: Client = queue._client
        self._app = queue.app
        self._folder = queue.app.layout.schedules
        self._by = by
        self._clock = LeaderClock()
        self._asked_ms = 0
        """When the leader last was asked for the time."""
        self._bad: dict[str, int] = {}
        """Of what is no schedule in the tree: at which revision that was said."""
        self._at_once: dict[str, int] = {}
        """Of each schedule: how many ticks fit into one request."""
        self._not_taken_by: dict[str, str] = {}
        """Schedules whose last tick was not enqueued -> why."""

    async def run(self) -> NoReturn:
        """Until it is cancelled, or the session has ended (:class:`~coord.client.SessionEnded`)."""
        schedules = list(self._app.schedules.values())
        if not schedules:
            await anyio.sleep_forever()
        await self._begin(schedules)
        async with self._client.cache(self._folder, deadline=inf) as cache:
            seen, starting = await cache.changed(), True
            while True:
                self._hear(cache)
                waits = [await self._settle(each, cache, starting) for each in schedules]
                starting = False
                local_ms = _local_ms()
                at_ms = self._clock.now_ms(local_ms)
                wait_ms = min([each for each in waits if each is not None], default=inf) - at_ms
                ask_ms = self._asked_ms + LOOK_MS - local_ms
                with anyio.move_on_after(max(min(wait_ms, ask_ms), 0) / 1000):
                    seen = await cache.changed(seen)
                if _local_ms() >= self._asked_ms + LOOK_MS:
                    await self._ask()

    # --- inside ------------------------------------------------------------------------------------------------------

    async def _begin(self, schedules: Sequence[Schedule]) -> None:
        """The folders that the first tick will need; and the time."""
        folders: dict[tuple[QueuePaths, str], None] = {}
        for each in schedules:
            tasks = self._queue._build(each.workflow).tasks
            for new in tasks:
                folders[new.paths, new.needs] = None
            size = sum([len(new.record.arguments) for new in tasks])
            fit = min(BATCH_MAX // len(tasks), BATCH_BYTES_MAX // max(size, 1))
            self._at_once[each.name] = max(min(fit, AT_ONCE_MAX), 1)
        mine = if_so([is_missing(self._folder)], [Create(self._folder, parents=True)])
        await self._client.multi(then=[mine, *make_folders(NoFolders(tuple(folders)))], deadline=inf)
        await self._ask()

    async def _ask(self) -> None:
        """What time it is for the leader: it stamps what is written."""
        await self._write([], [Set(self._folder, b"")], self._folder)

    async def _write(self, compare: Sequence[Compare], then: Sequence[Op], path: str) -> MultiResult:
        """Do it if ``compare`` holds. ``path`` is what it writes: its stamp is the time."""
        sent_ms = _local_ms()
        result = await self._client.multi(compare, [*then, Get(path)], deadline=inf)
        if result.succeeded:
            received_ms = self._asked_ms = _local_ms()
            written = result.results[-1]
            if isinstance(written, Znode):
                self._clock.wrote(written.stat.modified_ms, sent_ms, received_ms)
        return result

    def _hear(self, cache: Cache) -> None:
        """The leader's stamps on what others wrote: it is no earlier."""
        local_ms = _local_ms()
        for path in cache:
            cached = cache.get(path)
            if cached is not None:
                self._clock.saw(cached.modified_ms, local_ms)

    async def _settle(self, schedule: Schedule, cache: Cache, starting: bool) -> int | None:
        """Do what is to be done now; returns until when there is nothing."""
        path = f"{self._folder}/{schedule.name}"
        while True:
            cached = cache.get(path)
            state = None
            if cached is not None:
                try:
                    state = decode_state(cached.value)
                except BadRecord as error:
                    self._complain(path, cached.modified_revision, error)
                    return None
            at_ms = self._clock.now_ms(_local_ms())
            step = next_step(schedule.definition, state, at_ms, starting=starting, by=self._by)
            if isinstance(step, Wait):
                return step.until_ms
            as_read = is_missing(path) if cached is None else has_version(path, cached.version)
            if isinstance(step, Put):
                value = encode_state(step.state)
                put = Create(path, value) if cached is None else Set(path, value)
                revision = (await self._write([as_read], [put], path)).revision
            else:
                fires = ticks_due(schedule.definition, step, at_ms, self._by, self._at_once[schedule.name])
                revision = await self._fire(schedule, fires, path, as_read)
            # Whoever it was that wrote: what is done next is decided by what stands there now.
            await cache.wait_revision(revision, deadline=inf)

    async def _fire(self, schedule: Schedule, fires: Sequence[Fire], path: str, as_read: Compare) -> int:
        """Enqueue these ticks, in the one revision that writes the last of them down."""
        each_tick = [
            [_of_tick(new, schedule.name, fire) for new in self._queue._build(schedule.workflow).tasks]
            for fire in fires
        ]
        tasks = [new for tick in each_tick for new in tick]
        plan = enqueue(tasks, self._app.max_length)
        folders = list(dict.fromkeys([(new.paths, new.needs) for new in tasks]))
        # Without its folders the queue would take nothing, and the tick would be written down all the same.
        there = [is_there(paths.folder(needs)) for paths, needs in folders]
        # Of many ticks all are taken or none: as many as there is room for is what one by one finds out.
        compare = [as_read, *there, *(plan.compare if len(fires) > 1 else ())]
        state = replace(fires[-1].state, id=each_tick[-1][0].id)
        result = await self._write(compare, [Set(path, encode_state(state)), plan.multi()], path)
        if not result.succeeded:
            if len(fires) > 1:
                return await self._fire(schedule, fires[:1], path, as_read)
            await self._client.multi(then=make_folders(NoFolders(tuple(folders))), deadline=inf)
            return result.revision
        not_taken = partial(self._not_taken, schedule, path, state, result.revision)
        try:
            answers = plan.read(nested(result, 1))
        except (QueueFull, QueueClosed) as error:
            return await not_taken(len(fires), error.message)
        if isinstance(answers, NoFolders):  # deleted by hand in this very moment
            return await not_taken(len(fires), "its folder was deleted")
        known = [
            new.id
            for new, answer in zip(tasks, answers, strict=True)
            if isinstance(answer, Known) and await self._stays_known(new, answer)
        ]  # of calls by themselves: parts of a workflow have no keys
        if known:
            taken = [tick[0].id for tick in each_tick if tick[0].id not in known]
            return await not_taken(len(known), "another task has its unique key", taken[-1] if taken else "")
        self._not_taken_by.pop(schedule.name, None)
        return result.revision

    async def _stays_known(self, new: New, known: Known) -> bool:
        """Whether another task has its key in truth. That one may be gone, or have begun, where that is enough."""
        answer = await self._queue._known(new, known, Deadline(self._client, inf))
        return not isinstance(answer, Enqueued)

    async def _not_taken(
        self, schedule: Schedule, path: str, state: State, revision: int, ticks: int, why: str, id: str = ""
    ) -> int:
        """So many of the ticks were not: write it down, unless the next tick has come meanwhile."""
        # Once, and not at each tick: what takes longer than its interval may be meant to, and would fill the log.
        if self._not_taken_by.get(schedule.name) != why:
            self._not_taken_by[schedule.name] = why
            log.warning(
                "the tick of the schedule %s was not enqueued, and no other will be for as long as this is so: %s",
                schedule.name,
                why,
            )
        told = replace(
            state,
            ticks=state.ticks - ticks,
            passed_over=state.passed_over + ticks,
            id=id,
            trouble=why[:200],
        )
        unchanged = Compare(Target.MODIFIED_REVISION, path, Operator.EQUAL, revision)
        return (await self._write([unchanged], [Set(path, encode_state(told))], path)).revision

    def _complain(self, path: str, revision: int, error: CoordError) -> None:
        if self._bad.get(path) != revision:
            self._bad[path] = revision
            log.error("%s: %s; nothing is enqueued by it", path, error.message)


def _of_tick(new: New, name: str, fire: Fire) -> New:
    headers = {**new.record.headers, "schedule": name, "due_ms": str(fire.due_ms)}
    if fire.passed_over:
        headers["passed_over"] = str(fire.passed_over)
    return replace(new, record=replace(new.record, headers=headers))


def _local_ms() -> int:
    return round(now() * 1000)
