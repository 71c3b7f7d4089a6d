"""The trio shell of one :class:`~coord.jepsen_like.workloads.driver.ClientDriver`: sockets and time, and no opinion."""

import time
from collections.abc import Callable, Mapping
from random import Random
from typing import Final

import trio

from coord.jepsen_like.workloads.clock import NEVER_NS
from coord.jepsen_like.workloads.driver import ClientDriver

DIAL_S: Final = 1.0
SEND_S: Final = 3.0
"""For a member to take what it is sent. Beyond: another one is tried."""
RETRY_S: Final = (0.01, 0.2)
RECEIVE_BYTES: Final = 64 * 1024


class DrivenClient:
    """One driver on real connections."""

    def __init__(
        self,
        driver: ClientDriver,
        endpoints: Mapping[int, str],
        dice: Random,
        next_connection: Callable[[], int],
    ) -> None:
        """``endpoints``: ``host:port`` by member. ``next_connection`` numbers connections, over all clients."""
        self.driver = driver
        self._endpoints = dict(endpoints)
        self._dice = dice
        self._next_connection = next_connection
        self._sendable = trio.Event()
        self._clock_moved = trio.Event()
        self._clock_at_ns = NEVER_NS
        self._stream_scope: trio.CancelScope | None = None
        self._sending = False
        self._done = trio.Event()

    async def run(self) -> None:
        """Until its process is done, or cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_time)
            nursery.start_soon(self._keep_connected)
            await self._done.wait()
            nursery.cancel_scope.cancel()

    def stop(self) -> None:
        """No further steps; :meth:`run` goes on until what was asked has an outcome."""
        self.driver.stop(time.monotonic_ns())
        self._settle()

    def close(self) -> None:
        """Give up what is under way, after :meth:`run` was left."""
        self.driver.close(time.monotonic_ns())

    # --- inside ---

    def _settle(self) -> None:
        """After each call to the driver: whoever has something to do now is woken."""
        driver = self.driver
        if driver.done:
            self._done.set()
        # What the driver still has to send leaves before the stream is dropped: that is how replies get lost.
        if driver.has_bytes:
            self._sendable.set()
        elif driver.wants_hang_up and not self._sending and self._stream_scope is not None:
            self._stream_scope.cancel()
        if driver.next_at_ns < self._clock_at_ns:
            self._clock_moved.set()

    async def _keep_time(self) -> None:
        while True:
            self.driver.tick(time.monotonic_ns())
            self._settle()
            self._clock_moved = trio.Event()
            self._clock_at_ns = self.driver.next_at_ns
            seconds = max(self._clock_at_ns - time.monotonic_ns(), 0) / 1e9
            with trio.move_on_after(seconds):
                await self._clock_moved.wait()

    async def _keep_connected(self) -> None:
        while self.driver.wants_connection:
            members = [each for each in self._endpoints if each != self.driver.avoid]
            await self._connection(self._dice.choice(members or list(self._endpoints)))
            self.driver.disconnected(time.monotonic_ns())
            self._settle()
            await trio.sleep(self._dice.uniform(*RETRY_S))

    async def _connection(self, member: int) -> None:
        """One connection to ``member``, to its end."""
        stream = await _dial(self._endpoints[member])
        if stream is None:
            return
        async with stream:
            with trio.CancelScope() as self._stream_scope:
                self.driver.connected(member, self._next_connection(), time.monotonic_ns())
                self._settle()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send, stream, nursery.cancel_scope)
                    nursery.start_soon(self._receive, stream, nursery.cancel_scope)
        self._stream_scope = None

    async def _receive(self, stream: trio.SocketStream, connection: trio.CancelScope) -> None:
        try:
            while data := await stream.receive_some(RECEIVE_BYTES):
                self.driver.received(data, time.monotonic_ns())
                self._settle()
        except trio.BrokenResourceError:
            return  # as good an end as any other: the driver is told, and records what it costs
        finally:
            connection.cancel()

    async def _send(self, stream: trio.SocketStream, connection: trio.CancelScope) -> None:
        while True:
            await self._sendable.wait()
            self._sendable = trio.Event()
            data = self.driver.take_bytes()
            if not data:
                continue
            self._sending = True
            try:
                with trio.move_on_after(SEND_S) as limit:
                    await stream.send_all(data)
            except trio.BrokenResourceError:
                return  # there may be a goodbye to be read yet; the reader meets the end
            finally:
                self._sending = False
            if limit.cancelled_caught:
                connection.cancel()  # half a frame may have left: nothing can follow it
            self._settle()


async def _dial(endpoint: str) -> trio.SocketStream | None:
    """A stream to ``host:port``; ``None``: it could not be had in time."""
    host, _, port = endpoint.rpartition(":")
    with trio.move_on_after(DIAL_S):
        try:
            return await trio.open_tcp_stream(host.strip("[]"), int(port))
        except OSError:
            return None
    return None
