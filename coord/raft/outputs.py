"""What the core asks of the world, gathered since it was last asked."""

from coord.raft.messages import Message
from coord.raft.types import Entry, Persist, SnapshotMeta


class Outputs:
    """Everything that should happen now. Nothing here waits for anything else here.

    - ``persist``: one batch for the disk; answer ``persisted(number)`` when it is synced, in order.
    - ``messages``: ``(to, message)``, free to leave at once; what depends on the disk is not among them yet.
    - ``committed``: entries to apply, contiguous, continuing where the last batch ended.
    - ``reads``: ``(context, index)``; serve once everything through ``index`` is applied.
    - ``reads_refused``: contexts whose read did not happen, for leadership was lost.
    - ``sections_wanted``: ``(peer, snapshot_index, section)``; answer ``section_loaded`` or ``section_missing``.
    - ``sections_received``: ``(meta, section, data, last)``, in order, section 0 beginning anew; answer
      ``section_stored``, or for the last ``snapshot_installed`` or ``snapshot_refused``.
    """

    __slots__ = (
        "committed",
        "messages",
        "persist",
        "reads",
        "reads_refused",
        "sections_received",
        "sections_wanted",
    )

    def __init__(self) -> None:
        self.persist: Persist | None = None
        self.messages: list[tuple[int, Message]] = []
        self.committed: list[Entry] = []
        self.reads: list[tuple[int, int]] = []
        self.reads_refused: list[int] = []
        self.sections_wanted: list[tuple[int, int, int]] = []
        self.sections_received: list[tuple[SnapshotMeta, int, bytes, bool]] = []

    def __bool__(self) -> bool:
        return bool(
            self.persist
            or self.messages
            or self.committed
            or self.reads
            or self.reads_refused
            or self.sections_wanted
            or self.sections_received
        )
