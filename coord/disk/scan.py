"""What reading the log yields: plain data, between ``recovery.py`` that reads and ``opening.py`` that acts."""

from dataclasses import dataclass, field

from coord.disk.identity import Damage
from coord.raft.types import Entry, HardState


@dataclass(frozen=True, slots=True)
class Tail:
    """The segment where the log goes on, and how. ``unproven_from <= end <= size``, save after a truncation."""

    segment: int
    end: int
    chain: int
    """``header_crc`` of the last record before ``end``."""
    size: int
    """Of the file. What lies in ``[end, size)`` is zeros that were written ahead, or torn, or dead."""
    unproven_from: int
    """No evidence says that ``[unproven_from, end)`` was ever synced: the page cache may be all that has it."""
    in_place: bool
    """Appending to this file is right. False: there is damage at or after ``end``, or a later segment."""


@dataclass(slots=True)
class LogScan:
    """What the log says."""

    base_index: int = 0
    base_term: int | None = 0
    """The log's position before ``entries``; the term is None when nothing that was read tells it."""
    entries: list[Entry] = field(default_factory=list)
    """Contiguous, of ``[base_index + 1, last_index]``."""
    hard_state: HardState = field(default_factory=lambda: HardState(0, 0))
    tail: Tail | None = None
    """None: no segment could be used."""
    closed: list[tuple[int, int]] = field(default_factory=list)
    """``(number, highest index in it)`` of the segments before the tail's, ascending by number."""
    segment_last_index: int = 0
    """The highest index in the tail's segment, superseded or not; 0: none."""
    dead: list[int] = field(default_factory=list)
    """Segments that are not, or no longer, part of the log."""
    covered: list[int] = field(default_factory=list)
    """Those of ``dead`` that lie wholly below the snapshot, ascending. They were not read."""
    highest_number: int = 0
    """Of any segment that was ever durable here."""
    damage: Damage | None = None
    cut_bytes: int = 0
    """Size of the torn tail, without zeros at its end; 0: none."""
    unfinished_segment: int | None = None
    """A segment that was being created when the process died."""
    repairs: list[tuple[int, int, bytes]] = field(default_factory=list)
    """``(segment, offset, bytes)``: one copy of a hard state, restored from the other."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the operator."""

    @property
    def last_index(self) -> int:
        return self.base_index + len(self.entries)

    def term_at(self, index: int) -> int | None:
        """The term at ``index`` of ``[base_index, last_index]``; None when unknown."""
        if index == self.base_index:
            return self.base_term
        return self.entries[index - self.base_index - 1].term
