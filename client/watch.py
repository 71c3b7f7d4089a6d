"""A watch, as its user holds it."""

from types import TracebackType
from typing import Final, Literal, Self

import anyio
from anyio.lowlevel import checkpoint

from coord.api.errors import InvalidRequest
from coord.api.events import Event
from coord.api.ops import WatchScope
from coord.client.link import Bell, Link
from coord.client.watching import Watching

Scope = Literal["znode", "children", "subtree"]

SCOPES: Final = {"znode": WatchScope.ZNODE, "children": WatchScope.CHILDREN, "subtree": WatchScope.SUBTREE}


class Watch:
    """Events of a part of the tree: ``async with client.watch("/a") as events: async for event in events: …``

    Once the block is entered the watch is open: every later change is told, in the order of revisions, exactly
    once, also across reconnections. A user who takes events more slowly than they come is served from the
    members' history. Where that no longer reaches back the loop raises :class:`~coord.api.errors.Gap`, and when the
    session is over :class:`~coord.api.errors.SessionEnded`.
    """

    def __init__(
        self, link: Link, path: str, scope: Scope, from_revision: int | None, deadline: float
    ) -> None:
        self._link = link
        self._path = path
        self._scope = scope
        self._from_revision = from_revision
        self._deadline = deadline
        self._bell = Bell()
        self._watching: Watching | None = None

    @property
    def next_revision(self) -> int | None:
        """The first revision of which not every event has been taken: ``from_revision`` for another watch that goes
        on here. ``None`` before the watch is open.
        """
        return None if self._watching is None else self._watching.resume_revision

    async def __aenter__(self) -> Self:
        if self._watching is not None:
            raise InvalidRequest("a watch is opened once; make another one with client.watch")
        deadline = anyio.current_time() + self._deadline
        scope = SCOPES.get(self._scope)
        if scope is None:
            raise InvalidRequest(f"a watch's scope is one of {', '.join(SCOPES)}; not {self._scope!r:.40}")
        core = self._link.core
        self._watching = core.watch(self._path, scope, self._from_revision, deadline, self._bell)
        self._link.settle()
        opening = self._watching.opening
        try:
            while not opening.done:
                await self._bell.wait()
            opening.row()
        except BaseException:
            self._close()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        await checkpoint()
        watching = self._watching
        if watching is None:
            raise InvalidRequest("the watch is not open: enter it with 'async with'")
        while not watching.buffer:
            if watching.error is not None:
                raise watching.error
            if watching.closed:
                raise StopAsyncIteration
            await self._bell.wait()
        event = watching.take()
        if watching.paused:
            self._link.core.taken(watching)
            self._link.settle()
        return event

    def _close(self) -> None:
        if self._watching is not None and not self._watching.closed:
            self._link.core.unwatch(self._watching)
            self._link.settle()
            self._bell.set()
