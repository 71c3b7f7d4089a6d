"""The recipes for threads have the names, arguments, defaults and types of those for tasks, and can't drift."""

import importlib
import inspect
import re
from typing import Any

import pytest

MODULES = (
    "barrier", "config", "counter", "discovery", "election", "latch", "lock", "membership", "multilock",
    "partitioning", "periodic", "queue", "rwlock", "semaphore",
)  # fmt: skip

ONLY_BLOCKING = {
    "Membership": {"lost"},  # a thread's block cannot be cancelled
    "Registration": {"lost"},
    "Changes": {"next"},  # nor its wait: it takes a timeout
    "Leaders": {"next"},
    "Partitioning": {"stop"},  # nor a call of run()
    "Periodic": {"stop"},
}

SPECIAL = ("enter", "exit", "iter", "next", "reduce")


def classes() -> list[tuple[type, type]]:
    found = []
    for name in MODULES:
        there = importlib.import_module(f"coord.recipes.{name}")
        here = importlib.import_module(f"coord.recipes.blocking.{name}")
        for word, face in vars(here).items():
            if inspect.isclass(face) and face.__module__ == here.__name__:
                found.append((getattr(there, word), face))
    return found


def members(face: type) -> dict[str, Any]:
    """What a user may use of it, by the names that these have in threads."""
    found = {}
    for name in dir(face):
        special = re.fullmatch(r"__a?(\w+)__", name)
        if special is None:
            if not name.startswith("_"):
                found[name] = inspect.getattr_static(face, name)
        elif special[1] in SPECIAL and getattr(object, name, None) is not getattr(face, name):
            found[f"__{special[1]}__"] = inspect.getattr_static(face, name)
    return found


def shape(name: str, member: Any) -> str:
    if isinstance(member, property):
        return "property " + shape(name, member.fget)
    if inspect.ismemberdescriptor(member):
        return "attribute"
    text = str(inspect.signature(member))
    if name == "run":
        # One for tasks is cancelled, one for threads is stopped, and returns. Their works return themselves.
        text = re.sub(r"collections\.abc\.Awaitable\[object\]", "object", text).replace("'", "")
        text = re.sub(r"-> \S+$", "-> None", text)
    if name == "__exit__":
        return text.split(" -> ")[0]  # only that for tasks may swallow: its own cancellation
    # One that a block holds says when it is lost: likewise.
    text = text.replace("coord.recipes.blocking.held.HeldGrant", "coord.client.grant.Grant")
    return re.sub(r"\bcoord\.(?:\w+\.)+", "", text)  # where a class is written down is no matter


PAIRS = classes()


def test_that_there_is_something_to_compare() -> None:
    names = {here.__name__ for _, here in PAIRS}
    assert names >= {"Barrier", "Config", "Counter", "Latch", "Membership", "Sequence", "Service"}


@pytest.mark.parametrize(("there", "here"), PAIRS, ids=lambda each: each.__name__)
def test_each_member_is_the_same(there: type, here: type) -> None:
    theirs, ours = members(there), members(here)
    assert set(ours) - set(theirs) == ONLY_BLOCKING.get(here.__name__, set())
    assert {name: shape(name, each) for name, each in theirs.items()} == {
        name: shape(name, each) for name, each in ours.items() if name in theirs
    }
    assert not any(inspect.iscoroutinefunction(each) for each in ours.values())


@pytest.mark.parametrize(
    "name", ["membership.join", "membership.observe", "discovery.register", "discovery.discover"]
)
def test_functions_take_the_same(name: str) -> None:
    module, function = name.split(".")
    there = getattr(importlib.import_module(f"coord.recipes.{module}"), function)
    here = getattr(importlib.import_module(f"coord.recipes.blocking.{module}"), function)
    assert shape("", there) == shape("", here)


@pytest.mark.parametrize("module", MODULES)
def test_the_public_names_are_the_same(module: str) -> None:
    there = importlib.import_module(f"coord.recipes.{module}")
    here = importlib.import_module(f"coord.recipes.blocking.{module}")
    for name in getattr(here, "__all__", []):
        assert hasattr(there, name), name
