"""One member's disk: a page cache over what is durable, and everything that may go wrong between the two.

What is durable is exactly what :mod:`coord.disk.filesystem` promises: bytes after ``sync``, names after
``sync_directory``. A power cut decides about all the rest, each sector and each name for itself:

- a sector of an unsynced file holds any of the versions that it had since the last sync (the page cache writes whole
  sectors, so a later version has the earlier writes in it), or, torn, a mixture of two;
- a file's size is any that it had;
- names: a prefix of what was done (a journal), or any part of it (none).

A process that is killed leaves the page cache as it is. A failed sync leaves the bytes in the cache, clean, and never
writes them: the next power cut, or an eviction, takes them.
"""

import errno
from collections.abc import Callable
from random import Random
from typing import Final

SECTOR_BYTES: Final = 512
UNLIMITED: Final = 1 << 50

WRITEBACK_CHANGES: Final = 64
"""More than these do not wait for a sync: a kernel writes old pages by itself, sooner or later."""

OnOperation = Callable[[str, str, bytes], None]

Names = dict[str, "Node"]
NameChange = tuple[str, str, "Node | None"]
"""``(name, name that is gone, what it means now)``."""


class CutShort(BaseException):
    """The process ends here, in the middle of its work; not an Exception, so that nothing under test swallows it."""


class Node:
    """A file's content: as processes see it, as it is on the platter, and the changes on their way there."""

    __slots__ = ("cache", "disk", "pending")

    def __init__(self) -> None:
        self.cache = bytearray()
        self.disk = bytearray()
        self.pending: list[tuple[int, bytes] | int] = []
        """Writes ``(offset, data)`` and truncations, in order."""


def write_into(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def apply_change(content: bytearray, change: tuple[int, bytes] | int) -> None:
    if isinstance(change, int):
        del content[change:]
    else:
        write_into(content, *change)


def apply_name(names: Names, change: NameChange) -> None:
    name, gone, node = change
    names.pop(gone, None)
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


class SimFile:
    """See ``coord.disk.filesystem.File``."""

    __slots__ = ("_disk", "_name", "_node")

    def __init__(self, disk: "SimDisk", name: str, node: Node) -> None:
        self._disk, self._name, self._node = disk, name, node

    def write_at(self, offset: int, data: bytes) -> int:
        disk, node = self._disk, self._node
        disk.before("write", self._name, data)
        grows = offset + len(data) - len(node.cache)
        if grows > 0 and disk.capacity_bytes < UNLIMITED:
            room = disk.capacity_bytes - disk.used_bytes()
            if room < grows:
                data = data[: max(0, len(data) - grows + max(0, room))]
                if not data:
                    raise OSError(errno.ENOSPC, "No space left on device")
        if disk.longest_write and len(data) > disk.longest_write:
            data = data[: disk.longest_write]
        write_into(node.cache, offset, data)
        node.pending.append((offset, bytes(data)))
        if len(node.pending) > WRITEBACK_CHANGES:
            for change in node.pending[: WRITEBACK_CHANGES // 2]:
                apply_change(node.disk, change)
            del node.pending[: WRITEBACK_CHANGES // 2]
        return len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        data = bytes(self._node.cache[offset : offset + length])
        lie = self._disk.lie
        return data if lie is None else lie(self._name, offset, data)

    def size(self) -> int:
        return len(self._node.cache)

    def truncate(self, size: int) -> None:
        self._disk.before("truncate", self._name, b"")
        del self._node.cache[size:]
        self._node.pending.append(size)

    def sync(self) -> None:
        node = self._node
        try:
            self._disk.before("sync", self._name, b"")
        except OSError:
            node.pending.clear()  # as Linux does: marked clean, still in the cache, never written
            raise
        # Not a copy of the cache: what a failed sync lost is not written by the next one.
        for change in node.pending:
            apply_change(node.disk, change)
        node.pending.clear()

    def close(self) -> None:
        """Nothing is synced by it."""


class SimDisk:
    """See ``coord.disk.filesystem.FileSystem``. Survives its processes."""

    def __init__(self, name: str, dice: Random, on_operation: OnOperation) -> None:
        self._name = name
        self._dice = dice
        self._on_operation = on_operation
        self.nodes: Names = {}
        self._durable_names: Names = {}
        self._pending_names: list[NameChange] = []
        """What was done to names since the folder was last synced, in order."""
        self._lost_a_name = False
        """Since then: what is durable is no more what it was, with ``_pending_names``."""
        self._locked = False
        # Faults, set by whoever makes them.
        self.cut_after = 0
        """The process ends before so many-th operation from now on; 0: it does not."""
        self.failing_syncs = 0
        """So many of the next syncs of a file or the folder fail."""
        self.capacity_bytes = UNLIMITED
        self.longest_write = 0
        """A write takes no more at a time; 0: whatever it is given."""
        self.lie: Callable[[str, int, bytes], bytes] | None = None
        """What a read returns in place of the truth."""

    # --- what the simulation does -----------------------------------------------------------------------------------

    def before(self, operation: str, name: str, data: bytes) -> None:
        """An operation begins; it may not come to its end."""
        if self.cut_after:
            self.cut_after -= 1
            if not self.cut_after:
                raise CutShort
        self._on_operation(operation, name, data)
        if self.failing_syncs and operation.startswith("sync"):
            self.failing_syncs -= 1
            raise OSError(errno.EIO, "Input/output error")

    def process_ended(self) -> None:
        """Killed: the page cache stays, but for pages that a failed sync left clean, which may go."""
        self._locked = False
        self.cut_after = 0
        self.lie = None
        for name in sorted(self.nodes):
            node = self.nodes[name]
            if not node.pending and node.cache != node.disk and self._dice.random() < 0.5:
                node.cache = bytearray(node.disk)

    def power_cut(self) -> None:
        """Only what is durable is sure to be there afterwards."""
        dice = self._dice
        self._locked = False
        self.cut_after = 0
        self.lie = None
        names = dict(self._durable_names)
        style = dice.choice(("none", "all", "prefix", "any", "any", "any"))
        kept = dice.randint(0, len(self._pending_names))
        lost = dice.choice((0.2, 0.5, 0.8))
        for position, change in enumerate(self._pending_names):
            if style == "none" or (style == "prefix" and position >= kept):
                break
            if style == "any" and dice.random() < lost:
                continue
            apply_name(names, change)
        self._pending_names.clear()
        keep = dice.choice((0.0, 0.3, 0.7, 1.0))
        for name in sorted(names):
            node = names[name]
            if node.pending:
                node.disk = self._torn(node, keep)
                node.pending.clear()
            node.cache = bytearray(node.disk)
        self.nodes = dict(names)
        self._durable_names = dict(names)

    def _torn(self, node: Node, keep: float) -> bytearray:
        """What the platter has of a file with unsynced changes."""
        dice = self._dice
        versions = [bytearray(node.disk)]
        for change in node.pending:
            content = bytearray(versions[-1])
            apply_change(content, change)
            versions.append(content)
        sizes = [len(version) for version in versions]
        size = dice.choice(sizes) if dice.random() >= keep else sizes[-1]
        result = bytearray(size)
        last = len(versions) - 1
        for at in range(0, size, SECTOR_BYTES):
            end = min(size, at + SECTOR_BYTES)
            version = last if dice.random() < keep else dice.randint(0, last)
            sector = _sector(versions[version], at, end)
            if dice.random() < 0.05:
                half = dice.randint(0, end - at)
                sector = sector[:half] + _sector(versions[dice.randint(0, last)], at + half, end)
            result[at:end] = sector
        return result

    def lose(self, name: str) -> None:
        """A file is gone, as if it had never been."""
        del self.nodes[name]
        self._durable_names.pop(name, None)
        self._pending_names = [each for each in self._pending_names if name not in each[:2]]
        self._lost_a_name = True

    def wipe(self) -> None:
        """Another, empty disk."""
        self.nodes.clear()
        self._durable_names.clear()
        self._pending_names.clear()
        self._locked = False
        self.cut_after = self.failing_syncs = 0
        self.lie = None

    def used_bytes(self) -> int:
        return sum([len(node.cache) for node in self.nodes.values()])

    # --- what the storage does --------------------------------------------------------------------------------------

    def describe(self, name: str) -> str:
        return f"{self._name}/{name}"

    def names(self) -> list[str]:
        return sorted(self.nodes)

    def create(self, name: str) -> SimFile:
        self.before("create", name, b"")
        if name in self.nodes:
            raise FileExistsError(errno.EEXIST, "File exists", name)
        if self.capacity_bytes < UNLIMITED and self.used_bytes() >= self.capacity_bytes:
            raise OSError(errno.ENOSPC, "No space left on device")
        node = self.nodes[name] = Node()
        self._pending_names.append((name, "", node))
        return SimFile(self, name, node)

    def open(self, name: str, *, writable: bool = False) -> SimFile:
        if name not in self.nodes:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", name)
        return SimFile(self, name, self.nodes[name])

    def rename(self, old: str, new: str) -> None:
        self.before("rename", new, b"")
        node = self.nodes[new] = self.nodes.pop(old)
        self._pending_names.append((new, old, node))

    def remove(self, name: str) -> None:
        if name not in self.nodes:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", name)
        self.before("remove", name, b"")
        del self.nodes[name]
        self._pending_names.append((name, "", None))

    def sync_directory(self) -> None:
        self.before("sync_directory", "", b"")
        if self._lost_a_name:
            self._durable_names = dict(self.nodes)
            self._lost_a_name = False
        else:  # where each entry has a segment of its own, there are hundreds of names, and one or two changes
            for change in self._pending_names:
                apply_name(self._durable_names, change)
        self._pending_names.clear()

    def lock(self) -> None:
        if self._locked:
            raise BlockingIOError(errno.EWOULDBLOCK, "held by another process")
        self._locked = True

    def unlock(self) -> None:
        self._locked = False

    def free_bytes(self) -> int:
        return self.capacity_bytes - self.used_bytes()

    def fresh_bytes(self, count: int) -> bytes:
        return self._dice.randbytes(count)


def _sector(content: bytearray, start: int, end: int) -> bytes:
    return bytes(content[start:end]).ljust(end - start, b"\0")
