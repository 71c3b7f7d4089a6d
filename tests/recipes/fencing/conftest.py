from collections.abc import Iterator

import pytest

from tests.recipes.fencing.postgres import postgres, programs


@pytest.fixture(scope="session")
def dsn() -> Iterator[str]:
    """A PostgreSQL for all tests of the session; skips where there is none on this machine."""
    pytest.importorskip("psycopg", reason="no psycopg: pip install 'psycopg[binary]'")
    at = programs()
    if at is None:
        pytest.skip(
            "no PostgreSQL on this machine: apt-get install postgresql, or put initdb and pg_ctl on the PATH"
        )
    with postgres(at) as found:
        yield found
