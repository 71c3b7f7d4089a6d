"""A watch, as its user holds it."""

from collections import deque
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self

import anyio
from anyio.lowlevel import checkpoint

from coord.api.errors import Gap, InvalidRequest, LimitExceeded
from coord.api.events import Event
from coord.api.ops import WATCH_CLAIMS, WatchScope
from coord.client.core.mirror import Mirror, differences
from coord.client.core.namespace import Namespace, check_text
from coord.client.core.request import NEVER
from coord.client.feed import Feed
from coord.client.kept import WATCH, KeptHere
from coord.client.link import Bell, Link

Scope = Literal["znode", "children", "subtree"]
OnGap = Literal["relist", "raise"]

SCOPES: Final = {"znode": WatchScope.ZNODE, "children": WatchScope.CHILDREN, "subtree": WatchScope.SUBTREE}
ON_GAP: Final = ("relist", "raise")

PAST_MAX: Final = 100_000
"""Events between ``from_revision`` and now that a watch which re-lists takes before it is open. Beyond:
``limit_exceeded``."""


class Watch(KeptHere):
    """Events of a part of the tree: ``async with client.watch("/a") as events: async for event in events: …``

    Once the block is entered the watch is open: every later change is told, in the order of revisions, exactly
    once, also across reconnections. A user who takes events more slowly than they come is served from the
    members' history.

    Where that no longer reaches back (a *gap*: the client was away for long, or is much too slow) the watch
    reads anew what it is about, and tells the difference as events: deletions from below, then creations and
    sets from above, all at one revision, with :attr:`Reason.RELISTED <coord.api.events.Reason.RELISTED>`. What
    happened in between is merged: a znode that was set three times is told once, and one that came and went is
    not told; one that was deleted and made again is told as both. So whoever applies the events has the tree as
    it is, gap or not. For that the watch keeps names and revisions (no values) of what it is about, and reads
    them once when it is opened: one read for a znode, one for each thousand children. ``on_gap="raise"`` costs
    nothing, and raises :class:`~coord.api.errors.Gap` from the loop.

    With ``claims`` it also tells how znodes there are claimed and released, queued for and withdrawn from, and what is
    set about their claims (``event.kind``). No listing of the tree would tell what was missed of these, so it goes with
    ``on_gap="raise"``: whoever watches them lists them anew after a :class:`~coord.api.errors.Gap`.

    The loop raises :class:`~coord.api.errors.SessionEnded` when the session is over, and
    :class:`~coord.api.errors.LimitExceeded` where there is more to be re-listed than a million znodes.
    """

    _instead = WATCH

    def __init__(
        self,
        link: Link,
        path: str,
        scope: Scope,
        from_revision: int | None,
        deadline: float,
        on_gap: OnGap = "relist",
        space: Namespace | None = None,
        claims: bool = False,
    ) -> None:
        self._link = link
        self._path = path
        self._scope = scope
        self._from_revision = from_revision
        self._deadline = deadline
        self._on_gap = on_gap
        self._space = space
        self._claims = bool(claims)
        self._bell = Bell()
        self._feed: Feed | None = None
        self._mirror: Mirror | None = None
        """What its user knows once ``_ready`` is taken; ``None``: it is not kept."""
        self._ready: deque[Event] = deque()
        """To be told before the feed's: all of them are in the mirror."""
        self._resume_revision: int | None = None
        """While what is ready is a difference, which no revision resumes: where the feed before it had ended."""
        self._next: _Next | None = None
        self._closed = False
        self._relisting = anyio.Lock()

    @property
    def next_revision(self) -> int | None:
        """The first revision of which not every event has been taken: ``from_revision`` for another watch that goes
        on here. ``None`` before the watch is open.
        """
        if self._ready:
            return self._resume_revision or self._ready[0].revision
        return None if self._feed is None else self._feed.watching.resume_revision

    async def __aenter__(self) -> Self:
        if self._feed is not None:
            raise InvalidRequest("a watch is opened once; make another one with client.watch")
        ends_at = self._link.deadline(self._deadline)
        if not isinstance(self._scope, str) or self._scope not in SCOPES:
            raise InvalidRequest(f"a watch's scope is one of {', '.join(SCOPES)}; not {self._scope!r:.40}")
        if self._on_gap not in ON_GAP:
            raise InvalidRequest(f"on_gap is one of {', '.join(ON_GAP)}; not {self._on_gap!r:.40}")
        if self._claims and self._on_gap != "raise":
            raise InvalidRequest(
                "a watch with claims=True takes on_gap='raise', too: what was missed of claims in a gap cannot be "
                "told by listing the tree; list them with client.claims when it raises Gap"
            )
        check_text(self._path)
        if self._on_gap == "raise":
            self._feed = self._new_feed()
            await self._feed.open(self._from_revision, ends_at)
            return self
        while True:
            try:
                self._feed, self._mirror = await self._opened(ends_at)
            except Gap:
                # One from now on can be opened again. Of one from the past nothing is known that could be compared.
                if self._from_revision is not None:
                    raise
            else:
                return self

    async def _opened(self, ends_at: float) -> "_Next":
        """A feed and its mirror. What the feed tells until the mirror is whole is ready to be told to the user."""
        self._ready.clear()
        feed, mirror = self._new_feed(), self._new_mirror(None)
        await feed.open(self._from_revision, ends_at)
        try:
            await feed.fill(mirror, ends_at, self._past)
            if self._from_revision is not None and self._from_revision - 1 > mirror.read_revision:
                # What is told begins then, and the mirror would lack what happens until then.
                raise InvalidRequest(
                    f"the store is at revision {mirror.read_revision}, so there is nothing yet to be watched from "
                    f"{self._from_revision} on; on_gap='raise' would wait for it"
                )
        except BaseException:
            feed.close()
            raise
        return _Next(feed, mirror)

    def _past(self, event: Event) -> None:
        # These must be held here: were they left to the members' history and lost there, the mirror, which has
        # their effects already, could not tell what of it the user knows.
        if len(self._ready) >= PAST_MAX:
            raise LimitExceeded(
                f"there are more than {PAST_MAX} events to be taken before the watch is open: list, and watch from the "
                "page's revision; or open it with on_gap='raise'",
                {"limit": "past_events", "maximum": PAST_MAX},
            )
        self._ready.append(event)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closed = True
        if self._next is not None:
            self._next.feed.close()
        if self._feed is not None:
            self._feed.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        await checkpoint()
        self._link.check_home()
        feed = self._feed
        if feed is None:
            raise InvalidRequest("the watch is not open: enter it with 'async with'")
        while True:
            if self._ready:
                return self._ready.popleft()
            feed = self._feed or feed
            watching = feed.watching
            if watching.buffer:
                if self._mirror is not None:
                    self._mirror.check_size()
                event = feed.take()
                feed.went_on()
                if self._mirror is not None:
                    self._mirror.apply(event)
                return event
            if watching.closed:
                raise StopAsyncIteration
            if watching.error is None:
                await self._bell.wait()
            elif isinstance(watching.error, Gap) and self._mirror is not None:
                async with self._relisting:
                    if self._feed is feed:  # else another task has done it
                        await self._relist(feed, self._mirror)
            else:
                raise watching.error

    async def _relist(self, before: Feed, known: Mirror) -> None:
        """Go on with a new feed, and have the difference ready. *Cancellation:* the next call goes on."""
        while True:
            if self._next is None:
                feed = self._new_feed()
                await feed.open(None, NEVER)
                if self._closed:
                    feed.close()
                self._next = _Next(feed, self._new_mirror(known))
            feed, mirror = self._next
            try:
                await feed.fill(mirror, NEVER)
            except Gap:
                self._next = None  # once more: it took so long that history has gone on
            else:
                break
        self._next = None
        self._ready += differences(known, mirror)
        self._resume_revision = before.watching.resume_revision
        mirror.keep_no_values()
        self._feed, self._mirror = feed, mirror

    def _new_feed(self) -> Feed:
        scope = SCOPES[self._scope] | (WATCH_CLAIMS if self._claims else 0)
        return Feed(self._link, self._path, scope, self._space, self._bell)

    def _new_mirror(self, known: Mirror | None) -> Mirror:
        return Mirror(self._path, SCOPES[self._scope], values=known is not None, known=known)


class _Next(NamedTuple):
    """A feed, and the mirror that it fills."""

    feed: Feed
    mirror: Mirror
