"""Guards in an SQL database: the check and the write are one transaction, or one statement.

*What it guarantees.* A write of :meth:`SqlGuard.transaction` is committed only if no greater token was seen
for its name, and from its commit on no lower one is: the row that remembers the greatest token is locked from
the check to the commit, so a transaction is wholly before its successor's, or refused. So under READ
COMMITTED as under SERIALIZABLE, for PostgreSQL (9.5 and newer) and SQLite (3.24 and newer), with any DB-API 2
driver.

*What it does not.* It is no lock for those who do not use it: every writer must. It does not outlive its row:
whoever deletes rows of its table, or restores the database from a backup without them, makes it forget. And a
holder that is paused *inside* the transaction keeps its successor waiting: safe, but not quick.

*What to do about that.* Do slow things before the transaction, not in it; set
``idle_in_transaction_session_timeout`` (PostgreSQL), so that a paused holder's transaction is broken up, and
its write with it. Or use :class:`TokenColumns`: one statement, which nothing pauses. Take the right to delete
from the table away.

>>> import sqlite3
>>> from coord.recipes.fencing import SqlGuard, StaleToken, Token
>>> connection = sqlite3.connect(":memory:")
>>> guard = SqlGuard(sqlite3)
>>> guard.create_table(connection)
>>> _ = connection.execute("CREATE TABLE stock (item TEXT PRIMARY KEY, count INTEGER)")
>>> with guard.transaction(connection, "stock", Token(1, 7)) as cursor:
...     _ = cursor.execute("INSERT INTO stock VALUES ('nails', 100)")
>>> try:
...     with guard.transaction(connection, "stock", Token(1, 5)) as cursor:  # who was paused, and knows of nothing
...         _ = cursor.execute("UPDATE stock SET count = 0")
... except StaleToken as error:
...     print(error)
stale fencing token 1-5 for 'stock': 1-7 has been seen, so the claim was granted anew since
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

from coord.client import InvalidRequest, Token
from coord.recipes.fencing.token import Presentable, admit, check_name, checked

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)

_PLACEHOLDERS: Final[Mapping[str, str]] = {
    "qmark": "?",
    "format": "%s",
    "numeric": ":{number}",
    "named": ":{name}",
    "pyformat": "%({name})s",
}


class Driver(Protocol):
    """A DB-API 2 module: ``sqlite3``, ``psycopg``, ``psycopg2``, ``pg8000`` …"""

    @property
    def paramstyle(self) -> str: ...


class Connection(Protocol):
    """What is used of a DB-API 2 connection, besides ``autocommit`` where it has one."""

    def cursor(self) -> Any: ...

    def commit(self) -> Any: ...

    def rollback(self) -> Any: ...


class SqlGuard:
    """Remembers the greatest token of each name in a table of its own. Safe to share among threads.

    ``driver`` is the module that the connections are made with; its ``paramstyle`` says how it writes
    parameters.
    """

    def __init__(self, driver: Driver, *, table: str = "coord_fencing") -> None:
        style = str(getattr(driver, "paramstyle", None))
        if style not in _PLACEHOLDERS:
            raise InvalidRequest(
                f"the driver is a DB-API 2 module with a paramstyle, such as sqlite3 or psycopg; not {driver!r:.60}"
            )
        self.table = ".".join(_identifier(part, "a table's name") for part in str(table).split(".", 1))
        self._by_name = style in ("named", "pyformat")
        name, incarnation, revision = (
            _PLACEHOLDERS[style].format(number=number, name=each)
            for number, each in enumerate(("name", "incarnation", "revision"), 1)
        )
        # ON CONFLICT DO UPDATE locks the row that is there even where its WHERE is false (so PostgreSQL's
        # page on INSERT says; SQLite has one writer anyway). So `<` will do: an equal token locks, and writes
        # nothing.
        self._raise = (
            f"INSERT INTO {self.table} AS seen (name, incarnation, revision) "
            f"VALUES ({name}, {incarnation}, {revision}) "
            "ON CONFLICT (name) DO UPDATE SET incarnation = excluded.incarnation, revision = excluded.revision "
            "WHERE (seen.incarnation, seen.revision) < (excluded.incarnation, excluded.revision)"
        )
        self._read = f"SELECT incarnation, revision FROM {self.table} WHERE name = {name}"

    @property
    def schema(self) -> str:
        """The statement that makes the table, for a migration. A row for each name; none is ever to be
        deleted.
        """
        return (
            f"CREATE TABLE IF NOT EXISTS {self.table} ("
            "name TEXT NOT NULL PRIMARY KEY, incarnation BIGINT NOT NULL, revision BIGINT NOT NULL)"
        )

    def create_table(self, connection: Connection) -> None:
        """Make the table unless it is there, and commit. Once, before the first holder."""
        with _transaction(connection) as cursor:
            cursor.execute(self.schema)

    @contextmanager
    def transaction(self, connection: Connection, name: str, token: Presentable) -> Iterator[Any]:
        """A transaction that ``token`` is fit for: what its cursor (or another of the connection) does is
        committed at the end of the block, and undone by an exception in it. Raises
        :class:`~coord.recipes.fencing.StaleToken` (refused).

        ``commit`` inside the block would let go of the lock, and must not be called. Whatever the
        connection's open transaction has done before goes the same way as the block. The database's own
        errors come through: of a serialization failure nothing has happened, and the block may be tried again
        with the same token; of a connection lost in the commit nobody knows.
        """
        with _transaction(connection) as cursor:
            self.admit(cursor, name, token)
            yield cursor

    def admit(self, cursor: Any, name: str, token: Presentable) -> None:
        """As a part of the caller's own transaction: let ``token`` in, and keep others out until that has
        ended.

        For frameworks that begin and end transactions themselves (Django's ``atomic``, SQLAlchemy's
        ``begin``). Call it before the writes that it guards; if it raises
        :class:`~coord.recipes.fencing.StaleToken`, roll back. In autocommit mode it protects nothing.
        """
        presented = checked(token)
        cursor.execute(self._raise, self._parameters(check_name(name), presented))
        # A statement of its own, in the same transaction. It shows the row that is locked now: READ COMMITTED
        # looks afresh for each statement; stricter levels have failed above if the row is newer than their
        # snapshot.
        cursor.execute(self._read, self._parameters(name))
        self._judge(name, presented, cursor.fetchone())

    async def admit_async(self, cursor: Any, name: str, token: Presentable) -> None:
        """:meth:`admit` for a driver whose cursors are awaited, such as ``psycopg.AsyncConnection``'s."""
        presented = checked(token)
        await cursor.execute(self._raise, self._parameters(check_name(name), presented))
        await cursor.execute(self._read, self._parameters(name))
        self._judge(name, presented, await cursor.fetchone())

    def greatest(self, cursor: Any, name: str) -> Token | None:
        """The greatest token seen for ``name``: for people to look at, never to decide by."""
        cursor.execute(self._read, self._parameters(check_name(name)))
        return _token(cursor.fetchone())

    def _judge(self, name: str, presented: Token, row: Any) -> None:
        greatest = _token(row)
        if greatest is None:
            raise InvalidRequest(f"the row of {name!r} in {self.table} went missing; a trigger, or a policy?")
        if admit(name, presented, greatest):
            raise InvalidRequest(
                f"{self.table} did not take {presented} for {name!r}; a trigger, or a policy?"
            )

    def _parameters(self, name: str, token: Token | None = None) -> Mapping[str, object] | Sequence[object]:
        numbers = {} if token is None else {"incarnation": token.incarnation, "revision": token.revision}
        named = {"name": name, **numbers}
        return named if self._by_name else tuple(named.values())


class TokenColumns:
    """The token in the guarded row itself: one ``UPDATE`` checks it, remembers it, and writes.

    *What it guarantees.* The row is never changed with a lower token than one that has changed it before: the
    database evaluates the condition on the very version of the row that it replaces. Nothing is locked for
    longer than the statement.

    *What it does not.* It says nothing about other rows, cannot guard an ``INSERT``, and is forgotten with
    the row.

    *What to do about that.* :class:`SqlGuard` where rows come and go; here, mark a row as deleted rather than
    delete it.

    >>> import sqlite3
    >>> from coord.recipes.fencing import Token, TokenColumns
    >>> connection = sqlite3.connect(":memory:", isolation_level=None)
    >>> fence = TokenColumns()
    >>> _ = connection.execute(f"CREATE TABLE jobs (id INTEGER PRIMARY KEY, state TEXT, {fence.schema})")
    >>> _ = connection.execute("INSERT INTO jobs (id, state) VALUES (1, 'new')")
    >>> def move(state, token):
    ...     done = connection.execute(
    ...         f"UPDATE jobs SET state = ?, {fence.remember(token)} WHERE id = ? AND {fence.admits(token)}", (state, 1)
    ...     )
    ...     return done.rowcount  # 0: the token is stale (or there is no such row)
    >>> move("running", Token(1, 7)), move("lost", Token(1, 5)), move("done", Token(1, 7))
    (1, 0, 1)

    The numbers stand in the text itself, checked to be whole numbers, so that it fits any parameter style.
    """

    def __init__(self, incarnation: str = "fence_incarnation", revision: str = "fence_revision") -> None:
        self._incarnation = _identifier(incarnation, "a column's name")
        self._revision = _identifier(revision, "a column's name")

    @property
    def schema(self) -> str:
        """The two columns, for ``CREATE TABLE``. A row that nobody has written with a token yet has zeros."""
        return f"{self._incarnation} BIGINT NOT NULL DEFAULT 0, {self._revision} BIGINT NOT NULL DEFAULT 0"

    def remember(self, token: Presentable) -> str:
        """For the ``SET`` of an ``UPDATE``."""
        presented = checked(token)
        return f"{self._incarnation} = {presented.incarnation}, {self._revision} = {presented.revision}"

    def admits(self, token: Presentable) -> str:
        """For the ``WHERE`` of the same ``UPDATE``, or of a ``DELETE``, joined to the rest by ``AND``."""
        presented = checked(token)
        return f"({self._incarnation}, {self._revision}) <= ({presented.incarnation}, {presented.revision})"


@contextmanager
def _transaction(connection: Connection) -> Iterator[Any]:
    """A cursor; commits after the block, rolls back after an exception in it."""
    begun = _autocommits(connection)
    cursor = connection.cursor()
    if begun:
        try:
            cursor.execute("BEGIN")
        except BaseException:
            cursor.close()  # and no rollback: what may be open here is not ours
            raise
    try:
        yield cursor
        if begun:
            cursor.execute("COMMIT")  # in autocommit mode, some drivers' commit() does nothing
        else:
            connection.commit()
    except BaseException as error:
        try:
            if begun:
                cursor.execute("ROLLBACK")
            else:
                connection.rollback()
            cursor.close()
        except Exception as another:  # noqa: BLE001  the connection is gone, and its transaction with it
            error.add_note(f"and the transaction could not be rolled back: {another}")
        raise
    cursor.close()


def _autocommits(connection: Connection) -> bool:
    """Whether the driver begins no transaction by itself."""
    autocommit = getattr(connection, "autocommit", None)
    if isinstance(autocommit, bool):
        return autocommit
    # sqlite3 in its older mode: there, an isolation level of None means that.
    return hasattr(connection, "in_transaction") and getattr(connection, "isolation_level", "") is None


def _token(row: Any) -> Token | None:
    if row is None:
        return None
    incarnation, revision = row.values() if isinstance(row, Mapping) else row
    return Token(incarnation, revision)


def _identifier(text: str, what: str) -> str:
    if not isinstance(text, str) or _IDENTIFIER.fullmatch(text) is None:
        raise InvalidRequest(
            f"{what} is made of letters, digits and _ (a schema and a dot may stand in front); not {text!r:.60}"
        )
    return text
