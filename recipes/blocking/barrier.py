"""Barriers: :mod:`coord.recipes.barrier`, for plain threads.

*What it guarantees, what it does not, what to do about that*: as there.

::

    import threading
    from coord.client.blocking import connect
    from coord.recipes.blocking.barrier import Barrier, DoubleBarrier

    with connect() as client:
        barrier = Barrier(client, "/migration")
        print(barrier.create(), barrier.remove())  # → True True
        barrier.wait(deadline=5)

        def party() -> None:
            with DoubleBarrier(client, "/load-test", 2):
                pass  # both are here

        threads = [threading.Thread(target=party) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
"""

from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Self

from coord.client.blocking import Client
from coord.recipes.barrier import Barrier as AsyncBarrier
from coord.recipes.barrier import DoubleBarrier as AsyncDoubleBarrier
from coord.recipes.blocking.bridge import Bridge


class Barrier:
    """Closed while there is a znode at ``path``: ``Barrier(client, "/migration")``."""

    def __init__(self, client: Client, path: str) -> None:
        self._bridge = Bridge(client)
        self._barrier = AsyncBarrier(self._bridge.client, path)

    def create(self, *, ephemeral: bool = False, deadline: float | None = None) -> bool:
        """Close it; says whether it was open. ``ephemeral``: it opens by itself when this client's session ends."""
        work = partial(self._barrier.create, ephemeral=ephemeral, deadline=deadline)
        return self._bridge.run(work, deadline)

    def remove(self, *, deadline: float | None = None) -> bool:
        """Open it: all who wait go on. Says whether it was closed."""
        return self._bridge.run(partial(self._barrier.remove, deadline=deadline), deadline)

    def wait(self, *, deadline: float | None = None) -> None:
        """Wait until it is open. ``deadline``: :class:`~coord.client.DeadlineExceeded` (refused)."""
        self._bridge.run(partial(self._barrier.wait, deadline=deadline), deadline)


class DoubleBarrier:
    """``parties`` of them begin together and end together: ``with DoubleBarrier(client, "/load-test", 3): …``

    One object is one party.
    """

    def __init__(self, client: Client, path: str, parties: int, *, deadline: float | None = None) -> None:
        """``deadline`` is for entering, and for leaving, unless these say otherwise."""
        self._bridge = Bridge(client)
        self._deadline = deadline
        self._barrier = AsyncDoubleBarrier(self._bridge.client, path, parties, deadline=deadline)

    def enter(self, *, deadline: float | None = None) -> None:
        """Come, and wait until all have. Past ``deadline``, :class:`~coord.client.DeadlineExceeded` (refused), and
        after Ctrl-C, it has gone again; if all had come just then, it has left a round that the others are in.
        """
        self._run(partial(self._barrier.enter, deadline=deadline), deadline)

    def leave(self, *, deadline: float | None = None) -> None:
        """Leave, and wait until all have. Past ``deadline``, and after Ctrl-C, this party has left all the same."""
        self._run(partial(self._barrier.leave, deadline=deadline), deadline)

    def __enter__(self) -> Self:
        self.enter()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._run(partial(self._barrier.__aexit__, exc_type, exc, traceback), None)

    def _run(self, work: Callable[[], Awaitable[None]], deadline: float | None) -> None:
        self._bridge.run(work, self._deadline if deadline is None else deadline)
