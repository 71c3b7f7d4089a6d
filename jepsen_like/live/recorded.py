"""Workloads for people's own recipes: coroutines with a plain client, whose every request is recorded.

::

    class Counter:
        name = "my-counter"
        checks = ()

        async def setup(self, client, me):
            await client.create("/counter", b"0")

        async def process(self, client, me):
            while True:
                znode = await client.get("/counter")
                try:
                    await client.set("/counter", b"%d" % (int(znode.value) + 1), version=znode.stat.version)
                except Conflict:
                    pass            # somebody was faster

        async def finish(self, client, me):
            await client.get("/counter")

A process that raises a :class:`~coord.api.errors.CoordError` (its session ended, its deadline passed) is begun again
with a new client. Watches work, and are not recorded; a generator workload (``coord.jepsen_like.workloads``) records
them, too.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from typing import Final, Protocol, TypeVar

import anyio
import trio

from coord.api.errors import CoordError, Disconnected
from coord.api.ops import ReadMode
from coord.client import Client
from coord.client.clock import now
from coord.client.core import Core, State
from coord.client.core.endpoints import Endpoint, Route, parse_endpoints
from coord.client.core.request import OTHER, WRITE, Request
from coord.client.core.settings import CoreSettings
from coord.client.link import Link
from coord.client.waiting import Waiter
from coord.jepsen_like.history import Record
from coord.jepsen_like.live.operations import op_from_row
from coord.jepsen_like.workloads.clock import Clock
from coord.jepsen_like.workloads.recorder import Recorder
from coord.jepsen_like.workloads.waiting import Call
from coord.jepsen_like.workloads.workload import Check, Process

MODES: Final = {int(each): each.name.lower() for each in ReadMode} | {WRITE: "write"}
AGAIN_S: Final = 0.1


class AsyncWorkload(Protocol):
    """What a recipe's author writes."""

    @property
    def name(self) -> str: ...

    @property
    def checks(self) -> Sequence[Check]: ...

    async def setup(self, client: Client, me: Process) -> None:
        """Once, before the faults."""

    async def process(self, client: Client, me: Process) -> None:
        """By each client, until it is cancelled."""

    async def finish(self, client: Client, me: Process) -> None:
        """Once, after the faults: the last reads."""


T = TypeVar("T")


class TimedWaiter:
    """Knows since when: a request that is asked together with others is waited for later, maybe when it is done."""

    def __init__(self, waiter: Waiter) -> None:
        self._waiter = waiter
        self.since_ns = time.monotonic_ns()

    def set(self) -> None:
        self._waiter.set()

    def wait(self) -> Awaitable[None]:
        return self._waiter.wait()


class RecordingLink(Link):
    """A link that writes down every request of its client, from its call to its outcome."""

    def __init__(
        self, core: Core, route: Route, recorder: Recorder, next_connection: Callable[[], int]
    ) -> None:
        super().__init__(core, route)
        self._recorder = recorder
        self._next_connection = next_connection
        self._calls: dict[Request, Call] = {}
        self._by = "member"
        """Whose word it is if the session is over."""

    async def _connection(self, endpoint: Endpoint) -> None:
        self._recorder.connection = self._next_connection()
        await super()._connection(endpoint)

    def waiter(self) -> TimedWaiter:
        return TimedWaiter(super().waiter())

    def settle(self) -> None:
        now_ns = time.monotonic_ns()
        if self.core.member:
            self._recorder.member = self.core.member
        self._recorder.session(self.core, now_ns)
        for request, call in list(self._calls.items()):
            if request.done:
                del self._calls[request]
                self._recorder.operation(self.core, call, request, request.error, now_ns)
        super().settle()

    async def finished(self, request: Request, answer: Callable[[Request], T]) -> T:
        op = None if request.mode == OTHER else op_from_row(request.op)
        if op is not None:
            call = Call(op, MODES[request.mode], request.at_least, request.context.since_ns)
            self._calls[request] = call
        try:
            return await super().finished(request, answer)
        finally:
            if self._calls.pop(request, None) is not None:
                if request.reply is None and request.error is None:
                    # Cancelled: its caller never learns what became of it.
                    request.fail(Disconnected("its caller was cancelled"))
                self._recorder.operation(self.core, call, request, request.error, time.monotonic_ns())

    def _look(self, now: float) -> None:
        self._by = "client"  # by its own clock; the members may take longer
        super()._look(now)
        self._by = "member"

    def _entered(self, state: State) -> None:
        if state is State.ENDED:
            self._recorder.session_over(self.core, self._by, time.monotonic_ns())
        super()._entered(state)


@asynccontextmanager
async def recorded_client(
    me: Process,
    endpoints: str,
    record: Callable[[Record], None],
    next_connection: Callable[[], int],
    *,
    session_timeout_ms: int,
    deadline_s: float,
) -> AsyncIterator[Client]:
    """A client of which everything is recorded. Raises :class:`CoordError`, as ``connect`` does."""
    start_ns = time.monotonic_ns() - round(now() * 1e9)  # the core counts on the client's own clock
    recorder = Recorder(me, record, Clock(start_ns, 1.0))
    core = Core(CoreSettings(name=f"process {me.number}", session_timeout_ms=session_timeout_ms))
    route = Route(parse_endpoints(endpoints), Random(me.dice.random()), discover=False)
    link = RecordingLink(core, route, recorder, next_connection)
    async with anyio.create_task_group() as group:
        group.start_soon(link.run)
        try:
            with anyio.move_on_after(deadline_s):
                await link.begun()
            if core.state is not State.ATTACHED:
                raise core.failure or Disconnected("no member said welcome in time")
            yield Client(link, deadline_s)
        finally:
            await link.stop()


class RecordedProcess:
    """One process of an async workload: begun again with a new client whenever an error ends it."""

    def __init__(
        self,
        workload: AsyncWorkload,
        me: Process,
        open_client: Callable[[Process], AbstractAsyncContextManager[Client]],
    ) -> None:
        self._workload = workload
        self._me = me
        self._open_client = open_client

    async def run(self) -> None:
        """Until the process ends of itself, or cancelled."""
        while not await self._lived():
            await trio.sleep(AGAIN_S)  # as a person's program would be restarted

    async def _lived(self) -> bool:
        """One life, and whether it came to its end."""
        try:
            async with self._open_client(self._me) as client:
                await self._workload.process(client, self._me)
                return True
        except* CoordError:
            pass  # what it was doing then is in the history, with its outcome
        return False
