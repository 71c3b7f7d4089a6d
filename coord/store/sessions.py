"""Sessions as the replicated state machine knows them: who may retry what, and since when.

Exactly-once after Ongaro's thesis §6.3: each session keeps the replies that its client has not confirmed,
by request id. A retry finds its reply here and changes nothing. A client confirms with every frame
up to which id it has all its replies; those go.

Differs from the thesis: sessions end by their own timeout, not by a global memory bound, and the table
is bounded for each session (``replies_per_session``): past it the oldest reply is dropped and its id
counts as confirmed, so that its retry is told ``reply_forgotten`` rather than run twice.
"""

from typing import Any, Final, TypeAlias

from coord.api.commands import Reply
from coord.limits import StoreLimits

ITEM_BYTES: Final = 8

Origin: TypeAlias = tuple[int, int, int]
"""``(member, boot, number)`` of the opening, by which its repetition is known."""


class Session:
    """One session. Invariant: every id in ``replies`` is greater than ``confirmed``."""

    __slots__ = (
        "client",
        "confirmed",
        "id",
        "opened_ms",
        "origin",
        "principal",
        "replies",
        "reply_bytes",
        "secret_digest",
        "timeout_ms",
    )

    def __init__(
        self,
        id: int,
        timeout_ms: int,
        secret_digest: bytes,
        principal: str,
        client: str,
        opened_ms: int,
        origin: Origin,
    ) -> None:
        self.id = id
        self.timeout_ms = timeout_ms
        self.secret_digest = secret_digest
        """SHA-256 of the secret: whoever reads a log or a backup cannot take the session over."""
        self.principal = principal
        """Who the client proved to be; ``""`` while there is no authentication."""
        self.client = client
        """What the client calls itself, for people."""
        self.opened_ms = opened_ms
        """Wall clock, for people."""
        self.origin = origin
        self.confirmed = 0
        self.replies: dict[int, Reply] = {}
        self.reply_bytes = 0

    def confirm(self, confirmed: int) -> None:
        """The client has all replies up to ``confirmed``, inclusive."""
        before = self.confirmed
        if confirmed <= before:
            return  # an older frame, come late
        self.confirmed = confirmed
        replies = self.replies
        if confirmed - before <= 2 * len(replies):
            for request in range(before + 1, confirmed + 1):
                reply = replies.pop(request, None)
                if self.reply_bytes and reply is not None:
                    self.reply_bytes -= reply_weight(reply)
        else:
            # Ids may be far apart: reads take ids too.
            for request in [request for request in replies if request <= confirmed]:
                self.reply_bytes -= reply_weight(replies.pop(request))

    def restore(self, reply: Reply) -> None:
        """Put back a reply that a snapshot kept."""
        self.replies[reply[0]] = reply
        self.reply_bytes += reply_weight(reply)

    def trim(self, limits: StoreLimits) -> None:
        """After replies were kept: the oldest go while they are too many, or too large."""
        count, size = len(self.replies), self.reply_bytes
        if count <= limits.replies_per_session and size <= limits.reply_bytes_per_session:
            return
        # In one go. Looking for the oldest again and again, each time from where the dict once began, took a minute for
        # one frame of 200 000 requests, and the cluster did nothing else.
        through = 0
        for request, reply in self.replies.items():
            if count <= limits.replies_per_session and (size <= limits.reply_bytes_per_session or count == 1):
                break
            through = max(through, request)
            count -= 1
            size -= reply_weight(reply)
        self.confirm(through)


def reply_weight(reply: Reply) -> int:
    """About the bytes of a reply: only what a multi read can be large."""
    result = reply[4]
    return weight(result) if type(result) in (list, tuple) else 0


def weight(value: Any) -> int:
    """About the bytes of a result row on the wire, and what it costs to make one.

    Each item counts as ``ITEM_BYTES``, besides its text or value: a multi may hold thousands of listings, without a
    single value, and a number takes up to nine bytes in a frame.
    """
    kind = type(value)
    if kind is bytes or kind is str:
        return len(value)
    if kind is not list and kind is not tuple:
        return 0
    size = ITEM_BYTES * len(value)
    for each in value:
        kind = type(each)  # a row is mostly numbers: looked at here, without a call for each
        if kind is bytes or kind is str:
            size += len(each)
        elif kind is list or kind is tuple:
            size += weight(each)
    return size
