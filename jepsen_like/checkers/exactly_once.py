"""Exactly once: each write that changed something did so once, in the order of its session; a refused one never did.

From the log where there is one; what watches were told, and the answers, are evidence besides.
"""

from collections.abc import Iterator, Sequence

from coord.api.events import DELETED
from coord.jepsen_like.checkers.about import about_claims
from coord.jepsen_like.checkers.log import Log, changes_something
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Operation, Record, WatchTold

PROMISE = "exactly_once"

Made = tuple[int, int]
"""``(revision, place)``."""


def check(records: Sequence[Record]) -> list[Violation]:
    log = Log(records)
    found: list[Violation] = []
    made: dict[tuple[int, int], Made] = {}
    twice: set[tuple[int, int, int]] = set()
    for session, request, revision, place in _evidence(records, log):
        before = made.setdefault((session, request), (revision, place))
        if before[0] != revision and (session, request, revision) not in twice:
            twice.add((session, request, revision))
            what = (
                f"request {request} of session {session} made revision {before[0]}, and revision {revision}"
            )
            found.append(Violation(PROMISE, what, (before[1], place)))
    found += _by_their_outcome(records, log, made)
    found += _in_order(made)
    return found


def _evidence(records: Sequence[Record], log: Log) -> Iterator[tuple[int, int, int, int]]:
    """``(session, request, revision, place)``: that this request made this revision."""
    for revision in sorted(log.entries):
        for session, request in sorted({(each[4], each[5]) for each in log.entries[revision].changes}):
            if request:
                yield session, request, revision, log.places[revision]
    for place, each in enumerate(records):
        if type(each) is WatchTold:
            for change in each.changes:
                if change[5] and change[0] <= DELETED:  # the client library does not tell the request
                    yield change[4], change[5], each.revision, place
        elif (
            type(each) is Operation
            and each.outcome == "ok"
            and each.revision is not None
            and changes_something(each)
        ):
            yield each.session, each.request, each.revision, place


def _by_their_outcome(
    records: Sequence[Record], log: Log, made: dict[tuple[int, int], Made]
) -> Iterator[Violation]:
    asked: dict[tuple[int, int], int] = {}
    for place, each in enumerate(records):
        if type(each) is not Operation or not each.request:
            continue
        key = (each.session, each.request)
        before = asked.setdefault(key, place)
        if before != place:
            what = f"request {each.request} of session {each.session} was used for two operations"
            yield Violation(PROMISE, what, (before, place))
        found = made.get(key)
        if each.outcome == "refused" and found is not None:
            what = f"it was refused ({each.error}), and made revision {found[0]}"
            yield Violation(PROMISE, what, (place, found[1]))
        elif each.outcome == "ok" and found is not None and not changes_something(each):
            if about_claims(each.op):
                continue  # it may make a container, or leave one behind that is empty
            yield Violation(PROMISE, f"it only read, and made revision {found[0]}", (place, found[1]))
        elif each.outcome == "ok" and changes_something(each):
            entry = log.entries.get(each.revision or 0)
            if entry is not None and all(change[4:6] != key for change in entry.changes):
                what = f"it was told that it made revision {entry.revision}, which is another's in the log"
                yield Violation(PROMISE, what, (place, log.places[entry.revision]))


def _in_order(made: dict[tuple[int, int], Made]) -> Iterator[Violation]:
    """A session's writes took effect in the order of their ids."""
    before_session, before_request, before_made = 0, 0, (0, -1)
    for (session, request), found in sorted(made.items()):
        if session == before_session and found[0] <= before_made[0]:
            what = (
                f"request {request} of session {session} made revision {found[0]}, not after request "
                f"{before_request}, which made {before_made[0]}"
            )
            yield Violation(PROMISE, what, (before_made[1], found[1]))
        before_session, before_request, before_made = session, request, found
