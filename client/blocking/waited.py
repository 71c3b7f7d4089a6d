"""What a thread waits for while the client's thread does it: a request of the core's, a function, something awaitable.

Each is made in the thread of its caller, begun in the client's thread, and says that it is done by releasing a lock
that the caller waits on: the least that wakes a thread, and a wait that Ctrl-C can interrupt.
"""

from _thread import allocate_lock
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from threading import Event
from typing import Any, Final, Generic, TypeVar

import anyio

from coord.api.errors import CoordError, Disconnected
from coord.api.ops import Row
from coord.client.core import NEVER, OVER, Request
from coord.client.core.conversation import CLOSED
from coord.client.core.request import WRITE
from coord.client.link import Link

T = TypeVar("T")

Spawn = Callable[[Callable[[anyio.CancelScope], Coroutine[Any, Any, None]]], anyio.CancelScope]
"""Begins a task in the client's thread, and returns the scope it is given; or raises why it can't."""


class Waited:
    """Invariants: ``lock`` is held until it is done, and from then on whoever waited has it. Begun and given up in the
    client's thread only, in this order (or in any, once that has ended).
    """

    __slots__ = ("error", "lock")

    def __init__(self) -> None:
        self.lock: Final = allocate_lock()
        self.lock.acquire()
        self.error: BaseException | None = None

    def begin(self) -> None:
        raise NotImplementedError

    def give_up(self) -> None:
        """Its caller waits no more."""


class Call(Waited):
    """One request: straight to the core, without a task. The request's context is the call itself, which the link
    treats as it treats the waiter of an async caller.
    """

    __slots__ = ("_at_least", "_link", "_mode", "_op", "_seconds", "request")

    def __init__(self, link: Link, op: Row, mode: int, at_least: int, seconds: float) -> None:
        super().__init__()
        self._link = link
        self._op = op
        self._mode = mode
        self._at_least = at_least
        self._seconds = seconds
        self.request: Request | None = None

    def begin(self) -> None:
        try:
            core = self._link.core
            # One that is over says so by itself, and perhaps in another thread: the client's has ended.
            ends_at = NEVER if core.state in OVER else self._link.deadline(self._seconds)
            if self._mode == WRITE:
                self.request = core.write(self._op, ends_at, self)
            else:
                self.request = core.read(self._op, self._mode, self._at_least, ends_at, self)
        except Exception as error:  # noqa: BLE001  it is the caller's, and is raised in the caller's thread
            self.error = error
            self.lock.release()

    def set(self) -> None:
        """The link says that the request is done."""
        self.lock.release()

    def give_up(self) -> None:
        if self.request is not None and not self.request.done:
            self._link.core.abandon(self.request)


class Look(Waited, Generic[T]):
    """A function that does not wait."""

    __slots__ = ("_function", "value")

    def __init__(self, function: Callable[[], T]) -> None:
        super().__init__()
        self._function = function
        self.value: T | None = None

    def begin(self) -> None:
        try:
            self.value = self._function()
        except Exception as error:  # noqa: BLE001  as above
            self.error = error
        self.lock.release()


class Errand(Waited, Generic[T]):
    """Something awaitable, in a task of its own. For what is not called thousands of times in a second.

    ``unwanted`` is called, in the client's thread, with what came of it when nobody waited any more.
    """

    __slots__ = ("_given_up", "_scope", "_spawn", "_unwanted", "_work", "value")

    def __init__(
        self, spawn: Spawn, work: Callable[[], Awaitable[T]], unwanted: Callable[[T], object] | None = None
    ) -> None:
        super().__init__()
        self._spawn = spawn
        self._work = work
        self._unwanted = unwanted
        self._given_up = False
        self._scope: anyio.CancelScope | None = None  # while its task runs
        self.value: T | None = None

    def begin(self) -> None:
        try:
            self._scope = self._spawn(self._run)
        except CoordError as error:
            self.error = error
            self.lock.release()

    async def _run(self, scope: anyio.CancelScope) -> None:
        # What it stays, if it is cancelled together with the client.
        self.error = Disconnected(CLOSED)
        try:
            with scope:
                self.value = await self._work()
                self.error = None
        except Exception as error:  # noqa: BLE001  as above
            self.error = error
        finally:
            self._scope = None
            self.lock.release()
        self._drop()

    def give_up(self) -> None:
        self._given_up = True
        if self._scope is not None:
            self._scope.cancel()
        else:
            self._drop()

    def _drop(self) -> None:
        """Ctrl-C may come when it is done, and before its caller has heard of it."""
        if self._given_up and self.error is None and self.value is not None and self._unwanted is not None:
            self._unwanted(self.value)


class Stay(Waited, Generic[T]):
    """A stay in an async context manager: entered and left in one task, which its cancel scopes insist on.

    Done once it is entered, or could not be; it is left when it is given up, or ``inside`` returns. Then ``left`` is
    set.
    """

    __slots__ = ("_inside", "_make", "_scope", "_spawn", "closed", "left", "value")

    def __init__(
        self,
        spawn: Spawn,
        make: Callable[[], AbstractAsyncContextManager[T]],
        inside: Callable[[T], Awaitable[None]],
    ) -> None:
        super().__init__()
        self.left: Final = Event()
        self._spawn = spawn
        self._make = make
        self._inside = inside
        self._scope: anyio.CancelScope | None = None  # while its task runs
        self.value: T | None = None
        self.closed = False
        """It was cancelled together with its client."""

    def begin(self) -> None:
        try:
            self._scope = self._spawn(self._run)
        except CoordError as error:
            self.error = error
            self.lock.release()
            self.left.set()

    async def _run(self, scope: anyio.CancelScope) -> None:
        entered = False
        self.error = Disconnected(CLOSED)
        try:
            with scope:
                async with self._make() as value:
                    self.value, self.error = value, None
                    entered = True
                    self.lock.release()
                    # A scope of its own. Else: 1. the block ends by itself, as a lock is lost; 2. its thread hears of
                    # it and gives up; 3. that cancels the leaving, and nobody is told why.
                    with anyio.CancelScope() as self._scope:
                        await self._inside(value)
        except Exception as error:  # noqa: BLE001  as above
            self.error = error
        except BaseException:
            self.closed = True
            raise
        finally:
            if not entered:
                self.lock.release()
            self._scope = None
            self.left.set()

    def give_up(self) -> None:
        if self._scope is not None:
            self._scope.cancel()
