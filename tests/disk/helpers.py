"""Short words for the disk's tests."""

from collections.abc import Callable, Mapping, Sequence

from coord.disk.names import segment_name
from coord.disk.opening import Recovered
from coord.disk.record import HEADER_BYTES, search
from coord.disk.settings import StorageSettings
from coord.disk.snapshot_format import Take
from coord.disk.storage import Storage
from coord.raft.types import Configuration, Entry, HardState, Persist, SnapshotMeta
from tests.disk.memory import MemoryFileSystem

CLUSTER = bytes(range(100, 116))
VOTERS = Configuration((1, 2, 3))
SMALL = StorageSettings(segment_bytes=2048, hard_state_padding_bytes=512, section_limit_bytes=4096)
"""Segments that are soon full: hardly a batch finds room ahead of it."""
ROOMY = StorageSettings(segment_bytes=32768, hard_state_padding_bytes=512, section_limit_bytes=4096)
"""Most batches go over zeros that were written ahead."""


def entry(index: int, term: int = 1, data: bytes = b"", kind: int = 0) -> Entry:
    return Entry(index, term, kind, data or f"entry {index} of term {term}".encode())


def entries(first: int, last: int, term: int = 1) -> tuple[Entry, ...]:
    return tuple(entry(index, term) for index in range(first, last + 1))


def meta(index: int, term: int = 1, configuration: Configuration = VOTERS) -> SnapshotMeta:
    return SnapshotMeta(index, term, configuration)


def end_of(files: Mapping[str, bytes], number: int) -> int:
    """Where the last record of a segment ends. What follows in the file are zeros."""
    *_, last = search(files[segment_name(number)], 0, None, number)
    return last.offset + HEADER_BYTES + last.length


def reopen(
    fs: MemoryFileSystem,
    settings: StorageSettings = SMALL,
    *,
    create: bool = False,
    take: Take | None = None,
) -> tuple[Storage, Recovered]:
    """As a new process would: whoever had the lock is dead."""
    fs.locked = False
    return Storage.open(fs, member_id=1, create=create, settings=settings, take=take)


class Taken:
    """What is read of each snapshot that is tried at an opening."""

    def __init__(self) -> None:
        self.tried: list[SnapshotMeta] = []
        self.sections: list[bytes] = []

    def begin(self, what: SnapshotMeta) -> Callable[[bytes], None]:
        self.tried.append(what)
        self.sections = []
        return self.sections.append


def formed(fs: MemoryFileSystem, settings: StorageSettings = SMALL) -> Storage:
    storage, _ = reopen(fs, settings, create=True)
    storage.set_cluster_id(CLUSTER)
    return storage


class Appender:
    """Numbers the batches."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._number = 0

    def __call__(self, batch: Sequence[Entry] = (), hard_state: HardState | None = None) -> None:
        self._number += 1
        self._storage.append(Persist(self._number, hard_state, tuple(batch)))


def take_snapshot(storage: Storage, what: SnapshotMeta, sections: Sequence[bytes] = (b"one", b"two")) -> None:
    writer = storage.begin_snapshot(what)
    for section in sections:
        writer.add(section)
    writer.commit()


def content(storage: Storage, index: int) -> list[bytes]:
    """All sections of the snapshot at ``index``, as they are sent."""
    sections: list[bytes] = []
    last = False
    while not last:
        section, last = storage.read_section(index, len(sections))
        sections.append(section)
    return sections[:-1]
