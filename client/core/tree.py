"""A mirror with an index of who is below whom. Sans IO."""

from coord.api.ops import WatchScope
from coord.api.paths import ROOT, parent
from coord.client.core.mirror import ZNODES_MAX, Cached, Mirror


class Tree(Mirror):
    """The znodes at and below ``path``, and the children of each.

    Looked at in any thread, while one changes it: a look-up is one step of the interpreter, and what takes more
    works on a copy.
    """

    __slots__ = ("_below", "_moves", "_sorted")

    def __init__(self, path: str, values: bool, limit: int = ZNODES_MAX) -> None:
        super().__init__(path, WatchScope.SUBTREE, values, limit)
        self._below: dict[str, dict[str, None]] = {}
        """Path -> the paths of its children. They share the texts of ``entries``; names of their own would cost more
        than cutting them out when they are asked for."""
        self._sorted: dict[str, list[str]] = {}
        """Path -> names; only of those that were asked for since the last change there."""
        self._moves = 0
        """Znodes that came or went, ever."""

    def children(self, path: str) -> list[str]:
        """The names of the znodes directly below, in order; none where there is no znode."""
        names = self._sorted.get(path)
        if names is None:
            moves = self._moves
            cut = 1 if path == ROOT else len(path) + 1
            below = self._below.get(path)
            names = [each[cut:] for each in sorted(below)] if below else []
            if below:
                self._sorted[path] = names
                if self._moves != moves:
                    # Another thread: what was just kept may be old already, and come after the change that would have
                    # dropped it.
                    self._sorted.pop(path, None)
        return names.copy()

    def _put(self, path: str, entry: Cached) -> None:
        if path not in self.entries and path != self.path:
            above = parent(path)
            below = self._below.get(above)
            if below is None:
                self._below[above] = {path: None}
            else:
                below[path] = None
            self._moved(above)
        self.entries[path] = entry

    def _drop(self, path: str) -> None:
        del self.entries[path]
        if path != self.path:
            above = parent(path)
            below = self._below[above]
            del below[path]
            if not below:
                del self._below[above]
            self._moved(above)

    def _moved(self, above: str) -> None:
        self._moves += 1
        self._sorted.pop(above, None)
