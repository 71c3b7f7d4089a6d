"""Looking into a data folder without touching it: rows for ``coord wal`` and ``coord snapshot``.

Pure reading: never repairs, never takes the lock, and expects anything: damage, foreign files, a
member that is writing just now (then the last rows of the newest segment may look torn, and a file may be gone
before it is read). What is wrong is in a row's ``problem``, never an exception, save that the folder itself
cannot be read.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass

from coord.disk.errors import StorageError
from coord.disk.faults import opening
from coord.disk.filesystem import FileSystem
from coord.disk.identity import FolderState, load
from coord.disk.names import segment_name, segment_numbers, snapshot_indexes, snapshot_name
from coord.disk.record import (
    HEADER_BYTES,
    KIND_NAMES,
    BadRecord,
    Header,
    check_body,
    owner_digest,
    read_header,
    search,
    written_end,
)
from coord.disk.salvage import read_salvaging
from coord.disk.snapshot_format import BadSnapshot, SnapshotReader
from coord.disk.witness import NOTHING, read_witness
from coord.raft.types import SnapshotMeta

_SECTION_LIMIT_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class FolderRow:
    """The identity file."""

    file: str
    state: FolderState | None
    problem: str


@dataclass(frozen=True, slots=True)
class WalRow:
    """One record, or a stretch of bytes that is none. Offsets and lengths are bytes."""

    file: str
    offset: int
    length: int
    """With the header."""
    kind: str
    """As in ``record.KIND_NAMES``, or empty when it is no record."""
    index: int
    term: int
    vote: int
    synced_through: int
    problem: str
    """Empty: sound, and follows the record before it."""


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """One snapshot file, read whole."""

    file: str
    size: int
    meta: SnapshotMeta | None
    sections: int
    content_bytes: int
    digest: str
    problem: str


def inspect_folder(fs: FileSystem) -> FolderRow:
    """Whose folder it is, and what is noted about damage."""
    where = fs.describe("identity")
    try:
        loaded = load(fs)
    except StorageError as error:
        return FolderRow(where, None, str(error))
    if loaded is None:
        return FolderRow(where, None, "there is no identity file: this is not a data folder, or no longer")
    state, whole = loaded
    return FolderRow(where, state, "" if whole else "one of its two copies is damaged")


def inspect_wal(fs: FileSystem) -> Iterator[WalRow]:
    """All records of all segments, by segment and offset, and what lies between them.

    The zeros behind a segment's last record are room for the next ones, and have no row.

    Raises: CannotOpen when the folder cannot be listed.
    """
    owner = _owner(fs)
    # Before the log: of a member that is writing just now it then tells no more than the log will have.
    witnessed = NOTHING if owner is None else read_witness(fs, owner)
    with opening("listing", fs.describe("")):
        numbers = segment_numbers(fs.names())
    chain: int | None = None
    for number in numbers:
        name = segment_name(number)
        data, problem = _read(fs, name)
        if problem:
            yield WalRow(name, 0, 0, "", 0, 0, 0, 0, problem)
            chain = None
            continue
        end, chain = yield from _records(name, number, data, owner, chain)
        if number == numbers[-1] == witnessed.segment and end < witnessed.end:
            yield WalRow(name, end, witnessed.end - end, "", 0, 0, 0, 0, "missing: it was once synced")
    if witnessed.segment > max(numbers, default=0):
        yield WalRow(
            segment_name(witnessed.segment), 0, witnessed.end, "", 0, 0, 0, 0, "missing: it was once synced"
        )


def inspect_snapshots(fs: FileSystem) -> Iterator[SnapshotRow]:
    """All finished snapshots by index, each read and checked whole, a section at a time.

    Raises: CannotOpen when the folder cannot be listed.
    """
    owner = _owner(fs)
    with opening("listing", fs.describe("")):
        indexes = snapshot_indexes(fs.names())
    for index in indexes:
        yield _snapshot(fs, snapshot_name(index), owner)


def _owner(fs: FileSystem) -> bytes | None:
    state = inspect_folder(fs).state
    if state is None or state.identity.cluster_id is None:
        return None
    return owner_digest(state.identity.folder_id, state.identity.cluster_id, state.identity.member_id)


def _read(fs: FileSystem, name: str) -> tuple[bytes, str]:
    try:
        file = fs.open(name)
        try:
            data = read_salvaging(file)
            return data, "" if data or not file.size() else "larger than any segment; not read"
        finally:
            file.close()
    except FileNotFoundError:
        return b"", "gone: the member that uses the folder has deleted it just now"
    except OSError as error:
        return b"", f"cannot be read: {error}"


def _records(
    name: str, number: int, data: bytes, owner: bytes | None, chain: int | None
) -> Generator[WalRow, None, tuple[int, int | None]]:
    """The rows of one segment; returns where it ends, and the chain there. ``chain`` None: anything may come first."""
    buffer = memoryview(data)
    offset = 0
    while offset < len(data):
        try:
            header = read_header(buffer, offset, owner, number)
            check_body(buffer, header)
        except (BadRecord, StorageError) as bad:
            if written_end(data, offset) == offset:
                break
            following = next(_search(data, offset + 1, owner, number), None)
            end = written_end(data, offset) if following is None else following.offset
            yield WalRow(name, offset, end - offset, "", 0, 0, 0, 0, str(bad))
            offset, chain = end, None
            continue
        follows = chain is None or header.previous_crc in (chain, 0)
        chain = header.header_crc
        length = HEADER_BYTES + header.length
        yield WalRow(
            name,
            offset,
            length,
            KIND_NAMES.get(header.kind, f"kind {header.kind}"),
            header.index,
            header.term,
            header.vote,
            header.synced_through,
            "" if follows else "it does not follow the record before it",
        )
        offset += length
    return offset, chain


def _search(data: bytes, begin: int, owner: bytes | None, number: int) -> Iterator[Header]:
    try:
        yield from search(data, begin, owner, number)
    except StorageError:
        return  # a record of a newer format: its own row says so when reading gets there


def _snapshot(fs: FileSystem, name: str, owner: bytes | None) -> SnapshotRow:
    size = content_bytes = 0
    meta: SnapshotMeta | None = None
    reader: SnapshotReader | None = None
    problem = ""
    try:
        file = fs.open(name)
        try:
            size = file.size()
            reader = SnapshotReader(file, owner, _SECTION_LIMIT_BYTES)
            meta = reader.read_meta()
            for section in reader.read_sections():
                content_bytes += len(section)
        finally:
            file.close()
    except FileNotFoundError:
        problem = "gone: the member that uses the folder has deleted it just now"
    except (BadSnapshot, StorageError) as bad:
        problem = str(bad)
    except OSError as error:
        problem = f"cannot be read: {error}"
    sections = 0 if reader is None else len(reader.sections)
    digest = "" if reader is None or problem else reader.digest.hex()
    return SnapshotRow(name, size, meta, sections, content_bytes, digest, problem)
