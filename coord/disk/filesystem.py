"""The little that the room needs of a file system, as a protocol: one flat folder.

A real folder (``real.py``), the tests' memory with crashes, and the simulator's faulty disk all stand
behind it. It is synchronous, has no clock, and takes its only dice (:meth:`FileSystem.fresh_bytes`) from
whoever implements it. Failures are ``OSError`` with the errno that a real disk gives; the room itself
turns them into its own errors, so that a fake disk cannot invent kinder ones.

What is durable when: bytes after :meth:`File.sync`; a file's name (created, renamed, removed) only
after :meth:`FileSystem.sync_directory`. Nothing else is promised, nor in which order the rest arrives.
"""

from typing import Protocol


class File(Protocol):
    """One open file. Offsets and sizes are bytes."""

    def write_at(self, offset: int, data: bytes) -> int:
        """Write at ``offset``; return how many bytes were taken, which may be fewer, as ``pwrite`` does."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Read at ``offset``; fewer than ``length`` bytes only at the end of the file."""
        ...

    def size(self) -> int: ...

    def truncate(self, size: int) -> None: ...

    def sync(self) -> None:
        """Make the file's bytes and size durable. After a failure the bytes may be gone for good."""
        ...

    def close(self) -> None:
        """Let it go; nothing is synced. Harmless the second time."""
        ...


class FileSystem(Protocol):
    """One folder, without subfolders."""

    def describe(self, name: str) -> str:
        """The full path of ``name``, for messages to people."""
        ...

    def names(self) -> list[str]:
        """All names in the folder, sorted."""
        ...

    def create(self, name: str) -> File:
        """A new empty file for writing and reading; ``FileExistsError`` when the name is taken."""
        ...

    def open(self, name: str, *, writable: bool = False) -> File:
        """An existing file; ``FileNotFoundError`` when there is none."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Atomically give ``old`` the name ``new``, replacing what had it."""
        ...

    def remove(self, name: str) -> None: ...

    def sync_directory(self) -> None:
        """Make all names durable."""
        ...

    def lock(self) -> None:
        """Take the folder's lock for this process; ``BlockingIOError`` when another has it."""
        ...

    def unlock(self) -> None: ...

    def free_bytes(self) -> int:
        """Space left for this process."""
        ...

    def fresh_bytes(self, count: int) -> bytes:
        """Bytes that no other folder was ever given (random; seeded in a simulation)."""
        ...
