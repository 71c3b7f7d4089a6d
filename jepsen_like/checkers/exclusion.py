"""Mutual exclusion, as clients see it: never do more believe that they hold a znode than it has room for.

A client believes so from the moment at which its library tells it (``ClaimHeld``) until it is told otherwise, gives the
claim up (asking for it is enough), or is no longer sure of its session by its own clock, however that drifts and
whenever its process stood still (``SessionProof.until_ns``). Excused is what nobody can keep from: a claim that
somebody else forces to be released, or whose znode is deleted, is believed in until that is heard; such a belief ends
here where the log ends the claim.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from coord.api.events import CLAIMED, CONFIGURED, RELEASED, WITHDRAWN, Reason
from coord.api.ops import Claim
from coord.jepsen_like.checkers.about import parts
from coord.jepsen_like.checkers.log import Log
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import (
    ClaimHeld,
    ClaimOver,
    Operation,
    Record,
    SessionOver,
    SessionProof,
    WatchTold,
)

PROMISE: Final = "exclusion"
FOUND_MAX: Final = 20
NEVER_NS: Final = 1 << 62
_EXCUSED: Final = (int(Reason.FORCED), int(Reason.ZNODE_DELETED))


class Belief(NamedTuple):
    """``[start, end)``; ``units`` 0: it is shared."""

    start_ns: int
    end_ns: int
    claim: int
    path: str
    units: int
    place: int


def check(records: Sequence[Record]) -> list[Violation]:
    return [each for each, _ in zip(_run(records), range(FOUND_MAX), strict=False)]


def _run(records: Sequence[Record]) -> Iterator[Violation]:
    yield from _as_told(records)
    by_path: dict[str, list[Belief]] = {}
    for each in beliefs(records):
        by_path.setdefault(each.path, []).append(each)
    if not by_path:
        return
    most = _capacities(records)
    for path, found in by_path.items():
        found.sort()
        holding: list[Belief] = []
        for belief in found:
            holding = [
                each for each in holding if each.end_ns > belief.start_ns and each.claim != belief.claim
            ]
            holding.append(belief)
            used = sum(each.units for each in holding)
            shares = any(not each.units for each in holding)
            if (shares and used) or used > most.get(path, 1):
                what = f"{path} is believed to be held by claims {[each.claim for each in holding]} at a time"
                yield Violation(PROMISE, what, tuple(each.place for each in holding))


def _as_told(records: Sequence[Record]) -> Iterator[Violation]:
    """A client believes what it was told, and nothing else: not after it was told of the end, not what the log does not
    have; and when all is quiet, what it believes to hold it holds."""
    log = Log(records)
    grants: dict[int, tuple[int, str, int]] = {}
    ended: dict[int, None] = {}
    for revision in sorted(log.of_claims):
        for kind, path, _, _, session, number, _ in log.of_claims[revision]:
            if kind == CLAIMED:
                grants[number] = (revision, path, session)
            elif kind in (RELEASED, WITHDRAWN):
                ended[number] = None
    told_over: dict[tuple[int, int], int] = {}
    open_claims: dict[tuple[int, int], tuple[int, ClaimHeld]] = {}
    for place, each in enumerate(records):
        if type(each) is WatchTold:
            for kind, _, _, _, session, number, _ in each.changes:
                if kind in (RELEASED, WITHDRAWN):
                    told_over.setdefault((each.process, number), place)
                    found = open_claims.get((each.process, number))
                    if found is not None and found[1].session != session:
                        yield Violation(
                            PROMISE, f"claim {number} is told to be of session {session}", (place,)
                        )
        elif type(each) is ClaimHeld:
            over = told_over.get((each.process, each.claim))
            if over is not None:
                what = f"claim {each.claim} is believed to be held, after its client was told of its end"
                yield Violation(PROMISE, what, (over, place))
            if log and grants.get(each.claim) != (each.token, each.path, each.session):
                what = f"claim {each.claim} of {each.path} is believed to be held with the token {each.token}"
                yield Violation(PROMISE, f"{what}; the log has {grants.get(each.claim)}", (place,))
            open_claims[(each.process, each.claim)] = (place, each)
        elif type(each) is ClaimOver:
            open_claims.pop((each.process, each.claim), None)
        elif type(each) is SessionOver:
            for key, (_, held) in list(open_claims.items()):
                if held.session == each.session and held.process == each.process:
                    del open_claims[key]
    if not log or not log.entries[log.last].at_ns:
        return
    for (_, number), (place, _) in open_claims.items():
        if number in ended:
            what = f"claim {number} is believed to be held in the end, and is over"
            yield Violation(PROMISE, what, (place,))


def beliefs(records: Sequence[Record]) -> list[Belief]:
    """When which client believed that it held what."""
    log = Log(records)
    units: dict[int, int] = {}
    """Claim -> units, of those whose op is known."""
    asked: dict[bytes, Claim] = {}
    ends: dict[tuple[int, int, int], int] = {}
    over: dict[tuple[int, int], int] = {}
    sure: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for each in records:
        if type(each) is Operation and each.mode == "write":
            asked.update({part.label: part for part in parts(each.op) if isinstance(part, Claim)})
        elif type(each) is ClaimOver:
            ends.setdefault((each.process, each.session, each.claim), each.at_ns)
        elif type(each) is SessionOver:
            over.setdefault((each.process, each.session), each.at_ns)
        elif type(each) is SessionProof:
            sure.setdefault((each.process, each.session), []).append((each.returned_ns, each.until_ns))
    excused: dict[int, int] = {}
    for revision, changes in log.of_claims.items():
        for change in changes:
            op = asked.get(change[2] or b"")
            if op is not None:
                units[change[5]] = 0 if op.shared else op.units
            if change[0] == RELEASED and change[6] in _EXCUSED:
                excused[change[5]] = log.entries[revision].at_ns
    found: list[Belief] = []
    for place, each in enumerate(records):
        if type(each) is not ClaimHeld:
            continue
        session = (each.process, each.session)
        end_ns = min(
            ends.get((*session, each.claim), NEVER_NS),
            over.get(session, NEVER_NS),
            excused.get(each.claim, NEVER_NS),
        )
        for start_ns, until_ns in _stretches(sure.get(session, [])):
            start_ns, stop_ns = max(start_ns, each.at_ns), min(until_ns, end_ns)
            if start_ns < stop_ns:
                found.append(
                    Belief(start_ns, stop_ns, each.claim, each.path, units.get(each.claim, 1), place)
                )
    return found


def _stretches(proofs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """When a client is sure of its session: each proof holds until the next, or until its own end."""
    found: list[tuple[int, int]] = []
    for at, (start_ns, until_ns) in enumerate(proofs):
        next_ns = proofs[at + 1][0] if at + 1 < len(proofs) else NEVER_NS
        if found and found[-1][1] == start_ns:
            found[-1] = (found[-1][0], min(until_ns, next_ns))
        else:
            found.append((start_ns, min(until_ns, next_ns)))
    return found


def _capacities(records: Sequence[Record]) -> dict[str, int]:
    """The greatest that each path ever had."""
    most: dict[str, int] = {}
    for changes in Log(records).of_claims.values():
        for change in changes:
            if change[0] == CONFIGURED:
                most[change[1]] = max(most.get(change[1], 1), change[3])
    return most
