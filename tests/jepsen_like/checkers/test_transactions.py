"""The anomalies of Adya and of Elle's paper, each as the smallest table that shows it."""

from typing import NamedTuple

import pytest

from coord.api.ops import Get, Kind, Multi, Set
from coord.api.results import MultiResult, Stat, Written, Znode
from coord.jepsen_like.checkers import transactions
from coord.jepsen_like.history import Operation

ROOT = transactions.ROOT


class Txn(NamedTuple):
    """``steps``: ``("append", key, list as written)`` or ``("read", key, list)``; lists are words."""

    steps: tuple[tuple[str, str, str], ...]
    called: int = 0
    returned: int = 1_000
    outcome: str = "ok"
    process: int = -1


def _stat(value: bytes) -> Stat:
    return Stat(1, 1, 1, 0, 0, 0, 0, 0, len(value), 0, Kind.PERSISTENT, 0)


def history(*transactions_: Txn) -> list[Operation]:
    found = []
    for number, txn in enumerate(transactions_):
        then: list[Set | Get] = []
        results: list[Written | Znode] = []
        for what, key, words in txn.steps:
            path, value = f"{ROOT}/{key}", words.encode()
            then.append(Set(path, value, create=True) if what == "append" else Get(path))
            results.append(Written(0, 1) if what == "append" else Znode(path, value, _stat(value), 1))
        done = txn.outcome == "ok"
        found.append(
            Operation(
                number if txn.process < 0 else txn.process, 1, 1, 1, number + 1, Multi((), tuple(then)), "write", 0,
                txn.called, None if txn.outcome == "unknown" else txn.returned, txn.outcome,
                "" if done else "conflict", 1 if done else None, 1 if done else None,
                MultiResult(True, tuple(results), 1) if done else None,
            )
        )  # fmt: skip
    return found


def read(key: str, words: str) -> tuple[str, str, str]:
    return ("read", key, words)


def append(key: str, words: str) -> tuple[str, str, str]:
    return ("append", key, words)


ANOMALIES: dict[str, list[Txn]] = {
    # Two transactions' writes to two objects are in opposite orders.
    "G0": [
        Txn((append("x", "a"), append("y", "d c"))),
        Txn((append("x", "a b"), append("y", "d"))),
        Txn((read("x", "a b"), read("y", "d c"))),
    ],
    "G1a": [Txn((append("x", "a"),), outcome="refused"), Txn((read("x", "a"),))],
    "G1b": [Txn((append("x", "a"), append("x", "a b"))), Txn((read("x", "a"),)), Txn((read("x", "a b"),))],
    # Each has read what the other wrote.
    "G1c": [
        Txn((append("x", "a"), read("y", "b"))),
        Txn((append("y", "b"), read("x", "a"))),
    ],
    # Read skew: x from before a transaction, y from after it.
    "G-single": [
        Txn((append("x", "a"), append("y", "b"))),
        Txn((read("x", ""), read("y", "b"))),
        Txn((read("x", "a"),)),
    ],
    # Write skew: each has read what the other then changed.
    "G2": [
        Txn((read("x", ""), append("y", "b"))),
        Txn((read("y", ""), append("x", "a"))),
        Txn((read("x", "a"), read("y", "b"))),
    ],
    "lost update": [
        Txn((read("x", "a"), append("x", "a b"))),
        Txn((read("x", "a"), append("x", "a c"))),
        Txn((append("x", "a"),)),
    ],
    "duplicate append": [Txn((append("x", "a"),)), Txn((read("x", "a a"),))],
    "incompatible order": [
        Txn((append("x", "a"),)), Txn((append("x", "b"),)), Txn((read("x", "a b"),)), Txn((read("x", "b a"),)),
    ],
    "internal": [Txn((append("x", "a"), read("x", "b"))), Txn((append("x", "b"),))],
    "never appended": [Txn((read("x", "z"),))],
    # Serializable, and not strictly: what had been done is not seen.
    "G-single-realtime": [
        Txn((append("x", "a"),), 0, 10),
        Txn((read("x", ""),), 20, 30),
        Txn((read("x", "a"),), 40, 50),
    ],
    # Another that returned in between, and overlaps the first, says nothing of what comes after both.
    "G-single-realtime (overlapping)": [
        Txn((append("x", "a"),), 0, 10), Txn((read("y", ""),), 5, 12), Txn((read("x", ""),), 20, 30),
        Txn((read("x", "a"),), 40, 50),
    ],
    # The same, of an append that nobody ever read.
    "G-single-realtime (lost)": [Txn((append("x", "a"),), 0, 10), Txn((read("x", ""),), 20, 30)],
    # One process sees time go back, and nobody else could say so.
    "G-single-process": [
        Txn((read("x", "a"),), 0, 100, process=7),
        Txn((read("x", ""),), 101, 200, process=7),
        Txn((append("x", "a"),), 0, 300),
    ],
    "G1c-realtime": [Txn((read("x", "a"),), 0, 10), Txn((append("x", "a"),), 20, 30)],
}  # fmt: skip


@pytest.mark.parametrize("name", ANOMALIES)
def test_anomalies_are_found_by_their_names(name: str) -> None:
    found = [each.what for each in transactions.check(history(*ANOMALIES[name]))]
    wanted = name.split(" (")[0]
    if wanted.startswith("G"):
        assert any(what.startswith((f"{wanted}:", f"{wanted},")) for what in found), found
    else:
        assert any(wanted in what for what in found), found


GOOD: dict[str, list[Txn]] = {
    "one after another": [
        Txn((append("x", "a"), read("x", "a")), 0, 10),
        Txn((read("x", "a"), append("x", "a b"), append("y", "c")), 20, 30),
        Txn((read("x", "a b"), read("y", "c")), 40, 50),
    ],
    "overlapping, either order": [
        Txn((append("x", "a"),), 0, 100), Txn((read("x", ""),), 10, 20), Txn((read("x", "a"),), 30, 40),
    ],
    "unknown, and it happened": [Txn((append("x", "a"),), 0, 10, "unknown"), Txn((read("x", "a"),), 20, 30)],
    "unknown, and it did not": [Txn((append("x", "a"),), 0, 10, "unknown"), Txn((read("x", ""),), 20, 30)],
    "unknown, late": [
        Txn((append("x", "a"),), 0, 10, "unknown"), Txn((read("x", ""),), 20, 30), Txn((read("x", "a"),), 40, 50),
    ],
    "refused, and tried again": [
        Txn((append("x", "a"),), 0, 10, "refused"), Txn((append("x", "b"),), 20, 30), Txn((read("x", "b"),), 40, 50),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_what_is_strictly_serializable_is_accepted(name: str) -> None:
    assert transactions.check(history(*GOOD[name])) == []


def test_a_local_read_may_be_old() -> None:
    records = history(Txn((append("x", "a"),), 0, 10), Txn((read("x", "a"),), 11, 12))
    stat = _stat(b"")
    old = Operation(
        5, 1, 1, 1, 0, Get(f"{ROOT}/x"), "local", 0, 20, 30, "ok", "", 0, 0, Znode(f"{ROOT}/x", b"", stat, 0)
    )
    assert transactions.check([*records, old]) == []
    assert transactions.check(
        [*records, Operation(5, 1, 1, 1, 0, old.op, "linearizable", 0, 20, 30, "ok", "", 0, 0, old.result)]
    )
