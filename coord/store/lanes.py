"""Lanes: limits that znodes share by name. How full each is, and who stands before one without room.

Two limits. The *width*: how many claims are held at znodes with the lane; counted from the claims, so not in a
snapshot. The *rate*, as GCRA does it: one number for each lane, the time at which all that was granted is paid off
(``paid_ms``). Each grant moves it on by one interval, and it may be ``burst - 1`` intervals ahead of the clock. Once it
is not ahead any more it says nothing, and is dropped.

The numbers are the znode's own view, so there are no settings to be kept, and none that stay behind. All with the same
view of a lane have room or have none: they are a :class:`View`, and only when that changes are its pools looked at.

Those who are candidates but for their lanes stand in *pools* (:class:`Pool`), by their first lane, within it by the
second, and so on, each pool in order. A pool without room is out of its parent's sight as a whole: a release costs as
much with a hundred thousand blocked znodes as with one. So the lane that most share should come first (a pool for each
of ten thousand customers within the one pool of a rate, and not the reverse, where all ten thousand are told when
the rate has room again). The order decides the cost only.

Rejected: going through the blocked ones at each release; one list for each lane, whose first is tried when the lane has
room (with two lanes that are never open at the same time all of them go from the one list to the other and back).
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Final, TypeAlias

from coord.api.checks import InvariantViolation, check
from coord.store.names import SortedNames

Lane: TypeAlias = tuple[str, int, int, int]
"""``(name, width, interval_ms, burst)``; a width of 0 and an interval of 0 say nothing."""

NO_LANES: Final[tuple[Lane, ...]] = ()


class View:
    """One view of a lane, and the pools behind it."""

    __slots__ = ("lane", "open", "pools")

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.open = False
        self.pools: dict[Pool, None] = {}


class Lanes:
    """What is said of lanes, by path; how full they are, by name.

    ``now_ms`` is cluster time. It goes on at the beginning of an entry (:meth:`advance`), so that whoever waits for a
    rate is granted it before those whose requests are in that very entry.
    """

    __slots__ = ("_heap", "_views", "_wakes", "held", "now_ms", "of", "opened", "paid_ms")

    def __init__(self) -> None:
        self.of: dict[str, tuple[Lane, ...]] = {}
        """By path, where there are any."""
        self.held: dict[str, int] = {}
        """Claims that are held at znodes with the lane; where there are any."""
        self.paid_ms: dict[str, int] = {}
        """When what was granted is paid off; where that is to come."""
        self.now_ms = 0
        self.opened: dict[str, None] = {}
        """Parents in whose pools a lane got room, since somebody asked last."""
        self._views: dict[str, dict[Lane, View]] = {}
        self._heap: list[tuple[int, str]] = []
        # (cluster ms, name): when a lane's rate has room again for some view, or says nothing any more.
        self._wakes: dict[str, int] = {}
        # Of each lane in the heap the first entry that counts.

    def has_room(self, lane: Lane) -> bool:
        """Whether one more claim may be granted now."""
        name, width, interval_ms, burst = lane
        if width and self.held.get(name, 0) >= width:
            return False
        return not interval_ms or self.paid_ms.get(name, 0) <= self.now_ms + (burst - 1) * interval_ms

    def full(self, path: str) -> Lane | None:
        """The first lane of ``path`` without room."""
        return next((lane for lane in self.of.get(path, NO_LANES) if not self.has_room(lane)), None)

    # --- changes -----------------------------------------------------------------------------------------------------

    def put(self, path: str, lanes: tuple[Lane, ...], holders: int) -> None:
        """The lanes of ``path``, where ``holders`` claims are held."""
        before = self.of.pop(path, NO_LANES)
        if lanes:
            self.of[path] = lanes
        if holders:
            for lane in before:
                self._add(lane[0], -holders)
            for lane in lanes:
                self._add(lane[0], holders)

    def hold(self, path: str, holders: int) -> None:
        """So many more claims are held at ``path``, or fewer."""
        for lane in self.of[path]:
            self._add(lane[0], holders)

    def pay(self, name: str, paid_ms: int | None) -> None:
        """What was granted of lane ``name`` is paid off then; ``None``: there is nothing to pay."""
        if paid_ms is None or paid_ms <= self.now_ms:
            self.paid_ms.pop(name, None)
        else:
            self.paid_ms[name] = paid_ms
            self._wake(name, paid_ms)
        self._look(name)

    def advance(self, now_ms: int) -> None:
        """Cluster time goes on: rates have room again."""
        self.now_ms = now_ms
        heap = self._heap
        while heap and heap[0][0] <= now_ms:
            at_ms, name = heappop(heap)
            if self._wakes.get(name) == at_ms:
                del self._wakes[name]
                self.pay(name, self.paid_ms.get(name))

    @property
    def next_due_ms(self) -> int | None:
        """The cluster time before which no rate has more room than now; ``None``: none is used up."""
        return self._heap[0][0] if self._heap else None

    def _add(self, name: str, holders: int) -> None:
        held = self.held.get(name, 0) + holders
        check(held >= 0, "no more claims are released than were held", name)
        if held:
            self.held[name] = held
        else:
            del self.held[name]
        self._look(name)

    # --- who stands before them --------------------------------------------------------------------------------------

    def join(self, pool: "Pool", lane: Lane) -> View:
        """``pool`` stands before ``lane`` from now on."""
        views = self._views.setdefault(lane[0], {})
        view = views.get(lane)
        if view is None:
            view = views[lane] = View(lane)
            view.open = self._is_open(lane)
        view.pools[pool] = None
        return view

    def leave(self, pool: "Pool", view: View) -> None:
        del view.pools[pool]
        if not view.pools:
            views = self._views[view.lane[0]]
            del views[view.lane]
            if not views:
                del self._views[view.lane[0]]

    def _look(self, name: str) -> None:
        """Something may have changed for those who stand before the lane."""
        for view in self._views.get(name, {}).values():
            is_open = self._is_open(view.lane)
            if is_open != view.open:
                view.open = is_open
                for pool in view.pools:
                    root = pool.tell()
                    if is_open and root is not None:
                        self.opened[root.path] = None

    def _is_open(self, lane: Lane) -> bool:
        is_open = self.has_room(lane)
        name, _, interval_ms, burst = lane
        if not is_open and interval_ms:
            at_ms = self.paid_ms.get(name, 0) - (burst - 1) * interval_ms
            if at_ms > self.now_ms:  # else it is the width alone
                self._wake(name, at_ms)
        return is_open

    def _wake(self, name: str, at_ms: int) -> None:
        """Look at the lane at ``at_ms``, or earlier."""
        wakes = self._wakes
        if wakes.get(name, at_ms + 1) <= at_ms:
            return
        wakes[name] = at_ms
        heappush(self._heap, (at_ms, name))
        if len(self._heap) > 2 * len(wakes) + 64:
            self._heap = [(each_ms, each) for each, each_ms in wakes.items()]
            heapify(self._heap)


class Pool:
    """Keys in order: of those who have the lanes that lead here and no more; within it pools of those who have more.

    The root leads nowhere: it has room always.
    """

    __slots__ = ("_above", "_heads", "_lanes", "_pools", "_told", "keys", "path", "size", "view")

    def __init__(
        self, lanes: Lanes, path: str, above: "Pool | None" = None, lane: Lane | None = None
    ) -> None:
        self._lanes = lanes
        self.path = path
        """Whose children they are; ``""``: nobody's."""
        self._above = above
        self.keys = SortedNames()
        self.size = 0
        """With all pools within."""
        self._pools: dict[Lane, Pool] | None = None
        self._heads: SortedNames | None = None
        """The first of each pool within that has room."""
        self._told: str | None = None
        """What stands for this pool in the heads above."""
        self.view = None if lane is None else lanes.join(self, lane)

    @property
    def first(self) -> str | None:
        """The first key that no lane within keeps back."""
        heads = None if self._heads is None else self._heads.first
        first = self.keys.first
        if heads is None or first is None:
            return first if heads is None else heads
        return min(first, heads)

    def fill(self, keys: list[str]) -> None:
        """The first keys without lanes, all at once, in order."""
        self.keys = SortedNames(keys)
        self.size += len(keys)

    def put(self, key: str) -> None:
        """A key without lanes, into the root; it may be there."""
        if key not in self.keys:
            self.keys.add(key)
            self.size += 1

    def discard(self, key: str) -> None:
        """Take a key without lanes out of the root, if it is there."""
        if self.keys.discard(key):
            self.size -= 1

    def add(self, key: str, lanes: tuple[Lane, ...]) -> None:
        pool = self
        pool.size += 1
        for lane in lanes:
            if pool._pools is None:
                pool._pools, pool._heads = {}, SortedNames()
            within = pool._pools.get(lane)
            if within is None:
                within = pool._pools[lane] = Pool(self._lanes, self.path, pool, lane)
            pool = within
            pool.size += 1
        pool.keys.add(key)
        pool.tell()

    def remove(self, key: str, lanes: tuple[Lane, ...]) -> None:
        """``lanes``: those with which it was added."""
        pool = self
        pool.size -= 1
        for lane in lanes:
            within = None if pool._pools is None else pool._pools.get(lane)
            if within is None:
                raise InvariantViolation(f"a key is not where its lanes lead: {key!r}, {lane!r}")
            pool = within
            pool.size -= 1
        pool.keys.remove(key)
        pool.tell()
        while not pool.size and pool._above is not None and pool.view is not None:
            above = pool._above
            if above._pools is not None:
                del above._pools[pool.view.lane]
            self._lanes.leave(pool, pool.view)
            pool = above

    def tell(self) -> "Pool | None":
        """Tell those above what stands for this pool now; the root, if it has heard of it."""
        pool = self
        while pool._above is not None:
            above, before = pool._above, pool._told
            has_room = pool.view is not None and pool.view.open
            first = pool.first if has_room else None
            if first == before:
                return None
            pool._told = first
            heads = above._heads
            if heads is None:
                raise InvariantViolation(f"a pool within a pool that has none: {first!r}")
            if before is not None:
                heads.remove(before)
            if first is not None:
                heads.add(first)
            pool = above
        return pool

    def blocked(self) -> int:
        """How many keys lanes keep back."""
        return sum(
            each.blocked() if each.view is not None and each.view.open else each.size
            for each in self._within()
        )

    def _within(self) -> Iterator["Pool"]:
        return iter(()) if self._pools is None else iter(self._pools.values())
