"""The trace hash: one number that stands for everything that happened, so that two runs can be compared.

Each event of a run is mixed in with its time and its bytes, in order. Equal hashes: the same messages, disk operations
and steps at the same nanoseconds. With a file, each line of it can be read (and two files compared).
"""

from collections.abc import Callable
from hashlib import blake2b
from struct import Struct
from typing import Final
from zlib import crc32

_EVENT = Struct("<QBIII")
_AT_ONCE: Final = 500

STEP, FRAME, UP, DOWN, DISK, LIFE, FAULT = range(1, 8)
"""A step; a frame between members; bytes from and to a client; an operation of a disk; a start or an end; a fault."""

NAMES: Final = {
    STEP: "step", FRAME: "frame", UP: "up", DOWN: "down", DISK: "disk", LIFE: "life", FAULT: "fault"
}  # fmt: skip


class Trace:
    __slots__ = ("_events", "_hash", "_pack", "_tell")

    def __init__(self, tell: Callable[[str], None] | None = None) -> None:
        self._hash = blake2b(digest_size=16)
        self._events: list[bytes] = []
        self._pack = _EVENT.pack
        self._tell = tell

    def note(self, now_ns: int, kind: int, where: int, what: int, data: bytes) -> None:
        """``where``: a member or a connection; ``what``: a number of the event's own."""
        events = self._events
        events.append(self._pack(now_ns, kind, where & 0xFFFFFFFF, what & 0xFFFFFFFF, crc32(data)))
        if len(events) >= _AT_ONCE:
            self._mix()
        if self._tell is not None:
            self._tell(f"{now_ns / 1e9:.6f} {NAMES[kind]} {where} {what} {data[:200].hex()}")

    def say(self, now_ns: int, kind: int, where: int, text: str) -> None:
        """As :meth:`note`, of what is told in words."""
        self._events.append(self._pack(now_ns, kind, where & 0xFFFFFFFF, 0, crc32(text.encode())))
        if self._tell is not None:
            self._tell(f"{now_ns / 1e9:.6f} {NAMES[kind]} {where} {text}")

    def _mix(self) -> None:
        self._hash.update(b"".join(self._events))
        self._events.clear()

    def hex(self) -> str:
        self._mix()
        return self._hash.hexdigest()
