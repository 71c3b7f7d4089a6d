"""Errors, each with a code for the wire and an outcome: did the operation happen?

``refused``
    It did not happen, and will not: nothing changed.
``unknown``
    It may have happened. Rare: an operation's session is gone, or the caller stopped waiting.

Messages read like help: what was wrong, and what would be right.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

Outcome = Literal["refused", "unknown"]
Details = Mapping[str, object]

OK = 0
"""The status of a reply that is not an error."""


class CoordError(Exception):
    """Base of all that coord raises to its users.

    ``code`` is the number on the wire, ``slug`` its name for programs, ``outcome`` says whether the
    operation happened, ``details`` holds the facts behind ``message`` (for instance ``{"version": 3}``). Where more is
    known of an outcome than its class says, whoever makes the error says so.
    """

    code: ClassVar[int] = 1
    slug: ClassVar[str] = "error"
    outcome: Outcome = "refused"

    def __init__(
        self, message: str, details: Details | None = None, *, outcome: Outcome | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details: Details = details or {}
        if outcome is not None:
            self.outcome = outcome

    def anew(self) -> Self:
        """The same once more: an error that is raised to several gathers a traceback for each."""
        again = type(self)(self.message, self.details)
        again.outcome = self.outcome
        return again


class NotFound(CoordError):
    """There is no such znode (or, for a create, no such parent)."""

    code, slug = 10, "not_found"


class Exists(CoordError):
    """A create of a znode that is there already."""

    code, slug = 11, "exists"


class Conflict(CoordError):
    """The condition on version or revision does not hold; ``details`` has the actual ones."""

    code, slug = 12, "conflict"


class NotEmpty(CoordError):
    """A delete of a znode with children, without asking for the subtree."""

    code, slug = 13, "not_empty"


class NotAllowed(CoordError):
    """The tree's rules forbid it: a child below an ephemeral, the root's deletion, the reserved subtree."""

    code, slug = 14, "not_allowed"


class LimitExceeded(CoordError):
    """A bound was met; ``details`` has its name (``limit``) and its value (``maximum``)."""

    code, slug = 15, "limit_exceeded"


class Claimed(CoordError):
    """The znode is held, or others wait for it, or a lock delay runs; and waiting was not asked for.

    ``details`` has the ``session`` and ``token`` of a holder (0 and 0 where nobody holds it just now).
    """

    code, slug = 16, "claimed"


class NotHeld(CoordError):
    """The claim is not, or is no longer, this session's."""

    code, slug = 17, "not_held"


class StaleToken(CoordError):
    """A write below a fence that presented no token of a present holder of the fence's claim.

    ``details`` has the ``token`` that is current (0: nobody holds the claim), and which ``fence`` and ``claim``.
    """

    code, slug = 18, "stale_token"


class InvalidRequest(CoordError):
    """The request is not one that the protocol knows, or an argument is out of its range."""

    code, slug = 20, "invalid_request"


class SessionEnded(CoordError):
    """The session is over: it expired, was ended, or never existed here. Its ephemerals are gone.

    On an operation that was in flight, ``outcome`` is ``unknown``.
    """

    code, slug = 30, "session_ended"


class SessionRequired(CoordError):
    """A write, or a keepalive, on a connection that attached no session."""

    code, slug = 31, "session_required"


class ReplyForgotten(CoordError):
    """A retry of a request whose reply was confirmed, or dropped for want of confirmation."""

    code, slug = 32, "reply_forgotten"
    outcome: Outcome = "unknown"


class Unavailable(CoordError):
    """No quorum could answer in time, or this member is not ready. Another member may be."""

    code, slug = 40, "unavailable"


class Overloaded(CoordError):
    """A queue is full: try again later, with fewer requests in flight."""

    code, slug = 41, "overloaded"


class Gap(CoordError):
    """History no longer reaches back to where the watch wants to resume; list again.

    ``details`` has ``first_revision``, the oldest from which a watch can still start.
    """

    code, slug = 42, "gap"


class Disconnected(CoordError):
    """The member cut the connection; the message has its reason. The client library reconnects."""

    code, slug = 43, "disconnected"
    outcome: Outcome = "unknown"


class ProtocolError(CoordError):
    """What came over the connection is not this protocol, or not in this state of it."""

    code, slug = 50, "protocol_error"


class WrongCluster(CoordError):
    """The member belongs to another cluster than the one asked for."""

    code, slug = 51, "wrong_cluster"


class DeadlineExceeded(CoordError):
    """The caller's time ran out. Whether it happened is unknown, unless it was a read."""

    code, slug = 60, "deadline_exceeded"
    outcome: Outcome = "unknown"


ERRORS: Mapping[int, type[CoordError]] = {
    error.code: error
    for error in (
        CoordError,
        NotFound,
        Exists,
        Conflict,
        NotEmpty,
        NotAllowed,
        LimitExceeded,
        Claimed,
        NotHeld,
        StaleToken,
        InvalidRequest,
        SessionEnded,
        SessionRequired,
        ReplyForgotten,
        Unavailable,
        Overloaded,
        Gap,
        Disconnected,
        ProtocolError,
        WrongCluster,
        DeadlineExceeded,
    )
}


def from_code(code: int, message: str, details: Details | None = None) -> CoordError:
    """The error for a code from the wire; an unknown code becomes a plain :class:`CoordError`."""
    return ERRORS.get(code, CoordError)(message, details)
