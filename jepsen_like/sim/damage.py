"""What bad disks do to files: bits that flip, sectors that hold something else, files that are gone or cut.

One piece of damage at a time, to a process that was killed; budget.py says why.
"""

from random import Random
from typing import Final

from coord.jepsen_like.sim.disk import SECTOR_BYTES, Node, SimDisk

KINDS: Final = ("flip", "flip", "zeros", "misdirected", "stale", "lost", "cut", "lying_read")


def damage(disk: SimDisk, dice: Random) -> str:
    """Damage one file of ``disk``; what was done, for people. Empty: there was nothing to damage."""
    names = [name for name in disk.names() if disk.nodes[name].cache]
    if not names:
        return ""
    name = dice.choice(names)
    kind = dice.choice(KINDS)
    node = disk.nodes[name]
    node.pending.clear()
    content = node.cache
    written = len(content.rstrip(b"\0")) or len(content)  # behind a log's last record there are zeros
    at = dice.randrange(0, written, SECTOR_BYTES) if written > SECTOR_BYTES else 0
    if dice.random() < 0.4:
        at = (written - 1) // SECTOR_BYTES * SECTOR_BYTES  # the end is where the interesting things are
    end = min(len(content), at + SECTOR_BYTES)
    if kind == "flip":
        content[dice.randrange(at, end)] ^= 1 << dice.randrange(8)
    elif kind == "zeros":
        content[at:end] = bytes(end - at)
    elif kind == "misdirected":
        other = disk.nodes[dice.choice(names)].cache
        start = dice.randrange(0, len(other), SECTOR_BYTES) if len(other) > SECTOR_BYTES else 0
        content[at:end] = bytes(other[start : start + end - at]).ljust(end - at, b"\0")
    elif kind == "stale":
        before = dice.randrange(0, at + 1, SECTOR_BYTES)
        content[at:end] = bytes(content[before : before + end - at])
    elif kind == "cut":
        del content[dice.randrange(at, end) :]
    elif kind == "lost":
        disk.lose(name)
        return f"lost {name}"
    else:
        disk.lie = _lie(name, at, end, dice.randrange(256))
        return f"lying_read of {name} at {at}"
    _settle(node)
    return f"{kind} in {name} at {at}"


def _settle(node: Node) -> None:
    """The platter has it so, too."""
    node.disk = bytearray(node.cache)


class _lie:  # used as a function
    """Reads of one sector return something else, until the process has ended."""

    def __init__(self, name: str, at: int, end: int, filler: int) -> None:
        self._name, self._at, self._end, self._filler = name, at, end, filler

    def __call__(self, name: str, offset: int, data: bytes) -> bytes:
        start, end = max(self._at, offset) - offset, min(self._end, offset + len(data)) - offset
        if name != self._name or start >= end:
            return data
        return data[:start] + bytes([self._filler]) * (end - start) + data[end:]
