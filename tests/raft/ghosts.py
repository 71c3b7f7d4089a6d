"""What must always hold, watched from outside by an observer who sees all members at once.

Each check is named after the property of Ongaro's thesis (figure 3.2) or the promise that it guards.
"""

from coord.api.checks import check
from coord.raft.quorum import has_quorum
from coord.raft.types import Configuration, Entry


class Ghosts:
    """The observer's memory. It survives every crash."""

    def __init__(self) -> None:
        self.leader_of_term: dict[int, int] = {}
        self.entry_named: dict[tuple[int, int], tuple[int, int, bytes]] = {}
        """By (index, term): the term before it, its kind and its data."""
        self.committed: list[Entry] = []
        """``committed[i]`` is the entry at ``i + 1``."""
        self.reads_floor: dict[int, int] = {}
        """By context: what was committed, anywhere, when the read was asked for."""

    @property
    def committed_index(self) -> int:
        return len(self.committed)

    def election_safety(self, term: int, leader: int) -> None:
        """At most one leader can be elected in a given term."""
        known = self.leader_of_term.setdefault(term, leader)
        check(known == leader, "two leaders in one term", term, known, leader)

    def log_matching(self, previous_term: int, entries: tuple[Entry, ...]) -> None:
        """Entries with the same index and term are the same, and so is all before them."""
        for entry in entries:
            content = (previous_term, entry.kind, entry.data)
            known = self.entry_named.setdefault((entry.index, entry.term), content)
            check(known == content, "two entries of one name", entry, known, content)
            previous_term = entry.term

    def state_machine_safety(self, entry: Entry) -> bool:
        """No two members apply different entries at one index. True for the first to apply it."""
        check(entry.index <= len(self.committed) + 1, "entries are applied without holes", entry)
        if entry.index == len(self.committed) + 1:
            self.committed.append(entry)
            return True
        check(self.committed[entry.index - 1] == entry, "committed entries never change", entry)
        return False

    def acknowledged_means_durable(
        self, entry: Entry, configuration: Configuration, durable: dict[int, set[tuple[int, int]]]
    ) -> None:
        """When a leader commits an entry of its term, a quorum has had it on disk."""
        holders = {member: (entry.index, entry.term) in names for member, names in durable.items()}
        check(has_quorum(configuration, holders), "committed before a quorum had it on disk", entry, holders)

    def read_asked(self, context: int) -> None:
        self.reads_floor[context] = self.committed_index

    def read_is_fresh(self, context: int, index: int) -> None:
        """A read sees everything that was committed, by anyone, before it was asked for."""
        floor = self.reads_floor.pop(context)
        check(index >= floor, "a read misses what was committed before it", context, index, floor)
