"""What the timeline says beside its drawing: tips, totals, the broken promises with their records, what faults cost."""

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from html import escape

from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Committed, Operation, Record, Run, dump, of
from coord.jepsen_like.live.availability import costs
from coord.jepsen_like.live.drawing import OUTCOMES, Axis

VIOLATIONS_MAX, RECORDS_MAX, RECORD_CHARS_MAX = 50, 12, 600


def first_told(records: Sequence[Record]) -> list[tuple[int, int]]:
    """``(revision, when a client was first told of it)``, ascending: a log's entries have no times of their own."""
    times: dict[int, int] = {}
    for each in of(Operation, records):
        if each.revision is not None and each.returned_ns is not None:
            times[each.revision] = min(times.get(each.revision, each.returned_ns), each.returned_ns)
    return sorted(times.items())


def time_of(record: Record, told: Sequence[tuple[int, int]] = ()) -> int | None:
    if isinstance(record, Operation):
        return record.called_ns
    if isinstance(record, Committed):
        place = bisect_left(told, (record.revision, 0))
        return told[place][1] if place < len(told) else None
    at_ns = getattr(record, "at_ns", None) or getattr(record, "called_ns", None)
    return at_ns if isinstance(at_ns, int) else None


def tip_of(operation: Operation, axis: Axis) -> str:
    took = (
        ""
        if operation.returned_ns is None
        else f", {(operation.returned_ns - operation.called_ns) / 1e6:.1f} ms"
    )
    error = f" ({operation.error})" if operation.error else ""
    return (
        f"{operation.mode} {operation.op!s:.160}\n{operation.outcome}{error}{took}, "
        f"at {axis.at_s(operation.called_ns):.3f} s, member {operation.member}, revision {operation.revision}"
    )


def totals_line(operations: Sequence[Operation]) -> str:
    counts = Counter(operation.outcome for operation in operations)
    return f"{len(operations)} operations: " + ", ".join(f"{counts[each]} {each}" for each in OUTCOMES) + "."


def again_line(run: Run) -> str:
    command = run.notes.get("command")
    return f"<p>Run it again: <code>{escape(str(command))}</code></p>" if command else ""


def violations_section(records: Sequence[Record], violations: Sequence[Violation], axis: Axis) -> str:
    parts = []
    for number, violation in enumerate(violations[:VIOLATIONS_MAX], 1):
        lines = []
        for place in violation.records[:RECORDS_MAX]:
            at_ns = time_of(records[place])
            when = "" if at_ns is None else f"{axis.at_s(at_ns):.3f} s  "
            [line] = dump([records[place]])
            row = json.loads(line)
            kind = row.pop("record")
            lines.append(
                f"{place + 1}: {when}{kind} {json.dumps(row, ensure_ascii=False)}"[:RECORD_CHARS_MAX]
            )
        shown = f"<pre>{escape(chr(10).join(lines))}</pre>" if lines else ""
        parts.append(
            f'<section id="violation-{number}"><h3 class="bad">{number}. {escape(violation.promise)}</h3>'
            f"<p>{escape(violation.what[:2_000])}</p>{shown}</section>"
        )
    if len(violations) > VIOLATIONS_MAX:
        parts.append(f"<p>… and {len(violations) - VIOLATIONS_MAX} more.</p>")
    return "<h2>Broken promises</h2>" + "".join(parts) if parts else ""


def costs_section(records: Sequence[Record]) -> str:
    """What the dearest faults cost."""
    found = sorted(
        costs(records), key=lambda cost: -(1e18 if cost.recovered_ms is None else cost.recovered_ms)
    )[:40]
    if not found:
        return ""
    rows = "".join(
        f"<tr><td>{escape(cost.fault)}</td><td>{escape(cost.what[:160])}</td>"
        f'<td class="n">{cost.began_ms / 1000:.1f} s</td>'
        f'<td class="n">{cost.lasted_ms:.0f} ms</td><td class="n">{_ms(cost.recovered_ms)}</td>'
        f'<td class="n">{_ms(cost.after_end_ms)}</td></tr>'
        for cost in found
    )
    head = (
        '<tr><th>fault</th><th>what</th><th class="n">began</th><th class="n">lasted</th>'
        '<th class="n">something was done again after its begin</th><th class="n">after its end</th></tr>'
    )
    return f"<h2>What faults cost</h2><table>{head}{rows}</table>"


def _ms(value: float | None) -> str:
    return "never" if value is None else f"{value:.0f} ms"
