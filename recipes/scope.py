"""A block that is cancelled when what it stands on is gone: a membership whose session has ended, for instance.

The tasks that look out live beside the block and end with it. When one of them says :meth:`Scope.lose` the block is
cancelled, and whoever entered it gets :class:`Lost`, not a cancellation. A block that raises by itself, or is
cancelled from outside, has its own way: no exception group comes out of here.
"""

import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from types import TracebackType
from typing import Any

import anyio
import anyio.abc

from coord.client import Client, CoordError, SessionEnded, State

log = logging.getLogger("coord.recipes")


class Lost(CoordError):
    """What a block stood on is gone, and so the block was cancelled; the message, and ``__cause__``, say why.

    What the block was doing just then may have happened, or not.
    """

    slug = "lost"
    outcome = "unknown"


class Beside:
    """Tasks beside a block, which end with it. To be begun and ended in one task, as a task group is."""

    def __init__(self) -> None:
        self._tasks: anyio.abc.TaskGroup | None = None

    async def begin(self) -> None:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()

    def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``work`` beside the block; it must not raise."""
        if self._tasks is None:
            raise RuntimeError("tasks beside a block that was not begun")
        self._tasks.start_soon(work)

    async def finish(self) -> None:
        """Cancel the tasks, and wait for them. The block's own exception has another way: out of a group's hands it
        would come wrapped.
        """
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            tasks.cancel_scope.cancel()
            await tasks.__aexit__(None, None, None)


class Losable:
    """A block that somebody cancels by :meth:`lose`; there are no tasks. Entered and left by one task, as a cancel
    scope is, and then :meth:`conclude` says what came of it.
    """

    def __init__(self, client: Client, what: str) -> None:
        """``what`` is lost, if it is: "the membership of w1 in /workers"."""
        super().__init__()
        self._client = client
        self._what = what
        self._body = anyio.CancelScope()
        self.lost: Lost | None = None

    def enter(self) -> None:
        self._body.__enter__()

    def leave(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """True: ``exc`` was nothing but the cancellation in here."""
        return bool(self._body.__exit__(exc_type, exc, traceback))

    def lose(self, why: CoordError) -> None:
        """Cancel the block. Only the first reason counts."""
        if self.lost is None:
            self.lost = Lost(f"{self._what} is lost: {why.message}", why.details)
            self.lost.__cause__ = why
            self._body.cancel()

    def check(self) -> None:
        """Raise :class:`Lost`, if it is."""
        if self.lost is not None:
            raise self.lost

    async def conclude(self, exc: BaseException | None, mine: bool) -> bool:
        """``mine`` is what :meth:`leave` said, and what the block's own end is to say. Raises :class:`Lost` where that
        is why it ended.
        """
        if self.lost is None and self._client.state in (State.ENDED, State.CLOSED):
            self.lose(await self._client.wait_ended())  # the task that looks out has had no turn since
        if self.lost is not None and (exc is None or mine or isinstance(exc, SessionEnded | Lost)):
            raise self.lost
        return mine


class Scope(Losable, Beside):
    """The same, with tasks beside it that look out for its reasons to end."""

    async def begin(self) -> None:
        """Begin the block, and look out for the end of the session."""
        await super().begin()
        self.enter()
        self.start(self._wait_for_the_sessions_end)

    def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``work`` beside the block. A :class:`CoordError` that it raises is what the block is lost by."""
        super().start(partial(self._run, work))

    async def end(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """End the block, and the tasks. True: ``exc`` was nothing but the cancellation in here, and has gone.
        Raises :class:`Lost` where that is why.
        """
        mine = self.leave(exc_type, exc, traceback)
        await self.finish()
        return await self.conclude(exc, mine)

    async def _wait_for_the_sessions_end(self) -> None:
        self.lose(await self._client.wait_ended())

    async def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except CoordError as error:
            self.lose(error)


async def undo(client: Client, work: Callable[[], Awaitable[object]]) -> None:
    """Undo what a call has done, or may have, that is given up or fails; ``work`` sends one write, without a
    deadline.

    Writes of one client are applied in the order in which they were sent: also what is still on its way is undone.
    *Cancellation:* shielded, for no longer than the session lives on without an answer: then there is nothing left
    to be undone.
    """
    with anyio.move_on_after(client.session_timeout, shield=True):
        try:
            await work()
        except CoordError as error:
            log.debug("not undone, as %s", error)
