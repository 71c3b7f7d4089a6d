"""Reads of claims: who holds and who waits, and what holds for claims at a path."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from heapq import nsmallest
from typing import TYPE_CHECKING, Any, Final

from coord.api.events import UNTIL_TOLD
from coord.api.ops import CLAIM_INFO, CLAIMS, Row, WatchScope
from coord.api.paths import is_below
from coord.store.candidates import HELD, HELD_BACK
from coord.store.claims import DEFAULT, PATH, SHARED
from coord.store.work import ROW, STAT_ROW

if TYPE_CHECKING:
    from coord.store.store import Store

FENCES_SHOWN: Final = 20


def list_claims(store: "Store", op: Row, page_bytes: int) -> Any:
    """``([(number, path, session, client, token or 0, units, shared, label, since_ms, how many wait before it, how
    many claims of the znode were lost), …], more, incarnation)``, by number. A page ends at its limit, or when its text
    reaches ``page_bytes``.

    A page of a subtree looks at all claims there are, once.
    """
    _, path, scope, session, after, limit = op
    claims = store.claims
    found = nsmallest(limit + 1, _numbers(store, path, scope, session, after or 0))
    store.work.done += STAT_ROW * min(len(found), limit)
    page: list[tuple[Any, ...]] = []
    size = 0
    for number in found[:limit]:
        claim = claims.by_number[number]
        _, at, owner, units, flags, label, since_ms, token = claim
        client = store.sessions[owner].client
        size += 100 + len(at) + len(label) + len(client)
        if size > page_bytes and page:
            return (page, True, store.incarnation)
        before = 0 if token else bisect_left(claims.queue_of(claim), number)
        shared = bool(flags & SHARED)
        lost = claims.lost.get(at, 0)
        page.append((number, at, owner, client, token, units, shared, label, since_ms, before, lost))
    return (page, len(found) > limit, store.incarnation)


def _numbers(store: "Store", path: str, scope: int, session: int | None, after: int) -> Iterator[int]:
    """In any order."""
    claims = store.claims
    znode = scope == WatchScope.ZNODE
    if session is not None:
        among = list(claims.by_session.get(session, ()))
    elif znode:
        among = claims.at(path)
    else:
        among = list(claims.by_number)
    store.work.done += ROW * len(among)
    for number in among:
        at = claims.by_number[number][PATH]
        if number > after and (at == path or (not znode and is_below(at, path))):
            yield number


def claim_info(store: "Store", op: Row, page_bytes: int) -> Any:
    """``(capacity, lock_delay_ms, ms of a delay that are left, holders, waiters, [claim path whose token must be
    presented at path, …], [path that is fenced by a claim of path, …], incarnation, how many claims were lost, for how
    many ms more it is held back (``None``: until it is said otherwise), lanes, of the children [free, held, held back,
    blocked by lanes])``.
    """
    path = op[1]
    claims, fences = store.claims, store.fences
    capacity, lock_delay_ms = claims.settings.get(path, DEFAULT)
    left_ms = max(claims.delays.get(path, 0) - store.time_ms, 0)
    holders = len(claims.held.get(path, ()))
    waiters = claims.count_at(path) - holders
    fenced_by = list(dict.fromkeys(claim for _, claim in fences.above(path)))
    bound = sorted(fences.by_claim.get(path, ()))[:FENCES_SHOWN]
    until_ms = claims.held_back.get(path, 0)
    return (
        capacity,
        lock_delay_ms,
        left_ms,
        holders,
        waiters,
        fenced_by,
        bound,
        store.incarnation,
        claims.lost.get(path, 0),
        # At least 1 while it is held back: its time may be over, and not have been looked at yet.
        None if until_ms == UNTIL_TOLD else until_ms and max(until_ms - store.time_ms, 1),
        claims.lanes.of.get(path, ()),
        _children(store, path),
    )


def _children(store: "Store", path: str) -> tuple[int, int, int, int]:
    if not store.tree.child_count(path):
        return (0, 0, 0, 0)
    children = store.candidates.children(path)
    blocked = children.free.blocked()
    return (children.free.size - blocked, children.counts[HELD], children.counts[HELD_BACK], blocked)


CLAIM_READERS: Final[Mapping[int, Callable[["Store", Row, int], Any]]] = {
    CLAIMS: list_claims,
    CLAIM_INFO: claim_info,
}
"""By op code. The last argument is the bound of a page, in bytes."""
