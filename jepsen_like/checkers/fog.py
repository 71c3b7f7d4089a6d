"""Where the state is not known, because a revision is: nobody recorded it, in a history that has no log.

Within a history only its own operations write, by assumption (and nobody else below the same paths). So a revision in
between that has no known writer was made by one of the operations with an unknown outcome, or by the end of a session:
what those touch lies in the fog from then on. Before the history's first revision anything may have been written.
A create that is told to be done, and a delete, clear the fog: what they say of their path holds whatever it was.
"""

from typing import Any

from coord.api.ops import Claim, ClaimFirst, Create, Delete, List, Multi, Release, Set
from coord.api.paths import ancestors, is_below, parent
from coord.jepsen_like.checkers.about import parts, plain


class Fog:
    def __init__(self) -> None:
        self._everywhere = False
        self._clear: set[str] = set()
        """Where nothing is known in general, these and what is below them are."""
        self._dark: set[str] = set()
        self._deep: set[str] = set()
        """Everything below these is dark."""

    def __bool__(self) -> bool:
        return self._everywhere or bool(self._dark)

    def rise_everywhere(self) -> None:
        self._everywhere = True
        self._clear.clear()

    def rise(self, op: Any) -> None:
        """``op`` may have happened, or it happened and nobody knows what came of it."""
        self._dark.update(_touches(op))
        for each in parts(op):
            if isinstance(each, Create) and each.sequential:
                self._deep.add(parent(each.path))  # under which name, nobody knows
            elif isinstance(each, Delete) and each.subtree:
                self._deep.add(each.path)

    def rise_at(self, path: str) -> None:
        self._dark.update((path, parent(path)))

    def clear(self, path: str) -> None:
        """``path`` was created or deleted now: all of it is known, though nothing of what is above."""
        self._dark = {each for each in self._dark if each != path and not is_below(each, path)}
        if self._everywhere:
            self._clear.add(path)

    def hides(self, op: Any) -> bool:
        """Whether the outcome of ``op`` hangs on what is not known."""
        return any(self._is_dark(path) for path in _touches(op)) or any(
            is_below(dark, each) for dark in self._dark for each in _looked_below(op)
        )

    def _is_dark(self, path: str) -> bool:
        if path in self._dark:
            return True
        above = ancestors(path)
        if self._deep and not self._deep.isdisjoint(above):
            return True
        return self._everywhere and path not in self._clear and self._clear.isdisjoint(above)


def _touches(op: Any) -> list[str]:
    """The znodes whose state decides what ``op`` does, or that it changes."""
    op = plain(op)
    if isinstance(op, Multi):
        found = [each.path for each in op.compare]
        for each in (*op.then, *op.otherwise):
            found += _touches(each)
        return found
    if isinstance(op, ClaimFirst | Release):
        return []  # a release may take an empty container along: nobody but its claimants can have looked at it
    if isinstance(op, Create | Set | Claim) and op.parents:
        return [op.path, *ancestors(op.path)]
    if isinstance(op, Create | Delete) or (isinstance(op, Set) and op.create):
        # A container above goes with its last child, and so on.
        above = ancestors(op.path) if isinstance(op, Delete) else [parent(op.path)]
        return [op.path, *above]
    return [op.path]


def _looked_below(op: Any) -> list[str]:
    op = plain(op)
    if isinstance(op, Multi):
        return [path for each in (*op.then, *op.otherwise) for path in _looked_below(each)]
    return [op.path] if isinstance(op, List | Delete) else []
