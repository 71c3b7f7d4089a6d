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
from itertools import islice
from typing import Final

from coord.api.paths import ROOT, join, name
from coord.store.tree import Tree
from coord.store.znode import CREATED_REVISION, VALUE, Znode

_NAMES_AT_ONCE: Final = 1024
ZNODE_BYTES: Final = 20
"""What its numbers take in a section, about."""
_BEYOND: Final = "\x01"
"""After all places."""

Lot = tuple[list[str], list[Znode]]
"""Paths, and their znodes."""


class Walk:
    """Of ``tree`` as it is when this is made, at ``revision``."""

    __slots__ = ("_kept", "_revision", "_tree", "_walked")

    def __init__(self, tree: Tree, revision: int) -> None:
        self._tree = tree
        self._revision = revision
        self._kept: dict[str, Znode] = {}
        self._walked = ""
        """The place of the last path that the walk came by; in the end it is beyond all."""

    def keep(self, path: str, before: Znode) -> None:
        """``before``, which is at ``path``, is about to be replaced or removed."""
        if before[CREATED_REVISION] <= self._revision and _place(path) > self._walked:
            self._kept.setdefault(path, before)  # or else it was kept in its first state, which is the one

    def lots(self, lot_bytes: int) -> Iterator[Lot]:
        """Every znode once, in lots of at least so many bytes, but for the last. The tree may change between two."""
        znodes, kept, revision = self._tree.znodes, self._kept, self._revision
        paths: list[str] = []
        lot: list[Znode] = []
        size = 0
        for page in self._pages():
            for path in page:
                znode = kept.pop(path, None)
                if znode is None:
                    znode = znodes.get(path)
                    if znode is None or znode[CREATED_REVISION] > revision:
                        continue  # it is kept, if it was there at all; or it is new
                paths.append(path)
                lot.append(znode)
                size += len(znode[VALUE]) + len(path) + ZNODE_BYTES
                if size >= lot_bytes:
                    self._walked = max(self._walked, _place(path))
                    yield paths, lot
                    paths, lot, size = [], [], 0
        if lot:
            yield paths, lot

    def _pages(self) -> Iterator[list[str]]:
        """All paths in the order of their places, and then those that the walk never met.

        A page may be old by the time that its last path is looked at.
        """
        tree, parents = self._tree, self._tree.parents
        yield [ROOT]
        way: list[tuple[str, list[str], int]] = [(ROOT, [], 0)]
        # From the root downwards: a parent, some of its children, and how many of these are behind.
        while way:
            above, children, behind = way.pop()
            if behind == len(children):
                last = name(children[-1]) if children else None
                start = join(above, "")
                children = [start + each for each in tree.children(above).after(last, _NAMES_AT_ONCE)]
                behind = 0
                if not children:
                    continue
            begin = behind
            for child in islice(children, begin, None):
                behind += 1
                if child in parents:
                    way += [(above, children, behind), (child, [], 0)]
                    break
            else:
                way.append((above, children, behind))
            yield children[begin:behind]
        self._walked = _BEYOND
        while self._kept:
            yield list(islice(self._kept, _NAMES_AT_ONCE))


def _place(path: str) -> str:
    """Compares as the walk goes: a znode, all that is below it, its next sibling. (``/a-b`` comes before ``/a/b``.)"""
    return path.replace("/", "\0")
