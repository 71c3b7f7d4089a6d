"""Fences: subtrees whose writes must present the token of a claim, whoever sends them.

A fence is about paths, not about znodes: it stays when the znode at its path goes, and can be there before it. Were it
to go with its znode: 1. a holder is paused. 2. its successor deletes the subtree, to make it anew. 3. the old holder
wakes up, and its create (with parents) meets no fence.

What the service does itself (the ends of sessions and TTLs, containers that are left empty) is not fenced, and neither
are claims: they decide who may write, and are no writes. A claim that makes its znode is let through by fences that are
bound to this very claim: nobody could ever be the first to hold it.
"""

from typing import TYPE_CHECKING

from coord.api.errors import StaleToken
from coord.api.paths import ancestors, is_below, shown
from coord.store.claims import Journal

if TYPE_CHECKING:
    from coord.store.draft import Draft


class Fences:
    """All fences, by the paths that they fence and by the claims that they are bound to."""

    __slots__ = ("by_claim", "by_path", "undo")

    def __init__(self) -> None:
        self.by_path: dict[str, str] = {}
        self.by_claim: dict[str, dict[str, None]] = {}
        self.undo: Journal | None = None

    def put(self, path: str, claim: str | None) -> None:
        """The fence at ``path`` is bound to ``claim`` from now on; ``None``: there is none."""
        before = self.by_path.pop(path, None)
        if self.undo is not None:
            self.undo.append((self.put, path, before))
        if before is not None:
            bound = self.by_claim[before]
            del bound[path]
            if not bound:
                del self.by_claim[before]
        if claim is not None:
            self.by_path[path] = claim
            self.by_claim.setdefault(claim, {})[path] = None

    def above(self, path: str) -> list[tuple[str, str]]:
        """``(fence, claim)`` of those at ``path`` and above it, nearest first."""
        found = []
        for each in (path, *ancestors(path)):
            claim = self.by_path.get(each)
            if claim is not None:
                found.append((each, claim))
        return found


def check_fences(draft: "Draft", path: str, claiming: bool = False) -> None:
    """Raise :class:`StaleToken` (refused) unless the tokens presented satisfy every fence at ``path`` and above it.

    ``claiming``: what is to be written is the znode of a claim at ``path``.
    """
    for fence, claim in draft.fences.above(path):
        if not (claiming and claim == path):
            _check_token(draft, path, fence, claim)


def check_fences_below(draft: "Draft", path: str) -> None:
    """As :func:`check_fences`, for the fences of what goes with a subtree."""
    by_path, znodes = draft.fences.by_path, draft.tree.znodes
    for fence in sorted(by_path):
        if is_below(fence, path) and fence in znodes:
            _check_token(draft, path, fence, by_path[fence])


def _check_token(draft: "Draft", path: str, fence: str, claim: str) -> None:
    held = draft.claims.held.get(claim, {})
    tokens, incarnation = draft.tokens, draft.incarnation
    if tokens and any((incarnation, token) in tokens for token in held.values()):
        return
    current = max(held.values(), default=0)
    state = f"which is held with the token ({incarnation}, {current})" if current else "which nobody holds"
    how = "none of the tokens presented is current" if tokens else "no token was presented"
    raise StaleToken(
        f"{shown(path)} is fenced at {shown(fence)} by the claim of {shown(claim)}, {state}: {how}",
        {"path": path, "fence": fence, "claim": claim, "token": current, "incarnation": incarnation},
    )
