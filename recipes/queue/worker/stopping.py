"""How a worker stops: nothing more is taken, what runs has its time to end, the rest goes back.

::

    asked to stop ─▶ until nothing runs, or the grace is over, or asked once more ─▶ stopped, handed back
                                                                                       └▶ cleanup: a few seconds
    cancelled ─────────────────────────────────────────────────────────────────────────▶ given back

A worker that is *cancelled* can send nothing more by its own tasks: they are cancelled, too. Its client lives on, and
with it the session, for which everything that it holds stays held. So what is held is released from outside of them:
what runs, and also what was on its way back. 1. A worker that has no room left gives a task back; that waits for its
turn to be sent. 2. The worker is cancelled. 3. The task was no attempt, so nobody would know of it any more: it would
be held for as long as the session lives, by nobody.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Final

import anyio

from coord.client import Client, CoordError
from coord.recipes.queue.worker.attempt import Attempt
from coord.recipes.queue.worker.completing import Completer
from coord.recipes.queue.worker.job import Why
from coord.recipes.queue.worker.taking import Taking

log = logging.getLogger("coord.worker")

CLEANUP_S: Final = 5.0
"""For tasks to end once they are cancelled, and for the last answers, when a worker stops."""


class Stopping:
    """To be made in the worker's event loop."""

    def __init__(self, taking: Taking, completer: Completer, grace_s: float) -> None:
        self._taking = taking
        self._completer = completer
        self._grace_s = grace_s
        self._asked = anyio.Event()
        self._hurry = anyio.Event()
        self._changed = anyio.Event()

    @property
    def asked(self) -> bool:
        return self._asked.is_set()

    def ask(self) -> None:
        """To stop; once more: at once."""
        if self._asked.is_set():
            self._hurry.set()
        self._asked.set()
        self._taking.stop()
        self.changed()

    async def wait_asked(self) -> None:
        await self._asked.wait()

    def changed(self) -> None:
        """Less may run, or be on its way, than before."""
        self._changed.set()

    async def finish(self, *, lost: bool) -> None:
        """Everything to its end, or back. ``lost``: it is others' already."""
        if not lost:
            with anyio.move_on_after(self._grace_s):
                async with anyio.create_task_group() as tasks:

                    async def hurry() -> None:
                        await self._hurry.wait()
                        tasks.cancel_scope.cancel()

                    tasks.start_soon(hurry)
                    await self._until(self._is_empty)
                    tasks.cancel_scope.cancel()
        for attempt in self._attempts():
            attempt.stop(Why.LOST if lost else Why.HANDED_BACK)
        with anyio.move_on_after(CLEANUP_S):
            await self._until(self._is_settled)
        for attempt in self._attempts():
            attempt.interrupt()

    def _attempts(self) -> list[Attempt]:
        return list(self._taking.attempts.values())

    def _is_empty(self) -> bool:
        return not self._taking.attempts and self._taking.quiet and not len(self._completer)

    def _is_settled(self) -> bool:
        """All that still runs is threads that nobody can end."""
        return all(each.abandoned for each in self._attempts()) and not len(self._completer)

    async def _until(self, done: Callable[[], bool]) -> None:
        while not done():
            self._changed = anyio.Event()
            await self._changed.wait()


async def give_back(client: Client, claims: Iterable[int]) -> None:
    """Release what is held for nobody. *Cancellation:* shielded, for ``CLEANUP_S``."""

    async def release(number: int) -> None:
        try:
            await client.release(number)
        except CoordError as error:
            log.debug("claim %d is not given back: %s", number, error)  # it has ended, or the session has

    with anyio.move_on_after(CLEANUP_S, shield=True):
        async with anyio.create_task_group() as tasks:
            for number in claims:
                tasks.start_soon(release, number)
