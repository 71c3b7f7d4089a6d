"""From what was recorded to the report: every judge that applies, what faults cost, and the files that stay."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from coord.jepsen_like.checkers import judge
from coord.jepsen_like.checkers.availability import PROMISE as AVAILABILITY
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Record
from coord.jepsen_like.live.availability import costs, longest_gap_ms
from coord.jepsen_like.live.report import Report, outcomes
from coord.jepsen_like.live.settings import Settings
from coord.jepsen_like.live.timeline import timeline
from coord.jepsen_like.workloads.workload import Check

STALL_S: Final = 2.0
"""Clients that stood still for longer say nothing of the cluster's availability."""


@dataclass(slots=True)
class Findings:
    """What was seen besides the history."""

    violations: list[Violation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    not_now: dict[str, int] = field(default_factory=dict)
    terms_count: int = 0
    stalled_s: float = 0.0
    """The longest time for which the clients stood still …"""
    starved_s: float = 0.0
    """… and how much of it they waited for a CPU."""

    def broken(self, promise: str, what: str) -> None:
        self.violations.append(Violation(promise, what))


def verdict(
    settings: Settings, records: Sequence[Record], checks: Sequence[Check], findings: Findings
) -> Report:
    """Judge, and write timeline and report into ``settings.out``, beside the history."""
    counts = outcomes(records)
    if not counts.get("ok"):
        findings.broken(AVAILABILITY, "not one operation was answered: nothing was tested")
    found = judge(records)
    for check in checks:
        found += check(records)
    if findings.stalled_s > STALL_S:
        findings.notes.append(
            f"this machine let the clients stand still for {findings.stalled_s:.1f} s ({findings.starved_s:.1f} s "
            "of it waiting for a CPU): availability is not judged"
        )
        found = [each for each in found if each.promise != AVAILABILITY]
    report = Report(
        settings=settings,
        violations=findings.violations + list(dict.fromkeys(found)),
        operations=counts,
        faults=findings.faults,
        skipped=findings.skipped,
        not_now=findings.not_now,
        costs=costs(records),
        longest_gap_ms=longest_gap_ms(records),
        terms_count=findings.terms_count,
        notes=findings.notes,
        history=settings.out / "history.jsonl",
        timeline=settings.out / "timeline.html",
    )
    report.timeline.write_text(timeline(records, report.violations), "utf-8")
    (settings.out / "report.json").write_text(report.to_json(), "utf-8")
    return report
