"""Acknowledged means durable: what was told to be done is in the log, when all is over, and the log has no holes."""

from collections.abc import Sequence

from coord.jepsen_like.checkers.log import Log, changes_something
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Digest, Operation, Record

PROMISE = "acknowledged"
FOUND_MAX = 20


def check(records: Sequence[Record]) -> list[Violation]:
    log = Log(records)
    found: list[Violation] = []
    if log:
        for revision in range(log.first, log.last + 1):
            if revision not in log:
                found.append(
                    Violation(PROMISE, f"the log has no revision {revision}, and goes on to {log.last}")
                )
                if len(found) == FOUND_MAX:
                    break
    requests = log.requests()
    for place, each in enumerate(records):
        if (
            type(each) is not Operation
            or each.outcome != "ok"
            or each.revision is None
            or not changes_something(each)
        ):
            continue
        revision = each.revision
        if log.covers(revision) and (each.session, each.request) not in requests:
            # Only its own request: what else may stand at its revision is exactly_once's matter.
            what = f"a write that was done at revision {revision} is not in the log, which ends at {log.last}"
            found.append(Violation(PROMISE, what, (place,)))
            if len(found) >= FOUND_MAX:
                break
    return found + _held_by_members(records, log)


def _held_by_members(records: Sequence[Record], log: Log) -> list[Violation]:
    """No member holds a revision that the log does not have."""
    for place, each in enumerate(records):
        if type(each) is Digest and log and each.revision > log.last:
            what = f"member {each.member} holds revision {each.revision}, and the log ends at {log.last}"
            return [Violation(PROMISE, what, (place,))]
    return []
