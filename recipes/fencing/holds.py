"""Holds: a token is let in for as long as a work takes, and a greater one waits until that has ended.

What a guard does where the effect is not one write, but whatever a request handler does. Holders of the same
token work side by side. When a greater token comes, lower ones are refused from that moment; it is let in
itself when the last of those at work has ended. So the works of different tokens never overlap, and those of
a lower one never come after those of a greater.

Three of them, by how far that reaches: :class:`MemoryHolds` among the threads of one process,
:class:`FileHolds` among the processes of one machine, :class:`SqlHolds` among all that use one database, *as
long as the connection of the hold lives*: if the database breaks off a paused holder's connection, that
holder may wake up and finish its work beside its successor's. Where the work is in that same database, do it
in :meth:`SqlGuard.transaction`, which has no such gap.

>>> from coord.recipes.fencing import MemoryHolds, StaleToken, Token
>>> holds = MemoryHolds()
>>> with holds.hold("printer", Token(1, 7)):
...     print("at work")
at work
>>> try:
...     with holds.hold("printer", Token(1, 5)):
...         print("never")
... except StaleToken as error:
...     print(error.presented, "is below", error.greatest)
1-5 is below 1-7
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from coord.client import DeadlineExceeded, LimitExceeded, Token
from coord.recipes.fencing.durable import TokenFile, locked, make_folder, plain_name
from coord.recipes.fencing.file import check_deadline
from coord.recipes.fencing.sql import SqlGuard
from coord.recipes.fencing.token import Presentable, admit, check_name, checked


class Holds(Protocol):
    """Lets tokens in for the length of a block. Blocks its thread while it waits, for a bounded time."""

    def hold(self, name: str, token: Presentable) -> AbstractContextManager[None]:
        """Raises :class:`~coord.recipes.fencing.StaleToken`, or :class:`DeadlineExceeded` while lower tokens
        are still at work (both refused), on entering. Is entered and left in any threads.
        """


class MemoryHolds:
    """For the threads of one process; forgets with it. Right where what is guarded goes with the process,
    too.

    ``deadline``: how many seconds a greater token waits for lower ones at work. ``names_max``: a name more is
    refused (``limit_exceeded``), for none can be forgotten.
    """

    def __init__(self, *, deadline: float = 10.0, names_max: int = 100_000) -> None:
        self._deadline = check_deadline(deadline)
        self._names_max = names_max
        self._mutex = threading.Lock()
        self._names: dict[str, _Name] = {}

    @contextmanager
    def hold(self, name: str, token: Presentable) -> Iterator[None]:
        presented = checked(token)
        here = self._name(check_name(name))
        with here.changed:
            self._enter(here, name, presented)
        try:
            yield
        finally:
            with here.changed:
                here.at_work -= 1
                if here.at_work == 0:
                    here.changed.notify_all()

    def _enter(self, here: "_Name", name: str, presented: Token) -> None:
        until = time.monotonic() + self._deadline
        while True:
            # Looked at again after each wait: one who is greater still may have come meanwhile.
            if admit(name, presented, here.greatest):
                here.greatest = presented
                here.changed.notify_all()  # those lower that wait, too, need not wait any longer
            if here.at_work == 0 or here.token == presented:
                here.token = presented
                here.at_work += 1
                return
            if not here.changed.wait(until - time.monotonic()) and time.monotonic() >= until:
                late = DeadlineExceeded(
                    f"{here.at_work} works of {name!r} with the token {here.token}, which is stale, have not ended"
                    f" within {self._deadline:g} s; {presented} has to wait for them"
                )
                late.outcome = "refused"
                raise late

    def _name(self, name: str) -> "_Name":
        with self._mutex:
            here = self._names.get(name)
            if here is None:
                if len(self._names) >= self._names_max:
                    raise LimitExceeded(
                        f"there are {self._names_max} names already, and none can be forgotten; raise names_max",
                        {"limit": "names_max", "maximum": self._names_max},
                    )
                here = self._names[name] = _Name()
            return here


class _Name:
    """``at_work`` works of ``token``; ``token <= greatest``, and below it where a greater one waits."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.greatest: Token | None = None
        self.token: Token | None = None
        self.at_work = 0


class FileHolds:
    """For the processes of one machine: a folder with a file for each name. Remembers through restarts and
    crashes.

    A process that is killed lets go of its holds; what it had begun elsewhere (at another machine, say) may
    go on.
    """

    def __init__(self, folder: str | Path, *, deadline: float = 10.0) -> None:
        self._folder = Path(folder)
        self._deadline = check_deadline(deadline)
        make_folder(self._folder)

    @contextmanager
    def hold(self, name: str, token: Presentable) -> Iterator[None]:
        """Works of one token share the lock on a file of theirs; a greater one waits for those of all lower ones.

        In this order: 1. greater than any before? Remembered, and lower ones are refused from here on. 2. Our own
        file is locked; still under the lock of 1., so nobody greater can be after it yet. 3. Those lower end.
        4. Has one who is greater come meanwhile? It waits for us, and we give way.
        """
        presented = checked(token)
        remembered = TokenFile(self._folder / plain_name(check_name(name)))
        until = time.monotonic() + self._deadline
        with ExitStack() as held:
            with remembered.locked(self._deadline):
                if admit(name, presented, remembered.read()):
                    remembered.write(presented)
                held.enter_context(locked(remembered.folder / f"work-{presented}", 0.0, shared=True))
            for path in remembered.folder.glob("work-*"):
                if Token.parse(path.name.removeprefix("work-")) < presented:
                    with locked(path, max(until - time.monotonic(), 0.0)):
                        path.unlink(missing_ok=True)  # nobody will come to it any more: its token is stale
            admit(name, presented, remembered.read())
            yield


class SqlHolds:
    """For all that use one database, as long as the connection of the hold lives (see above).

    ``connect`` makes a connection for one hold; it is closed after that. How long a greater token waits is
    the database's setting (PostgreSQL: ``lock_timeout``). Works of one token come one after another. With
    SQLite, it keeps everybody from writing to the database file: have it in a file of its own.
    """

    def __init__(self, guard: SqlGuard, connect: Callable[[], Any]) -> None:
        self._guard = guard
        self._connect = connect

    @contextmanager
    def hold(self, name: str, token: Presentable) -> Iterator[None]:
        with (
            closing(self._connect()) as connection,
            self._guard.transaction(connection, name, token),
        ):
            yield
