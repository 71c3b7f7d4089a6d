"""docs/RECIPES.md: every recipe of kazoo and Curator has a row, and whatever it names is there."""

import ast
import contextlib
import importlib
import importlib.util
import inspect
import io
import re
from pathlib import Path

import anyio
import pytest

from coord.client import Client, connect
from coord.testing import Cluster
from tests.recipes.house import both, fresh

TEXT = (Path(__file__).parents[2] / "docs" / "RECIPES.md").read_text("utf-8")

KAZOO = [
    "Lock", "ReadLock", "WriteLock", "Semaphore", "NonBlockingLease", "MultiNonBlockingLease",
    "Election", "Barrier", "DoubleBarrier", "Counter", "Party", "ShallowParty", "SetPartitioner",
    "Queue", "LockingQueue", "TreeCache", "DataWatch", "ChildrenWatch", "PatientChildrenWatch",
]  # fmt: skip
CURATOR = [
    "InterProcessMutex", "InterProcessSemaphoreMutex", "InterProcessReadWriteLock",
    "InterProcessSemaphoreV2", "InterProcessSemaphore", "InterProcessMultiLock", "Revocable", "Revoker",
    "Locker", "Reaper", "ChildReaper", "LeaderLatch", "LeaderSelector", "DistributedBarrier",
    "DistributedDoubleBarrier", "SharedCount", "SharedValue", "DistributedAtomicLong", "DistributedAtomicInteger",
    "DistributedAtomicValue", "CachedAtomicLong", "CachedAtomicInteger", "PromotedToLock",
    "GroupMember", "PersistentNode", "PersistentTtlNode", "PersistentEphemeralNode", "CuratorCache",
    "TreeCache", "PathChildrenCache", "NodeCache", "PersistentWatcher", "DistributedQueue",
    "DistributedIdQueue", "DistributedPriorityQueue", "DistributedDelayQueue", "SimpleDistributedQueue",
    "BlockingQueueConsumer", "QueueSharder", "ServiceDiscovery", "MigrationManager", "ModeledFramework",
    "SchemaSet",
]  # fmt: skip

NAMES = sorted(set(re.findall(r"`(coord\.recipes[\w.]*)`", TEXT)))


def rows(heading: str) -> dict[str, str]:
    """Their name -> what is in the second column."""
    section = TEXT.split(f"## What {heading}")[1].split("\n## ")[0]
    found = {}
    for line in re.findall(r"^\| (`.*?) \| (.*?) \|", section, re.MULTILINE):
        found.update(dict.fromkeys(re.findall(r"`(\w+)`", line[0]), line[1]))
    return found


@pytest.mark.parametrize(("heading", "names"), [("kazoo", KAZOO), ("Curator", CURATOR)])
def test_each_of_theirs_has_a_row(heading: str, names: list[str]) -> None:
    found = rows(heading)
    assert [name for name in names if name not in found] == []
    assert all("`" in place or place in ("not needed", "not here") for place in found.values())


@pytest.mark.parametrize("name", NAMES)
def test_what_is_named_is_there(name: str) -> None:
    if importlib.util.find_spec(".".join(name.split(".")[:3])) is None:
        raise AssertionError(f"there is no {name}")
    module, _, attribute = name.rpartition(".")
    if attribute[0].isupper():
        assert inspect.isclass(getattr(importlib.import_module(module), attribute))
    else:
        importlib.import_module(name)


def test_calls_of_the_client_are_there() -> None:
    called = set(re.findall(r"`client\.(\w+)`", TEXT))
    assert called >= {"cache", "watch", "transact"}
    assert [name for name in called if not callable(getattr(Client, name, None))] == []


@both
def test_the_example(backend: str, member: Cluster) -> None:
    code = TEXT.split("```python\n")[1].split("```")[0]
    compiled = compile(code, "RECIPES.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    printed = io.StringIO()

    async def main() -> None:
        async with connect(member.endpoints, namespace=fresh()) as client:
            await eval(compiled, {"client": client})

    with contextlib.redirect_stdout(printed):
        anyio.run(main, backend=backend)
    assert printed.getvalue().splitlines() == re.findall(r"# → (.*)$", code, re.MULTILINE)
