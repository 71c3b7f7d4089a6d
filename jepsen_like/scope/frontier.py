"""The states that were reached, and which of them is to be expanded next.

A state is *covered* by another that differs only in that more was sent, and more may still happen: whatever can come of
the one can come of the other. Covered states are dropped. So that the covering ones come first, states are taken in the
order of their progress (terms, logs, what was used of the bounds), breadth first by that measure.

Of each state its parent and the action that led to it are kept: enough to tell the way to it.
"""

from array import array
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

Key = tuple[tuple[int, ...], int]
"""(numbers of the members' states, number of the judges' memory)."""


_Variant = tuple[int, int, int]
"""``(sent, bounds, number)`` of a state of a known key: plain, for there are millions."""


class Place:
    """A key that was reached, with its states. Who comes here often keeps it, so that the key is hashed once."""

    __slots__ = ("key", "progress", "taken", "variants")

    def __init__(self, key: Key, progress: int) -> None:
        self.key = key
        self.progress = progress
        """Of its members."""
        self.variants: list[_Variant] = []
        """The states that no other covers."""
        self.taken = 0
        """The states before this number were taken."""


class State(NamedTuple):
    """``sent``: messages as bits; ``bounds``: by number; ``number``: the state's own."""

    place: Place
    sent: int
    bounds: int
    number: int


class Frontier:
    """``progress(key)``: how far its members are. ``used``: the same of what the bounds have allowed, by their number.

    ``allows(bounds, other)``: whether under the first everything may happen that may under the second, by number.
    """

    def __init__(
        self, progress: Callable[[Key], int], used: Sequence[int], allows: Callable[[int, int], bool]
    ) -> None:
        self._progress = progress
        self._used = used
        self._allows = allows
        self._bounds_cover: dict[tuple[int, int], bool] = {}
        self._parents = array("q")
        self._made_by = array("q")
        self._known: dict[Key, Place] = {}
        self._waiting: dict[int, dict[Place, None]] = {}
        """By progress."""
        self._order: list[int] = []
        """A heap of the keys of ``_waiting``."""

    @property
    def states(self) -> int:
        """That no other covered when they were reached."""
        return len(self._parents)

    @property
    def keys(self) -> int:
        return len(self._known)

    def place(self, key: Key) -> Place:
        """Where the states of this key are kept."""
        place = self._known.get(key)
        if place is None:
            place = self._known[key] = Place(key, self._progress(key))
        return place

    def visit(self, place: Place, sent: int, bounds: int, parent: int, made_by: int) -> None:
        """A state was reached; it waits to be taken, unless another covers it."""
        variants = place.variants
        for other_sent, other_bounds, _ in variants:
            if sent | other_sent == other_sent and (
                bounds == other_bounds or self._cover(other_bounds, bounds)
            ):
                return
        if variants:
            variants[:] = [
                variant
                for variant in variants
                if sent | variant[0] != sent or not (bounds == variant[1] or self._cover(bounds, variant[1]))
            ]
        variants.append((sent, bounds, self.note(parent, made_by)))
        progress = place.progress + self._used[bounds]
        waiting = self._waiting.get(progress)
        if waiting is None:
            waiting = self._waiting[progress] = {}
            heappush(self._order, progress)
        waiting[place] = None

    def note(self, parent: int, made_by: int) -> int:
        """A state on the way to others, which need not wait itself; its number."""
        self._parents.append(parent)
        self._made_by.append(made_by)
        return len(self._parents) - 1

    def take(self) -> Iterator[State]:
        """All those of the least progress, one after another. What is visited meanwhile waits for the next time."""
        for place in self._waiting.pop(heappop(self._order)):
            first = place.taken
            place.taken = len(self._parents)
            for sent, bounds, number in list(place.variants):
                if number >= first:
                    yield State(place, sent, bounds, number)

    def __bool__(self) -> bool:
        """Whether any state waits."""
        return bool(self._order)

    def way_to(self, number: int) -> list[int]:
        """What was done, from the first state on, as ``made_by`` said it."""
        made_by = []
        while self._parents[number] >= 0:
            made_by.append(self._made_by[number])
            number = self._parents[number]
        return made_by[::-1]

    def _cover(self, bounds: int, other: int) -> bool:
        known = self._bounds_cover.get((bounds, other))
        if known is None:
            known = self._bounds_cover[bounds, other] = self._allows(bounds, other)
        return known
