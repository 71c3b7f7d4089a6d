"""A holder that is stopped for longer than its session lasts, and goes on: every write of it is refused, by everything
that is guarded. Real members, real holders, real grants; PostgreSQL where the machine has it.
"""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from coord.client.blocking import connect
from coord.recipes.fencing import FencingWSGI, MemoryHolds, Token
from tests.processes import Cluster
from tests.recipes.fencing import subjects
from tests.recipes.fencing.holder import FENCED, LOCK, NAME, guards

pytestmark = pytest.mark.processes


class Holder:
    """A process of ``holder.py``."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "tests.recipes.fencing.holder", *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def held(self) -> Token:
        word, token = self.line().split()
        assert word == "held"
        return Token.parse(token)

    def tell(self, value: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"write {value}\n")
        self.process.stdin.flush()

    def told(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.line())
        return found

    def finish(self) -> None:
        """Leave the lock's block."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def close(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        for each in (self.process.stdin, self.process.stdout):
            if each is not None:
                each.close()


class Silent(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def web() -> Iterator[tuple[str, list[bytes]]]:
    """A web application behind the middleware: where it is, and what it was given."""
    written: list[bytes] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        written.append(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        start_response("204 No Content", [])
        return []

    guarded = FencingWSGI(application, MemoryHolds(), name=NAME)
    with make_server("127.0.0.1", 0, guarded, WSGIServer, Silent) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}{NAME}", written
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Story:
    """What became of it, by guard."""

    first: dict[str, str]
    """Of the first holder's writes while it held the lock."""
    late: dict[str, str]
    """Of those after it was stopped."""
    second: dict[str, str]
    values: dict[str, list[bytes]]
    """What each guarded thing has in the end."""
    end: str
    """What the first holder's block ended with."""
    tokens: tuple[Token, Token]
    no_postgresql: str
    """Why there was none."""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Story:
    """1. The first holder writes. 2. It is stopped, with its next writes before it. 3. Its session ends; the second has
    the lock, and writes. 4. The first goes on.
    """
    folder, why_not = tmp_path_factory.mktemp("paused"), ""
    dsn = None
    try:
        dsn = str(request.getfixturevalue("dsn"))
        subjects.prepare_postgresql(dsn)
    except pytest.skip.Exception as skipped:
        why_not = str(skipped)
    for each in ("files", "asgi"):
        (folder / each).mkdir()
    with (
        Cluster(folder) as cluster,
        web() as (url, served),
        connect(cluster.endpoints) as client,
        ExitStack() as stack,
    ):
        client.create(FENCED)
        client.fence(FENCED, LOCK)
        arguments = [",".join(cluster.endpoints), str(folder), url, *([] if dsn is None else [dsn])]
        one = stack.enter_context(closing(Holder(*arguments)))
        token = one.held()  # before there is another, who might be first
        two = stack.enter_context(closing(Holder(*arguments)))
        one.tell("first")
        first = one.told()
        one.process.send_signal(signal.SIGSTOP)
        one.tell("late")
        later = two.held()
        two.tell("second")
        second = two.told()
        one.process.send_signal(signal.SIGCONT)
        late = one.told()
        one.finish()
        values = {"fence": [client.get(f"{FENCED}/by-its-own-session").value]}
        values["fence, new session"] = [client.get(f"{FENCED}/by-a-new-session").value]
        values["wsgi"] = served
        end = one.line()
    for kind, guard in guards(folder, dsn).items():
        values[kind] = [guard.read(NAME) or b""]
        getattr(guard, "close", list)()
    return Story(first, late, second, values, end, (token, later), why_not)


GUARDS = (
    "fence", "fence, new session", "file", "object", "asgi", "wsgi", "sqlite",
    "postgresql", "postgresql, one statement",
)  # fmt: skip


@pytest.mark.parametrize("kind", GUARDS)
def test_no_write_of_it_is_let_in(kind: str, story: Story) -> None:
    if kind.startswith("postgresql") and story.no_postgresql:
        pytest.skip(story.no_postgresql)
    assert (story.first[kind], story.second[kind]) == ("written", "written")
    # Its own client knows by its clock that its session is over, and may say so before any member does. Everything else
    # was asked by who ignores that, and has only the token to tell by.
    refused = {"StaleToken refused"} | ({"SessionEnded refused"} if kind == "fence" else set())
    assert story.late[kind] in refused
    assert story.values[kind] == [b"first", b"second"][-len(story.values[kind]) :]


def test_it_is_told_itself(story: Story) -> None:
    assert story.tokens[0] < story.tokens[1]
    assert story.end == "lost"
    assert set(story.late) == set(story.first) == set(story.second) == set(story.values)
    assert len(story.late) >= 7
