"""The tree: znodes by path, and what is derived from them.

Three primitives change it (:meth:`Tree.insert`, :meth:`Tree.replace`, :meth:`Tree.remove`); each keeps the
derived tables right, can be undone (for a multi that fails midway), and hands the old znode to a snapshot that is being
written meanwhile.
"""

from collections.abc import Callable, KeysView
from heapq import heapify, heappop, heappush
from typing import Final

from coord.api.checks import check
from coord.api.paths import ROOT, join, name, parent
from coord.store.columns import Unpacked
from coord.store.names import SortedNames
from coord.store.work import ROW, Work
from coord.store.work import ZNODE as ZNODE_WORK
from coord.store.znode import Znode, new_znode
from coord.store.znodes import Znodes

_NO_NAMES: Final = SortedNames()

Undo = list[tuple[str, Znode | None, Znode | None]]
"""``(path, before, after)``, in the order of the changes."""


class Tree:
    """All znodes. Invariant: every znode's parent is there; only the root is its own."""

    __slots__ = (
        "_names",
        "_ttl_heap",
        "_ttl_paths",
        "data_bytes",
        "ephemerals",
        "keep",
        "touched",
        "undo",
        "work",
        "znodes",
    )

    def __init__(self, work: Work | None = None) -> None:
        self.work = work or Work()
        self.znodes: Final = Znodes()
        self.znodes.add(ROOT, new_znode(b"", 0, 0))
        self._names: dict[str, SortedNames] = {}  # of those that have children
        self.ephemerals: dict[
            int, dict[str, None]
        ] = {}  # session -> its paths, in the order of their creation
        self._ttl_paths: dict[str, None] = {}
        self._ttl_heap: list[tuple[int, str]] = []
        # (cluster ms, path): for each TTL znode at least one at or before its true deadline (the znode holds it).
        self.data_bytes = 0  # values and paths
        self.undo: Undo | None = None
        self.keep: Callable[[str, Znode], object] | None = None
        """While a snapshot is written: told of each znode that is about to be replaced or removed (walk.py)."""
        self.touched: Callable[[str], object] | None = None
        """Told of each path that came or went (candidates.py)."""

    def insert(self, path: str, znode: Znode) -> None:
        """Add a znode that is not there, below a parent that is."""
        self._insert(path, znode)
        if self.undo is not None:
            self.undo.append((path, None, znode))

    def replace(self, path: str, before: Znode, after: Znode) -> None:
        """Put ``after`` in the place of ``before``: same owner, same kind."""
        if self.keep is not None:
            self.keep(path, before)
        self.work.done += ZNODE_WORK
        self.znodes.replace(path, after)
        self.data_bytes += len(after[0]) - len(before[0])
        if self.undo is not None:
            self.undo.append((path, before, after))

    def remove(self, path: str, znode: Znode) -> None:
        """Take away a znode that is there and has no children."""
        self._remove(path, znode)
        if self.undo is not None:
            self.undo.append((path, znode, None))

    def undo_all(self, undo: Undo) -> None:
        """Take back the changes of ``undo``, last first."""
        self.undo = None
        for path, before, after in reversed(undo):
            if before is not None and after is not None:
                self.replace(path, after, before)
            elif before is not None:
                self._insert(path, before)
            elif after is not None:
                self._remove(path, after)

    def restore(self, found: Unpacked, below: dict[str, list[str]]) -> None:
        """Add znodes of a snapshot; its root takes the place of the one there is.

        ``below`` gathers their names by parent, for :meth:`restored`: sorting all names of a parent at the end costs a
        tenth of finding each one's place, which is most of what loading a large snapshot would cost.
        """
        self.znodes.put_all(zip(found.paths, found.znodes, strict=True))
        self.data_bytes += found.data_bytes
        siblings = [below.setdefault(parent, []) for parent in found.parents]
        if len(siblings) == 1:
            siblings[0].extend(found.names)
        else:
            for place, name in zip(found.parent_of, found.names, strict=True):
                siblings[place].append(name)
        if found.notable:
            for path, znode in zip(found.paths, found.znodes, strict=True):
                if znode[6] or znode[10]:
                    self._note(path, znode)

    def restored(self, below: dict[str, list[str]]) -> None:
        """All znodes are there. Raises ``ValueError`` if one is there twice, or one has no parent."""
        if "" not in below.get("", ()):
            raise ValueError("the root is missing")
        if sum([len(names) for names in below.values()]) != len(self.znodes):
            raise ValueError("a znode comes twice")
        below[""].remove("")  # the root, which is below nothing
        self.data_bytes -= len(ROOT)
        for above, names in below.items():
            if (above or ROOT) not in self.znodes:
                raise ValueError("a znode comes without its parent")
            if names:
                names.sort()
                self._names[above or ROOT] = SortedNames(names)

    def children(self, path: str) -> SortedNames:
        """The names of the children, in order; not to be changed by the caller."""
        return self._names.get(path, _NO_NAMES)

    @property
    def parents(self) -> KeysView[str]:
        """The paths that have children, as they are at any time."""
        return self._names.keys()

    def child_count(self, path: str) -> int:
        names = self._names.get(path)
        return 0 if names is None else len(names)

    def subtree(self, path: str, limit: int) -> list[str] | None:
        """``path`` and all below it, each after its parent; ``None`` when there are more than ``limit``."""
        found = [path]
        for above in found:  # grows while it is walked
            names = self._names.get(above)
            if names is not None:
                if len(found) + len(names) > limit:
                    self.work.done += ROW * len(found)
                    return None
                found.extend(join(above, child) for child in names)
        self.work.done += ROW * len(found)
        return found

    def due(self, now_ms: int, claimed: Callable[[str], bool]) -> list[str]:
        """The childless TTL znodes that nobody claims, whose deadline is at or before ``now_ms``, by deadline and path.

        The heap's entries may be early (a set moves the deadline, not the entry), and how early depends
        on whether this replica lived through it or loaded a snapshot. The answer must not: so all early
        entries are looked at, and only true deadlines decide.
        """
        heap = self._ttl_heap
        if not heap or heap[0][0] > now_ms:
            return []
        found: dict[tuple[int, str], None] = {}
        later: dict[tuple[int, str], None] = {}
        while heap and heap[0][0] <= now_ms:
            _, path = heappop(heap)
            if path not in self._ttl_paths:
                continue  # of a znode that is gone
            znode = self.znodes[path]
            ttl_ms, deadline_ms = znode[10], znode[11]
            if path in self._names or claimed(path):
                # The last child's deletion, or the end of the last claim, will set a deadline of at least now + ttl.
                later[(now_ms + ttl_ms, path)] = None
            else:
                later[(deadline_ms, path)] = None
                if deadline_ms <= now_ms:
                    found[(deadline_ms, path)] = None
        for entry in later:
            heappush(heap, entry)
        return [path for _, path in sorted(found)]

    @property
    def next_due_ms(self) -> int | None:
        """The cluster time before which :meth:`due` finds nothing; ``None``: nothing can fall due."""
        return self._ttl_heap[0][0] if self._ttl_heap else None

    def _insert(self, path: str, znode: Znode) -> None:
        self.work.done += ZNODE_WORK
        self.znodes.add(path, znode)
        self.data_bytes += len(znode[0]) + len(path)
        above, _, name = path.rpartition("/")
        names = self._names.get(above or ROOT)
        if names is None:
            names = self._names[above or ROOT] = SortedNames()
        names.add(name)
        if znode[6] or znode[10]:
            self._note(path, znode)
        if self.touched is not None:
            self.touched(path)

    def _note(self, path: str, znode: Znode) -> None:
        """What is to be known of an ephemeral, or of a TTL znode."""
        owner, ttl_ms = znode[6], znode[10]
        if owner:
            self.ephemerals.setdefault(owner, {})[path] = None
        if ttl_ms:
            self._ttl_paths[path] = None
            heappush(self._ttl_heap, (znode[11], path))

    def _remove(self, path: str, znode: Znode) -> None:
        check(path not in self._names, "only a childless znode is removed", path)
        if self.keep is not None:
            self.keep(path, znode)
        self.work.done += ZNODE_WORK
        self.znodes.remove(path)
        self.data_bytes -= len(znode[0]) + len(path)
        above = parent(path)
        names = self._names[above]
        names.remove(name(path))
        if not len(names):
            del self._names[above]
        owner, ttl_ms = znode[6], znode[10]
        if owner:
            owned = self.ephemerals[owner]
            del owned[path]
            if not owned:
                del self.ephemerals[owner]
        if ttl_ms:
            del self._ttl_paths[path]
            if len(self._ttl_heap) > 2 * len(self._ttl_paths) + 64:
                # Entries of znodes that are gone wait for their time; create and delete in a loop piles them up.
                self._ttl_heap = [(self.znodes[each][11], each) for each in self._ttl_paths]
                heapify(self._ttl_heap)
        if self.touched is not None:
            self.touched(path)
