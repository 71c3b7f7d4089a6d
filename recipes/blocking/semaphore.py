"""A semaphore: :mod:`coord.recipes.semaphore`, for plain threads.

*What it guarantees, what it does not, what to do about that*: as there; and of a thread's block that loses its
units, as in :mod:`coord.recipes.blocking.lock`.

::

    from coord.client.blocking import connect
    from coord.recipes.blocking.semaphore import Semaphore

    with connect() as client:
        slots = Semaphore(client, "/limits/exports", 3)
        with slots.hold(2) as grant:
            print(grant.held, slots.try_acquire(2))  # → True None
        with slots as grant:
            print(grant.held, grant.lost.is_set())  # → True False
"""

from functools import partial
from types import TracebackType

from coord.client.blocking import Client, Grant
from coord.recipes.blocking.bridge import Bridge
from coord.recipes.blocking.held import Claims, Entered, Held, HeldGrant
from coord.recipes.semaphore import Semaphore as AsyncSemaphore


class Semaphore:
    """``Semaphore(client, "/limits/a", 3)``: each ``with`` holds one unit, :meth:`hold` as many as it says."""

    def __init__(self, client: Client, path: str, capacity: int, *, label: bytes = b"") -> None:
        self._semaphore = AsyncSemaphore(Bridge(client).client, path, capacity, label=label)
        self._client = client
        self._claims = Claims(client)
        self._entered: Entered[HeldGrant] = Entered(f"the semaphore {path}")
        self.path = self._semaphore.path
        self.capacity = self._semaphore.capacity

    def hold(self, units: int = 1, *, deadline: float | None = None) -> Held:
        """So many units for the length of a block; see :meth:`acquire`."""
        hold = partial(self._semaphore.hold, units, deadline=deadline)
        return Held(self._client, f"the semaphore {self.path}", hold, deadline)

    def acquire(self, units: int = 1, *, deadline: float | None = None) -> Grant:
        """Wait for so many units, without a block: whoever calls this releases the grant, and looks at
        ``grant.held``.

        ``deadline``: seconds to wait; 0: have them only if they are free. :class:`~coord.client.DeadlineExceeded`
        (refused) when they were not granted in time.
        """
        return self._claims.grant(self._semaphore.acquire, units, deadline=deadline)

    def try_acquire(self, units: int = 1, *, deadline: float | None = None) -> Grant | None:
        """So many units, if they are free and nobody waits; else ``None``. ``deadline``: for the service's answer."""
        return self._claims.grant_or_none(self._semaphore.try_acquire, units, deadline=deadline)

    def __enter__(self) -> HeldGrant:
        return self._entered.enter(self.hold)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._entered.leave(exc_type, exc, traceback)
