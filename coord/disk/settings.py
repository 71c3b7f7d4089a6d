"""The room's settings, apart from where they are read from."""

from dataclasses import dataclass

from coord.api.checks import check

KIB = 1024
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """Bounds of the log and the snapshots. All may be changed between starts of a member."""

    segment_bytes: int = 64 * MIB
    """A segment that has reached this size is followed by a new one. A batch is never split, so a
    segment may end up larger by one batch."""

    hard_state_padding_bytes: int = 4 * KIB
    """Distance between the two copies of a hard state: no single bad sector of this size can hit both."""

    zeros_ahead_bytes: int = 256 * KIB
    """At most so many zeros are written ahead of the log's end (``wal.py`` says why). 0: none."""

    section_limit_bytes: int = 16 * MIB
    """The largest section of a snapshot that is written or accepted."""

    def __post_init__(self) -> None:
        check(1 <= self.segment_bytes <= 1024 * MIB, "segment_bytes is in [1, 1 GiB]", self.segment_bytes)
        check(
            0 <= self.hard_state_padding_bytes <= 64 * KIB,
            "hard_state_padding_bytes is in [0, 64 KiB]",
            self.hard_state_padding_bytes,
        )
        check(
            0 <= self.zeros_ahead_bytes <= 64 * MIB,
            "zeros_ahead_bytes is in [0, 64 MiB]",
            self.zeros_ahead_bytes,
        )
        check(
            1 <= self.section_limit_bytes <= 256 * MIB,
            "section_limit_bytes is in [1, 256 MiB]",
            self.section_limit_bytes,
        )
