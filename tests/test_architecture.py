"""The floors: who may import whom, and what the pure rooms must not touch. Checked over the AST of every file.

Each rule is a function from a source text to its faults, so that the tests can also show it small bad sources:
a rule that finds nothing in those proves nothing by finding nothing in ours.
"""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

OURS = ("coord", "client", "recipes", "jepsen_like", "tests")
LINKED = ("client", "recipes", "jepsen_like")
"""Rooms at the top level, imported as ``coord.client`` and so on through relative links."""

F0 = ("coord.api", "coord.limits")
F1 = (*F0, "coord.raft", "coord.store")
F2 = (*F1, "coord.wire")
F3 = (*F2, "coord.replica", "coord.disk")

FLOORS: dict[str, tuple[tuple[str, ...], tuple[str, ...] | None]] = {
    # room: (what of ours it may import besides itself, which third parties; None: any)
    "coord.api": (F0, ()),
    "coord.limits": (F0, ()),
    "coord.raft": (F0, ()),
    "coord.store": (F0, ()),
    # Wire knows the shapes of what it carries, and nothing of what raft does: still only downwards.
    "coord.wire": ((*F0, "coord.raft.types", "coord.raft.messages"), ()),
    "coord.wire.cbor": ((), ("cbor2",)),
    "coord.replica": (F2, ()),
    "coord.disk": (F2, ()),
    "coord.server": (F3, None),
    "coord.client": ((*F0, "coord.wire"), ("anyio",)),
    "coord.client.core": ((*F0, "coord.wire"), ()),
    "coord.client.waiting": (F0, ("trio",)),  # it knows which event loop it is in
    "coord.client.sockets": (F0, ("trio",)),  # and how each reads and writes
    "coord.recipes": (("coord.client",), ("anyio",)),
    "coord.recipes.typed": (("coord.client", "coord.recipes"), ("pydantic", "pydantic_core")),
    "coord.recipes.fencing.signed": (("coord.client", "coord.recipes"), ("cryptography",)),
    "coord.recipes.queue.cron": (("coord.client",), ("cronsim",)),
    "coord.recipes.queue.record": (("coord.client", "coord.recipes"), ("pydantic",)),
    "coord.recipes.queue.signature": (("coord.client", "coord.recipes"), ("pydantic", "pydantic_core")),
    "coord.recipes.queue.ticking": (("coord.client", "coord.recipes"), ("pydantic",)),
    "coord.cli": (("coord",), None),
    "coord.jepsen_like": (("coord",), None),
    "coord.testing": (("coord",), None),
    "coord": (("coord",), None),
    "tests": (("coord", "tests"), None),
}
"""The longest name that fits a module decides."""

PURE = (
    "coord.api", "coord.limits", "coord.raft", "coord.store", "coord.wire", "coord.replica",
    "coord.client.core", "coord.recipes.hashing",
)  # fmt: skip

PURE_STDLIB = (
    "base64", "bisect", "collections", "dataclasses", "enum", "functools", "hashlib", "heapq", "hmac", "ipaddress",
    "itertools", "json", "operator", "re", "struct", "typing", "zlib",
)  # fmt: skip
"""All that computes from what it is given. No clock, dice, files, sockets, threads, tasks are among them."""

PURE_NAMES = ("io.BytesIO", "urllib.parse.parse_qsl", "urllib.parse.unquote")

BANNED_CALLS = ("open", "input", "print", "hash", "id", "eval", "exec", "compile", "__import__", "breakpoint")

MAY_HASH = "coord.store.znodes"
"""A hash differs from process to process; here it picks a part of a table, and what the table gives out is sorted."""

# Sets of strings iterate in another order in each process. These take them in whole, whatever the order:
_ORDERLESS = ("sorted", "len", "min", "max", "sum", "any", "all", "set", "frozenset", "bool")


# --- the rules -------------------------------------------------------------------------------------------------------


def within(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def room_of(module: str) -> str:
    """The most particular room that ``module`` is in."""
    return max((room for room in FLOORS if within(module, room)), key=len)


@cache
def parsed(source: str) -> ast.Module:
    """Parsed once, however many rules look at it."""
    return ast.parse(source)


@cache
def imported(source: str) -> tuple[tuple[int, str, str], ...]:
    """``(line, module, name)`` of every import; a relative one's module starts with dots, a plain one's name is ''."""
    found = []
    for node in statements(parsed(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found += [(node.lineno, module, alias.name) for alias in node.names]
    return tuple(found)


def statements(tree: ast.Module) -> Iterator[ast.AST]:
    """All of them, also within others; no expression is looked into, for none has a statement in it."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            waiting += getattr(node, name, ())


def import_faults(module: str, source: str) -> list[str]:
    """What ``module`` imports that its floor may not."""
    faults = []
    room = room_of(module)
    ours, third_parties = FLOORS[room]
    for line, name, item in imported(source):
        top = name.split(".")[0]
        if name.startswith("."):
            faults.append(f"{module}:{line}: a relative import")
        elif top in LINKED:
            faults.append(f"{module}:{line}: imports {name}, which is coord.{name}")
        elif top in OURS:
            target = f"{name}.{item}" if item else name
            if target != "coord" and not any(within(target, each) for each in (*ours, room)):
                faults.append(f"{module}:{line}: {room} may not import {target}")
        elif top not in sys.stdlib_module_names and third_parties is not None and top not in third_parties:
            faults.append(f"{module}:{line}: {room} may not import {name}")
    return faults


def group_faults(module: str, source: str) -> list[str]:
    """What is raised within ``except*``: before Python 3.11.4 it comes out in a group of its own, which a user sees."""
    return [
        f"{module}:{inner.lineno}: raised within except*"
        for node in statements(parsed(source))
        if isinstance(node, ast.TryStar)
        for handler in node.handlers
        for inner in ast.walk(handler)
        if isinstance(inner, ast.Raise)
    ]


def purity_faults(module: str, source: str, known_sets: frozenset[str] = frozenset()) -> list[str]:
    """What a pure room does that it must not. ``known_sets``: names that are sets elsewhere, to be imported."""
    tree = parsed(source)
    faults = []
    for line, name, item in imported(source):
        top = name.split(".")[0]
        pure = top in PURE_STDLIB or f"{name}.{item}" in PURE_NAMES or top in (*OURS, "cbor2")
        if not pure:
            faults.append(f"{module}:{line}: {name} is not pure")
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await):
            faults.append(f"{module}:{node.lineno}: async")
        elif isinstance(node, ast.Assert):
            faults.append(f"{module}:{node.lineno}: assert vanishes under python -O; use check()")
        elif isinstance(node, ast.Global):
            faults.append(f"{module}:{node.lineno}: global")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BANNED_CALLS:
            if (module, node.func.id) == (MAY_HASH, "hash"):
                continue
            faults.append(f"{module}:{node.lineno}: {node.func.id}()")
    names = known_sets | sets_named_in(tree)
    faults += [f"{module}:{line}: iterates over a set" for line in set_iterations(tree, names)]
    return faults


def sets_named_in(tree: ast.AST) -> frozenset[str]:
    """Names and attributes that are annotated as a set, or are given one."""
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and _is_set_type(node.annotation):
            found += _names(node.target)
        elif isinstance(node, ast.arg) and node.annotation is not None and _is_set_type(node.annotation):
            found.append(node.arg)
        elif isinstance(node, ast.Assign) and _is_set(node.value, frozenset()):
            for target in node.targets:
                found += _names(target)
    return frozenset(found)


def set_iterations(tree: ast.AST, names: frozenset[str]) -> Iterator[int]:
    taken_whole = _taken_whole(tree)
    for node in ast.walk(tree):
        walked: list[ast.expr] = []
        if isinstance(node, ast.For):
            walked = [node.iter]
        elif isinstance(node, ast.ListComp | ast.DictComp | ast.GeneratorExp):
            if node not in taken_whole:
                walked = [each.iter for each in node.generators]
        elif isinstance(node, ast.Starred):
            walked = [node.value]
        elif isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name) and function.id not in _ORDERLESS:
                # list(s), tuple(s), enumerate(s), iter(s) …; handing a set on to our own functions is their matter.
                if function.id in ("list", "tuple", "enumerate", "iter", "zip", "map", "filter", "reversed"):
                    walked = list(node.args)
            elif isinstance(function, ast.Attribute):
                if function.attr in ("join", "fromkeys", "extend", "chain"):
                    walked = list(node.args)
                elif function.attr == "pop" and not node.args:
                    walked = [function.value]  # an arbitrary one
        for each in walked:
            if _is_set(each, names):
                yield each.lineno


def _taken_whole(tree: ast.AST) -> set[ast.AST]:
    """What is an argument of something that does not mind the order."""
    return {
        argument
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _ORDERLESS
        for argument in node.args
    }


def _is_set_type(annotation: ast.expr) -> bool:
    if isinstance(annotation, ast.BinOp):  # set[int] | None
        return _is_set_type(annotation.left) or _is_set_type(annotation.right)
    base = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    if (
        isinstance(base, ast.Name)
        and base.id in ("Final", "ClassVar")
        and isinstance(annotation, ast.Subscript)
    ):
        return _is_set_type(annotation.slice)
    return isinstance(base, ast.Name) and base.id in ("set", "frozenset", "AbstractSet", "MutableSet")


def _is_set(value: ast.expr, names: frozenset[str]) -> bool:
    if isinstance(value, ast.Set | ast.SetComp):
        return True
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id in ("set", "frozenset")
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.BitOr | ast.BitAnd | ast.Sub | ast.BitXor):
        return _is_set(value.left, names) or _is_set(value.right, names)
    return any(name in names for name in _names(value))


def _names(target: ast.expr) -> list[str]:
    if isinstance(target, ast.Name):
        return [target.id]
    return [target.attr] if isinstance(target, ast.Attribute) else []


CLIENT_THINGS = (
    "bridge", "cache", "changes", "client", "core", "events", "feed", "grant", "grants", "link", "loop", "owner",
    "portal", "space", "transaction", "watch",
)  # fmt: skip
"""What recipes call those of the client's objects that they have."""


def private_names(source: str) -> frozenset[str]:
    """Names with one underscore before them that ``source`` gives to attributes, methods and functions of its own."""
    found = []
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.append(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.append(node.attr)
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
            found += [name for target in targets for name in _names(target)]
    return frozenset(name for name in found if name.startswith("_") and not name.startswith("__"))


def reaches_into_the_client(module: str, source: str, own: frozenset[str]) -> list[str]:
    """Where a recipe uses what the client keeps for itself. ``own``: the recipes' own private names.

    Types are not known here. So: nothing private of what bears a name that the client's objects have, nothing private
    at all that no recipe has made, and no import of it.
    """
    faults = []
    for line, name, item in imported(source):
        if name.startswith("coord.client") and item.startswith("_"):
            faults.append(f"{module}:{line}: imports {name}.{item}")
    for node in ast.walk(parsed(source)):
        if not isinstance(node, ast.Attribute) or not node.attr.startswith("_") or node.attr.startswith("__"):
            continue
        of = next(iter(_names(node.value)), "").lstrip("_")
        if of in sys.stdlib_module_names or node.attr in ("_replace", "_asdict", "_fields", "_make"):
            continue  # os._exit; what named tuples have
        if of in CLIENT_THINGS or node.attr not in own:
            faults.append(f"{module}:{node.lineno}: {of or 'something'}.{node.attr}")
    return faults


# --- our sources -----------------------------------------------------------------------------------------------------


def sources() -> list[tuple[str, str]]:
    """``(module, text)`` of every file; links are not followed, but their targets bear the name of the link."""
    found = []
    for top in OURS:
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if len(parts) > 1 and parts[0] == "coord" and parts[1] in LINKED:
                continue
            if parts[-1] == "__init__":
                parts = parts[:-1]
            module = ".".join(parts)
            found.append((f"coord.{module}" if top in LINKED else module, path.read_text()))
    return found


SOURCES = sources()
PURE_SOURCES = [(module, text) for module, text in SOURCES if any(within(module, room) for room in PURE)]


def test_every_room_is_looked_at() -> None:
    seen = {room_of(module) for module, _ in SOURCES}
    assert seen >= set(FLOORS) - {"coord.limits", "coord.server", "coord.cli"}
    assert len(PURE_SOURCES) > 50


def test_imports_only_go_down() -> None:
    assert [fault for module, text in SOURCES for fault in import_faults(module, text)] == []


def test_nothing_is_raised_within_a_group_s_block() -> None:
    assert [fault for module, text in SOURCES for fault in group_faults(module, text)] == []
    assert group_faults("m", "try:\n  f()\nexcept* E as g:\n  if g:\n    raise X from None\n") != []


def test_recipes_use_public_names_of_the_client() -> None:
    recipes = [(module, text) for module, text in SOURCES if within(module, "coord.recipes")]
    own = frozenset[str]().union(*(private_names(text) for _, text in recipes))
    assert [fault for module, text in recipes for fault in reaches_into_the_client(module, text, own)] == []


def test_only_one_file_knows_cbor2() -> None:
    users = [
        module
        for module, text in SOURCES
        if module.startswith("coord") and any(name.split(".")[0] == "cbor2" for _, name, _ in imported(text))
    ]
    assert users == ["coord.wire.cbor"]


def test_the_pure_rooms_are_pure() -> None:
    known = frozenset(name for _, text in PURE_SOURCES for name in module_level_sets(parsed(text)))
    assert "WRITES" in known  # coord.api.ops has a frozenset, so the rule has something to find
    assert [fault for module, text in PURE_SOURCES for fault in purity_faults(module, text, known)] == []


def module_level_sets(tree: ast.Module) -> frozenset[str]:
    """What another file could import."""
    return sets_named_in(
        ast.Module([node for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign)], [])
    )


@pytest.mark.parametrize("name", LINKED)
def test_linked_rooms_are_relative_links(name: str) -> None:
    link = ROOT / "coord" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..") / name
    assert (link / "__init__.py").is_file()


# --- the rules bite --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("coord.api.paths", "from coord.store.tree import Tree"),
        ("coord.limits", "import cbor2"),
        ("coord.raft.log", "from coord.store.store import Store"),
        ("coord.store.store", "from coord.raft.types import Entry"),
        ("coord.store.store", "from coord.wire.cbor import dumps"),
        ("coord.store.store", "from coord import wire"),
        ("coord.wire.entries", "import cbor2"),
        ("coord.wire.entries", "from coord.raft.log import Log"),
        ("coord.wire.entries", "from coord.store.store import Store"),
        ("coord.replica.replica", "from coord.disk.wal import Wal"),
        ("coord.replica.replica", "import trio"),
        ("coord.disk.wal", "from coord.replica.replica import Replica"),
        ("coord.disk.wal", "import trio"),
        ("coord.server.driver", "from coord.client import Client"),
        ("coord.server.driver", "from coord.cli import main"),
        ("coord.server.member", "from coord.testing.life import Life"),
        ("coord.client.client", "from coord.store.store import Store"),
        ("coord.client.client", "import trio"),
        ("coord.client.core.engine", "import anyio"),
        ("coord.client.core.engine", "from coord.client.link import Link"),
        ("coord.client.client", "from coord.recipes import Lock"),
        ("coord.recipes.lock", "from coord.api.ops import Create"),
        ("coord.recipes.lock", "from coord.wire.framing import FrameBuffer"),
        ("coord.store.tree", "from .znode import Znode"),
        ("coord.store.tree", "from . import znode"),
        ("coord.cli.main", "from client import Client"),
        ("tests.store.test_ops", "import recipes"),
        ("tests.store.test_ops", "def late():\n    from jepsen_like.sim import run"),
    ],
)
def test_import_faults_are_found(module: str, source: str) -> None:
    assert len(import_faults(module, source)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "client._deadline",
        "self._client._deadline",
        "self.client._client",
        "grant._claim.number",
        "thing._spawn(1)",
        "self._owner_of_it",
        "from coord.client.grant import _too_late",
    ],
)
def test_a_recipe_that_reaches_into_the_client_is_found(line: str) -> None:
    own = private_names(
        "class A:\n    def __init__(self):\n        self._deadline = 1\n        self._claim = self._client = 2"
    )
    assert own == {"_deadline", "_claim", "_client"}
    assert len(reaches_into_the_client("coord.recipes.lock", line, own)) == 1
    assert (
        reaches_into_the_client(
            "coord.recipes.lock", "self._deadline\nself._client.deadline\nother._claim", own
        )
        == []
    )


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("coord.wire.cbor", "import cbor2"),
        (
            "coord.wire.peer_frames",
            "from coord.raft.types import Entry\nfrom coord.raft.messages import Message",
        ),
        ("coord.replica.replica", "from coord.raft.raft import Raft\nfrom coord.store.store import Store"),
        ("coord.server.driver", "import trio\nfrom coord.disk.wal import Wal"),
        (
            "coord.client.client",
            "import anyio\nfrom coord.api.ops import Create\nfrom coord.client.retry import x",
        ),
        (
            "coord.client.core.engine",
            "from coord.client.core.lease import Lease\nfrom coord.wire.cbor import dumps",
        ),
        ("coord.recipes.lock", "from coord.client import Client"),
        ("coord.cli.main", "import typer\nfrom coord.server.member import Member"),
        ("tests.store.test_ops", "import pytest\nfrom coord.replica.replica import Replica"),
    ],
)
def test_allowed_imports_are_no_faults(module: str, source: str) -> None:
    assert import_faults(module, source) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import random",
        "from os import urandom",
        "import socket",
        "from pathlib import Path",
        "import threading",
        "import asyncio",
        "import trio",
        "import uuid",
        "import secrets",
        "from datetime import datetime",
        "import logging",
        "from io import open",
        "import io",
        "async def f(): pass",
        "assert 1",
        "open('x')",
        "print(1)",
        "key = hash('x')",
        "key = id(object())",
        "def f():\n    global x\n    x = 1",
        "for x in {1, 2}: pass",
        "y = [x for x in set(a)]",
        "y = list({x for x in a})",
        "s: set[str] = f()\nfor x in s: pass",
        "def f(s: frozenset[int]) -> None:\n    return tuple(s)",
        "class A:\n    def __init__(self): self.s: set[int] = set()\n    def f(self): return [x for x in self.s]",
        "s = set()\ns.pop()",
        "s = {1}\ndict.fromkeys(s)",
        "s = {1}\n[*s]",
        "a = {1}\nfor x in a | b: pass",
        "from coord.api.ops import WRITES\nfor x in WRITES: pass",
        "s: set[int] | None = None\nfor x in s: pass",
    ],
)
def test_impurities_are_found(source: str) -> None:
    assert len(purity_faults("coord.store.bad", source, frozenset({"WRITES"}))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from hashlib import sha256\nfrom io import BytesIO\nfrom collections.abc import Mapping",
        "s = {1}\nfor x in sorted(s): pass",
        "s = {1}\nn = len(s) + sum(x for x in s)",
        "s = {1}\nif 1 in s: pass",
        "class A:\n    def __init__(self, id): self.id = id",
        "for x in {1: 2}: pass",
        "q = deque()\nq.pop()",
    ],
)
def test_pure_sources_are_no_faults(source: str) -> None:
    assert purity_faults("coord.store.good", source) == []
