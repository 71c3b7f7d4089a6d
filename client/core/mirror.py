"""A copy of a part of the tree, exact at a revision it names. Sans IO.

It is made of pages that were read at different revisions, and of the events of one watch that was opened before the
first of them. Why that comes out right: each path is a register of its own, and every event says all that a set or a
create changes. A page says what its paths are at its revision: there, with these facts, or not there. The watch tells
every change after its opening. Once all pages are in and every event through R is applied, R being the greatest
revision of a page, each path is as the last event of it says, or as its page does if there was none: so the
copy is the tree at R, and stays exact with each further revision. In between it is of no revision at all, and
shown to nobody.

Interleavings that the lines below stand up to:

1. A child is created between two pages of its parent, before or behind the place where the second begins. Before: no
   page has it, its event makes it. Behind: the second page has it, and its event says the same again.
2. A znode is deleted after its page was read: the page put it there, its event takes it away.
3. A parent is deleted with all below it, and made again with other children, between its own page and the
   listing of its children. The events of the old life come after the page with the new children, and may take away
   what that has put there: the events of the new life, which put it there again, are told before everything
   through R is. (The deletion of a subtree tells one event for each znode that went.)
4. A child is created and told, and deleted before its page is read: the page lacks it, and its deletion is told
   before everything through R is.
5. A set is told of a path of which nothing is known: a page that is still to come has it, or it is gone by then
   and its deletion will be told.
6. A deletion is told and applied, and then a page arrives that was read before it, with the znode on it.
   Nothing would ever take that one away. So a page from before an event that was applied is not taken, and its
   question stays open. Whoever applies all events there are before asking never meets that: reads are
   linearizable, and show whatever an event has told.
7. One revision changes a path twice (a multi that deletes and creates it): after the last of its events all is
   as a page of that revision says.

Pages never go back in time, whichever member answers: reads are linearizable. (Were one answered from an older
state, it would be passed over by the rule of 6, or make a copy that is exact all the same, later.)
"""

from dataclasses import dataclass, replace
from typing import Final

from coord.api.errors import InvalidRequest, LimitExceeded
from coord.api.events import ChangeKind, Event, Reason
from coord.api.ops import Exists, WatchScope
from coord.api.results import Result, Stat
from coord.client.core.listing import Listing, Question

ZNODES_MAX: Final = 1_000_000
"""Of one mirror, unless set. Beyond: ``limit_exceeded``. One without values takes some 300 bytes for each."""


@dataclass(frozen=True, slots=True)
class Cached:
    """A znode as a mirror knows it: what listings and events both tell exactly."""

    path: str
    kept_value: bytes | None
    """``None`` where values are not kept."""
    version: int
    """Sets since the create."""
    created_revision: int
    modified_revision: int
    modified_ms: int
    """The leader's wall clock at the last set, or the create; for people."""

    @property
    def value(self) -> bytes:
        """Raises :class:`InvalidRequest` (refused) in a cache that keeps no values."""
        if self.kept_value is None:
            raise InvalidRequest("this cache keeps no values; client.cache(…, values=True) does")
        return self.kept_value


class Mirror:
    """The znodes that a watch of ``path`` and ``scope`` is about, by path.

    ``known``: of what is the same there, values are not kept; they are only wanted to tell a difference.
    """

    __slots__ = ("_applied", "_known", "_limit", "_listing", "_values", "entries", "path", "revision")

    def __init__(
        self,
        path: str,
        scope: WatchScope,
        values: bool,
        limit: int = ZNODES_MAX,
        known: "Mirror | None" = None,
    ) -> None:
        self.path = path
        self._values = values
        self._limit = limit
        self._known = known
        self._listing = Listing(path, scope, values)
        self._applied = 0
        """The greatest revision of an event that was applied."""
        self.entries: dict[str, Cached] = {}
        self.revision: int | None = None
        """What it is exact at; ``None`` before it is whole."""

    @property
    def whole(self) -> bool:
        return self.revision is not None

    @property
    def read_revision(self) -> int:
        """The greatest that a page was read at."""
        return self._listing.revision

    # --- making it whole ---

    def questions(self, count: int) -> list[Question]:
        """What to read next, before it is whole: linearizable, and after every event there was has been applied."""
        # Nothing is left to read, but it is not known that all events before the last page have come. An answer
        # to anything that is asked now will say so: a member tells the events first.
        return self._listing.questions(count) or [Exists(self.path)]

    def answer(self, question: Question, result: Result, revision: int) -> None:
        """``result`` is what ``question`` found at ``revision``; ``None``: no such znode."""
        if self._listing.finished or revision < self._applied:
            return
        for path, value, stat in self._listing.answer(question, result, revision):
            self._put(path, self._entry(path, value, stat))

    def told(self, revision: int) -> None:
        """Everything through ``revision`` was told, and was applied."""
        if self._listing.finished and revision >= self._listing.revision:
            self.revision = max(revision, self.revision or 0)

    def apply(self, event: Event) -> None:
        """The next event of the watch. All of one revision belong together: between them the copy is exact at none."""
        path, revision = event.path, event.revision
        known = self.entries.get(path)
        self._applied = max(self._applied, revision)
        if event.kind is ChangeKind.DELETED:
            if known is not None:
                self._drop(path)
            return
        if event.kind is ChangeKind.CREATED:
            created = revision
        elif event.kind is ChangeKind.SET and known is not None:
            created, path = known.created_revision, known.path
        else:
            return  # of a znode that is not known; or no change of the tree
        value = event.value if self._values else None
        self._put(path, Cached(path, value, event.version, created, revision, event.wall_ms))

    def check_size(self) -> None:
        """Raise :class:`LimitExceeded` (refused) if it holds more than it may."""
        if len(self.entries) > self._limit:
            raise LimitExceeded(
                f"there are more than {self._limit} znodes to be copied at and below {self.path!r:.80}",
                {"limit": "znodes", "maximum": self._limit},
            )

    def keep_no_values(self) -> None:
        """From now on; those that are kept are dropped."""
        self._values, self._known = False, None
        kept = [entry for entry in self.entries.values() if entry.kept_value is not None]
        for entry in kept:
            self.entries[entry.path] = replace(entry, kept_value=None)

    def _entry(self, path: str, value: bytes | None, stat: Stat) -> Cached:
        if self._known is not None:
            before = self._known.entries.get(path)
            if before is not None and before.modified_revision == stat.modified_revision:
                return before
        return Cached(
            path, value, stat.version, stat.created_revision, stat.modified_revision, stat.modified_ms
        )

    # --- where an index of it would be kept up ---

    def _put(self, path: str, entry: Cached) -> None:
        self.entries[path] = entry

    def _drop(self, path: str) -> None:
        del self.entries[path]


def differences(before: Mirror, after: Mirror) -> list[Event]:
    """What leads from one mirror to a later one of the same part of the tree, as events at the revision of the latter.

    Deletions first, what is below before what is above; then creations and sets, what is above first. One that
    was deleted and created again meanwhile is told as both. Who did it, and when it was deleted, is not known:
    ``session`` is 0, and so is ``wall_ms`` of a deletion.
    """
    revision = after.revision or 0
    deleted: list[Cached] = []
    made: list[tuple[ChangeKind, Cached]] = []
    for path, old in before.entries.items():
        new = after.entries.get(path)
        if new is None or new.created_revision != old.created_revision:
            deleted.append(old)
    for path, new in after.entries.items():
        known = before.entries.get(path)
        if known is None or known.created_revision != new.created_revision:
            made.append((ChangeKind.CREATED, new))
        elif known.modified_revision != new.modified_revision:
            made.append((ChangeKind.SET, new))
    # A path sorts behind those above it.
    deleted.sort(key=lambda entry: entry.path, reverse=True)
    made.sort(key=lambda each: each[1].path)
    events = [
        Event(ChangeKind.DELETED, old.path, revision, None, old.version, 0, Reason.RELISTED, 0)
        for old in deleted
    ]
    return events + [
        Event(kind, new.path, revision, new.kept_value, new.version, 0, Reason.RELISTED, new.modified_ms)
        for kind, new in made
    ]
