"""A copy of a subtree that is kept up: opened, followed, read anew after a gap. What a cache is made of."""

from typing import Final

import anyio

from coord.api.errors import CoordError, Disconnected, Gap, LimitExceeded, Overloaded
from coord.api.ops import WatchScope
from coord.client import clock
from coord.client.core.conversation import CLOSED
from coord.client.core.namespace import Namespace
from coord.client.core.request import NEVER
from coord.client.core.tree import Tree
from coord.client.feed import Feed
from coord.client.link import Bell, Link

OVERLOADED_SECONDS: Final = 0.1
"""Between two tries to read anew what the client's own queue has no room for."""


class Copy:
    """A tree that is whole once this is open, and changes only where the connection is read.

    Looked at in any thread: the properties, and whatever of ``tree`` says so.
    """

    def __init__(self, link: Link, path: str, values: bool, limit: int, space: Namespace | None) -> None:
        self._link = link
        self._path = path
        self._values = values
        self._limit = limit
        self._space = space
        self._scope = anyio.CancelScope()
        self._live = False
        """The tree is whole, and the feed is its own."""
        self._applying = False
        self._applied_revision = 0
        """Of the last event, or listing. What was told without an event comes on top."""
        self._stale_since: float | None = None
        self.feed: Feed | None = None
        self.tree = Tree(path, values, limit)
        self.changed_revision = 0
        """Of the last change in it."""
        self.failure: CoordError | None = None
        """Why it changes no more."""
        self.bell = Bell()
        """Rung for every change, and for the end."""

    # --- how it stands ---

    @property
    def live(self) -> bool:
        """It follows a watch; if not, it is being read anew, or has failed."""
        return self._live

    @property
    def revision(self) -> int:
        """What the tree is exact at."""
        # Another thread may ask, at any moment: never is it told of a revision whose changes it could not see. So the
        # feed is looked at before the tree is known to be its own; and what was told before it is known to be applied.
        feed = self.feed
        if feed is None or not self._live:
            return self._applied_revision
        told = feed.told
        if feed.watching.buffer or self._applying:
            return self._applied_revision
        return max(self._applied_revision, told)

    @property
    def current(self) -> bool:
        """It is connected, and shows all that the member has told."""
        # By the clock, too: after a pause of the process nobody has looked at it yet.
        feed = self.feed
        return self._live and feed is not None and feed.watching.opened and self._link.remaining() > 0

    @property
    def stale_for(self) -> float:
        """Seconds for which it has not been current; 0.0 while it is."""
        if self.current:
            return 0.0
        since = self._stale_since
        if since is None and self.feed is not None:
            since = self.feed.watching.lost_at
        if since is None and self._link.remaining() <= 0:
            since = self._link.core.safe_until
        return 0.0 if since is None else max(clock.now() - since, 0.0)

    def check(self) -> None:
        """Raise the failure, if there is one."""
        failure = self.failure
        if failure is not None:
            raise failure.anew()

    # --- opening and closing ---

    async def open(self, ends_at: float) -> None:
        """Read it for the first time, and follow from then on."""
        while not self._live:
            self.check()
            await self._renew(ends_at)
        self._link.start(self._keep)

    def close(self) -> None:
        """It stays as it is."""
        self._fail(Disconnected("this cache is closed", outcome="refused"))
        self._scope.cancel()
        if self.feed is not None:
            self.feed.close()

    # --- inside ---

    async def _keep(self) -> None:
        """See to pauses and gaps. Events are applied as they come, by :meth:`_news`."""
        with self._scope:
            try:
                while self.failure is None:
                    if self.feed is not None and self._live:
                        self.feed.went_on()
                        await self.bell.wait()
                    else:
                        await self._renew(NEVER)
            except CoordError as error:
                self._fail(error)
            finally:
                # Or all that the client did was cancelled, while there was no watch to be told of its end.
                self._fail(self._link.core.failure or Disconnected(CLOSED, outcome="refused"))
        if self.feed is not None:
            self.feed.close()

    async def _renew(self, ends_at: float) -> None:
        """Read it anew, beside what there is. To be called again, if it is not live then: after another gap."""
        tree = Tree(self._path, self._values, self._limit)
        feed = self.feed = Feed(
            self._link, self._path, WatchScope.SUBTREE, self._space, self.bell, self._news
        )
        try:
            await feed.open(None, ends_at)
            await feed.fill(tree, ends_at)
        except BaseException as error:
            feed.close()
            if isinstance(error, Gap):
                return
            if isinstance(error, Overloaded) and ends_at == NEVER:
                # By requests of this very client; nothing tells when there is room.
                await anyio.sleep(OVERLOADED_SECONDS)
                return
            raise
        revision = tree.revision or 0
        if not self._applied_revision or tree.entries != self.tree.entries:
            self.changed_revision = revision
        self.tree = tree
        self._applied_revision = max(self._applied_revision, revision)
        self._live, self._stale_since = True, None
        self.bell.set()

    def _news(self) -> None:
        """Apply what has come, before anybody who waits for a reply can look."""
        feed = self.feed
        if feed is None or not self._live:
            return
        tree, watching = self.tree, feed.watching
        if watching.buffer:
            self._applying = True
            while watching.buffer:
                event = feed.take()
                tree.apply(event)
            self.changed_revision = self._applied_revision = event.revision
            self._applying = False
            try:
                tree.check_size()
            except LimitExceeded as error:
                self._fail(error)
        if watching.error is not None:
            if isinstance(watching.error, Gap):
                self._follow_no_more()
            else:
                self._fail(watching.error)

    def _fail(self, error: CoordError) -> None:
        self._follow_no_more()
        self.failure = self.failure or error
        self.bell.set()

    def _follow_no_more(self) -> None:
        """What is shown stays as it is, for now or for good."""
        if self._live and self.feed is not None:
            self._applied_revision = self.revision
            lost_at = self.feed.watching.lost_at
            self._stale_since = clock.now() if lost_at is None else lost_at
            self._live = False
