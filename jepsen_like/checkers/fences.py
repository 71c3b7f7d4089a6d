"""Fences: every write below one presented the token that was current, whoever sent it; none was refused that did.

From the log: whose each change of the tree was, and who held the claims of the fences above it just before. Writes of
requests that are in nobody's record are not judged, and what the service does itself is not fenced.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from coord.api.events import DELETED, FENCED, Change, Reason
from coord.api.ops import Claim, Create, Delete, Fence, FencedWrite, Set
from coord.jepsen_like.checkers.about import about_claims, parts
from coord.jepsen_like.checkers.ledger import Ledger
from coord.jepsen_like.checkers.log import Log
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Operation, Record

PROMISE: Final = "fences"
FOUND_MAX: Final = 20
_REQUEST: Final = int(Reason.REQUEST)


def check(records: Sequence[Record]) -> list[Violation]:
    return [each for each, _ in zip(_run(records), range(FOUND_MAX), strict=False)]


def _run(records: Sequence[Record]) -> Iterator[Violation]:
    log = Log(records)
    if not log or log.first > 1:
        return
    ledger = Ledger(records)
    refused: dict[int, list[tuple[int, Operation]]] = {}
    for place, each in enumerate(records):
        if type(each) is Operation and each.error == "stale_token" and each.revision is not None:
            refused.setdefault(each.revision, []).append((place, each))
    for revision in sorted(log.entries):
        if ledger.fences:
            yield from _done(ledger, log.whole[revision], revision, log.places[revision])
        for change in log.whole[revision]:
            ledger.apply(change, revision, log.entries[revision].at_ns)
        for place, operation in refused.get(revision, ()):
            if _is_current(ledger, operation.op):
                what = f"{_shown(operation.op)} was refused as stale, and is current at revision {revision}"
                yield Violation(PROMISE, what, (place,))


def _done(ledger: Ledger, changes: tuple[Change, ...], revision: int, place: int) -> Iterator[Violation]:
    """``ledger`` stands just before ``revision``."""
    for change in changes:
        kind, path, _, _, _, request, reason = change
        if (kind > DELETED and kind != FENCED) or reason != _REQUEST or not request:
            continue
        op = ledger.op_of(change)
        if op is None or (about_claims(op) and len(parts(op)) > 1):
            continue  # of a multi that changes claims, too, nobody knows in between
        presented = {token for _, token in op.tokens} if isinstance(op, FencedWrite) else set()
        for fence, claim in ledger.fences_at(path):
            if isinstance(op, Claim) and op.path == claim:
                continue  # who is to hold it first has no token
            if presented.isdisjoint(ledger.tokens(claim)):
                current = list(ledger.tokens(claim))
                what = f"{_shown(op)} wrote {path} at revision {revision}, fenced at {fence} by {claim}, with {current}"
                yield Violation(PROMISE, what, (place,))
                return


def _is_current(ledger: Ledger, op: Any) -> bool:
    """Whether ``op`` presents what all fences ask for, of all that it might touch; ``False``: not, or nobody knows."""
    presented = {token for _, token in op.tokens} if isinstance(op, FencedWrite) else set()
    each = op.op if isinstance(op, FencedWrite) else op
    if not isinstance(each, Create | Set | Delete | Fence) or getattr(each, "parents", False):
        return False
    fences = ledger.fences_at(each.path)
    if isinstance(each, Delete) and each.subtree:
        fences += [(fence, claim) for fence, claim in ledger.fences.items() if fence.startswith(each.path)]
    return all(not presented.isdisjoint(ledger.tokens(claim)) for _, claim in fences)


def _shown(op: Any) -> str:
    return repr(op)[:200]
