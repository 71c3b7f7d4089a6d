"""From an ``OSError`` to an error of ours, and the fuse that a failed sync blows.

The fuse: after a failed fsync Linux marks the pages clean, so the next fsync succeeds although the data
never reached the disk (the "fsyncgate" of 2018; all five databases looked at by Rebello et al., ATC'20, got it
wrong). So nothing is retried: the first failure is final for the process, and the next start does not believe
the page cache either (see ``recovery.py``).
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from coord.disk.errors import CannotOpen, DiskFull, StorageError, SyncFailed
from coord.disk.filesystem import File

_FULL = (errno.ENOSPC, errno.EDQUOT)


class Fuse:
    """Blown by the first failed write or sync of the log; everything after raises :class:`SyncFailed`."""

    __slots__ = ("_cause",)

    def __init__(self) -> None:
        self._cause: StorageError | None = None

    def blow(self, cause: StorageError) -> None:
        if self._cause is None:
            self._cause = cause

    def check(self) -> None:
        """Raise if blown."""
        if self._cause is not None:
            raise SyncFailed(
                "This member's storage failed earlier and does nothing more until the process is started again. "
                f"The first failure was: {self._cause}"
            ) from self._cause


@contextmanager
def writing(what: str, where: str, fuse: Fuse, *, full_is_final: bool = True) -> Iterator[None]:
    """Turn a failed write into :class:`DiskFull` or :class:`SyncFailed`, and blow the fuse.

    ``full_is_final=False`` is for snapshots: a full disk stops that snapshot, not the member.
    """
    try:
        yield
    except OSError as error:
        failure: StorageError
        if error.errno in _FULL:
            failure = DiskFull(
                f"No space left while {what} {where}. Nothing acknowledged was lost. "
                "Free some space (or enlarge the disk or its quota) and start the member again."
            )
            if full_is_final:
                fuse.blow(failure)
        else:
            failure = SyncFailed(
                f"The disk failed while {what} {where}: {error}. The member must stop, since nobody knows what "
                "of the last batch the disk holds; it was not acknowledged. Look at the kernel's log "
                "(dmesg), then start the member again, or give it a new disk and let it rejoin."
            )
            fuse.blow(failure)
        raise failure from error


@contextmanager
def opening(what: str, where: str) -> Iterator[None]:
    """Turn a failed system call while opening into :class:`CannotOpen` or :class:`DiskFull`."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull(
                f"No space left while {what} {where}. Nothing acknowledged was lost. "
                "Free some space and start the member again."
            ) from error
        raise CannotOpen(
            f"{what.capitalize()} {where} failed: {error}. Check that the data folder exists, is a folder, "
            "and belongs to the user that runs the member."
        ) from error


def write_all(file: File, offset: int, data: bytes) -> None:
    """Write all of ``data``; a short write is continued, one that takes nothing is an error."""
    written = file.write_at(offset, data)
    while written < len(data):
        taken = file.write_at(offset + written, data[written:])
        if taken <= 0:
            raise OSError(errno.EIO, "the disk takes no more bytes and does not say why")
        written += taken
