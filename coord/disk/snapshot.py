"""Writing, keeping and reading snapshots: each a file of its own, durable before anyone hears of it.

Owns the snapshot files. Refuses to know what is in a section, and when the log may be trimmed.

A snapshot travels as its sections and, as one last section, the digest of them all with the meta. So a member
that receives one knows that it holds what the sender once wrote, whatever disks and wires lay between.

Its methods may run in another thread than the log's. They share nothing with it but the fuse.
"""

import errno
from collections.abc import Collection
from contextlib import AbstractContextManager
from zlib import crc32

from coord.api.checks import check
from coord.disk.errors import SnapshotDamaged, SnapshotGone, SnapshotRefused
from coord.disk.faults import Fuse, opening, write_all, writing
from coord.disk.filesystem import File, FileSystem
from coord.disk.names import DAMAGED_PREFIX, UNFINISHED_SUFFIX, snapshot_indexes, snapshot_name
from coord.disk.settings import MIB, StorageSettings
from coord.disk.snapshot_format import (
    SECTION_HEADER_BYTES,
    BadSnapshot,
    Contents,
    Digest,
    Section,
    Take,
    encode_header,
    encode_section_header,
    encode_trailer,
    read_contents,
)
from coord.raft.types import SnapshotMeta

_SYNC_EVERY_BYTES = 8 * MIB
"""One sync of a whole large snapshot would make the log's own syncs wait behind it for as long."""

_TAKE_ANOTHER = "Take a new snapshot, or restart the member so that its peers send one; and look at the disk."


class SnapshotWriter:
    """Writes one snapshot aside. Nobody sees it before :meth:`commit` returned; else :meth:`abandon` it."""

    def __init__(self, store: "SnapshotStore", meta: SnapshotMeta, *, received: bool) -> None:
        self._store = store
        self._meta = meta
        self._received = received
        self._held_back: bytes | None = None
        self._sections: list[Section] = []
        self._content_bytes = 0
        self._digest = Digest(meta)
        self._offset = self._synced = 0
        self._aside, self._file = store.create_aside(meta.index)
        self._open = True
        self._write(encode_header(store.owner, meta))

    @property
    def meta(self) -> SnapshotMeta:
        return self._meta

    def add(self, section: bytes) -> None:
        """The next section; of a received snapshot, the next thing that the sender's ``read_section`` gave.

        Raises: DiskFull (only this snapshot is lost, abandon it), SyncFailed (final).
        """
        if self._received:
            # The digest comes last, and which one is last shows only at commit(): always one behind.
            section_before, self._held_back = self._held_back, section
            if section_before is None:
                return
            section = section_before
        limit = self._store.settings.section_limit_bytes
        check(len(section) <= limit, "a section keeps its limit", len(section))
        placed = Section(self._offset + SECTION_HEADER_BYTES, len(section), crc32(section))
        self._write(encode_section_header(len(self._sections), section) + section)
        self._sections.append(placed)
        self._digest.add(section)
        self._content_bytes += len(section)

    def commit(self) -> None:
        """Make it durable, and the newest if it is.

        Raises: SnapshotRefused when it was received and is not what was sent (it is abandoned then);
            DiskFull (abandon it), SyncFailed (final).
        """
        digest = self._digest.value()
        if self._received and self._held_back != digest:
            self.abandon()
            raise SnapshotRefused(
                f"The snapshot at index {self._meta.index} that the leader sent does not match its digest, so it "
                "was dropped and will be sent again. Should this repeat, look at the leader's disk and memory."
            )
        self._write(encode_trailer(len(self._sections), self._content_bytes, digest))
        contents = Contents(self._meta, self._sections, digest, self._offset)
        self._store.publish(self._aside, self._file, contents)
        self._open = False

    def abandon(self) -> None:
        """Drop it. Right after any failure, and harmless when already dropped or committed."""
        if self._open:
            self._open = False
            self._store.drop_aside(self._aside, self._file)

    def _write(self, data: bytes) -> None:
        check(self._open, "a snapshot is written until it is committed or abandoned")
        self._store.fuse.check()
        with self._store.writing(self._aside):
            write_all(self._file, self._offset, data)
            self._offset += len(data)
            if self._offset - self._synced >= _SYNC_EVERY_BYTES:
                self._file.sync()
                self._synced = self._offset


class SnapshotStore:
    """The finished snapshots of a folder, by index."""

    def __init__(self, fs: FileSystem, owner: bytes, settings: StorageSettings, fuse: Fuse) -> None:
        self._fs = fs
        self.owner = owner
        self.settings = settings
        self.fuse = fuse
        self._contents: dict[int, Contents] = {}
        self._asides = 0

    def load_newest(self, take: Take | None) -> tuple[SnapshotMeta | None, list[tuple[str, str]]]:
        """Find the newest sound snapshot, reading it whole; also the ``(name, what is wrong)`` of newer ones.

        ``take`` is told of each that is tried. What it was given of one is worth nothing once it is told of another, or
        when there is none in the end. Raises: NewerFormat, CannotOpen.
        """
        damaged: list[tuple[str, str]] = []
        for index in reversed(snapshot_indexes(self._fs.names())):
            name = snapshot_name(index)
            try:
                contents = self._read_contents(name, take)
                if contents.meta.index != index:
                    raise BadSnapshot(f"it holds the snapshot at index {contents.meta.index}")
            except BadSnapshot as bad:
                damaged.append((name, str(bad)))
                continue
            self._contents = {index: contents}
            return contents.meta, damaged
        return None, damaged

    def newest(self) -> SnapshotMeta | None:
        contents = self._contents
        return contents[max(contents)].meta if contents else None

    def size_bytes(self) -> int:
        return sum(contents.size for contents in self._contents.copy().values())

    def set_aside(self, name: str) -> None:
        """Keep a damaged file for the curious, under a name that is never read; the next trim deletes it."""
        self._fs.rename(name, DAMAGED_PREFIX + name)

    def read_section(self, snapshot_index: int, number: int) -> tuple[bytes, bool]:
        """Section ``number``, checked, and whether it is the last (which is the digest of all).

        Raises: SnapshotGone, SnapshotDamaged.
        """
        contents = self._find(snapshot_index)
        check(0 <= number <= len(contents.sections), "no such section", number, len(contents.sections))
        if number == len(contents.sections):
            return contents.digest, True
        return self._read_body(snapshot_index, contents.sections[number], number), False

    def trim(self, snapshot_index: int, keep: Collection[int]) -> None:
        """Delete all snapshots below ``snapshot_index`` that are not in ``keep``, and what was set aside."""
        self.fuse.check()
        names = self._fs.names()
        old = {index for index in snapshot_indexes(names) if index < snapshot_index and index not in keep}
        self._contents = {index: kept for index, kept in self._contents.items() if index not in old}
        gone = [snapshot_name(index) for index in sorted(old)]
        gone += [name for name in names if name.startswith(DAMAGED_PREFIX)]
        with writing("deleting old snapshots in", self._fs.describe(""), self.fuse):
            for name in gone:
                self._fs.remove(name)

    def create_aside(self, index: int) -> tuple[str, File]:
        self.fuse.check()
        self._asides += 1
        aside = f"{snapshot_name(index)}.{self._asides}{UNFINISHED_SUFFIX}"
        with self.writing(aside):
            return aside, self._fs.create(aside)

    def publish(self, aside: str, file: File, contents: Contents) -> None:
        """Synced, renamed, directory synced, and only then spoken of.

        1. The snapshot is renamed, its directory not synced; 2. the log below it is trimmed; 3. the power fails:
        the deletions are on disk, the new name is not. The member wakes up with neither.
        """
        index = contents.meta.index
        self.fuse.check()
        with self.writing(aside):
            file.sync()
            file.close()
            self._fs.rename(aside, snapshot_name(index))
            self._fs.sync_directory()
        self._contents = {**self._contents, index: contents}

    def drop_aside(self, aside: str, file: File) -> None:
        with self.writing(aside):
            file.close()
            try:
                self._fs.remove(aside)
            except FileNotFoundError:
                pass  # publish() may have failed after renaming it

    def writing(self, name: str) -> AbstractContextManager[None]:
        return writing("writing the snapshot", self._fs.describe(name), self.fuse, full_is_final=False)

    def _find(self, snapshot_index: int) -> Contents:
        contents = self._contents.get(snapshot_index)
        if contents is None:
            raise SnapshotGone(
                f"The snapshot at index {snapshot_index} is not here (any more). Start again with the newest."
            )
        return contents

    def _read_contents(self, name: str, take: Take | None) -> Contents:
        with opening("reading", self._fs.describe(name)):
            file = self._fs.open(name)
            try:
                return read_contents(file, self.owner, self.settings.section_limit_bytes, take)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                raise BadSnapshot("the disk cannot read it (a bad sector?)") from error
            finally:
                file.close()

    def _read_body(self, snapshot_index: int, section: Section, number: int) -> bytes:
        name = snapshot_name(snapshot_index)
        where = self._fs.describe(name)
        try:
            file = self._fs.open(name)
            try:
                body = file.read_at(section.offset, section.length)
            finally:
                file.close()
        except FileNotFoundError:
            raise SnapshotGone(f"{where} was trimmed. Start again with the newest snapshot.") from None
        except OSError as error:
            raise SnapshotDamaged(
                f"Section {number} of {where} cannot be read: {error}. {_TAKE_ANOTHER}"
            ) from error
        if len(body) != section.length or crc32(body) != section.crc:
            raise SnapshotDamaged(f"Section {number} of {where} is damaged. {_TAKE_ANOTHER}")
        return body
