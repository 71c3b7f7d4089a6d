"""What a crash leaves, and what is on its way there."""

from collections import deque

from coord.jepsen_like.scope.model import Broken
from coord.raft.types import Entry, HardState, Persist, SnapshotMeta


class Disk:
    """Batches are synced one by one, in order; a crash loses those that were not.

    That a batch may be on disk without its member having heard of it needs no action of its own: it is a sync and then
    a crash, with nothing that was said between the two ever delivered.
    """

    __slots__ = ("content", "entries", "hard_state", "recovering", "snapshot", "start_index", "unsynced")

    def __init__(self, snapshot: SnapshotMeta) -> None:
        self.hard_state = HardState(0, 0)
        self.snapshot = snapshot
        self.content = b""
        """The snapshot's: the state machine's digest."""
        self.start_index = snapshot.index
        self.entries: list[Entry] = []
        """Contiguous, after ``start_index``."""
        self.unsynced: deque[Persist] = deque()
        self.recovering = False
        """What a member that lost something must remember until it is whole again."""

    def sync(self) -> int:
        """The next batch is on disk; its number."""
        batch = self.unsynced.popleft()
        if batch.hard_state is not None:
            if batch.hard_state.term < self.hard_state.term:
                raise Broken("terms only grow", f"{batch} comes to a disk with {self.hard_state}")
            self.hard_state = batch.hard_state
        if batch.entries:
            first = batch.entries[0].index
            if not self.start_index < first <= self.start_index + len(self.entries) + 1:
                raise Broken("the disk's log has no holes", f"{first} does not follow {self.last_index}")
            del self.entries[first - self.start_index - 1 :]
            self.entries += batch.entries
        return batch.number

    @property
    def last_index(self) -> int:
        return self.start_index + len(self.entries)

    def entry_at(self, index: int) -> Entry | None:
        offset = index - self.start_index - 1
        return self.entries[offset] if 0 <= offset < len(self.entries) else None

    def term_at(self, index: int) -> int | None:
        """The term of the entry at ``index``, or of the snapshot there; None when there is neither."""
        if index == self.snapshot.index:
            return self.snapshot.term
        entry = self.entry_at(index)
        return None if entry is None else entry.term

    def trim(self, index: int) -> None:
        """Drop entries through ``index``."""
        if index > self.start_index:
            del self.entries[: index - self.start_index]
            self.start_index = index

    def install(self, meta: SnapshotMeta, content: bytes) -> None:
        """A snapshot takes the log's place."""
        self.snapshot, self.content = meta, content
        self.start_index, self.entries = meta.index, []
