"""What the members say happened: the history's ``Committed`` records, by revision."""

from collections.abc import Sequence
from typing import Any

from coord.api.events import DELETED, Change
from coord.api.ops import Create, Delete, Multi, Set
from coord.api.results import Deleted, MultiResult
from coord.jepsen_like.checkers.about import plain
from coord.jepsen_like.history import Committed, Operation, Record


class Log:
    """Empty where the history has no such records: then nothing is known but what clients were told.

    A log may begin late (a real cluster's history is bounded); it is to be complete from ``first`` to ``last``.
    Entries have the changes of the tree; those of claims stand apart, for they are another's doing than the request's:
    ``(session, request)`` is a claim's session and number there.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self.entries: dict[int, Committed] = {}
        self.places: dict[int, int] = {}
        """Revision -> where its record stands."""
        self.contradictions: list[tuple[int, int]] = []
        """Places of two records that say different things of one revision."""
        self.of_claims: dict[int, tuple[Change, ...]] = {}
        """Revision -> what it changed of claims, settings and fences, where it did."""
        self.whole: dict[int, tuple[Change, ...]] = {}
        """Revision -> all that it changed, in order."""
        for place, record in enumerate(records):
            if type(record) is Committed:
                before = self.entries.setdefault(record.revision, record)
                if before is record:
                    self.places[record.revision] = place
                elif (before.changes, before.index) != (record.changes, record.index):
                    self.contradictions.append((self.places[record.revision], place))
        for revision, entry in self.entries.items():
            self.whole[revision] = entry.changes
            of_claims = tuple([change for change in entry.changes if change[0] > DELETED])
            if of_claims:
                changes = tuple([change for change in entry.changes if change[0] <= DELETED])
                self.of_claims[revision] = of_claims
                self.entries[revision] = Committed(entry.revision, entry.index, changes, entry.at_ns)
        self.first = min(self.entries, default=1)
        self.last = max(self.entries, default=0)

    def __bool__(self) -> bool:
        return bool(self.entries)

    def __contains__(self, revision: int) -> bool:
        return revision in self.entries

    def covers(self, revision: int) -> bool:
        """Whether this log would have ``revision``, had it been."""
        return bool(self.entries) and revision >= self.first

    def requests(self) -> dict[tuple[int, int], int]:
        """``(session, request)`` -> the first revision that it made."""
        found: dict[tuple[int, int], int] = {}
        for revision in sorted(self.entries):
            for change in self.entries[revision].changes:
                if change[5]:
                    found.setdefault((change[4], change[5]), revision)
        return found


def changes_something(operation: Operation) -> bool:
    """Whether an operation with outcome ``ok`` made a revision, by changing the tree."""
    return _changes(plain(operation.op), operation.result)


def _changes(op: Any, result: Any) -> bool:
    if type(op) is Delete and type(result) is Deleted:
        return result.count > 0  # else there was nothing, and nothing was minded
    if type(op) is not Multi or type(result) is not MultiResult:
        return type(op) in _WRITES
    branch = op.then if result.succeeded else op.otherwise
    return any(_changes(each, one) for each, one in zip(branch, result.results, strict=True))


_WRITES = frozenset({Create, Set, Delete})
