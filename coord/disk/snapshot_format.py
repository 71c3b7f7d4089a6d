"""The bytes of a snapshot file: header, sections, trailer. README.md draws them.

Owns encoding, and reading a file that may hold anything. Sections are opaque here.
"""

import hashlib
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple
from zlib import crc32

from coord.disk.errors import NewerFormat
from coord.disk.filesystem import File
from coord.raft.types import Configuration, SnapshotMeta

MAGIC = b"coord-sn"
FORMAT_VERSION = 1
DIGEST_BYTES = 32

_CRC = struct.Struct("<I")
_HEADER = struct.Struct(
    "<8sI8sQQI"
)  # magic, version, owner, index, term, bytes of the configuration; then crc
_SECTION = struct.Struct("<4sIII")  # mark, number from 0, bytes of the body, crc of the body; then crc
_TRAILER = struct.Struct("<4sIQ32s")  # mark, number of sections, bytes of their bodies, digest; then crc
_SECTION_MARK = b"sect"
_TRAILER_MARK = b"done"
SECTION_HEADER_BYTES = _SECTION.size + 4
_CONFIGURATION_LIMIT_BYTES = 1024 * 1024
_LOT_BYTES = 2 * 1024 * 1024
"""So much is hashed at a time in a thread. Each time, both threads may have to wait for the other to let go of the
interpreter: section by section, that took as long as it saved."""


class BadSnapshot(Exception):
    """These bytes are not a whole, undamaged snapshot of this folder; the text says how that shows."""


class Section(NamedTuple):
    """Where the body of a section lies in its file."""

    offset: int
    length: int
    crc: int


class Contents(NamedTuple):
    """What a sound snapshot file holds."""

    meta: SnapshotMeta
    sections: list[Section]
    digest: bytes
    size: int


class Digest:
    """SHA-256 over the meta and each section with its length: the same on every member, whoever stores it."""

    def __init__(self, meta: SnapshotMeta) -> None:
        self._sha = hashlib.sha256(struct.pack("<QQ", meta.index, meta.term))
        self._sha.update(encode_configuration(meta.configuration))

    def add(self, section: bytes) -> None:
        self._sha.update(struct.pack("<Q", len(section)))
        self._sha.update(section)

    def add_all(self, sections: list[bytes]) -> None:
        self._sha.update(
            b"".join([part for each in sections for part in (struct.pack("<Q", len(each)), each)])
        )

    def value(self) -> bytes:
        return self._sha.digest()


class DigestAside:
    """The same, worked out in a thread: SHA-256 is most of what checking takes, and lets go of the interpreter.

    At most two lots are held: one that gathers and one that is hashed.
    """

    def __init__(self, meta: SnapshotMeta, thread: ThreadPoolExecutor) -> None:
        self._digest = Digest(meta)
        self._thread = thread
        self._lot: list[bytes] = []
        self._lot_bytes = 0
        self._hashed: Future[None] | None = None

    def add(self, section: bytes) -> None:
        self._lot.append(section)
        self._lot_bytes += len(section)
        if self._lot_bytes >= _LOT_BYTES:
            self._hash()

    def value(self) -> bytes:
        self._hash()
        self._wait()
        return self._digest.value()

    def _hash(self) -> None:
        self._wait()
        self._hashed = self._thread.submit(self._digest.add_all, self._lot)
        self._lot, self._lot_bytes = [], 0

    def _wait(self) -> None:
        if self._hashed is not None:
            self._hashed.result()


def encode_configuration(configuration: Configuration) -> bytes:
    """Four lists of member ids, each as its length and the ids, 32 bits all."""
    numbers: list[int] = []
    for members in configuration:
        numbers += (len(members), *members)
    return struct.pack(f"<{len(numbers)}I", *numbers)


def decode_configuration(data: bytes) -> Configuration:
    """Raises: BadSnapshot."""
    if len(data) % 4:
        raise BadSnapshot("the configuration is malformed")
    numbers = struct.unpack(f"<{len(data) // 4}I", data)
    lists: list[tuple[int, ...]] = []
    at = 0
    for _ in range(4):
        if at >= len(numbers) or numbers[at] > len(numbers) - at - 1:
            raise BadSnapshot("the configuration is malformed")
        lists.append(numbers[at + 1 : at + 1 + numbers[at]])
        at += 1 + numbers[at]
    if at != len(numbers):
        raise BadSnapshot("the configuration is malformed")
    return Configuration(*lists)


def _sealed(data: bytes) -> bytes:
    return data + _CRC.pack(crc32(data))


def encode_header(owner: bytes, meta: SnapshotMeta) -> bytes:
    configuration = encode_configuration(meta.configuration)
    front = _HEADER.pack(MAGIC, FORMAT_VERSION, owner, meta.index, meta.term, len(configuration))
    return _sealed(front + configuration)


def encode_section_header(number: int, body: bytes) -> bytes:
    return _sealed(_SECTION.pack(_SECTION_MARK, number, len(body), crc32(body)))


def encode_trailer(sections: int, content_bytes: int, digest: bytes) -> bytes:
    return _sealed(_TRAILER.pack(_TRAILER_MARK, sections, content_bytes, digest))


class SnapshotReader:
    """Reads one file from its beginning; each step raises BadSnapshot when the bytes are not as written.

    No section is larger than ``section_limit_bytes``. Each is let go of once it is hashed, which a ``thread`` does if
    there is one.
    """

    def __init__(
        self,
        file: File,
        owner: bytes | None,
        section_limit_bytes: int,
        thread: ThreadPoolExecutor | None = None,
    ) -> None:
        self._file = file
        self._owner = owner
        self._limit = section_limit_bytes
        self._size = file.size()
        self._offset = 0
        self._thread = thread
        self.sections: list[Section] = []
        self.digest = b""

    def read_meta(self) -> SnapshotMeta:
        """The header. Raises: NewerFormat too."""
        front = self._take(_HEADER.size)
        magic, version, owner, index, term, length = _HEADER.unpack(front)
        if magic != MAGIC:
            raise BadSnapshot("it does not begin like a snapshot")
        if length > _CONFIGURATION_LIMIT_BYTES:
            raise BadSnapshot("its header is damaged")
        configuration = self._take(length)
        self._check_seal(front + configuration, "its header is damaged")
        if version != FORMAT_VERSION:
            raise NewerFormat(
                f"A snapshot has format version {version}; this coord reads version {FORMAT_VERSION}. Nothing was "
                "changed. Start the member with the coord that wrote the folder, or a newer one."
            )
        if self._owner is not None and owner != self._owner:
            raise BadSnapshot("it comes from another folder, member or cluster")
        meta = SnapshotMeta(index, term, decode_configuration(configuration))
        self._digest = Digest(meta) if self._thread is None else DigestAside(meta, self._thread)
        return meta

    def read_sections(self) -> Iterator[bytes]:
        """All sections, each checked; after the last, the trailer and the digest of the whole are."""
        content_bytes = 0
        while True:
            front = self._take(_SECTION.size)
            if front[:4] == _TRAILER_MARK:
                break
            mark, number, length, crc = _SECTION.unpack(front)
            self._check_seal(front, f"the header of section {len(self.sections)} is damaged")
            if mark != _SECTION_MARK or number != len(self.sections):
                raise BadSnapshot(f"section {len(self.sections)} is missing")
            if length > self._limit:
                raise BadSnapshot(
                    f"section {number} has {length} bytes, more than the limit of {self._limit}"
                )
            offset = self._offset
            body = self._take(length)
            if crc32(body) != crc:
                raise BadSnapshot(f"section {number} is damaged")
            self.sections.append(Section(offset, length, crc))
            self._digest.add(body)
            content_bytes += length
            yield body
        front += self._take(_TRAILER.size - _SECTION.size)
        self._check_seal(front, "its trailer is damaged")
        _, sections, stated_bytes, self.digest = _TRAILER.unpack(front)
        if sections != len(self.sections) or stated_bytes != content_bytes:
            raise BadSnapshot("sections are missing")
        if self.digest != self._digest.value():
            raise BadSnapshot("its digest does not match its content")
        if self._offset != self._size:
            raise BadSnapshot("something follows its end")

    def _take(self, length: int) -> bytes:
        if self._size - self._offset < length:
            raise BadSnapshot(f"it ends after {self._size} bytes, too early")
        data = self._file.read_at(self._offset, length)
        if len(data) != length:
            raise BadSnapshot("it became shorter while it was read")
        self._offset += length
        return data

    def _check_seal(self, data: bytes, otherwise: str) -> None:
        if _CRC.unpack(self._take(4))[0] != crc32(data):
            raise BadSnapshot(otherwise)


Take = Callable[[SnapshotMeta], Callable[[bytes], object]]
"""Told of a snapshot that is about to be read; what it returns is given each section, in order."""


def read_contents(file: File, owner: bytes | None, section_limit_bytes: int, take: Take | None) -> Contents:
    """Read and check all of a file. Raises: BadSnapshot, NewerFormat.

    ``take`` has each section as soon as that is checked, before it is known whether the whole is sound.
    """
    size = file.size()
    with ThreadPoolExecutor(1, "digest") as thread:  # it begins with the first lot
        reader = SnapshotReader(file, owner, section_limit_bytes, thread if size > _LOT_BYTES else None)
        meta = reader.read_meta()
        add = None if take is None else take(meta)
        for section in reader.read_sections():  # reading is checking
            if add is not None:
                add(section)
        return Contents(meta, reader.sections, reader.digest, size)
