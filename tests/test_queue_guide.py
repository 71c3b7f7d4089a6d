"""What docs/QUEUE.md shows works as it stands there, against a real member, under trio and asyncio."""

import ast
import contextlib
import inspect
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from coord.cli.queue import queue as command
from coord.client import connect
from coord.recipes.queue import App, Options, Queue
from coord.recipes.queue.worker import Worker
from coord.testing import cluster

PAGE = Path(__file__).parents[1] / "docs" / "QUEUE.md"
TEXT = PAGE.read_text("utf-8")


def blocks() -> list[tuple[int, str]]:
    """The python on the page, with the line that it begins at."""
    found = re.finditer(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return [(TEXT.count("\n", 0, each.start(1)) + 1, each[1]) for each in found]


def shown(code: str) -> list[str]:
    """What the page says is printed, line by line."""
    return re.findall(r"# → (.*)$", code, re.MULTILINE)


(FIRST, *INSIDE) = blocks()


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Of a fresh member, which is where a client without endpoints goes."""
    with cluster(1) as fresh:
        monkeypatch.setenv("COORD_ENDPOINTS", fresh.endpoints[0])
        yield fresh.endpoints[0]


def test_the_first_program(endpoint: str) -> None:
    code = FIRST[1]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines() == shown(code), done.stderr


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_the_page_from_top_to_bottom(endpoint: str, backend: str) -> None:
    """The blocks share their names, and the app's worker runs beside them."""
    head = FIRST[1][: FIRST[1].index("async def main")]
    space: dict[str, Any] = {"__name__": "guide"}
    exec(compile(head, str(PAGE), "exec"), space)

    async def main() -> None:
        async with connect() as client:
            space.update(client=client, queue=Queue(client, space["app"]))
            for line, code in INSIDE:
                # A worker for each block: it knows the schedules that were there when it began.
                async with Worker(client, space["app"], queues=["mail"]):
                    tree = ast.increment_lineno(ast.parse(code, str(PAGE), "exec"), line - 1)
                    made = compile(tree, str(PAGE), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
                    out = io.StringIO()
                    with contextlib.redirect_stdout(out), anyio.fail_after(60):
                        running = eval(made, space)
                        if inspect.iscoroutine(running):
                            await running
                    assert out.getvalue().splitlines() == shown(code), f"line {line}"

    anyio.run(main, backend=backend)


def test_every_block_shows_something() -> None:
    assert len(INSIDE) >= 9
    for line, code in INSIDE:
        assert shown(code), f"line {line}"


def test_commands_that_are_shown_are_there() -> None:
    known = {
        each.name or (each.callback.__name__ if each.callback else "") for each in command.registered_commands
    }
    named = set(re.findall(r"coord queue ([a-z]+)", TEXT))
    assert named <= known
    assert known - named == set(), "the guide does not tell of these"


def test_options_that_are_shown_are_there() -> None:
    known = set(Options.__dataclass_fields__) | set(inspect.signature(App.schedule).parameters)
    for _, code in [FIRST, *INSIDE]:
        for call in ast.walk(ast.parse(code)):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr == "with_"
            ):
                assert {each.arg for each in call.keywords} <= known
