"""What recipes that call their user do in plain threads: a job, or many at a time, for as long as :meth:`Running.run`
runs. By itself it is no recipe.

The recipe for tasks decides, in the client's thread; a thread does what it is called for. Where a task's work is
cancelled a thread's is told, by an event, and the recipe goes on when it has ended: so a partition is given up after
its work has ended here, too, and a process has one job at a time, however long a thread takes to look.
"""

import threading
from collections.abc import Awaitable, Callable
from functools import partial
from inspect import iscoroutinefunction
from queue import SimpleQueue
from typing import Any

import anyio

from coord.client import CoordError, Disconnected, InvalidRequest
from coord.recipes.arguments import checked_function
from coord.recipes.blocking.bridge import Bridge
from coord.recipes.scope import Beside


class Running:
    """A recipe for tasks, run from a thread until it ends, or is stopped."""

    def __init__(self, bridge: Bridge) -> None:
        self._portal = bridge
        self._scope: anyio.CancelScope | None = None  # while its task runs
        self._stopped = False
        self._turn = threading.Lock()
        """Held by the thread that runs it: two would take each other's calls, and the word that it has ended."""
        self._error: Exception | None = None
        self._broken_off: BaseException | None = None
        """Ctrl-C, or what else is no ``Exception``: nothing for the client's thread."""
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        """What the thread that runs it is to do; ``None``: it has ended."""

    # --- for its users' threads ---

    def run(self, main: Callable[[], Awaitable[object]]) -> None:
        """What ``await main()`` raises; returns only when it was stopped. What threads were called for has ended then.
        Ctrl-C stops it, and is raised when all has ended; another one at once.
        """
        self._portal.check_thread()
        if not self._turn.acquire(blocking=False):
            raise InvalidRequest("this runs already, in another thread; make another one")
        try:
            self._run_here(main)
        finally:
            self._turn.release()

    def _run_here(self, main: Callable[[], Awaitable[object]]) -> None:
        self._error = self._broken_off = None
        self._portal.hand(partial(self._begin, main))
        while True:
            try:
                call = self._calls.get()
                if call is None:
                    break
                call()
            except BaseException as error:
                if self._broken_off is not None:
                    raise
                self._break_off(error)
        if self._broken_off is not None:
            raise self._broken_off
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Have it end, also if it has not begun. Does not wait; in any thread, and in handlers of signals."""
        self._portal.hand(self._stop)

    def _break_off(self, error: BaseException) -> None:
        self._broken_off = error
        self.stop()

    # --- in the client's thread ---

    def _begin(self, main: Callable[[], Awaitable[object]]) -> None:
        try:
            self._scope = self._portal.spawn(partial(self._run, main))
        except CoordError as error:
            self._error = error
            self._calls.put(None)

    def _stop(self) -> None:
        self._stopped = True
        if self._scope is not None:
            self._scope.cancel()

    async def _run(self, main: Callable[[], Awaitable[object]], scope: anyio.CancelScope) -> None:
        # So, if it is cancelled together with the client.
        ended: Exception | None = Disconnected("this client is closed")
        try:
            with scope:
                if self._stopped:
                    scope.cancel()
                await main()
            ended = None
        except Exception as error:  # noqa: BLE001  it is raised in the thread that runs it
            ended = error
        finally:
            self._error = ended
            self._scope, self._stopped = None, False
            self._calls.put(None)

    async def here(self, function: Callable[[], object], told: threading.Event) -> None:
        """Have the thread that runs it call ``function``."""
        await self._call(self._calls.put, function, told)

    async def apart(self, function: Callable[[], object], told: threading.Event) -> None:
        """Have a thread of its own call ``function``."""
        await self._call(_begin_thread, function, told)

    async def _call(
        self,
        start: Callable[[Callable[[], None]], None],
        function: Callable[[], object],
        told: threading.Event,
    ) -> None:
        """Wait until ``function`` has ended, and raise what it raises. *Cancellation:* ``told`` is set, and it is
        waited for all the same.
        """
        done = anyio.Event()
        failures: list[Exception] = []

        def call() -> None:
            try:
                function()
            except Exception as error:  # noqa: BLE001  raised below
                failures.append(error)
            except BaseException as error:  # noqa: BLE001  raised by run()
                self._break_off(error)
            finally:
                self._portal.hand(done.set)

        start(call)
        try:
            await done.wait()
        except anyio.get_cancelled_exc_class():
            told.set()
            with anyio.CancelScope(shield=True):
                await done.wait()
            if failures:
                raise failures[0] from None
            raise
        if failures:
            raise failures[0]
        if self._broken_off is not None:
            await (
                anyio.sleep_forever()
            )  # it has not ended: it was broken off, and all of this is being stopped


def checked_plain(function: Callable[..., object], what: str) -> Callable[..., object]:
    if iscoroutinefunction(function):  # to call one does nothing
        raise InvalidRequest(
            f"{what} is a plain function here; for async ones there is the same in coord.recipes"
        )
    return checked_function(function, what)


def _begin_thread(call: Callable[[], None]) -> None:
    threading.Thread(target=call, name="coord-work", daemon=True).start()


class Mirror(Beside):
    """Has ``shown`` set when ``event`` is, for the length of a block."""

    def __init__(self, event: anyio.Event, shown: threading.Event) -> None:
        super().__init__()
        self._event = event
        self._shown = shown

    async def __aenter__(self) -> None:
        await self.begin()
        self.start(self._show)

    async def __aexit__(self, *_: Any) -> None:
        await self.finish()

    async def _show(self) -> None:
        await self._event.wait()
        self._shown.set()
