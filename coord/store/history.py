"""The recent revisions, bounded by number and by bytes: what watches resume from and ``coord log`` shows.

How far it reaches back is each member's own business (a member limit): nothing that a command does
depends on it.
"""

from collections.abc import Iterable

from coord.api.events import Change, Revision

CHANGE_BYTES = 150
"""What one change costs besides its path and value, about."""

_TRIM_SLACK = 1024
"""Dropped revisions are cut from the list's front in lots: each cut moves the whole list."""


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
        revisions, size = self._revisions, self._bytes
        was_empty = not len(self)
        for revision in added:
            revisions.append(revision)
            size += _weight(revision[3])
        self._bytes = size
        if was_empty and len(self):
            self.first_revision = revisions[self._dropped][0]
        kept = len(revisions) - self._dropped
        if kept <= self.revisions_max and self._bytes <= self.bytes_max:
            return
        while kept > self.revisions_max or (self._bytes > self.bytes_max and kept > 1):
            self._bytes -= _weight(revisions[self._dropped][3])
            self._dropped += 1
            self.first_revision += 1
            kept -= 1
        if self._dropped > _TRIM_SLACK and self._dropped * 2 > len(self._revisions):
            del self._revisions[: self._dropped]
            self._dropped = 0

    def since(self, revision: int, limit: int | None = None) -> list[Revision]:
        """Revisions from ``revision`` (not before ``first_revision``), at most ``limit``."""
        start = self._dropped + max(revision - self.first_revision, 0)
        return self._revisions[start : None if limit is None else start + limit]


def within(revisions: list[Revision], bytes_max: int, newest: bool) -> list[Revision]:
    """As many of ``revisions`` as fit into ``bytes_max``, one at least; from their end if ``newest``."""
    size, count = 0, 0
    for revision in reversed(revisions) if newest else revisions:
        size += _weight(revision[3])
        if size > bytes_max and count:
            break
        count += 1
    return revisions[len(revisions) - count :] if newest else revisions[:count]


def _weight(changes: tuple[Change, ...]) -> int:
    total = 0
    for change in changes:
        value = change[2]
        total += CHANGE_BYTES + len(change[1])
        if value:
            total += len(value)
    return total
