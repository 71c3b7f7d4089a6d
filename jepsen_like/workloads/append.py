"""Transactions that append to lists and read them: multis over several keys, after Jepsen's list-append.

Tries to break the atomicity and the order of multis: half a branch, a condition judged at another state than the
branch ran at, two keys that changed in different orders for different readers. A list is a znode's value, its elements
joined by spaces, and every element is appended once: a list that was read tells the whole order of the appends before
it. ``coord.jepsen_like.checkers`` looks for cycles of dependencies; the check here, for what one list shows alone.

A transaction reads its keys, then asks for one multi: *if* none of them changed, set some and get the others, *else*
get them all. Lists do not grow for ever: each process moves on to other keys with time.
"""

from collections.abc import Iterator, Sequence
from random import Random

from coord.api.ops import Compare, Create, Get, Multi, Operator, Set, Target
from coord.api.results import MultiResult, Znode
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Operation, Record
from coord.jepsen_like.workloads.parts import insist, think
from coord.jepsen_like.workloads.workload import Process, Read, Script, Together

ROOT = "/append"
PROMISE = "append"


def elements(value: bytes) -> tuple[bytes, ...]:
    """Of a list, in the order of their appends."""
    return tuple(value.split())


def check_append(records: Sequence[Record]) -> list[Violation]:
    """Of two lists of one key one begins the other; each element stands there once; what was acknowledged is in every
    later linearizable read, and what was refused in none."""
    found: list[Violation] = []
    longest: dict[str, tuple[tuple[bytes, ...], int]] = {}
    acknowledged: dict[str, list[tuple[int, bytes, int]]] = {}
    refused: dict[bytes, int] = {}
    for position, operation in enumerate(records):
        if isinstance(operation, Operation) and isinstance(operation.op, Multi):
            for op in operation.op.then:
                if isinstance(op, Set) and op.path.startswith(f"{ROOT}/"):
                    element = elements(op.value)[-1]
                    result = operation.result
                    if operation.outcome == "refused" or (
                        isinstance(result, MultiResult) and not result.succeeded
                    ):
                        refused[element] = position
                    elif operation.returned_ns is not None:
                        acknowledged.setdefault(op.path, []).append(
                            (operation.returned_ns, element, position)
                        )
    for position, operation, path, listed in _lists(records):
        if len(dict.fromkeys(listed)) < len(listed):
            found.append(Violation(PROMISE, f"an element stands twice in {path}: {listed}", (position,)))
        known, where = longest.setdefault(path, (listed, position))
        shorter = min(len(known), len(listed))
        if known[:shorter] != listed[:shorter]:
            what = f"two reads of {path} contradict each other: {known} and {listed}"
            found.append(Violation(PROMISE, what, (where, position)))
        elif len(listed) > len(known):
            longest[path] = (listed, position)
        for element in listed:
            if element in refused:
                what = f"{element!r} was refused, and stands in {path}"
                found.append(Violation(PROMISE, what, (refused[element], position)))
        if operation.mode in ("write", "linearizable"):
            there = frozenset(listed)
            for returned_ns, element, at in acknowledged.get(path, ()):
                if returned_ns < operation.called_ns and element not in there:
                    what = f"{element!r} was appended to {path}, and is not in a later read"
                    found.append(Violation(PROMISE, what, (at, position)))
    return found


def _lists(records: Sequence[Record]) -> Iterator[tuple[int, Operation, str, tuple[bytes, ...]]]:
    """Every list that was read: where, by which operation, its key and its elements."""
    for position, operation in enumerate(records):
        if isinstance(operation, Operation) and operation.outcome == "ok":
            result = operation.result
            for each in result.results if isinstance(result, MultiResult) else (result,):
                if isinstance(each, Znode) and each.path.startswith(f"{ROOT}/"):
                    yield position, operation, each.path, elements(each.value)


class Append:
    name = PROMISE
    checks = (check_append,)

    def __init__(self, dice: Random) -> None:
        self._keys = dice.choice((2, 3, 5))
        self._think_ms = dice.choice((0, 20, 100))
        self._stay = dice.choice((10, 40))
        """Transactions of a process before it moves on by one key."""

    def setup(self) -> Script:
        yield from insist(Create(ROOT), "exists")

    def process(self, me: Process) -> Script:
        count = 0
        while True:
            first = count // self._stay
            count += 1
            keys = [f"{ROOT}/{first + number}" for number in range(self._keys)]
            chosen = me.dice.sample(keys, me.dice.randint(1, min(3, self._keys)))
            mode = "linearizable" if me.dice.random() < 0.5 else "local"  # stale ones only lose the race
            before = yield Together(tuple(Read(Get(key), mode) for key in chosen))
            if me.has_session and all(each.outcome == "ok" or each.error == "not_found" for each in before):
                yield self._transaction(me, chosen, [each.result for each in before])
            yield think(me, self._think_ms)

    def finish(self, me: Process) -> Script:
        number, missing = 0, 0
        while missing < self._keys:  # processes leave no wider hole among the keys than that
            operation = yield from insist(Get(f"{ROOT}/{number}"), "not_found")
            missing = missing + 1 if operation.error else 0
            number += 1

    def _transaction(self, me: Process, keys: list[str], before: list[Znode | None]) -> Multi:
        compare: list[Compare] = []
        then: list[Set | Get] = []
        for key, znode in zip(keys, before, strict=True):
            if znode is None:
                compare.append(Compare(Target.EXISTS, key, Operator.EQUAL, False))
            else:
                compare.append(Compare(Target.VERSION, key, Operator.EQUAL, znode.stat.version))
                compare.append(
                    Compare(Target.CREATED_REVISION, key, Operator.EQUAL, znode.stat.created_revision)
                )
            if znode is None or me.dice.random() < 0.6:
                old = b"" if znode is None else znode.value + b" "
                then.append(Set(key, old + me.fresh(), create=True))
            then.append(Get(key))
        there = tuple(Get(key) for key, znode in zip(keys, before, strict=True) if znode is not None)
        return Multi(tuple(compare), tuple(then), there)
