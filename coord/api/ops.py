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
CLAIM, CLAIM_FIRST, RELEASE, CLAIM_SETTINGS, FENCE, FENCED_WRITE, CLAIMS, CLAIM_INFO = range(11, 19)
HOLD_BACK, LANES = 19, 20
SIGN_TOKEN, ROTATE_TOKEN_KEYS = 30, 31

WRITES = frozenset(
    {
        CREATE,
        SET,
        DELETE,
        MULTI,
        CLAIM,
        CLAIM_FIRST,
        RELEASE,
        CLAIM_SETTINGS,
        FENCE,
        FENCED_WRITE,
        HOLD_BACK,
        LANES,
        ROTATE_TOKEN_KEYS,
    }
)
"""Ops that go through the log. A multi always does, also one that only reads."""

READS = frozenset({GET, EXISTS, LIST, LOG, SESSIONS, STATUS, CLAIMS, CLAIM_INFO, SIGN_TOKEN})


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
    MISSING_OK = 2


class ListFlag:
    VALUES = 1
    STATS = 2


class ClaimFlag:
    WAIT = 1
    SHARED = 2
    CREATE = 4
    PARENTS = 8


class ClaimFirstFlag:
    WAIT = 1
    VALUES = 2


class ReleaseFlag:
    FORCE = 1


MULTI_DEPTH = 4
"""Levels of multis, the outermost included."""

LANES_MAX = 4
"""Of one znode."""


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
    CLAIMS = 4
    """The changes of the claims of the connection's own session, wherever they are."""


WATCH_CLAIMS = 8
"""Added to one of the first three scopes: changes of claims, settings and fences there are told, too."""


class Target(IntEnum):
    """What a comparison looks at. Of a znode that is not there, only ``EXISTS`` can be true."""

    VALUE = 1
    VERSION = 2
    CREATED_REVISION = 3
    MODIFIED_REVISION = 4
    EXISTS = 5
    CHILD_COUNT = 6
    CHILDREN_REVISION = 7
    """Grows whenever a child is created or deleted: a listing that is as old still holds."""
    CLAIM_TOKEN = 8
    """The greatest token held; 0: it is not held."""
    CLAIM_HOLDER = 9
    """The session of the claim with that token (of several, the one with the least number); 0: it is not held."""
    CLAIM_COUNT = 10
    """How many claims are held."""


class Operator(IntEnum):
    EQUAL = 0
    NOT_EQUAL = 1
    LESS = 2
    LESS_OR_EQUAL = 3
    GREATER = 4
    GREATER_OR_EQUAL = 5


@dataclass(frozen=True, slots=True)
class Create:
    """Create a znode. ``parents`` creates missing ancestors: persistent ones; above a container, containers.

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
    """Delete a znode, or with ``subtree`` everything below it too. ``missing_ok``: one that is not there is no error
    (also where a condition is given); none was deleted then.
    """

    path: str
    version: int | None = None
    revision: int | None = None
    subtree: bool = False
    missing_ok: bool = False

    def row(self) -> Row:
        flags = DeleteFlag.SUBTREE * self.subtree | DeleteFlag.MISSING_OK * self.missing_ok
        return [DELETE, self.path, self.version, self.revision, flags]


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

    An op that is refused undoes the branch, and the multi is refused with that op's error. A branch may hold a multi in
    its turn (``MULTI_DEPTH`` levels in all), whose comparisons see what was done before it; a refused op undoes all.
    """

    compare: tuple[Compare, ...] = ()
    then: "tuple[BranchOp, ...]" = ()
    otherwise: "tuple[BranchOp, ...]" = ()

    def row(self) -> Row:
        return [
            MULTI,
            [compare.row() for compare in self.compare],
            [op.row() for op in self.then],
            [op.row() for op in self.otherwise],
        ]


@dataclass(frozen=True, slots=True)
class Claim:
    """Claim ``units`` of the znode's capacity for this session, or share it with others who share.

    Granted at once if it fits and nobody waits; else refused (``claimed``), or with ``wait`` queued, first come
    first served. ``create`` makes a container where there is no znode. ``label`` is for people: who, what for.

    ``capacity``: what the znode's is believed to be, so that a lock does not share what was made a semaphore; another
    is refused (``conflict``), and a znode that this claim creates gets it. 0: whatever it is.
    """

    path: str
    wait: bool = False
    shared: bool = False
    units: int = 1
    label: bytes = b""
    create: bool = False
    parents: bool = False
    capacity: int = 0

    def row(self) -> Row:
        flags = ClaimFlag.WAIT * self.wait | ClaimFlag.SHARED * self.shared
        flags |= ClaimFlag.CREATE * self.create | ClaimFlag.PARENTS * self.parents
        row = [CLAIM, self.path, flags, self.units, self.label]
        return [*row, self.capacity] if self.capacity else row


@dataclass(frozen=True, slots=True)
class ClaimFirst:
    """Claim up to ``count`` children that nobody claims, in the order of their names; one unit of each.

    With ``wait`` and no such child: wait at the parent for one. ``values`` reads the children's values.
    """

    parent: str
    count: int = 1
    wait: bool = False
    values: bool = False
    label: bytes = b""

    def row(self) -> Row:
        flags = ClaimFirstFlag.WAIT * self.wait | ClaimFirstFlag.VALUES * self.values
        return [CLAIM_FIRST, self.parent, self.count, flags, self.label]


@dataclass(frozen=True, slots=True)
class Release:
    """Give a claim up, held or waiting. ``to``: the number of a claim that waits for the same path, to be granted in
    its stead, out of order. ``force``: another session's claim, too.
    """

    number: int
    to: int = 0
    force: bool = False

    def row(self) -> Row:
        return [RELEASE, self.number, self.to, ReleaseFlag.FORCE * self.force]


@dataclass(frozen=True, slots=True)
class ClaimSettings:
    """How many units of a znode can be held (1 unless set), and for how long after the expiry of a holder's session
    nobody is granted it (0 unless set).
    """

    path: str
    capacity: int = 1
    lock_delay_ms: int = 0

    def row(self) -> Row:
        return [CLAIM_SETTINGS, self.path, self.capacity, self.lock_delay_ms]


@dataclass(frozen=True, slots=True)
class HoldBack:
    """Grant no claim at ``path`` for ``delay_ms`` of cluster time; ``None``: until it is said otherwise; 0: the holding
    back is over. At a parent it also holds back those who claim any child of it (``ClaimFirst``). Held claims go on.
    """

    path: str
    delay_ms: int | None

    def row(self) -> Row:
        return [HOLD_BACK, self.path, self.delay_ms]


@dataclass(frozen=True, slots=True)
class Lane:
    """A limit that znodes share by its ``name``: a claim is granted while fewer than ``width`` claims are held at
    znodes with this lane (0: any number), at most ``burst`` at once and one more in each ``interval_ms`` (0: as they
    come). Each znode has its own view of the numbers.
    """

    name: str
    width: int = 0
    interval_ms: int = 0
    burst: int = 1

    def row(self) -> Row:
        return [self.name, self.width, self.interval_ms, self.burst]


@dataclass(frozen=True, slots=True)
class SetLanes:
    """The lanes of the znode at ``path``, at most ``LANES_MAX``: claims there are granted only while all have room."""

    path: str
    lanes: tuple[Lane, ...]

    def row(self) -> Row:
        return [LANES, self.path, [lane.row() for lane in self.lanes]]


@dataclass(frozen=True, slots=True)
class Fence:
    """Bind ``path`` and all below it to the claim at ``claim``; ``None``: take the fence away."""

    path: str
    claim: str | None

    def row(self) -> Row:
        return [FENCE, self.path, self.claim]


@dataclass(frozen=True, slots=True)
class FencedWrite:
    """``op`` with ``tokens`` presented, each ``(incarnation, revision)``."""

    tokens: tuple[tuple[int, int], ...]
    op: "Create | Set | Delete | Multi | Fence"

    def row(self) -> Row:
        return [FENCED_WRITE, [list(token) for token in self.tokens], self.op.row()]


@dataclass(frozen=True, slots=True)
class Claims:
    """Read one page of claims at ``path`` (``scope`` ZNODE) or there and below (SUBTREE), of ``session`` if given, by
    number, those after ``after`` only.
    """

    path: str
    scope: WatchScope = WatchScope.SUBTREE
    session: int | None = None
    after: int | None = None
    limit: int = 1000

    def row(self) -> Row:
        return [CLAIMS, self.path, int(self.scope), self.session, self.after, self.limit]


@dataclass(frozen=True, slots=True)
class ClaimInfo:
    """Read what holds for claims at ``path``: settings, a delay that runs, counts, and fences."""

    path: str

    def row(self) -> Row:
        return [CLAIM_INFO, self.path]


@dataclass(frozen=True, slots=True)
class SignToken:
    """Read a signed token: a text that says which claim the token of claim ``number`` is of, and until when (by wall
    clocks) it should be believed: ``ttl_ms``, 0 for as long as the session's timeout. Linearizable; of one's own held
    claims only.
    """

    number: int
    ttl_ms: int = 0

    def row(self) -> Row:
        return [SIGN_TOKEN, self.number, self.ttl_ms]


@dataclass(frozen=True, slots=True)
class RotateTokenKeys:
    """Have every member make a new key for signing tokens. ``revoked``: and this one goes at once."""

    revoked: str | None = None

    def row(self) -> Row:
        return [ROTATE_TOKEN_KEYS, self.revoked]


TreeOp: TypeAlias = Create | Set | Delete | Get | Exists | List

BranchOp: TypeAlias = TreeOp | Claim | Release | ClaimSettings | HoldBack | SetLanes | Fence | Multi
"""What may stand in a branch of a multi; a claim in it does not wait."""

Op: TypeAlias = BranchOp | ClaimFirst | FencedWrite | Claims | ClaimInfo | SignToken | RotateTokenKeys
