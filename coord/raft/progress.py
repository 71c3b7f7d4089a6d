"""What a leader knows of one peer's log, and how fast it may send to it.

                 an append was acknowledged
        PROBE ------------------------------> REPLICATE
        ^  ^ <------------------------------  |
        |  |   refused / link lost            |   what it needs
        |  |                                  |   is no longer
        |  |  installed / refused /           |   in the log
        |  |  missing / silent                v
        |  +------------------------------ SNAPSHOT
        |        what it needs is no longer in the log
        +------------------------------------->

- PROBE: where the logs agree is a guess. One append at a time, held until an answer (or a heartbeat's reply, for
  either may be lost).
- REPLICATE: the guess was right. Appends go out back to back, ``next_index`` running ahead of the answers, at
  most ``max_inflight_appends`` unanswered.
- SNAPSHOT: a snapshot travels, one section at a time; no appends meanwhile.
"""

import enum
from collections import deque

from coord.raft.types import SnapshotMeta


class ProgressState(enum.IntEnum):
    PROBE = 0
    REPLICATE = 1
    SNAPSHOT = 2


class Progress:
    """The flow of entries to one peer. ``match_index < next_index``.

    What *counts* (acknowledgements, heartbeats answered, who was heard from) is not here but in the state, by member:
    flow may be guessed, taken back and repeated; what counts may not.
    """

    __slots__ = (
        "commit_sent",
        "inflight",
        "match_index",
        "next_index",
        "peer",
        "probe_empty",
        "probe_sent",
        "reachable",
        "recovering",
        "recovery_nonce",
        "recovery_target",
        "silent_ticks",
        "snapshot",
        "snapshot_section",
        "state",
    )

    def __init__(self, peer: int, next_index: int) -> None:
        self.peer = peer
        self.state = ProgressState.PROBE
        self.match_index = 0
        """The logs agree through here as far as the flow of entries goes. A recovering peer may take it back."""
        self.next_index = next_index
        """The first entry of the next append."""
        self.commit_sent = 0
        """The commit index that it was last told. A hint against repetition; heartbeats repeat it anyway."""
        self.inflight: deque[int] = deque()
        """REPLICATE: the last index of each unanswered append, ascending."""
        self.probe_sent = False
        """PROBE: an append is out, wait."""
        self.probe_empty = False
        """PROBE: the last one got no answer; ask again without entries, which may be large."""
        self.silent_ticks = 0
        """Ticks since it answered an append or a section, or was asked again: is something lost?"""
        self.reachable = True
        """Heard from, at all, since the last check of the quorum. No snapshot is begun for a peer that is not."""
        self.recovering = False
        """What it last said of itself; shown to people. Counting goes by each reply's own word."""
        self.recovery_nonce = 0
        self.recovery_target = 0
        """The nonce it last asked with, and the entry appended for that (see recovering.py)."""
        self.snapshot: SnapshotMeta | None = None
        """SNAPSHOT: what travels."""
        self.snapshot_section = 0
        """SNAPSHOT: the section that it is to get next."""

    def become_probe(self, next_index: int) -> None:
        """Guess ``next_index``, one append at a time."""
        self.state = ProgressState.PROBE
        self.next_index = max(next_index, self.match_index + 1)
        self.inflight.clear()
        self.probe_sent = False
        self.probe_empty = False
        self.snapshot = None

    def become_replicate(self) -> None:
        """The peer's log is known to agree through ``match_index``: stream from there."""
        self.state = ProgressState.REPLICATE
        self.next_index = self.match_index + 1
        self.inflight.clear()
        self.probe_sent = False
        self.snapshot = None

    def become_snapshot(self, meta: SnapshotMeta) -> None:
        """Send ``meta`` from its first section."""
        self.state = ProgressState.SNAPSHOT
        self.inflight.clear()
        self.probe_sent = False
        self.snapshot = meta
        self.snapshot_section = 0
        self.silent_ticks = 0

    def advance_match(self, match_index: int) -> None:
        """It acknowledged through ``match_index``; the appends that end there or before are answered."""
        if match_index > self.match_index:
            self.match_index = match_index
            if self.next_index <= match_index:
                self.next_index = match_index + 1
        inflight = self.inflight
        while inflight and inflight[0] <= match_index:
            inflight.popleft()
