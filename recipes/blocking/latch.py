"""A latch (a countdown): :mod:`coord.recipes.latch`, for plain threads.

*What it guarantees, what it does not, what to do about that*: as there.

::

    from coord.client.blocking import connect
    from coord.recipes.blocking.latch import Latch

    with connect() as client:
        latch = Latch(client, "/deploy/42/warm", 1)
        print(latch.count_down())  # → 0
        latch.wait(deadline=5)
"""

from functools import partial

from coord.client.blocking import Client
from coord.recipes.blocking.bridge import Bridge
from coord.recipes.latch import Latch as AsyncLatch


class Latch:
    """Opens when :meth:`count_down` was called ``count`` times: ``Latch(client, "/deploy/42/warm", 3)``.

    Whoever comes first makes the znode. All must say the same count; :class:`~coord.client.InvalidRequest`
    (refused) says so where they do not. For another round take another path, or delete it.
    """

    def __init__(self, client: Client, path: str, count: int) -> None:
        self._bridge = Bridge(client)
        self._latch = AsyncLatch(self._bridge.client, path, count)

    def count_down(self, *, deadline: float | None = None) -> int:
        """Count one; returns how many are missing still. On a latch that is open it does nothing more."""
        return self._bridge.run(partial(self._latch.count_down, deadline=deadline), deadline)

    def remaining(self, *, deadline: float | None = None) -> int:
        """How many are missing still."""
        return self._bridge.run(partial(self._latch.remaining, deadline=deadline), deadline)

    def wait(self, *, deadline: float | None = None) -> None:
        """Wait until it is open. ``deadline``: :class:`~coord.client.DeadlineExceeded` (refused)."""
        self._bridge.run(partial(self._latch.wait, deadline=deadline), deadline)
