"""The timeline of a history: one HTML page with a drawing in it, that needs nothing but a browser.

Its size is bounded: where there are more operations than can be told apart, they are counted by process and time.
"""

from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Final

from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Fault, Leader, Operation, Record, Run, of
from coord.jepsen_like.live.availability import spans
from coord.jepsen_like.live.crew import FINISH, SETUP
from coord.jepsen_like.live.drawing import FAULT, INK, LEFT, MEMBERS, OUTCOMES, WIDTH, Axis, Drawing
from coord.jepsen_like.live.timeline_words import (
    RECORDS_MAX,
    VIOLATIONS_MAX,
    again_line,
    costs_section,
    first_told,
    time_of,
    tip_of,
    totals_line,
    violations_section,
)

OPERATIONS_MAX: Final = 6_000
"""Drawn one by one up to this many."""
CELLS: Final = 300
"""Of each process, where they are not."""
PROCESSES_MAX, FAULTS_MAX, LEADERS_MAX = 60, 2_000, 2_000
ROW = 14
RATE_HEIGHT: Final = 90
_NAMES: Final = {SETUP: "setup", FINISH: "last reads"}

_STYLE: Final = f"""
body {{ font: 14px/1.45 system-ui, sans-serif; color: {INK}; margin: 1.5rem auto; max-width: 1400px; padding: 0 1rem; }}
svg {{ width: 100%; height: auto; border: 1px solid #dfe3e8; border-radius: 4px; }}
svg text {{ font: 10.5px system-ui, sans-serif; fill: {INK}; }}
code, pre {{ font: 12px/1.4 ui-monospace, monospace; }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; background: #f6f7f9; padding: .5rem; border-radius: 4px; }}
table {{ border-collapse: collapse; font-size: 13px; }} td, th {{ padding: .15rem .8rem .15rem 0; text-align: left; }}
td.n, th.n {{ text-align: right; font-variant-numeric: tabular-nums; }}
.bad {{ color: #d0021b; }} .good {{ color: #2c7a45; }} :target {{ outline: 2px solid #d0021b; outline-offset: 4px; }}
.key {{ display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 1em; border-radius: 2px; }}
"""


def timeline(records: Sequence[Record], violations: Sequence[Violation]) -> str:
    """The whole page."""
    run = next(iter(of(Run, records)), Run("?", 0, 0))
    operations: list[Operation] = of(Operation, records)
    drawing = Drawing(_axis(records))
    drawing.height = 20
    _faults(drawing, of(Fault, records))
    _leaders(drawing, of(Leader, records))
    _rates(drawing, operations)
    rows = _operations(drawing, operations)
    _anomalies(drawing, records, violations, rows)
    drawing.seconds()
    verdict = (
        f'<span class="bad">{len(violations)} broken promises</span>'
        if violations
        else '<span class="good">no promise broken</span>'
    )
    title = f"{run.workload}, seed {run.seed}, {run.members} members"
    keys = "".join(
        f'<span class="key" style="background:{colour}"></span>{name}'
        for name, colour in (*OUTCOMES.items(), ("fault", FAULT))
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>coord torture: {escape(title)}</title>'
        f"<style>{_STYLE}</style><body><h1>{escape(title)}: {verdict}</h1>"
        f"<p>{totals_line(operations)} Rest the pointer on anything to learn what it is.{keys}</p>"
        f"{again_line(run)}{drawing.svg()}{violations_section(records, violations, drawing.axis)}"
        f"{costs_section(records)}</body></html>\n"
    )


def _axis(records: Sequence[Record]) -> Axis:
    times = [each.called_ns for each in of(Operation, records)]
    times += [each.returned_ns for each in of(Operation, records) if each.returned_ns is not None]
    times += [each.at_ns for kind in (Fault, Leader) for each in of(kind, records)]
    return Axis(min(times, default=0), max(times, default=1))


# --- panels ------------------------------------------------------------------------------------------


def _faults(drawing: Drawing, faults: Sequence[Fault]) -> None:
    """A row for each nemesis, a band for each of its strikes."""
    names = list(dict.fromkeys(fault.fault for fault in faults))
    for fault, end in spans(faults)[:FAULTS_MAX]:
        end_ns = fault.at_ns if end is None else end.at_ns
        y = drawing.height + names.index(fault.fault) * ROW
        lasted_s = (end_ns - fault.at_ns) / 1e9
        tip = f"{fault.fault}: {fault.what}\nat {drawing.axis.at_s(fault.at_ns):.2f} s, for {lasted_s:.2f} s"
        drawing.rect(fault.at_ns, end_ns, y + 2, ROW - 4, FAULT, tip)
        drawing.band(fault.at_ns, end_ns, FAULT)
    for place, name in enumerate(names):
        drawing.label(drawing.height + place * ROW + 11, name)
    drawing.height += len(names) * ROW + 8


def _leaders(drawing: Drawing, leaders: Sequence[Leader]) -> None:
    """Who led, until the next one did."""
    drawing.label(drawing.height + 11, "leader")
    last_ns = drawing.axis.first_ns + round(drawing.axis.seconds * 1e9)
    shown = leaders[:LEADERS_MAX]
    ends_ns = [*(following.at_ns for following in shown[1:]), last_ns]
    for leader, end_ns in zip(shown, ends_ns, strict=False):
        colour = MEMBERS[(leader.member - 1) % len(MEMBERS)]
        tip = (
            f"member {leader.member} leads term {leader.term} from {drawing.axis.at_s(leader.at_ns):.2f} s on"
        )
        drawing.rect(leader.at_ns, end_ns, drawing.height + 1, ROW - 2, colour, tip)
        text = f"{leader.member} (term {leader.term})"
        if drawing.axis.x(end_ns) - drawing.axis.x(leader.at_ns) > len(text) * 6 + 6:
            drawing.label(drawing.height + 11, text, drawing.axis.x(leader.at_ns) + 4, "start")
    drawing.height += ROW + 10


def _rates(drawing: Drawing, operations: Sequence[Operation]) -> None:
    """Answers by outcome, and the time that they took, in each of up to 300 parts of the run."""
    bins = min(max(round(drawing.axis.seconds), 1), 300)
    each_s = drawing.axis.seconds / bins
    counts = [Counter[str]() for _ in range(bins)]
    latencies: list[list[float]] = [[] for _ in range(bins)]
    for operation in operations:
        at_ns = operation.called_ns if operation.returned_ns is None else operation.returned_ns
        place = min(int(drawing.axis.at_s(at_ns) / each_s), bins - 1)
        counts[place][operation.outcome] += 1
        if operation.outcome == "ok" and operation.returned_ns is not None:
            latencies[place].append((operation.returned_ns - operation.called_ns) / 1e6)
    most = max((count.total() for count in counts), default=0) or 1
    base = drawing.height + RATE_HEIGHT
    drawing.label(drawing.height + 11, f"{most / each_s:.0f} answers/s")
    for place, count in enumerate(counts):
        y = base
        begin_ns = drawing.axis.first_ns + round(place * each_s * 1e9)
        told = ", ".join(f"{number} {outcome}" for outcome, number in sorted(count.items())) or "nothing"
        for outcome, colour in OUTCOMES.items():
            height = count[outcome] / most * (RATE_HEIGHT - 6)
            y -= height
            if height:
                tip = f"{place * each_s:.1f} s to {(place + 1) * each_s:.1f} s: {told}"
                drawing.rect(begin_ns, begin_ns + round(each_s * 0.92e9), y, height, colour, tip, 0.75)
    drawing.rule(base)
    drawing.height = base + 12
    _latency(drawing, latencies)


def _latency(drawing: Drawing, latencies: Sequence[list[float]]) -> None:
    ordered = [sorted(each) for each in latencies]
    most_ms = max((each[-1] for each in ordered if each), default=0.0) or 1.0
    base = drawing.height + RATE_HEIGHT
    drawing.label(drawing.height + 11, f"{most_ms:.0f} ms")
    for part, colour, name in (
        (0.5, "#4c78a8", "median"),
        (0.99, "#e45756", "99 % within"),
        (1.0, "#79706e", "slowest"),
    ):
        points = []
        for place, each in enumerate(ordered):
            if each:
                value = each[min(int(len(each) * part), len(each) - 1)]
                x = LEFT + (place + 0.5) / len(ordered) * WIDTH
                points.append((x, base - value / most_ms * (RATE_HEIGHT - 6)))
        drawing.line(points, colour, f"latency of what was ok: {name}")
    drawing.rule(base)
    drawing.height = base + 12


def _operations(drawing: Drawing, operations: Sequence[Operation]) -> dict[int, float]:
    """A row for each process; returns where each is."""
    processes = sorted({operation.process for operation in operations})[:PROCESSES_MAX]
    rows = {process: drawing.height + place * ROW for place, process in enumerate(processes)}
    for process, y in rows.items():
        drawing.label(y + 11, _NAMES.get(process, f"process {process}"))
    shown = [operation for operation in operations if operation.process in rows]
    if len(shown) <= OPERATIONS_MAX:
        for operation in shown:
            end_ns = operation.called_ns if operation.returned_ns is None else operation.returned_ns
            y = rows[operation.process]
            drawing.rect(
                operation.called_ns,
                end_ns,
                y + 2,
                ROW - 4,
                OUTCOMES[operation.outcome],
                tip_of(operation, drawing.axis),
                0.85,
            )
    else:
        _cells(drawing, shown, rows)
    drawing.height += len(rows) * ROW + 6
    return rows


def _cells(drawing: Drawing, operations: Sequence[Operation], rows: dict[int, float]) -> None:
    cells: dict[tuple[int, int], Counter[str]] = {}
    each_s = drawing.axis.seconds / CELLS
    for operation in operations:
        place = min(int(drawing.axis.at_s(operation.called_ns) / each_s), CELLS - 1)
        cells.setdefault((operation.process, place), Counter())[operation.outcome] += 1
    most = max(count.total() for count in cells.values())
    for (process, place), count in cells.items():
        worst = next(each for each in ("unknown", "refused", "ok") if count[each])
        begin_ns = drawing.axis.first_ns + round(place * each_s * 1e9)
        told = ", ".join(f"{number} {outcome}" for outcome, number in sorted(count.items()))
        tip = f"process {process}, {place * each_s:.1f} s to {(place + 1) * each_s:.1f} s: {told}"
        opacity = round(0.3 + 0.7 * count.total() / most, 2)
        drawing.rect(
            begin_ns,
            begin_ns + round(each_s * 1e9),
            rows[process] + 2,
            ROW - 4,
            OUTCOMES[worst],
            tip,
            opacity,
        )


def _anomalies(
    drawing: Drawing, records: Sequence[Record], violations: Sequence[Violation], rows: dict[int, float]
) -> None:
    told = first_told(records)
    for number, violation in enumerate(violations[:VIOLATIONS_MAX], 1):
        for place in violation.records[:RECORDS_MAX]:
            at_ns = time_of(records[place], told)
            if at_ns is not None:
                y = rows.get(getattr(records[place], "process", -1), drawing.height - ROW)
                drawing.anomaly(at_ns, y + ROW / 2, number, f"{number}: {violation}")
