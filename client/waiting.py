"""What callers wait for, and where they may call from. The one file that knows which event loop this is.

A thousand calls wait for a thousand answers, so what they wait by is most of what a call costs.
``anyio.Event`` would do, and costs 8.8 µs under asyncio and 10.7 µs under trio for each wait, from its making
to the waking of its task (CPU time of one busy machine); a future of asyncio's 3.5 µs, and trio's own
rescheduling 6.4 µs. Everything that is not done for each call waits by anyio's means.
"""

import asyncio
from collections.abc import Awaitable, Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import trio


class Waiter(Protocol):
    """An event for one to wait for, once."""

    def set(self) -> None: ...

    def wait(self) -> Awaitable[None]: ...


class Home(Protocol):
    """The event loop that a client lives in."""

    what: str
    """Whose it is, for people."""

    def is_here(self) -> bool:
        """Whether the caller runs in it."""

    def waiter(self) -> Waiter: ...

    def soon(self, call: Callable[[], None]) -> None:
        """Have ``call()`` called in its next turn: whoever was woken in this one comes before, or at the same time."""


def at_asyncio() -> bool:
    """Whether the caller runs in a task of asyncio's, rather than trio's."""
    try:
        # With trio as a guest of asyncio there is a loop of asyncio's, too; but none of its tasks.
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


def here() -> Home:
    """Of the running event loop."""
    return AsyncioHome() if at_asyncio() else TrioHome()


class AsyncioHome:
    __slots__ = ("_loop",)

    what = "event loop"

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def is_here(self) -> bool:
        return asyncio._get_running_loop() is self._loop

    def waiter(self) -> "AsyncioWaiter":
        return AsyncioWaiter(self._loop)

    def soon(self, call: Callable[[], None]) -> None:
        self._loop.call_soon(call)


class AsyncioWaiter:
    __slots__ = ("_future",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._future: asyncio.Future[None] = asyncio.Future(loop=loop)

    def set(self) -> None:
        if not self._future.done():  # a waiter that was cancelled, and has not had its turn since
            self._future.set_result(None)

    def wait(self) -> "asyncio.Future[None]":
        return self._future


class TrioHome:
    __slots__ = ("_lowlevel", "_thread", "_token")

    what = "thread"

    def __init__(self) -> None:
        import trio  # not for those who use asyncio: it takes a tenth of a second

        self._lowlevel = trio.lowlevel
        self._thread = get_ident()
        self._token = trio.lowlevel.current_trio_token()

    def is_here(self) -> bool:
        return get_ident() == self._thread

    def waiter(self) -> "TrioWaiter":
        return TrioWaiter(self._lowlevel)

    def soon(self, call: Callable[[], None]) -> None:
        self._token.run_sync_soon(call)


class TrioWaiter:
    """Like ``trio.Event``, for one task."""

    __slots__ = ("_lowlevel", "_set", "_task")

    def __init__(self, lowlevel: Any) -> None:
        self._lowlevel = lowlevel
        self._set = False
        self._task: trio.lowlevel.Task | None = None

    def set(self) -> None:
        self._set = True
        if self._task is not None:
            task, self._task = self._task, None
            self._lowlevel.reschedule(task)

    def wait(self) -> Awaitable[None]:
        # Not async: it would be one coroutine more for each call, to be made and to be woken.
        awaitable: Awaitable[None]
        if self._set:
            awaitable = self._lowlevel.checkpoint()
        else:
            self._task = self._lowlevel.current_task()
            awaitable = self._lowlevel.wait_task_rescheduled(self._abort)
        return awaitable

    def _abort(self, _: object) -> Any:
        self._task = None
        return self._lowlevel.Abort.SUCCEEDED
