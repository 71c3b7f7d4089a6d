"""Availability: how long after each fault, and after each healing, until something was done again.

What counts is an operation that needs a quorum and was done: called after a fault, or answered after a healing. A
bound, where one is given, holds for healings that leave no fault behind: the minority side of a partition is not
expected to answer.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Fault, Operation, Record, Run

PROMISE: Final = "availability"
BOUND_NOTE: Final = "availability_bound_ms"
"""In the notes of :class:`Run`: the bound for this history; none there, none judged."""
_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Recovery:
    fault: Fault
    place: int
    others: int
    """Faults that are still on."""
    recovered_ms: float | None
    """Until the next operation was done; ``None``: none was, to the end of the history."""
    watched_ms: float
    """How long the history goes on after it."""


def recoveries(records: Sequence[Record]) -> list[Recovery]:
    """One for each :class:`Fault` record, in their order."""
    done = [
        (each.called_ns, each.returned_ns)
        for each in records
        if type(each) is Operation
        and each.outcome == "ok"
        and each.returned_ns is not None
        and each.mode in ("write", "linearizable")
    ]
    returned = sorted(returned_ns for _, returned_ns in done)
    done.sort()
    called = [called_ns for called_ns, _ in done]
    soonest = [returned_ns for _, returned_ns in done]
    """Of that operation and all called later."""
    for at in range(len(soonest) - 2, -1, -1):
        soonest[at] = min(soonest[at], soonest[at + 1])
    end_ns = max((_time(each) for each in records), default=0)
    active: dict[tuple[str, tuple[int, ...]], int] = {}
    found: list[Recovery] = []
    for place, each in enumerate(records):
        if type(each) is not Fault:
            continue
        key = (each.fault, each.members)
        if each.phase != "once":
            active[key] = active.get(key, 0) + (1 if each.phase == "begin" else -1)
            if active[key] <= 0:
                del active[key]
        # What was called before a fault may have been done before it, too, and only be told now. After a healing
        # the clients may all be waiting for what they called before.
        times, told = (returned, returned) if each.phase == "end" else (called, soonest)
        at = bisect_right(times, each.at_ns)
        recovered_ms = (told[at] - each.at_ns) / _MS if at < len(told) else None
        found.append(Recovery(each, place, len(active), recovered_ms, (end_ns - each.at_ns) / _MS))
    return found


def check(records: Sequence[Record], bound_ms: float | None = None) -> list[Violation]:
    """``bound_ms``: if not given, the run's own; with neither nothing is judged, see :func:`recoveries`."""
    if bound_ms is None and records and type(records[0]) is Run:
        bound_ms = records[0].notes.get(BOUND_NOTE)
    if bound_ms is None:
        return []
    found: list[Violation] = []
    for each in recoveries(records):
        if each.fault.phase != "end" or each.others:
            continue
        # A fault that strikes again in the meantime starts the clock anew.
        next_ns = _next_fault_ns(records, each)
        quiet_ms = each.watched_ms if next_ns is None else (next_ns - each.fault.at_ns) / _MS
        took_ms = each.recovered_ms
        if (
            quiet_ms > bound_ms
            and (took_ms is None or took_ms > bound_ms)
            and _wanted(records, each, bound_ms)
        ):
            took = "nothing" if took_ms is None else f"nothing for {took_ms:.0f} ms"
            what = (
                f"{took} was done after {each.fault.fault} had healed; at most {bound_ms:.0f} ms are allowed"
            )
            found.append(Violation(PROMISE, what, (each.place,)))
    return found


def _wanted(records: Sequence[Record], healing: Recovery, bound_ms: float) -> bool:
    """Whether anybody was waiting for anything in that time."""
    from_ns = healing.fault.at_ns
    return any(
        type(each) is Operation
        and each.mode in ("write", "linearizable")
        and each.called_ns < from_ns + bound_ms * _MS / 2
        and (each.returned_ns is None or each.returned_ns > from_ns)
        for each in records
    )


def _next_fault_ns(records: Sequence[Record], healing: Recovery) -> int | None:
    for each in records[healing.place + 1 :]:
        if type(each) is Fault and each.phase != "end":
            return each.at_ns
    return None


def _time(record: Record) -> int:
    at_ns = getattr(record, "at_ns", None)
    return int((at_ns if at_ns is not None else getattr(record, "returned_ns", 0)) or 0)
