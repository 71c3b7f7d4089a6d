"""Writes to the tree: each function is one op, applied within the revision that is being made.

Each takes the :class:`Draft` of that revision and the op's validated row, and returns its result row,
or raises a :class:`~coord.api.errors.CoordError` (refused) before it has changed anything.
"""

from typing import Any

from coord.api.errors import Conflict, Exists, LimitExceeded, NotAllowed, NotEmpty, NotFound
from coord.api.events import CHANGED, CREATED, DELETED, Reason
from coord.api.ops import CREATE, CreateFlag, DeleteFlag, Row, SetFlag
from coord.api.paths import RESERVED, ROOT, is_reserved, parent, shown
from coord.store.draft import Draft
from coord.store.fences import check_fences, check_fences_below
from coord.store.granting import end_with_znode, free
from coord.store.reads import check_conditions, find, missing
from coord.store.tree import Tree
from coord.store.znode import CONTAINER, EPHEMERAL, KIND, PERSISTENT, VALUE, VERSION, Znode, new_znode

REQUEST = int(Reason.REQUEST)


def create(draft: Draft, op: Row) -> Any:
    """Result: the path that was made."""
    if draft.fences.by_path:
        sequential = op[4] & CreateFlag.SEQUENTIAL
        check_fences(draft, _numbered(draft.tree, op[1])[0] if sequential else op[1])
    return make(draft, op)


def make(draft: Draft, op: Row) -> Any:
    """As :func:`create`, whatever is fenced."""
    _, path, value, kind, flags, ttl_ms = op
    tree = draft.tree
    sequential = flags & CreateFlag.SEQUENTIAL
    if not sequential and path in tree.znodes:
        raise Exists(f"{shown(path)} exists", {"path": path})
    above = parent(path)
    if above not in tree.znodes:
        if is_reserved(path):
            raise _reserved(path)  # not that a parent is missing: making it would be refused, too
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
        raise limit_exceeded(
            "ephemerals_per_session", draft.limits.ephemerals_per_session, "ephemerals of one session"
        )
    above_kind = CONTAINER if kind == CONTAINER else PERSISTENT  # what a lock made goes again as a whole
    for each in reversed(lacking):
        add(draft, each, new_znode(b"", draft.revision, draft.wall_ms, above_kind))
    number = -1
    if sequential:
        path, number = _numbered(tree, path)
    owner = draft.session if kind == EPHEMERAL else 0
    deadline_ms = draft.time_ms + ttl_ms if ttl_ms else 0
    add(
        draft, path, new_znode(value, draft.revision, draft.wall_ms, kind, owner, ttl_ms, deadline_ms), number
    )
    return path


def set_value(draft: Draft, op: Row) -> Any:
    """Result: the new version."""
    _, path, value, version, revision, flags = op
    if draft.fences.by_path:
        check_fences(draft, path)
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
    if path.startswith(RESERVED) and is_reserved(path):
        raise _reserved(path)
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
        raise limit_exceeded("data_bytes", draft.limits.data_bytes, "bytes of values and paths")
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
    if draft.fences.by_path:
        check_fences(draft, path)
    if flags & DeleteFlag.MISSING_OK and path not in tree.znodes:
        return 0
    znode = find(tree, path)
    if path.startswith(RESERVED) and is_reserved(path):
        raise _reserved(path)
    if version is not None or revision is not None:
        check_conditions(path, znode, version, revision)
    children = tree.child_count(path)
    if children and not flags & DeleteFlag.SUBTREE:
        raise NotEmpty(
            f"{shown(path)} has {children} children; the flag 'subtree' deletes them, too",
            {"children": children},
        )
    maximum = draft.limits.changes_per_request - len(draft.changes)
    doomed = tree.subtree(path, maximum) if children else [path]
    if doomed is not None and draft.claims.by_number:
        claims = draft.claims
        if len(doomed) + sum([claims.count_at(each) for each in doomed]) > maximum:
            doomed = None
    if doomed is None:
        raise limit_exceeded(
            "changes_per_request",
            draft.limits.changes_per_request,
            f"znodes and claims at {shown(path)} and below; delete it in parts",
        )
    if not children:
        remove(draft, path, REQUEST)
        return 1
    if draft.fences.by_path:
        check_fences_below(draft, path)
    for each in reversed(doomed):
        if each in tree.znodes:  # else a container that went with its last child
            remove(draft, each, REQUEST)
    return len(doomed)


def remove(draft: Draft, path: str, reason: int) -> None:
    """Delete a childless znode, with its claims, and the containers above it that this leaves empty."""
    tree, claims = draft.tree, draft.claims
    while True:
        if not claims.unknown:
            # Else it would be among the free ones from the end of its claims until it is taken away.
            draft.candidates.going = path
            try:
                end_with_znode(draft, path)
            finally:
                draft.candidates.going = ""
        znode = tree.znodes[path]
        tree.remove(path, znode)
        draft.changes.append((DELETED, path, None, znode[VERSION], draft.session, draft.request, reason))
        above = parent(path)
        _touch_parent(draft, above)
        if tree.znodes[above][KIND] != CONTAINER or tree.child_count(above) or claims.keep(above):
            return
        path, reason = above, int(Reason.EMPTY)


def leave(draft: Draft, path: str) -> None:
    """A claim at ``path``, or what was said of its claims, is no more; so perhaps the znode is not needed any more."""
    tree, claims = draft.tree, draft.claims
    znode = tree.znodes[path]
    if znode[KIND] == CONTAINER:
        if not tree.child_count(path) and not claims.keep(path):
            remove(draft, path, int(Reason.EMPTY))
    elif znode[10] and not claims.claimed(path):
        # A TTL znode's time begins afresh.
        after: Znode = (*znode[:11], draft.time_ms + znode[10], znode[12])
        tree.replace(path, znode, after)


def leave_container(draft: Draft, path: str, znode: Znode) -> None:
    """What was said of the claims at ``path`` may be said no more; so perhaps a container is not needed any more."""
    if znode[KIND] == CONTAINER:
        leave(draft, path)


def add(draft: Draft, path: str, znode: Znode, number: int = -1) -> None:
    draft.tree.insert(path, znode)
    draft.changes.append((CREATED, path, znode[VALUE], 0, draft.session, draft.request, REQUEST))
    _touch_parent(draft, parent(path), number)
    if draft.claims.first:
        free(draft, path)  # somebody may wait for any child of the parent


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


def _numbered(tree: Tree, prefix: str) -> tuple[str, int]:
    """The path that a sequential child gets, and its number."""
    above = tree.znodes.get(parent(prefix))
    number = 0 if above is None else above[12]
    while f"{prefix}{number:010d}" in tree.znodes:
        number += 1  # somebody made that name by hand
    return f"{prefix}{number:010d}", number


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
        raise limit_exceeded("children", draft.limits.children, f"children of {shown(above)}")


def _check_value(draft: Draft, value: bytes) -> None:
    maximum = draft.limits.value_bytes
    if len(value) > maximum:
        raise LimitExceeded(
            f"a value of {len(value)} bytes; at most {maximum} (limit value_bytes)",
            {"limit": "value_bytes", "maximum": maximum},
        )


def _check_room(draft: Draft, path: str, value: bytes, count: int) -> None:
    tree, limits = draft.tree, draft.limits
    if path.startswith(RESERVED) and is_reserved(path):
        raise _reserved(path)
    if len(tree.znodes) + count > limits.znodes:
        raise limit_exceeded("znodes", limits.znodes, "znodes in the tree")
    if tree.data_bytes + len(value) + len(path) > limits.data_bytes:
        raise limit_exceeded("data_bytes", limits.data_bytes, "bytes of values and paths")


def _reserved(path: str) -> NotAllowed:
    return NotAllowed(
        f"{shown(path)} is in the service's own subtree: only the service writes {RESERVED} and what is below it. Take "
        "another path, such as '/app'"
    )


def limit_exceeded(name: str, maximum: int, what: str) -> LimitExceeded:
    return LimitExceeded(f"at most {maximum} {what} (limit {name})", {"limit": name, "maximum": maximum})
