"""What the guards on a file system are made of: a lock between processes, a file replaced whole, a token kept
in one.

A local file system is meant. The lock is ``flock``: it goes with its process, however that dies, and with
nothing else; a network file system may take it away from a process that lives on, and then nothing here
holds.
"""

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from coord.client import CoordError, DeadlineExceeded, Token

_PAUSE_MIN_S: Final = 0.001
_PAUSE_MAX_S: Final = 0.02


class DamagedGuard(CoordError):
    """What should hold the greatest token holds something else. Nothing was written, and nothing will be.

    Forgetting would let every stale holder in. Somebody has to find out what the greatest token was (that of
    the present holder is, if it is sure to hold), write it there, and go on.
    """

    slug = "damaged_guard"


class TokenFile:
    """The greatest token of one name, in a folder of its own, and the lock over it.

    ``lock`` and ``turn`` are only ever locked, and never replaced: a lock belongs to the file, not to its
    name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._greatest = folder / "greatest"

    @contextmanager
    def locked(self, deadline: float) -> Iterator[None]:
        """Hold the lock. Raises :class:`DeadlineExceeded` after ``deadline`` seconds (refused: nothing was
        done).
        """
        make_folder(self.folder)
        until = time.monotonic() + deadline
        with ExitStack() as held:
            # Whoever waits for the lock keeps the turn meanwhile. Else: 1. an old holder writes, and writes
            # again. 2. Its successor asks for the lock, now and then. 3. The old one has let go of it and
            # taken it again in between, each time; and as long as the successor has not got in once, nobody
            # refuses it.
            with locked(self.folder / "turn", deadline):
                held.enter_context(locked(self.folder / "lock", max(until - time.monotonic(), 0.0)))
            yield

    def read(self) -> Token | None:
        """The greatest token; ``None``: none was seen yet. Raises :class:`DamagedGuard` (refused)."""
        try:
            text = self._greatest.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return Token.parse(text.decode("ascii").removesuffix("\n"))
        except (CoordError, UnicodeDecodeError):
            raise DamagedGuard(
                f"{self._greatest} should hold the greatest fencing token seen, as in '1-4711', not {text!r:.60};"
                " it is not safe to write before somebody has put that right"
            ) from None

    def write(self, token: Token) -> None:
        """Remember ``token``, through power failures, too. The caller holds the lock, and has compared."""
        replace(self._greatest, f"{token}\n".encode(), self.folder / "greatest.new")


@contextmanager
def locked(path: Path, deadline: float, *, shared: bool = False) -> Iterator[None]:
    """Hold ``flock`` on the file at ``path``, which is made if need be. Raises :class:`DeadlineExceeded`
    (refused).
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        _lock(descriptor, deadline, shared=shared, what=str(path))
        try:
            yield
        finally:
            # Said, rather than left to close(): a child forked meanwhile has the descriptor, too, and with it
            # the lock.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, deadline: float, *, shared: bool, what: str) -> None:
    """Wait for ``flock`` no longer than ``deadline`` seconds. Raises :class:`DeadlineExceeded` (refused).

    It asks again and again, in growing pauses: the system call that waits cannot be given an end, and a
    thread left waiting in it would take the lock some day, when nobody wants it any more.
    """
    wanted = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
    until = time.monotonic() + deadline
    pause = _PAUSE_MIN_S
    while True:
        try:
            fcntl.flock(descriptor, wanted)
            return
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
        left = until - time.monotonic()
        if left <= 0:
            late = DeadlineExceeded(
                f"somebody else has held the lock on {what} for more than {deadline:g} s: a holder that is paused"
                " in the middle of a write? Nothing was written"
            )
            late.outcome = "refused"
            raise late
        time.sleep(min(pause, left))
        pause = min(2 * pause, _PAUSE_MAX_S)


def replace(target: Path, content: bytes, aside: Path) -> None:
    """Make ``content`` what ``target`` holds: after a crash at any point there is the old or the new, and
    whole.

    ``aside`` is a name on the same file system that only the caller uses: the caller holds a lock. What an
    earlier crash left there is overwritten. The target's permissions stay.
    """
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        try:
            os.fchmod(descriptor, os.stat(target).st_mode & 0o7777)
        except FileNotFoundError:
            pass  # a new one has those that the process gives
        left = memoryview(content)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(aside, target)
    sync_folder(target.parent)


def make_folder(folder: Path) -> None:
    try:
        os.mkdir(folder)
    except FileExistsError:
        return
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Names are content of their folder, and last only once it is synced."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def plain_name(name: str) -> str:
    """A file name for any name: two names never share one, whatever the file system makes of letters and
    lengths.
    """
    return hashlib.sha256(name.encode()).hexdigest()
