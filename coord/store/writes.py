"""Writes to the tree: each function is one op, applied within the revision that is being made.

Each takes the :class:`Draft` of that revision and the op's validated row, and returns its result row,
or raises a :class:`~coord.api.errors.CoordError` (refused) before it has changed anything.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from coord.api.checks import check
from coord.api.errors import Conflict, CoordError, Exists, LimitExceeded, NotAllowed, NotEmpty, NotFound
from coord.api.events import CHANGED, CREATED, DELETED, Change, Reason
from coord.api.ops import (
    CREATE,
    DELETE,
    MULTI,
    SET,
    CreateFlag,
    DeleteFlag,
    Operator,
    Row,
    SetFlag,
    Target,
)
from coord.api.paths import ROOT, is_reserved, parent, shown
from coord.limits import StoreLimits
from coord.store.reads import READERS, check_conditions, find, missing
from coord.store.sessions import weight
from coord.store.tree import Tree, Undo
from coord.store.znode import (
    CONTAINER,
    CREATED_REVISION,
    EPHEMERAL,
    KIND,
    MODIFIED_REVISION,
    VALUE,
    VERSION,
    Znode,
    new_znode,
)

REQUEST = int(Reason.REQUEST)


class Draft:
    """The revision being made: what it may change, and what it has changed so far."""

    __slots__ = ("changes", "limits", "request", "revision", "session", "time_ms", "tree", "wall_ms")

    def __init__(self, tree: Tree, limits: StoreLimits) -> None:
        self.tree = tree
        self.limits = limits
        self.changes: list[Change] = []
        self.revision = 0
        """The one that the changes will have."""
        self.time_ms = 0
        """Cluster time."""
        self.wall_ms = 0
        self.session = 0
        self.request = 0


def create(draft: Draft, op: Row) -> Any:
    """Result: the path that was made."""
    _, path, value, kind, flags, ttl_ms = op
    tree = draft.tree
    sequential = flags & CreateFlag.SEQUENTIAL
    if not sequential and path in tree.znodes:
        raise Exists(f"{shown(path)} exists", {"path": path})
    above = parent(path)
    if above not in tree.znodes:
        if not flags & CreateFlag.PARENTS:
            raise NotFound(
                f"{missing(tree, above)}; the flag 'parents' makes what is missing", {"path": above}
            )
        lacking = _lacking(tree, above)
    else:
        lacking = []
    _check_value(draft, value)
    _check_room(draft, path, value, len(lacking) + 1)
    _check_parent(draft, parent(lacking[-1]) if lacking else above)
    if (
        kind == EPHEMERAL
        and len(tree.ephemerals.get(draft.session, ())) >= draft.limits.ephemerals_per_session
    ):
        raise _limit(
            "ephemerals_per_session", draft.limits.ephemerals_per_session, "ephemerals of one session"
        )
    for each in reversed(lacking):
        _add(draft, each, new_znode(b"", draft.revision, draft.wall_ms))
    number = -1
    if sequential:
        number = tree.znodes[above][12]
        while f"{path}{number:010d}" in tree.znodes:
            number += 1  # somebody made that name by hand
        path = f"{path}{number:010d}"
    owner = draft.session if kind == EPHEMERAL else 0
    deadline_ms = draft.time_ms + ttl_ms if ttl_ms else 0
    _add(
        draft, path, new_znode(value, draft.revision, draft.wall_ms, kind, owner, ttl_ms, deadline_ms), number
    )
    return path


def set_value(draft: Draft, op: Row) -> Any:
    """Result: the new version."""
    _, path, value, version, revision, flags = op
    tree = draft.tree
    before = tree.znodes.get(path)
    if before is None:
        if version is not None or revision is not None:
            if flags & SetFlag.CREATE:
                raise Conflict(f"{missing(tree, path)}, so it has no version or revision", {"path": path})
        elif flags & SetFlag.CREATE:
            create(draft, [CREATE, path, value, 0, CreateFlag.PARENTS if flags & SetFlag.PARENTS else 0, 0])
            return 0
        raise NotFound(missing(tree, path), {"path": path})
    if version is not None or revision is not None:
        check_conditions(path, before, version, revision)
    _check_value(draft, value)
    (
        old,
        created,
        _,
        children_revision,
        number,
        children_version,
        owner,
        created_ms,
        _,
        kind,
        ttl_ms,
        deadline_ms,
        next_sequence,
    ) = before
    if len(value) > len(old) and tree.data_bytes + len(value) - len(old) > draft.limits.data_bytes:
        raise _limit("data_bytes", draft.limits.data_bytes, "bytes of values and paths")
    number += 1
    after: Znode = (
        value,
        created,
        draft.revision,
        children_revision,
        number,
        children_version,
        owner,
        created_ms,
        draft.wall_ms,
        kind,
        ttl_ms,
        draft.time_ms + ttl_ms if ttl_ms else deadline_ms,
        next_sequence,
    )
    tree.replace(path, before, after)
    draft.changes.append((CHANGED, path, value, number, draft.session, draft.request, REQUEST))
    return number


def delete(draft: Draft, op: Row) -> Any:
    """Result: how many znodes went, by the request (containers that empty themselves are not counted)."""
    _, path, version, revision, flags = op
    tree = draft.tree
    if path == ROOT:
        raise NotAllowed("the root cannot be deleted")
    znode = find(tree, path)
    if version is not None or revision is not None:
        check_conditions(path, znode, version, revision)
    children = tree.child_count(path)
    if children and not flags & DeleteFlag.SUBTREE:
        raise NotEmpty(
            f"{shown(path)} has {children} children; the flag 'subtree' deletes them, too",
            {"children": children},
        )
    if not children:
        remove(draft, path, REQUEST)
        return 1
    maximum = draft.limits.changes_per_request - len(draft.changes)
    doomed = tree.subtree(path, maximum)
    if doomed is None:
        raise _limit(
            "changes_per_request",
            draft.limits.changes_per_request,
            f"znodes below {shown(path)}; delete it in parts",
        )
    for each in reversed(doomed):
        if each in tree.znodes:  # else a container that went with its last child
            remove(draft, each, REQUEST)
    return len(doomed)


def multi(draft: Draft, op: Row) -> Any:
    """Result: ``(succeeded, [result, …])``. All ops of a branch, or none."""
    _, compare, then, otherwise = op
    tree = draft.tree
    if len(compare) + len(then) + len(otherwise) > draft.limits.multi_ops:
        raise _limit("multi_ops", draft.limits.multi_ops, "comparisons and ops of one multi")
    succeeded = all(_holds(tree, *each) for each in compare)
    results: list[Any] = []
    undo: Undo = []
    tree.undo = undo
    limits = draft.limits
    room_bytes = limits.multi_reply_bytes
    try:
        for each in then if succeeded else otherwise:
            reader = READERS.get(each[0])
            if reader is not None:
                result = reader(tree, each, room_bytes)
                room_bytes -= weight(result)
                if room_bytes < 0:
                    raise _limit("multi_reply_bytes", limits.multi_reply_bytes, "bytes read in one multi")
            else:
                result = WRITERS[each[0]](draft, each)
                if len(draft.changes) > limits.changes_per_request:
                    raise _limit("changes_per_request", limits.changes_per_request, "changes of one request")
            results.append(result)
    except CoordError as error:
        tree.undo_all(undo)
        draft.changes.clear()
        error.details = {**error.details, "position": len(results)}
        raise
    finally:
        tree.undo = None
    return (succeeded, results)


WRITERS: Final[Mapping[int, Callable[[Draft, Row], Any]]] = {CREATE: create, SET: set_value, DELETE: delete}
"""By op code: what may stand in a multi's branch."""

HANDLERS: Final[Mapping[int, Callable[[Draft, Row], Any]]] = {**WRITERS, MULTI: multi}
"""By op code: every op that goes through the log."""


def remove(draft: Draft, path: str, reason: int) -> None:
    """Delete a childless znode, and the containers above it that this leaves empty."""
    tree = draft.tree
    while True:
        znode = tree.znodes[path]
        tree.remove(path, znode)
        draft.changes.append((DELETED, path, None, znode[VERSION], draft.session, draft.request, reason))
        above = parent(path)
        _touch_parent(draft, above)
        if tree.znodes[above][KIND] != CONTAINER or tree.child_count(above):
            return
        path, reason = above, int(Reason.EMPTY)


def _add(draft: Draft, path: str, znode: Znode, number: int = -1) -> None:
    draft.tree.insert(path, znode)
    draft.changes.append((CREATED, path, znode[VALUE], 0, draft.session, draft.request, REQUEST))
    _touch_parent(draft, parent(path), number)


def _touch_parent(draft: Draft, path: str, number: int = -1) -> None:
    """A child of ``path`` came or went; ``number`` is its sequence number, if it has one."""
    before = draft.tree.znodes[path]
    (
        value,
        created,
        modified,
        _,
        version,
        children_version,
        owner,
        created_ms,
        modified_ms,
        kind,
        ttl_ms,
        deadline_ms,
        next_sequence,
    ) = before
    after: Znode = (
        value,
        created,
        modified,
        draft.revision,
        version,
        children_version + 1,
        owner,
        created_ms,
        modified_ms,
        kind,
        ttl_ms,
        draft.time_ms + ttl_ms if ttl_ms else deadline_ms,
        number + 1 if number >= next_sequence else next_sequence,
    )
    draft.tree.replace(path, before, after)


def _lacking(tree: Tree, path: str) -> list[str]:
    """``path`` and its ancestors that are not there, nearest first."""
    found = []
    while path not in tree.znodes:
        found.append(path)
        path = parent(path)
    return found


def _check_parent(draft: Draft, above: str) -> None:
    if draft.tree.znodes[above][KIND] == EPHEMERAL:
        raise NotAllowed(f"{shown(above)} is ephemeral: it cannot have children", {"path": above})
    if draft.tree.child_count(above) >= draft.limits.children:
        raise _limit("children", draft.limits.children, f"children of {shown(above)}")


def _check_value(draft: Draft, value: bytes) -> None:
    maximum = draft.limits.value_bytes
    if len(value) > maximum:
        raise LimitExceeded(
            f"a value of {len(value)} bytes; at most {maximum} (limit value_bytes)",
            {"limit": "value_bytes", "maximum": maximum},
        )


def _check_room(draft: Draft, path: str, value: bytes, count: int) -> None:
    tree, limits = draft.tree, draft.limits
    if is_reserved(path):
        raise NotAllowed(f"{shown(path)} is in the service's own subtree")
    if len(tree.znodes) + count > limits.znodes:
        raise _limit("znodes", limits.znodes, "znodes in the tree")
    if tree.data_bytes + len(value) + len(path) > limits.data_bytes:
        raise _limit("data_bytes", limits.data_bytes, "bytes of values and paths")


def _limit(name: str, maximum: int, what: str) -> LimitExceeded:
    return LimitExceeded(f"at most {maximum} {what} (limit {name})", {"limit": name, "maximum": maximum})


def _holds(tree: Tree, target: int, path: str, operator: int, operand: Any) -> bool:
    """Whether one comparison holds. Of a znode that is not there, only ``EXISTS`` can be compared."""
    znode = tree.znodes.get(path)
    if target == Target.EXISTS:
        equal: bool = (znode is not None) == operand
        return equal if operator == Operator.EQUAL else not equal
    if znode is None:
        return False
    actual: Any
    if target == Target.VALUE:
        actual = znode[VALUE]
    elif target == Target.VERSION:
        actual = znode[VERSION]
    elif target == Target.CREATED_REVISION:
        actual = znode[CREATED_REVISION]
    elif target == Target.MODIFIED_REVISION:
        actual = znode[MODIFIED_REVISION]
    else:
        check(target == Target.CHILD_COUNT, "a comparison was validated", target)
        actual = tree.child_count(path)
    if operator == Operator.EQUAL:
        return bool(actual == operand)
    if operator == Operator.NOT_EQUAL:
        return bool(actual != operand)
    if operator == Operator.LESS:
        return bool(actual < operand)
    if operator == Operator.LESS_OR_EQUAL:
        return bool(actual <= operand)
    if operator == Operator.GREATER:
        return bool(actual > operand)
    check(operator == Operator.GREATER_OR_EQUAL, "an operator was validated", operator)
    return bool(actual >= operand)
