"""A disk that forgets what was not synced, as files in memory: one flat folder. Pure; ``unsynced_fuse.py`` mounts it.

What a power cut may take: each sector that was written since its file's last sync, one by one; a file's new length;
names that were made, changed or removed since the folder's last sync. What was synced stays, always.
"""

from random import Random
from typing import Final

SECTOR_BYTES: Final = 512


class File:
    """``before``: sectors as they were at the last sync, of those written since."""

    __slots__ = ("before", "data", "synced_bytes")

    def __init__(self) -> None:
        self.data = bytearray()
        self.before: dict[int, bytes] = {}
        self.synced_bytes = 0

    def write(self, offset: int, data: bytes) -> None:
        self._remember(offset, offset + len(data))
        if len(self.data) < offset:
            self.data.extend(bytes(offset - len(self.data)))
        self.data[offset : offset + len(data)] = data

    def truncate(self, size: int) -> None:
        self._remember(min(size, len(self.data)), max(size, len(self.data)))
        del self.data[size:]
        self.data.extend(bytes(size - len(self.data)))

    def sync(self) -> None:
        self.before.clear()
        self.synced_bytes = len(self.data)

    def lose(self, dice: Random) -> int:
        """A power cut; how many sectors were lost. What is left is on the disk."""
        keep = dice.choice((0.0, 0.5, 1.0))
        size = len(self.data) if keep and dice.random() < 0.5 else self.synced_bytes
        lost = 0
        for sector, old in self.before.items():
            if dice.random() >= keep:
                lost += 1
                begin = sector * SECTOR_BYTES
                self.data.extend(bytes(max(begin + SECTOR_BYTES - len(self.data), 0)))
                self.data[begin : begin + SECTOR_BYTES] = old.ljust(SECTOR_BYTES, b"\0")
        del self.data[size:]
        self.data.extend(bytes(size - len(self.data)))
        self.sync()
        return lost

    def _remember(self, begin: int, end: int) -> None:
        """What stood in the sectors that are about to change, if that is not remembered yet."""
        for sector in range(begin // SECTOR_BYTES, -(-end // SECTOR_BYTES)):
            if sector not in self.before:
                at = sector * SECTOR_BYTES
                self.before[sector] = bytes(self.data[at : at + SECTOR_BYTES])


class Disk:
    """Files by number, and their names. A file without a name goes on for those who have it open."""

    def __init__(self) -> None:
        self.files: dict[int, File] = {}
        self.names: dict[bytes, int] = {}
        self._synced_names: dict[bytes, int] = {}
        self._made = 1

    def create(self, name: bytes) -> int:
        """The number of a new, empty file."""
        self._made += 1
        self.files[self._made] = File()
        self.names[name] = self._made
        return self._made

    def rename(self, old: bytes, new: bytes) -> None:
        self.names[new] = self.names.pop(old)

    def remove(self, name: bytes) -> None:
        del self.names[name]

    def sync_names(self) -> None:
        self._synced_names = dict(self.names)

    def lose(self, dice: Random) -> str:
        """A power cut, when nobody has a file open; says what it took."""
        names_lost = 0
        if dice.random() < 0.7:
            names_lost = len(self.names.items() ^ self._synced_names.items())
            self.names = dict(self._synced_names)
        self.files = {number: self.files[number] for number in self.names.values()}
        lost = sum(file.lose(dice) for file in self.files.values())
        self.sync_names()
        return f"{lost} unsynced sectors and {names_lost} unsynced names"
