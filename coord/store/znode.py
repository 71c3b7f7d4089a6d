"""The znode as the store holds it: an exact tuple.

Immutable, so that a snapshot that is still being written can keep the old one by reference; and an
exact tuple of plain values, since that is what CPython's collector stops tracking: a million znodes
then cost it nothing. (A NamedTuple or a slotted class stays tracked, and each full collection walked
all of them.) The price is positions instead of names; they are unpacked at once wherever they are used.
"""

from typing import Final, TypeAlias

from coord.api.ops import Kind

Znode: TypeAlias = tuple[bytes, int, int, int, int, int, int, int, int, int, int, int, int]
"""``(value, created_revision, modified_revision, children_revision, version, children_version, owner,
created_ms, modified_ms, kind, ttl_ms, deadline_ms, next_sequence)``.

``created_revision <= modified_revision``; ``created_revision <= children_revision``.
``owner`` is a session's id for an ephemeral, else 0. ``created_ms`` and ``modified_ms`` are wall clock,
for people. ``deadline_ms`` is cluster time, for ``Kind.TTL`` only, else 0. ``next_sequence`` is the number
that the next sequential child gets.
"""

VALUE: Final = 0
CREATED_REVISION: Final = 1
MODIFIED_REVISION: Final = 2
CHILDREN_REVISION: Final = 3
VERSION: Final = 4
OWNER: Final = 6
KIND: Final = 9

ZNODE_FIELDS = 13

PERSISTENT = int(Kind.PERSISTENT)
EPHEMERAL = int(Kind.EPHEMERAL)
CONTAINER = int(Kind.CONTAINER)
TTL = int(Kind.TTL)

StatRow: TypeAlias = tuple[int, ...]


def new_znode(
    value: bytes,
    revision: int,
    wall_ms: int,
    kind: int = PERSISTENT,
    owner: int = 0,
    ttl_ms: int = 0,
    deadline_ms: int = 0,
) -> Znode:
    """A znode created at ``revision``."""
    return (value, revision, revision, revision, 0, 0, owner, wall_ms, wall_ms, kind, ttl_ms, deadline_ms, 0)


def stat_row(znode: Znode, child_count: int) -> StatRow:
    """The twelve numbers of a :class:`~coord.api.results.Stat`, in its order."""
    (
        value,
        created,
        modified,
        children_revision,
        version,
        children_version,
        owner,
        created_ms,
        modified_ms,
        kind,
        ttl_ms,
        _deadline_ms,
        _next_sequence,
    ) = znode
    return (
        created,
        modified,
        children_revision,
        version,
        children_version,
        owner,
        created_ms,
        modified_ms,
        len(value),
        child_count,
        kind,
        ttl_ms,
    )
