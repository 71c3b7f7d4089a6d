"""A real folder behind :class:`coord.disk.filesystem.FileSystem`: plain ``os`` calls, Linux and macOS.

All names are taken relative to the folder's descriptor, so that a folder that is moved while in use stays
the one that was locked.
"""

import errno
import fcntl
import os
import sys
from pathlib import Path

from coord.disk.faults import opening
from coord.disk.names import LOCK_NAME


def _sync_descriptor(descriptor: int) -> None:
    if sys.platform == "darwin":  # there, fsync only hands the bytes to the drive's cache
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(descriptor)  # includes a changed size: without it the bytes could not be read back


class RealFile:
    """One open file of a :class:`RealFileSystem`."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write_at(self, offset: int, data: bytes) -> int:
        return os.pwrite(self._descriptor, data, offset)

    def read_at(self, offset: int, length: int) -> bytes:
        data = os.pread(self._descriptor, length, offset)
        if len(data) == length or not data:
            return data
        pieces = [data]  # Linux returns at most 2 GiB at once, and fewer when a signal comes in between
        got = len(data)
        while got < length:
            data = os.pread(self._descriptor, length - got, offset + got)
            if not data:
                break
            pieces.append(data)
            got += len(data)
        return b"".join(pieces)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def sync(self) -> None:
        _sync_descriptor(self._descriptor)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:  # closing a number twice could close another thread's new file
            os.close(descriptor)


class RealFileSystem:
    """The folder ``root``. With ``create`` it is made (durably) when missing; its parent must exist.

    Raises: CannotOpen.

    Without :meth:`lock` nothing here writes: offline inspectors open a folder that is in use this way.
    """

    def __init__(self, root: str | os.PathLike[str], *, create: bool = False) -> None:
        self._root = Path(root)
        with opening("opening the data folder", str(self._root)):
            if create:
                self._make()
            self._folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._lock: int | None = None

    def _make(self) -> None:
        try:
            os.mkdir(self._root, 0o700)
        except FileExistsError:
            return  # made before, by us or by the operator
        parent = os.open(self._root.absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)

    def describe(self, name: str) -> str:
        return str(self._root / name) if name else str(self._root)

    def names(self) -> list[str]:
        return sorted(os.listdir(self._folder))

    def create(self, name: str) -> RealFile:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return RealFile(os.open(name, flags, 0o600, dir_fd=self._folder))

    def open(self, name: str, *, writable: bool = False) -> RealFile:
        flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC
        return RealFile(os.open(name, flags, dir_fd=self._folder))

    def rename(self, old: str, new: str) -> None:
        os.replace(old, new, src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def remove(self, name: str) -> None:
        os.unlink(name, dir_fd=self._folder)

    def sync_directory(self) -> None:
        os.fsync(self._folder)

    def lock(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(LOCK_NAME, flags, 0o600, dir_fd=self._folder)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise BlockingIOError(error.errno, f"held by process {holder or 'unknown'}") from None
            raise
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._lock = descriptor

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)  # the lock goes with its descriptor; the file stays, or two could hold it
            self._lock = None

    def free_bytes(self) -> int:
        usage = os.fstatvfs(self._folder)
        return usage.f_bavail * usage.f_frsize

    def fresh_bytes(self, count: int) -> bytes:
        return os.urandom(count)

    def close(self) -> None:
        """Let the folder's descriptor (and the lock) go."""
        self.unlock()
        os.close(self._folder)
