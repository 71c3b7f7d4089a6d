"""A lock: one holder at a time in the whole cluster; first come, first served.

*What it guarantees.* The service grants the lock to one claim at a time, in the order of asking, in the very step in
which the one before is given up or its session ends: one request, no herd, no polling. The block is cancelled before
the lock can be granted to somebody else because this client was silent for too long. Each grant has a fencing token,
greater than all before it for this path.

*What it does not.* No lock can stop a request that is already on its way, nor a process that was stopped between its
last look at the clock and its next step: when it goes on, somebody else may hold the lock. And a path is a lock's or a
semaphore's: a lock is refused (:class:`~coord.client.Conflict`) where the capacity is above 1, but if somebody raises
it while others hold the lock or wait, so many hold it.

*What to do about that.* Give ``grant.token`` to the resource, which refuses lower ones than it has seen
(:mod:`coord.recipes.fencing`); for what is in coord itself, ``client.fence(subtree, lock)`` once, and write through
``client.fenced(grant)``. For a resource that can't check, set a lock delay (``client.claim_settings``).

::

    from coord.recipes.lock import Lock

    lock = Lock(client, "/locks/report")
    async with lock as grant:
        print(grant.held, grant.remaining() > 0)  # → True True
        print(await lock.try_acquire())  # → None
    async with lock.hold(deadline=5) as grant:  # DeadlineExceeded (refused) when it takes longer
        await client.fenced(grant).set("/report", b"done", create=True)
"""

from types import TracebackType

from coord.client import Claimed, Client, DeadlineExceeded, Grant
from coord.recipes.arguments import checked_client, checked_path, checked_seconds
from coord.recipes.held import Entered, Held


class Lock:
    """``Lock(client, "/locks/a")``, for any number of tasks: each ``async with`` is a claim of its own.

    ``reentrant``: a task that holds it may enter again, and holds it until it has left as often. ``label``: for
    people who look at who holds it (``coord claims``).

    ``release_nowait``: who leaves a block does not wait for the service's answer, as with
    :meth:`Grant.release_nowait <coord.client.Grant.release_nowait>`. Entered again at once, it is given up and asked
    for in one request: a lock that goes round then takes half of the commits. The price: when the block has ended the
    giving up is on its way, and others may see the lock held for a moment more.
    """

    _shared = False
    _what = "the lock"

    def __init__(
        self,
        client: Client,
        path: str,
        *,
        reentrant: bool = False,
        label: bytes = b"",
        release_nowait: bool = False,
    ) -> None:
        self.path = checked_path(path, "a lock")
        self._client = checked_client(client)
        self._label = label
        self._release_nowait = bool(release_nowait)
        self._entered: Entered[Grant] = Entered(f"{self._what} {path}", reentrant)

    def hold(self, *, deadline: float | None = None) -> Held:
        """It for the length of a block: ``async with lock.hold(deadline=5) as grant: …``; see :meth:`acquire`."""
        what = f"{self._what} {self.path}"
        return Held(self._client, what, lambda: self.acquire(deadline=deadline), self._release_nowait)

    async def acquire(self, *, deadline: float | None = None) -> Grant:
        """Wait for it, without a block: whoever calls this releases the grant, and looks at ``grant.held``.

        ``deadline``: seconds to wait; 0: have it only if it is free. :class:`~coord.client.DeadlineExceeded`
        (refused) when it was not granted in time.
        """
        if deadline is not None and checked_seconds(deadline) == 0:
            grant = await self.try_acquire()
            if grant is None:
                raise DeadlineExceeded(f"{self._what} {self.path} is not free", outcome="refused")
            return grant
        return await self._claim(True, deadline)

    async def try_acquire(self, *, deadline: float | None = None) -> Grant | None:
        """It, if it is free; else ``None``, without waiting for its holder. ``deadline``: for the service's
        answer.
        """
        try:
            return await self._claim(False, deadline)
        except Claimed:
            return None

    async def _claim(self, wait: bool, deadline: float | None) -> Grant:
        return await self._client.claim(
            self.path, wait=wait, shared=self._shared, label=self._label, capacity=1, deadline=deadline
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
