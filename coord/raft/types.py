"""The shapes that Raft shares with the disk and the replica: plain tuples, no behaviour."""

from typing import NamedTuple

ENTRY_COMMANDS = 0
"""An entry of opaque commands; empty data is the no-op that a new leader appends."""

ENTRY_CONFIGURATION = 1
"""An entry whose data is an encoded :class:`Configuration`."""


class Entry(NamedTuple):
    """One position of the log. ``(index, term)`` names it: two logs that share it share all before it."""

    index: int  # type: ignore[assignment]  # the field's own word, over tuple.index()
    term: int
    kind: int
    data: bytes


class HardState(NamedTuple):
    """What must be on disk before anything that depends on it is said. ``vote`` 0: none in this term."""

    term: int
    vote: int


class Configuration(NamedTuple):
    """Who votes. All tuples are sorted by id; ``outgoing`` is non-empty only in joint consensus.

    Learners get the log and never count. ``learners_next`` are voters of ``outgoing`` that become
    learners when the joint configuration is left (they must not be both at once).
    """

    voters: tuple[int, ...]
    outgoing: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    learners_next: tuple[int, ...] = ()


class SnapshotMeta(NamedTuple):
    """The log position that a snapshot stands for: it holds the effect of entries ``[1, index]``."""

    index: int  # type: ignore[assignment]  # the field's own word, over tuple.index()
    term: int
    configuration: Configuration


class Persist(NamedTuple):
    """One batch for the disk, numbered 1, 2, 3 … without gaps.

    ``entries`` are contiguous. If ``entries[0].index`` is not past what was written before, everything
    from there on is superseded: on disk the later record wins. Never both empty and without hard state.
    """

    number: int
    hard_state: HardState | None
    entries: tuple[Entry, ...]
