"""Guards that are none, each in a way that was met in the wild. They stand on one file of SQLite, or on files."""

import hashlib
import os
import sqlite3
import threading
import time
from pathlib import Path

from coord.recipes.fencing import StaleToken, Token


class Sqlite:
    """Remembers in SQLite, in autocommit mode: each statement is whole, and nothing is around two of them."""

    def __init__(self, folder: Path) -> None:
        self.connection = sqlite3.connect(
            folder / "broken", timeout=60, isolation_level=None, check_same_thread=False
        )
        self.connection.execute("PRAGMA synchronous = OFF")
        self.connection.execute("CREATE TABLE IF NOT EXISTS seen (name TEXT PRIMARY KEY, token TEXT)")
        self.connection.execute("CREATE TABLE IF NOT EXISTS held (name TEXT PRIMARY KEY, value BLOB)")

    def write(self, name: str, token: Token, value: bytes) -> None:
        raise NotImplementedError

    def seen(self, name: str) -> Token | None:
        row = self.connection.execute("SELECT token FROM seen WHERE name = ?", (name,)).fetchone()
        return None if row is None else Token.parse(row[0])

    def remember(self, name: str, token: Token) -> None:
        self.connection.execute("INSERT OR REPLACE INTO seen VALUES (?, ?)", (name, str(token)))

    def put(self, name: str, value: bytes) -> None:
        self.connection.execute("INSERT OR REPLACE INTO held VALUES (?, ?)", (name, value))

    def read(self, name: str) -> bytes | None:
        row = self.connection.execute("SELECT value FROM held WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    def close(self) -> None:
        self.connection.close()


class CheckThenAct(Sqlite):
    """The usual one."""

    def write(self, name: str, token: Token, value: bytes) -> None:
        seen = self.seen(name)
        if seen is not None and token < seen:
            raise StaleToken(name, token, seen)
        self.remember(name, token)
        self.put(name, value)


class ActThenRemember(CheckThenAct):
    def write(self, name: str, token: Token, value: bytes) -> None:
        seen = self.seen(name)
        if seen is not None and token < seen:
            raise StaleToken(name, token, seen)
        self.put(name, value)
        self.remember(name, token)


class OnlyThePresentHolder(Sqlite):
    """An equality test, as in etcd's own example: the next legitimate holder is shut out."""

    def write(self, name: str, token: Token, value: bytes) -> None:
        seen = self.seen(name)
        if seen is not None and token != seen:
            raise StaleToken(name, token, seen)
        self.remember(name, token)
        self.put(name, value)


class RemembersInItself(Sqlite):
    """A dict in the process that happens to run the guard."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.memory: dict[str, Token] = {}

    def write(self, name: str, token: Token, value: bytes) -> None:
        seen = self.memory.get(name)
        if seen is not None and token < seen:
            raise StaleToken(name, token, seen)
        self.memory[name] = token
        self.put(name, value)


class Judging(Sqlite):
    """Right about everything that is not asked of a subclass: the check and the write are one transaction."""

    def write(self, name: str, token: Token, value: bytes) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            seen = self.seen(self.remembered_as(name))
            if seen is not None and self.stale(token, seen):
                raise StaleToken(name, token, seen)
            self.remember(self.remembered_as(name), token)
            self.put(name, value)
            self.connection.execute("COMMIT")
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise

    def stale(self, token: Token, seen: Token) -> bool:
        return token < seen

    def remembered_as(self, name: str) -> str:
        return name


class ComparesTexts(Judging):
    def stale(self, token: Token, seen: Token) -> bool:
        return str(token) < str(seen)


class ForgetsTheIncarnation(Judging):
    def stale(self, token: Token, seen: Token) -> bool:
        return token.revision < seen.revision


class OneMemoryForAllNames(Judging):
    def remembered_as(self, name: str) -> str:
        return ""


class In32Bits(Judging):
    """As a column of a database may do, without a word."""

    def stale(self, token: Token, seen: Token) -> bool:
        return (token.incarnation, token.revision % 2**32) < (seen.incarnation, seen.revision % 2**32)


class ForgetsNames(Judging):
    """It has a cache's bound, with a cache's way out."""

    def remember(self, name: str, token: Token) -> None:
        super().remember(name, token)
        self.connection.execute(
            "DELETE FROM seen WHERE rowid NOT IN (SELECT rowid FROM seen ORDER BY rowid DESC LIMIT 4)"
        )


class HoldsOneValueForAllNames(Judging):
    def put(self, name: str, value: bytes) -> None:
        super().put("", value)

    def read(self, name: str) -> bytes | None:
        return super().read("")


class RefusesEqualOnes(Judging):
    def stale(self, token: Token, seen: Token) -> bool:
        return token <= seen


class WritesAllTheSame(Judging):
    """It is told as refused, and was written."""

    def write(self, name: str, token: Token, value: bytes) -> None:
        try:
            super().write(name, token, value)
        except StaleToken:
            self.put(name, value)
            raise


class SaysNothing(Judging):
    """Nothing is written, and nobody told: a stale holder goes on in good faith."""

    def write(self, name: str, token: Token, value: bytes) -> None:
        try:
            super().write(name, token, value)
        except StaleToken:
            return


class Files:
    """A file for each name, with the token in front of the value; replaced whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, name: str) -> tuple[Token | None, bytes | None]:
        try:
            text, _, value = self.path(name).read_bytes().partition(b" ")
        except FileNotFoundError:
            return None, None
        return Token.parse(text.decode()), value

    def save(self, name: str, token: Token, value: bytes) -> None:
        aside = self.path(name).with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        aside.write_bytes(b"%b %b" % (str(token).encode(), value))
        aside.rename(self.path(name))

    def path(self, name: str) -> Path:
        return self.folder / hashlib.sha256(name.encode()).hexdigest()

    def read(self, name: str) -> bytes | None:
        return self.load(name)[1]


IN_THIS_PROCESS = threading.Lock()


class LocksItsProcess(Files):
    """A lock of threads around files that other processes write, too.

    Slow between looking and writing, where it is nearly always when it is stopped: else finding it would be luck.
    """

    def write(self, name: str, token: Token, value: bytes) -> None:
        with IN_THIS_PROCESS:
            seen, _ = self.load(name)
            time.sleep(0.005)
            if seen is not None and token < seen:
                raise StaleToken(name, token, seen)
            self.save(name, token, value)


class GapInALine(Files):
    """Check-then-act on one line: no line to stop at lies between."""

    def write(self, name: str, token: Token, value: bytes) -> None:
        seen = None
        (((seen := self.load(name)[0]) is None) or seen <= token) and self.save(name, token, value)
        if seen is not None and token < seen:
            raise StaleToken(name, token, seen)
