"""Convergence: members that have applied the same revision hold the same, and in the end all hold the same.

The end must be said, since nothing else tells a member that lags from one that never comes: a ``Note`` named
:data:`QUIESCED`, with ``{"members": [1, 2, 3]}``, those that are healthy and had time to catch up. What
counts for each is its last digest before the note.
"""

from collections.abc import Sequence
from typing import Final

from coord.jepsen_like.checkers.log import Log
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Digest, Note, Operation, Record

PROMISE: Final = "convergence"
QUIESCED: Final = "quiesced"


def check(records: Sequence[Record]) -> list[Violation]:
    found = [
        Violation(
            PROMISE, f"members say different things of revision {_revision(records[one])}", (one, other)
        )
        for one, other in Log(records).contradictions
    ]
    digests: dict[tuple[int, int], tuple[str, int, int]] = {}
    last: dict[int, tuple[int, str, int]] = {}
    shown, shown_place = 0, -1
    for place, each in enumerate(records):
        kind = type(each)
        if kind is Digest:
            assert isinstance(each, Digest)
            stand = (each.revision, each.index)
            digest, member, before = digests.setdefault(stand, (each.digest, each.member, place))
            if digest != each.digest:
                what = f"members {member} and {each.member} differ at revision {each.revision}"
                found.append(Violation(PROMISE, what, (before, place)))
            last[each.member] = (each.revision, each.digest, place)
        elif kind is Operation:
            assert isinstance(each, Operation)
            if each.outcome == "ok" and each.revision is not None and each.revision > shown:
                shown, shown_place = each.revision, place
        elif kind is Note:
            assert isinstance(each, Note)
            if each.what == QUIESCED:
                found += _together(each, place, last, shown, shown_place)
    return found


def _together(
    note: Note, place: int, last: dict[int, tuple[int, str, int]], shown: int, shown_place: int
) -> list[Violation]:
    found = []
    for member in note.facts.get("members", ()):
        if member not in last:
            found.append(
                Violation(PROMISE, f"member {member} has come to rest, and gave no digest", (place,))
            )
            continue
        revision, _, at = last[member]
        furthest, _, furthest_at = max(last[each] for each in note.facts["members"] if each in last)
        if revision < furthest:
            what = f"member {member} came to rest at revision {revision}, another at {furthest}"
            found.append(Violation(PROMISE, what, (at, furthest_at)))
        elif revision < shown:
            what = f"member {member} came to rest at revision {revision}; {shown} had been answered"
            found.append(Violation(PROMISE, what, (at, shown_place)))
    return found


def _revision(record: Record) -> int:
    return getattr(record, "revision", 0)
