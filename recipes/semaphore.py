"""A semaphore: a capacity that many share, in units; first come, first served.

*What it guarantees.* The units of all holders together never exceed the capacity. Who asks for many units is not
starved by those who ask for few: nobody passes the first in line. Otherwise as :mod:`coord.recipes.lock`.

*What it does not.* Several tokens of one semaphore are valid at a time: a fence takes any of them, and a guard that
takes the greatest only would refuse all holders but the latest.

*What to do about that.* Guard what is written by one holder each under a name of its own.

All must say the same capacity. It is set by whoever comes first, and stays; one who says another is refused
(:class:`~coord.client.Conflict`, with the ``capacity`` that it has). ``client.claim_settings(path, capacity=…)``
changes it, for those who are granted from then on.

::

    from coord.recipes.semaphore import Semaphore

    slots = Semaphore(client, "/limits/exports", 3)
    async with slots.hold(2) as grant:
        print(grant.held, await slots.try_acquire(2))  # → True None
    async with slots as grant:
        print(grant.held)  # → True
"""

from types import TracebackType

from coord.client import Claimed, Client, DeadlineExceeded, Grant, InvalidRequest
from coord.recipes.arguments import checked_client, checked_int, checked_path, checked_seconds
from coord.recipes.held import Entered, Held


class Semaphore:
    """``Semaphore(client, "/limits/a", 3)``: each ``async with`` holds one unit, :meth:`hold` as many as it says."""

    def __init__(self, client: Client, path: str, capacity: int, *, label: bytes = b"") -> None:
        self.path = checked_path(path, "a semaphore")
        self.capacity = checked_int(capacity, 1, "a semaphore's capacity")
        self._client = checked_client(client)
        self._label = label
        self._entered: Entered[Grant] = Entered(f"the semaphore {path}")

    def hold(self, units: int = 1, *, deadline: float | None = None) -> Held:
        """So many units for the length of a block; see :meth:`acquire`."""
        return Held(
            self._client, f"the semaphore {self.path}", lambda: self.acquire(units, deadline=deadline)
        )

    async def acquire(self, units: int = 1, *, deadline: float | None = None) -> Grant:
        """Wait for so many units, without a block: whoever calls this releases the grant, and looks at
        ``grant.held``.

        ``deadline``: seconds to wait; 0: have them only if they are free. :class:`~coord.client.DeadlineExceeded`
        (refused) when they were not granted in time.
        """
        if deadline is not None and checked_seconds(deadline) == 0:
            grant = await self.try_acquire(units)
            if grant is None:
                raise DeadlineExceeded(
                    f"{units} units of the semaphore {self.path} are not free", outcome="refused"
                )
            return grant
        return await self._claim(units, True, deadline)

    async def try_acquire(self, units: int = 1, *, deadline: float | None = None) -> Grant | None:
        """So many units, if they are free and nobody waits; else ``None``. ``deadline``: for the service's answer."""
        try:
            return await self._claim(units, False, deadline)
        except Claimed:
            return None

    async def _claim(self, units: int, wait: bool, deadline: float | None) -> Grant:
        checked_int(units, 1, "a semaphore's units")
        if units > self.capacity:
            raise InvalidRequest(
                f"{units} units of a semaphore of {self.capacity}: nobody could ever have them"
            )
        return await self._client.claim(
            self.path,
            wait=wait,
            units=units,
            label=self._label,
            capacity=self.capacity,
            deadline=deadline,
        )

    async def __aenter__(self) -> Grant:
        return await self._entered.enter(self.hold)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        return await self._entered.leave(exc_type, exc, traceback)
