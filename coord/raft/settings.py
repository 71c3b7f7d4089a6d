"""The core's settings, in ticks and bytes; nothing in this room knows milliseconds."""

from typing import NamedTuple

from coord.api.checks import check


class RaftSettings(NamedTuple):
    """Timeouts and windows. All members of a cluster should agree on ``election_ticks``."""

    election_ticks: int = 15
    """Election timeouts are drawn from ``[election_ticks, 2 * election_ticks)``; a leader that was heard of
    less than ``election_ticks`` ago is defended against other candidates."""

    heartbeat_ticks: int = 3
    """``1 <= heartbeat_ticks < election_ticks``; a few beats may be lost without an election."""

    max_append_bytes: int = 1 << 20
    """Entry data in one ``Append``; a single larger entry still travels, alone."""

    max_inflight_appends: int = 64
    """Unacknowledged appends to one peer, at most."""


def check_settings(settings: RaftSettings) -> None:
    check(
        1 <= settings.heartbeat_ticks < settings.election_ticks,
        "a leader must beat more often than its followers lose patience",
        settings,
    )
    check(
        settings.max_append_bytes >= 1 and settings.max_inflight_appends >= 1,
        "windows admit something",
        settings,
    )
