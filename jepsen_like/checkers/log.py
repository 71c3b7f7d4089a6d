"""What the members say happened: the history's ``Committed`` records, by revision."""

from collections.abc import Sequence

from coord.api.ops import Create, Delete, Multi, Set
from coord.api.results import MultiResult
from coord.jepsen_like.history import Committed, Operation, Record


class Log:
    """Empty where the history has no such records: then nothing is known but what clients were told.

    A log may begin late (a real cluster's history is bounded); it is to be complete from ``first`` to ``last``.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self.entries: dict[int, Committed] = {}
        self.places: dict[int, int] = {}
        """Revision -> where its record stands."""
        self.contradictions: list[tuple[int, int]] = []
        """Places of two records that say different things of one revision."""
        for place, record in enumerate(records):
            if type(record) is Committed:
                before = self.entries.setdefault(record.revision, record)
                if before is record:
                    self.places[record.revision] = place
                elif (before.changes, before.index) != (record.changes, record.index):
                    self.contradictions.append((self.places[record.revision], place))
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
    """Whether an operation with outcome ``ok`` made a revision."""
    op = operation.op
    if type(op) in _WRITES:
        return True
    if type(op) is not Multi or type(operation.result) is not MultiResult:
        return False
    return any(type(each) in _WRITES for each in (op.then if operation.result.succeeded else op.otherwise))


_WRITES = frozenset({Create, Set, Delete})
