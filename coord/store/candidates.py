"""Who could be granted, found without a search: the free children of a parent, and those who wait for lanes.

*Children*: for each parent at which ``claim_first`` was ever asked, which of its children are free: not held, not
waited for, in no delay, not held back, not ephemeral, not the service's own; in order, in pools by their lanes
(lanes.py). It is made by one pass over the children, and kept right from then on by looking at each path anew that
anything changed at (:meth:`Candidates.touch`). It goes with its parent.

*The queue*: znodes with lanes at which somebody waits who could be granted but for the lanes, by the number of whoever
waits longest. A znode without lanes needs no such list: it is looked at when it frees. What keeps back one with lanes
is a release or a moment anywhere else.

All this is derived, and on no two replicas alike: one has lived through a thousand changes, another has just loaded a
snapshot. The answers are alike, because every question is for the *first* of what is there, and what is there is a
function of the tree, the claims and the lanes alone: whatever changes one of these, for one path, looks at that path
after the change (so the last look, also of an undone multi, sees all of it), and what is true of a lane, for all
paths, is asked of the lane by its pool. When, and in which order, it was built is in no answer.

Whoever waits for any child has its parent's children built: else 1. A waits at a parent, on a replica that loaded a
snapshot; the one child has a lane without room. 2. The lane gets room. Nobody there would know that it is A's turn.
"""

from collections.abc import Collection
from typing import TypeAlias

from coord.api.paths import RESERVED, ROOT, is_reserved, join
from coord.api.paths import parent as parent_of
from coord.store.claims import FLAGS, SHARED, UNITS, Claims
from coord.store.lanes import NO_LANES, Lane, Pool
from coord.store.names import SortedNames
from coord.store.tree import Tree
from coord.store.work import ROW
from coord.store.znode import EPHEMERAL, KIND

HELD, HELD_BACK, WAITED_FOR, NEVER = 1, 2, 3, 4
"""Why a child is not free."""

_State: TypeAlias = int | tuple[Lane, ...] | None
"""Why a child is not free; the lanes of one that is; ``None``: there is no such child."""


class Children:
    """The children of one parent: the free ones in order, and how many are what else."""

    __slots__ = ("_states", "counts", "free")

    def __init__(self, free: Pool) -> None:
        self.free = free
        self._states: dict[str, int | tuple[Lane, ...]] = {}
        """Of those that are not free, or have lanes: most children are neither, and need no place here."""
        self.counts = [0, 0, 0, 0, 0]
        """By the reason why they are not free."""

    def put(self, name: str, state: _State) -> None:
        """The child ``name`` is that from now on."""
        before = self._states.get(name)
        if before is None:  # it is free and without lanes, or not there
            if state == NO_LANES:
                self.free.put(name)
                return
            self.free.discard(name)
        elif before == state:
            return
        elif isinstance(before, int):
            self.counts[before] -= 1
        else:
            self.free.remove(name, before)
        if isinstance(state, int):
            self.counts[state] += 1
        elif state is not None:
            self.free.add(name, state)
        if state:
            self._states[name] = state
        else:
            self._states.pop(name, None)


class Candidates:
    """Of each parent that is asked for: its children. And the queue of those who wait for lanes."""

    __slots__ = ("_claims", "_parents", "_queued", "_tree", "going", "loading", "queue")

    def __init__(self, tree: Tree, claims: Claims) -> None:
        self._tree = tree
        self._claims = claims
        self._parents: dict[str, Children] = {}
        self.queue = Pool(claims.lanes, "")
        """Of numbers of claims, as :func:`_key` writes them."""
        self._queued: dict[str, tuple[str, tuple[Lane, ...]]] = {}
        """What stands in the queue, by path."""
        tree.touched = claims.touched = self.touch
        claims.waits_first = self._waits_first
        self.loading = False
        """While a snapshot is loaded: the tree is not whole yet."""
        self.going = ""
        """A path that is not to be looked at just now: its znode is about to go, and is looked at then."""

    def children(self, parent: str) -> Children:
        """Those of ``parent``, which is there."""
        found = self._parents.get(parent)
        if found is None:
            found = self._parents[parent] = Children(Pool(self._claims.lanes, parent))
            names = self._tree.children(parent)
            self._tree.work.done += ROW * len(names)
            odd = self._odd_children(parent, names)
            for name in odd:
                found.put(name, self._state(join(parent, name)))
            # Most: finding each one's place would take longer than all the rest.
            found.free.fill([name for name in names if name not in odd] if odd else list(names))
        return found

    def touch(self, path: str) -> None:
        """Something may have changed at ``path``."""
        if path == self.going:
            return
        above, _, name = path.rpartition("/")
        children = self._parents.get(above or ROOT)
        if children is not None and name:
            children.put(name, self._state(path))
        if path in self._parents and path not in self._tree.znodes:
            del self._parents[path]
        if path in self._claims.lanes.of or path in self._queued:
            self._queue(path)

    @property
    def due(self) -> bool:
        """Whether somebody who waited for a lane may be granted."""
        # Asked at each revision, and mostly nobody waits so.
        return bool(self._claims.lanes.opened) or (self.queue.size > 0 and self.queue.first is not None)

    def take_opened(self) -> dict[str, None]:
        """Parents of which a child may be free now that was not."""
        opened = self._claims.lanes.opened
        self._claims.lanes.opened = {}
        return opened

    def next_queued(self) -> int:
        """The claim that has waited longest of those whose lanes have room; 0: there is none."""
        return int(self.queue.first or 0)

    def rebuild(self) -> None:
        """All tables have been loaded."""
        self.loading = False
        for path in self._claims.lanes.of:
            self._queue(path)
        for parent in self._claims.first:
            self.children(parent)

    def _odd_children(self, parent: str, names: SortedNames) -> dict[str, None]:
        """The children of ``parent`` that are not free, or have lanes.

        All members do this in the same step, and serve nobody meanwhile. To look at each of a hundred thousand tasks
        takes 0.2 s; what may be odd is mostly so little that it is quicker to look at that, wherever it is.
        """
        claims = self._claims
        tables: tuple[Collection[str], ...] = (
            claims.held,
            claims.waiting,
            claims.delays,
            claims.held_back,
            claims.lanes.of,
            *self._tree.ephemerals.values(),
        )
        if is_reserved(parent) or sum([len(table) for table in tables]) > len(names):
            return {name: None for name in names if self._state(join(parent, name)) != NO_LANES}
        found = {
            path.rpartition("/")[2]: None
            for table in tables
            for path in table
            if parent_of(path) == parent and path != ROOT
        }
        if parent == ROOT:
            found[RESERVED[1:]] = None  # there or not
        return found

    def _waits_first(self, parent: str) -> None:
        if not self.loading:
            self.children(parent)

    def _state(self, path: str) -> _State:
        claims = self._claims
        znode = self._tree.znodes.get(path)
        if znode is None:
            return None
        if path in claims.held:
            return HELD
        if claims.is_paused(path):
            return HELD_BACK
        if path in claims.waiting:
            return WAITED_FOR
        if znode[KIND] == EPHEMERAL or is_reserved(path):
            return NEVER
        return claims.lanes.of.get(path, NO_LANES)

    def _queue(self, path: str) -> None:
        claims = self._claims
        lanes = claims.lanes.of.get(path, NO_LANES)
        now: tuple[str, tuple[Lane, ...]] | None = None
        if lanes and path in claims.waiting and not claims.is_paused(path):
            claim = claims.by_number[claims.waiting[path][0]]
            if claims.fits(path, claim[UNITS], claim[FLAGS] & SHARED):
                now = (_key(claim[0]), lanes)
        before = self._queued.get(path)
        if before == now:
            return
        if before is not None:
            self.queue.remove(*before)
            del self._queued[path]
        if now is not None:
            self.queue.add(*now)
            self._queued[path] = now


def _key(number: int) -> str:
    """As text: pools are of names, and in the order of these."""
    return f"{number:019d}"
