"""Several locks at once, without deadlock.

*What it guarantees.* All of them are held in the block, or it is not entered. However many take however many of the
same locks this way, in whatever order they name them, nobody waits for ever for one who waits for him: they are taken
in the order of their paths. The block is cancelled as soon as one of them may be lost. Each has its own token.

*What it does not.* Who takes a further lock inside the block, by itself, can make a deadlock; and while it waits for
the second it holds the first.

*What to do about that.* Name all at once. ``coord why PATH`` shows who waits for whom, and a cycle if there is one.

::

    from coord.recipes.multilock import MultiLock

    async with MultiLock(client, ["/locks/b", "/locks/a"]) as grants:
        print([grant.path for grant in grants])  # → ['/locks/a', '/locks/b']
"""

from collections.abc import Iterable, Sequence
from types import TracebackType

from coord.client import Claimed, Client, DeadlineExceeded, Grant, InvalidRequest
from coord.recipes.arguments import Deadline, checked_client, checked_path, checked_seconds
from coord.recipes.held import Entered, HeldAll, release_all


class MultiLock:
    """``async with MultiLock(client, ["/locks/a", "/locks/b"]) as grants: …``; its locks are those of
    :class:`~coord.recipes.lock.Lock` at the same paths.
    """

    def __init__(self, client: Client, paths: Iterable[str], *, label: bytes = b"") -> None:
        if isinstance(paths, str) or not isinstance(paths, Iterable):
            raise InvalidRequest(
                f"a multi-lock is of several paths, as in ['/locks/a', '/locks/b']; not {paths!r:.60}"
            )
        self.paths = tuple(sorted({checked_path(path, "a lock") for path in paths}))
        if not self.paths:
            raise InvalidRequest("a multi-lock is of one path at least")
        self._client = checked_client(client)
        self._label = label
        self._what = f"one of the locks {', '.join(self.paths)}"
        self._entered: Entered[Sequence[Grant]] = Entered(self._what)

    def hold(self, *, deadline: float | None = None) -> HeldAll:
        """All for the length of a block: ``async with locks.hold(deadline=5) as grants: …``; see :meth:`acquire`."""
        return HeldAll(self._client, self._what, lambda: self.acquire(deadline=deadline))

    async def acquire(self, *, deadline: float | None = None) -> Sequence[Grant]:
        """Wait for all, without a block: whoever calls this releases the grants. In the order of their paths.

        ``deadline``: seconds for all of them; 0: have them only if all are free.
        :class:`~coord.client.DeadlineExceeded` (refused; unknown, where a claim was not answered, which is given back
        if it is granted), and none is held.
        """
        if deadline is not None and checked_seconds(deadline) == 0:
            grants = await self.try_acquire()
            if grants is None:
                raise DeadlineExceeded(f"{self._what} is not free", outcome="refused")
            return grants
        try:
            return await self._take(True, deadline)
        except DeadlineExceeded as error:
            raise DeadlineExceeded(
                f"{error.message}; the others were given back", outcome=error.outcome
            ) from None

    async def try_acquire(self, *, deadline: float | None = None) -> Sequence[Grant] | None:
        """All, if all are free; else ``None``, and none. ``deadline``: for the service's answers."""
        try:
            return await self._take(False, deadline)
        except Claimed:
            return None

    async def _take(self, wait: bool, deadline: float | None) -> Sequence[Grant]:
        due = Deadline(self._client, deadline)
        grants: list[Grant] = []
        try:
            for path in self.paths:
                grant = await self._client.claim(
                    path, wait=wait, label=self._label, capacity=1, deadline=due.left
                )
                grants.append(grant)
        except BaseException:
            await release_all(grants)
            raise
        return grants

    async def __aenter__(self) -> Sequence[Grant]:
        return await self._entered.enter(self.hold)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        return await self._entered.leave(exc_type, exc, traceback)
