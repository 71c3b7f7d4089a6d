"""Work in N partitions, spread over the members of a group: :mod:`coord.recipes.partitioning`, for plain threads.

*What it guarantees.* As there; each work is called in a thread of its own, which cannot be cancelled.
``partition.cancelled`` (a ``threading.Event``) is set where a task would be: when the partition moves, after its
grace; and when it is lost, before the service grants it to anybody else because this client was silent. One that moves
is given up when its work has ended, however long that takes: until then it is owned here.

*What it does not.* Stop a thread that does not look: its partition does not move, or, if it is lost, has another owner
beside it. And what is said there.

*What to do about that.* Let the work look at ``partition.cancelled``, or wait on it between its steps; and what is
said there.

::

    from coord.client.blocking import connect
    from coord.recipes.blocking.partitioning import Partition, Partitioning

    owned = []

    def work(partition: Partition) -> None:
        owned.append(partition.number)
        if len(owned) == 3:
            shards.stop()  # in any thread, or a signal's handler; run() returns then
        partition.cancelled.wait()

    with connect() as client:
        shards = Partitioning(client, "/shards", 3)
        shards.run(work)
        print(sorted(owned), shards.mine)  # → [0, 1, 2] ()
"""

import threading
from collections.abc import Callable
from functools import partial

from coord.client.blocking import Client, Token
from coord.recipes.blocking.bridge import Bridge
from coord.recipes.blocking.running import Mirror, Running, checked_plain
from coord.recipes.partitioning import Partition as AsyncPartition
from coord.recipes.partitioning import Partitioning as AsyncPartitioning

__all__ = ["Partition", "Partitioning"]


class Partition:
    """One partition that is owned here. Its work is called anew each time that it comes here."""

    def __init__(self, client: Client, partition: AsyncPartition) -> None:
        self.number = partition.number
        """From 0 on."""
        self.path = partition.path
        self.token: Token = partition.token
        """The fencing token."""
        self.client = client.fenced(self.token)
        """A view of the client that presents the token with each write."""
        self.leaving = threading.Event()
        """Set when it is to move: after ``grace`` seconds it is ``cancelled``."""
        self.cancelled = threading.Event()
        """Set when the work is to end now."""
        self._partition = partition

    def __repr__(self) -> str:
        return repr(self._partition)

    @property
    def held(self) -> bool:
        """Whether it is certain that nobody else owns it now. Any thread may ask."""
        return self._partition.held

    def remaining(self) -> float:
        """Seconds for which that is certain, whatever happens to the connection."""
        return self._partition.remaining()

    def check(self) -> None:
        """Raise :class:`~coord.client.NotHeld` or :class:`~coord.client.SessionEnded` unless it is ``held``."""
        self._partition.check()


class Partitioning:
    """``Partitioning(client, "/shards", 16).run(work)``, in as many processes as there are.

    ``name``: this member's; the same after a restart, it gets the same partitions (``None``: a new one). ``grace``:
    seconds that the work of a partition that is to move has from when ``partition.leaving`` is set until
    ``partition.cancelled`` is.
    """

    def __init__(
        self, client: Client, path: str, partitions: int, *, name: str | None = None, grace: float = 0.0
    ) -> None:
        bridge = Bridge(client)
        self._client = client
        self._partitioning = AsyncPartitioning(bridge.client, path, partitions, name=name, grace=grace)
        self._running = Running(bridge)
        self._owned: dict[int, Partition] = {}
        self.path = self._partitioning.path

    @property
    def mine(self) -> tuple[Partition, ...]:
        """What is owned here now, by number."""
        return tuple(sorted(self._owned.copy().values(), key=lambda partition: partition.number))

    def run(self, work: Callable[[Partition], object], *, deadline: float | None = None) -> None:
        """Be a member, and call ``work(partition)`` for each partition that is owned here, in a thread for each.

        A work is told to end by ``partition.cancelled``, when its partition moves or is lost; one that returns by
        itself has nothing more to do, and the partition stays. What a work raises ends all of it: it is raised here,
        when the other works have ended and what is owned was given up (but :class:`~coord.client.NotHeld` and
        :class:`~coord.client.StaleToken` of a partition that is lost). So is :class:`~coord.recipes.scope.Lost` when
        the session ends, and :class:`~coord.client.InvalidRequest` (refused) where others say another number of
        partitions. ``deadline``: for becoming a member; in time a name that somebody has may be free again (that of a
        process that was killed).
        """
        checked_plain(work, "a work")
        self._running.run(
            partial(self._partitioning.run, partial(self._call, work), deadline=deadline),
        )

    def stop(self) -> None:
        """Have :meth:`run` return, when the works have ended; also if it has not begun. Does not wait; in any thread,
        and in handlers of signals.
        """
        self._running.stop()

    async def _call(self, work: Callable[[Partition], object], partition: AsyncPartition) -> None:
        mine = self._owned[partition.number] = Partition(self._client, partition)
        try:
            async with Mirror(partition.leaving, mine.leaving):
                await self._running.apart(partial(work, mine), mine.cancelled)
                # A work that has returned leaves its partition here; whoever looks at ``mine`` is told of it still.
                await partition.leaving.wait()
        finally:
            del self._owned[partition.number]
