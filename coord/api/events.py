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
"""

Revision: TypeAlias = tuple[int, int, int, tuple[Change, ...]]
"""``(revision, log_index, wall_ms, changes)``: one request's changes, one session end's, or one sweep's."""

CREATED, CHANGED, DELETED = 1, 2, 3


class ChangeKind(IntEnum):
    CREATED = CREATED
    SET = CHANGED
    DELETED = DELETED


class Reason(IntEnum):
    """Why a change happened."""

    REQUEST = 0
    SESSION_ENDED = 1
    """The ephemeral's client ended its session."""
    SESSION_EXPIRED = 2
    """The ephemeral's client was silent for its timeout."""
    TTL = 3
    EMPTY = 4
    """A container whose last child went."""
    OTHER = -1
    """One that a newer member knows and this code does not."""

    @classmethod
    def _missing_(cls, value: object) -> "Reason":
        return cls.OTHER


@dataclass(frozen=True, slots=True)
class Event:
    """A change, as a watch tells it."""

    kind: ChangeKind
    path: str
    revision: int
    value: bytes | None
    """The new value; ``None`` for a deletion."""
    version: int
    session: int
    """Who did it; 0 for the service itself."""
    reason: Reason
    wall_ms: int
    """The leader's wall clock, for people."""


def event_of(change: Change, revision: int, wall_ms: int) -> Event:
    """The typed event of one change."""
    kind, path, value, version, session, _request, reason = change
    return Event(ChangeKind(kind), path, revision, value, version, session, Reason(reason), wall_ms)
