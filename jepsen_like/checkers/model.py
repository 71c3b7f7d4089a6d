"""The tree as it ought to be, written plainly and by itself: what each op does, answers and refuses.

Shares no code with ``coord.store``. It knows no limits, no cluster time and no wall clock: those refusals and
stamps are not judged by it, and what sessions' ends and TTLs delete it is told from outside.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from coord.api.events import CHANGED, CREATED, DELETED, Change, Reason
from coord.api.ops import Compare, Create, Delete, Exists, Get, Kind, List, Multi, Operator, Set, Target
from coord.api.paths import is_reserved, join, name, parent
from coord.jepsen_like.checkers.znode import Znode

TREE_ERRORS: Final = frozenset({"not_found", "exists", "conflict", "not_empty", "not_allowed"})
"""The refusals that the tree's state decides, and that the model can foretell."""

Done: TypeAlias = tuple[int, str, bytes | None, int, int]
"""``(kind, path, value, version, reason)``: a change, without who asked for it."""

_REQUEST, _EMPTY = int(Reason.REQUEST), int(Reason.EMPTY)


class Refused(Exception):
    """The tree refuses the op; ``slug`` is the error's. Nothing was changed."""

    def __init__(self, slug: str) -> None:
        super().__init__(slug)
        self.slug = slug


class Tree:
    """The tree after some revision; ``changes`` is what the last write did."""

    def __init__(self) -> None:
        self.znodes: dict[str, Znode] = {"/": Znode(b"", 0, Kind.PERSISTENT, 0, 0)}
        self.owned: dict[int, dict[str, None]] = {}
        """Session -> its ephemerals."""
        self.changes: list[Done] = []
        self.kept: dict[str, None] = {}
        """Paths of containers that do not go with their last child: they are claimed. Told from outside."""
        self.guessing = False
        """Some znode was created by nobody knows which op."""
        self.unsure = False
        """What the last op did, or whether it is refused, hangs on such a znode."""
        self._saved: dict[str, Znode | None] | None = None
        """Within a multi or a trial: the znodes as they were before it, of those that it touched."""

    def write(self, op: Any, session: int, revision: int) -> Any:
        """Do ``op`` as ``session``'s request that makes ``revision``; its plain answer, or :class:`Refused`."""
        self.changes = []
        self.unsure = False
        return _OPS[type(op)](self, op, session, revision)

    def read(self, op: Any) -> Any:
        """The plain answer of a reading op, or :class:`Refused`."""
        self.unsure = False
        return _OPS[type(op)](self, op, 0, 0)

    def refusal(self, op: Any, session: int, revision: int) -> str:
        """The slug with which ``op`` would be refused, or ``""``. Changes nothing but ``changes`` and ``unsure``."""
        self._saved = {}
        try:
            self.write(op, session, revision)
        except Refused as refused:
            return refused.slug
        finally:
            self._restore()
        return ""

    def follow(self, change: Change, revision: int) -> None:
        """Make true what the log says, where it is not known by which op it came about."""
        kind, path, value, version, _session, _request, _reason = change
        if kind == DELETED:
            if path in self.znodes:
                for each in reversed(self.subtree(path)):
                    self._take(each, revision)
            return
        znode = self.znodes.get(path)
        if kind == CREATED or znode is None:
            if znode is None and parent(path) in self.znodes:
                self.guessing = True
                self._put(path, Znode(value or b"", revision, None, -1, 0), revision)
                self.znodes[parent(path)].next_sequence = None
            return
        znode = self._touched(path)
        znode.value, znode.modified, znode.version = value or b"", revision, version

    def learn(self, path: str, kind: Kind, session: int, ttl_ms: int) -> None:
        """Of a znode that :meth:`follow` created: this op did it."""
        znode = self.znodes.get(path)
        if znode is not None and znode.kind is None:
            znode.kind, znode.owner, znode.ttl_ms = kind, session if kind is Kind.EPHEMERAL else 0, ttl_ms
            if znode.owner:
                self.owned.setdefault(znode.owner, {})[path] = None

    def subtree(self, path: str) -> list[str]:
        """``path`` and all below, each after its parent."""
        found = [path]
        for above in found:
            found.extend(join(above, child) for child in sorted(self.znodes[above].children))
        return found

    # --- the ops ---

    def _create(self, op: Create, session: int, revision: int) -> str:
        path, above = op.path, parent(op.path)
        if not op.sequential and path in self.znodes:
            raise Refused("exists")
        lacking: list[str] = []
        while above not in self.znodes:
            if not op.parents:
                raise Refused("not_found")
            lacking.append(above)
            above = parent(above)
        if is_reserved(path) or self.znodes[above].kind is Kind.EPHEMERAL:
            raise Refused("not_allowed")
        self.unsure |= self.znodes[above].kind is None
        above_kind = Kind.CONTAINER if op.kind is Kind.CONTAINER else Kind.PERSISTENT
        for each in reversed(lacking):
            self._create(Create(each, kind=above_kind), session, revision)
        above = parent(path)
        if op.sequential:
            self.unsure |= self.znodes[above].next_sequence is None
            number = self.znodes[above].next_sequence or 0
            while f"{path}{number:010d}" in self.znodes:
                number += 1
            path = f"{path}{number:010d}"
        owner = session if op.kind is Kind.EPHEMERAL else 0
        self._put(path, Znode(op.value, revision, op.kind, owner, op.ttl_ms), revision)
        if op.sequential:
            self.znodes[above].next_sequence = number + 1
        self.changes.append((CREATED, path, op.value, 0, _REQUEST))
        return path

    def _set(self, op: Set, session: int, revision: int) -> int:
        znode = self.znodes.get(op.path)
        if znode is None:
            if not op.create:
                raise Refused("not_found")
            if op.version is not None or op.revision is not None:
                raise Refused("conflict")
            self._create(Create(op.path, op.value, parents=op.parents), session, revision)
            return 0
        _conditions(znode, op)
        if self._saved is not None:
            znode = self._touched(op.path)
        znode.value = op.value
        znode.modified = revision
        znode.version += 1
        self.changes.append((CHANGED, op.path, op.value, znode.version, _REQUEST))
        return znode.version

    def _delete(self, op: Delete, session: int, revision: int) -> int:
        if op.path == "/":
            raise Refused("not_allowed")
        if op.missing_ok and op.path not in self.znodes:
            return 0
        znode = self._find(op.path)
        _conditions(znode, op)
        if znode.children and not op.subtree:
            raise Refused("not_empty")
        doomed = self.subtree(op.path)
        for path in reversed(doomed):
            if path in self.znodes:
                self._remove(path, revision, _REQUEST)
        return len(doomed)

    def _get(self, op: Get, session: int, revision: int) -> tuple[bytes, tuple[Any, ...]]:
        znode = self._find(op.path)
        _conditions(znode, op)
        return (znode.value, znode.stat())

    def _exists(self, op: Exists, session: int, revision: int) -> tuple[Any, ...] | None:
        znode = self.znodes.get(op.path)
        return None if znode is None else znode.stat()

    def _list(self, op: List, session: int, revision: int) -> tuple[list[tuple[Any, ...]], bool]:
        names = sorted(each for each in self._find(op.path).children if op.after is None or each > op.after)
        rows = []
        for child in names[: op.limit]:
            znode = self.znodes[join(op.path, child)]
            rows.append((child, znode.value if op.values else None, znode.stat() if op.stats else None))
        return (rows, len(names) > op.limit)

    def _multi(self, op: Multi, session: int, revision: int) -> tuple[bool, list[Any]]:
        succeeded = all(self._holds(each) for each in op.compare)
        outer = self._saved
        if outer is None:
            self._saved = {}
        try:
            answers = [
                _OPS[type(each)](self, each, session, revision)
                for each in (op.then if succeeded else op.otherwise)
            ]
        except Refused:
            if outer is None:
                self._restore()
            self.changes = []
            raise
        if outer is None:
            self._saved = None
        return (succeeded, answers)

    def _holds(self, compare: Compare) -> bool:
        znode = self.znodes.get(compare.path)
        if compare.target is Target.EXISTS:
            return ((znode is not None) == compare.operand) is (compare.operator is Operator.EQUAL)
        if znode is None:
            return False
        return _COMPARE[compare.operator](_TARGETS[compare.target](znode), compare.operand)

    # --- how the tree changes ---

    def _find(self, path: str) -> Znode:
        znode = self.znodes.get(path)
        if znode is None:
            raise Refused("not_found")
        return znode

    def _put(self, path: str, znode: Znode, revision: int) -> None:
        self._save(path)
        self.znodes[path] = znode
        if znode.owner > 0:
            self.owned.setdefault(znode.owner, {})[path] = None
        above = self._touched(parent(path))
        above.children[name(path)] = None
        above.children_revision = revision
        above.children_version += 1

    def _remove(self, path: str, revision: int, reason: int) -> None:
        """Delete a childless znode, and the containers above that this leaves empty."""
        self.changes.append((DELETED, path, None, self.znodes[path].version, reason))
        above = self._take(path, revision)
        self.unsure |= above.kind is None and not above.children
        if above.kind is Kind.CONTAINER and not above.children and parent(path) not in self.kept:
            self._remove(parent(path), revision, _EMPTY)

    def _take(self, path: str, revision: int) -> Znode:
        self._save(path)
        owner = self.znodes.pop(path).owner
        if owner > 0:
            del self.owned[owner][path]
        above = self._touched(parent(path))
        del above.children[name(path)]
        above.children_revision = revision
        above.children_version += 1
        return above

    def _touched(self, path: str) -> Znode:
        """The znode, to be changed in place."""
        self._save(path)
        return self.znodes[path]

    def _save(self, path: str) -> None:
        if self._saved is not None and path not in self._saved:
            znode = self.znodes.get(path)
            self._saved[path] = None if znode is None else znode.copy()

    def _restore(self) -> None:
        saved, self._saved = self._saved or {}, None
        for path in saved:
            gone = self.znodes.pop(path, None)
            if gone is not None and gone.owner > 0:
                del self.owned[gone.owner][path]
        for path, znode in saved.items():
            if znode is not None:
                self.znodes[path] = znode
                if znode.owner > 0:
                    self.owned.setdefault(znode.owner, {})[path] = None


def _conditions(znode: Znode, op: Any) -> None:
    if (op.version is not None and znode.version != op.version) or (
        op.revision is not None and znode.modified != op.revision
    ):
        raise Refused("conflict")


_OPS: Final[dict[type[Any], Callable[[Tree, Any, int, int], Any]]] = {
    Create: Tree._create,
    Set: Tree._set,
    Delete: Tree._delete,
    Get: Tree._get,
    Exists: Tree._exists,
    List: Tree._list,
    Multi: Tree._multi,
}

_TARGETS: Final[dict[Target, Callable[[Znode], Any]]] = {
    Target.VALUE: lambda znode: znode.value,
    Target.VERSION: lambda znode: znode.version,
    Target.CREATED_REVISION: lambda znode: znode.created,
    Target.MODIFIED_REVISION: lambda znode: znode.modified,
    Target.CHILDREN_REVISION: lambda znode: znode.children_revision,
    Target.CHILD_COUNT: lambda znode: len(znode.children),
}

_COMPARE: Final[dict[Operator, Callable[[Any, Any], bool]]] = {
    Operator.EQUAL: lambda actual, operand: bool(actual == operand),
    Operator.NOT_EQUAL: lambda actual, operand: bool(actual != operand),
    Operator.LESS: lambda actual, operand: bool(actual < operand),
    Operator.LESS_OR_EQUAL: lambda actual, operand: bool(actual <= operand),
    Operator.GREATER: lambda actual, operand: bool(actual > operand),
    Operator.GREATER_OR_EQUAL: lambda actual, operand: bool(actual >= operand),
}


def same_changes(mine: list[Done], logged: Sequence[Change], session: int, request: int) -> bool:
    """Whether the log's changes are the model's, by that request. Different paths may stand in another order."""
    theirs: list[Done] = []
    for kind, path, value, version, by_session, by_request, reason in logged:
        if by_session != session or by_request != request:
            return False
        theirs.append((kind, path, value, version, reason))
    return theirs == mine or sorted(theirs, key=_path) == sorted(mine, key=_path)


def _path(change: Done) -> str:
    return change[1]
