"""Every bound of the service, with its default, in one place.

Two kinds. :class:`StoreLimits` decide what a command does when it is applied, so all replicas must
hold the same ones: the leader writes its configured limits into the log, and the replicated copy
counts. :class:`MemberLimits` protect one member (its memory, its sockets) and may differ.

Where a bound is met there is a named outcome, never a silent drop; it stands beside the field.
"""

from dataclasses import dataclass, fields

KIB = 1024
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """Bounds of the replicated state. All are at least 1."""

    znodes: int = 10_000_000
    """In the whole tree. Beyond: ``limit_exceeded``."""
    data_bytes: int = 8 * 1024 * MIB
    """Values and paths together. Beyond: ``limit_exceeded``; deletes still work."""
    children: int = 2_000_000
    """Of one znode. Beyond: ``limit_exceeded``."""
    changes_per_request: int = 10_000
    """Of one revision, for example a subtree's deletion. Beyond: ``limit_exceeded``; do it in parts.
    At most ``CHANGES_MAX``."""
    ephemerals_per_session: int = 10_000
    """At most ``changes_per_request``: they all go in one revision. Beyond: ``limit_exceeded``."""
    sessions: int = 100_000
    """Beyond: the handshake is refused with ``limit_exceeded``."""
    session_timeout_min_ms: int = 1_000
    session_timeout_max_ms: int = 3_600_000
    """What a client asks for is brought within ``[min, max]``; the answer has what was granted."""
    value_bytes: int = MIB
    """Of one znode. Beyond: ``limit_exceeded``. Replicated like the others, and not checked where the request
    comes in: a retry at another member must get the first answer."""
    multi_ops: int = 4_096
    """Comparisons and ops of one multi. Beyond: ``limit_exceeded``."""
    multi_reply_bytes: int = MIB
    """Of values that one multi reads: its reply is kept on every replica. Beyond: ``limit_exceeded``."""
    replies_per_session: int = 8_192
    """Kept for retries until the client confirms them. Beyond: the oldest is dropped, and a retry of
    it is told ``reply_forgotten``."""
    reply_bytes_per_session: int = 16 * MIB
    """As above, of the large parts of replies (values that a multi read). What reads after those before it in its frame
    have read more: ``limit_exceeded``."""
    claims_per_session: int = 4_096
    """Held and waiting. They all end in one revision, with its ephemerals, and each may take an empty container along:
    ``ephemerals_per_session + 2 * claims_per_session + GRANTS_MAX <= CHANGES_MAX``. Beyond: ``limit_exceeded``."""
    waiters_per_znode: int = 10_000
    """Beyond: ``limit_exceeded``."""
    claims: int = 1_000_000
    """In all. Beyond: ``limit_exceeded``."""
    fences: int = 1_000
    """Beyond: ``limit_exceeded``."""
    label_bytes: int = 1_024
    """Of one claim, at most ``LABEL_BYTES_MAX``. Beyond: ``limit_exceeded``. ``CHANGES_MAX`` changes with a path each,
    ``GRANTS_MAX`` with a path and a label each, and one client frame of values and labels fit into one frame."""


@dataclass(frozen=True, slots=True)
class MemberLimits:
    """Bounds of one member. All are at least 1."""

    list_page: int = 10_000
    """Rows of one page of a list, the log or the sessions. Beyond: ``limit_exceeded``."""
    list_page_bytes: int = 2 * MIB
    """A page ends early when its values reach it; ``more`` says so."""
    history_revisions: int = 100_000
    history_bytes: int = 64 * MIB
    """What a watch can resume from. Beyond: the oldest revisions go; a watch from before is told ``gap``."""
    connections: int = 20_000
    """Of clients. Beyond: goodbye with ``overloaded``."""
    handshake_ms: int = 10_000
    """For the first frame of a connection. Beyond: goodbye with ``protocol_error``."""
    requests_in_flight: int = 4_096
    """Of one connection. Beyond: nothing more is read from it until some are answered."""
    watches_per_connection: int = 20_000
    """Beyond: ``limit_exceeded``."""
    outbox_bytes: int = 64 * MIB
    """Waiting for a client that does not read. Beyond: the connection is cut; its watches can resume.
    At least ``OUTBOX_MIN_BYTES``."""
    pending_commands: int = 100_000
    """Frames of writes of one member's clients, not yet applied. Beyond: goodbye with ``overloaded``."""
    pending_bytes: int = 256 * MIB
    """As above, in bytes."""
    waiting_reads: int = 100_000
    """Beyond: ``overloaded``."""
    read_wait_ms: int = 10_000
    """For a quorum, or for the revision of ``at_least``. Beyond: ``unavailable``."""
    handshake_wait_ms: int = 10_000
    """For a session to be opened by a quorum. Beyond: goodbye with ``disconnected``. (One that is resumed waits as
    a read does.)"""


CHANGES_MAX = 20_000
"""Of one revision: its events must fit into one frame, each with a path of ``PATH_MAX_BYTES``."""

GRANTS_MAX = 1_000
"""Claims that waited and are granted by one revision at most, beside its other changes; the next entry goes on. Each
event has a path and a label: ``CHANGES_MAX * (PATH_MAX_BYTES + 64) + GRANTS_MAX * (PATH_MAX_BYTES + 64 + label_bytes) +
CLIENT_FRAME_MAX_BYTES < SERVER_FRAME_MAX_BYTES`` (27 of 32 MiB; 30 with labels of ``LABEL_BYTES_MAX``)."""

LABEL_BYTES_MAX = 4_096
"""What ``label_bytes`` can be set to; see ``GRANTS_MAX``."""

OUTBOX_MIN_BYTES = 4 * MIB
"""Reads are put off for a client that has 1 MiB waiting, but a step or two of them may be under way."""

LIST_PAGE_MAX = 16_384
LIST_PAGE_BYTES_MAX = 4 * MIB
"""What ``list_page`` and ``list_page_bytes`` can be set to: a page of names of 1 KiB with their stats, its values and
what else is answered with them fit into one frame (27 of 32 MiB)."""

MULTI_REPLY_BYTES_MAX = 2 * MIB
"""What ``multi_reply_bytes`` can be set to. A number counts as eight bytes there and takes up to nine in a frame."""

TOKEN_TTL_MAX_MS = 15 * 60_000
"""For which a signed token can be asked for: so long a retired key has to be kept. Beyond: ``invalid_request``."""

CLIENT_FRAME_MAX_BYTES = 4 * MIB
"""From a client to a member. Beyond: goodbye with ``protocol_error``. A constant of the protocol."""

FRAME_REQUESTS_MAX = 8_192
"""Of one frame of writes or reads. Beyond: goodbye with ``protocol_error``. A constant of the protocol: a frame is
worked on in one go, and while 200 000 small writes are nobody hears from the leader. As many as a session remembers
replies, unless set."""

SERVER_FRAME_MAX_BYTES = 32 * MIB
"""From a member to a client: one revision's events must fit into one frame. A constant of the protocol:
``changes_per_request`` paths of ``PATH_MAX_BYTES`` and one client frame of values stay below it."""

PEER_FRAME_MAX_BYTES = 64 * MIB
"""Between members: a log entry holds at least one whole client frame."""


def limit_names(limits: type[StoreLimits] | type[MemberLimits]) -> list[str]:
    """The names of the settings, in order."""
    return [field.name for field in fields(limits)]
