"""The revision being made."""

from coord.api.events import Change
from coord.limits import StoreLimits
from coord.store.candidates import Candidates
from coord.store.claims import Claims
from coord.store.fences import Fences
from coord.store.tree import Tree


class Draft:
    """What a revision may change, and what it has changed so far."""

    __slots__ = (
        "candidates",
        "changes",
        "claims",
        "fences",
        "freed",
        "incarnation",
        "index",
        "limits",
        "request",
        "revision",
        "session",
        "time_ms",
        "tokens",
        "tree",
        "wall_ms",
    )

    def __init__(self, tree: Tree, claims: Claims, fences: Fences, limits: StoreLimits) -> None:
        self.tree = tree
        self.claims = claims
        self.fences = fences
        self.candidates = Candidates(tree, claims)
        self.limits = limits
        self.changes: list[Change] = []
        self.freed: dict[str, None] = {}
        """Paths where somebody waits who may be granted now; looked at when the revision is made (granting.py)."""
        self.tokens: dict[tuple[int, int], None] = {}
        """``(incarnation, revision)``: presented by the request, for fences."""
        self.incarnation = 1
        self.index = 0
        """Of the entry that asks for it."""
        self.revision = 0
        """The one that the changes will have."""
        self.time_ms = 0
        """Cluster time."""
        self.wall_ms = 0
        self.session = 0
        self.request = 0
