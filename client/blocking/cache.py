"""A cache, as plain threads hold it: reading it costs them nothing but a look into a dict of the client's thread."""

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from coord.api.errors import CoordError, InvalidRequest
from coord.client.blocking.loop import Loop
from coord.client.blocking.waited import Stay
from coord.client.cache import Cache as AsyncCache
from coord.client.cache import Changes as AsyncChanges
from coord.client.core.mirror import Cached
from coord.client.core.request import NEVER
from coord.client.kept import CACHE, KeptHere

T = TypeVar("T")


class Cache(KeptHere):
    """A copy of a znode and everything below it: ``with client.cache("/cfg") as cache: cache.get("/cfg/a")``

    Once the block is entered the copy is whole, and shows everything that was acknowledged before. From then on it
    follows by one watch. It is exact at :attr:`revision`: nothing of a later one is in it and nothing of an
    earlier one is missing. What this client wrote is in it when the write returns, but for a moment after a
    reconnection; what others wrote comes as fast as events do. To be sure, for instance with a revision that another
    process handed over, ``cache.wait_revision(client.revision)``.

    Any number of threads may read at the same time. Between two reads the cache may change; what is read in one call of
    :meth:`wait_for` is of one moment.

    Reading never waits and never fails, also while the connection is away (:attr:`stale_for` says for how long)
    and when the session has ended (:attr:`failure` says so): a program that would rather have no answer than an
    old one looks there. Members' history may not reach back after a long absence: then it is read anew beside
    the old copy, which is there until the new one is whole. Waiting for something raises :attr:`failure`, once
    there is one.
    """

    _instead = CACHE

    def __init__(
        self, owner: object, loop: Loop, path: str, make: Callable[[], AsyncCache], seconds: float
    ) -> None:
        self._owner = owner  # see Client
        self._loop = loop
        self._path = path
        self._make = make
        self._seconds = seconds
        self._stay: Stay[AsyncCache] | None = None

    # --- reading ---

    def get(self, path: str) -> Cached | None:
        """What is known of ``path``; ``None``: there is no such znode.

        Raises :class:`~coord.api.errors.InvalidRequest` (refused) for a path that is not at or below the cache's.
        """
        return self._cache.get(path)

    def children(self, path: str) -> list[str]:
        """The names of the znodes directly below, in order; none where there is no such znode. Raises as
        :meth:`get`.
        """
        return self._cache.children(path)

    def __contains__(self, path: object) -> bool:
        return path in self._cache

    def __len__(self) -> int:
        return len(self._cache)

    def __iter__(self) -> Iterator[str]:
        """The paths, in order: what is above before what is below."""
        return iter(self._cache)

    # --- how it stands ---

    @property
    def path(self) -> str:
        return self._path

    @property
    def revision(self) -> int:
        """The revision that this is exact at. It also grows with changes elsewhere, as this client hears of them."""
        return self._cache.revision

    @property
    def current(self) -> bool:
        """It is connected, and shows all that the member has told. A connection that died quietly is noticed after a
        third of the session's timeout, or 5 s.
        """
        return self._cache.current

    @property
    def stale_for(self) -> float:
        """For how many seconds it has not been :attr:`current`; 0.0 while it is."""
        return self._cache.stale_for

    @property
    def failure(self) -> CoordError | None:
        """Why it will not change any more: the session has ended, the block was left, or ``limit_exceeded``."""
        return self._cache.failure

    # --- waiting ---

    def wait_revision(self, revision: int, *, deadline: float | None = None) -> int:
        """Wait until it is at ``revision`` at least; returns its :attr:`revision`.

        Costs a read, unless it is there already. ``deadline``: seconds; ``None``: the client's default. Raises
        :class:`~coord.api.errors.DeadlineExceeded` (refused), or :attr:`failure`.
        """
        return self._run(partial(self._cache.wait_revision, revision, deadline=deadline), deadline)

    def changed(self, since: int = -1, *, deadline: float | None = NEVER) -> int:
        """Wait until something in it has changed after ``since``; returns the revision of the last change.

        What was returned is the next ``since``. Changes in quick succession may be told as one. Without
        ``since`` it returns at once. Raises as :meth:`wait_revision`.
        """
        return self._run(partial(self._cache.changed, since, deadline=deadline), deadline)

    def changes(self) -> "Changes":
        """``for revision in cache.changes(): …`` once at once, and then after each change, as :meth:`changed`.

        It ends when the cache's block is left.
        """
        return Changes(self._loop, self._cache.changes())

    def wait_for(self, condition: Callable[[], T], *, deadline: float | None = None) -> T:
        """Wait until ``condition()``, which looks at the cache, is true; returns what it returned.

        ``cache.wait_for(lambda: "/cfg/ready" in cache)``. It is called now, and after each change, in the client's own
        thread: the cache stands still meanwhile, and so does the client. Raises as :meth:`wait_revision`.
        """
        return self._run(partial(self._cache.wait_for, condition, deadline=deadline), deadline)

    # --- opening and closing ---

    def __enter__(self) -> Self:
        if self._stay is not None:
            raise InvalidRequest("a cache is opened once; make another one with client.cache")
        self._stay = self._loop.enter(self._make, partial(_until_the_end, self._loop), self._seconds)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._stay is not None:
            self._loop.leave(self._stay)

    # --- inside ---

    @property
    def _cache(self) -> AsyncCache:
        cache = None if self._stay is None else self._stay.value
        if cache is None:
            raise InvalidRequest("the cache is not open: enter it with 'with'")
        return cache

    def _run(self, work: Callable[[], Awaitable[T]], deadline: float | None) -> T:
        return self._loop.run(work, self._seconds if deadline is None else deadline)


async def _until_the_end(loop: Loop, _: AsyncCache) -> None:
    await loop.client.wait_ended()


class Changes:
    """What :meth:`Cache.changes` returns."""

    def __init__(self, loop: Loop, changes: AsyncChanges) -> None:
        self._loop = loop
        self._changes = changes

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> int:
        try:
            return self._loop.run(self._changes.__anext__, NEVER)
        except StopAsyncIteration:
            raise StopIteration from None
