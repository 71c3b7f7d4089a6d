"""The ops of claims and fences: each function is one op, as in writes.py.

Claims are not fenced: they decide who may write. Making the znode of a claim is a write like any other, but for fences
that are bound to this very claim.
"""

from typing import Any, Final

from coord.api.errors import Claimed, Conflict, NotAllowed, NotFound, NotHeld
from coord.api.events import CONFIGURED, FENCED, HELD_BACK, LANES_SET, QUEUED, UNTIL_TOLD, Reason
from coord.api.ops import CREATE, ClaimFirstFlag, ClaimFlag, CreateFlag, ReleaseFlag, Row
from coord.api.paths import is_reserved, join, shown
from coord.store.claims import DEFAULT, FIRST, FLAGS, PATH, SESSION, SHARED, TOKEN, UNITS, Claim
from coord.store.draft import Draft
from coord.store.fences import check_fences
from coord.store.granting import end, free, grant
from coord.store.reads import find, missing
from coord.store.writes import leave, leave_container, limit_exceeded, make
from coord.store.znode import CONTAINER, EPHEMERAL, KIND, VALUE

_REQUEST: Final = int(Reason.REQUEST)
_FORCED: Final = int(Reason.FORCED)
_TRANSFERRED: Final = int(Reason.TRANSFERRED)


def claim(draft: Draft, op: Row) -> Any:
    """Result: ``(number, token or 0 while it waits, how many wait before it, incarnation, how many were lost)``."""
    _, path, flags, units, label, *expected = op
    claims = draft.claims
    there = path in draft.tree.znodes
    capacity = expected[0] if expected and expected[0] else claims.capacity(path)
    if there:
        _check_claimable(draft, path)
        if capacity != claims.capacity(path):
            raise _other_capacity(draft, path, capacity)
    elif not flags & ClaimFlag.CREATE:
        raise NotFound(f"{missing(draft.tree, path)}; the flag 'create' makes it", {"path": path})
    elif draft.fences.by_path:
        check_fences(draft, path, claiming=True)
    _check_bounds(draft, label)
    shared = SHARED if flags & ClaimFlag.SHARED else 0
    if not shared and units > capacity:
        raise limit_exceeded("capacity", capacity, f"units of {shown(path)}")
    at_once = claims.is_free(path, units, shared) if there else not claims.waits_above(path)
    before = 0
    if not at_once:
        if not flags & ClaimFlag.WAIT:
            raise _claimed(draft, path)
        before = len(claims.waiting.get(path, ()))
        if before >= draft.limits.waiters_per_znode:
            raise limit_exceeded(
                "waiters_per_znode", draft.limits.waiters_per_znode, f"waiters at {shown(path)}"
            )
    if not there:
        parents = CreateFlag.PARENTS if flags & ClaimFlag.PARENTS else 0
        make(draft, [CREATE, path, b"", CONTAINER, parents, 0])
        if capacity != claims.capacity(path):
            _configure(draft, path, (capacity, 0))
    made = _new(draft, path, units, shared, label)
    if at_once:
        grant(draft, made, path)
    else:
        _queue(draft, made)
    return (
        made[0],
        draft.revision if at_once else 0,
        before,
        draft.incarnation,
        claims.lost.get(path, 0),
    )


def claim_first(draft: Draft, op: Row) -> Any:
    """Result: ``(number of the claim that waits or 0, [(number, name, value or None, how many were lost), …],
    incarnation)``.

    Where somebody waits for any child already, nothing is looked at: no child is free, or those that are, are theirs.
    """
    _, above, count, flags, label = op
    claims, tree, limits = draft.claims, draft.tree, draft.limits
    find(tree, above)
    _check_claimable(draft, above)
    _check_bounds(draft, label)
    found: list[tuple[int, str, bytes | None, int]] = []
    if above not in claims.first and above not in claims.held_back:
        mine = len(claims.by_session.get(draft.session, ()))
        room = min(
            count,
            limits.claims_per_session - mine,
            limits.claims - len(claims.by_number),
            limits.changes_per_request,
        )
        room_bytes = limits.multi_reply_bytes
        free = draft.candidates.children(above).free
        while len(found) < room and (name := free.first) is not None:
            path = join(above, name)
            value: bytes | None = None
            if flags & ClaimFirstFlag.VALUES:
                value = tree.znodes[path][VALUE]
                room_bytes -= len(value)
                if room_bytes < 0 and found:
                    break  # the reply is kept on every replica
            made = _new(draft, path, 1, 0, label)
            grant(draft, made, path)
            found.append((made[0], name, value, claims.lost.get(path, 0)))
    waits = 0
    if not found and flags & ClaimFirstFlag.WAIT:
        if len(claims.first.get(above, ())) >= limits.waiters_per_znode:
            raise limit_exceeded("waiters_per_znode", limits.waiters_per_znode, f"waiters at {shown(above)}")
        made = _new(draft, above, 1, FIRST, label)
        _queue(draft, made)
        waits = made[0]
    return (waits, found, draft.incarnation)


def release(draft: Draft, op: Row) -> Any:
    """Result: the token that the claim had; 0: it was waiting."""
    _, number, to, flags = op
    claims = draft.claims
    mine = claims.by_number.get(number)
    if mine is None or (mine[SESSION] != draft.session and not flags & ReleaseFlag.FORCE):
        raise NotHeld(f"claim {number} is not, or is no longer, this session's", {"number": number})
    path = mine[PATH]
    if to:
        other = _successor(draft, mine, to)
        end(draft, mine, _TRANSFERRED)
        _lose_if_forced(draft, mine)
        grant(draft, other, path, _TRANSFERRED)
    else:
        end(draft, mine, _REQUEST if mine[SESSION] == draft.session else _FORCED)
        _lose_if_forced(draft, mine)
        leave(draft, path)
    free(draft, path)
    return mine[TOKEN]


def _lose_if_forced(draft: Draft, mine: Claim) -> None:
    if mine[TOKEN] and mine[SESSION] != draft.session:
        draft.claims.lose(mine[PATH])


def claim_settings(draft: Draft, op: Row) -> Any:
    """Result: nothing."""
    _, path, capacity, lock_delay_ms = op
    claims = draft.claims
    znode = find(draft.tree, path)
    _check_claimable(draft, path)
    before = claims.settings.get(path, DEFAULT)
    _configure(draft, path, (capacity, lock_delay_ms))
    until_ms = claims.delays.get(path)
    if until_ms is not None and (not lock_delay_ms or until_ms > draft.time_ms + lock_delay_ms):
        # A delay that runs is never longer than a new one would be: whoever sets it to 0 wants to go on. Also if its
        # time is over, and was not looked at yet: in a snapshot a delay stands beside its settings, and one without
        # any would be on the replicas that lived through it only.
        claims.delay(path, draft.time_ms + lock_delay_ms if lock_delay_ms else None)
    free(draft, path)
    if before != DEFAULT and znode[KIND] == CONTAINER:
        leave(draft, path)


def hold_back(draft: Draft, op: Row) -> Any:
    """Result: nothing. How long a TTL znode lives is another matter: a task that must have begun by then, and may begin
    from a time on, is both.
    """
    _, path, delay_ms = op
    claims = draft.claims
    znode = find(draft.tree, path)
    _check_claimable(draft, path)
    if delay_ms is None:
        until_ms = told = UNTIL_TOLD
    else:
        until_ms, told = draft.time_ms + delay_ms, delay_ms
    claims.hold_back(path, until_ms if told else None)
    draft.changes.append((HELD_BACK, path, None, told, draft.session, draft.request, _REQUEST))
    if not told:
        free(draft, path)
        leave_container(draft, path, znode)


def lanes(draft: Draft, op: Row) -> Any:
    """Result: nothing."""
    _, path, rows = op
    claims = draft.claims
    znode = find(draft.tree, path)
    _check_claimable(draft, path)
    claims.set_lanes(path, tuple([(name, width, every_ms, burst) for name, width, every_ms, burst in rows]))
    draft.changes.append((LANES_SET, path, None, len(rows), draft.session, draft.request, _REQUEST))
    free(draft, path)
    leave_container(draft, path, znode)


def fence(draft: Draft, op: Row) -> Any:
    """Result: nothing."""
    _, path, claim_path = op
    fences = draft.fences
    if is_reserved(path) or is_reserved(claim_path or path):  # nobody could ever hold such a claim
        raise NotAllowed(f"{shown(path)} or its claim is in the service's own subtree")
    check_fences(draft, path)
    if path not in fences.by_path:
        if claim_path is None:
            raise NotFound(f"there is no fence at {shown(path)}", {"path": path})
        if len(fences.by_path) >= draft.limits.fences:
            raise limit_exceeded("fences", draft.limits.fences, "fences")
    fences.put(path, claim_path)
    told = None if claim_path is None else claim_path.encode()
    draft.changes.append((FENCED, path, told, 0, draft.session, draft.request, _REQUEST))


def end_claims(draft: Draft, session: int, reason: int) -> None:
    """The session ends, and all its claims with it; those who wait are granted when the revision is made."""
    claims = draft.claims
    expired = reason == Reason.SESSION_EXPIRED
    for number in sorted(claims.by_session.get(session, ())):
        mine = claims.by_number[number]
        path = mine[PATH]
        lock_delay_ms = claims.settings.get(path, DEFAULT)[1]
        if expired and mine[TOKEN] and lock_delay_ms:
            # Its holder may be awake, and not know yet: give it time, where the resource cannot check tokens.
            claims.delay(path, draft.time_ms + lock_delay_ms)
        end(draft, mine, reason)
        if mine[TOKEN]:
            claims.lose(path)
        leave(draft, path)
        free(draft, path)


def _new(draft: Draft, path: str, units: int, flags: int, label: bytes) -> Claim:
    """The next claim of this session; it waits, until it is granted."""
    claims = draft.claims
    number = claims.next_claim
    claims.next_claim = number + 1
    return (number, path, draft.session, units, flags, label, draft.wall_ms, 0)


def _queue(draft: Draft, made: Claim) -> None:
    number, path, session, _, _, label, _, _ = made
    draft.claims.put(number, made)
    draft.changes.append((QUEUED, path, label, 0, session, number, _REQUEST))
    free(draft, path)  # a new znode may have been made for it that somebody else waits for


def _successor(draft: Draft, mine: Claim, to: int) -> Claim:
    """The claim that is to be granted in the stead of ``mine``, which is held."""
    claims, path = draft.claims, mine[PATH]
    other = claims.by_number.get(to)
    if not mine[TOKEN]:
        raise Conflict(f"claim {mine[0]} is not held: there is nothing to hand on", {"path": path})
    if other is None or other[TOKEN] or other[PATH] != path or other[FLAGS] & FIRST:
        raise Conflict(f"claim {to} does not wait for {shown(path)}", {"path": path})
    shared, mine_shared = other[FLAGS] & SHARED, mine[FLAGS] & SHARED
    alone = len(claims.held[path]) == 1
    if shared or mine_shared:
        fits = alone or (shared and mine_shared)
    else:
        # Never more than is handed on, unless there is room, and no delay says that what looks free may not be.
        room = 0 if claims.is_paused(path) else max(claims.capacity(path) - claims.used[path], 0)
        fits = other[UNITS] <= mine[UNITS] + room
    if not fits:
        raise Conflict(f"claim {to} does not fit where claim {mine[0]} goes", {"path": path})
    return other


def _check_claimable(draft: Draft, path: str) -> None:
    """An ephemeral cannot be claimed: the end of one session would end any number of claims of others, in its one
    revision.
    """
    if is_reserved(path):
        raise NotAllowed(f"{shown(path)} is in the service's own subtree")
    if draft.tree.znodes[path][KIND] == EPHEMERAL:
        raise NotAllowed(f"{shown(path)} is ephemeral: it cannot be claimed", {"path": path})


def _check_bounds(draft: Draft, label: bytes) -> None:
    """Whether this session may have one claim more, with that label."""
    limits, claims = draft.limits, draft.claims
    if len(label) > limits.label_bytes:
        raise limit_exceeded("label_bytes", limits.label_bytes, "bytes in a label")
    if len(claims.by_session.get(draft.session, ())) >= limits.claims_per_session:
        raise limit_exceeded("claims_per_session", limits.claims_per_session, "claims of one session")
    if len(claims.by_number) >= limits.claims:
        raise limit_exceeded("claims", limits.claims, "claims")


def _configure(draft: Draft, path: str, settings: tuple[int, int]) -> None:
    draft.claims.configure(path, settings)
    draft.changes.append((CONFIGURED, path, None, settings[0], draft.session, draft.request, _REQUEST))


def _other_capacity(draft: Draft, path: str, expected: int) -> Conflict:
    actual = draft.claims.capacity(path)
    return Conflict(
        f"claims at {shown(path)} have a capacity of {actual}, and not of {expected}, as this one expects; take "
        "another path, or change it (claim_settings)",
        {"path": path, "capacity": actual},
    )


def _claimed(draft: Draft, path: str) -> Claimed:
    claims = draft.claims
    held = claims.held.get(path)
    if not held:
        lane = claims.lanes.full(path)
        if path in claims.delays:
            why = "a lock delay runs"
        elif path in claims.held_back:
            why = "it is held back"
        elif path not in claims.waiting and lane is not None:
            why = f"its lane {lane[0]!r:.80} has no room"
        else:
            why = "others wait for it"
        return Claimed(f"{shown(path)} is not held, but {why}", {"path": path, "session": 0, "token": 0})
    holder = claims.by_number[min(held)]
    return Claimed(
        f"{shown(path)} is held by session {holder[SESSION]}, with the token {holder[TOKEN]}",
        {"path": path, "session": holder[SESSION], "token": holder[TOKEN]},
    )
