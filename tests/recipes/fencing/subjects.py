"""Our guards, as the conformance checks want them. Other processes import this module."""

import hashlib
import os
import sqlite3
import threading
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from coord.client import Conflict
from coord.recipes.fencing import (
    HEADER,
    FencingASGI,
    FencingWSGI,
    FileGuard,
    FileHolds,
    FileObjects,
    Holds,
    MemoryHolds,
    ObjectGuard,
    Objects,
    SqlGuard,
    SqlHolds,
    StaleToken,
    Stored,
    Token,
    TokenColumns,
)

FENCE = TokenColumns()
HELD = "CREATE TABLE IF NOT EXISTS held (name TEXT PRIMARY KEY, value {bytes})"
ROWS = f"CREATE TABLE IF NOT EXISTS rows (name TEXT PRIMARY KEY, value {{bytes}}, {FENCE.schema})"


class Sql:
    """A table whose writes are guarded by :class:`SqlGuard`'s transactions."""

    def __init__(self, driver: Any, connection: Any, again: tuple[type[Exception], ...] = ()) -> None:
        self.guard = SqlGuard(driver)
        self.connection = connection
        self.again = again
        self.mark = "?" if driver.paramstyle == "qmark" else "%s"

    def write(self, name: str, token: Token, value: bytes) -> None:
        while True:
            try:
                with self.guard.transaction(self.connection, name, token) as cursor:
                    self.put(cursor, name, value)
                return
            except self.again:
                continue  # a serialization failure: nothing has happened

    def put(self, cursor: Any, name: str, value: bytes) -> None:
        cursor.execute(f"SELECT value FROM held WHERE name = {self.mark}", (name,))
        if cursor.fetchone() is None:
            cursor.execute(f"INSERT INTO held (name, value) VALUES ({self.mark}, {self.mark})", (name, value))
        else:
            cursor.execute(f"UPDATE held SET value = {self.mark} WHERE name = {self.mark}", (value, name))

    def read(self, name: str) -> bytes | None:
        cursor = self.connection.cursor()
        try:
            cursor.execute(f"SELECT value FROM held WHERE name = {self.mark}", (name,))
            row = cursor.fetchone()
            return None if row is None else bytes(row[0])
        finally:
            cursor.close()
            self.connection.rollback()

    def close(self) -> None:
        self.connection.close()


class Rows:
    """A table whose rows bring their tokens along."""

    def __init__(self, connection: Any, mark: str) -> None:
        self.connection = connection  # in autocommit mode: each statement is a transaction
        self.mark = mark

    def run(self, text: str, *parameters: object) -> Any:
        return self.connection.execute(text.replace("?", self.mark), parameters)

    def write(self, name: str, token: Token, value: bytes) -> None:
        self.run("INSERT INTO rows (name) VALUES (?) ON CONFLICT (name) DO NOTHING", name)
        done = self.run(
            f"UPDATE rows SET value = ?, {FENCE.remember(token)} WHERE name = ? AND {FENCE.admits(token)}",
            value,
            name,
        )
        if done.rowcount == 0:
            found = self.run(
                "SELECT fence_incarnation, fence_revision FROM rows WHERE name = ?", name
            ).fetchone()
            raise StaleToken(name, token, Token(*found))

    def read(self, name: str) -> bytes | None:
        row = self.run("SELECT value FROM rows WHERE name = ?", name).fetchone()
        return None if row is None or row[0] is None else bytes(row[0])

    def close(self) -> None:
        self.connection.close()


class File:
    """A file for each name, behind :class:`FileGuard`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def guard(self, name: str) -> FileGuard:
        return FileGuard(self.folder / hashlib.sha256(name.encode()).hexdigest())

    def write(self, name: str, token: Token, value: bytes) -> None:
        self.guard(name).replace(token, value)

    def read(self, name: str) -> bytes | None:
        return self.guard(name).read()


class Object:
    def __init__(self, objects: Objects) -> None:
        self.guard = ObjectGuard(objects)

    def write(self, name: str, token: Token, value: bytes) -> None:
        self.guard.put(name, token, value)

    def read(self, name: str) -> bytes | None:
        return self.guard.get(name)


class S3Like:
    """Objects whose tag is a digest of their content, as S3's ETag is: it comes back with the content."""

    def __init__(self) -> None:
        self.mutex = threading.Lock()
        self.objects: dict[str, bytes] = {}

    def get(self, key: str) -> Stored | None:
        data = self.objects.get(key)
        return None if data is None else Stored(data, hashlib.md5(data).hexdigest())

    def put_if_match(self, key: str, data: bytes, tag: str | None) -> str:
        with self.mutex:
            stored = self.get(key)
            if (None if stored is None else stored.tag) != tag:
                raise Conflict("412")
            self.objects[key] = data
            return hashlib.md5(data).hexdigest()


class Plain:
    """Files that anybody writes over, without a rename, in two steps: only a hold makes that safe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        return self.folder / hashlib.sha256(name.encode()).hexdigest()

    def put(self, name: str, value: bytes) -> None:
        aside = self.path(name).with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        aside.write_bytes(value)
        aside.rename(self.path(name))

    def read(self, name: str) -> bytes | None:
        try:
            return self.path(name).read_bytes()
        except FileNotFoundError:
            return None


class Held(Plain):
    """Writes to plain files inside of a hold."""

    def __init__(self, folder: Path, holds: Holds) -> None:
        super().__init__(folder)
        self.holds = holds

    def write(self, name: str, token: Token, value: bytes) -> None:
        with self.holds.hold(name, token):
            self.put(name, value)


def raise_problem(name: str, token: Token, status: int, body: bytes) -> None:
    import json

    facts = json.loads(body)
    assert facts["status"] == status == 412, facts
    assert facts["name"] == name
    raise StaleToken(name, Token.parse(facts["presented"]), Token.parse(facts["greatest"]))


class Asgi(Plain):
    """An ASGI application that writes plain files, behind the middleware; each write is a request."""

    def __init__(self, folder: Path, holds: Holds) -> None:
        super().__init__(folder)
        self.guarded = FencingASGI(self.application, holds, lambda scope: scope["path"])

    async def application(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        self.put(scope["coord.fencing"].name, body)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def write(self, name: str, token: Token, value: bytes) -> None:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": value}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(HEADER.lower().encode(), str(token).encode())]
        scope = {"type": "http", "method": "PUT", "path": name, "headers": headers}
        anyio.run(self.guarded, scope, receive, send)
        if sent[0]["status"] != 204:
            raise_problem(name, token, sent[0]["status"], sent[1]["body"])


class Wsgi(Plain):
    def __init__(self, folder: Path, holds: Holds) -> None:
        super().__init__(folder)
        self.guarded = FencingWSGI(self.application, holds, lambda environ: environ["PATH_INFO"])

    def application(self, environ: Any, start_response: Any) -> Any:
        start_response("204 No Content", [])
        return self.answer(environ)

    def answer(self, environ: Any) -> Any:
        self.put(
            environ["coord.fencing"].name, environ["value"]
        )  # at the last moment: while the answer is read
        yield b""

    def write(self, name: str, token: Token, value: bytes) -> None:
        statuses: list[str] = []
        environ = {
            "REQUEST_METHOD": "PUT",
            "PATH_INFO": name,
            "value": value,
            "HTTP_COORD_FENCING_TOKEN": str(token),
        }
        answer = self.guarded(environ, lambda status, headers, exc_info=None: statuses.append(status))
        try:
            body = b"".join(answer)
        finally:
            getattr(answer, "close", list)()
        if statuses[-1] != "204 No Content":
            raise_problem(name, token, int(statuses[-1].split()[0]), body)


# --- make_guard ----------------------------------------------------------------------------------------------


def sqlite(folder: Path, autocommit: bool, rows: bool = False) -> Any:
    connection = sqlite3.connect(
        folder / "sqlite", timeout=60, isolation_level=None if autocommit else "", check_same_thread=False
    )
    connection.execute("PRAGMA synchronous = OFF")  # no power fails here
    if rows:
        connection.execute(ROWS.format(bytes="BLOB"))
        return Rows(connection, "?")
    subject = Sql(sqlite3, connection)
    subject.guard.create_table(connection)
    connection.execute(HELD.format(bytes="BLOB"))
    return subject


def postgresql(dsn: str, autocommit: bool, serializable: bool, rows: bool = False) -> Any:
    import psycopg

    connection = psycopg.connect(dsn, autocommit=autocommit)
    connection.execute(
        f"SET default_transaction_isolation = '{'serializable' if serializable else 'read committed'}'"
    )
    if not autocommit:
        connection.commit()
    if rows:
        return Rows(connection, "%s")
    return Sql(psycopg, connection, (psycopg.errors.SerializationFailure,))


def prepare_postgresql(dsn: str) -> None:
    import psycopg

    with psycopg.connect(dsn) as connection:
        SqlGuard(psycopg).create_table(connection)
        connection.execute(HELD.format(bytes="BYTEA"))
        connection.execute(ROWS.format(bytes="BYTEA"))


def objects(folder: Path) -> Object:
    return Object(FileObjects(folder / "objects"))


def held_by_files(kind: type[Any], folder: Path) -> Any:
    return kind(folder, FileHolds(folder / "holds", deadline=60))


def held_by_sql(folder: Path, dsn: str) -> Held:
    import psycopg

    return Held(folder, SqlHolds(SqlGuard(psycopg), partial(psycopg.connect, dsn)))


def held_in_memory(kind: type[Any], folder: Path) -> Any:
    holds = MemoryHolds(deadline=60)
    return lambda: kind(folder, holds)
