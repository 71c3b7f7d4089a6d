"""Results of what looks at the service itself: its history and its sessions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from coord.api.events import Event, event_of


@dataclass(frozen=True, slots=True)
class Revision:
    """One step of the store: what one request changed, or one session's end, or one sweep."""

    revision: int
    log_index: int
    wall_ms: int
    """The leader's wall clock, for people."""
    events: tuple[Event, ...]

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> "Revision":
        revision, log_index, wall_ms, changes = row
        return cls(
            revision, log_index, wall_ms, tuple([event_of(tuple(each), revision, wall_ms) for each in changes])
        )


@dataclass(frozen=True, slots=True)
class LogPage:
    """Consecutive revisions. ``first_revision`` is the oldest that the member asked still keeps."""

    first_revision: int
    revisions: tuple[Revision, ...]
    revision: int
    """The store's when it was read."""


@dataclass(frozen=True, slots=True)
class Session:
    """A session as the service knows it."""

    id: int
    timeout: float
    """Seconds, as granted."""
    principal: str
    """Who the client proved to be; ``""`` without authentication."""
    client: str
    """What the client calls itself."""
    opened_ms: int
    """Wall clock, for people."""
    ephemerals: tuple[str, ...]
    """The first 20 of its ephemerals' paths."""
    ephemeral_count: int


@dataclass(frozen=True, slots=True)
class SessionPage:
    """One page of sessions, by id; ``more`` says that some remain after the last one here."""

    sessions: tuple[Session, ...]
    more: bool
    revision: int


def log_page(row: Any, revision: int) -> LogPage:
    first_revision, revisions = row
    return LogPage(first_revision, tuple([Revision.from_row(each) for each in revisions]), revision)


def session_page(row: Any, revision: int) -> SessionPage:
    sessions, more = row
    return SessionPage(
        tuple(
            [
                Session(number, timeout_ms / 1000, principal, client, opened_ms, tuple(paths), count)
                for number, timeout_ms, principal, client, opened_ms, paths, count in sessions
            ]
        ),
        more,
        revision,
    )
