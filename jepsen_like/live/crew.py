"""The clients of a run, all together: those of a generator workload, or those of coroutines."""

import inspect
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Any, Final, Protocol, cast

import trio

from coord.client import Client
from coord.client.core.settings import CoreSettings
from coord.jepsen_like.history import Record
from coord.jepsen_like.live.client import DrivenClient
from coord.jepsen_like.live.pacing import paced
from coord.jepsen_like.live.recorded import AsyncWorkload, RecordedProcess, recorded_client
from coord.jepsen_like.live.settings import Settings
from coord.jepsen_like.workloads.driver import ClientDriver
from coord.jepsen_like.workloads.settings import DriverSettings
from coord.jepsen_like.workloads.workload import Process, Script, Step, Workload

SETUP, FINISH = 0, 1_000_000
"""Numbers of the processes before and after; those between count from 1."""

Write = Callable[[Record], None]
Wrap = Callable[[Script], Script]

SETUP_S: Final = 30.0
FINISH_S: Final = 60.0
DRAIN_SLACK_S: Final = 2.0


class Unfinished(Exception):
    """The first or the last requests, which no fault disturbs, were not answered in time."""


class Crew(Protocol):
    """The clients of one run."""

    async def setup(self) -> None:
        """Raises :class:`Unfinished`."""

    async def work(self) -> None:
        """Until :meth:`stop`, and then until what was asked has an outcome or was given up."""

    def stop(self) -> None: ...

    async def finish(self) -> None:
        """The last reads. Raises :class:`Unfinished`."""


class DrivenCrew:
    """Clients that are :class:`ClientDriver`\\ s."""

    def __init__(
        self, workload: Workload, settings: Settings, endpoints: Mapping[int, str], record: Write, wrap: Wrap
    ) -> None:
        """``wrap`` is put around every script."""
        self._workload = workload
        self._settings = settings
        self._endpoints = endpoints
        self._record = record
        self._wrap = wrap
        self._connections = itertools.count(1)
        self._facts: dict[str, Any] = {}
        self._clients: list[DrivenClient] = []
        self._stopped = trio.Event()

    async def setup(self) -> None:
        await self._alone(SETUP, _script(self._workload.setup()), SETUP_S, "the workload's setup")

    async def work(self) -> None:
        rate = self._settings.rate / self._settings.clients
        for number in range(1, self._settings.clients + 1):
            me = _process(self._settings, number, self._facts)
            script = paced(self._workload.process(me), rate, Random(me.dice.random()))
            self._clients.append(self._client(me, script))
        async with trio.open_nursery() as nursery:
            for client in self._clients:
                nursery.start_soon(client.run)
            await self._stopped.wait()
            for client in self._clients:
                client.stop()
            nursery.cancel_scope.deadline = (
                trio.current_time() + self._settings.deadline_ms / 1000 + DRAIN_SLACK_S
            )
        for client in self._clients:
            client.close()

    def stop(self) -> None:
        self._stopped.set()

    async def finish(self) -> None:
        me = _process(self._settings, FINISH, self._facts)
        await self._alone(FINISH, self._workload.finish(me), FINISH_S, "the last reads", me)

    async def _alone(
        self, number: int, script: Script, seconds: float, what: str, me: Process | None = None
    ) -> None:
        """One process by itself, to its end."""
        client = self._client(me or _process(self._settings, number, self._facts), script)
        with trio.move_on_after(seconds):
            await client.run()
        is_done = client.driver.done
        client.close()
        if not is_done:
            raise Unfinished(f"{what} did not come to an end in {seconds:g} s, though no fault was under way")

    def _client(self, me: Process, script: Script) -> DrivenClient:
        settings = DriverSettings(
            deadline_ms=self._settings.deadline_ms,
            core=CoreSettings(session_timeout_ms=self._settings.session_timeout_ms),
        )
        driver = ClientDriver(me, self._wrap(script), self._record, settings, time.monotonic_ns())
        return DrivenClient(
            driver,
            self._endpoints,
            Random(f"road {self._settings.seed} {me.number}"),
            self._connections.__next__,
        )


class RecordedCrew:
    """Clients that are coroutines with a :class:`~coord.client.Client`. They pace themselves."""

    def __init__(
        self, workload: AsyncWorkload, settings: Settings, endpoints: Mapping[int, str], record: Write
    ) -> None:
        self._workload = workload
        self._settings = settings
        self._endpoints = ",".join(endpoints.values())
        self._record = record
        self._connections = itertools.count(1)
        self._facts: dict[str, Any] = {"endpoints": self._endpoints, "out": str(settings.out)}
        """Whoever starts programs of its own tells them where the cluster is, and keeps what they say."""
        self._scope = trio.CancelScope()

    async def setup(self) -> None:
        await self._alone(self._workload.setup, SETUP, SETUP_S, "the workload's setup")

    async def work(self) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                for number in range(1, self._settings.clients + 1):
                    process = RecordedProcess(
                        self._workload, _process(self._settings, number, self._facts), self._open
                    )
                    nursery.start_soon(process.run)

    def stop(self) -> None:
        self._scope.cancel()

    async def finish(self) -> None:
        await self._alone(self._workload.finish, FINISH, FINISH_S, "the last reads")

    async def _alone(
        self, script: Callable[[Client, Process], Awaitable[None]], number: int, seconds: float, what: str
    ) -> None:
        me = _process(self._settings, number, self._facts)
        with trio.move_on_after(seconds):
            async with self._open(me) as client:
                await script(client, me)
            return
        raise Unfinished(f"{what} did not come to an end in {seconds:g} s, though no fault was under way")

    def _open(self, me: Process) -> AbstractAsyncContextManager[Client]:
        return recorded_client(
            me,
            self._endpoints,
            self._record,
            self._connections.__next__,
            session_timeout_ms=self._settings.session_timeout_ms,
            deadline_s=self._settings.deadline_ms / 1000,
        )


def _process(settings: Settings, number: int, facts: dict[str, Any]) -> Process:
    return Process(number, Random(f"{settings.seed} {number}"), facts)


def _script(steps: Iterable[Step]) -> Script:
    """Any steps as a script."""
    yield from steps


def is_of_coroutines(workload: Workload | AsyncWorkload) -> bool:
    return inspect.iscoroutinefunction(workload.process)


def crew_of(
    workload: Workload | AsyncWorkload,
    settings: Settings,
    endpoints: Mapping[int, str],
    write: Write,
    wrap: Wrap = lambda script: script,
) -> Crew:
    """The clients that ``workload`` asks for. ``wrap`` is put around the scripts of generators."""
    if is_of_coroutines(workload):
        return RecordedCrew(cast(AsyncWorkload, workload), settings, endpoints, write)
    return DrivenCrew(cast(Workload, workload), settings, endpoints, write, wrap)
