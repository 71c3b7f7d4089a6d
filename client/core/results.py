"""Results of what looks at the service itself: its history and its sessions. Each page can be iterated over."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from coord.api.events import ChangeKind, Reason
from coord.api.paths import check_path, is_below
from coord.client.core.namespace import Namespace, check_text


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One znode's change. Several of one revision came of one request, one session's end, or one sweep."""

    revision: int
    log_index: int
    wall_ms: int
    """The leader's wall clock, for people."""
    kind: ChangeKind
    path: str
    value: bytes | None
    """The new value; ``None`` for a deletion."""
    version: int
    session: int
    request: int
    """Who asked, by its session and its own number; both 0 for the service itself."""
    reason: Reason


@dataclass(frozen=True, slots=True)
class LogPage:
    """Changes of consecutive revisions, in order."""

    entries: tuple[LogEntry, ...]
    first_revision: int
    """The oldest that the member asked still keeps."""
    next_revision: int
    """Where the next page begins."""
    revision: int
    """The store's when it was read. ``next_revision <= revision + 1``; equal: this is the last page."""

    def __iter__(self) -> Iterator[LogEntry]:
        return iter(self.entries)


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session as the service knows it."""

    session: int
    timeout_ms: int
    """As granted."""
    principal: str
    """Who the client proved to be; ``""`` without authentication."""
    client: str
    """What the client calls itself: the ``name`` given to :func:`~coord.client.connect`, or its host and process id.
    For people: it may be anything, and several may have the same.
    """
    opened_ms: int
    """Wall clock, for people."""
    ephemerals: tuple[str, ...]
    """The first 20 of its ephemerals' paths."""
    ephemeral_count: int


@dataclass(frozen=True, slots=True)
class SessionPage:
    """One page of sessions, by number; ``more`` says that some remain after the last one here."""

    sessions: tuple[SessionInfo, ...]
    more: bool
    revision: int

    def __iter__(self) -> Iterator[SessionInfo]:
        return iter(self.sessions)


def log_page(row: Any, revision: int, path: str, space: Namespace | None = None) -> LogPage:
    """From a reply's row; only changes at ``path`` and below, as seen from inside of ``space``."""
    first_revision, revisions, *_ = row
    check_text(path)
    path = check_path(path) if space is None else space.outside(path)
    entries = [
        LogEntry(
            number,
            log_index,
            wall_ms,
            ChangeKind(kind),
            changed if space is None else space.surely_inside(changed),
            value if space is None else space.value(ChangeKind(kind), value),
            version,
            session,
            request,
            Reason(why),
        )
        for number, log_index, wall_ms, changes, *_ in revisions
        for kind, changed, value, version, session, request, why, *_ in changes
        if changed == path or is_below(changed, path)
    ]
    next_revision = revisions[-1][0] + 1 if revisions else revision + 1
    return LogPage(tuple(entries), first_revision, next_revision, revision)


def session_page(row: Any, revision: int) -> SessionPage:
    """From a reply's row."""
    sessions, more, *_ = row
    found = [
        SessionInfo(session, timeout_ms, principal, client, opened_ms, tuple(paths), count)
        for session, timeout_ms, principal, client, opened_ms, paths, count, *_ in sessions
    ]
    return SessionPage(tuple(found), more, revision)
