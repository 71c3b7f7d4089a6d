"""How tasks come to a worker: :mod:`coord.recipes.queue.worker.pulling` says what to ask for; here it is asked, and
what is granted becomes an attempt.
"""

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Final

import anyio
import anyio.abc

from coord.client import CoordError, Grant, NotFound, Release
from coord.recipes.queue.errors import BadRecord
from coord.recipes.queue.layout import QueuePaths
from coord.recipes.queue.plan import Plan
from coord.recipes.queue.running import Running
from coord.recipes.queue.worker.attempt import Attempt
from coord.recipes.queue.worker.folders import FOLDERS_MAX, Source
from coord.recipes.queue.worker.job import Why
from coord.recipes.queue.worker.pulling import Action, Pulling, What
from coord.recipes.queue.worker.reporting import UNKNOWN_HOLD_MS, set_aside
from coord.recipes.queue.worker.shop import Shop

log = logging.getLogger("coord.worker")

PAUSE_S: Final = 1.0
"""After a folder could not be asked, and is still there."""


class Taking:
    """Invariant: each task that this session holds is an attempt in ``attempts``, or on its way back."""

    def __init__(self, shop: Shop, slots: int) -> None:
        self.attempts: dict[str, Attempt] = {}
        """What has a slot, by the task's id."""
        self._returning: dict[int, None] = {}
        """Claims of what is no attempt, on their way back."""
        self._shop = shop
        self._client = shop.client
        self._slots = slots
        self._pulling = Pulling()
        self._folders: dict[str, tuple[Source, QueuePaths, str]] = {}
        self._requests: dict[str, anyio.CancelScope] = {}
        """What is asked of each folder, or waits there."""
        self._news = anyio.Event()
        self._tasks: anyio.abc.TaskGroup | None = None
        self._stopped = False

    @property
    def quiet(self) -> bool:
        """Nothing comes any more; after :meth:`stop`."""
        return self._pulling.quiet

    def held(self) -> list[int]:
        """The claims that are held, as far as is known."""
        return [
            *[each.running.claim for each in self.attempts.values() if not each.answered],
            *self._returning,
        ]

    def stop(self) -> None:
        """Take nothing more. What is granted now goes back."""
        self._stopped = True
        self._pulling.stop()
        self.wake()

    def wake(self) -> None:
        """A slot may be free."""
        self._news.set()

    def finished(self, attempt: Attempt) -> None:
        """Its slot is free."""
        self.attempts.pop(attempt.running.id, None)
        self.wake()

    # --- folders ---

    def folder_came(self, source: Source, path: str, paths: QueuePaths, needs: str) -> None:
        if path in self._folders:
            return
        if len(self._folders) >= FOLDERS_MAX:
            log.error("%s is not served: a worker serves %d folders at most", path, FOLDERS_MAX)
            return
        self._folders[path] = (source, paths, needs)
        self._pulling.add(path)
        self.wake()

    def folder_went(self, path: str) -> None:
        self._folders.pop(path, None)
        self._pulling.remove(path)
        self.wake()

    # --- asking ---

    async def run(self, idle: Callable[[], None]) -> None:
        """Until cancelled; ``idle`` is called after each look."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            while True:
                for action in self._pulling.next(self._slots - len(self.attempts)):
                    self._begin(action, tasks)
                self._news = anyio.Event()
                idle()
                await self._news.wait()

    def _begin(self, action: Action, tasks: anyio.abc.TaskGroup) -> None:
        if action.what is What.WITHDRAW:
            self._requests[action.folder].cancel()  # the client gives back what comes of it
        else:
            scope = self._requests[action.folder] = anyio.CancelScope()
            tasks.start_soon(self._ask, action.folder, action.number, scope)

    async def _ask(self, folder: str, count: int, scope: anyio.CancelScope) -> None:
        grants: list[Grant] = []
        with scope:
            try:
                grants = await self._client.claim_first(
                    folder, count, values=True, waits=partial(self._waits, folder, scope), deadline=math.inf
                )
            except CoordError as error:
                log.debug("%s: %s", folder, error)
                if folder in self._folders and not _is_of_a_child(error, folder):
                    # It is not that it is gone: that would have been told before. So not at once again.
                    self._waits(folder, scope)
                    await anyio.sleep(PAUSE_S)
        if self._requests.get(folder) is scope:
            del self._requests[folder]
            self._pulling.answered(folder)
        for grant in grants:
            self._take(folder, grant)
        self.wake()

    def _waits(self, folder: str, scope: anyio.CancelScope) -> None:
        if self._requests.get(folder) is scope:
            self._pulling.waits(folder)
            self.wake()  # others may have what it was to have

    # --- what came ---

    def _take(self, folder: str, grant: Grant) -> None:
        if folder not in self._folders or len(self.attempts) >= self._slots or self._stopped:
            # It does not count as an attempt.
            self._return(grant, Plan((), (Release(grant.number),), (), lambda result: None))
            return
        source, paths, needs = self._folders[folder]
        id = grant.path.rpartition("/")[2]
        try:
            running = Running.taken(
                paths, needs, id, grant.value or b"", grant.number, grant.token.revision, grant.lost_before
            )
        except BadRecord as error:
            log.error("%s is set aside, held back until somebody looks at it: %s", grant.path, error)
            self._set_aside(grant, None)
            return
        task = self._shop.app.tasks.get(running.record.task)
        if task is None:
            log.error(
                "task %s is %s, which this worker's app does not have; it is held back for %d s, for others that may",
                id,
                running.record.task,
                UNKNOWN_HOLD_MS // 1000,
            )
            self._set_aside(grant, UNKNOWN_HOLD_MS)
            return
        attempt = self.attempts[id] = Attempt(self._shop, running, grant.token, task)
        if source.is_cancelled(id):
            attempt.stop(Why.CANCELLED)
        if self._tasks is None:
            raise RuntimeError("a grant, and nobody has asked")
        self._tasks.start_soon(attempt.run)

    def _set_aside(self, grant: Grant, hold_ms: int | None) -> None:
        self._shop.counters.set_aside += 1
        self._return(grant, set_aside(grant.path, grant.token.revision, grant.number, hold_ms), alone=True)

    def _return(self, grant: Grant, plan: Plan[None], *, alone: bool = False) -> None:
        self._returning[grant.number] = None
        self._shop.completer.add(plan, partial(self._returned, grant.number), alone=alone)

    def _returned(self, number: int, answer: object) -> None:
        del self._returning[number]
        if isinstance(answer, CoordError):
            log.debug("a task could not be handed back: %s", answer)  # it is not ours any more
        self.wake()


def _is_of_a_child(error: CoordError, folder: str) -> bool:
    """Somebody has deleted what was granted before it could be read."""
    return isinstance(error, NotFound) and error.details.get("path") != folder
