"""How much CPU time the checkers take: ``python -m tests.jepsen_like.checkers.speed [OPERATIONS]``, a good history of
sets and gets by 50 clients on 1000 znodes, with its log."""

import sys
import time
from collections.abc import Callable
from random import Random

from coord.api.ops import Create, Get, Kind, Set
from coord.api.results import Created, Stat, Written, Znode
from coord.jepsen_like.checkers import CHECKS
from coord.jepsen_like.history import Committed, Operation, Record

CLIENTS, KEYS, OVERLAP_NS = 50, 1_000, 40


def history(count: int, seed: int = 1) -> list[Record]:
    """``count`` operations; each begins up to ``OVERLAP_NS`` before it takes effect, and ends as much after."""
    dice = Random(seed)
    records: list[Record] = []
    state: dict[str, tuple[bytes, int, int, int]] = {}
    revision = 0
    requests = [0] * CLIENTS
    for number in range(count):
        at_ns = 1_000 + 10 * number
        client = dice.randrange(CLIENTS)
        path = f"/{dice.randrange(KEYS)}"
        called_ns, returned_ns = at_ns - dice.randrange(OVERLAP_NS), at_ns + dice.randrange(OVERLAP_NS)
        known = state.get(path)
        if known is not None and dice.random() < 0.5:
            value, created, modified, version = known
            stat = Stat(created, modified, created, version, 0, 0, 0, 0, len(value), 0, Kind.PERSISTENT, 0)
            result = Znode(path, value, stat, revision)
            records.append(
                Operation(client, 1, 1, client, 0, Get(path), "linearizable", 0, called_ns, returned_ns, "ok", "",
                          revision, revision, result)
            )  # fmt: skip
            continue
        value = b"%d" % number
        revision += 1
        requests[client] += 1
        request = requests[client]
        if known is None:
            state[path] = (value, revision, revision, 0)
            change = (1, path, value, 0, client, request, 0)
            op: Create | Set = Create(path, value)
            answer: Created | Written = Created(path, revision)
        else:
            version = known[3] + 1
            state[path] = (value, known[1], revision, version)
            change = (2, path, value, version, client, request, 0)
            op, answer = Set(path, value), Written(version, revision)
        records.append(Committed(revision, revision, (change,), at_ns))
        records.append(
            Operation(client, 1, 1, client, request, op, "write", 0, called_ns, returned_ns, "ok", "", revision,
                      revision, answer)
        )  # fmt: skip
    return records


def seconds(check: Callable[[list[Record]], object], records: list[Record]) -> float:
    started = time.process_time()
    found = check(records)
    assert not found, found
    return time.process_time() - started


if __name__ == "__main__":
    made = history(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
    for name, each in CHECKS.items():
        print(f"{name:14} {seconds(each, made):7.2f} s")
