"""Znodes by path: a dict in many parts.

A dict that is full makes itself twice as large, and moves all that it has, in one go: at 700 000 znodes that takes 60
to 130 ms, in every member at the same entry of the log, and nobody is answered meanwhile. Here each of the parts grows
by itself, at some time of its own, and moves a sixteenth. (More parts would pause less still, and take longer to load.)

A path's hash says which part it is in: the dict needs it anyway. It differs from process to process, so nothing may
depend on which part that is; iteration, which nothing but tests should want, is sorted.

Rejected: a dict of children for each parent (two look-ups for one, and one parent may have a million), a hash of our
own (as much as all the rest of a look-up).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from coord.store.znode import Znode

_PARTS: Final = 16
_SHIFT: Final = 60
"""A hash's upper bits (of 64) are -8 to 7: places in a list of sixteen. A dict looks where the lower ones say. If these
chose the part, all keys of a part would be sought in the same sixteenth of it: two or three probes each, in memory that
no cache has. (So it was at first: with a million znodes a look-up took 0.7 us in place of 0.5.)"""


class Znodes(Mapping[str, Znode]):
    """``len()`` is their number; iteration sorts all paths."""

    __slots__ = ("_parts", "_size")

    def __init__(self) -> None:
        self._parts: Final[list[dict[str, Znode]]] = [{} for _ in range(_PARTS)]
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[str]:
        yield from sorted(path for part in self._parts for path in part)

    def __contains__(self, path: object) -> bool:
        return path in self._parts[hash(path) >> _SHIFT]

    def __getitem__(self, path: str) -> Znode:
        return self._parts[hash(path) >> _SHIFT][path]

    def get(self, path: str, default: None = None) -> Znode | None:  # type: ignore[override]
        """The znode at ``path``, or ``None``."""
        return self._parts[hash(path) >> _SHIFT].get(path)

    def get_all(self, paths: Iterable[str]) -> list[Znode | None]:
        """Likewise for each of ``paths``, in their order."""
        parts = self._parts
        return [parts[hash(path) >> _SHIFT].get(path) for path in paths]

    def add(self, path: str, znode: Znode) -> None:
        """Put ``znode`` where none is."""
        self._parts[hash(path) >> _SHIFT][path] = znode
        self._size += 1

    def replace(self, path: str, znode: Znode) -> None:
        """Put ``znode`` where another one is."""
        self._parts[hash(path) >> _SHIFT][path] = znode

    def remove(self, path: str) -> None:
        """Take away the one that is there."""
        del self._parts[hash(path) >> _SHIFT][path]
        self._size -= 1

    def put_all(self, znodes: Iterable[tuple[str, Znode]]) -> None:
        """Put each where none is, or another one."""
        parts = self._parts
        for path, znode in znodes:
            parts[hash(path) >> _SHIFT][path] = znode
        self._size = sum(map(len, parts))
