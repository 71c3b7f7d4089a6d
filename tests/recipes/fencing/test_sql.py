"""SQL guards on SQLite and PostgreSQL: transactions, connections in all modes, races, what is left after errors."""

import sqlite3
import threading
import types
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from coord.client import InvalidRequest
from coord.recipes.fencing import SqlGuard, StaleToken, Token, TokenColumns

MODES = ["sqlite", "sqlite-autocommit", "postgresql", "postgresql-autocommit"]
GUARD_TABLE = "coord_fencing_tests"


class Database:
    """One way to a database with two tables of our own."""

    def __init__(self, mode: str, where: str) -> None:
        self.where = where
        self.autocommit = mode.endswith("-autocommit")
        self.driver: Any = sqlite3
        if mode.startswith("postgresql"):
            import psycopg

            self.driver = psycopg
        self.guard = SqlGuard(self.driver, table=GUARD_TABLE)
        self.mark = "?" if self.driver is sqlite3 else "%s"

    def connect(self, **more: Any) -> Any:
        if self.driver is sqlite3:
            level = None if self.autocommit else ""
            return sqlite3.connect(
                self.where, isolation_level=level, timeout=30, check_same_thread=False, **more
            )
        return self.driver.connect(self.where, autocommit=self.autocommit, **more)

    def values(self) -> list[str]:
        with closing(self.connect()) as connection:
            return [
                row[0] for row in connection.execute("SELECT value FROM written ORDER BY number").fetchall()
            ]

    def run(self, connection: Any, name: str, token: Token, *does: Callable[[Any], Any]) -> None:
        """A guarded transaction that does that."""
        with self.guard.transaction(connection, name, token) as cursor:
            for each in does:
                each(cursor)

    def insert(self, cursor: Any, value: str) -> None:
        cursor.execute(f"INSERT INTO written (value) VALUES ({self.mark})", (value,))


@pytest.fixture(params=MODES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    mode = request.param
    where = str(tmp_path / "db") if mode.startswith("sqlite") else request.getfixturevalue("dsn")
    found = Database(mode, where)
    serial = "INTEGER PRIMARY KEY" if found.driver is sqlite3 else "SERIAL"
    with closing(found.connect()) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {GUARD_TABLE}")
        connection.execute("DROP TABLE IF EXISTS written")
        connection.execute(f"CREATE TABLE written (number {serial}, value TEXT)")
        connection.commit()
        found.guard.create_table(connection)
        found.guard.create_table(connection)  # harmless
    return found


def test_in_and_out(database: Database) -> None:
    with closing(database.connect()) as connection:
        with database.guard.transaction(connection, "a", Token(1, 7)) as cursor:
            database.insert(cursor, "one")
        assert database.values() == ["one"]  # committed
        with (
            pytest.raises(StaleToken) as caught,
            database.guard.transaction(connection, "a", Token(1, 5)) as cursor,
        ):
            database.insert(cursor, "stale")
        assert (caught.value.presented, caught.value.greatest) == (Token(1, 5), Token(1, 7))
        with database.guard.transaction(
            connection, "a", Token(2, 1)
        ) as cursor:  # the connection is fit for more
            database.insert(cursor, "two")
        assert database.values() == ["one", "two"]
        cursor = connection.cursor()
        assert database.guard.greatest(cursor, "a") == Token(2, 1)
        assert database.guard.greatest(cursor, "b") is None


def fails(error: BaseException) -> Callable[[Any], None]:
    def fail(cursor: Any) -> None:
        raise error

    return fail


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_in_the_block_undoes_it(database: Database, error: type[BaseException]) -> None:
    with closing(database.connect()) as connection:
        with pytest.raises(error):
            database.run(
                connection, "a", Token(1, 7), lambda cursor: database.insert(cursor, "undone"), fails(error())
            )
        assert database.values() == []
        assert database.guard.greatest(connection.cursor(), "a") is None
        connection.rollback()
        with database.guard.transaction(connection, "a", Token(1, 7)) as cursor:
            database.insert(cursor, "done")
    assert database.values() == ["done"]


def test_an_error_of_the_database_undoes_it_and_comes_through(database: Database) -> None:
    def insert(cursor: Any) -> None:
        database.insert(cursor, "undone")

    def nonsense(cursor: Any) -> None:
        cursor.execute("SELECT nonsense FROM nowhere")

    with closing(database.connect()) as connection:
        with pytest.raises(database.driver.Error):
            database.run(connection, "a", Token(1, 7), insert, nonsense)
        assert database.values() == []
        database.run(connection, "a", Token(1, 7))


def test_a_connection_that_is_gone_says_what_was_first(database: Database) -> None:
    connection = database.connect()

    def insert(cursor: Any) -> None:
        database.insert(cursor, "undone")
        connection.close()

    with pytest.raises(ValueError, match="mine") as caught:
        database.run(connection, "a", Token(1, 7), insert, fails(ValueError("mine")))
    assert any("could not be rolled back" in note for note in caught.value.__notes__)
    assert database.values() == []


def test_the_next_holder_waits_for_the_transaction(database: Database) -> None:
    """1. The old holder is paused in its transaction. 2. The new one comes, and waits. 3. The old one commits, then the
    new one does: each write is wholly before or after the other.
    """
    with closing(database.connect()) as old, closing(database.connect()) as new:

        def follow() -> None:
            with database.guard.transaction(new, "a", Token(1, 7)) as cursor:
                database.insert(cursor, "new")

        following = threading.Thread(target=follow)
        with database.guard.transaction(old, "a", Token(1, 5)) as cursor:
            following.start()
            following.join(0.1)
            assert following.is_alive()
            database.insert(cursor, "old")
        following.join(30)
        assert database.values() == ["old", "new"]
        with pytest.raises(StaleToken), database.guard.transaction(old, "a", Token(1, 5)) as cursor:
            database.insert(cursor, "stale")


def test_the_former_holder_waits_and_is_refused(database: Database) -> None:
    with closing(database.connect()) as old, closing(database.connect()) as new:
        said: list[StaleToken] = []

        def late() -> None:
            try:
                with database.guard.transaction(old, "a", Token(1, 5)) as cursor:
                    database.insert(cursor, "stale")
            except StaleToken as error:
                said.append(error)

        lagging = threading.Thread(target=late)
        with database.guard.transaction(new, "a", Token(1, 7)) as cursor:
            lagging.start()
            lagging.join(0.1)
            assert lagging.is_alive()
            database.insert(cursor, "new")
        lagging.join(30)
        assert [error.greatest for error in said] == [Token(1, 7)]
        assert database.values() == ["new"]


def test_a_new_holder_that_fails_leaves_the_former_one_in(database: Database) -> None:
    with closing(database.connect()) as old, closing(database.connect()) as new:
        with pytest.raises(ValueError), database.guard.transaction(new, "a", Token(1, 7)):
            raise ValueError
        with database.guard.transaction(old, "a", Token(1, 5)) as cursor:
            database.insert(cursor, "old")
    assert database.values() == ["old"]


def test_names_do_not_wait_for_each_other_on_postgresql(database: Database) -> None:
    if database.driver is sqlite3:
        pytest.skip("SQLite has one writer at a time")
    with (
        closing(database.connect()) as one,
        closing(database.connect()) as other,
        database.guard.transaction(one, "a", Token(1, 7)) as cursor,
        database.guard.transaction(other, "b", Token(1, 5)) as another,
    ):
        database.insert(cursor, "one")
        database.insert(another, "other")
    assert sorted(database.values()) == ["one", "other"]


def test_as_a_part_of_a_transaction_of_the_callers(database: Database) -> None:
    with closing(database.connect()) as connection:
        cursor = connection.cursor()
        cursor.execute("BEGIN")
        database.guard.admit(cursor, "a", Token(1, 7))
        database.insert(cursor, "one")
        cursor.execute("COMMIT")
        cursor.execute("BEGIN")
        with pytest.raises(StaleToken):
            database.guard.admit(cursor, "a", Token(1, 5))
        cursor.execute("ROLLBACK")
    assert database.values() == ["one"]


def test_a_table_that_does_not_take_it_is_told(database: Database) -> None:
    with closing(database.connect()) as connection:
        with database.guard.transaction(connection, "a", Token(1, 5)):
            pass
        # What a trigger or a row policy could do: the row stays as it was.
        if database.driver is sqlite3:
            connection.execute(
                f"CREATE TRIGGER no BEFORE UPDATE ON {GUARD_TABLE} BEGIN SELECT RAISE(IGNORE); END"
            )
        else:
            connection.execute(
                "CREATE OR REPLACE FUNCTION no() RETURNS trigger AS 'BEGIN RETURN NULL; END' LANGUAGE plpgsql"
            )
            connection.execute(
                f"CREATE TRIGGER no BEFORE UPDATE ON {GUARD_TABLE} FOR EACH ROW EXECUTE FUNCTION no()"
            )
        connection.commit()
        with (
            pytest.raises(InvalidRequest, match="did not take 1-7 for 'a'"),
            database.guard.transaction(connection, "a", Token(1, 7)) as cursor,
        ):
            database.insert(cursor, "unguarded")
    assert database.values() == []


def test_rows_of_all_sorts(database: Database) -> None:
    if database.driver is sqlite3:
        kinds: list[Any] = [sqlite3.Row, lambda cursor, row: {"incarnation": row[0], "revision": row[1]}]
    else:
        import psycopg.rows

        kinds = [psycopg.rows.dict_row, psycopg.rows.namedtuple_row]
    with closing(database.connect()) as connection:
        for kind in kinds:
            connection.row_factory = kind
            with database.guard.transaction(connection, "a", Token(1, 7)):
                pass
            with pytest.raises(StaleToken), database.guard.transaction(connection, "a", Token(1, 5)):
                pass


def test_a_holder_that_is_paused_in_its_transaction_for_too_long_on_postgresql(dsn: str) -> None:
    """What is said about ``idle_in_transaction_session_timeout``: the successor waits for no longer, and the paused
    one's write is undone.
    """
    import psycopg

    database = Database("postgresql", dsn)
    with closing(database.connect()) as old, closing(database.connect()) as new:
        old.execute(f"DROP TABLE IF EXISTS {GUARD_TABLE}, written")
        old.execute("CREATE TABLE written (number SERIAL, value TEXT)")
        old.commit()
        database.guard.create_table(old)
        old.execute("SET idle_in_transaction_session_timeout = '100ms'")
        old.commit()
        paused = database.guard.transaction(old, "a", Token(1, 5))
        database.insert(paused.__enter__(), "before the pause")
        with database.guard.transaction(new, "a", Token(1, 7)) as cursor:  # it waits here
            database.insert(cursor, "new")
        with pytest.raises(psycopg.DatabaseError):
            paused.__exit__(None, None, None)  # it wakes up, and commits
    assert database.values() == ["new"]


@pytest.mark.parametrize("mode", ["read committed", "repeatable read", "serializable"])
def test_racing_holders_on_postgresql(dsn: str, mode: str) -> None:
    """1. Two holders have begun, and looked around. 2. The new one commits. 3. The old one writes. At the
    stricter levels the database itself fails it (and a second try is refused); at READ COMMITTED the guard does.
    """
    import psycopg

    database = Database("postgresql", dsn)
    with closing(database.connect()) as old, closing(database.connect()) as new:
        old.execute(f"DROP TABLE IF EXISTS {GUARD_TABLE}")
        old.commit()
        database.guard.create_table(old)
        for connection in (old, new):
            connection.execute(f"SET default_transaction_isolation = '{mode}'")
            connection.commit()
            connection.execute(f"SELECT * FROM {GUARD_TABLE}")  # the transaction's snapshot is taken
        with database.guard.transaction(new, "a", Token(1, 7)):
            pass
        expected = StaleToken if mode == "read committed" else psycopg.errors.SerializationFailure
        with pytest.raises(expected), database.guard.transaction(old, "a", Token(1, 5)):
            pytest.fail("let in")
        with pytest.raises(StaleToken), database.guard.transaction(old, "a", Token(1, 5)):
            pytest.fail("let in")


def test_awaited_cursors_on_postgresql(dsn: str) -> None:
    import psycopg

    database = Database("postgresql", dsn)
    with closing(database.connect()) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {GUARD_TABLE}")
        connection.commit()
        database.guard.create_table(connection)

    async def main() -> None:
        connection = await psycopg.AsyncConnection.connect(dsn)
        async with connection:
            async with connection.transaction(), connection.cursor() as cursor:
                await database.guard.admit_async(cursor, "a", Token(1, 7))
            with pytest.raises(StaleToken):
                async with connection.transaction(), connection.cursor() as cursor:
                    await database.guard.admit_async(cursor, "a", Token(1, 5))

    anyio.run(main, backend="asyncio")  # psycopg has no other


# --- one statement ---------------------------------------------------------------------------------------------


def test_columns_when_the_row_is_locked_on_postgresql(dsn: str) -> None:
    """1. The new holder has updated the row, not yet committed. 2. The old one's statement waits for the
    row, having begun before the commit. 3. The commit. The old one's condition is looked at again, on the row as it
    is now.
    """
    database = Database("postgresql-autocommit", dsn)
    fence = TokenColumns()
    with closing(database.connect()) as old, closing(database.connect()) as new:
        new.execute("DROP TABLE IF EXISTS jobs")
        new.execute(f"CREATE TABLE jobs (id INTEGER PRIMARY KEY, state TEXT, {fence.schema})")
        new.execute("INSERT INTO jobs (id, state) VALUES (1, 'new')")
        counts: list[int] = []

        def move(connection: Any, token: Token, state: str) -> None:
            text = (
                f"UPDATE jobs SET state = %s, {fence.remember(token)} WHERE id = %s AND {fence.admits(token)}"
            )
            counts.append(connection.execute(text, (state, 1)).rowcount)

        new.execute("BEGIN")
        move(new, Token(1, 7), "by the new")
        late = threading.Thread(target=move, args=(old, Token(1, 5), "by the old"))
        late.start()
        late.join(0.1)
        assert late.is_alive()
        new.execute("COMMIT")
        late.join(30)
        assert counts == [1, 0]
        assert old.execute("SELECT state, fence_revision FROM jobs").fetchall() == [("by the new", 7)]
        old.execute(f"DELETE FROM jobs WHERE {fence.admits(Token(1, 6))}")
        assert old.execute("SELECT count(*) FROM jobs").fetchone() == (1,)


# --- arguments -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["qmark", "numeric", "named", "format", "pyformat"])
def test_every_style_of_parameters(style: str) -> None:
    """SQLite takes three of them; of the others, what would be sent is looked at."""
    driver = types.ModuleType("driver")
    driver.paramstyle = style  # type: ignore[attr-defined]
    guard = SqlGuard(driver)
    if style in ("qmark", "numeric", "named"):
        with closing(sqlite3.connect(":memory:")) as connection:
            guard.create_table(connection)
            with guard.transaction(connection, "a", Token(1, 7)):
                pass
            with pytest.raises(StaleToken), guard.transaction(connection, "a", Token(1, 5)):
                pass
        return
    sent: list[tuple[str, Any]] = []

    class Cursor:
        def execute(self, text: str, parameters: Any) -> None:
            sent.append(
                (text % (parameters if style == "pyformat" else tuple(map(repr, parameters))), parameters)
            )

        def fetchone(self) -> Any:
            return (1, 7)

    guard.admit(Cursor(), "a", Token(1, 7))
    assert len(sent) == 2
    assert "%" not in sent[0][0]
    assert list(sent[0][1].values() if style == "pyformat" else sent[0][1]) == ["a", 1, 7]


def test_the_table_may_be_elsewhere() -> None:
    guard = SqlGuard(sqlite3, table="main.fences")
    with closing(sqlite3.connect(":memory:")) as connection:
        guard.create_table(connection)
        with guard.transaction(connection, "a", Token(1, 7)):
            pass
        assert connection.execute("SELECT name, revision FROM main.fences").fetchall() == [("a", 7)]


@pytest.mark.parametrize("table", ["", "a b", "a;", "1a", "a.b.c", "a" * 64, 'a"', "é"])
def test_tables_that_are_none(table: str) -> None:
    with pytest.raises(InvalidRequest, match="a table's name is made of letters"):
        SqlGuard(sqlite3, table=table)
    with pytest.raises(InvalidRequest, match="a column's name is made of letters"):
        TokenColumns(table)


def test_what_is_no_driver() -> None:
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(InvalidRequest, match="DB-API 2 module"),
    ):
        SqlGuard(connection)  # type: ignore[arg-type]


def test_wrong_tokens_and_names_leave_the_connection_alone() -> None:
    guard = SqlGuard(sqlite3)
    with closing(sqlite3.connect(":memory:")) as connection:
        guard.create_table(connection)
        for name, token in (("a", "1-7"), ("", Token(1, 7)), ("a\0", Token(1, 7))):
            with pytest.raises(InvalidRequest), guard.transaction(connection, name, token):  # type: ignore[arg-type]
                pytest.fail("let in")
            assert not connection.in_transaction


def test_a_transaction_that_is_open_in_autocommit_mode_is_left_alone() -> None:
    guard = SqlGuard(sqlite3)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        guard.create_table(connection)
        connection.execute("CREATE TABLE t (x)")
        connection.execute("BEGIN")
        connection.execute("INSERT INTO t VALUES (1)")
        with (
            pytest.raises(sqlite3.OperationalError, match="within a transaction"),
            guard.transaction(connection, "a", Token(1, 7)),
        ):
            pytest.fail("let in")
        connection.execute("COMMIT")
        assert connection.execute("SELECT x FROM t").fetchall() == [(1,)]
