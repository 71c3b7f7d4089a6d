"""The README's workload works, and finds what it says it finds."""

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from coord.api.ops import Delete
from coord.api.results import Page
from coord.jepsen_like import workloads
from coord.jepsen_like.history import Operation, Record
from tests.jepsen_like.workloads.world import World


def example() -> dict[str, Any]:
    text = (Path(workloads.__file__).parent / "README.md").read_text()
    (code,) = (part.split("\n```")[0] for part in text.split("```python\n")[1:])
    assert len(code.splitlines()) < 70, "a page"
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    return names


def test_the_readmes_queue() -> None:
    names = example()
    check = names["check_queue"]
    world = World(seed=3)
    world.run_workload(names["Queue"](Random(3)), 4, 400)
    history = world.whole_history()
    assert check(history) == []

    taken = [each for each in history if isinstance(each, Operation) and isinstance(each.op, Delete)]
    assert sum(each.outcome == "ok" for each in taken) > 20
    assert any(each.error == "not_found" for each in taken), "they race for the first"

    one = next(each for each in taken if each.outcome == "ok")
    assert len(check([*history, one])) == 1

    lost = _without_the_first(history)
    assert [each.what for each in check(lost)] == [f"{_last_page(history)[1]} was put, and is gone"]


def _last_page(history: list[Record]) -> tuple[int, str]:
    at, page = [
        (at, each.result)
        for at, each in enumerate(history)
        if isinstance(each, Operation) and isinstance(each.result, Page) and getattr(each.op, "values", False)
    ][-1]
    return at, f"/queue/{page.children[0].name}"


def _without_the_first(history: list[Record]) -> list[Record]:
    at, _ = _last_page(history)
    operation = history[at]
    assert isinstance(operation, Operation)
    assert isinstance(operation.result, Page)
    page = replace(operation.result, children=operation.result.children[1:])
    return [*history[:at], replace(operation, result=page), *history[at + 1 :]]
