"""A file system in memory that forgets what a real one may forget when the power fails.

Every change is made in the cache, and kept as pending until the file, or the directory, is synced. A power cut
takes each pending change, and of a write each 512-byte sector, or leaves it, as the test's choice says.
"""

import errno
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from coord.disk.names import WITNESS_NAME

SECTOR_BYTES = 512


class PowerCut(BaseException):
    """Ends the run; not an Exception, so that nothing under test can swallow it."""


@dataclass
class Node:
    """A file's content: as the processes see it, as the disk has it, and what lies between."""

    cache: bytearray = field(default_factory=bytearray)
    disk: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes] | int] = field(default_factory=list)  # a write, or a truncation to a size


Choice = Callable[[str], bool]
"""Asked once for each pending change or sector, with what it is: "name", "size", "sector", or "witness" for a sector of
the witness. True: it is kept."""


def keep_all(_: str) -> bool:
    return True


def drop_all(_: str) -> bool:
    return False


def names_only(what: str) -> bool:
    return what == "name"


def names_and_sizes(what: str) -> bool:
    return what in ("name", "size")


def bytes_only(what: str) -> bool:
    return what != "name"


def witness_only(what: str) -> bool:
    return what == "witness"


def all_but_the_witness(what: str) -> bool:
    return what != "witness"


def torn(seed: int) -> Choice:
    dice = random.Random(seed)
    return lambda _: dice.random() < 0.5


class MemoryFile:
    def __init__(self, fs: "MemoryFileSystem", name: str, node: Node, writable: bool) -> None:
        self._fs, self._name, self._node, self._writable = fs, name, node, writable
        self._open = True

    def write_at(self, offset: int, data: bytes) -> int:
        assert self._open
        assert self._writable
        fs = self._fs
        fs.before("write", self._name)
        grows = max(0, offset + len(data) - len(self._node.cache))
        if grows and fs.capacity_bytes is not None:
            room = fs.capacity_bytes - fs.used_bytes()
            if room < grows:
                data = data[: len(data) - grows + max(0, room)]
                if not data:
                    raise OSError(errno.ENOSPC, "No space left on device")
        if fs.longest_write is not None:
            data = data[: fs.longest_write]
        if len(self._node.cache) < offset:
            self._node.cache.extend(bytes(offset - len(self._node.cache)))
        self._node.cache[offset : offset + len(data)] = data
        self._node.pending.append((offset, data))
        fs.after("write")
        return len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        assert self._open
        for begin, end in self._fs.bad_sectors.get(self._name, ()):
            if offset < end and begin < offset + length:
                raise OSError(errno.EIO, "Input/output error")
        return bytes(self._node.cache[offset : offset + length])

    def size(self) -> int:
        return len(self._node.cache)

    def truncate(self, size: int) -> None:
        assert self._writable
        self._fs.before("truncate", self._name)
        del self._node.cache[size:]
        self._node.pending.append(size)
        self._fs.after("truncate")

    def sync(self) -> None:
        assert self._open
        try:
            self._fs.before("sync", self._name)
        except OSError:
            self._node.pending.clear()  # as Linux does: marked clean, still in the cache, never written
            raise
        self._fs.after("sync")  # a power cut during a sync finds all still pending
        self._node.disk = apply_pending(self._node, keep_all)  # not the cache: a failed sync's bytes are gone
        self._node.pending.clear()

    def close(self) -> None:
        self._open = False


def apply_pending(node: Node, choice: Choice, sector: str = "sector") -> bytearray:
    """The disk's content after each pending change was kept or not."""
    disk = bytearray(node.disk)
    for change in node.pending:
        if isinstance(change, int):
            if choice("size"):
                del disk[change:]
            continue
        offset, data = change
        if offset + len(data) > len(disk) and choice("size"):
            disk.extend(bytes(offset + len(data) - len(disk)))
        at = offset
        while at < offset + len(data):
            end = min(offset + len(data), (at // SECTOR_BYTES + 1) * SECTOR_BYTES)
            if choice(sector):
                if len(disk) < at:
                    disk.extend(bytes(at - len(disk)))
                disk[at:end] = data[at - offset : end - offset]
            at = end
    return disk


class MemoryFileSystem:
    """See ``coord.disk.filesystem.FileSystem``."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        files = files or {}
        self.nodes = {name: Node(bytearray(data), bytearray(data)) for name, data in files.items()}
        self._disk_names = dict(self.nodes)
        self._pending_names: list[tuple[str, str | None, Node | None]] = []  # name, also gone, what it means
        self.locked = False
        self.operations = 0
        self.cut_at: int | None = None
        self.log: list[str] = []
        self.fail: Callable[[str, str], OSError | None] = lambda _operation, _name: None
        self.capacity_bytes: int | None = None
        self.longest_write: int | None = None
        self.bad_sectors: dict[str, list[tuple[int, int]]] = {}

    # What tests do

    def power_cut(self, choice: Choice) -> "MemoryFileSystem":
        """What the next boot finds."""
        names = dict(self._disk_names)
        for name, gone, node in self._pending_names:
            if choice("name"):
                if gone is not None:
                    names.pop(gone, None)
                if node is None:
                    names.pop(name, None)
                else:
                    names[name] = node
        contents: dict[int, bytes] = {}
        for name, node in names.items():
            if id(node) not in contents:
                sector = "witness" if name == WITNESS_NAME else "sector"
                contents[id(node)] = bytes(apply_pending(node, choice, sector))
        return MemoryFileSystem({name: contents[id(node)] for name, node in names.items()})

    def files(self) -> dict[str, bytes]:
        """What a process sees."""
        return {name: bytes(node.cache) for name, node in self.nodes.items()}

    def used_bytes(self) -> int:
        return sum(len(node.cache) for node in self.nodes.values())

    def before(self, operation: str, name: str) -> None:
        failure = self.fail(operation, name)
        if failure is not None:
            raise failure
        self.log.append(f"{operation} {name}")

    def after(self, _operation: str) -> None:
        self.operations += 1
        if self.cut_at is not None and self.operations >= self.cut_at:
            raise PowerCut

    # What the room does

    def describe(self, name: str) -> str:
        return f"/memory/{name}"

    def names(self) -> list[str]:
        return sorted(self.nodes)

    def create(self, name: str) -> MemoryFile:
        self.before("create", name)
        if name in self.nodes:
            raise FileExistsError(errno.EEXIST, "File exists", name)
        node = self.nodes[name] = Node()
        self._pending_names.append((name, None, node))
        self.after("create")
        return MemoryFile(self, name, node, True)

    def open(self, name: str, *, writable: bool = False) -> MemoryFile:
        if name not in self.nodes:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", name)
        return MemoryFile(self, name, self.nodes[name], writable)

    def rename(self, old: str, new: str) -> None:
        self.before("rename", new)
        node = self.nodes[new] = self.nodes.pop(old)
        self._pending_names.append((new, old, node))
        self.after("rename")

    def remove(self, name: str) -> None:
        if name not in self.nodes:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", name)
        self.before("remove", name)
        del self.nodes[name]
        self._pending_names.append((name, None, None))
        self.after("remove")

    def sync_directory(self) -> None:
        self.before("sync_directory", "")
        self.after("sync_directory")
        self._disk_names = dict(self.nodes)
        self._pending_names.clear()

    def lock(self) -> None:
        if self.locked:
            raise BlockingIOError(errno.EWOULDBLOCK, "held by process 1")
        self.locked = True

    def unlock(self) -> None:
        self.locked = False

    def free_bytes(self) -> int:
        return 2**40 if self.capacity_bytes is None else self.capacity_bytes - self.used_bytes()

    def fresh_bytes(self, count: int) -> bytes:
        return bytes(range(count))
