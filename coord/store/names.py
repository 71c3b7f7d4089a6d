"""Sorted names: the children of one znode, in order, for paging and for listing.

A list of sorted buckets. Adding at a random place costs one bisection and a move within one bucket,
so a parent with a million children is as good to add to as one with ten; a listing page is a slice.
(``sortedcontainers`` is built the same way; the pure rooms keep to the standard library, and its
smallest list costs several hundred bytes, which a tree of many small parents would pay at each.)
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

_BUCKET_MAX = 1024
"""A full bucket splits in half; an empty one goes."""


class SortedNames:
    """A sorted set of names. ``len()`` is its size; iteration is in order."""

    __slots__ = ("_buckets", "_lasts", "_size")

    def __init__(self, names: list[str] | None = None) -> None:
        """``names``: the first ones, sorted, each once."""
        names = names or []
        self._buckets = [names[at : at + _BUCKET_MAX] for at in range(0, len(names), _BUCKET_MAX)]
        # None empty; each sorted; all of one before all of the next.
        self._lasts = [bucket[-1] for bucket in self._buckets]  # of each bucket its last name, to find it by
        self._size = len(names)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[str]:
        for bucket in self._buckets:
            yield from bucket

    def __contains__(self, name: str) -> bool:
        if not self._buckets:
            return False
        bucket = self._buckets[self._bucket_of(name)]
        place = bisect_left(bucket, name)
        return place < len(bucket) and bucket[place] == name

    @property
    def first(self) -> str | None:
        return self._buckets[0][0] if self._buckets else None

    def add(self, name: str) -> None:
        """Add ``name``, which must not be there."""
        buckets = self._buckets
        self._size += 1
        if not buckets:
            buckets.append([name])
            self._lasts.append(name)
            return
        at = bisect_left(self._lasts, name)
        if at == len(buckets):
            at -= 1
            bucket = buckets[at]
            bucket.append(name)
            self._lasts[at] = name
        else:
            bucket = buckets[at]
            insort(bucket, name)
        if len(bucket) > _BUCKET_MAX:
            # Names often come in order (sequence numbers): a split at the far end keeps those buckets full.
            cut = len(bucket) - 1 if at == len(buckets) - 1 and bucket[-1] == name else len(bucket) // 2
            buckets.insert(at + 1, bucket[cut:])
            del bucket[cut:]
            self._lasts.insert(at, bucket[-1])

    def remove(self, name: str) -> None:
        """Remove ``name``, which must be there."""
        if not self.discard(name):
            raise KeyError(name)

    def discard(self, name: str) -> bool:
        """Remove ``name``, and say whether it was there."""
        if not self._buckets:
            return False
        at = self._bucket_of(name)
        bucket = self._buckets[at]
        place = bisect_left(bucket, name)
        if place == len(bucket) or bucket[place] != name:
            return False
        del bucket[place]
        self._size -= 1
        if not bucket:
            del self._buckets[at], self._lasts[at]
        elif place == len(bucket):
            self._lasts[at] = bucket[-1]
        return True

    def after(self, name: str | None, limit: int) -> list[str]:
        """The first ``limit`` names greater than ``name``; from the start for ``None``."""
        buckets = self._buckets
        if not buckets:
            return []
        if name is None:
            at, place = 0, 0
        else:
            at = self._bucket_of(name)
            place = bisect_right(buckets[at], name)
        found = buckets[at][place : place + limit]
        while len(found) < limit and at + 1 < len(buckets):
            at += 1
            found += buckets[at][: limit - len(found)]
        return found

    def _bucket_of(self, name: str) -> int:
        """The bucket that holds ``name`` or would: the first whose last name is not before it, or else the last."""
        lasts = self._lasts
        at = bisect_left(lasts, name)
        return at if at < len(lasts) else at - 1
