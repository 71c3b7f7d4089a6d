"""A job that runs once in the cluster for each tick: :mod:`coord.recipes.periodic`, for plain threads.

*What it guarantees.* As there; but the job, which is called in the thread that called :meth:`Periodic.run`, cannot be
cancelled. When its process may not lead any more ``tick.leadership.lost`` (a ``threading.Event``) is set, before the
service makes anybody else leader because this client was silent, and ``tick.leadership.check()`` raises from then on.
Here the next tick is begun when the job has ended, and not before, whoever leads meanwhile.

*What it does not.* Stop a job that does not look; and what is said there.

*What to do about that.* Look at ``tick.leadership.lost`` in jobs that run for long; write through ``tick.client``, and
hand ``tick.token`` to resources, as it is said there.

::

    from coord.client.blocking import connect
    from coord.recipes.blocking.periodic import Periodic, Tick

    def report(tick: Tick) -> None:
        print(tick.missed, tick.interrupted, tick.leadership.lost.is_set())  # → 0 None False
        periodic.stop()  # in any thread, or a signal's handler; run() returns then

    with connect() as client:
        periodic = Periodic(client, "/jobs/report", every=0.5)
        periodic.run(report)
        print("stopped")  # → stopped
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import time

from coord.client.blocking import Client, Token
from coord.recipes.blocking.bridge import Bridge
from coord.recipes.blocking.election import Leadership
from coord.recipes.blocking.running import Running, checked_plain
from coord.recipes.periodic import Missed
from coord.recipes.periodic import Periodic as AsyncPeriodic
from coord.recipes.periodic import Tick as AsyncTick

__all__ = ["Missed", "Periodic", "Tick"]


@dataclass(frozen=True, slots=True)
class Tick:
    """One run of the job."""

    number: int
    """Greater with each tick: the time since 1970, in ``every``."""
    due: float
    """Its time, in seconds since 1970."""
    missed: int
    """So many ticks before it were never begun."""
    interrupted: int | None
    """The tick before it, if that was begun, and not seen to end."""
    token: Token
    """The leadership's: a fencing token."""
    client: Client
    """A view of the client that presents the token with each write."""
    leadership: Leadership
    """Of this process: ``held``, ``remaining()``, ``check()`` and ``lost`` are there. ``lost`` is also set when all of
    it was stopped: the job is to end."""


class Periodic:
    """``Periodic(client, "/jobs/report", every=60).run(job)``, in as many processes as there are.

    ``every``: seconds between ticks; all must say the same. Ticks are at whole multiples of it since 1970 (UTC).
    ``missed``: ``"skip"``, ``"once"`` or ``"all"``. ``value``: what observers of the election at ``path`` are told of
    this process. ``clock``: the wall clock, for tests.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        every: float,
        *,
        missed: Missed = "skip",
        value: bytes = b"",
        clock: Callable[[], float] = time,
    ) -> None:
        bridge = Bridge(client)
        self._client = client
        self._periodic = AsyncPeriodic(bridge.client, path, every, missed=missed, value=value, clock=clock)
        self._running = Running(bridge)

    def run(self, job: Callable[[Tick], object]) -> None:
        """Stand in line, and while this process leads call ``job(tick)`` for each tick, one after the other.

        Ends by what ``job`` raises (then another process leads; but not by :class:`~coord.client.NotHeld` and
        :class:`~coord.client.StaleToken` of a leadership that is over), by :class:`~coord.client.SessionEnded`, by
        Ctrl-C, or by being stopped; a leadership that is lost in another way is stood for anew. Raises
        :class:`~coord.client.InvalidRequest` (refused) where others say another ``every``.
        """
        checked_plain(job, "a job")
        self._running.run(partial(self._periodic.run, partial(self._call, job)))

    def stop(self) -> None:
        """Have :meth:`run` return, when the job that runs has ended; also if it has not begun. Does not wait; in any
        thread, and in handlers of signals. That job is told (``tick.leadership.lost``), and counts as interrupted.
        """
        self._running.stop()

    async def _call(self, job: Callable[[Tick], object], tick: AsyncTick) -> None:
        lost = threading.Event()
        leadership = Leadership(self._client, tick.leadership, lost)
        mine = Tick(
            tick.number,
            tick.due,
            tick.missed,
            tick.interrupted,
            tick.token,
            leadership.client,
            leadership,
        )
        await self._running.here(partial(job, mine), lost)
