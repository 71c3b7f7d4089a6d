"""A group as one looks at it: its roster, its changes, and waiting for it. Half of :mod:`coord.recipes.membership`,
whose other half is being in it.
"""

from collections.abc import Callable
from contextlib import AsyncExitStack
from math import inf
from types import TracebackType
from typing import Self, TypeVar

from coord.client import Cache, Client, Event, InvalidRequest, Watch
from coord.recipes.arguments import (
    Deadline,
    checked_client,
    checked_function,
    checked_int,
    checked_path,
    wait_for,
)
from coord.recipes.members import Change, Fold, Member, Roster

T = TypeVar("T")


class Group:
    """The members of a group, as a cache keeps them up. Looking at them costs no round trip, and never waits."""

    def __init__(self, client: Client, path: str, deadline: float | None = None) -> None:
        self._client = checked_client(client)
        self._path = checked_path(path, "a group")
        self._deadline = deadline
        self._cache: Cache | None = None
        self._entered = False
        self._reading = Roster(path)
        self._stack = AsyncExitStack()

    @property
    def path(self) -> str:
        return self._path

    @property
    def roster(self) -> tuple[Member, ...]:
        """All members, by name."""
        return self._reading.read(self._open_cache)

    def get(self, name: str) -> Member | None:
        """The member of that name, if there is one."""
        return next((member for member in self.roster if member.name == name), None)

    @property
    def stale_for(self) -> float:
        """For how many seconds the roster has not been kept up, as the connection is away; 0.0 while it is."""
        return self._open_cache.stale_for

    async def wait_size(self, size: int, *, deadline: float | None = None) -> tuple[Member, ...]:
        """Wait until there are ``size`` members, or more; returns the roster."""
        checked_int(size, 0, "a number of members")
        message = f"there were not {size} members in {self._path!r:.80} in time"
        return await self._wait(lambda roster: roster if len(roster) >= size else None, deadline, message)

    async def wait_for(
        self, condition: Callable[[tuple[Member, ...]], T], *, deadline: float | None = None
    ) -> T:
        """Wait until ``condition(roster)`` is true, and return what it returned. It is called now and after
        changes; of those in quick succession it may see the last only.
        """
        checked_function(condition, "what is waited for")
        message = f"what was waited for has not come to {self._path!r:.80} in time"
        return await self._wait(lambda roster: condition(roster) or None, deadline, message)

    def changes(self) -> "Changes":
        """Every change from now on: ``async with group.changes() as changes: async for change in changes: …``"""
        return Changes(self._client, self._path, self._open_cache)

    @property
    def _open_cache(self) -> Cache:
        if self._cache is None:
            raise InvalidRequest("the group is not open: enter its block")
        return self._cache

    async def _wait(
        self, condition: Callable[[tuple[Member, ...]], T | None], deadline: float | None, message: str
    ) -> T:
        due = Deadline(self._client, deadline)

        def look() -> tuple[T] | None:
            # An empty roster, which is false, may be what was waited for.
            found = condition(self.roster)
            return None if found is None else (found,)

        return (await wait_for(self._open_cache, look, due, message))[0]

    async def __aenter__(self) -> Self:
        await self._open(Deadline(self._client, self._deadline))
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        return bool(await self._stack.__aexit__(exc_type, exc, traceback))

    async def _open(self, due: Deadline) -> None:
        if self._entered:
            raise InvalidRequest("a group is entered once; make another one with join or observe")
        self._entered = True
        cache = self._client.cache(self._path, deadline=due.left)
        self._cache = await self._stack.enter_async_context(cache)


class Changes:
    """What :meth:`Group.changes` returns."""

    def __init__(self, client: Client, path: str, cache: Cache) -> None:
        self._client = client
        self._event: Event | None = None
        """Taken, and not told yet: whoever was waiting for it was cancelled."""
        # From here on there is no await until both are read, so they are of the same moment.
        self._fold = Fold(path, cache)
        self._watch: Watch = client.watch(path, "subtree", cache.revision + 1)

    @property
    def roster(self) -> tuple[Member, ...]:
        """As of the last change that was told; before any, as it was when the block began."""
        return self._fold.roster

    async def __aenter__(self) -> Self:
        await self._watch.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._watch.__aexit__(exc_type, exc, traceback)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        while True:
            if self._event is None:
                self._event = await self._watch.__anext__()
            stat = None
            if self._fold.asks(self._event):
                stat = await self._client.exists(self._event.path, deadline=inf)
            event, self._event = self._event, None
            change = self._fold.apply(event, stat)
            if change is not None:
                return change
