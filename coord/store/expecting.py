"""How much work a frame of writes will be, before it is applied: about, and mostly not less.

Whoever passes it on goes by that, to have no more on its way than is done in good time. Nothing else depends on it.
What a deletion takes is looked at in the tree as it is now, and may be another by then.
"""

from collections.abc import Sequence
from typing import Final

from coord.api.commands import Request
from coord.api.ops import CLAIM_FIRST, DELETE, FENCED_WRITE, LIST, MULTI, DeleteFlag, Row
from coord.limits import StoreLimits
from coord.store.tree import Tree
from coord.store.work import CLAIM, REQUEST, ROW, STAT_ROW, ZNODE

_USUAL: Final = REQUEST + 2 * ZNODE
"""A znode, and its parent."""
_LARGE: Final = (DELETE, MULTI, CLAIM_FIRST, FENCED_WRITE, LIST)
"""What may be larger."""
_LOOKED_AT: Final = 64
"""Of a subtree, so many znodes; one that is larger is taken for the largest that can be deleted."""


def expected_work(requests: Sequence[Request], tree: Tree, limits: StoreLimits, enough: int) -> int:
    """Once it is ``enough``, no more is looked at."""
    work = _USUAL * len(requests)
    for _, op in requests:
        if op[0] in _LARGE and work < enough:
            work += _beyond_usual(op, tree, limits)
    return work


def _beyond_usual(op: Row, tree: Tree, limits: StoreLimits) -> int:
    code = op[0]
    work = 0
    if code == MULTI:
        _, compare, then, otherwise = op
        work = ROW * len(compare)
        for branch in (then, otherwise):
            work += _USUAL * len(branch)
            for each in branch:
                if each[0] in _LARGE:
                    work += _beyond_usual(each, tree, limits)
    elif code == FENCED_WRITE:
        work = _beyond_usual(op[2], tree, limits)
    elif code == CLAIM_FIRST:
        work = (REQUEST + CLAIM) * min(op[2], tree.child_count(op[1]))
    elif code == LIST:
        _, path, flags, limit, _ = op
        work = (STAT_ROW if flags else ROW) * min(limit, tree.child_count(path))
    elif code == DELETE and op[4] & DeleteFlag.SUBTREE and tree.child_count(op[1]):
        found = tree.subtree(op[1], _LOOKED_AT)
        work = (ROW + 2 * ZNODE) * (limits.changes_per_request if found is None else len(found))
    return work
