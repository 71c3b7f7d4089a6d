"""What each fault cost: how long until something was done again."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from coord.jepsen_like.checkers.availability import recoveries
from coord.jepsen_like.history import Fault, Operation, Record, of


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one fault. ``None``: nothing was done any more until the end of the history."""

    fault: str
    what: str
    began_ms: float
    """After the first operation was called."""
    lasted_ms: float
    recovered_ms: float | None
    """From its beginning until something was done that was asked for after it."""
    after_end_ms: float | None
    """From its end until something was done."""


def costs(records: Sequence[Record]) -> list[Cost]:
    """The cost of each fault, in order."""
    recovered = {id(each.fault): each.recovered_ms for each in recoveries(records)}
    origin_ns = min((each.called_ns for each in of(Operation, records)), default=0)
    return [
        Cost(
            begin.fault,
            begin.what,
            (begin.at_ns - origin_ns) / 1e6,
            0.0 if end is None else (end.at_ns - begin.at_ns) / 1e6,
            recovered[id(begin)],
            None if end is None else recovered[id(end)],
        )
        for begin, end in spans(of(Fault, records))
    ]


def spans(faults: Sequence[Fault]) -> list[tuple[Fault, Fault | None]]:
    """Each beginning with its end; ``None``: it has none in the history."""
    found: list[tuple[Fault, Fault | None]] = []
    begun: dict[tuple[str, tuple[int, ...], str], int] = {}  # what it is -> its place in ``found``
    for fault in faults:
        key = (fault.fault, fault.members, fault.what)
        if fault.phase != "end":
            begun[key] = len(found)
            found.append((fault, None))
        elif key in begun:
            place = begun.pop(key)
            found[place] = (found[place][0], fault)
    return found


def longest_gap_ms(records: Sequence[Record]) -> float:
    """The longest time without an acknowledged write."""
    times = sorted(
        operation.returned_ns
        for operation in of(Operation, records)
        if operation.mode == "write" and operation.outcome == "ok" and operation.returned_ns is not None
    )
    return max(((later - earlier) / 1e6 for earlier, later in pairwise(times)), default=0.0)
