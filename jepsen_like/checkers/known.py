"""Which changes each revision made, as far as a history knows: from its log, or from what was acknowledged and told."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from coord.api.events import DELETED, WITHDRAWN, Change
from coord.api.ops import Create, Delete, Multi, Set
from coord.api.paths import ancestors, is_below, parent
from coord.jepsen_like.checkers.about import plain
from coord.jepsen_like.checkers.log import Log
from coord.jepsen_like.checkers.replay import answered
from coord.jepsen_like.history import Record, WatchTold

ZNODE: Final = "znode"
CHILDREN: Final = "children"
SUBTREE: Final = "subtree"
OWN_CLAIMS: Final = "claims"
AND_CLAIMS: Final = "+claims"
"""After one of the first three: changes of claims there are told, too."""


def concerns(path: str, scope: str, session: int, change: Change) -> bool:
    """Whether ``change`` is told to a watch of ``path`` with ``scope`` by a client with ``session``."""
    kind, changed = change[0], change[1]
    if scope == OWN_CLAIMS:
        return DELETED < kind <= WITHDRAWN and change[4] == session
    if kind > DELETED and not scope.endswith(AND_CLAIMS):
        return False
    scope = scope.removesuffix(AND_CLAIMS)
    if scope == ZNODE:
        return changed == path
    if scope == CHILDREN:
        return changed != "/" and parent(changed) == path
    return changed == path or is_below(changed, path)


class Known:
    """``complete``: these are all changes of all revisions from ``first`` to ``last``."""

    def __init__(self, records: Sequence[Record], log: Log) -> None:
        self.complete = bool(log)
        self.first, self.last = log.first, log.last
        self.changes: dict[int, tuple[Change, ...]] = {each: log.whole[each] for each in sorted(log.entries)}
        """All of them, claims' too."""
        self._paths: dict[int, list[str]] = {
            revision: [change[1] for change in changes if change[0] <= DELETED]
            for revision, changes in self.changes.items()
        }
        if not self.complete:
            self._gather(records)
        self._revisions: dict[tuple[str, str], list[int]] = {}
        """By a watch's scope and path."""
        for revision, changed in self._paths.items():
            self._note_all(changed, "", revision)
        for revision, changes in self.changes.items():
            self._note_all([change[1] for change in changes], AND_CLAIMS, revision)
            for change in changes:
                if DELETED < change[0] <= WITHDRAWN:
                    self._note(OWN_CLAIMS, str(change[4]), revision)

    def paths(self, revision: int) -> list[str]:
        """What ``revision`` surely changed."""
        return self._paths.get(revision, [])

    def next_after(self, path: str, scope: str, session: int, revision: int) -> int | None:
        """The first known revision after ``revision`` that concerns such a watch."""
        if scope == OWN_CLAIMS:
            path = str(session)
        found = self._revisions.get((scope, path), [])
        at = bisect_right(found, revision)
        return found[at] if at < len(found) else None

    def _note_all(self, changed: list[str], suffix: str, revision: int) -> None:
        for path in dict.fromkeys(changed):
            above = ancestors(path)
            self._note(ZNODE + suffix, path, revision)
            if above:
                self._note(CHILDREN + suffix, above[0], revision)
            for each in (path, *above):
                self._note(SUBTREE + suffix, each, revision)

    def _note(self, scope: str, path: str, revision: int) -> None:
        found = self._revisions.setdefault((scope, path), [])
        if not found or found[-1] != revision:
            found.append(revision)

    def _gather(self, records: Sequence[Record]) -> None:
        """Without a log: the paths that acknowledged writes surely changed, and those that some watch was told of."""
        paths: dict[int, dict[str, None]] = {}
        for revision, _, each, made_it in answered(records):
            if made_it:
                paths.setdefault(revision, {}).update(dict.fromkeys(_surely(each.op, each.result)))
        for record in records:
            if type(record) is WatchTold:
                paths.setdefault(record.revision, {}).update(
                    dict.fromkeys(change[1] for change in record.changes if change[0] <= DELETED)
                )
        self._paths = {revision: list(paths[revision]) for revision in sorted(paths) if paths[revision]}


def _surely(op: object, result: object) -> list[str]:
    op = plain(op)
    if isinstance(op, Multi):
        branch = op.then if result.succeeded else op.otherwise  # type: ignore[attr-defined]
        return [
            path
            for each, one in zip(branch, result.results, strict=True)  # type: ignore[attr-defined]
            for path in _surely(each, one)
        ]
    if isinstance(op, Create):
        return [result.path]  # type: ignore[attr-defined]
    return [op.path] if isinstance(op, Set | Delete) else []
