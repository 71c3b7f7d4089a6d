"""What the docstrings of recipes show works as it stands there, under trio, asyncio and with plain threads."""

import ast
import contextlib
import importlib
import inspect
import io
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

import coord.recipes
from coord.client import connect
from coord.testing import cluster
from tests.recipes.house import both

APART = ("coord.recipes.fencing",)
"""Rooms whose examples have tests of their own."""

NO_RECIPES = (
    "coord.recipes.arguments",
    "coord.recipes.blocking.bridge",
    "coord.recipes.blocking.held",
    "coord.recipes.blocking.running",
    "coord.recipes.group",
    "coord.recipes.held",
    "coord.recipes.live",
    "coord.recipes.members",
    "coord.recipes.scope",
    "coord.recipes.typed",
)
"""What recipes are made of."""

PARTS = "coord.recipes.queue."
"""Likewise; the recipe is the package."""


def modules() -> Iterator[str]:
    for found in pkgutil.walk_packages(coord.recipes.__path__, "coord.recipes."):
        if not found.name.startswith((*APART, PARTS)):
            yield found.name


def example(module: str) -> str:
    """The literal blocks of its docstring."""
    told = inspect.getdoc(importlib.import_module(module)) or ""
    blocks = re.findall(r"::\n\n((?:(?:    .*)?\n)+)", told + "\n")
    return "\n".join(textwrap.dedent(block) for block in blocks)


def shown(code: str) -> list[str]:
    """What it says is printed, line by line."""
    return re.findall(r"# → (.*)$", code, re.MULTILINE)


RECIPES = [name for name in modules() if name not in NO_RECIPES]
BLOCKING = [name for name in RECIPES if name.startswith("coord.recipes.blocking")]
ASYNC = [name for name in RECIPES if name not in BLOCKING]


@pytest.fixture(autouse=True)
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Of a fresh member, which is where a client without endpoints goes."""
    with cluster(1) as fresh:
        monkeypatch.setenv("COORD_ENDPOINTS", fresh.endpoints[0])
        yield


@both
@pytest.mark.parametrize("module", ASYNC)
def test_for_tasks(module: str, backend: str) -> None:
    code = example(module)
    compiled = compile(code, module, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    async def main() -> None:
        async with connect() as client:
            with anyio.fail_after(20):
                running: Any = eval(compiled, {"client": client, "__name__": "example"})
                if inspect.iscoroutine(running):
                    await running

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        anyio.run(main, backend=backend)
    assert printed.getvalue().splitlines() == shown(code)


@pytest.mark.parametrize("module", BLOCKING)
def test_for_threads(module: str) -> None:
    code = example(module)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, module, "exec"), {"__name__": "example"})
    assert printed.getvalue().splitlines() == shown(code)


@pytest.mark.parametrize("module", RECIPES)
def test_each_says_what_it_promises_first(module: str) -> None:
    told = inspect.getdoc(importlib.import_module(module)) or ""
    if module == "coord.recipes.blocking":
        return
    places = [
        told.lower().find(words)
        for words in ("what it guarantees", "what it does not", "what to do about that")
    ]
    assert -1 < places[0] < places[1] < places[2] < told.index("::\n")
    assert example(module).strip()


def test_that_there_is_something_of_each_sort() -> None:
    assert {"coord.recipes.membership", "coord.recipes.config", "coord.recipes.hashing"} <= set(ASYNC)
    assert {"coord.recipes.blocking.membership", "coord.recipes.blocking.config"} <= set(BLOCKING)
    assert sum(len(shown(example(module))) for module in RECIPES) > 40
