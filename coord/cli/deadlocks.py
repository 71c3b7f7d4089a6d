"""Who waits for whom over claims, and where that goes round in a circle. Pure: from a listing of claims to facts."""

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from coord.api.results import ClaimRow


class Wait(NamedTuple):
    """One session waits for another: ``waiter``'s claim is not granted before ``blocker``'s is given up."""

    waiter: ClaimRow
    blocker: ClaimRow


def waits(claims: Iterable[ClaimRow]) -> list[Wait]:
    """Who waits for whom, by number.

    The first in line at a path waits for those who hold it (if it shares, only for those who do not); everybody else
    for the one before him, since nobody passes: so through him for the holders, too. Of a path that has a capacity for
    many, the first may not need all of its holders to leave. Two claims of one session at one path are no wait:
    its tasks take turns.
    """
    held: dict[str, list[ClaimRow]] = {}
    waiting: dict[str, list[ClaimRow]] = {}
    for claim in claims:
        (waiting if claim.token is None else held).setdefault(claim.path, []).append(claim)
    found = []
    for path, line in waiting.items():
        line.sort(key=lambda claim: (claim.before, claim.number))
        first = line[0]
        found += [
            Wait(first, holder) for holder in held.get(path, ()) if not (first.shared and holder.shared)
        ]
        found += [Wait(claim, before) for before, claim in pairwise(line)]
    return sorted(
        (wait for wait in found if wait.waiter.session != wait.blocker.session),
        key=lambda wait: (wait.waiter.number, wait.blocker.number),
    )


def cycles(all_waits: Iterable[Wait]) -> list[list[Wait]]:
    """Circles of sessions that wait for each other, so that each session is in one of them at most.

    Whoever waits for nobody will go on some day, and for him nobody is stuck for ever. Without those, and without
    those whom only such waited for, again and again, what is left waits for somebody who is left, too: so
    going along the waits from anywhere comes round.
    """
    by_waiter: dict[int, list[Wait]] = {}
    for wait in all_waits:
        by_waiter.setdefault(wait.waiter.session, []).append(wait)
    found = []
    while _without_ends(by_waiter):
        trail: list[Wait] = []
        places: dict[int, int] = {}
        session = min(by_waiter)
        while session not in places:
            places[session] = len(trail)
            trail.append(by_waiter[session][0])
            session = trail[-1].blocker.session
        circle = trail[places[session] :]
        found.append(circle)
        for wait in circle:
            del by_waiter[wait.waiter.session]
    return found


def _without_ends(by_waiter: dict[int, list[Wait]]) -> bool:
    """Drop those that wait for nobody who waits, until there are none; says whether anybody is left."""
    again = True
    while again:
        again = False
        for session in list(by_waiter):
            left = [wait for wait in by_waiter[session] if wait.blocker.session in by_waiter]
            if left:
                by_waiter[session] = left
            else:
                del by_waiter[session]
                again = True
    return bool(by_waiter)


def still_there(circles: Iterable[list[Wait]], later: Iterable[ClaimRow]) -> list[list[Wait]]:
    """Those circles all of whose claims are as they were in a later listing.

    The pages of one listing are read at different revisions, and may show what never was at one time. But a claim that
    waits now, and waits later, has waited in between (none goes back to waiting), and likewise one that is held: so
    what two listings both show was so, all of it, between them. And a deadlock stays.
    """
    states = {claim.number: claim.token for claim in later}

    def is_there(claim: ClaimRow) -> bool:
        return claim.number in states and states[claim.number] == claim.token

    return [circle for circle in circles if all(is_there(claim) for wait in circle for claim in wait)]
