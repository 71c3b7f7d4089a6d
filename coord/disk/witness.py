"""The witness: a small file that says how far the log was once synced, so that an end that is gone is missed.

Every batch swears to the one before it (``record.py``); the last has nobody behind it. So after each sync its
end is noted here, overwritten in place and not synced: one small write. Because it is written only *after* the
sync it tells of, whatever it says is true, however old it is: a power cut makes it prove less, never something
false. After a process that died, with the kernel alive, it is exact.

Two slots, written in turn: a note that tears leaves the one before it. There is no number of the note in it, as
positions in the log only grow (a segment's number is never used again once a note may name it): the
higher of the two is the newer.

Owns the bytes of that file. What follows from them is for ``recovery.py`` to say.
"""

import struct
from typing import NamedTuple
from zlib import crc32

from coord.disk.faults import Fuse, opening, write_all, writing
from coord.disk.filesystem import File, FileSystem
from coord.disk.names import WITNESS_NAME
from coord.disk.salvage import read_salvaging

MAGIC = b"coord-sy"
SLOT_BYTES = 512
"""A sector: what a disk writes whole or not at all, as a rule."""
FILE_BYTES = 2 * SLOT_BYTES

_FIELDS = struct.Struct("<8s8sII")  # magic, owner, segment, end; then crc
_CRC = struct.Struct("<I")
_NOTE_BYTES = _FIELDS.size + _CRC.size


class Witnessed(NamedTuple):
    """Everything before ``end`` in ``segment``, and all segments before it, had been synced. (0, 0): no evidence."""

    segment: int
    end: int


NOTHING = Witnessed(0, 0)


class Witness:
    """The file, open for writing. The thread's that appends."""

    def __init__(self, file: File, where: str, owner: bytes, slot_at: int, fuse: Fuse) -> None:
        self._file = file
        self._where = where
        self._owner = owner
        self._slot_at = slot_at
        self._fuse = fuse

    def note(self, segment: int, end: int) -> None:
        """The log was synced up to here, and its segment's name is durable. Hot path.

        Both must be so *before*:

        1. a batch is noted; 2. the power fails in its sync. The kernel may have written the note and not the batch:
           a batch that was never acknowledged would look like damage.
        1. a segment is created and noted; 2. the power fails before its name is durable. A segment that never held
           anything would be missed.
        """
        fields = _FIELDS.pack(MAGIC, self._owner, segment, end)
        with writing("noting what was synced in", self._where, self._fuse):
            write_all(self._file, self._slot_at, fields + _CRC.pack(crc32(fields)))
        self._slot_at ^= SLOT_BYTES

    def close(self) -> None:
        self._file.close()


def open_witness(fs: FileSystem, owner: bytes, fuse: Fuse) -> Witness:
    """Open the file for writing; create it, durably, when it is missing or was not yet whole.

    Raises: DiskFull, SyncFailed.
    """
    where = fs.describe(WITNESS_NAME)
    with writing("creating", where, fuse):
        there = WITNESS_NAME in fs.names()
        file = fs.open(WITNESS_NAME, writable=True) if there else fs.create(WITNESS_NAME)
        size = file.size()
        if (
            size < FILE_BYTES
        ):  # full size from the start: a note never needs space, nor a sync of the file's size
            write_all(file, size, bytes(FILE_BYTES - size))
            file.sync()
            fs.sync_directory()
    first, second = _read_slots(file, owner)
    # The better one stays until the other is written.
    return Witness(file, where, owner, SLOT_BYTES if first > second else 0, fuse)


def read_witness(fs: FileSystem, owner: bytes) -> Witnessed:
    """What the witness says. No file, or none of ours, or a bad one: no evidence, which is no evidence of anything."""
    with opening("reading", fs.describe(WITNESS_NAME)):
        try:
            file = fs.open(WITNESS_NAME)
        except FileNotFoundError:
            return NOTHING
        try:
            return max(_read_slots(file, owner))
        finally:
            file.close()


def _read_slots(file: File, owner: bytes) -> tuple[Witnessed, Witnessed]:
    data = read_salvaging(file, FILE_BYTES)
    return _decode(data[:SLOT_BYTES], owner), _decode(data[SLOT_BYTES:], owner)


def _decode(slot: bytes, owner: bytes) -> Witnessed:
    if len(slot) < _NOTE_BYTES:
        return NOTHING
    magic, whose, segment, end = _FIELDS.unpack_from(slot)
    (crc,) = _CRC.unpack_from(slot, _FIELDS.size)
    if magic != MAGIC or whose != owner or crc != crc32(slot[: _FIELDS.size]):
        return NOTHING
    return Witnessed(segment, end)
