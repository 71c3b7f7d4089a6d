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
from threading import get_ident
from types import TracebackType

from coord.client import Grant as AsyncGrant
from coord.client import InvalidRequest
from coord.client.blocking import Client, Grant
from coord.recipes.blocking.bridge import Bridge
from coord.recipes.blocking.held import Claims, HeldAll, HeldGrant
from coord.recipes.multilock import MultiLock as AsyncMultiLock


class MultiLock:
    """``with MultiLock(client, ["/locks/a", "/locks/b"]) as grants: …``; its locks are those of
    :class:`~coord.recipes.blocking.lock.Lock` at the same paths.
    """

    def __init__(self, client: Client, paths: Iterable[str], *, label: bytes = b"") -> None:
        self._locks = AsyncMultiLock(Bridge(client).client, paths, label=label)
        self._client = client
        self._claims = Claims(client)
        self._blocks: dict[int, list[HeldAll]] = {}
        """By thread: what it has entered and not left, the innermost last."""
        self.paths = self._locks.paths

    def hold(self, *, deadline: float | None = None) -> HeldAll:
        """All for the length of a block: ``with locks.hold(deadline=5) as grants: …``; see :meth:`acquire`."""
        what = f"one of the locks {', '.join(self.paths)}"
        return HeldAll(self._client, what, partial(self._locks.hold, deadline=deadline), deadline)

    def acquire(self, *, deadline: float | None = None) -> Sequence[Grant]:
        """Wait for all, without a block: whoever calls this releases the grants. In the order of their paths.

        ``deadline``: seconds for all of them; :class:`~coord.client.DeadlineExceeded` (refused), and none is held.
        """
        found = self._claims.bridge.loop.run(
            partial(self._locks.acquire, deadline=deadline),
            self._claims.bridge.seconds(deadline),
            unwanted=self._withdraw,
        )
        return [self._claims.wrapped(grant) for grant in found]

    def try_acquire(self, *, deadline: float | None = None) -> Sequence[Grant] | None:
        """All, if all are free; else ``None``, and none. ``deadline``: for the service's answers."""
        found = self._claims.bridge.loop.run(
            partial(self._locks.try_acquire, deadline=deadline),
            self._claims.bridge.seconds(deadline),
            unwanted=self._withdraw,
        )
        return None if found is None else [self._claims.wrapped(grant) for grant in found]

    def _withdraw(self, grants: Sequence[AsyncGrant] | None) -> None:
        self._client._withdraw_all(list(grants or ()))

    def __enter__(self) -> Sequence[HeldGrant]:
        block = self.hold()
        grants = block.__enter__()
        self._blocks.setdefault(get_ident(), []).append(block)
        return grants

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        mine = self._blocks.get(get_ident())
        if not mine:
            raise InvalidRequest("a multi-lock is left by the thread that has entered it")
        block = mine.pop()
        if not mine:
            del self._blocks[get_ident()]
        block.__exit__(exc_type, exc, traceback)
