"""To look at queues: what waits, what runs, how it ended. It needs a client and the app's root, and none of its code.

::

    inspector = Inspector(client, Layout("/tasks/shop"))
    for facts in await inspector.queues():
        print(facts.name, facts.waiting, facts.running)
    print(await inspector.find("mail", id))

Facts of one task are of nearly one moment each, and so are the numbers of one queue; those of different queues, and the
tasks of a list, are not. How many were enqueued and ended in all is told by the folders' own counts of creates and
deletes, which cost nothing to keep. The client needs a session: several reads at one revision are a multi.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from coord.client import (
    Client,
    ExistsOp,
    Get,
    InvalidRequest,
    List,
    MultiResult,
    NotFound,
    Page,
    Stat,
    Znode,
)
from coord.recipes import membership
from coord.recipes.members import Member
from coord.recipes.queue.errors import BadRecord, UnknownTask
from coord.recipes.queue.facts import (
    QueueFacts,
    ScheduleFacts,
    TaskFacts,
    ended_facts,
    facts_of,
    schedule_facts,
)
from coord.recipes.queue.layout import PRIORITIES, Layout, QueuePaths, is_id
from coord.recipes.queue.plan import if_so, is_there
from coord.recipes.queue.record import decode_dead, decode_ended, decode_task
from coord.recipes.queue.running import Found
from coord.recipes.queue.task import Status
from coord.recipes.queue.together import together

PAGE: Final = 500
ASKED_AT_ONCE: Final = 50
"""Tasks, or queues, that are asked for by requests which are under way together."""


class Inspector:
    """``layout``: of the app, ``app.layout`` or ``Layout("/tasks/shop")``. All methods raise as reads do."""

    def __init__(self, client: Client, layout: Layout) -> None:
        self._client = client
        self._layout = layout

    # --- queues ------------------------------------------------------------------------------------------------------

    async def names(self) -> list[str]:
        """Of the queues, in order."""
        try:
            return list(await self._client.children(self._layout.queues))
        except NotFound:
            return []

    async def queues(self) -> list[QueueFacts]:
        async def ask(name: str) -> QueueFacts | None:
            try:
                return await self.queue(name)
            except NotFound:
                return None  # it was deleted meanwhile

        found = await together(ask, await self.names(), ASKED_AT_ONCE)
        return [each for each in found if each is not None]

    async def queue(self, name: str) -> QueueFacts:
        """Raises :class:`~coord.client.NotFound` (refused)."""
        paths = self._layout.queue(name)
        try:
            folders = list(await self._client.children(paths.ready))
        except NotFound:
            raise NotFound(f"there is no queue {name!r:.80} below {self._layout.root}") from None
        looks: list[Any] = [
            ExistsOp(each) for each in (paths.closed, paths.paused, paths.all_done, paths.all_dead)
        ]
        for each in folders:
            folder = paths.folder(each)
            looks.append(ExistsOp(folder))
            looks += [List(folder, stats=True, limit=1, after=f"{digit}-") for digit in range(PRIORITIES)]
        result = await self._client.multi(then=looks)
        facts = [await self._client.claim_info(paths.folder(each)) for each in folders]
        closed, paused, done, dead, *rest = result.results
        stats = [each for each in rest if isinstance(each, Stat)]
        first = [
            child.stat for each in rest if isinstance(each, Page) for child in each.children if child.stat
        ]
        enqueued = sum([(each.children_version + each.child_count) // 2 for each in stats])
        return QueueFacts(
            name,
            waiting=sum([each.children.free for each in facts]),
            delayed=sum([each.children.held_back for each in facts]),
            blocked=sum([each.children.blocked for each in facts]),
            running=sum([each.children.held for each in facts]),
            done=done.child_count if isinstance(done, Stat) else 0,
            dead=dead.child_count if isinstance(dead, Stat) else 0,
            enqueued=enqueued,
            ended=enqueued - sum([each.child_count for each in stats]),
            oldest_ms=min([each.created_ms for each in first], default=None),
            paused=paused is not None,
            closed=closed is not None,
            folders=tuple(folders),
        )

    # --- tasks -------------------------------------------------------------------------------------------------------

    async def waiting(self, name: str) -> AsyncIterator[Found]:
        """All tasks of a queue that have not ended, folder by folder, by priority and age in each. What is no task is
        left out.
        """
        paths = self._layout.queue(name)
        for needs in await self._client.children(paths.ready):
            async for child_name, value, stat in self._pages(paths.folder(needs)):
                try:
                    yield Found(paths, needs, child_name, decode_task(value), stat.version)
                except BadRecord:
                    continue

    async def tasks(self, name: str, *, limit: int = 50, status: Status | None = None) -> list[TaskFacts]:
        """Tasks of a queue: the first ``limit`` of this status; ``None``: of those that have not ended."""
        ended = {Status.SUCCEEDED, Status.CANCELLED, Status.EXPIRED, Status.SKIPPED}
        found: list[TaskFacts] = []
        if status is Status.FAILED:
            async for letter in self.dead(name):
                found.append(letter)
                if len(found) == limit:
                    break
            return found
        if status in ended:
            paths = self._layout.queue(name)
            async for id, value, _ in self._pages(paths.all_done):
                each = ended_facts(paths, id, value)
                if each is not None and each.status is status:
                    found.append(each)
                    if len(found) == limit:
                        break
            return found
        batch: list[Found] = []
        async for task in self.waiting(name):
            batch.append(task)
            if len(batch) == ASKED_AT_ONCE:
                found += await self._asked(batch, status)
                batch = []
                if len(found) >= limit:
                    return found[:limit]
        return (found + await self._asked(batch, status))[:limit]

    async def dead(self, name: str) -> AsyncIterator[TaskFacts]:
        """The dead letters of a queue. What is none is left out."""
        paths = self._layout.queue(name)
        async for id, value, stat in self._pages(paths.all_dead):
            try:
                letter = decode_dead(value)
            except BadRecord:
                continue
            yield TaskFacts(
                name, letter.needs, id, Status.FAILED, letter.record, stat.version, letter.ended, lost=0
            )

    async def find(self, id: str, queue: str | None = None) -> TaskFacts:
        """One task by its id (or its reference), wherever it is. Raises
        :class:`~coord.recipes.queue.errors.UnknownTask` (refused) where it is not known any more.
        """
        if id.count("/") == 2:
            queue, _, id = id.split("/")
        if not is_id(id):
            raise InvalidRequest(
                f"a task's id looks like 5-00000000001a2b-…, as task.id has it; not {id!r:.80}"
            )
        for name in await self.names() if queue is None else [queue]:
            paths = self._layout.queue(name)
            try:
                folders = list(await self._client.children(paths.ready))
            except NotFound:
                continue
            candidates = [*[paths.task(each, id) for each in folders], paths.dead(id), paths.done(id)]
            result = await self._client.multi(
                then=[if_so([is_there(each)], [Get(each)]) for each in candidates]
            )
            for path, each in zip(candidates, result.results, strict=True):
                if isinstance(each, MultiResult) and each.succeeded and isinstance(each.results[0], Znode):
                    return await self._found(paths, path, id, each.results[0])
        raise UnknownTask(
            f"there is no task {id} {f'in the queue {queue!r:.80}' if queue else 'in any queue'}, and no result of one",
            {"task": id},
        )

    async def holder_of(self, name: str, key: str) -> str | None:
        """The id of the task that has this unique key, or that was enqueued with this idempotency key."""
        paths = self._layout.queue(name)
        for path in (paths.unique(key), paths.same(key)):
            try:
                return (await self._client.get(path)).value.decode("utf-8", "replace").rpartition("/")[2]
            except NotFound:
                continue
        return None

    # --- the others --------------------------------------------------------------------------------------------------

    async def schedules(self) -> list[ScheduleFacts]:
        found = []
        try:
            async for name, value, stat in self._pages(self._layout.schedules):
                found.append(schedule_facts(name, value, stat.modified_ms))
        except NotFound:
            return []
        return found

    async def workers(self) -> tuple[Member, ...]:
        """Those that live, by name; what each can do and runs is in its ``attributes``."""
        group = membership.observe(self._client, self._layout.workers)
        async with group:
            roster = group.roster
        return tuple(roster)

    # --- inside ------------------------------------------------------------------------------------------------------

    async def _pages(self, folder: str) -> AsyncIterator[tuple[str, bytes, Stat]]:
        after: str | None = None
        while True:
            page = await self._client.list(folder, values=True, stats=True, limit=PAGE, after=after)
            for child in page.children:
                if child.stat is not None:
                    yield child.name, child.value or b"", child.stat
            if not page.more:
                return
            after = page.children[-1].name

    async def _asked(self, tasks: Sequence[Found], status: Status | None) -> list[TaskFacts]:
        """With how they stand; only those of this status. Requests that are under way together are few frames."""

        async def ask(task: Found) -> TaskFacts | None:
            try:
                return facts_of(task, await self._client.claim_info(task.path))
            except NotFound:
                return None  # it has ended meanwhile

        found = await together(ask, tasks, ASKED_AT_ONCE)
        return [each for each in found if each is not None and status in (None, each.status)]

    async def _found(self, paths: QueuePaths, path: str, id: str, znode: Znode) -> TaskFacts:
        if path == paths.dead(id):
            letter = decode_dead(znode.value)
            return TaskFacts(
                paths.name, letter.needs, id, Status.FAILED, letter.record, znode.stat.version, letter.ended
            )
        if path == paths.done(id):
            ended = decode_ended(znode.value)
            return TaskFacts(paths.name, "", id, Status(ended.outcome), None, ended=ended)
        needs = path.split("/")[-2]
        task = Found(paths, needs, id, decode_task(znode.value), znode.stat.version)
        try:
            facts = await self._client.claim_info(path)
        except NotFound:
            return await self.find(id, paths.name)  # it has just ended: its end is there now
        rows = (await self._client.claims(path, subtree=False)).claims
        more = await self._client.multi(
            then=[
                ExistsOp(paths.cancel(id)),
                if_so([is_there(paths.progress(id))], [Get(paths.progress(id))]),
            ]
        )
        asked, progress = more.results
        told = progress.results[0] if isinstance(progress, MultiResult) and progress.succeeded else None
        holder = next((row for row in rows if row.token is not None), None)
        return facts_of(
            task,
            facts,
            worker=holder.client if holder else "",
            since_ms=holder.since_ms if holder else None,
            cancel_asked=asked is not None,
            progress=told.value if isinstance(told, Znode) else None,
        )
