"""The blocking face has the names, arguments, defaults, types and descriptions of the async one, and can't drift."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

import coord.client as tasks
import coord.client.blocking as threads
from coord.client import standing
from coord.client.blocking import standing as blocking_standing

PAIRS: list[tuple[Any, Any]] = [
    (getattr(tasks, name), getattr(threads, name))
    for name in tasks.__all__
    if hasattr(threads, name) and getattr(tasks, name) is not getattr(threads, name)
] + [(standing.States, blocking_standing.States)]

CLASSES = [pair for pair in PAIRS if inspect.isclass(pair[0])]

ONLY_BLOCKING = {
    "Connecting": {"open"},  # where there is no place for a block
    "Client": {"close"},
    "Watch": {"next"},  # a thread cannot be cancelled, and so takes a timeout
    "Transaction": {"results", "revision", "stale"},  # the other's are attributes
}

TOLD_OTHERWISE = {
    "connect": "has open() and close()",
    "Connecting": "may be opened without a block",
    "Client": "threads share it, Ctrl-C, forks",
    "Client.on_state": "what a callback must not do in the client's thread",
    "Client.wait_ended": "says what a cancellation leaves",
    "Client.claim": "likewise",
    "Watch": "refers to the other",
    "Cache": "it may change between two reads",
    "Cache.wait_for": "in which thread the condition is called",
    "Transaction": "threads share it",
}
"""Where the descriptions differ by more than ``async`` and ``await``, and why."""

SPECIAL = ("enter", "exit", "iter", "next", "contains", "len", "copy", "deepcopy", "reduce")


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


def shape(member: Any) -> str:
    """Its arguments and types, as they would be read in threads."""
    if isinstance(member, property):
        return "property " + shape(member.fget)
    text = re.sub(r"coord\.client\.blocking\.", "coord.client.", str(inspect.signature(member)))
    text = re.sub(r"(?:collections\.abc\.)?Awaitable\[([~\w]+)\]", r"\1", text)
    return text.replace("AsyncIterator", "Iterator")


def told(member: Any) -> str:
    text = inspect.getdoc(member.fget if isinstance(member, property) else member) or ""
    text = re.sub(r"\b(?:async|await) ", "", text.replace("``await``", ""))
    return " ".join(text.replace("coord.client.blocking", "coord.client").split())


def test_the_public_names_are_the_same() -> None:
    assert tasks.__all__ == threads.__all__
    assert {pair[0].__name__ for pair in PAIRS} >= {"Client", "Watch", "Cache", "Transaction", "connect"}


@pytest.mark.parametrize(("there", "here"), CLASSES, ids=lambda each: each.__name__)
def test_each_member_is_the_same(there: type, here: type) -> None:
    theirs, ours = members(there), members(here)
    assert set(ours) - set(theirs) == ONLY_BLOCKING.get(here.__name__, set())
    assert {name: shape(each) for name, each in theirs.items()} == {
        name: shape(each) for name, each in ours.items() if name in theirs
    }
    assert not any(inspect.iscoroutinefunction(each) for each in ours.values())


def test_connect_takes_the_same() -> None:
    assert shape(tasks.connect) == shape(threads.connect)


def described() -> list[tuple[str, Callable[..., object], Callable[..., object]]]:
    found = []
    for there, here in PAIRS:
        found.append((there.__name__, there, here))
        if inspect.isclass(there):
            ours = dict.fromkeys(members(there)) | members(here)
            found += [(f"{there.__name__}.{name}", each, ours[name]) for name, each in members(there).items()]
    return found


@pytest.mark.parametrize(
    ("name", "there", "here"), described(), ids=lambda each: each if isinstance(each, str) else ""
)
def test_each_description_is_the_same_but_where_it_has_to_differ(name: str, there: Any, here: Any) -> None:
    assert here is not None, "it is missing"
    assert (told(there) != told(here)) == (name in TOLD_OTHERWISE)
