"""What the driver asks of the disk besides the log: snapshots, mostly. They take long and need not be soon.

Done one after another in a thread, never the log's: a snapshot must not stand before a sync. A failure here
costs a snapshot; one of the log (``writer.py``) ends the process.
"""

from collections.abc import Callable
from queue import SimpleQueue

from coord.disk.errors import SnapshotRefused, StorageError
from coord.disk.snapshot import SnapshotWriter
from coord.disk.storage import Storage
from coord.raft.types import Persist, SnapshotMeta
from coord.replica.inputs import (
    Input,
    SectionLoaded,
    SectionStored,
    SnapshotRejected,
    SnapshotSaved,
    SnapshotSectionSaved,
    SnapshotStored,
    TokenKeyMade,
)
from coord.server.threads import run_thread
from coord.server.token_key import TokenKeyFile
from coord.server.writer import LogWriter


class DiskTasks:
    """Does what the driver asks of the disk; answers with inputs, in order."""

    def __init__(
        self,
        storage: Storage,
        writer: LogWriter,
        put: Callable[[Input], None],
        complain: Callable[[str], None],
        token_key: TokenKeyFile | None = None,
    ) -> None:
        self._token_key = token_key
        self._storage = storage
        self._writer = writer
        self._put = put
        self._complain = complain
        self._jobs: SimpleQueue[Callable[[], Input | None] | None] = SimpleQueue()
        self._saving: SnapshotWriter | None = None
        self._saving_failed = False
        self._receiving: SnapshotWriter | None = None
        self._sending: dict[int, int] = {}  # peer -> index of the snapshot being sent to it

    # --- what the driver asks -------------------------------------------------------------------

    def persist(self, batch: Persist) -> None:
        self._writer.persist(batch)

    def end_recovering(self) -> None:
        self._writer.do(self._storage.end_recovering)

    def load_section(self, peer: int, snapshot_index: int, section: int) -> None:
        self._later(lambda: self._load_section(peer, snapshot_index, section))

    def store_section(self, meta: SnapshotMeta, section: int, data: bytes, last: bool) -> None:
        self._later(lambda: self._store_section(meta, section, data, last))

    def begin_snapshot(self, meta: SnapshotMeta) -> None:
        self._later(lambda: self._begin_snapshot(meta))

    def add_snapshot_section(self, data: bytes) -> None:
        self._later(lambda: self._add_snapshot_section(data))

    def end_snapshot(self) -> None:
        self._later(self._end_snapshot)

    def trim(self, snapshot_index: int, keep_from_index: int) -> None:
        self._later(lambda: self._trim(snapshot_index, keep_from_index))

    def make_token_key(self, generation: int) -> None:
        self._later(lambda: self._make_token_key(generation))

    async def run(self) -> None:
        """Do the slow work, in order, until cancelled."""
        await run_thread("disk jobs", self._run, lambda: self._jobs.put(None))

    def _later(self, job: Callable[[], Input | None]) -> None:
        self._jobs.put(job)

    # --- in the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while True:
                job = self._jobs.get()
                if job is None:
                    return
                answer = job()
                if answer is not None:
                    self._put(answer)
        finally:
            for unfinished in (self._saving, self._receiving):
                if unfinished is not None:
                    unfinished.abandon()

    def _load_section(self, peer: int, snapshot_index: int, section: int) -> Input:
        self._sending[peer] = snapshot_index
        try:
            data, last = self._storage.read_section(snapshot_index, section)
        except StorageError as error:
            self._complain(f"cannot send snapshot {snapshot_index} to member {peer}: {error}")
            return SectionLoaded(peer, snapshot_index, section, None, False)
        return SectionLoaded(peer, snapshot_index, section, data, last)

    def _store_section(self, meta: SnapshotMeta, section: int, data: bytes, last: bool) -> Input | None:
        try:
            if section == 0:
                if self._receiving is not None:
                    self._receiving.abandon()
                self._receiving = self._storage.receive_snapshot(meta)
            writer = self._receiving
            if writer is None or writer.meta != meta:
                return SnapshotRejected(meta)
            writer.add(data)
            if not last:
                return SectionStored(meta, section)
            writer.commit()
            self._receiving = None
            # The log on disk begins anew before Raft is told, so before any entry that follows the snapshot: in the
            # writer's order. (While a snapshot is being installed, Raft appends nothing.)
            self._writer.do(lambda: self._reset_log(meta))
        except StorageError as error:
            self._complain(f"the snapshot that the leader sent cannot be taken: {error}")
            if self._receiving is not None and not isinstance(error, SnapshotRefused):
                self._receiving.abandon()
            self._receiving = None
            return SnapshotRejected(meta)
        return None

    def _reset_log(self, meta: SnapshotMeta) -> Input:
        self._storage.reset_log(meta)
        return SnapshotStored(meta)

    def _begin_snapshot(self, meta: SnapshotMeta) -> None:
        if self._saving is not None:
            self._saving.abandon()  # a snapshot was installed over the state that was being saved
            self._saving = None
        self._saving_failed = False
        self._attempt(lambda: setattr(self, "_saving", self._storage.begin_snapshot(meta)))

    def _add_snapshot_section(self, data: bytes) -> Input:
        writer = self._saving
        if writer is not None:
            self._attempt(lambda: writer.add(data))
        return SnapshotSectionSaved()

    def _end_snapshot(self) -> Input:
        writer, self._saving = self._saving, None
        index = -1
        if writer is not None and not self._saving_failed:
            index = writer.meta.index
            self._attempt(writer.commit)
        return SnapshotSaved(index, not self._saving_failed)

    def _make_token_key(self, generation: int) -> Input | None:
        if self._token_key is None:
            return None
        try:
            return TokenKeyMade(self._token_key.make(generation))
        except StorageError as error:
            self._complain(f"no new key for signing tokens, the present one goes on: {error}")
            return None  # it will be asked for again

    def _attempt(self, work: Callable[[], None]) -> None:
        """Part of saving a snapshot. When it fails, the log only grows longer: the next try comes."""
        if self._saving_failed:
            return
        try:
            work()
        except StorageError as error:
            self._saving_failed = True
            if self._saving is not None:
                self._saving.abandon()
            self._complain(f"saving a snapshot failed: {error}")

    def _trim(self, snapshot_index: int, keep_from_index: int) -> None:
        self._storage.trim(snapshot_index, keep_from_index, keep_snapshots=tuple(self._sending.values()))
        self._sending.clear()
