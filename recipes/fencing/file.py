"""A guard of one file: replaced whole, under a lock, by whoever has the greatest token.

*What it guarantees.* The file is never replaced by a holder with a lower token than one that has replaced it,
or has begun to. Whoever reads it sees an old or a new content, never a mixture; after a crash, a kill -9 or a
power failure at any point, too. What :meth:`FileGuard.replace` has returned from stays.

*What it does not.* It keeps nobody from writing to the file by other means. It works among processes of one
machine, on a local file system, not over NFS. A holder that is paused in the middle of a write (milliseconds)
keeps its successor waiting, at most for its deadline, which is then refused.

*What to do about that.* Give the file's folder to one user, and let that user's programs go through the
guard. For many machines: :mod:`coord.recipes.fencing.objects`, or a database.

>>> import tempfile, pathlib
>>> from coord.recipes.fencing import FileGuard, StaleToken, Token
>>> path = pathlib.Path(tempfile.mkdtemp()) / "report.json"
>>> guard = FileGuard(path)
>>> guard.replace(Token(1, 7), b"by the new holder")
>>> try:
...     guard.replace(Token(1, 5), b"by the old one, late")
... except StaleToken as error:
...     print(error.presented, "is below", error.greatest)
1-5 is below 1-7
>>> path.read_bytes()
b'by the new holder'
"""

import os
from pathlib import Path

from coord.client import InvalidRequest, Token
from coord.recipes.fencing.durable import TokenFile, replace
from coord.recipes.fencing.token import Presentable, admit, checked


class FileGuard:
    """Guards the file at ``path``; what it has to remember is in the folder ``<path>.fence`` beside it.

    ``deadline``: how many seconds a write may wait for another one. Safe to share among threads. It blocks
    for some milliseconds; in async code: ``await anyio.to_thread.run_sync(guard.replace, token, content)``.
    """

    def __init__(self, path: str | os.PathLike[str], *, deadline: float = 10.0) -> None:
        self.path = Path(
            os.path.realpath(path)
        )  # what a symbolic link points to, or the link would be replaced
        if self.path.is_dir():
            raise InvalidRequest(f"{self.path} is a folder; a guard guards a file")
        self._deadline = check_deadline(deadline)
        self._remembered = TokenFile(self.path.with_name(f"{self.path.name}.fence"))

    def replace(self, token: Presentable, content: bytes) -> None:
        """Make ``content`` what the file holds. Raises :class:`~coord.recipes.fencing.StaleToken` (refused).

        First the token is remembered, then the file is replaced, both under the lock. Were the file first: 1.
        it is replaced by the new holder. 2. kill -9. 3. the old one wakes up, meets its own token, and undoes
        what readers have seen. This way round, a crash in between leaves the old content, and a guard that
        lets in the one who was about to write. An ``OSError`` leaves open whether it happened; the same token
        may try again.
        """
        presented = checked(token)
        held = memoryview(content).tobytes()  # whatever is like bytes, and changed by nobody meanwhile
        with self._remembered.locked(self._deadline):
            if admit(str(self.path), presented, self._remembered.read()):
                self._remembered.write(presented)
            replace(self.path, held, self._remembered.folder / "content.new")

    def read(self) -> bytes | None:
        """What the file holds; ``None``: there is none. No token is needed, and none is looked at."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None

    def greatest(self) -> Token | None:
        """The greatest token seen: for people to look at, never to decide by."""
        return self._remembered.read()


def check_deadline(deadline: float) -> float:
    if (
        isinstance(deadline, bool)
        or not isinstance(deadline, int | float)
        or not 0 <= deadline < float("inf")
    ):
        raise InvalidRequest(f"a deadline is a number of seconds, not below 0; not {deadline!r:.40}")
    return float(deadline)
