"""One request of a client: an op on its way, and how it is encoded. Sans IO."""

from struct import Struct
from typing import Any, Final

from coord.api.commands import Reply
from coord.api.errors import CoordError, InvalidRequest, LimitExceeded, Outcome
from coord.api.ops import Row
from coord.api.results import Result, result_from_row
from coord.client.core.encoding import encode_common
from coord.limits import CLIENT_FRAME_MAX_BYTES, MemberLimits
from coord.wire.cbor import dumps
from coord.wire.op_rows import INT_MAX, check_op

WRITE: Final = -1
"""The ``mode`` of a write; a read's is a :class:`~coord.api.ops.ReadMode`."""
OTHER: Final = -2
"""The ``mode`` of what is neither: the opening of a watch, the end of a session."""

NEVER: Final = float("inf")

REQUEST_MAX_BYTES: Final = CLIENT_FRAME_MAX_BYTES - 64
"""Of one encoded op: with its id and the frame's own parts it stays below the frame's bound."""

# Shape and types are checked here, so that no op can spoil the frame it shares: a member cuts the connection for a
# frame that does not decode, and the frame would be sent again, and again. How large and how many is the
# members' business, and theirs to say.
_ANY_SIZE: Final = MemberLimits(list_page=INT_MAX)

_item = Struct(">BBQ").pack
_LIST_OF_2, _UINT64 = 0x82, 0x1B


class Request:
    """An op, and what became of it. Once ``done``, ``reply`` or ``error`` is set, unless the caller abandoned it.

    Invariants: ``id == 0`` and ``sendings == 0`` until a write's first sending; ``answered`` implies ``done``.
    ``done`` without ``answered``: its caller waits no more, its answer is still awaited.
    """

    __slots__ = (
        "answered",
        "at_least",
        "context",
        "deadline",
        "done",
        "encoded",
        "error",
        "id",
        "mode",
        "op",
        "reply",
        "sendings",
    )

    def __init__(
        self, op: Row, encoded: bytes, mode: int, at_least: int, deadline: float, context: Any
    ) -> None:
        self.op = op
        self.encoded = encoded
        self.mode = mode
        self.at_least = at_least
        self.deadline = deadline
        """On the clock of whoever drives the core."""
        self.context = context
        """The caller's own; the core does not look at it."""
        self.id = 0
        self.sendings = 0
        self.answered = False
        self.done = False
        self.reply: Reply | None = None
        self.error: CoordError | None = None

    def row(self) -> Reply:
        """The reply as it came: ``(id, status, revision, log index, result)``. Raises the request's error."""
        if self.error is not None:
            raise self.error
        if self.reply is None:
            raise RuntimeError("this request has no reply yet")
        return self.reply

    def result(self) -> Result:
        """The typed result of an op on the tree. Raises the request's error."""
        row = self.reply
        if row is None or self.error is not None:
            row = self.row()  # which raises: written out, for one of these comes with each call
        return result_from_row(self.op, row[4], row[2])

    def fail(self, error: CoordError) -> None:
        """Its caller is told ``error``, whose outcome becomes what is true of this request.

        A write that was sent, and whose answer nobody will wait for, may have happened. Anything else did not:
        it was never sent, or has no effect.
        """
        outcome: Outcome = "unknown" if self.mode == WRITE and self.sendings else "refused"
        error.outcome = outcome
        self.error = error
        self.done = True


def itself(request: Request) -> Request:
    """For who wants more of an answered request than its row, or its result."""
    return request


def encode_op(op: Row) -> bytes:
    """The bytes of a valid op. Raises :class:`InvalidRequest` or :class:`LimitExceeded` (both refused)."""
    encoded = encode_common(op)
    if encoded is None:
        check_op(op, _ANY_SIZE)
        try:
            encoded = dumps(op)
        except (ValueError, TypeError) as error:  # a text that is no UTF-8, deep inside
            raise InvalidRequest(f"this cannot be sent: {error}") from error
    if len(encoded) > REQUEST_MAX_BYTES:
        raise LimitExceeded(
            f"a request of {len(encoded)} bytes; at most {REQUEST_MAX_BYTES} fit into a frame",
            {"limit": "request_bytes", "maximum": REQUEST_MAX_BYTES},
        )
    return encoded


def item(request: Request) -> bytes:
    """``[id, op]``, as it stands in a frame."""
    return _item(_LIST_OF_2, _UINT64, request.id) + request.encoded
