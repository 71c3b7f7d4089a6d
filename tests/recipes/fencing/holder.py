"""A process that holds a lock and writes to everything that has a guard, when it is told to on its standard input.

    python -m tests.recipes.fencing.holder ENDPOINT,… FOLDER URL [DSN]

Its words are lines: ``held TOKEN`` once it has the lock, and after each line ``write VALUE`` a JSON object of what
became of each write, by guard. Whether it may still write it does not ask before: it is the program that goes on in the
middle of its writing, after having been stopped.
"""

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from coord.client import CoordError
from coord.client.blocking import Client, connect
from coord.recipes.blocking.lock import Lock
from coord.recipes.fencing import HEADER, Token
from coord.recipes.scope import Lost
from tests.recipes.fencing import subjects

LOCK, FENCED, NAME = "/locks/guarded", "/guarded", "/report"
SESSION_S = 2.0

Write = Callable[[bytes], object]


class Guarded(Protocol):
    """What the classes of ``subjects.py`` have in common."""

    def write(self, name: str, token: Token, value: bytes) -> None: ...

    def read(self, name: str) -> bytes | None: ...


def guards(folder: Path, dsn: str | None) -> dict[str, Guarded]:
    """What is guarded beside the tree and the web application; of the processes of one machine."""
    found: dict[str, Guarded] = {
        "file": subjects.File(folder / "files"),
        "object": subjects.objects(folder),
        "asgi": subjects.held_by_files(subjects.Asgi, folder / "asgi"),
        "sqlite": subjects.sqlite(folder, False),
    }
    if dsn is not None:
        found["postgresql"] = subjects.postgresql(dsn, False, False)
        found["postgresql, one statement"] = subjects.postgresql(dsn, True, False, rows=True)
    return found


def put(url: str, token: Token, value: bytes) -> None:
    request = urllib.request.Request(url, value, {HEADER: str(token)}, method="PUT")
    try:
        urllib.request.urlopen(request, timeout=20).close()
    except urllib.error.HTTPError as error:
        with error:
            subjects.raise_problem(NAME, token, error.code, error.read())


def writes(
    client: Client, endpoints: str, token: Token, folder: Path, url: str, dsn: str | None
) -> dict[str, Write]:
    def with_a_new_session(value: bytes) -> None:
        """What it knows of its session does not keep it from writing: nothing but the token does."""
        with connect(endpoints) as another:
            another.fenced(token).set(f"{FENCED}/by-a-new-session", value, create=True)

    found: dict[str, Write] = {
        "fence": lambda value: client.fenced(token).set(f"{FENCED}/by-its-own-session", value, create=True),
        "fence, new session": with_a_new_session,
        "wsgi": lambda value: put(url, token, value),
    }
    for kind, guard in guards(folder, dsn).items():
        found[kind] = lambda value, guard=guard: guard.write(NAME, token, value)  # type: ignore[misc]
    return found


def tried(write: Write, value: bytes) -> str:
    try:
        write(value)
    except CoordError as error:
        return f"{type(error).__name__} {error.outcome}"
    return "written"


def main(endpoints: str, folder: str, url: str, dsn: str | None = None) -> None:
    with connect(endpoints, session_timeout=SESSION_S) as client:
        try:
            with Lock(client, LOCK).hold(deadline=60) as grant:
                each = writes(client, endpoints, grant.token, Path(folder), url, dsn)
                print("held", grant.token, flush=True)
                for line in sys.stdin:
                    value = line.split()[1].encode()
                    print(json.dumps({kind: tried(write, value) for kind, write in each.items()}), flush=True)
        except Lost:
            print("lost", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
