"""The writer: one thread that owns the log. One synced batch is in flight while the next ones gather.

A thread of its own rather than one from a pool: every write of every client waits for two such hand-overs on its
way to a quorum, and this is the shortest there is, a queue into the thread and the poller's wake out of it.
"""

from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

from coord.disk.storage import Storage
from coord.raft.types import Persist
from coord.replica.inputs import Input, Persisted
from coord.server.threads import run_thread

MERGE_BYTES: Final = 8 * 1024 * 1024
"""Batches that gathered during a sync are written as one, up to this size."""

Job = Callable[[], Input | None]
"""What else only the log's owner may do, in its order; the answer, if any, is put."""


class LogWriter:
    """Writes and syncs batches in order; answers each with :class:`Persisted`.

    Its queue is bounded by what Raft has in flight: ``uncommitted_bytes`` at a leader, ``max_inflight_appends``
    at a follower.
    """

    def __init__(self, storage: Storage, put: Callable[[Input], None]) -> None:
        """``put`` is called in the writer's thread."""
        self._storage = storage
        self._put = put
        self._work: SimpleQueue[Persist | Job | None] = SimpleQueue()

    def persist(self, batch: Persist) -> None:
        """Have ``batch`` written and synced. From any thread; never waits."""
        self._work.put(batch)

    def do(self, job: Job) -> None:
        """Have ``job`` done after what was asked before. From any thread; never waits."""
        self._work.put(job)

    async def run(self) -> None:
        """Until cancelled. Raises what stopped the writer: :class:`~coord.disk.errors.StorageError`, for one."""
        await run_thread("log writer", self._run, lambda: self._work.put(None))

    # --- in the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        waiting: list[Persist | Job | None] = []
        while True:
            waiting.append(self._work.get())
            while not self._work.empty():
                waiting.append(self._work.get())
            while waiting:
                work = waiting.pop(0)
                if work is None:
                    return
                if isinstance(work, Persist):
                    self._append(work, waiting)
                else:
                    answer = work()
                    if answer is not None:
                        self._put(answer)

    def _append(self, batch: Persist, waiting: list[Persist | Job | None]) -> None:
        merged, numbers = merge(batch, waiting)
        self._storage.append(merged)
        for number in numbers:
            self._put(Persisted(number))


def merge(first: Persist, waiting: list[Persist | Job | None]) -> tuple[Persist, list[int]]:
    """``first`` and the batches behind it as one, as far as that changes nothing but the number of syncs.

    What is merged is taken from ``waiting``; returns the numbers of all, too.
    """
    if not waiting:
        return first, [first.number]
    numbers = [first.number]
    hard_state, entries = first.hard_state, list(first.entries)
    size = sum(len(entry.data) for entry in entries)
    while waiting and size < MERGE_BYTES:
        following = waiting[0]
        if not isinstance(following, Persist):
            break
        if following.entries and entries and following.entries[0].index != entries[-1].index + 1:
            break  # it takes entries back: that order must stay visible
        del waiting[0]
        hard_state = following.hard_state or hard_state
        entries += following.entries
        size += sum(len(entry.data) for entry in following.entries)
        numbers.append(following.number)
    return Persist(numbers[-1], hard_state, tuple(entries)), numbers
