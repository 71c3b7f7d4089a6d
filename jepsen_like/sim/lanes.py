"""What one life asks of its disk, in virtual time: two lanes of jobs, as the server has two threads.

Mirrors ``coord/server/writer.py`` (the log's lane; the merging of batches is its own function) and
``coord/server/disk.py`` (snapshots). A job takes its time and then happens all at once; when the process dies during
one, a random first part of its disk operations happens, so that every point between two of them is a point of death.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from coord.disk.errors import SnapshotRefused, StorageError
from coord.disk.snapshot import SnapshotWriter
from coord.disk.storage import Storage
from coord.jepsen_like.sim.agenda import MICROSECOND_NS, MS_NS
from coord.jepsen_like.sim.disk import CutShort
from coord.raft.types import Persist, SnapshotMeta
from coord.replica.inputs import (
    Input,
    Persisted,
    SectionLoaded,
    SectionStored,
    SnapshotRejected,
    SnapshotSaved,
    SnapshotSectionSaved,
    SnapshotStored,
)
from coord.server.writer import merge

if TYPE_CHECKING:
    from coord.jepsen_like.sim.life import Life

Work = Callable[[], list[Input]]
"""Does a job, in one go; what the replica is told of it."""

PART_OPERATIONS: Final = (3, 6, 12)
"""A job that is cut short gets so far at most: through a batch, a snapshot's end, a new segment with the identity."""


class Job(NamedTuple):
    name: str
    work: Work
    syncs: bool


class Lane:
    """Jobs in order, one at a time. ``queue`` may hold batches, which are merged when their turn comes."""

    def __init__(self, life: "Life", name: str) -> None:
        self.life = life
        self.name = name
        self.queue: deque[Job] = deque()
        self.current: Job | None = None
        self.slow_until_ns = 0

    def add(self, job: Job) -> None:
        self.queue.append(job)
        if self.current is None:
            self._begin()

    def _begin(self) -> None:
        self.current = job = self.next_job()
        life = self.life
        life.sim.agenda.after(life.disk_time_ns(job.syncs), self._end, job)
        life.sim.happened(f"{job.name}_begun", life)

    def next_job(self) -> Job:
        return self.queue.popleft()

    def has_more(self) -> bool:
        return bool(self.queue)

    def _end(self, job: Job) -> None:
        life = self.life
        if not life.alive:
            return
        if life.paused:
            life.when_resumed.append((self._end, job))
            return
        self.current = None
        answers = life.attempt(job.work)
        if answers is None:
            return
        for answer in answers:
            life.put(answer)
        life.sim.happened(f"{job.name}_done", life)
        if life.alive and self.current is None and self.has_more():
            self._begin()

    def cut_short(self) -> None:
        """The process dies now: of the job under way, a part happens."""
        job, self.current = self.current, None
        dice, disk = self.life.member.dice, self.life.member.disk
        if job is None or dice.random() < 0.3:
            return
        disk.cut_after = dice.randint(1, dice.choice(PART_OPERATIONS))
        try:
            job.work()
        except (CutShort, StorageError):
            pass  # nobody is there any more to hear of it
        finally:
            disk.cut_after = 0


class LogLane(Lane):
    """The log's: batches that gathered are written as one."""

    def __init__(self, life: "Life", storage: Storage) -> None:
        super().__init__(life, "log")
        self._storage = storage
        self._batches: list[Persist | Job] = []  # the queue proper, as the writer has it
        self.in_flight: list[Persist] = []
        """Given to the disk and not synced: a crash keeps any first part of them."""

    def persist(self, batch: Persist) -> None:
        self.in_flight.append(batch)
        self._batches.append(batch)
        if self.current is None:
            self._begin()

    def do(self, job: Job) -> None:
        self._batches.append(job)
        if self.current is None:
            self._begin()

    def has_more(self) -> bool:
        return bool(self._batches)

    def next_job(self) -> Job:
        first = self._batches.pop(0)
        if isinstance(first, Job):
            return first
        merged, numbers = merge(first, self._batches)  # type: ignore[arg-type]
        return Job("sync", lambda: self._append(merged, numbers), True)

    def _append(self, merged: Persist, numbers: list[int]) -> list[Input]:
        self._storage.append(merged)
        del self.in_flight[: len(numbers)]
        self.life.sim.ghosts.is_durable(self.life.member.number, merged)
        return [Persisted(number) for number in numbers]


class DiskTasks:
    """See ``coord/server/disk.py``, whose words these are."""

    def __init__(self, life: "Life", storage: Storage, log: LogLane) -> None:
        self._life = life
        self._storage = storage
        self._log = log
        self._lane = Lane(life, "tasks")
        self._saving: SnapshotWriter | None = None
        self._saving_failed = False
        self._receiving: SnapshotWriter | None = None
        self._sending: dict[int, int] = {}

    def cut_short(self) -> None:
        self._lane.cut_short()

    @property
    def waiting(self) -> int:
        return len(self._lane.queue)

    # --- what the driver asks ---------------------------------------------------------------------------------------

    def end_recovering(self) -> None:
        self._log.do(Job("end_recovering", self._end_recovering, True))

    def load_section(self, peer: int, snapshot_index: int, section: int) -> None:
        self._sending[peer] = snapshot_index
        self._later("section_load", lambda: [self._load_section(peer, snapshot_index, section)])

    def store_section(self, meta: SnapshotMeta, section: int, data: bytes, last: bool) -> None:
        name = "install" if last else "section_store"
        self._later(name, lambda: self._store_section(meta, section, data, last), last)

    def begin_snapshot(self, meta: SnapshotMeta) -> None:
        self._later("snapshot", lambda: self._begin_snapshot(meta))

    def add_snapshot_section(self, data: bytes) -> None:
        self._later("section_save", lambda: self._add_snapshot_section(data))

    def end_snapshot(self) -> None:
        self._later("snapshot_rename", self._end_snapshot, True)

    def trim(self, snapshot_index: int, keep_from_index: int) -> None:
        self._later("trim", lambda: self._trim(snapshot_index, keep_from_index))

    def _later(self, name: str, work: Work, syncs: bool = False) -> None:
        self._lane.add(Job(name, work, syncs))

    # --- jobs -------------------------------------------------------------------------------------------------------

    def _end_recovering(self) -> list[Input]:
        self._storage.end_recovering()
        self._life.sim.budget.restored(self._life.member.number)
        self._life.sim.mark("recovering_ended")
        return []

    def _load_section(self, peer: int, snapshot_index: int, section: int) -> Input:
        try:
            data, last = self._storage.read_section(snapshot_index, section)
        except StorageError:
            self._life.sim.mark("section_missing")
            return SectionLoaded(peer, snapshot_index, section, None, False)
        return SectionLoaded(peer, snapshot_index, section, data, last)

    def _store_section(self, meta: SnapshotMeta, section: int, data: bytes, last: bool) -> list[Input]:
        try:
            if section == 0:
                if self._receiving is not None:
                    self._receiving.abandon()
                self._receiving = self._storage.receive_snapshot(meta)
            writer = self._receiving
            if writer is None or writer.meta != meta:
                return [SnapshotRejected(meta)]
            writer.add(data)
            if not last:
                return [SectionStored(meta, section)]
            writer.commit()
            self._receiving = None
            self._log.do(Job("log_reset", lambda: self._reset_log(meta), True))
        except StorageError as error:
            self._life.sim.mark("snapshot_rejected")
            if self._receiving is not None and not isinstance(error, SnapshotRefused):
                self._receiving.abandon()
            self._receiving = None
            return [SnapshotRejected(meta)]
        return []

    def _reset_log(self, meta: SnapshotMeta) -> list[Input]:
        self._storage.reset_log(meta)
        self._life.sim.ghosts.installed(self._life.member.number, meta)
        return [SnapshotStored(meta)]

    def _begin_snapshot(self, meta: SnapshotMeta) -> list[Input]:
        if self._saving is not None:
            self._saving.abandon()
            self._saving = None
        self._saving_failed = False
        self._attempt(lambda: setattr(self, "_saving", self._storage.begin_snapshot(meta)))
        return []

    def _add_snapshot_section(self, data: bytes) -> list[Input]:
        writer = self._saving
        if writer is not None:
            self._attempt(lambda: writer.add(data))
        return [SnapshotSectionSaved()]

    def _end_snapshot(self) -> list[Input]:
        writer, self._saving = self._saving, None
        index = -1
        if writer is not None and not self._saving_failed:
            index = writer.meta.index
            self._attempt(writer.commit)
        if not self._saving_failed:
            self._life.sim.mark("snapshot_saved")
        return [SnapshotSaved(index, not self._saving_failed)]

    def _attempt(self, work: Callable[[], None]) -> None:
        if self._saving_failed:
            return
        try:
            work()
        except StorageError:
            self._saving_failed = True
            self._life.sim.mark("snapshot_failed")
            if self._saving is not None:
                self._saving.abandon()

    def _trim(self, snapshot_index: int, keep_from_index: int) -> list[Input]:
        self._storage.trim(snapshot_index, keep_from_index, keep_snapshots=tuple(self._sending.values()))
        self._sending.clear()
        return []


def disk_time_ns(low_us: int, high_us: int, draw: float) -> int:
    """Between the two, mostly near the lower: ``draw`` is uniform in [0, 1)."""
    return int((low_us + (high_us - low_us) * draw * draw) * MICROSECOND_NS)


def slow_time_ns(longest_ms: int, draw: float) -> int:
    return int(longest_ms * MS_NS * draw)
