"""The shell around the core: one stream at a time, one clock, and the tasks that wait for them.

Three tasks. One keeps a stream up: dials, reads, dials again. One sends whatever the core has gathered since
the last send. One looks at the clock when the core wants it. Callers wait for an event of their own, which is set
when the core has completed their request. No locks: everything runs in one thread, and the core never waits.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
import anyio.abc

from coord.api.errors import CoordError, Disconnected
from coord.client.core import OVER, Core, State
from coord.client.endpoints import Endpoint, Route
from coord.client.request import NEVER, Request
from coord.client.settings import open_seconds, resume_seconds
from coord.client.watching import Watching

log = logging.getLogger("coord.client")

RECEIVE_BYTES: Final = 256 * 1024

Dial = Callable[[Endpoint], Awaitable[anyio.abc.ByteStream]]
"""Makes a stream to a member; what it raises of OSError is a member that could not be reached."""


async def dial_tcp(endpoint: Endpoint) -> anyio.abc.ByteStream:
    return await anyio.connect_tcp(endpoint.host, endpoint.port)


class Link:
    """Drives a core. :meth:`run` until cancelled, or until the core is over."""

    def __init__(self, core: Core, route: Route, dial: Dial = dial_tcp) -> None:
        self.core = core
        self._route = route
        self._dial = dial
        self._to_send = anyio.Event()
        self._clock_moved = anyio.Event()
        self._clock_at = NEVER
        self._over = anyio.Event()
        self._stream_scope: anyio.CancelScope | None = None
        self._state_changed = anyio.Event()

    async def run(self) -> None:
        """Keep the core connected. A bug in here ends the client, and every caller is told so."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._keep_time)
                await self._keep_connected()
                tasks.cancel_scope.cancel()
        except Exception as error:  # noqa: BLE001  # else callers would wait for ever, or get an exception group
            log.exception("the client failed; this is a bug in it")
            failure = CoordError(f"the client failed, by a bug of its own: {error!r}")
            failure.__cause__ = error
            self.core.close(failure)
            self.settle()

    # --- what callers use ---

    def settle(self) -> None:
        """After anything was told to the core: wake whoever has something to do now."""
        core = self.core
        for request in core.take_completed():
            if request.context is not None:
                request.context.set()
        for watch in core.take_woken():
            watch.context.set()
        for state in core.take_states():
            self._entered(state)
        if core.hang_up is not None and self._stream_scope is not None:
            self._stream_scope.cancel()
        self._to_send.set()
        if core.next_tick_at() < self._clock_at:
            self._clock_moved.set()

    async def finished(self, request: Request, done: anyio.Event) -> Request:
        """Wait for ``request``, whose context is ``done``. *Cancellation:* the request is abandoned."""
        self._to_send.set()
        if request.deadline < self._clock_at:
            self._clock_moved.set()
        try:
            await done.wait()
        finally:
            if not request.done:
                self.core.abandon(request)
        return request

    async def opened(self, watch: Watching, done: anyio.Event) -> None:
        """Wait until ``watch`` was opened. Raises what it failed with. *Cancellation:* it is closed."""
        self.settle()
        try:
            await done.wait()
            watch.opening.row()
        except BaseException:
            self.core.unwatch(watch)
            self.settle()
            raise

    async def connected(self) -> None:
        """Wait until a member has said welcome for the first time, or the client is over."""
        while self.core.state is State.CONNECTING:
            await self._state_changed.wait()

    def statistics(self) -> dict[str, Any]:
        """For looking at."""
        core = self.core
        return {"state": core.state, "member": core.member, "unanswered": core.unanswered}

    # --- the three tasks ---

    async def _keep_connected(self) -> None:
        core = self.core
        while core.state not in OVER:
            endpoint, pause = self._route.next()
            if pause:
                with anyio.move_on_after(pause):
                    await self._over.wait()
                    return
            await self._one_stream(endpoint)

    async def _one_stream(self, endpoint: Endpoint) -> None:
        core = self.core
        reason: CoordError | None = None
        began_at = 0.0
        with anyio.CancelScope() as scope:
            self._stream_scope = scope
            try:
                stream = await self._dialled(endpoint)
                async with stream, anyio.create_task_group() as tasks:
                    began_at = anyio.current_time()
                    core.connected(began_at)
                    self.settle()
                    tasks.start_soon(self._send, stream, scope)
                    await self._receive(stream, endpoint)
            except (OSError, UnicodeError, anyio.BrokenResourceError, anyio.EndOfStream, TimeoutError) as error:
                reason = Disconnected(f"{endpoint}: {error or type(error).__name__}")
        self._stream_scope = None
