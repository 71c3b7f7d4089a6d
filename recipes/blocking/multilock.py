"""Several locks at once: :mod:`coord.recipes.multilock`, for plain threads.

*What it guarantees, what it does not, what to do about that*: as there; and of a thread's block that loses one of its
locks, as in :mod:`coord.recipes.blocking.lock`: when one is lost ``lost`` of all is set.

::

    from coord.client.blocking import connect
    from coord.recipes.blocking.multilock import MultiLock

    with connect() as client:
        with MultiLock(client, ["/locks/b", "/locks/a"]) as grants:
            print([grant.path for grant in grants])  # → ['/locks/a', '/locks/b']
"""

from collections.abc import Iterable, Sequence
from functools import partial
from types import TracebackType

from coord.client import Grant as AsyncGrant
from coord.client.blocking import Client, Grant
from coord.recipes.blocking.bridge import Bridge
from coord.recipes.blocking.held import Entered, HeldAll, HeldGrant, patience
from coord.recipes.multilock import MultiLock as AsyncMultiLock


class MultiLock:
    """``with MultiLock(client, ["/locks/a", "/locks/b"]) as grants: …``; its locks are those of
    :class:`~coord.recipes.blocking.lock.Lock` at the same paths.
    """

    def __init__(self, client: Client, paths: Iterable[str], *, label: bytes = b"") -> None:
        self._bridge = Bridge(client)
        self._locks = AsyncMultiLock(self._bridge.client, paths, label=label)
        self._client = client
        self._what = f"one of the locks {', '.join(self._locks.paths)}"
        self._entered: Entered[Sequence[HeldGrant]] = Entered(self._what)
        self.paths = self._locks.paths

    def hold(self, *, deadline: float | None = None) -> HeldAll:
        """All for the length of a block: ``with locks.hold(deadline=5) as grants: …``; see :meth:`acquire`."""
        return HeldAll(self._client, self._what, partial(self._locks.hold, deadline=deadline), deadline)

    def acquire(self, *, deadline: float | None = None) -> Sequence[Grant]:
        """Wait for all, without a block: whoever calls this releases the grants. In the order of their paths.

        ``deadline``: seconds for all of them; 0: have them only if all are free.
        :class:`~coord.client.DeadlineExceeded` (refused; unknown, where a claim was not answered, which is given back
        if it is granted), and none is held.
        """
        work = partial(self._locks.acquire, deadline=deadline)
        found = self._bridge.run(work, patience(deadline), unwanted=_give_back)
        return [Grant(self._bridge, grant) for grant in found]

    def try_acquire(self, *, deadline: float | None = None) -> Sequence[Grant] | None:
        """All, if all are free; else ``None``, and none. ``deadline``: for the service's answers."""
        work = partial(self._locks.try_acquire, deadline=deadline)
        found = self._bridge.run(work, deadline, unwanted=_give_back)
        return None if found is None else [Grant(self._bridge, grant) for grant in found]

    def __enter__(self) -> Sequence[HeldGrant]:
        return self._entered.enter(self.hold)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._entered.leave(exc_type, exc, traceback)


def _give_back(grants: Sequence[AsyncGrant] | None) -> None:
    for grant in grants or ():
        grant.release_nowait()
