"""The writes that a transaction has gathered, over what it has read: the tree as its commit will make it. Sans IO.

Only the writes that will not be refused matter: if one is, so is the whole commit, and what was seen in between has
never been. So a set of what is not there, say, is passed over here, and is an error there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from coord.api.errors import InvalidRequest
from coord.api.ops import Create, Delete, Kind, Set
from coord.api.paths import ancestors, is_below, name, parent, shown
from coord.api.results import Znode

WriteOp = Create | Set | Delete

SEQUENCE_DIGITS_MIN = 10


@dataclass(frozen=True, slots=True)
class Seen:
    """A znode, as a transaction sees it: as it was read, with the transaction's own writes applied.

    What a stat says of children is not here: nobody would notice if it changed. Ask for ``children``.
    """

    path: str
    value: bytes
    version: int
    kind: Kind
    owner: int
    """The session of an ephemeral; 0 for others."""
    created_revision: int | None
    modified_revision: int | None
    """``None`` where it will be that of the commit."""


def as_read(znode: Znode) -> Seen:
    stat = znode.stat
    return Seen(
        znode.path,
        znode.value,
        stat.version,
        stat.kind,
        stat.owner,
        stat.created_revision,
        stat.modified_revision,
    )


def znode_after(found: Seen | None, path: str, writes: Iterable[WriteOp], session: int) -> Seen | None:
    """The znode at ``path`` after ``writes``, where it was ``found`` before. Raises :class:`InvalidRequest` (refused)
    where that is decided by the commit only.
    """
    for op in writes:
        if isinstance(op, Delete):
            if _deletes(op, path):
                found = None
            elif found is not None and found.kind is Kind.CONTAINER and is_below(op.path, path):
                raise InvalidRequest(
                    f"{shown(path)} is a container, and this transaction deletes something below it: whether that "
                    "leaves it empty, so that it goes too, is known after the commit; read it before the delete"
                )
        elif isinstance(op, Create) and op.sequential and _may_become(op.path, path):
            raise InvalidRequest(
                f"whether {shown(path)} is what the sequential create of {shown(op.path)} makes is known after the "
                "commit; read it before the create"
            )
        elif found is None and path in _made(op):
            container = isinstance(op, Create) and op.kind is Kind.CONTAINER
            found = Seen(path, b"", 0, Kind.CONTAINER if container else Kind.PERSISTENT, 0, None, None)
            if isinstance(op, Create) and op.path == path:
                owner = session if op.kind is Kind.EPHEMERAL else 0
                found = replace(found, value=op.value, kind=op.kind, owner=owner)
            elif op.path == path:
                found = replace(found, value=op.value)
        elif found is not None and isinstance(op, Set) and op.path == path:
            found = replace(found, value=op.value, version=found.version + 1, modified_revision=None)
    return found


def names_after(found: Iterable[str] | None, path: str, writes: Iterable[WriteOp]) -> list[str] | None:
    """The names of the children of ``path`` after ``writes``, in order; ``None``: there is no such znode. Raises
    :class:`InvalidRequest` (refused) for a sequential child. Mind :func:`in_doubt`, too.
    """
    names = None if found is None else dict.fromkeys(found)
    for op in writes:
        if isinstance(op, Delete):
            if _deletes(op, path):
                names = None
            elif names is not None and parent(op.path) == path:
                names.pop(name(op.path), None)
            continue
        if isinstance(op, Create) and op.sequential and parent(f"{op.path}0") == path:
            raise InvalidRequest(
                f"this transaction creates a sequential child of {shown(path)}, which has no name before the commit: "
                "read the children before the create"
            )
        for made in _made(op):
            if made == path and names is None:
                names = {}
            elif names is not None and parent(made) == path and made != path:
                names[name(made)] = None
    return None if names is None else sorted(names, key=str.encode)


def in_doubt(path: str, writes: Sequence[WriteOp]) -> list[str]:
    """Znodes that may go with the last of their children, which ``writes`` may delete: if one of them is a
    container, the children of ``path`` after ``writes`` are not known before the commit.
    """
    deleted = [op.path for op in writes if isinstance(op, Delete) and is_below(op.path, path)]
    on_the_way = [each for one in deleted for each in ancestors(one) if parent(each) == path and each != path]
    return list(dict.fromkeys([path, *on_the_way])) if deleted else []


def _deletes(op: Delete, path: str) -> bool:
    return path == op.path or (op.subtree and is_below(path, op.path))


def _made(op: Create | Set) -> list[str]:
    """What ``op`` creates where it is missing, from the top; the znode of a sequential create has no path yet."""
    if isinstance(op, Set) and not op.create:
        return []
    sequential = isinstance(op, Create) and op.sequential
    above = ancestors(f"{op.path}0" if sequential else op.path) if op.parents else []
    return [*reversed(above), *([] if sequential else [op.path])]


def _may_become(prefix: str, path: str) -> bool:
    number = path.removeprefix(prefix)
    return path.startswith(prefix) and number.isdigit() and len(number) >= SEQUENCE_DIGITS_MIN
