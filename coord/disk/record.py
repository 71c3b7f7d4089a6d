"""One record of the log: 64 bytes of header, then the body. README.md draws it byte by byte.

Owns the bytes of a single record, both ways. Refuses to know what records follow each other (``recovery.py``)
and where they go (``wal.py``). As in etcd's WAL every record carries a checksum chained to the one
before; unlike there, the header has its own, and names its cluster, member, folder, segment and offset, so that a
record found by searching says for itself whether it belongs where it lies (CORDS, FAST'17; PAR, FAST'18).
"""

import hashlib
import struct
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

from coord.api.checks import check
from coord.disk.errors import NewerFormat

MAGIC = b"\xc0\x0d\x57\xa1"
FORMAT_VERSION = 1

KIND_SEGMENT_START = 1
KIND_ENTRY = 2
KIND_HARD_STATE = 3
KIND_NAMES = {
    KIND_SEGMENT_START: "segment start",
    KIND_ENTRY: "entry",
    KIND_HARD_STATE: "hard state",
}

_FIELDS = struct.Struct("<4sBBH8sIIIIQQIII")
_HEADER = struct.Struct("<4sBBH8sIIIIQQIIII")
_CRC = struct.Struct("<I")
FIELDS_BYTES = _FIELDS.size
HEADER_BYTES = _HEADER.size

MAX_SEGMENT_BYTES = 3 * 2**29
"""A segment has at most 1 GiB, and a batch beyond. What is larger was not written by us, nor worth the memory."""


class Header(NamedTuple):
    """The fields in the order of their bytes."""

    magic: bytes
    version: int
    kind: int
    detail: int
    """Of an entry: its kind. Of a hard state: 0 for the first copy, 1 for the second. Else 0."""
    owner: bytes
    segment: int
    offset: int
    length: int
    """Bytes of the body."""
    synced_through: int
    """Everything before this offset of this segment was synced when this record was written; <= offset."""
    index: int  # type: ignore[assignment]  # the log's own word, over tuple.index()
    term: int
    vote: int
    """Of a hard state; else 0."""
    previous_crc: int
    """``header_crc`` of the record before, in the segment before for a segment's start; 0: nothing before."""
    body_crc: int
    header_crc: int
    """Over the 60 bytes before it, so over ``body_crc`` and, by ``previous_crc``, all that came before."""


class BadRecord(Exception):
    """These bytes are not the record that belongs here; the text says how that shows."""


class Nonsense(BadRecord):
    """An intact record, in its place, that cannot follow what came before: no torn write looks like that."""


def owner_digest(folder_id: bytes, cluster_id: bytes, member_id: int) -> bytes:
    """Eight bytes that say whose record it is.

    ``folder_id`` is random and never leaves the folder: no client can put bytes into a value that
    would pass for a record when we search, and a file left over from the same member's former folder is
    foreign too.
    """
    check(len(folder_id) == 16, "a folder id has 16 bytes")
    check(len(cluster_id) == 16, "a cluster id has 16 bytes")
    return hashlib.sha256(b"coord wal" + folder_id + cluster_id + member_id.to_bytes(4, "little")).digest()[
        :8
    ]


class Encoder:
    """Turns one batch into bytes, record by record, from a place in the log on. Hot path.

    ``offset`` and ``chain`` move with each record; ``parts`` joined is what goes to ``start``.
    """

    __slots__ = ("_owner", "_segment", "_synced_through", "chain", "offset", "parts", "start")

    def __init__(self, owner: bytes, segment: int, offset: int, chain: int, synced_through: int) -> None:
        self._owner = owner
        self._segment = segment
        self._synced_through = synced_through
        self.start = offset
        self.offset = offset
        self.chain = chain
        self.parts: list[bytes] = []

    def add(self, kind: int, detail: int, index: int, term: int, vote: int, body: bytes) -> None:
        fields = _FIELDS.pack(
            MAGIC,
            FORMAT_VERSION,
            kind,
            detail,
            self._owner,
            self._segment,
            self.offset,
            len(body),
            self._synced_through,
            index,
            term,
            vote,
            self.chain,
            crc32(body),
        )
        self.chain = header_crc = crc32(fields)
        self.parts += (fields, _CRC.pack(header_crc), body)
        self.offset += HEADER_BYTES + len(body)

    def add_hard_state(self, term: int, vote: int, padding_bytes: int) -> None:
        """Both copies. The padding keeps them apart, so that one bad sector never makes us forget a vote."""
        padding = bytes(padding_bytes)
        self.add(KIND_HARD_STATE, 0, 0, term, vote, padding)
        self.add(KIND_HARD_STATE, 1, 0, term, vote, padding)

    def data(self) -> bytes:
        return b"".join(self.parts)


def read_header(buffer: memoryview, offset: int, owner: bytes | None, segment: int) -> Header:
    """The header at ``offset``, if it is intact and belongs exactly there. ``owner`` None: anyone's.

    Raises: BadRecord; NewerFormat when the header is intact but of a later version.
    """
    if len(buffer) - offset < HEADER_BYTES:
        raise BadRecord(f"the file ends after {len(buffer) - offset} of a header's {HEADER_BYTES} bytes")
    header = Header._make(_HEADER.unpack_from(buffer, offset))
    if header.header_crc != crc32(buffer[offset : offset + FIELDS_BYTES]):
        raise BadRecord("the header's checksum does not match")
    if header.magic != MAGIC:
        raise BadRecord("no record begins here")
    if header.version != FORMAT_VERSION:
        raise NewerFormat(
            f"Segment {segment} holds a record of format version {header.version} at offset {offset}; this coord "
            f"reads version {FORMAT_VERSION}. Start the member with the coord that wrote the folder, or a newer one."
        )
    if owner is not None and header.owner != owner:
        raise BadRecord("the record belongs to another folder, member or cluster")
    if header.segment != segment or header.offset != offset:
        raise BadRecord(f"the record belongs to segment {header.segment} at offset {header.offset}")
    return header


def encode_second_copy(owner: bytes, first: Header) -> bytes:
    """The second copy of a hard state, which the first determines wholly."""
    offset = first.offset + HEADER_BYTES + first.length
    encoder = Encoder(owner, first.segment, offset, first.header_crc, first.synced_through)
    encoder.add(KIND_HARD_STATE, 1, 0, first.term, first.vote, bytes(first.length))
    return encoder.data()


def encode_first_copy(owner: bytes, second: Header, chain: int) -> bytes | None:
    """The first copy of a hard state, from the second and the chain before; None when they do not fit.

    That they fit is a proof: the second names the checksum of the first.
    """
    offset = second.offset - HEADER_BYTES - second.length
    encoder = Encoder(owner, second.segment, offset, chain, second.synced_through)
    encoder.add(KIND_HARD_STATE, 0, 0, second.term, second.vote, bytes(second.length))
    return encoder.data() if encoder.chain == second.previous_crc else None


def unpack_header(data: bytes) -> Header:
    """The header that ``data`` begins with, unchecked."""
    return Header._make(_HEADER.unpack_from(data))


def check_body(buffer: memoryview, header: Header) -> None:
    """Raise BadRecord unless the body of ``header`` is all there and intact."""
    begin = header.offset + HEADER_BYTES
    if len(buffer) - begin < header.length:
        raise BadRecord(f"the file ends after {len(buffer) - begin} of the body's {header.length} bytes")
    if crc32(buffer[begin : begin + header.length]) != header.body_crc:
        raise BadRecord("the body's checksum does not match")


class SegmentStart(NamedTuple):
    """The body of a segment's first record, with the header's ``index`` and ``term`` as base."""

    cluster_id: bytes
    folder_id: bytes
    member_id: int
    previous_segment: int
    """The segment that this one continues; 0: none, the log begins anew here, after the base."""
    previous_end: int
    """Where the previous segment ends. What it may hold beyond is no part of the log."""
    base_index: int
    """The log's last index when this segment began; its entries usually go on at ``base_index + 1``."""
    base_term: int


_START = struct.Struct("<16s16sIII")


def encode_start(start: SegmentStart) -> bytes:
    return _START.pack(*start[:5])


def decode_start(header: Header, body: bytes) -> SegmentStart:
    """Raises: BadRecord when it is not the start of a segment."""
    if header.kind != KIND_SEGMENT_START or len(body) != _START.size:
        raise BadRecord("the segment does not begin with its start record")
    cluster_id, folder_id, member_id, previous_segment, previous_end = _START.unpack(body)
    return SegmentStart(
        cluster_id, folder_id, member_id, previous_segment, previous_end, header.index, header.term
    )


def start_block_bytes(padding_bytes: int) -> int:
    """How much a new segment holds before its first batch: the start and two hard states."""
    return HEADER_BYTES + _START.size + 2 * (HEADER_BYTES + padding_bytes)


def written_end(data: bytes, begin: int) -> int:
    """Where the zeros begin that ``data`` ends with, looking no further back than ``begin``.

    No record begins with a zero, but some end with zeros.
    """
    return begin + len(data[begin:].rstrip(b"\0"))


def search(
    data: bytes, begin: int, owner: bytes | None, segment: int, end: int | None = None
) -> Iterator[Header]:
    """All intact headers of this segment that begin in ``[begin, end)``, wherever. Bodies are not looked at.

    Slow (each place that looks like a beginning is tried), and needed only once something is wrong.
    """
    buffer = memoryview(data)
    at = data.find(MAGIC, begin, end)
    while at >= 0:
        try:
            header = read_header(buffer, at, owner, segment)
        except BadRecord:
            pass  # four bytes that look like a beginning, in the middle of something else
        else:
            yield header
        at = data.find(MAGIC, at + 1, end)
