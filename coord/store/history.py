"""The recent revisions, bounded by number and by bytes: what watches resume from and ``coord log`` shows.

How far it reaches back is each member's own business (a member limit): nothing that a command does
depends on it.
"""

from collections.abc import Iterable, Sequence

from coord.api.events import Revision

CHANGE_BYTES = 150
"""What one change costs besides its path and value, about."""

_TRIM_SLACK = 1024
_TRIM_SHARE = 8
"""Dropped revisions are cut from the list's front in lots, of this share of it: each cut moves the whole list, and
until then they take as much memory as those that are kept."""


class History:
    """Contiguous revisions ``[first_revision, last_revision]``; empty when first is past last."""

    __slots__ = ("_bytes", "_dropped", "_revisions", "bytes_max", "first_revision", "revisions_max")

    def __init__(self, revisions_max: int, bytes_max: int, first_revision: int = 1) -> None:
        self.revisions_max = revisions_max
        self.bytes_max = bytes_max
        self.first_revision = first_revision
        self._revisions: list[Revision] = []  # with `_dropped` dead ones at the front
        self._dropped = 0
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._revisions) - self._dropped

    @property
    def last_revision(self) -> int:
        return self.first_revision + len(self) - 1

    def extend(self, added: Iterable[Revision]) -> None:
        """Add the next revisions, in order; the oldest go when the bounds are met. The first of all may be any."""
        revisions = self._revisions
        was_empty = not len(self)
        before = len(revisions)
        revisions.extend(added)
        self._bytes += _weight(revisions[before:])
        if was_empty and len(self):
            self.first_revision = revisions[self._dropped][0]
        kept = len(revisions) - self._dropped
        if kept <= self.revisions_max and self._bytes <= self.bytes_max:
            return
        if kept > self.revisions_max:
            kept = self._drop(kept - self.revisions_max)
        while self._bytes > self.bytes_max and kept > 1:
            kept = self._drop(1)
        if self._dropped > _TRIM_SLACK and self._dropped * _TRIM_SHARE > len(self._revisions):
            del self._revisions[: self._dropped]
            self._dropped = 0

    def _drop(self, count: int) -> int:
        """Forget the oldest ``count``; how many are left."""
        start = self._dropped
        self._dropped += count
        self._bytes -= _weight(self._revisions[start : self._dropped])
        self.first_revision += count
        return len(self)

    def since(self, revision: int, limit: int | None = None) -> list[Revision]:
        """Revisions from ``revision`` (not before ``first_revision``), at most ``limit``."""
        start = self._dropped + max(revision - self.first_revision, 0)
        return self._revisions[start : None if limit is None else start + limit]


def within(revisions: list[Revision], bytes_max: int, newest: bool) -> list[Revision]:
    """As many of ``revisions`` as fit into ``bytes_max``, one at least; from their end if ``newest``."""
    size, count = 0, 0
    for revision in reversed(revisions) if newest else revisions:
        size += _weight([revision])
        if size > bytes_max and count:
            break
        count += 1
    return revisions[len(revisions) - count :] if newest else revisions[:count]


def _weight(revisions: Sequence[Revision]) -> int:
    total = 0
    for revision in revisions:
        for change in revision[3]:
            value = change[2]
            total += CHANGE_BYTES + len(change[1])
            if value:
                total += len(value)
    return total
