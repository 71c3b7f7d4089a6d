"""Changes and events. A *change* is what happened to the tree; an *event* is a change told to a watch.

Changes are plain tuples: every write makes one on every replica, and a plain tuple of plain values is
the one container that CPython's collector stops tracking.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

Change: TypeAlias = tuple[int, str, bytes | None, int, int, int, int]
"""``(kind, path, value, version, session, request, reason)``: one znode's change.

``value`` is ``None`` for a deletion; ``version`` is the one after the change (a deletion keeps the last).
``session`` and ``request`` name who asked; both 0 where nobody did.

Of a change of a claim (CLAIMED, RELEASED, QUEUED, WITHDRAWN) ``session`` is the claim's, ``request`` its number,
``value`` its label (CLAIMED, QUEUED; else ``None``) and ``version`` the token that it had (RELEASED), or how many
claims of the znode were lost before (CLAIMED; of the others 0).
Of CONFIGURED ``version`` is the capacity; of FENCED ``value`` is the claim's path, ``None``: the fence was taken away.
Of HELD_BACK ``version`` is for how many ms of cluster time, 0: the holding back is over, ``UNTIL_TOLD``: until it is
said otherwise; of LANES_SET how many lanes the znode has now.
"""

Revision: TypeAlias = tuple[int, int, int, tuple[Change, ...]]
"""``(revision, log_index, wall_ms, changes)``: one request's changes, one session end's, or one sweep's."""

CREATED, CHANGED, DELETED = 1, 2, 3
CLAIMED, RELEASED, QUEUED, WITHDRAWN, CONFIGURED, FENCED = 4, 5, 6, 7, 8, 9
HELD_BACK, LANES_SET = 10, 11
"""Kinds above ``DELETED`` leave the tree as it is. A watch is told of them only if it asks."""


UNTIL_TOLD = 2**63 - 1
"""The ``version`` of a change that holds back for no set time."""


class ChangeKind(IntEnum):
    CREATED = CREATED
    SET = CHANGED
    DELETED = DELETED
    CLAIMED = CLAIMED
    """A claim is held from this revision on: the revision is its token."""
    RELEASED = RELEASED
    QUEUED = QUEUED
    """A claim waits."""
    WITHDRAWN = WITHDRAWN
    """A claim that waited does so no longer, and was not granted."""
    CONFIGURED = CONFIGURED
    """The settings of the claims of a path."""
    FENCED = FENCED
    """A fence was set, or taken away."""
    HELD_BACK = HELD_BACK
    """From now on no claim is granted at a path, or it is again."""
    LANES_SET = LANES_SET
    """The lanes of a path."""
    OTHER = -1
    """One that a newer member knows and this code does not."""

    @classmethod
    def _missing_(cls, value: object) -> "ChangeKind":
        return cls.OTHER


class Reason(IntEnum):
    """Why a change happened."""

    REQUEST = 0
    SESSION_ENDED = 1
    """The ephemeral's client ended its session."""
    SESSION_EXPIRED = 2
    """The ephemeral's client was silent for its timeout."""
    TTL = 3
    EMPTY = 4
    """A container whose last child (or claim) went."""
    FORCED = 5
    """A claim that another session released."""
    ZNODE_DELETED = 6
    """A claim whose znode was deleted."""
    TRANSFERRED = 7
    """A claim that its holder handed on, and the claim that it was handed to."""
    OTHER = -1
    """One that a newer member knows and this code does not."""
    RELISTED = -2
    """Why is not known: the history had a gap, and a new listing showed the difference. It never travels: a
    client tells it to its own watches."""

    @classmethod
    def _missing_(cls, value: object) -> "Reason":
        return cls.OTHER


@dataclass(frozen=True, slots=True)
class Event:
    """A change, as a watch tells it.

    Of one with ``Reason.RELISTED`` only is known what a listing shows: ``kind``, ``path``, ``value`` and ``version``
    (of a deletion the last one that was known) are those of the difference, ``revision`` is the listing's, ``wall_ms``
    the znode's last change (of a deletion 0), and ``session`` and ``request`` are 0.
    """

    kind: ChangeKind
    path: str
    revision: int
    value: bytes | None
    """The new value; ``None`` for a deletion."""
    version: int
    session: int
    """Who did it; 0 for the service itself, and where it is not known (``Reason.RELISTED``)."""
    reason: Reason
    wall_ms: int
    """The leader's wall clock, for people; 0 where it is not known."""
    request: int = 0
    """The number of the request that did it, in its session; of a claim's change, the number of the claim."""


def event_of(change: Change, revision: int, wall_ms: int) -> Event:
    """The typed event of one change."""
    kind, path, value, version, session, request, reason = change
    return Event(ChangeKind(kind), path, revision, value, version, session, Reason(reason), wall_ms, request)
