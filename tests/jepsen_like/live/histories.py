"""Small histories to draw and to count."""

from coord.api.ops import Get, Set
from coord.api.results import Written
from coord.jepsen_like.history import Fault, Leader, Operation, Record, Run

MS = 1_000_000


def operation(
    number: int, process: int = 1, outcome: str = "ok", took_ms: int = 3, mode: str = "write"
) -> Operation:
    """The ``number``-th, called at ``number * 10`` ms."""
    known = outcome != "unknown"
    called_ns = number * 10 * MS
    return Operation(
        process=process,
        connection=1,
        member=1,
        session=1,
        request=number,
        op=Set("/a", b"<&>") if mode == "write" else Get("/a"),
        mode=mode,
        at_least=0,
        called_ns=called_ns,
        returned_ns=called_ns + took_ms * MS if known else None,
        outcome=outcome,
        error="" if outcome == "ok" else "unavailable",
        revision=number if known else None,
        index=number if known else None,
        result=Written(number, number) if outcome == "ok" and mode == "write" else None,
    )


def history(operations: int = 30, processes: int = 3) -> list[Record]:
    records: list[Record] = [
        Run("demo", 7, 3, {"command": "coord torture --seed 7"}),
        Leader(1, 1, 0),
        Fault("kill-one", "begin", (2,), "kill -9 of member 2", 50 * MS),
    ]
    outcomes = ("ok", "ok", "ok", "refused", "unknown")
    records += [operation(number, number % processes, outcomes[number % 5]) for number in range(operations)]
    records += [Fault("kill-one", "end", (2,), "kill -9 of member 2", 120 * MS), Leader(3, 2, 100 * MS)]
    return records
