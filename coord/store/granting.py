"""Who is granted what, and when.

When something frees (a release, the withdrawal of the head of a queue, the end of a session, more capacity, a delay
that is over, a new child where somebody waits for any child), its path is noted in the draft; when the revision is
made, those who come next are granted, in the very same revision.

When it is made, and not at once: 1. a session holds a znode, and waits for it with another claim, too. 2. The session
ends. Were the znode granted on as the first claim goes, the second would get it, of a session that is no more.

Next is who has waited longest, of those who wait for this znode and those who wait for any child of its parent (these
want a znode that nobody holds). If that one cannot be granted yet, nobody is.

Invariant after every entry: at no path can the next be granted, except at those in ``Claims.unsettled``: one revision
grants ``GRANTS_MAX`` claims at most, or its events would not fit into a frame; the next entry goes on. Until then
nobody overtakes those who wait, since a new claim is granted only where nobody waits.
"""

from itertools import islice
from typing import TYPE_CHECKING, Final

from coord.api.checks import check
from coord.api.events import CLAIMED, RELEASED, WITHDRAWN, Reason
from coord.api.paths import ROOT, parent
from coord.limits import GRANTS_MAX
from coord.store.claims import FLAGS, SHARED, UNITS, Claim
from coord.store.znode import EPHEMERAL, KIND

if TYPE_CHECKING:
    from coord.store.draft import Draft

_REQUEST: Final = int(Reason.REQUEST)
_ZNODE_DELETED: Final = int(Reason.ZNODE_DELETED)


def free(draft: "Draft", path: str) -> None:
    """Something freed at ``path``: if anybody waits there, it is looked at when the revision is made."""
    claims = draft.claims
    if path in claims.waiting or claims.waits_above(path):
        draft.freed[path] = None


def grant(draft: "Draft", claim: Claim, path: str, reason: int = _REQUEST) -> None:
    """``claim`` is held from this revision on, at ``path``: its own, or the child's that it waited for."""
    number, _, session, units, flags, label, _, before = claim
    check(not before, "a claim is granted once", claim)
    draft.claims.put(
        number, (number, path, session, units, flags & SHARED, label, draft.wall_ms, draft.revision)
    )
    draft.changes.append((CLAIMED, path, label, 0, session, number, reason))


def end(draft: "Draft", claim: Claim, reason: int) -> None:
    """``claim`` is no more: taken out, and told."""
    number, path, session, _, _, _, _, token = claim
    draft.claims.put(number, None)
    draft.changes.append((RELEASED if token else WITHDRAWN, path, None, token, session, number, reason))


def end_with_znode(draft: "Draft", path: str) -> None:
    """The znode at ``path`` is deleted: its claims and their settings go with it."""
    claims = draft.claims
    for number in claims.at(path):
        end(draft, claims.by_number[number], _ZNODE_DELETED)
    if path in claims.settings:
        claims.configure(path, None)
    if path in claims.delays:
        claims.delay(path, None)


def next_in_line(draft: "Draft", path: str) -> Claim | None:
    """The claim that is to be granted at ``path`` now; ``None``: there is none, or it cannot be yet."""
    claims = draft.claims
    if path in claims.delays:
        return None
    own = claims.waiting.get(path)
    number = own[0] if own else 0
    if claims.first and path not in claims.held and path != ROOT:
        above = claims.first.get(parent(path))
        if above and (not number or above[0] < number):
            znode = draft.tree.znodes.get(path)
            if znode is not None and znode[KIND] != EPHEMERAL:
                number = above[0]
    if not number:
        return None
    claim = claims.by_number[number]
    return claim if claims.fits(path, claim[UNITS], claim[FLAGS] & SHARED) else None


def settle(draft: "Draft") -> None:
    """Grant those who come next at the paths in ``freed`` and ``unsettled``, up to ``GRANTS_MAX``."""
    unsettled = draft.claims.unsettled
    unsettled.update(draft.freed)
    draft.freed.clear()
    left = GRANTS_MAX
    for path in list(islice(unsettled, GRANTS_MAX)):
        while (claim := next_in_line(draft, path)) is not None:
            if not left:
                return
            grant(draft, claim, path)
            left -= 1
        del unsettled[path]
