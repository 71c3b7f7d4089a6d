"""What a worker looks at in its queues: which folders there are that it can serve, and which tasks are to be cancelled.

Two watches for each queue, however many tasks there are.
"""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from math import inf
from typing import Final

import anyio

from coord.client import Cache, ChangeKind, Client, NotFound
from coord.recipes.queue.layout import QueuePaths, needs_of

FOLDERS_MAX: Final = 1_000
"""Of one worker: in each of them a claim of it waits when there is nothing to do."""


class Source:
    """One queue, as a worker sees it."""

    def __init__(self, client: Client, paths: QueuePaths, capabilities: frozenset[str]) -> None:
        self.paths = paths
        self._client = client
        self._capabilities = capabilities
        self._cancels: Cache | None = None

    def is_cancelled(self, id: str) -> bool:
        """Whether somebody wants this task cancelled. Exact as of any answer that this client has had: a task that was
        cancelled before it was claimed is known to be.
        """
        return self._cancels is not None and self.paths.cancel(id) in self._cancels

    async def open(self, stack: AsyncExitStack) -> None:
        """From now on :meth:`is_cancelled` is right."""
        self._cancels = await stack.enter_async_context(
            self._client.cache(self.paths.all_cancel, values=False, deadline=inf)
        )

    async def hear_of_cancels(self, heard: Callable[[], None]) -> None:
        """Call ``heard`` when somebody may want another task cancelled. Raises :class:`CoordError` when that can't be
        known any more.
        """
        if self._cancels is None:
            raise RuntimeError("a source that was not opened")
        async for _ in self._cancels.changes():
            heard()

    async def watch_folders(
        self, come: Callable[[str, QueuePaths, str], None], gone: Callable[[str], None]
    ) -> None:
        """Tell of the folders that this worker can serve: ``come(path, paths, needs)``. Raises :class:`CoordError`."""
        ready = self.paths.ready
        async with self._client.watch(ready, "children", deadline=inf) as events:
            try:
                names = await self._client.children(ready, deadline=inf)
            except NotFound:
                names = []
            for name in names:
                self._tell(name, come)
            async for event in events:
                name = event.path.rpartition("/")[2]
                if event.kind is ChangeKind.CREATED:
                    self._tell(name, come)
                elif event.kind is ChangeKind.DELETED:
                    gone(self.paths.folder(name))

    def _tell(self, name: str, come: Callable[[str, QueuePaths, str], None]) -> None:
        if needs_of(name) <= self._capabilities:
            come(self.paths.folder(name), self.paths, name)


class Drained:
    """Whether there is any task left in some queues, waiting, delayed or running: a copy of their names."""

    def __init__(self, client: Client, ready: Sequence[str]) -> None:
        self._client = client
        self._ready = ready
        self._caches: list[Cache] = []

    async def open(self, stack: AsyncExitStack) -> None:
        for path in self._ready:
            cache = self._client.cache(path, values=False, deadline=inf)
            self._caches.append(await stack.enter_async_context(cache))

    def __bool__(self) -> bool:
        return not any(
            self._tasks(path, cache) for path, cache in zip(self._ready, self._caches, strict=True)
        )

    def _tasks(self, ready: str, cache: Cache) -> bool:
        return any(path.count("/") == ready.count("/") + 2 for path in cache)

    async def wait(self) -> None:
        """Until all are empty. Each is looked at when any has changed: a task of one may put others into another."""
        while not self:
            async with anyio.create_task_group() as tasks:

                async def changed(cache: Cache) -> None:
                    await cache.changed(cache.revision)
                    tasks.cancel_scope.cancel()

                for cache in self._caches:
                    tasks.start_soon(changed, cache)
