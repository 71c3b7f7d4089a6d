"""Writing the log: batches appended to the current segment, one write and one sync each.

Owns the current segment's file and the list of segments. Refuses to know how a log is read back
(``recovery.py``), what Raft means by it, and snapshots, save that it never deletes what lies above one.

All methods but :meth:`Wal.trim` belong to one thread at a time (the server's writer).
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from coord.api.checks import check
from coord.disk.faults import Fuse, write_all, writing
from coord.disk.filesystem import File, FileSystem
from coord.disk.identity import Identity
from coord.disk.names import segment_name
from coord.disk.record import (
    KIND_ENTRY,
    KIND_SEGMENT_START,
    MAX_SEGMENT_BYTES,
    Encoder,
    SegmentStart,
    encode_start,
    owner_digest,
    start_block_bytes,
)
from coord.disk.settings import StorageSettings
from coord.disk.witness import Witness
from coord.raft.types import HardState, Persist


@dataclass(slots=True)
class Position:
    """What the writer must know of the log to go on. All before ``end`` is synced."""

    segment: int
    """Number of the current segment."""
    end: int
    """Where the next record goes."""
    chain: int
    """``header_crc`` of the last record before ``end``."""
    hard_state: HardState
    last_index: int
    last_term: int
    base_index: int
    """The log holds entries of ``[base_index + 1, last_index]``; what is not above it was never ours to write."""
    segment_last_index: int = 0
    """The highest index in the current segment, superseded or not."""
    closed: list[tuple[int, int]] = field(default_factory=list)
    """``(number, highest index in it)`` of the segments before, ascending by number."""
    dead: list[int] = field(default_factory=list)
    """Segments that are no part of the log any more, to be deleted with the next trim."""


class Wal:
    """The log, open for appending at ``position``."""

    def __init__(
        self,
        fs: FileSystem,
        identity: Identity,
        settings: StorageSettings,
        fuse: Fuse,
        position: Position,
        file: File,
        witness: Witness,
        on_new_segment: Callable[[int], None],
    ) -> None:
        check(identity.cluster_id is not None, "no log before the cluster id is known")
        self._fs = fs
        self._identity = identity
        self._owner = owner_digest(identity.folder_id, identity.cluster_id or b"", identity.member_id)
        self._settings = settings
        self._fuse = fuse
        self._file = file
        self._witness = witness
        self._where = fs.describe(segment_name(position.segment))
        self._on_new_segment = on_new_segment
        self._last_number = 0
        self._size = position.end  # of the file; [end, size) holds zeros that are durable
        self._segments_lock = threading.Lock()  # trim() runs beside append(); held for list work only
        self.position = position

    def append(self, persist: Persist) -> None:
        """Write one batch and sync it. When this returns, the batch is on the disk.

        Numbers only grow: the writer may join waiting batches into one, which has the last one's number.

        Raises: DiskFull, SyncFailed (unknown: the batch may or may not be found at the next start).
        """
        position, settings = self.position, self._settings
        check(persist.number > self._last_number, "batches come in order", persist.number)
        if position.end >= settings.segment_bytes:
            self.roll()
        encoder = Encoder(self._owner, position.segment, position.end, position.chain, position.end)
        hard_state = persist.hard_state
        if hard_state is not None:
            check(hard_state.term >= position.hard_state.term, "the term never goes back", hard_state)
            encoder.add_hard_state(hard_state.term, hard_state.vote, settings.hard_state_padding_bytes)
        last_index, last_term = position.last_index, 0
        add = encoder.add
        entries = persist.entries
        if entries:
            first = entries[0].index
            check(
                position.base_index < first <= last_index + 1, "entries continue the log", first, last_index
            )
            last_index = first - 1
        for index, term, kind, data in entries:
            last_index += 1
            check(index == last_index and term >= last_term, "entries are contiguous", index, term)
            last_term = term
            add(KIND_ENTRY, kind, index, term, 0, data)
        check(bool(encoder.parts), "a batch is never empty", persist.number)
        check(encoder.offset <= MAX_SEGMENT_BYTES, "a batch fits into a segment", encoder.offset)
        data, size = encoder.data(), self._size
        if encoder.offset > size:
            size = encoder.offset + zeros_behind(encoder.start, encoder.offset, settings)
            data += bytes(size - encoder.offset)
        with writing("writing the log to", self._where, self._fuse):
            write_all(self._file, encoder.start, data)
            self._file.sync()
        # Only now: had the positions moved before a failure, a later record would swear that this batch was synced.
        position.end, self._size = encoder.offset, size
        position.chain = encoder.chain
        self._last_number = persist.number
        if hard_state is not None:
            position.hard_state = hard_state
        if entries:
            position.last_index, position.last_term = last_index, last_term
            position.segment_last_index = max(position.segment_last_index, last_index)
        self._witness.note(position.segment, position.end)

    def roll(self) -> None:
        """Begin the next segment, which continues this one."""
        position = self.position
        previous = (position.segment, position.end, position.chain)
        base = (position.last_index, position.last_term)
        self._begin_segment(previous, base)

    def reset(self, base_index: int, base_term: int) -> None:
        """Begin the log anew after ``base_index``, which a durable snapshot covers; delete all before."""
        self._begin_segment((0, 0, 0), (base_index, base_term))
        position = self.position
        position.base_index = position.last_index = base_index
        position.last_term = base_term
        with self._segments_lock:
            position.dead += [number for number, _ in position.closed]
            position.closed.clear()
        self._delete_dead()

    def trim(self, keep_from_index: int) -> None:
        """Delete the oldest segments that hold nothing from ``keep_from_index`` on. Any thread.

        Only from the front: a segment in the middle may be what supersedes entries of one before it, and
        without it those would rise again.
        """
        with self._segments_lock:
            closed = self.position.closed
            while closed and closed[0][1] < keep_from_index:
                self.position.dead.append(closed.pop(0)[0])
        self._delete_dead()

    def wal_bytes(self) -> tuple[int, int]:
        """How many segments, and their bytes (about: closed ones count as full)."""
        with self._segments_lock:
            older = len(self.position.closed) + len(self.position.dead)
        return older + 1, older * self._settings.segment_bytes + self.position.end

    def close(self) -> None:
        self._file.close()
        self._witness.close()

    def _begin_segment(self, previous: tuple[int, int, int], base: tuple[int, int]) -> None:
        position = self.position
        number = position.segment + 1
        file, end, chain = create_segment(
            self._fs, self._identity, self._settings, self._fuse, number, previous, base, position.hard_state
        )
        self._on_new_segment(number)
        self._file.close()
        self._file = file
        self._where = self._fs.describe(segment_name(number))
        with self._segments_lock:
            position.closed.append((position.segment, position.segment_last_index))
        position.segment = number
        position.end = self._size = end
        position.chain = chain
        position.segment_last_index = 0
        self._witness.note(number, end)

    def _delete_dead(self) -> None:
        with self._segments_lock:
            dead, self.position.dead = self.position.dead, []
        with writing("deleting old segments in", self._fs.describe(""), self._fuse):
            for number in dead:
                try:
                    self._fs.remove(segment_name(number))
                except FileNotFoundError:
                    pass  # deleted before, by a trim whose crash we are the restart of, or by the operator


def zeros_behind(start: int, end: int, settings: StorageSettings) -> int:
    """How many zeros to write, in the same write, behind a batch in ``[start, end)`` that makes the segment longer.

    A sync of a file that has become longer writes the file system's journal, too; one of a record that took the place
    of zeros does not, and takes two thirds of the time or less. So nearly all batches are written over zeros.

    As many as the segment has bytes already, so that a small log stays small, and none past the segment's size. None
    behind a large batch either: the next few would use them up, and each zero is a byte written twice.
    """
    zeros = min(end, settings.zeros_ahead_bytes, settings.segment_bytes - end)
    return zeros if zeros >= 4 * (end - start) else 0


def create_segment(
    fs: FileSystem,
    identity: Identity,
    settings: StorageSettings,
    fuse: Fuse,
    number: int,
    previous: tuple[int, int, int],
    base: tuple[int, int],
    hard_state: HardState,
) -> tuple[File, int, int]:
    """A new segment, durable with its name; its file, its end, and the chain's value there.

    ``previous`` is ``(number, end, chain)`` of the segment before, (0, 0, 0) for none. Its last batch must
    have been synced: that this segment exists is taken as evidence of it.

    The hard state is carried over: the segment that last held it may be deleted before the next vote.
    """
    check(identity.cluster_id is not None, "no log before the cluster id is known")
    cluster_id = identity.cluster_id or b""
    owner = owner_digest(identity.folder_id, cluster_id, identity.member_id)
    previous_segment, previous_end, chain = previous
    start = SegmentStart(
        cluster_id, identity.folder_id, identity.member_id, previous_segment, previous_end, *base
    )
    encoder = Encoder(owner, number, 0, chain, 0)
    encoder.add(KIND_SEGMENT_START, 0, base[0], base[1], 0, encode_start(start))
    encoder.add_hard_state(hard_state.term, hard_state.vote, settings.hard_state_padding_bytes)
    check(encoder.offset == start_block_bytes(settings.hard_state_padding_bytes), "a start block's size")
    name = segment_name(number)
    with writing("creating", fs.describe(name), fuse):
        file = fs.create(name)
        write_all(file, 0, encoder.data())
        file.sync()
        fs.sync_directory()
    return file, encoder.offset, encoder.chain
