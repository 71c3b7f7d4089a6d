"""What a client core is told at its start, and every bound of it."""

from dataclasses import dataclass

from coord.limits import MIB


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """All are at least 1, except where 0 has a meaning of its own."""

    name: str = ""
    """What the client calls itself, for people who look at sessions; up to 128 characters."""
    session_timeout_ms: int = 10_000
    """As asked for; the member's welcome says what is granted. It also sets the rhythm of keepalives."""
    session: bool = True
    """False: no session. Reads and watches work; a write is refused with ``session_required``."""
    writes_in_flight: int = 1_024
    """Sent and not answered. Beyond: they wait in the queue. With ``reads_in_flight`` below the members'
    ``requests_in_flight``, and below ``replies_per_session``: a member never forgets a reply that is awaited."""
    reads_in_flight: int = 1_024
    """As above; a bound of their own, so that a flood of writes does not starve reads."""
    in_flight_bytes: int = 8 * MIB
    """Of writes sent and not answered (they are kept, to be sent again). Beyond: they wait in the queue."""
    queue: int = 100_000
    """Submitted and not sent yet. Beyond: ``overloaded``, refused."""
    queue_bytes: int = 256 * MIB
    """As above."""
    watch_buffer: int = 10_000
    """Events of one watch that its user has not taken yet. Beyond (by no more than one revision's): the watch is
    paused, and goes on from the members' history once half is taken; ``gap`` when that no longer reaches back."""
    watch_buffer_bytes: int = 16 * MIB
    """As above, of values and paths."""


KEEPALIVE_MAX_SECONDS = 5.0
"""Also of a long session: keepalives are what tells a dead connection from a quiet one."""

HANDSHAKE_MIN_SECONDS, HANDSHAKE_MAX_SECONDS = 0.5, 3.0
"""For a member to say welcome. Beyond: another one is tried."""


def keepalive_seconds(timeout_seconds: float) -> float:
    """How often to send a keepalive, and how long to wait for its answer."""
    return min(timeout_seconds / 3, KEEPALIVE_MAX_SECONDS)


def open_seconds(timeout_seconds: float) -> float:
    """How long a member may take to open a session: its time counts from the asking, and is not half gone then."""
    return min(max(timeout_seconds / 2, HANDSHAKE_MIN_SECONDS), HANDSHAKE_MAX_SECONDS)


def resume_seconds(timeout_seconds: float) -> float:
    """How long a member may take to resume a session: two tries fit into the last third of the timeout."""
    return min(max(timeout_seconds / 6, HANDSHAKE_MIN_SECONDS), HANDSHAKE_MAX_SECONDS)
