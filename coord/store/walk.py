"""All znodes of a tree as they were at one moment, a lot at a time, while the tree goes on changing.

The walk goes in the order of the paths, name by name, and finds its way by the sorted names of children that the tree
keeps anyway: it needs no list of what there was. What the tree has when the walk comes by is right, but for what has
changed since the beginning:

- what was replaced or removed before the walk came by: the tree hands the old znode over first (:meth:`Walk.keep`).
  Znodes are immutable, so keeping one costs a reference;
- what was created since: that says so itself, by the revision of its creation.

A znode that was removed may be created again before the walk comes by, or after, or not at all. So what is kept is
taken out when the walk meets its path; and what is left in the end is what the walk never met, and comes last.
"""

from collections.abc import Iterator
from itertools import compress, islice
from typing import Final, cast

from coord.api.paths import ROOT, join
from coord.store.tree import Tree
from coord.store.znode import CREATED_REVISION, VALUE, Znode

ZNODE_BYTES: Final = 20
"""What its numbers take in a section, about."""
_FIRST_GUESS_BYTES: Final = 128
"""Of a znode; then it is what the last ones were."""

Lot = tuple[list[str], list[Znode]]
"""Paths, and their znodes."""


class Walk:
    """Of ``tree`` as it is when this is made, at ``revision``."""

    __slots__ = ("_at_once", "_kept", "_revision", "_tree", "_walked")

    def __init__(self, tree: Tree, revision: int) -> None:
        self._tree = tree
        self._revision = revision
        self._kept: dict[str, Znode] = {}
        self._walked = ""
        """The place of the last path that the walk came by."""
        self._at_once = 1
        """So many paths are looked up together: about a lot."""

    def keep(self, path: str, before: Znode) -> None:
        """``before``, which is at ``path``, is about to be replaced or removed."""
        if before[CREATED_REVISION] <= self._revision and _place(path) > self._walked:
            self._kept.setdefault(path, before)  # or else it was kept in its first state, which is the one

    def lots(self, lot_bytes: int) -> Iterator[Lot]:
        """Every znode once, in lots of about so many bytes: at most twice that, but for one that is larger by itself.
        The tree may change between two."""
        kept, znodes, revision = self._kept, self._tree.znodes, self._revision
        self._at_once = max(lot_bytes // _FIRST_GUESS_BYTES, 1)
        for paths in self._pages():
            self._walked = max(self._walked, _place(paths[-1]))
            found = znodes.get_all(paths)
            if kept:
                found = [kept.pop(path, None) or znode for path, znode in zip(paths, found, strict=True)]
            # The others have come since, and may have gone again: what there was would have been kept.
            there = [znode is not None and znode[CREATED_REVISION] <= revision for znode in found]
            if not all(there):
                paths, found = list(compress(paths, there)), list(compress(found, there))
            if paths:
                yield from self._cut(paths, cast(list[Znode], found), lot_bytes)

    def _cut(self, paths: list[str], znodes: list[Znode], lot_bytes: int) -> Iterator[Lot]:
        count = len(paths)
        size = sum(map(len, paths)) + sum([len(znode[VALUE]) for znode in znodes]) + ZNODE_BYTES * count
        self._at_once = max(count * lot_bytes // size, 1)
        if size <= 2 * lot_bytes or count == 1:
            yield paths, znodes
        else:
            half = count // 2
            yield from self._cut(paths[:half], znodes[:half], lot_bytes)
            yield from self._cut(paths[half:], znodes[half:], lot_bytes)

    def _pages(self) -> Iterator[list[str]]:
        """All paths in the order of their places, and then those that the walk never met. No page is empty.

        What is yet to come of a parent's children may be old by then.
        """
        tree, parents = self._tree, self._tree.parents
        page = [ROOT]
        way: list[tuple[str, Iterator[str], str | None]] = [(ROOT, iter(()), None)]
        # From the root downwards: a parent, children of it that are yet to come, and the last name among these.
        while way:
            above, children, last = way[-1]
            for child in children:
                page.append(child)
                if child in parents:
                    way.append((child, iter(()), None))
                    break
            else:
                names = tree.children(above).after(last, max(self._at_once - len(page), 1))
                if not names:
                    way.pop()
                    continue
                start = join(above, "")
                paths = [start + name for name in names]
                if parents.isdisjoint(paths):
                    page += paths
                    paths.clear()
                way[-1] = above, iter(paths), names[-1]
            if len(page) >= self._at_once:
                yield page
                page = []
        if page:
            yield page
        while self._kept:
            yield list(islice(self._kept, self._at_once))


def _place(path: str) -> str:
    """Compares as the walk goes: a znode, all that is below it, its next sibling. (``/a-b`` comes before ``/a/b``.)"""
    return path.replace("/", "\0")
