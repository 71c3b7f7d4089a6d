"""The client's own thread: an event loop that drives the async client, and what other threads hand over to it.

A thread that wants something appends it to a queue, and wakes the loop unless it is woken already: whatever a hundred
threads have appended by the time the loop gets to run is begun at once, and shares frames and round trips. Nothing
here takes a lock: a deque's appends and pops are atomic, and the order of the lines below does the rest.

One thread for each client, not one for all: a callback that blocks harms the client it was given to, and no other.
It is a daemon, so that an interpreter that wants to end is never held up by it; before it ends, every client that is
still open is closed (:func:`close_all`).
"""

import asyncio
import atexit
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from contextvars import Context, copy_context
from math import inf
from threading import get_ident
from time import monotonic
from typing import Any, Final, TypeVar, cast

import anyio
import anyio.abc

from coord.api.errors import DeadlineExceeded, Disconnected, InvalidRequest
from coord.api.ops import Row
from coord.client.blocking.waited import Call, Errand, Look, Stay, Waited
from coord.client.client import Client
from coord.client.connecting import Connecting
from coord.client.core.conversation import CLOSED
from coord.client.core.request import WRITE, Request
from coord.client.forks import own

log = logging.getLogger("coord.client")

GRACE_SECONDS: Final = 1.0
"""A call is told by the client's thread that its deadline has passed. So long after that its caller stops waiting by
himself: that thread does not run, then."""

CLOSE_SECONDS: Final = 3.0
"""For the thread to end, once it was asked to; the ending of the session has less (in ``coord.client.connecting``)."""

T = TypeVar("T")


class Loop:
    """Runs one async client in a thread, from :meth:`open` to :meth:`close`."""

    def __init__(self, connecting: Connecting) -> None:
        self._connecting = connecting
        self._thread = threading.Thread(target=self._run, name="coord-client", daemon=True)
        self._ident: int | None = None
        self._client: Client | None = None
        self._failure: Exception | None = None
        self._opened = threading.Event()
        self._handed: deque[Callable[[], object]] = deque()
        self._woken = True
        """Somebody has woken the loop, or need not: one that has not begun looks by itself."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context: Context | None = None
        """The thread's; in a caller's own, anyio would not find its loop."""
        self._whole: anyio.CancelScope | None = None
        self._tasks: anyio.abc.TaskGroup | None = None
        """``None`` before the client is open, and once it is to be closed."""
        self._leave: anyio.Event | None = None
        self._ended = False
        self._disowned: InvalidRequest | None = None

    # --- for its owner ---

    def open(self) -> Client:
        """Start the thread; returns its client once that is connected. Raises what connecting raises; after Ctrl-C,
        which may come in any line of this, the thread may run, and is to be stopped.
        """
        own(self)
        self._thread.start()
        self._opened.wait()
        if self._client is None:
            self._thread.join(CLOSE_SECONDS)
            raise self._failure or Disconnected(CLOSED, outcome="refused")
        return self._client

    @property
    def forked(self) -> bool:
        """This is a forked child, and has only a copy."""
        return self._disowned is not None

    @property
    def running(self) -> bool:
        """Begun in this process, and not ended."""
        return self in _running

    def stop(self) -> None:
        """Ask the client to leave. Does not wait; in any thread, as often as one likes, and in a forked child."""
        if not self.forked:
            self.hand(self._stop)

    def close(self) -> None:
        """End the session and the thread. Once it returns both have ended, unless a callback blocks the thread."""
        if not self.forked:  # else it is the parent's to end
            self.check_thread()
            self.stop()
            self.join(CLOSE_SECONDS)

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)
        if self._thread.is_alive():
            log.warning("a client's thread has not ended in %g s; does a callback block it?", seconds)

    def disown(self, why: InvalidRequest) -> None:
        """In a forked child. The thread has not come along; the sockets have, and are the parent's."""
        self._disowned = why
        _running.pop(self, None)

    # --- for callers, in any other thread. Ctrl-C while they wait gives up what they wait for. ---

    def request(self, op: Row, mode: int, at_least: int, seconds: float) -> Request:
        """Have ``op`` done; returns the request when it is. Raises what refuses it, and
        :class:`~coord.api.errors.DeadlineExceeded`; a request's own error is in it. Given up, a write that was sent
        may still happen.
        """
        call = Call(self.client._link, op, mode, at_least, seconds)
        self.do(call, seconds, mode == WRITE)
        return cast(Request, call.request)

    def look(self, function: Callable[[], T]) -> T:
        """What ``function`` returns, or raises, in the client's thread; it must not wait."""
        if get_ident() == self._ident:
            return function()
        client = self.client
        client._core._check_open()
        look = Look(function)
        self.do(look, client._deadline)
        return cast(T, look.value)

    def run(
        self,
        work: Callable[[], Awaitable[T]],
        seconds: float,
        effect: bool = False,
        unwanted: Callable[[T], object] | None = None,
    ) -> T:
        """What ``await work()`` returns, or raises, in the client's thread. It minds its deadline by itself:
        ``seconds`` is for the case that it can't; ``effect``: it writes. Given up, it is cancelled, and what came of it
        all the same is ``unwanted``.
        """
        errand = Errand(self._spawn, work, unwanted)
        self.do(errand, seconds, effect)
        return cast(T, errand.value)

    def enter(
        self,
        make: Callable[[], AbstractAsyncContextManager[T]],
        inside: Callable[[T], Awaitable[None]],
        seconds: float,
    ) -> Stay[T]:
        """Enter what ``make`` makes, and run ``inside`` in it until :meth:`leave`. Given up, it is left."""
        stay = Stay(self._spawn, make, inside)
        self.do(stay, seconds)
        return stay

    def leave(self, stay: Stay[T]) -> None:
        """Once it returns, ``inside`` has ended, and what was entered is left: that takes as long as it takes, but not
        for ever. Raises :class:`~coord.api.errors.DeadlineExceeded` (unknown) when the client's thread does not run.
        """
        if self.forked:
            return
        self.check_thread()
        self.hand(stay.give_up)
        while not stay.left.wait(CLOSE_SECONDS):
            runs = threading.Event()
            self.hand(runs.set)
            if not runs.wait(CLOSE_SECONDS):
                raise DeadlineExceeded(
                    "the client's own thread does not run: what blocks it? What was entered is left when it does",
                    outcome="unknown",
                )

    def do(self, waited: Waited, seconds: float = inf, effect: bool = False) -> None:
        """Begin it there, and wait here. ``effect``: if nobody knows what becomes of it, it may have happened."""
        self.check_thread()
        try:
            self.hand(waited.begin)
            done = waited.lock.acquire(True, _patience(seconds))
        except BaseException:
            self.hand(waited.give_up)
            raise
        if not done:
            self.hand(waited.give_up)
            raise DeadlineExceeded(
                "the deadline passed, and the client's own thread does not run: what blocks it?",
                outcome="unknown" if effect else "refused",
            )
        if waited.error is not None:
            raise waited.error

    def check_process(self) -> None:
        """Raise :class:`InvalidRequest` (refused) in a forked child."""
        if self._disowned is not None:
            raise InvalidRequest(self._disowned.message)

    def check_thread(self) -> None:
        """The same, and in the client's own thread, too."""
        self.check_process()
        if get_ident() == self._ident:
            raise InvalidRequest(
                "this was called in the client's own thread, by a callback, and would wait for itself: have another "
                "thread do it"
            )

    @property
    def client(self) -> Client:
        """For what is handed over, and for what may be asked in any thread."""
        if self._client is None:
            raise RuntimeError("nobody has a client before it is open")
        return self._client

    def hand(self, function: Callable[[], object]) -> None:
        """Have ``function``, which raises nothing, called in the client's thread, soon; at once, if that has ended.

        None is forgotten. It is appended before it is looked whether the loop is woken, and the loop says that it is
        no longer before it looks at the queue: who finds it woken is still seen. At the end ``_ended`` is set before
        the last look at the queue: who does not find it set is seen by that look, and who does looks by himself.
        """
        self._handed.append(function)
        if self._ended:
            self._begin_handed()
        elif not self._woken:
            try:
                self._woken = True
                self._wake()
            except BaseException:
                # Ctrl-C, and nobody knows how far that came: others find it woken, and count on it.
                self._wake()
                raise

    def _wake(self) -> None:
        try:
            loop = cast(asyncio.AbstractEventLoop, self._loop)
            loop.call_soon_threadsafe(self._begin_handed, context=self._context)
        except RuntimeError:
            log.debug(
                "a client's loop has ended just now; its thread has a last look at what was handed over"
            )

    # --- in the thread ---

    def _begin_handed(self) -> None:
        self._woken = False
        handed = self._handed
        for _ in range(len(handed)):  # no more: whoever comes meanwhile wakes the loop again
            try:
                function = handed.popleft()
            except IndexError:
                break  # at the end several threads may look
            function()
        if self._client is not None and not self._ended:
            self._client._link.settle()

    def _spawn(self, work: Callable[[anyio.CancelScope], Coroutine[Any, Any, None]]) -> anyio.CancelScope:
        if self._tasks is None:
            if self._client is not None:
                self._client._core._check_open()  # its session may have ended before
            raise Disconnected(CLOSED, outcome="refused")
        scope = anyio.CancelScope()
        self._tasks.start_soon(work, scope)
        return scope

    def _stop(self) -> None:
        if self._ended:
            return  # in whatever thread
        if self._leave is not None:
            self._leave.set()
        if self._whole is not None and self._client is None:
            self._whole.cancel()  # it connects, and might for long

    def _run(self) -> None:
        self._ident = get_ident()
        _running[self] = None
        try:
            anyio.run(self._main, backend="asyncio")
        finally:
            self._ended = True
            _running.pop(self, None)
            self._begin_handed()
            self._opened.set()

    async def _main(self) -> None:
        self._loop, self._context = asyncio.get_running_loop(), copy_context()
        self._leave = anyio.Event()
        with anyio.CancelScope() as self._whole:
            self._begin_handed()  # it may have to stop already
            try:
                async with self._connecting as client, anyio.create_task_group() as tasks:
                    self._client, self._tasks = client, tasks
                    self._opened.set()
                    await self._leave.wait()
                    self._tasks = None
                    tasks.cancel_scope.cancel()
            except Exception as error:
                if self._client is not None:
                    raise
                self._failure = error


def _patience(seconds: float) -> float:
    """How long to wait for what has ``seconds``. If those are no number, the client's thread will say so at once."""
    if not isinstance(seconds, int | float) or seconds != seconds:
        return GRACE_SECONDS
    return min(max(seconds, 0.0) + GRACE_SECONDS, threading.TIMEOUT_MAX)


_running: Final[dict[Loop, None]] = {}
"""Every client's thread of this process that was begun and has not ended."""


def close_all() -> None:
    """At the end of the interpreter: end the sessions of clients that are still open, all at the same time."""
    loops = list(_running)
    for loop in loops:
        loop.stop()
    ends_at = monotonic() + CLOSE_SECONDS
    for loop in loops:
        loop.join(max(ends_at - monotonic(), 0.0))


atexit.register(close_all)
