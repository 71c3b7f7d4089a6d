"""Ops: what can be asked of the tree, as typed values for people and as rows for the hot path.

An op has two forms. At the edges it is one of the dataclasses below. On the wire, in the log and in
the store it is its *row*: a list that starts with the op's code, ``[SET, "/a", b"x", None, None, 0]``.
Rows decode in well under a microsecond, and a log entry keeps the very bytes that came in.
``OpKind`` codes and row layouts are part of the protocol and of the log: only ever add.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias

Row: TypeAlias = Sequence[Any]
"""A decoded and validated op: ``[code, …]``. ``Any``, since each code has its own layout."""

CREATE, SET, DELETE, GET, EXISTS, LIST, MULTI = 1, 2, 3, 4, 5, 6, 7
LOG, SESSIONS, STATUS = 8, 9, 10

WRITES = frozenset({CREATE, SET, DELETE, MULTI})
"""Ops that go through the log. A multi always does, also one that only reads."""

READS = frozenset({GET, EXISTS, LIST, LOG, SESSIONS, STATUS})


class Kind(IntEnum):
    """What ends a znode's life besides a delete."""

    PERSISTENT = 0
    EPHEMERAL = 1
    """Dies with its session; has no children."""
    CONTAINER = 2
    """Dies when its last child does."""
    TTL = 3
    """Dies when it was not set, and had no children, for its ``ttl_ms``."""
    OTHER = -1
    """One that a newer member knows and this code does not; nobody can create it."""

    @classmethod
    def _missing_(cls, value: object) -> "Kind":
        return cls.OTHER


class CreateFlag:
    SEQUENTIAL = 1
    PARENTS = 2


class SetFlag:
    CREATE = 1
    PARENTS = 2


class DeleteFlag:
    SUBTREE = 1


class ListFlag:
    VALUES = 1
    STATS = 2


class ReadMode(IntEnum):
    """How fresh a read must be."""

    LINEARIZABLE = 0
    AT_LEAST = 1
    """At or after a given revision, at any member."""
    LOCAL = 2
    """Whatever this member has; needs no quorum."""


class WatchScope(IntEnum):
    """What a watch is about, relative to its path."""

    ZNODE = 1
    CHILDREN = 2
    """Each direct child: created, set, deleted."""
    SUBTREE = 3
    """The znode and everything below."""


class Target(IntEnum):
    """What a comparison looks at. Of a znode that is not there, only ``EXISTS`` can be true."""

    VALUE = 1
    VERSION = 2
    CREATED_REVISION = 3
    MODIFIED_REVISION = 4
    EXISTS = 5
    CHILD_COUNT = 6


class Operator(IntEnum):
    EQUAL = 0
    NOT_EQUAL = 1
    LESS = 2
    LESS_OR_EQUAL = 3
    GREATER = 4
    GREATER_OR_EQUAL = 5


@dataclass(frozen=True, slots=True)
class Create:
    """Create a znode. ``parents`` creates missing ancestors as containers' plain kind, persistent.

    ``sequential`` appends the parent's counter, ten digits or more, to the path.
    ``ttl_ms`` belongs to :attr:`Kind.TTL` and is at least 1 there, 0 elsewhere.
    """

    path: str
    value: bytes = b""
    kind: Kind = Kind.PERSISTENT
    sequential: bool = False
    parents: bool = False
    ttl_ms: int = 0

    def row(self) -> Row:
        flags = CreateFlag.SEQUENTIAL * self.sequential | CreateFlag.PARENTS * self.parents
        return [CREATE, self.path, self.value, int(self.kind), flags, self.ttl_ms]


@dataclass(frozen=True, slots=True)
class Set:
    """Set a znode's value, if it has that version and was last modified at that revision (where given).

    ``create`` makes a persistent znode where there is none (and then ignores the conditions' absence:
    with a condition, a missing znode is a conflict).
    """

    path: str
    value: bytes
    version: int | None = None
    revision: int | None = None
    create: bool = False
    parents: bool = False

    def row(self) -> Row:
        flags = SetFlag.CREATE * self.create | SetFlag.PARENTS * self.parents
        return [SET, self.path, self.value, self.version, self.revision, flags]


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a znode, or with ``subtree`` everything below it too."""

    path: str
    version: int | None = None
    revision: int | None = None
    subtree: bool = False

    def row(self) -> Row:
        return [DELETE, self.path, self.version, self.revision, DeleteFlag.SUBTREE * self.subtree]


@dataclass(frozen=True, slots=True)
class Get:
    """Read value and stat; a condition that does not hold is a conflict."""

    path: str
    version: int | None = None
    revision: int | None = None

    def row(self) -> Row:
        return [GET, self.path, self.version, self.revision]


@dataclass(frozen=True, slots=True)
class Exists:
    """Read the stat, or ``None``."""

    path: str

    def row(self) -> Row:
        return [EXISTS, self.path]


@dataclass(frozen=True, slots=True)
class List:
    """Read one page of children, in the order of their names, those after ``after`` only."""

    path: str
    values: bool = False
    stats: bool = False
    limit: int = 1000
    after: str | None = None

    def row(self) -> Row:
        flags = ListFlag.VALUES * self.values | ListFlag.STATS * self.stats
        return [LIST, self.path, flags, self.limit, self.after]


@dataclass(frozen=True, slots=True)
class Compare:
    """One condition of a multi: ``target`` of the znode at ``path`` ``operator`` ``operand``."""

    target: Target
    path: str
    operator: Operator
    operand: bytes | int | bool

    def row(self) -> Row:
        return [int(self.target), self.path, int(self.operator), self.operand]


@dataclass(frozen=True, slots=True)
class Multi:
    """If all comparisons hold do ``then``, else ``otherwise``: all ops of the branch, or none.

    An op that is refused undoes the branch, and the multi is refused with that op's error.
    """

    compare: tuple[Compare, ...] = ()
    then: "tuple[TreeOp, ...]" = ()
    otherwise: "tuple[TreeOp, ...]" = ()

    def row(self) -> Row:
        return [
            MULTI,
            [compare.row() for compare in self.compare],
            [op.row() for op in self.then],
            [op.row() for op in self.otherwise],
        ]


TreeOp: TypeAlias = Create | Set | Delete | Get | Exists | List
"""What may stand in a branch of a multi."""

Op: TypeAlias = TreeOp | Multi
