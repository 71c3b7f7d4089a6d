"""Reads of the tree: from a store, nothing changed. Also the reading ops within a multi.

Each takes the op's validated row and returns the result row that travels.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from coord.api.errors import Conflict, NotFound
from coord.api.ops import EXISTS, GET, LIST, ListFlag, Row
from coord.api.paths import ancestors, join, shown
from coord.store.tree import Tree
from coord.store.work import ROW, STAT_ROW
from coord.store.znode import MODIFIED_REVISION, VERSION, StatRow, Znode, stat_row


def find(tree: Tree, path: str) -> Znode:
    """The znode at ``path``, or :class:`NotFound` (refused) that says how far the path goes."""
    znode = tree.znodes.get(path)
    if znode is None:
        raise NotFound(missing(tree, path), {"path": path})
    return znode


def missing(tree: Tree, path: str) -> str:
    nearest = next(above for above in ancestors(path) if above in tree.znodes)
    return f"there is no znode {shown(path)} (the nearest above it is {shown(nearest)})"


def check_conditions(path: str, znode: Znode, version: int | None, revision: int | None) -> None:
    """Raise :class:`Conflict` (refused) unless ``znode`` has the version and revision, where given."""
    if (version is not None and znode[VERSION] != version) or (
        revision is not None and znode[MODIFIED_REVISION] != revision
    ):
        wanted = f"version {version}" if version is not None else f"revision {revision}"
        actual = {"version": znode[VERSION], "revision": znode[MODIFIED_REVISION]}
        raise Conflict(
            f"{shown(path)} is at version {actual['version']}, revision {actual['revision']}, not at {wanted}",
            {"path": path, **actual},
        )


def get(tree: Tree, op: Row, page_bytes: int) -> Any:
    _, path, version, revision = op
    znode = tree.znodes.get(path)
    if znode is None:
        raise NotFound(missing(tree, path), {"path": path})
    if version is not None or revision is not None:
        check_conditions(path, znode, version, revision)
    return (znode[0], stat_row(znode, tree.child_count(path)))


def exists(tree: Tree, op: Row, page_bytes: int) -> Any:
    path = op[1]
    znode = tree.znodes.get(path)
    return None if znode is None else stat_row(znode, tree.child_count(path))


def list_children(tree: Tree, op: Row, page_bytes: int) -> Any:
    """``([(name, value | None, stat | None), …], more)``: a page ends at its limit or at ``page_bytes``."""
    _, path, flags, limit, after = op
    find(tree, path)
    with_values, with_stats = flags & ListFlag.VALUES, flags & ListFlag.STATS
    names = tree.children(path).after(after, limit + 1)
    page: list[tuple[str, bytes | None, StatRow | None]] = []
    size = 0
    for name in names[:limit]:
        value: bytes | None = None
        stat: StatRow | None = None
        if flags:
            child = join(path, name)
            znode = tree.znodes[child]
            value = znode[0] if with_values else None
            stat = stat_row(znode, tree.child_count(child)) if with_stats else None
            size += len(znode[0]) if with_values else 0
            if size > page_bytes and page:
                break
        page.append((name, value, stat))
    tree.work.done += (STAT_ROW if flags else ROW) * len(page)
    return (page, len(names) > len(page))


READERS: Final[Mapping[int, Callable[[Tree, Row, int], Any]]] = {
    GET: get,
    EXISTS: exists,
    LIST: list_children,
}
"""By op code. The last argument is the bound of a page, in bytes of values."""
