"""One stream after another, to one member after another: dialled, read, written, given up. Half of
:class:`coord.client.link.Link`, whose other half is for callers, and keeps the time.

Two tasks. One keeps a stream up: dials, has it carry what arrives to the core, dials again. One sends what the core has
gathered since the last send: requests that were made meanwhile share frames, without a timer.
"""

import logging
from collections.abc import Callable
from typing import Final

import anyio

from coord.api.errors import CoordError, Disconnected
from coord.client.core import OVER, Core, State
from coord.client.core.endpoints import Endpoint, Route, is_name
from coord.client.core.request import Request
from coord.client.core.settings import resume_seconds
from coord.client.dialling import FAILURES, Dial, Resolve, Stream, in_words
from coord.client.waiting import here

log = logging.getLogger("coord.client")

TROUBLES_MAX: Final = 8

TURN: Final = 64
"""Callers whose answers came together are woken in two turns, where each is of so many at least: while the members are
at work for the one half, this program is for the other. (For smaller frames a write costs everyone more than that
wins.)"""


class Streams:
    """Invariant: the core is ``connected`` exactly while there is a ``_stream``."""

    def __init__(
        self, core: Core, route: Route, dial: Dial, resolve: Resolve, now: Callable[[], float]
    ) -> None:
        self.core = core
        self.route = route
        self.forked = False
        """This is a child's copy: the stream is the parent's."""
        self._dial = dial
        self._resolve = resolve
        self._now = now
        self._home = here()
        self._stream: Stream | None = None
        self._stream_scope: anyio.CancelScope | None = None
        self._send_scope: anyio.CancelScope | None = None
        self._sendable = self._home.waiter()
        self._asked_to_send = False
        """Invariant: set exactly when ``_sendable`` is. (A flag is a tenth of the price.)"""
        self._second_half: list[Request] = []
        """Those who are woken in the second turn, while the first is under way."""
        self._troubles: dict[Endpoint, str] = {}

    # --- the other half ---

    def settle(self) -> None:
        """Something was told to the core: wake whoever has something to do now."""
        raise NotImplementedError

    async def ended(self) -> CoordError:
        """Wait until the client is over."""
        raise NotImplementedError

    # --- this one ---

    @property
    def trouble(self) -> str:
        """What went wrong with each endpoint when it was last tried, since there was no trouble at all."""
        return "; ".join(self._troubles.values()) or "no answer yet"

    async def _keep_connected(self) -> None:
        while self.core.state not in OVER:
            endpoint, pause = self.route.next()
            with anyio.move_on_after(pause) as paused:
                await self.ended()
            if not paused.cancelled_caught:
                break
            if is_name(endpoint.host):
                await self._look_up(endpoint)
            else:
                await self._connection(endpoint)

    async def _look_up(self, endpoint: Endpoint) -> None:
        """A name: its addresses are tried next."""
        try:
            with anyio.fail_after(resume_seconds(self.core.session_timeout)):
                addresses = await self._resolve(endpoint.host)
        except TimeoutError:
            reason = Disconnected(f"{endpoint}: its name could not be looked up in time")
        except (OSError, UnicodeError) as error:
            reason = Disconnected(f"{endpoint}: its name does not resolve: {in_words(error)}")
        else:
            self.route.resolved(addresses, endpoint.port)
            return
        self.core.disconnected(self._now(), reason)
        self._had_trouble(endpoint, False)
        self.settle()

    async def _connection(self, endpoint: Endpoint) -> None:
        """One connection, from its dialling to its end."""
        core = self.core
        reason = Disconnected("the client has hung up")
        began_at = self._now()
        with anyio.CancelScope() as self._stream_scope:
            try:
                with anyio.fail_after(resume_seconds(core.session_timeout)):
                    stream = await self._dial(endpoint)
                try:
                    began_at = self._now()
                    self._stream = stream
                    core.connected(began_at)
                    self.settle()  # cancels this scope, if the session ended while it was dialling
                    await stream.carry(self._received)
                    reason = Disconnected(f"{endpoint} has closed the connection")
                finally:
                    self._stream = None
                    if self._send_scope is not None:
                        self._send_scope.cancel()
                    if not self.forked:  # then it is the parent's
                        stream.close()
            except TimeoutError:
                reason = Disconnected(f"{endpoint} does not answer")
            except FAILURES as error:
                reason = Disconnected(f"{endpoint}: {in_words(error)}")
        self._stream_scope = None
        now = self._now()
        welcomed = core.state is State.ATTACHED
        core.disconnected(now, reason)
        if welcomed:
            self.route.lost(endpoint, now - began_at)
        self._had_trouble(endpoint, welcomed)
        self.settle()

    def _had_trouble(self, endpoint: Endpoint, welcomed: bool) -> None:
        error = self.core.last_error
        if self.core.state in OVER or error is None:
            return
        where = str(endpoint)
        trouble = error.message if where in error.message else f"{where}: {error.message}"
        log.log(logging.INFO if welcomed else logging.DEBUG, "not connected to %s: %s", where, trouble)
        self._troubles.pop(endpoint, None)
        self._troubles[endpoint] = trouble
        if len(self._troubles) > TROUBLES_MAX:
            self._troubles.pop(next(iter(self._troubles)))

    def _received(self, data: bytes) -> None:
        """Settle; of many callers half are woken once the others have called again, and what they ask is sent."""
        self._wake_second_half()
        core = self.core
        core.received(data, self._now())
        self._second_half = core.take_second_half(TURN)
        self.settle()
        if self._second_half:
            self._home.soon(self._after_first_half)

    def _after_first_half(self) -> None:
        """They have called; in the next turn it is sent."""
        self._home.soon(self._wake_second_half)

    def _wake_second_half(self) -> None:
        woken, self._second_half = self._second_half, []
        for request in woken:
            request.context.set()

    async def _send(self) -> None:
        while True:
            await self._sendable.wait()
            self._sendable = self._home.waiter()
            self._asked_to_send = False
            stream = self._stream
            data = self.core.take_bytes()
            if not data or stream is None:
                continue
            stream.send(data)
            if stream.full:
                with anyio.CancelScope() as self._send_scope:
                    await stream.sent()
                self._send_scope = None

    def _ask_to_send(self) -> None:
        if not self._asked_to_send:
            self._asked_to_send = True
            self._sendable.set()

    def _cut(self) -> None:
        if self._stream_scope is not None:
            self._stream_scope.cancel()
