"""A config's value, kept up: half of :mod:`coord.recipes.config`."""

from collections.abc import Awaitable, Callable
from math import inf
from types import TracebackType
from typing import Generic, Self, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from coord.client import ChangeKind, Client, CoordError, Event, InvalidRequest, NotFound, Reason, Watch
from coord.recipes.arguments import Deadline
from coord.recipes.scope import Beside, log
from coord.recipes.typed import BadValue, Published, Typed

T = TypeVar("T")


class Live(Generic[T]):
    """A config's value, kept up. What :meth:`Config.watch` returns.

    Entering raises :class:`~coord.client.NotFound` where there is none, and no default; and :class:`BadValue`. From
    then on there is always a good one. It can be read also while the connection is away, and when the session has
    ended.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        typed: Typed[T],
        read: Callable[[float], Awaitable[Published[T]]],
        default: T | None,
        deadline: float | None,
    ) -> None:
        """``read``: the value now, within so many seconds."""
        self._client = client
        self._typed = typed
        self._read = read
        self._default = default
        self._deadline = deadline
        self._watch: Watch = client.watch(path, deadline=deadline)
        self._beside = Beside()
        self._entered = False
        self._published: Published[T] | None = None
        self._number = 0
        """How many good values there were; 0 before it is open."""
        self._changed = anyio.Event()
        self._error: CoordError | None = None
        self._failure: CoordError | None = None
        self._left = False

    @property
    def value(self) -> T:
        """The last good one."""
        return self.published.value

    @property
    def published(self) -> Published[T]:
        """The last good one, with its version and revision."""
        return self._check_open()

    @property
    def error(self) -> CoordError | None:
        """Why the newest in the tree is not what :attr:`value` is: it is bad, or was deleted (and there is no
        default). ``None``: it is.
        """
        return self._error

    @property
    def failure(self) -> CoordError | None:
        """Why it will not change any more: the session has ended, for instance."""
        return self._failure

    def __aiter__(self) -> "Values[T]":
        """The present value at once, and then each new one; of those in quick succession the last. Raises
        :attr:`failure`.
        """
        return Values(self)

    async def __aenter__(self) -> Self:
        if self._entered:
            raise InvalidRequest("a config is watched once; make another one with config.watch()")
        self._entered = True
        due = Deadline(self._client, self._deadline)
        await self._watch.__aenter__()
        try:
            self._take(await self._read(due.left))
            await self._beside.begin()
        except BaseException:
            await self._watch.__aexit__(None, None, None)
            raise
        self._beside.start(self._follow)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._left = True
        self._ring()
        try:
            await self._beside.finish()
        finally:
            await self._watch.__aexit__(None, None, None)

    def _check_open(self) -> Published[T]:
        if self._published is None:
            raise InvalidRequest("the config is not open: enter its block")
        return self._published

    async def _follow(self) -> None:
        try:
            async for event in self._watch:
                if event.reason is Reason.RELISTED and event.kind is not ChangeKind.DELETED:
                    await self._read_again()
                else:
                    self._tell(event)
        except CoordError as error:
            self._failure = error
            self._ring()

    async def _read_again(self) -> None:
        """After a gap: what was found there is told at the revision at which it was found, and the history knows it
        by another.
        """
        try:
            published = await self._read(inf)
        except BadValue as error:
            self._refuse(error)
        except NotFound:
            return  # it has gone since, which will be told
        else:
            if published.version >= 0:
                self._take(published)

    def _tell(self, event: Event) -> None:
        if event.revision <= self.published.revision:
            return  # from between the opening of the watch and the reading
        default = self._default
        try:
            if event.kind is not ChangeKind.DELETED:
                self._take(self._typed.decode(event.value or b"", event.version, event.revision))
            elif default is not None:
                self._take(Published(default, -1, event.revision))
            else:
                raise NotFound(
                    f"{event.path!r:.80} was deleted, at revision {event.revision}", {"path": event.path}
                )
        except (BadValue, NotFound) as error:
            self._refuse(error)

    def _refuse(self, error: CoordError) -> None:
        self._error = error
        log.error("%s; the one of revision %d stays", error.message, self.published.revision)

    def _take(self, published: Published[T]) -> None:
        self._published, self._error = published, None
        self._number += 1
        self._ring()

    def _ring(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def _next(self, told: int) -> tuple[int, Published[T]]:
        """One that is newer than the ``told``-th."""
        await checkpoint()
        while self._number == told:
            if self._left:
                raise StopAsyncIteration
            if self._failure is not None:
                raise self._failure.anew()
            await self._changed.wait()
        return self._number, self.published


class Values(Generic[T]):
    """What a loop over a :class:`Live` goes over."""

    def __init__(self, live: Live[T]) -> None:
        self._live = live
        self._told = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Published[T]:
        self._live._check_open()
        self._told, published = await self._live._next(self._told)
        return published
