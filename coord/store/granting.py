"""Who is granted what, and when.

When something frees (a release, the withdrawal of the head of a queue, the end of a session, more capacity, a delay
or a holding back that is over, a new child where somebody waits for any child), its path is noted in the draft; when
the revision is made, those who come next are granted, in the very same revision.

When it is made, and not at once: 1. a session holds a znode, and waits for it with another claim, too. 2. The session
ends. Were the znode granted on as the first claim goes, the second would get it, of a session that is no more.

Next is who has waited longest, of those who wait for this znode and those who wait for any child of its parent (these
want a znode that nobody holds). If that one cannot be granted yet, nobody is. Who waits at a parent that is held back
is out of line meanwhile: children can be claimed by their names.

**Lanes** bind znodes together that have nothing else in common, so what frees at one may be another's turn: 1. A holds
/x, B waits for /y, both have a lane of width 1. 2. A releases /x: nothing has freed at /y. So those who are kept back
by lanes alone are not found by their paths but by their lanes (candidates.py): first the freed paths without lanes are
settled, then those with lanes, whoever has waited longest first, wherever it waits. Who waits at a parent is granted
the first of its children, by name, that can be.

Invariant after every entry: at no path can the next be granted, except at those in ``Claims.unsettled``: one revision
grants ``GRANTS_MAX`` claims at most, or its events would not fit into a frame; the next entry goes on. Until then
nobody overtakes those who wait, since a new claim is granted only where nobody waits.
"""

from heapq import heapify, heappop, heapreplace
from itertools import islice
from typing import TYPE_CHECKING, Final

from coord.api.checks import check
from coord.api.events import CLAIMED, RELEASED, WITHDRAWN, Reason
from coord.api.paths import RESERVED, ROOT, join, parent
from coord.limits import GRANTS_MAX
from coord.store.claims import FLAGS, PATH, SHARED, UNITS, Claim, Claims
from coord.store.lanes import NO_LANES
from coord.store.znode import EPHEMERAL, KIND

if TYPE_CHECKING:
    from coord.store.draft import Draft

_REQUEST: Final = int(Reason.REQUEST)
_ZNODE_DELETED: Final = int(Reason.ZNODE_DELETED)
_TRANSFERRED: Final = int(Reason.TRANSFERRED)


def free(draft: "Draft", path: str) -> None:
    """Something freed at ``path``: if anybody waits there, it is looked at when the revision is made."""
    claims = draft.claims
    if path in claims.waiting or path in claims.first or claims.waits_above(path):
        draft.freed[path] = None


def grant(draft: "Draft", claim: Claim, path: str, reason: int = _REQUEST) -> None:
    """``claim`` is held from this revision on, at ``path``: its own, or the child's that it waited for."""
    number, _, session, units, flags, label, _, before = claim
    check(not before, "a claim is granted once", claim)
    draft.claims.put(
        number, (number, path, session, units, flags & SHARED, label, draft.wall_ms, draft.revision)
    )
    if path in draft.claims.lanes.of and reason != _TRANSFERRED:  # what is handed on was paid for
        _pay(draft, path)
    draft.claims.granted += 1
    lost = draft.claims.lost.get(path, 0)
    draft.changes.append((CLAIMED, path, label, lost, session, number, reason))


def _pay(draft: "Draft", path: str) -> None:
    """One more is granted of each rate at ``path``."""
    claims = draft.claims
    for name, _, interval_ms, _ in claims.lanes.of[path]:
        if interval_ms:
            claims.pay(name, max(claims.lanes.paid_ms.get(name, 0), draft.time_ms) + interval_ms)


def end(draft: "Draft", claim: Claim, reason: int) -> None:
    """``claim`` is no more: taken out, and told."""
    number, path, session, _, _, _, _, token = claim
    draft.claims.put(number, None)
    draft.changes.append((RELEASED if token else WITHDRAWN, path, None, token, session, number, reason))


def end_with_znode(draft: "Draft", path: str) -> None:
    """The znode at ``path`` is deleted: its claims, and what was said of them, go with it."""
    claims = draft.claims
    for number in claims.at(path):
        end(draft, claims.by_number[number], _ZNODE_DELETED)
    if path in claims.settings:
        claims.configure(path, None)
    if path in claims.delays:
        claims.delay(path, None)
    if path in claims.held_back:
        claims.hold_back(path, None)
    if path in claims.lanes.of:
        claims.set_lanes(path, NO_LANES)
    if path in claims.lost:
        claims.lose(path, 0)


def next_in_line(draft: "Draft", path: str) -> Claim | None:
    """The claim that is to be granted at ``path`` now; ``None``: there is none, or it cannot be yet."""
    claims = draft.claims
    if claims.is_paused(path):
        return None
    own = claims.waiting.get(path)
    number = own[0] if own else 0
    if path in claims.lanes.of and claims.lanes.full(path) is not None:
        return None
    # Units beyond a capacity that was lowered block the znode for all, also for those who came before them and wait for
    # any child. 1. A waits for any, B for this one, with 3 units; the capacity is lowered to 1. 2. The parent is held
    # back; this one is released. 3. The holding back is over: it would be A's turn here, and nobody looks.
    if own and not _fits(claims, path, number):
        return None
    if claims.first and path not in claims.held and path not in (ROOT, RESERVED) and claims.waits_above(path):
        above = claims.first.get(parent(path))
        if above and (not number or above[0] < number):
            znode = draft.tree.znodes.get(path)
            if znode is not None and znode[KIND] != EPHEMERAL:
                number = above[0]
    if not number:
        return None
    return claims.by_number[number] if _fits(claims, path, number) else None


def _fits(claims: Claims, path: str, number: int) -> bool:
    claim = claims.by_number[number]
    return claims.fits(path, claim[UNITS], claim[FLAGS] & SHARED)


def settle(draft: "Draft") -> None:
    """Grant those who come next at the paths in ``freed`` and ``unsettled``, and those whose lanes have room; up to
    ``GRANTS_MAX``.
    """
    claims = draft.claims
    unsettled = claims.unsettled
    unsettled.update(draft.freed)
    draft.freed.clear()
    parents = draft.candidates.take_opened()
    left = GRANTS_MAX
    for path in list(islice(unsettled, GRANTS_MAX)):
        if path in claims.first:
            parents[path] = None
        if path in claims.lanes.of:
            if claims.waits_above(path):
                parents[parent(path)] = None
        else:
            while left and (claim := next_in_line(draft, path)) is not None:
                grant(draft, claim, path)
                left -= 1
            if not left and next_in_line(draft, path) is not None:
                break
        del unsettled[path]
    if parents or draft.candidates.due:
        _settle_by_turn(draft, parents, left)


def _settle_by_turn(draft: "Draft", parents: dict[str, None], left: int) -> None:
    """Grant those who wait for lanes, and those who wait for any child of ``parents``: who has waited longest first.

    Each grant may leave a lane without room, so each asks anew who can be granted.
    """
    claims, candidates = draft.claims, draft.candidates
    turns = [(claims.first[each][0], each) for each in parents if _has_turn(draft, each)]
    heapify(turns)
    while True:
        while turns and not _has_turn(draft, turns[0][1]):
            heappop(turns)
        if turns and claims.first[turns[0][1]][0] != turns[0][0]:
            heapreplace(turns, (claims.first[turns[0][1]][0], turns[0][1]))
            continue
        queued = candidates.next_queued()
        if not turns and not queued:
            return
        if not left:
            # Only what has a turn in truth: which parents were looked at depends on a replica's past.
            having = [each for _, each in turns if _has_turn(draft, each)]
            for each in sorted(having, key=lambda each: claims.first[each][0]):
                claims.unsettled[each] = None
            if queued:
                claims.unsettled[claims.by_number[queued][PATH]] = None
            return
        if turns and (not queued or turns[0][0] < queued):
            number, above = turns[0]
            name = candidates.children(above).free.first
            check(name is not None, "who has a turn has a child to claim", above)
            grant(draft, claims.by_number[number], join(above, name or ""))
        else:
            path = claims.by_number[queued][PATH]
            claim = next_in_line(draft, path)
            check(claim is not None, "who waits for lanes alone can be granted once they have room", path)
            if claim is not None:
                grant(draft, claim, path)
        left -= 1


def _has_turn(draft: "Draft", above: str) -> bool:
    """Whether somebody who waits for any child of ``above`` can be granted one."""
    claims = draft.claims
    if above not in claims.first or above in claims.held_back:
        return False
    return draft.candidates.children(above).free.first is not None
