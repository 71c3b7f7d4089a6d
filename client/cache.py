"""A cache, as its user holds it: a part of the tree in this process, read without a round trip."""

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from coord.api.errors import CoordError, DeadlineExceeded, Disconnected, InvalidRequest, Unavailable
from coord.api.ops import Exists
from coord.api.paths import is_below, shown
from coord.client.copying import Copy
from coord.client.core.mirror import ZNODES_MAX, Cached
from coord.client.core.namespace import Namespace, check_text
from coord.client.core.request import NEVER
from coord.client.kept import CACHE, KeptHere
from coord.client.link import Link
from coord.wire.op_rows import INT_MAX, check_int

T = TypeVar("T")


class Cache(KeptHere):
    """A copy of a znode and everything below it: ``async with client.cache("/cfg") as cache: cache.get("/cfg/a")``

    Once the block is entered the copy is whole, and shows everything that was acknowledged before. From then on it
    follows by one watch. It is exact at :attr:`revision`: nothing of a later one is in it and nothing of an
    earlier one is missing, and between two ``await`` of the reader it does not change. While it is
    :attr:`current`, what this client wrote is in it when the write returns; what others wrote comes as fast as
    events do. To see all that was acknowledged, as a read would: ``await
    cache.wait_revision(client.revision)``, or the revision that another process handed over.

    Reading never waits and never fails, also while the connection is away (:attr:`stale_for` says for how long)
    and when the session has ended (:attr:`failure` says so): a program that would rather have no answer than an
    old one looks there. Members' history may not reach back after a long absence: then it is read anew beside
    the old copy, which is there until the new one is whole. Waiting for something raises :attr:`failure`, once
    there is one.
    """

    _instead = CACHE

    def __init__(
        self,
        link: Link,
        path: str,
        *,
        values: bool = True,
        limit: int = ZNODES_MAX,
        deadline: float,
        space: Namespace | None = None,
    ) -> None:
        check_text(path)
        check_int(limit, 1, INT_MAX, "a cache's limit")
        self._link = link
        self._path = path
        self._deadline = deadline
        self._copy = Copy(link, path, bool(values), limit, space)
        self._entered = False
        self.left = False
        """Its block was left."""

    # --- reading ---

    def get(self, path: str) -> Cached | None:
        """What is known of ``path``; ``None``: there is no such znode.

        Raises :class:`~coord.api.errors.InvalidRequest` (refused) for a path that is not at or below the cache's.
        """
        try:
            found = self._copy.tree.entries.get(path)
        except TypeError:
            found = None  # of no text; that is said below
        if found is None:
            self._check_path(path)
        return found

    def children(self, path: str) -> list[str]:
        """The names of the znodes directly below, in order; none where there is no such znode. Raises as
        :meth:`get`.
        """
        tree = self._copy.tree
        if path not in self:
            self._check_path(path)
        return tree.children(path)

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and path in self._copy.tree.entries

    def __len__(self) -> int:
        return len(self._copy.tree.entries)

    def __iter__(self) -> Iterator[str]:
        """The paths, in order: what is above before what is below."""
        return iter(sorted(self._copy.tree.entries))

    # --- how it stands ---

    @property
    def path(self) -> str:
        return self._path

    @property
    def revision(self) -> int:
        """The revision that this is exact at. It also grows with changes elsewhere, as this client hears of them."""
        return self._copy.revision

    @property
    def current(self) -> bool:
        """It is connected, and shows all that the member has told. A connection that died quietly is noticed after a
        third of the session's timeout, or 5 s.
        """
        return self._copy.current

    @property
    def stale_for(self) -> float:
        """For how many seconds it has not been :attr:`current`; 0.0 while it is."""
        return self._copy.stale_for

    @property
    def failure(self) -> CoordError | None:
        """Why it will not change any more: the session has ended, the block was left, or ``limit_exceeded``."""
        return self._copy.failure

    # --- waiting ---

    async def wait_revision(self, revision: int, *, deadline: float | None = None) -> int:
        """Wait until it is at ``revision`` at least; returns its :attr:`revision`.

        Costs a read, unless it is there already. ``deadline``: seconds; ``None``: the client's default. Raises
        :class:`~coord.api.errors.DeadlineExceeded` (refused), or :attr:`failure`.
        """
        check_int(revision, 0, INT_MAX, "a revision")
        copy = self._copy
        seconds = self._deadline if deadline is None else deadline
        ends_at = self._link.deadline(seconds)
        with anyio.move_on_after(seconds):
            await checkpoint()
            while self.revision < revision:
                copy.check()
                if copy.feed is None or not copy.live:
                    await copy.bell.wait()
                    continue
                try:
                    # A member answers when it is there, and tells the events first.
                    await copy.feed.ask([Exists(self._path)], ends_at, at_least=revision)
                except Unavailable:
                    continue  # there is no such revision yet, and members wait for one only so long
            return self.revision
        raise DeadlineExceeded(
            f"the cache is at revision {self.revision}, not at {revision} yet", outcome="refused"
        )

    async def changed(self, since: int = -1, *, deadline: float | None = NEVER) -> int:
        """Wait until something in it has changed after ``since``; returns the revision of the last change.

        What was returned is the next ``since``. Changes in quick succession may be told as one. Without
        ``since`` it returns at once. Raises as :meth:`wait_revision`.
        """
        check_int(since, -1, INT_MAX, "a revision (or -1: before all)")
        await self.wait_for(lambda: self._copy.changed_revision > since, deadline=deadline)
        return self._copy.changed_revision

    def changes(self) -> "Changes":
        """``async for revision in cache.changes(): …`` once at once, and then after each change, as :meth:`changed`.

        It ends when the cache's block is left.
        """
        return Changes(self)

    async def wait_for(self, condition: Callable[[], T], *, deadline: float | None = None) -> T:
        """Wait until ``condition()``, which looks at the cache, is true; returns what it returned.

        ``await cache.wait_for(lambda: "/cfg/ready" in cache)``. It is called now, and after each change. Raises
        as :meth:`wait_revision`.
        """
        if not callable(condition):
            raise InvalidRequest(f"wait_for takes a function that looks at the cache, not {condition!r:.40}")
        seconds = self._deadline if deadline is None else deadline
        self._link.deadline(seconds)
        with anyio.move_on_after(seconds):
            await checkpoint()
            while not (found := condition()):
                self._copy.check()
                await self._copy.bell.wait()
            return found
        raise DeadlineExceeded("what was waited for has not come to the cache in time", outcome="refused")

    # --- opening and closing ---

    async def __aenter__(self) -> Self:
        if self._entered:
            raise InvalidRequest("a cache is opened once; make another one with client.cache")
        self._entered = True
        await self._copy.open(self._link.deadline(self._deadline))
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.left = True
        self._copy.close()

    def _check_path(self, path: str) -> None:
        check_text(path)
        if path != self._path and not is_below(path, self._path):
            raise InvalidRequest(
                f"{shown(path)} is not at or below {shown(self._path)}, which this cache is of"
            )


class Changes:
    """What :meth:`Cache.changes` returns."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._since = -1

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> int:
        try:
            self._since = await self._cache.changed(self._since)
        except Disconnected:
            if not self._cache.left:
                raise
            raise StopAsyncIteration from None
        return self._since
