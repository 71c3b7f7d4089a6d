"""What docs/CLIENT.md shows works as it stands there, against a real member, under trio and asyncio."""

import ast
import contextlib
import inspect
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from typing import Any

import anyio
import pytest

import coord.client
from coord.client import Branch, Cache, Client, Conditions, Transaction, Watch, connect, when
from coord.testing import cluster

PAGE = Path(__file__).parents[1] / "docs" / "CLIENT.md"
TEXT = PAGE.read_text("utf-8")
EVERYWHERE = [coord.client, Client, Transaction, Watch, Cache, Conditions, Branch, when]


def blocks() -> Iterator[tuple[int, str]]:
    """The python on the page, with the line that it begins at."""
    for found in re.finditer(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL):
        yield TEXT.count("\n", 0, found.start(1)) + 1, found[1]


def shown(code: str) -> list[str]:
    """What the page says is printed, line by line."""
    return re.findall(r"# → (.*)$", code, re.MULTILINE)


BLOCKS = list(blocks())
TESTS = [each for each in BLOCKS if "def test_" in each[1]]
THREADS = [each for each in BLOCKS if "blocking" in each[1] and each not in TESTS]
SCRIPTS = [each for each in BLOCKS if "async def main()" in each[1]]
INSIDE = [each for each in BLOCKS if each not in (*TESTS, *THREADS, *SCRIPTS)]
"""They stand inside the block of the page's first example."""


def compiled(line: int, code: str) -> Any:
    tree = ast.parse(code, str(PAGE), "exec")
    ast.increment_lineno(tree, line - 1)
    return compile(tree, str(PAGE), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Of a fresh member, which is where a client without endpoints goes."""
    with cluster(1) as fresh:
        monkeypatch.setenv("COORD_ENDPOINTS", fresh.endpoints[0])
        yield fresh.endpoints[0]


def ids(found: list[tuple[int, str]]) -> list[str]:
    return [f"line {line}" for line, _ in found]


both = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@both
@pytest.mark.parametrize(("line", "code"), INSIDE, ids=ids(INSIDE))
def test_inside_the_clients_block(line: int, code: str, backend: str, endpoint: str) -> None:
    async def main() -> None:
        async with connect() as client:
            running = eval(compiled(line, code), {"client": client})
            if inspect.iscoroutine(running):
                await running

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        anyio.run(main, backend=backend)
    assert printed.getvalue().splitlines() == shown(code)


@both
@pytest.mark.parametrize(("line", "code"), SCRIPTS, ids=ids(SCRIPTS))
def test_with_a_block_of_its_own(line: int, code: str, backend: str, endpoint: str) -> None:
    names: dict[str, Any] = {}
    code = re.sub(r"^anyio.run\(main\).*$", "", code, flags=re.MULTILINE)
    eval(compiled(line, re.sub(r"127\.0\.0\.1:471\d", endpoint, code)), names)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        anyio.run(names["main"], backend=backend)
    assert printed.getvalue().splitlines() == shown(code)


@pytest.mark.parametrize(("line", "code"), THREADS, ids=ids(THREADS))
def test_with_plain_threads(line: int, code: str, endpoint: str) -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        eval(compiled(line, code), {})
    assert printed.getvalue().splitlines() == shown(code)


@pytest.mark.parametrize(("line", "code"), TESTS, ids=ids(TESTS))
def test_a_test(line: int, code: str, tmp_path: Path) -> None:
    (tmp_path / "test_shown.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_the_examples_are_typed(tmp_path: Path) -> None:
    """mypy, strict, on what a user's program would look like."""
    lines = ["from coord.client import Client"]
    for line, code in INSIDE:
        lines += [f"async def at_line_{line}(client: Client) -> None:", indent(code, "    ")]
    for line, code in (*SCRIPTS, *THREADS):
        lines += [f"def at_line_{line}() -> None:", indent(code, "    ")]
    program = tmp_path / "program.py"
    program.write_text("\n".join(lines))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(program)],
        capture_output=True,
        text=True,
        cwd=PAGE.parents[1],
    )
    assert done.returncode == 0, done.stdout + done.stderr


# --- nothing is left out -----------------------------------------------------------------------------------


def test_that_there_is_something_of_each_sort() -> None:
    assert len(INSIDE) > 15
    assert len(SCRIPTS) > 2
    assert THREADS
    assert TESTS
    assert sum(len(shown(code)) for _, code in INSIDE) > 40


def test_every_public_name_is_in_an_example() -> None:
    words = {word for _, code in BLOCKS for word in re.findall(r"\w+", code)}
    missing = [name for name in coord.client.__all__ if name not in words]
    assert missing == []


@pytest.mark.parametrize("owner", EVERYWHERE[1:], ids=lambda owner: owner.__name__)
def test_everything_that_can_be_called_is_on_the_page(owner: Any) -> None:
    """In code: in an example, or between backticks."""
    code = "\n".join([*(code for _, code in BLOCKS), *re.findall(r"`([^`\n]+)`", TEXT)])
    public = [name for name in vars(owner) if not name.startswith("_") and callable(getattr(owner, name))]
    for base in owner.__mro__ if inspect.isclass(owner) else ():
        if base.__module__.startswith("coord.client"):
            public += [name for name in vars(base) if not name.startswith("_")]
    imported = {"dataclass", "Subject", "Compare", "Operator", "Target"}
    missing = [
        name for name in dict.fromkeys(public) if name not in imported and not re.search(rf"\.{name}\b", code)
    ]
    assert missing == []


def test_headings_and_their_list() -> None:
    listed = re.findall(r"^\d+\. \[(.*?)\]\(#(.*?)\)$", TEXT, re.MULTILINE)
    headings = re.findall(r"^## \d+\. (.*)$", TEXT, re.MULTILINE)
    assert [name for name, _ in listed] == headings
    for number, (name, anchor) in enumerate(listed, 1):
        assert anchor == re.sub(r"[^\w -]", "", f"{number}. {name}".lower()).replace(" ", "-")
