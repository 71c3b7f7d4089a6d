"""Ops made of ops: the multi, and the write that presents tokens; and the table of all that goes through the log."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from coord.api.checks import check
from coord.api.errors import CoordError
from coord.api.events import CLAIMED
from coord.api.ops import (
    CLAIM,
    CLAIM_FIRST,
    CLAIM_SETTINGS,
    CREATE,
    DELETE,
    FENCE,
    FENCED_WRITE,
    HOLD_BACK,
    LANES,
    MULTI,
    RELEASE,
    ROTATE_TOKEN_KEYS,
    SET,
    Operator,
    Row,
    Target,
)
from coord.store.claiming import claim, claim_first, claim_settings, fence, hold_back, lanes, release
from coord.store.claims import SESSION, Claims, Journal
from coord.store.draft import Draft
from coord.store.reads import READERS
from coord.store.sessions import weight
from coord.store.token_keys import rotate_token_keys
from coord.store.tree import Undo
from coord.store.work import ROW
from coord.store.writes import create, delete, limit_exceeded, set_value
from coord.store.znode import CHILDREN_REVISION, CREATED_REVISION, MODIFIED_REVISION, VALUE, VERSION


def multi(draft: Draft, op: Row) -> Any:
    """Result: ``(succeeded, [result, …])``. All ops of a branch, or none."""
    tree, claims, fences, limits = draft.tree, draft.claims, draft.fences, draft.limits
    size = _size(op)
    if size > limits.multi_ops:
        raise limit_exceeded("multi_ops", limits.multi_ops, "comparisons and ops of one multi")
    tree.work.done += ROW * size
    undo: Undo = []
    tree.undo = undo
    journal: Journal = []
    claims.undo = fences.undo = journal
    next_claim = claims.next_claim
    reached: list[int] = []
    try:
        result, _ = _branch(draft, op, limits.multi_reply_bytes, reached)
    except CoordError as error:
        tree.undo_all(undo)
        fences.undo = None
        claims.undo_all(journal, next_claim)
        draft.freed.clear()
        claims.granted -= sum([change[0] == CLAIMED for change in draft.changes])
        draft.changes.clear()
        error.details = {**error.details, "position": reached[0]}
        if len(reached) > 1:
            error.details["positions"] = reached
        raise
    finally:
        tree.undo = claims.undo = fences.undo = None
    return result


def _branch(draft: Draft, op: Row, room_bytes: int, reached: list[int]) -> tuple[Any, int]:
    """Do what a multi says, and those in its branch: ``((succeeded, [result, …]), how many bytes may be read still)``.

    ``reached``: the place of the op under way, in each level's branch, the outermost first.
    """
    _, compare, then, otherwise = op
    limits = draft.limits
    succeeded = all(_holds(draft, *each) for each in compare)
    results: list[Any] = []
    reached.append(0)
    level = len(reached)
    for each in then if succeeded else otherwise:
        reached[level - 1] = len(results)
        reader = READERS.get(each[0])
        if reader is not None:
            result = reader(draft.tree, each, room_bytes)
            room_bytes -= weight(result)
            if room_bytes < 0:
                raise limit_exceeded("multi_reply_bytes", limits.multi_reply_bytes, "bytes read in one multi")
        elif each[0] == MULTI:
            result, room_bytes = _branch(draft, each, room_bytes, reached)
        else:
            result = WRITERS[each[0]](draft, each)
            if len(draft.changes) > limits.changes_per_request:
                raise limit_exceeded(
                    "changes_per_request", limits.changes_per_request, "changes of one request"
                )
        results.append(result)
    reached.pop()
    return (succeeded, results), room_bytes


def _size(op: Row) -> int:
    """How many comparisons and ops a multi has, on all levels and in both branches."""
    _, compare, then, otherwise = op
    within = sum([_size(each) for branch in (then, otherwise) for each in branch if each[0] == MULTI])
    return len(compare) + len(then) + len(otherwise) + within


def fenced_write(draft: Draft, op: Row) -> Any:
    """Result: that of the op which it wraps, done with its tokens presented."""
    _, tokens, inner = op
    check(inner[0] in _FENCEABLE, "what presents tokens was validated", inner[0])
    draft.tokens = dict.fromkeys([(incarnation, revision) for incarnation, revision in tokens])
    try:
        return HANDLERS[inner[0]](draft, inner)
    finally:
        draft.tokens = {}


WRITERS: Final[Mapping[int, Callable[[Draft, Row], Any]]] = {
    CREATE: create,
    SET: set_value,
    DELETE: delete,
    CLAIM: claim,
    RELEASE: release,
    CLAIM_SETTINGS: claim_settings,
    HOLD_BACK: hold_back,
    LANES: lanes,
    FENCE: fence,
}
"""By op code: what may stand in a multi's branch, besides reads and multis."""

HANDLERS: Final[Mapping[int, Callable[[Draft, Row], Any]]] = {
    **WRITERS,
    MULTI: multi,
    CLAIM_FIRST: claim_first,
    FENCED_WRITE: fenced_write,
    ROTATE_TOKEN_KEYS: rotate_token_keys,
}
"""By op code: every op that goes through the log."""

_FENCEABLE: Final = (CREATE, SET, DELETE, MULTI, FENCE)

# As plain numbers: an enum's member is looked up in its class each time, and there may be thousands of comparisons.
_VALUE: Final = int(Target.VALUE)
_VERSION: Final = int(Target.VERSION)
_CREATED: Final = int(Target.CREATED_REVISION)
_MODIFIED: Final = int(Target.MODIFIED_REVISION)
_EXISTS: Final = int(Target.EXISTS)
_CHILD_COUNT: Final = int(Target.CHILD_COUNT)
_CHILDREN: Final = int(Target.CHILDREN_REVISION)
_CLAIM_TOKEN: Final = int(Target.CLAIM_TOKEN)
_CLAIM_HOLDER: Final = int(Target.CLAIM_HOLDER)
_CLAIM_COUNT: Final = int(Target.CLAIM_COUNT)
_EQUAL: Final = int(Operator.EQUAL)
_NOT_EQUAL: Final = int(Operator.NOT_EQUAL)
_LESS: Final = int(Operator.LESS)
_LESS_OR_EQUAL: Final = int(Operator.LESS_OR_EQUAL)
_GREATER: Final = int(Operator.GREATER)
_GREATER_OR_EQUAL: Final = int(Operator.GREATER_OR_EQUAL)


def _holds(draft: Draft, target: int, path: str, operator: int, operand: Any) -> bool:
    """Whether one comparison holds. Of a znode that is not there, only ``EXISTS`` can be compared."""
    tree = draft.tree
    znode = tree.znodes.get(path)
    if target == _EXISTS:
        equal: bool = (znode is not None) == operand
        return equal if operator == _EQUAL else not equal
    if znode is None:
        return False
    actual: Any
    if target == _VALUE:
        actual = znode[VALUE]
    elif target == _VERSION:
        actual = znode[VERSION]
    elif target == _CREATED:
        actual = znode[CREATED_REVISION]
    elif target == _MODIFIED:
        actual = znode[MODIFIED_REVISION]
    elif target == _CHILDREN:
        actual = znode[CHILDREN_REVISION]
    elif target == _CHILD_COUNT:
        actual = tree.child_count(path)
    else:
        actual = _of_claims(draft.claims, target, path)
    if operator == _EQUAL:
        return bool(actual == operand)
    if operator == _NOT_EQUAL:
        return bool(actual != operand)
    if operator == _LESS:
        return bool(actual < operand)
    if operator == _LESS_OR_EQUAL:
        return bool(actual <= operand)
    if operator == _GREATER:
        return bool(actual > operand)
    check(operator == _GREATER_OR_EQUAL, "an operator was validated", operator)
    return bool(actual >= operand)


def _of_claims(claims: Claims, target: int, path: str) -> int:
    held = claims.held.get(path)
    if held is None:
        return 0
    if target == _CLAIM_COUNT:
        return len(held)
    token = max(held.values())
    if target == _CLAIM_TOKEN:
        return token
    check(target == _CLAIM_HOLDER, "a comparison was validated", target)
    number = min(number for number, each in held.items() if each == token)
    return claims.by_number[number][SESSION]
