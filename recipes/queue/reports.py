"""What a running task reports of itself, as it is watched."""

import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import anyio
from anyio.lowlevel import checkpoint

from coord.client import ChangeKind, Client, CoordError, Event, Gap, InvalidRequest, NotFound, Watch


class Reports:
    """What :meth:`~coord.recipes.queue.task.Task.progress` returns: ``async for report in task.progress(): …``.

    The last report at once, and then each further one, until the task has ended; of those in quick succession some are
    left out. Where the loop may be left before that, enter it: ``async with task.progress() as reports:`` ends its
    watches with the block.
    """

    def __init__(self, client: Client, task: str, report: str, left: Callable[[], float]) -> None:
        self._client = client
        self._task = task
        self._report = report
        self._left = left
        self._stack: AsyncExitStack | None = None
        self._watches: tuple[Watch, ...] = ()
        self._ready: list[Any] = []
        self._seen = 0
        """The revision of the last report that was read, and not told by a watch."""
        self._over = False

    async def __aenter__(self) -> Self:
        if self._stack is not None or self._over:
            raise InvalidRequest("reports are followed once; ask for them again with task.progress()")
        await self._open()
        return self

    async def _open(self) -> None:
        async with AsyncExitStack() as stack:
            self._watches = (await self._watch(stack, self._report), await self._watch(stack, self._task))
            # Both are told from here on, so what is read now leaves no gap.
            try:
                last = await self._client.get(self._report, deadline=self._left())
                if last.stat.modified_revision > self._seen:
                    self._ready.append(json.loads(last.value))
                self._seen = max(self._seen, last.revision)
            except NotFound:
                pass  # nothing yet
            if await self._client.exists(self._task, deadline=self._left()) is None:
                self._over = True
            self._stack = stack.pop_all()

    async def _watch(self, stack: AsyncExitStack, path: str) -> Watch:
        watch = self._client.watch(path, "znode", on_gap="raise", deadline=self._left())
        return await stack.enter_async_context(watch)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over = True
        await self._close()

    async def _close(self) -> None:
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        while not self._ready:
            if self._over:
                await self._close()
                raise StopAsyncIteration
            if self._stack is None:
                await self._open()
                continue
            for found in await _next_of(self._watches):
                if isinstance(found, Gap):
                    await self._close()  # and look anew
                elif isinstance(found, BaseException):
                    raise found
                elif found.path != self._task:
                    self._take(found)
                elif found.kind is ChangeKind.DELETED and not self._over:
                    self._over = True
                    # What it reported before its end was told before it, and is here, but perhaps not taken.
                    for event in await _those_of(self._watches[0]):
                        self._take(event)
        return self._ready.pop(0)

    def _take(self, event: Event) -> None:
        if event.value is not None and event.revision > self._seen:
            self._seen = event.revision
            self._ready.append(json.loads(event.value))


async def _those_of(watch: Watch) -> list[Event]:
    """What a watch has to tell that is here already."""
    found: list[Event] = []

    async def take() -> None:
        try:
            async for event in watch:
                found.append(event)  # noqa: PERF401  one by one: it is cancelled in between
        except CoordError:
            return  # nothing more will come

    async with anyio.create_task_group() as group:
        group.start_soon(take)
        before = -1
        while before < len(found):
            before = len(found)
            for _ in range(3):  # its first turn, that of its checkpoint, and one in which it takes
                await checkpoint()
        group.cancel_scope.cancel()
    return found


async def _next_of(watches: tuple[Watch, ...]) -> list[Event | CoordError | StopAsyncIteration]:
    """What is next in any of them, or in several: each may have taken its event when it hears that another one has."""
    found: list[Event | CoordError | StopAsyncIteration] = []

    async def take(watch: Watch) -> None:
        try:
            found.append(await anext(watch))
        except (CoordError, StopAsyncIteration) as error:
            found.append(error)  # out of the group's hands it would come wrapped
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for watch in watches:
            group.start_soon(take, watch)
    return found
