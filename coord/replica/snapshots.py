"""This member's own snapshots, made a section at a time; and the one that a leader sends, taken in likewise."""

from collections import deque
from typing import Final

from coord.limits import MemberLimits
from coord.raft.types import SnapshotMeta
from coord.replica.settings import ReplicaSettings
from coord.store.snapshot import StoreLoader, StoreSnapshot
from coord.store.store import Store
from coord.store.walk import ZNODE_BYTES
from coord.wire.cbor import DecodeError
from coord.wire.sections import decode_section, encode_section

_PHASES: Final = 3
_QUIET_SHARE: Final = 0.25
"""Of the log that makes a snapshot due: so much is worth one in quiet times. That bounds what is written: where little
is asked for, at most four times as much for each request as where much is. With a million znodes, what is left to apply
at a start takes half a second then."""
_STILL_SHARE: Final = 0.005
"""In quiet times no more than this is added to it in ``snapshot_quiet_ticks``: 1000 requests."""


class SnapshotMaker:
    """When to snapshot, and how far the present one is."""

    __slots__ = (
        "_first_share",
        "_length_before",
        "_making",
        "_quiet_ticks",
        "_settings",
        "_tail",
        "_tail_bytes",
        "_turn",
        "_unwritten",
        "due",
        "log_bytes",
        "log_entries",
        "log_requests",
        "meta",
    )

    def __init__(self, settings: ReplicaSettings, member: int) -> None:
        self._settings = settings
        self._turn = member % _PHASES
        self._first_share = (self._turn + 1) / _PHASES
        """The first snapshot is due so much earlier. All members apply the same log, and would save theirs at the same
        time, again and again: all would be slow then, instead of one that a quorum does not need."""
        self._quiet_ticks = 0
        self._length_before = 0.0
        """``_length`` when it was last looked at whether these are quiet times."""
        self._making: StoreSnapshot | None = None
        self.due = False
        """It is time for one, and it begins when the entry that is underway is applied whole. At the next tick there
        may be another one underway, and at each of those that follow."""
        self._unwritten = 0  # sections given to the disk and not written yet
        self._tail: deque[tuple[int, int]] = deque()  # (index, bytes) of the newest applied entries
        self._tail_bytes = 0
        self.meta: SnapshotMeta | None = None
        """Of the snapshot being made or written."""
        self.log_bytes = 0
        """Applied since the last snapshot began."""
        self.log_entries = 0
        self.log_requests = 0

    def applied(self, index: int, data_bytes: int, requests: int) -> None:
        """An entry was applied."""
        self.log_bytes += data_bytes
        self.log_entries += 1
        self.log_requests += requests
        self._tail.append((index, data_bytes))
        self._tail_bytes += data_bytes
        while self._tail_bytes > self._settings.catch_up_bytes and len(self._tail) > 1:
            self._tail_bytes -= self._tail.popleft()[1]

    def tick(self, znodes: int, data_bytes: int) -> bool:
        """Whether to begin one: the log is long, measured against what a snapshot would cost. Asked at each tick."""
        settings, length = self._settings, self._length(znodes, data_bytes)
        still = length <= self._length_before + _STILL_SHARE
        self._quiet_ticks += 1
        if not self._quiet_ticks % settings.snapshot_quiet_ticks:
            self._length_before = length
            if not still:
                self._quiet_ticks = 0
        if self.meta is not None:
            return False
        if self.log_entries > settings.snapshot_entries or length > self._first_share:
            return True
        if length < _QUIET_SHARE or not still:
            return False
        # All members see the same quiet times begin. Each waits until those whose turn is before its own are done.
        tick_bytes = settings.snapshot_section_bytes * settings.snapshot_sections_per_tick
        one_takes = (data_bytes + ZNODE_BYTES * znodes) // tick_bytes
        return self._quiet_ticks > settings.snapshot_quiet_ticks + self._turn * one_takes

    def _length(self, znodes: int, data_bytes: int) -> float:
        """Of what was applied since the last one began: 1 makes another one due."""
        settings = self._settings
        return max(
            self.log_requests / max(settings.snapshot_requests, znodes // 6),
            self.log_bytes / max(settings.snapshot_log_bytes, data_bytes // 2),
        )

    def begin(self, store: Store, meta: SnapshotMeta) -> None:
        self._making = StoreSnapshot(store, self._settings.snapshot_section_bytes)
        self.meta = meta
        self.due = False
        self._first_share = 1.0
        self._unwritten = 0
        self.log_bytes = self.log_entries = self.log_requests = 0

    def take_sections(self, persisted_index: int) -> tuple[list[bytes], bool]:
        """The next sections to write, encoded, and whether that was all. ``([], False)`` while the disk is behind.

        The last one waits for the log: a snapshot becomes durable only when every entry in it is in this member's own
        log, or a restart would find a log that ends before its snapshot begins.
        """
        sections: list[bytes] = []
        making = self._making
        if making is None:
            return sections, False
        while self._unwritten < self._settings.snapshot_sections_per_tick:
            section = making.next_section()
            if section is None:
                if self.meta is not None and persisted_index < self.meta.index:
                    return sections, False
                self.close()
                return sections, True
            sections.append(encode_section(*section))
            self._unwritten += 1
        return sections, False

    def section_written(self) -> None:
        self._unwritten = max(self._unwritten - 1, 0)

    def saved(self, ok: bool) -> tuple[SnapshotMeta, int] | None:
        """It is durable: ``(meta, the first index of the log to keep)``; ``None``: it failed, another will be made."""
        self.close()
        meta, self.meta = self.meta, None
        if not ok or meta is None:
            return None
        first_kept = self._tail[0][0] if self._tail else meta.index + 1
        return meta, min(first_kept, meta.index + 1)

    def close(self) -> None:
        """Let go of the store."""
        if self._making is not None:
            self._making.close()
            self._making = None

    def installed(self) -> None:
        """Another state has taken the place of the one that was being saved."""
        if self._making is not None:
            # Its last section will never come, and so no answer that it was saved: waiting for that answer, this member
            # would never save a snapshot again.
            self.close()
            self.meta = None
        self.due = False
        self._tail.clear()
        self._tail_bytes = self.log_bytes = self.log_entries = self.log_requests = 0


class SnapshotTaker:
    """A leader's snapshot on its way in: sections become a store while the disk gets them, too."""

    __slots__ = ("_limits", "_loader", "_meta")

    def __init__(self, limits: MemberLimits) -> None:
        self._limits = limits
        self._meta: SnapshotMeta | None = None
        self._loader: StoreLoader | None = None

    def take(self, meta: SnapshotMeta, section: int, data: bytes) -> None:
        """The next section (0 begins anew). One that is damaged makes :meth:`finish` refuse the whole."""
        if section == 0:
            self._meta, self._loader = meta, StoreLoader(self._limits)
        if self._loader is None or meta != self._meta:
            return
        try:
            self._loader.add(*decode_section(data))
        except (DecodeError, ValueError):
            self._loader = None  # the digest at its end will not be right either: the leader sends it again

    def finish(self, meta: SnapshotMeta) -> Store | None:
        """The store of the whole snapshot; ``None``: it does not add up."""
        loader, self._loader = self._loader, None
        if loader is None or meta != self._meta:
            return None
        try:
            return loader.finish()
        except ValueError:
            return None
