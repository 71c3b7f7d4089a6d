"""The face of the room: one member's data folder.

Owns who may call what from where, and hands the work on: ``opening.py`` (start), ``wal.py`` (log),
``snapshot.py``, ``identity.py``. Knows no clock and no network, and never retries.

Threads: ``append``, ``reset_log``, ``set_cluster_id``, ``set_fields``, ``begin_recovering``,
``end_recovering`` and ``close`` are the writer's, one at a time. The snapshot methods, ``trim`` and ``statistics``
may run in other threads meanwhile.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from coord.api.checks import check
from coord.disk.errors import WrongCluster
from coord.disk.faults import Fuse
from coord.disk.filesystem import FileSystem
from coord.disk.identity import Damage, FolderState, Identity, save
from coord.disk.opening import Opened, Recovered, identify, open_folder, take_lock
from coord.disk.record import owner_digest
from coord.disk.settings import StorageSettings
from coord.disk.snapshot import SnapshotStore, SnapshotWriter
from coord.disk.snapshot_format import Take
from coord.disk.wal import Position, Wal, create_segment
from coord.disk.witness import open_witness
from coord.raft.types import HardState, Persist, SnapshotMeta


@dataclass(frozen=True, slots=True)
class StorageStatistics:
    """For metrics, and for refusing writes before the disk is full rather than after."""

    wal_segments: int
    wal_bytes: int
    snapshot_index: int
    """Of the newest; 0: none."""
    snapshot_bytes: int
    """Of all that are kept."""
    free_bytes: int


class LockedFolder:
    """A data folder that is this process's, and of which nothing was read but whose it is. See :meth:`Storage.lock`."""

    def __init__(
        self, fs: FileSystem, settings: StorageSettings, fuse: Fuse, state: FolderState, notes: list[str]
    ) -> None:
        self._fs = fs
        self._settings = settings
        self._fuse = fuse
        self._state = state
        self._notes = notes

    @property
    def identity(self) -> Identity:
        return self._state.identity

    def open(self, take: Take | None = None) -> tuple["Storage", Recovered]:
        """The second half of :meth:`Storage.open`, which takes as long as the folder is large. Once."""
        try:
            opened = open_folder(self._fs, self._state, self._notes, self._settings, self._fuse, take)
        except BaseException:
            self._fs.unlock()
            raise
        return Storage(self._fs, self._settings, self._fuse, opened), opened.recovered


class Storage:
    """A data folder, opened and locked by this process. See :meth:`open`."""

    def __init__(self, fs: FileSystem, settings: StorageSettings, fuse: Fuse, opened: Opened) -> None:
        self._fs = fs
        self._settings = settings
        self._fuse = fuse
        self._state: FolderState = opened.state
        self._snapshots = opened.snapshots
        self._wal: Wal | None = None
        file, position, witness = opened.file, opened.position, opened.witness
        if file is not None and position is not None and witness is not None:
            identity = opened.state.identity
            self._wal = Wal(fs, identity, settings, fuse, position, file, witness, self._note_segment)

    @staticmethod
    def open(
        fs: FileSystem,
        *,
        member_id: int | None,
        cluster_id: bytes | None = None,
        create: bool = False,
        settings: StorageSettings | None = None,
        take: Take | None = None,
    ) -> tuple["Storage", Recovered]:
        """Lock the folder, check whose it is, and read it; all that is returned is durable.

        ``member_id`` None: whoever it belongs to. ``cluster_id`` None: do not check; an unformed folder passes
        any. ``create``: give an empty folder to this member.

        ``take`` is told of a snapshot before it is read, and what it returns is given the sections, each checked by
        itself: the content is loaded while it is read, once. Only this method's return says that the whole was sound,
        and ``Recovered.snapshot`` which one it was: should one be damaged, ``take`` is told of the next older one.
        What it raises comes out of here.

        Raises: CannotOpen, FolderInUse, WrongMember, WrongCluster, NewerFormat, DamagedFolder, DiskFull, SyncFailed.
            The lock is free again after any of these, and the folder can be opened once the cause is gone.
        """
        locked = Storage.lock(
            fs, member_id=member_id, cluster_id=cluster_id, create=create, settings=settings
        )
        return locked.open(take)

    @staticmethod
    def lock(
        fs: FileSystem,
        *,
        member_id: int | None,
        cluster_id: bytes | None = None,
        create: bool = False,
        settings: StorageSettings | None = None,
    ) -> LockedFolder:
        """The first half of :meth:`open`, which never takes long. Raises what that does."""
        settings = settings or StorageSettings()
        fuse = Fuse()
        take_lock(fs)
        try:
            state, notes = identify(fs, member_id, cluster_id, create, fuse)
        except BaseException:
            fs.unlock()
            raise
        return LockedFolder(fs, settings, fuse, state, notes)

    @property
    def identity(self) -> Identity:
        return self._state.identity

    @property
    def snapshot(self) -> SnapshotMeta | None:
        """The newest durable snapshot."""
        return None if self._snapshots is None else self._snapshots.newest()

    # Identity

    def set_cluster_id(self, cluster_id: bytes) -> None:
        """The cluster was formed, or joined: from now on there is a log. Durable; the same again is harmless.

        The log's first segment is created before the identity names the cluster. The other way round, a crash in
        between would leave a member of a cluster whose log is missing, which is what lost files look like.
        """
        self._fuse.check()
        check(len(cluster_id) == 16, "a cluster id has 16 bytes", cluster_id)
        identity = self.identity
        if identity.cluster_id is not None:
            if identity.cluster_id != cluster_id:
                raise WrongCluster(
                    f"The data folder {self._fs.describe('')} belongs to cluster {identity.cluster_id.hex()}, not to "
                    f"{cluster_id.hex()}. To join the other cluster, give this member an empty folder."
                )
            return
        formed = replace(identity, cluster_id=cluster_id)
        nothing = HardState(0, 0)
        file, end, chain = create_segment(
            self._fs, formed, self._settings, self._fuse, 1, (0, 0, 0), (0, 0), nothing
        )
        self._save(replace(self._state, identity=formed, newest_segment=1))
        owner = owner_digest(formed.folder_id, cluster_id, formed.member_id)
        self._snapshots = SnapshotStore(self._fs, owner, self._settings, self._fuse)
        witness = open_witness(self._fs, owner, self._fuse)
        witness.note(1, end)
        position = Position(1, end, chain, nothing, last_index=0, last_term=0, base_index=0)
        self._wal = Wal(
            self._fs, formed, self._settings, self._fuse, position, file, witness, self._note_segment
        )

    def set_fields(self, fields: Mapping[str, str | int]) -> None:
        """Replace the identity's small extras, durably. Together they must stay below about 3 KB."""
        self._fuse.check()
        self._save(replace(self._state, identity=replace(self.identity, fields=dict(fields))))

    def begin_recovering(self, what: str) -> None:
        """Note, durably, that this member may have promised what it does not hold: an empty disk under an old name.

        Damage that was found at opening is noted already.
        """
        self._fuse.check()
        if self._state.damage is None:
            self._save(replace(self._state, damage=Damage(what, "", 0, 0, 0)))

    def end_recovering(self) -> None:
        """Its peers have restored what it once promised, and that is durable: forget the damage, durably."""
        self._fuse.check()
        if self._state.damage is not None:
            self._save(replace(self._state, damage=None))

    # The log

    def append(self, persist: Persist) -> None:
        """Write one batch and sync it; when this returns it is on the disk.

        Raises: DiskFull, SyncFailed. Unknown: the batch may or may not be there at the next start. Final: every
            later call raises SyncFailed.
        """
        self._fuse.check()
        self._log().append(persist)

    def reset_log(self, meta: SnapshotMeta) -> None:
        """The log begins anew at ``meta.index + 1``: an installed snapshot that it does not reach replaces it."""
        self._fuse.check()
        newest = self.snapshot
        check(
            newest is not None and newest[:2] == meta[:2],
            "the log begins anew after a durable snapshot",
            meta,
        )
        self._log().reset(meta.index, meta.term)

    def trim(
        self, snapshot_index: int, keep_from_index: int, *, keep_snapshots: Collection[int] = ()
    ) -> None:
        """Delete log segments wholly below ``keep_from_index``, and snapshots below ``snapshot_index``.

        Snapshots in ``keep_snapshots`` (being sent) stay, and so does the newest.
        """
        self._fuse.check()
        newest = self.snapshot
        check(newest is not None and snapshot_index <= newest.index, "only below a durable snapshot", newest)
        check(keep_from_index <= snapshot_index + 1, "the log reaches down to the snapshot", keep_from_index)
        self._log().trim(keep_from_index)
        self._store().trim(snapshot_index, keep_snapshots)

    # Snapshots

    def begin_snapshot(self, meta: SnapshotMeta) -> SnapshotWriter:
        """A writer for this member's own snapshot."""
        return SnapshotWriter(self._store(), meta, received=False)

    def receive_snapshot(self, meta: SnapshotMeta) -> SnapshotWriter:
        """A writer for a snapshot that the leader sends; it takes what the leader's ``read_section`` gives."""
        return SnapshotWriter(self._store(), meta, received=True)

    def read_section(self, snapshot_index: int, section: int) -> tuple[bytes, bool]:
        """One section for sending, and whether it is the last (the digest). Raises: SnapshotGone, SnapshotDamaged."""
        return self._store().read_section(snapshot_index, section)

    # The rest

    def statistics(self) -> StorageStatistics:
        segments, wal_bytes = (0, 0) if self._wal is None else self._wal.wal_bytes()
        newest = self.snapshot
        return StorageStatistics(
            wal_segments=segments,
            wal_bytes=wal_bytes,
            snapshot_index=0 if newest is None else newest.index,
            snapshot_bytes=0 if self._snapshots is None else self._snapshots.size_bytes(),
            free_bytes=self._fs.free_bytes(),
        )

    def close(self) -> None:
        """Let files and lock go. Writes nothing: what was acknowledged is durable already."""
        if self._wal is not None:
            self._wal.close()
        self._fs.unlock()

    def _log(self) -> Wal:
        check(self._wal is not None, "there is no log before the cluster id is known")
        assert self._wal is not None
        return self._wal

    def _store(self) -> SnapshotStore:
        check(self._snapshots is not None, "there are no snapshots before the cluster id is known")
        assert self._snapshots is not None
        return self._snapshots

    def _save(self, state: FolderState) -> None:
        save(self._fs, state, self._fuse)
        self._state = state

    def _note_segment(self, number: int) -> None:
        self._save(replace(self._state, newest_segment=number))


__all__ = [
    "Damage",
    "Identity",
    "LockedFolder",
    "Recovered",
    "SnapshotWriter",
    "Storage",
    "StorageSettings",
    "StorageStatistics",
]
