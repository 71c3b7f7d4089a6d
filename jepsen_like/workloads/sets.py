"""Sets: elements are added, and the whole is read. As children of a znode, and inside one value by compare-and-set.

Tries to lose what was acknowledged, or to keep what was refused. Elements are added once and never removed, so every
linearizable read must have all that were acknowledged before it was asked.
"""

from collections.abc import Iterator, Sequence
from random import Random

from coord.api.ops import Create, Get, List, Set
from coord.api.results import Page, Znode
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Operation, Record
from coord.jepsen_like.workloads.parts import insist, think
from coord.jepsen_like.workloads.workload import Process, Script

ROOT = "/sets"
PROMISE = "sets"
IN_VALUE = "value"
"""The child that holds its elements in its value; the others' are their children."""
PAGE = 10_000


def check_sets(records: Sequence[Record]) -> list[Violation]:
    """A linearizable read has every element that was acknowledged before, and none that was refused or never added."""
    added: dict[str, dict[str, tuple[int, Operation]]] = {}
    for position, operation, path, element in _adds(records):
        added.setdefault(path, {})[element] = (position, operation)
    found: list[Violation] = []
    for position, operation, path, there in _reads(records):
        adds = added.get(path, {})
        for element in there:
            if element not in adds or adds[element][1].outcome == "refused":
                what = f"{path} holds {element}, which " + (
                    "was refused" if element in adds else "nobody added"
                )
                found.append(Violation(PROMISE, what, (position,)))
        for element, (at, add) in adds.items():
            if add.outcome == "ok" and element not in there:
                returned_ns = add.returned_ns
                if returned_ns is not None and returned_ns < operation.called_ns:
                    what = f"{element} was added to {path}, and is not in a later read"
                    found.append(Violation(PROMISE, what, (at, position)))
    return found


def _adds(records: Sequence[Record]) -> Iterator[tuple[int, Operation, str, str]]:
    for position, operation in enumerate(records):
        if isinstance(operation, Operation):
            op = operation.op
            if isinstance(op, Set) and op.path == f"{ROOT}/{IN_VALUE}":
                yield position, operation, op.path, op.value.decode().split()[-1]
            elif isinstance(op, Create) and op.path.startswith(f"{ROOT}/") and op.path.count("/") == 3:
                path, _, element = op.path.rpartition("/")
                yield position, operation, path, element


def _reads(records: Sequence[Record]) -> Iterator[tuple[int, Operation, str, dict[str, None]]]:
    for position, operation in enumerate(records):
        if isinstance(operation, Operation) and operation.mode == "linearizable":
            op, result = operation.op, operation.result
            if isinstance(result, Page) and isinstance(op, List) and op.path.startswith(f"{ROOT}/"):
                yield position, operation, op.path, {child.name: None for child in result.children}
            elif isinstance(result, Znode) and result.path == f"{ROOT}/{IN_VALUE}":
                yield position, operation, result.path, dict.fromkeys(result.value.decode().split())


class Sets:
    name = PROMISE
    checks = (check_sets,)

    def __init__(self, dice: Random) -> None:
        self._think_ms = dice.choice((0, 20, 100))
        self._stay = dice.choice((5, 20))
        """Elements of a process in one set, before it goes on to the next."""
        self._in_value_max = 200

    def setup(self) -> Script:
        yield from insist(Create(ROOT), "exists")
        yield from insist(Create(f"{ROOT}/{IN_VALUE}"), "exists")

    def process(self, me: Process) -> Script:
        count = 0
        while True:
            pick = me.dice.random()
            if pick < 0.15 or not me.has_session:
                number = me.dice.randint(0, count // self._stay)
                yield List(f"{ROOT}/{number}", limit=PAGE)
                count += not me.has_session
            elif pick < 0.3:
                read = yield Get(f"{ROOT}/{IN_VALUE}")
                if isinstance(read.result, Znode) and read.result.stat.version < self._in_value_max:
                    value = b"%s %s" % (read.result.value, me.fresh())
                    yield Set(read.result.path, value, version=read.result.stat.version)
            else:
                yield Create(f"{ROOT}/{count // self._stay}/{me.fresh().decode()}", parents=True)
                count += 1
            yield think(me, self._think_ms)

    def finish(self, me: Process) -> Script:
        sets = yield from insist(List(ROOT, limit=PAGE))
        if isinstance(sets.result, Page):
            for child in sets.result.children:
                path = f"{ROOT}/{child.name}"
                yield from insist(Get(path) if child.name == IN_VALUE else List(path, limit=PAGE))
