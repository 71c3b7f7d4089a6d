"""The log in memory: a list of entries above a boundary, and how far it is on disk.

    boundary_index      persisted_index        handed_index          last_index
          |  first_index      |                     |                     |
    ------+===================+=====================+=====================+
     in a snapshot   on disk, synced     handed to the disk     not yet handed out
     (dropped)

    boundary_index <= persisted_index <= handed_index <= last_index
    boundary_index <= commit_index <= last_index            (commit_index lives in the state)

The log owns this arithmetic and nothing else: it does not know roles, quorums or peers.

Batches under way to the disk are remembered until they are synced, for the sake of a story (etcd tells it of
its asynchronous log writes as an ABA problem). Entries are named ``index/term``:

1. Follower F appends 5/1 from the leader of term 1: batch 1 goes to the disk, slowly.
2. The leader of term 2 has another entry there: F truncates 5/1 and appends 5/2: batch 2 waits for batch 1.
3. The leader of term 3 never saw 5/2, but has 5/1: F truncates 5/2 and appends 5/1 again: batch 3 waits.
4. Batch 1 is synced. F's log does hold 5/1 at 5, so F could take it for safe and acknowledge it to term 3.
5. Batch 2 is synced, and F crashes before batch 3: its disk holds 5/2. What it acknowledged is gone.

So a truncation lowers what each batch under way will be worth (``_Batch.through_index``): a batch vouches only for
entries that stayed in the log, untouched, from the moment the batch was made until it is synced.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from operator import attrgetter

from coord.api.checks import check
from coord.raft.types import Entry

_entry_term = attrgetter("term")


class _Batch:
    """A batch under way to the disk. Once synced, everything through ``through_index`` is on disk."""

    __slots__ = ("number", "through_index")

    def __init__(self, number: int, through_index: int) -> None:
        self.number = number
        self.through_index = through_index


class Log:
    """Entries ``[first_index, last_index]``, contiguous; terms never decrease along it."""

    __slots__ = (
        "_batches",
        "_entries",
        "boundary_index",
        "boundary_term",
        "handed_index",
        "last_index",
        "last_term",
        "persisted_index",
    )

    def __init__(self, boundary_index: int, boundary_term: int, entries: Sequence[Entry]) -> None:
        """A log as it was read from the disk: all of it is persisted."""
        self._entries: list[Entry] = []
        self.boundary_index = boundary_index
        """The entry below ``first_index``: dropped from memory, its term remembered."""
        self.boundary_term = boundary_term
        self.last_index = boundary_index
        self.last_term = boundary_term
        """Kept beside the list because every election and append asks for them."""
        for entry in entries:
            check(
                entry.index == self.last_index + 1,
                "the log on disk has no holes",
                entry.index,
                self.last_index,
            )
            check(entry.term >= self.last_term, "terms never decrease along the log", entry.index, entry.term)
            self.append(entry)
        self.persisted_index = self.last_index
        self.handed_index = self.last_index
        self._batches: deque[_Batch] = deque()

    @property
    def first_index(self) -> int:
        """The lowest index in memory; ``last_index + 1`` when there is none."""
        return self.boundary_index + 1

    def term_at(self, index: int) -> int | None:
        """The term of the entry at ``index``; None when it is below the boundary or past the end."""
        offset = index - self.boundary_index
        if offset > 0:
            return self._entries[offset - 1].term if index <= self.last_index else None
        return self.boundary_term if offset == 0 else None

    def slice(self, first: int, last: int) -> list[Entry]:
        """Entries ``[first, last]``, all of which must be in memory."""
        check(
            self.boundary_index < first and last <= self.last_index,
            "entries asked of the log are in it",
            first,
            last,
            self.boundary_index,
            self.last_index,
        )
        return self._entries[first - self.boundary_index - 1 : last - self.boundary_index]

    def slice_of_bytes(self, first: int, max_bytes: int) -> tuple[Entry, ...]:
        """Entries from ``first`` on, while their data stays within ``max_bytes``; always at least one."""
        entries = self._entries
        start = first - self.boundary_index - 1
        check(
            0 <= start < len(entries),
            "there is an entry to send",
            first,
            self.boundary_index,
            self.last_index,
        )
        end = start + 1
        size = len(entries[start].data)
        while end < len(entries):
            size += len(entries[end].data)
            if size > max_bytes:
                break
            end += 1
        return tuple(entries[start:end])

    def append(self, entry: Entry) -> None:
        """Take the entry that follows the last one. The caller has made sure that it does."""
        self._entries.append(entry)
        self.last_index = entry.index
        self.last_term = entry.term

    def truncate_from(self, index: int) -> None:
        """Forget the entry at ``index`` and all after it; what was on disk of them counts no more."""
        check(self.boundary_index < index <= self.last_index, "only what is in the log is truncated", index)
        del self._entries[index - self.boundary_index - 1 :]
        self.last_index = index - 1
        self.last_term = self._entries[-1].term if self._entries else self.boundary_term
        self._forget_from(index)

    def _forget_from(self, index: int) -> None:
        if self.handed_index >= index:
            self.handed_index = index - 1
            if self.persisted_index >= index:
                self.persisted_index = index - 1
            for batch in self._batches:
                if batch.through_index >= index:
                    batch.through_index = index - 1

    def last_not_above_term(self, index: int, term: int) -> tuple[int, int]:
        """``(index, term)`` of the last entry at or below ``index`` whose term is at most ``term``.

        By bisection: terms never decrease along the log. When none in memory qualifies, the boundary is
        the answer if it does, and otherwise the place before it, with term 0 (an unknown, which matches nothing
        but the empty log).
        """
        end = min(index, self.last_index) - self.boundary_index
        if end > 0:
            found = bisect_right(self._entries, term, 0, end, key=_entry_term)
            if found:
                entry = self._entries[found - 1]
                return entry.index, entry.term
        if self.boundary_term <= term and self.boundary_index <= index:
            return self.boundary_index, self.boundary_term
        return max(0, min(index, self.boundary_index) - 1), 0

    def hand_out(self, number: int) -> tuple[Entry, ...]:
        """The entries that batch ``number`` is to bring to the disk; perhaps none (a hard state alone)."""
        entries = self._entries[self.handed_index - self.boundary_index :]
        self.handed_index = self.last_index
        self._batches.append(_Batch(number, self.last_index))
        return tuple(entries)

    def batch_synced(self, number: int) -> None:
        """Batch ``number`` is on disk. Batches are synced in the order in which they were handed out."""
        check(
            bool(self._batches) and self._batches[0].number == number,
            "the disk answers each batch once, in order",
            number,
        )
        through_index = self._batches.popleft().through_index
        if through_index > self.persisted_index:
            self.persisted_index = through_index
        check(self.persisted_index <= self.handed_index, "the disk holds no more than it was given", number)

    @property
    def batches_under_way(self) -> int:
        return len(self._batches)

    def compact_to(self, boundary_index: int) -> None:
        """Drop entries ``<= boundary_index`` from memory. They are in a durable snapshot."""
        if boundary_index <= self.boundary_index:
            return
        check(
            boundary_index <= self.handed_index,
            "an entry stays in memory until the disk was given it",
            boundary_index,
            self.handed_index,
        )
        term = self.term_at(boundary_index)
        check(term is not None, "the log is compacted within its bounds", boundary_index)
        del self._entries[: boundary_index - self.boundary_index]
        self.boundary_index = boundary_index
        self.boundary_term = term or 0
        if self.persisted_index < boundary_index:
            self.persisted_index = boundary_index

    def restart_at(self, index: int, term: int) -> None:
        """Replace the whole log by a snapshot at ``index``, which is durable; batches under way count no more."""
        self._entries.clear()
        self.boundary_index = self.last_index = self.persisted_index = self.handed_index = index
        self.boundary_term = self.last_term = term
        for batch in self._batches:
            batch.through_index = 0
