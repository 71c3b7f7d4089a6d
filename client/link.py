"""The shell around the core: one stream at a time, one clock, and callers that wait.

Three tasks. One keeps a stream up: dials, reads, dials again. One sends what the core has gathered since the
last send: requests that were made meanwhile share frames, without a timer. One looks at the clock when the core
wants it. Callers wait for an event of their own, set when the core has completed their request. No locks:
everything runs in one thread, and nothing waits between two calls to the core that belong together.
"""

import logging
import os
from collections.abc import Awaitable, Callable
from typing import Final

import anyio
import anyio.abc
from anyio.lowlevel import cancel_shielded_checkpoint

from coord.api.errors import CoordError, Disconnected
from coord.client.core import OVER, Core, State
from coord.client.endpoints import Endpoint, Route
from coord.client.request import NEVER, Request
from coord.client.settings import resume_seconds

log = logging.getLogger("coord.client")

RECEIVE_BYTES: Final = 256 * 1024

Dial = Callable[[Endpoint], Awaitable[anyio.abc.ByteStream]]
"""Makes a stream to a member. An OSError: it could not be reached."""


async def dial_tcp(endpoint: Endpoint) -> anyio.abc.ByteStream:
    return await anyio.connect_tcp(endpoint.host, endpoint.port)


class Bell:
    """Wakes those who wait now. Look first, then wait: nothing can ring between the two."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = anyio.Event()

    def set(self) -> None:
        event, self._event = self._event, anyio.Event()
        event.set()

    async def wait(self) -> None:
        await self._event.wait()


class Link:
    """Drives a core over streams, for as long as :meth:`run` runs."""

    def __init__(self, core: Core, route: Route, dial: Dial = dial_tcp) -> None:
        self.core = core
        self.route = route
        self._dial = dial
        self._stream: anyio.abc.ByteStream | None = None
        self._stream_scope: anyio.CancelScope | None = None
        self._send_scope: anyio.CancelScope | None = None
        self._sendable = anyio.Event()
        self._clock_moved = anyio.Event()
        self._clock_at = NEVER
        self._state_changed = Bell()
        self._scope = anyio.CancelScope(shield=True)
        self._stopped = anyio.Event()

    async def run(self) -> None:
        """Keep the core connected, until it is over or :meth:`stop` is called. Raises nothing: a failure in here
        closes the core, and so every caller is told.

        *Cancellation:* shielded. A block that is cancelled still has a connection to end its session with.
        """
        try:
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._send)
                    tasks.start_soon(self._keep_time)
                    await self._keep_connected()
                    tasks.cancel_scope.cancel()
        except Exception as error:
            log.exception("the client has failed; this is a bug in it")
            failure = CoordError(f"the client has failed, by a bug of its own: {error!r}")
            self.core.close(failure)
            self.settle()
        finally:
            self._stopped.set()

    async def stop(self) -> None:
        """End :meth:`run`, and wait until it has. *Cancellation:* shielded; there is nothing in it that takes long."""
        self.core.close()
        self.settle()
        self._scope.cancel()
        with anyio.CancelScope(shield=True):
            await self._stopped.wait()
        await cancel_shielded_checkpoint()  # its task leaves its group one step later

    # --- for callers ---

    def settle(self) -> None:
        """After something was told to the core: wake whoever has something to do now."""
        core = self.core
        for request in core.take_completed():
            request.context.set()
        for watch in core.take_woken():
            watch.context.set()
        for state in core.take_states():
            self._entered(state)
        if core.hang_up is not None:
            self._cut()
        if core.has_bytes:
            self._sendable.set()
        if core.next_tick_at() < self._clock_at:
            self._clock_moved.set()

    async def finished(self, request: Request) -> None:
        """Wait until ``request``, whose context is an event, is done. *Cancellation:* it is abandoned."""
        self._sendable.set()
        if request.deadline < self._clock_at:
            self._clock_moved.set()
        try:
            await request.context.wait()
        finally:
            if not request.done:
                self.core.abandon(request)

    async def begun(self) -> None:
        """Wait until a member has said welcome for the first time, or the client is over."""
        while self.core.state is State.CONNECTING:
            await self._state_changed.wait()

    async def ended(self) -> CoordError:
        """Wait until the client is over; returns why."""
        while self.core.state not in OVER:
            await self._state_changed.wait()
        return self.core.failure or Disconnected("this client is closed")

    # --- the stream ---

    async def _keep_connected(self) -> None:
        while self.core.state not in OVER:
            endpoint, pause = self.route.next()
            with anyio.move_on_after(pause):
                while self.core.state not in OVER:
                    await self._state_changed.wait()
            if self.core.state not in OVER:
                await self._connection(endpoint)

    async def _connection(self, endpoint: Endpoint) -> None:
        """One connection, from its dialling to its end."""
        core = self.core
        reason = Disconnected("the client has hung up")
        began_at = anyio.current_time()
        with anyio.CancelScope() as self._stream_scope:
            try:
                with anyio.fail_after(resume_seconds(core.session_timeout)):
                    stream = await self._dial(endpoint)
                try:
                    began_at = anyio.current_time()
                    self._stream = stream
                    core.connected(began_at)
                    self.settle()  # cancels this scope, if the session ended while it was dialling
                    await self._receive(stream)
                finally:
                    self._stream = None
                    if self._send_scope is not None:
                        self._send_scope.cancel()
                    await anyio.aclose_forcefully(stream)
            except TimeoutError:
                reason = Disconnected(f"{endpoint} does not answer")
            except anyio.EndOfStream:
                reason = Disconnected(f"{endpoint} has closed the connection")
            except (OSError, UnicodeError, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
                reason = Disconnected(f"{endpoint}: {_in_words(error)}")
        self._stream_scope = None
        now = anyio.current_time()
        welcomed = core.state is State.CONNECTED
        core.disconnected(now, reason)
        if welcomed:
            self.route.lost(endpoint, now - began_at)
        if core.state not in OVER:
            log.log(
                logging.INFO if welcomed else logging.DEBUG,
                "not connected to %s: %s",
                endpoint,
                core.last_error,
            )
        self.settle()

    async def _receive(self, stream: anyio.abc.ByteStream) -> None:
        core = self.core
        while True:
            data = await stream.receive(RECEIVE_BYTES)
            core.received(data, anyio.current_time())
            self.settle()

    async def _send(self) -> None:
        while True:
            await self._sendable.wait()
            self._sendable = anyio.Event()
            stream = self._stream
            data = self.core.take_bytes()
            if not data or stream is None:
                continue
            with anyio.CancelScope() as self._send_scope:
                try:
                    await stream.send(data)
                except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
                    # Not the end yet: the member's goodbye may still be there to be read. The reader will meet the end,
                    # or the core will miss the answer to its next keepalive.
                    log.debug("cannot send: %s", _in_words(error))
            self._send_scope = None

    def _cut(self) -> None:
        if self._stream_scope is not None:
            self._stream_scope.cancel()

    # --- the clock ---

    async def _keep_time(self) -> None:
        core = self.core
        while True:
            now = anyio.current_time()
            core.tick(now)
            self.settle()
            self._clock_moved = anyio.Event()
            self._clock_at = core.next_tick_at()
            with anyio.move_on_after(self._clock_at - now):
                await self._clock_moved.wait()

    def _entered(self, state: State) -> None:
        if state is State.CONNECTED:
            self.route.learned([address for _, address in self.core.members])
        self._state_changed.set()


def _in_words(error: Exception) -> str:
    """anyio wraps what the system said; each backend has its own words for that."""
    cause = error.__cause__ or error
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
        return os.strerror(cause.errno).lower()
    return str(cause) or type(cause).__name__
