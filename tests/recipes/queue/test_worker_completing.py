"""Plans, many by one request: what is batched, and what becomes of a batch that is refused. A client that is a list."""

from typing import Any, cast

import anyio
import pytest

from coord.client import Client, CoordError, Exists, Get, Multi, MultiResult, Set
from coord.recipes.queue.plan import Plan
from coord.recipes.queue.worker.completing import BATCH_MAX, Completer, weigh


class Service:
    """Refuses what sets /bad; the conditions of what sets /not never hold."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.go = anyio.Event()

    async def multi(
        self, compare: Any = (), then: Any = (), otherwise: Any = (), *, deadline: float
    ) -> MultiResult:
        self.asked.append([_path(op) for op in then])
        await self.go.wait()
        if "/bad" in self.asked[-1]:
            raise Exists("refused")
        if self.asked[-1] == ["/not"]:
            self.why = otherwise
            return MultiResult(False, ("why not",), 7)
        for op in then:
            assert not isinstance(op, Multi) or not op.otherwise  # it would be in vain nearly always
        inner = [
            MultiResult(_path(op) != "/not", (), 7) if isinstance(op, Multi) else cast(Any, None)
            for op in then
        ]
        return MultiResult(True, tuple(inner), 7)


def _path(op: Any) -> str:
    return _path(op.then[0]) if isinstance(op, Multi) else str(op.path)


def plan(path: str) -> Plan[str]:
    def read(result: MultiResult) -> str:
        return f"{path} done" if result.succeeded else f"{path}: {result.results[0]}"

    return Plan((), (Set(path, b"12345"),), (Get(path),), read)


def asked(paths: list[str], alone: frozenset[str] = frozenset()) -> tuple[list[Any], list[list[str]]]:
    """What was told, and what was asked."""
    told: list[Any] = []
    service = Service()

    async def main() -> None:
        completer = Completer(cast(Client, service))
        async with anyio.create_task_group() as tasks:
            for path in paths:
                completer.add(plan(path), told.append, alone=path in alone)
            tasks.start_soon(completer.run)
            service.go.set()
            with anyio.fail_after(10):
                while len(completer):
                    await anyio.sleep(0)
            tasks.cancel_scope.cancel()

    anyio.run(main)
    return told, service.asked


def test_what_gathers_is_one_request() -> None:
    told, requests = asked(["/a", "/b", "/c"])
    assert told == ["/a done", "/b done", "/c done"]
    assert requests == [["/a", "/b", "/c"]]


def test_a_batch_has_a_bound_and_nothing_is_left_behind() -> None:
    paths = [f"/{n}" for n in range(2 * BATCH_MAX + 1)]
    told, requests = asked(paths)
    assert sorted(told) == sorted(f"{path} done" for path in paths)
    assert [len(each) for each in requests] == [BATCH_MAX, BATCH_MAX, 1]


@pytest.mark.parametrize("paths", [["/a", "/bad", "/c"], ["/bad", "/c"]])
def test_when_one_of_a_batch_is_refused_the_others_happen(paths: list[str]) -> None:
    told, requests = asked(paths)
    assert requests == [paths, *[[path] for path in paths]]
    assert [isinstance(each, CoordError) for each in told] == [path == "/bad" for path in paths]


def test_what_did_not_happen_is_asked_once_more_and_told_why() -> None:
    told, requests = asked(["/a", "/not", "/c"])
    assert told == ["/a done", "/c done", "/not: why not"]
    assert requests == [["/a", "/not", "/c"], ["/not"]]
    assert asked(["/not"])[1] == [["/not"]]  # by itself it is asked whole at once


def test_what_may_be_refused_is_sent_by_itself() -> None:
    told, requests = asked(["/a", "/bad", "/b", "/c"], frozenset({"/bad"}))
    assert requests == [["/a"], ["/bad"], ["/b", "/c"]]
    assert len(told) == 4


def test_conditions_and_ops_count_at_every_depth() -> None:
    inner = plan("/a").multi()
    assert weigh(inner) == (3, 5)
    assert weigh(Multi((), (inner, inner), (Set("/x", b"1"),))) == (8, 11)
