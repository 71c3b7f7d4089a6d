"""Workloads by nemeses, a short run for each pair, for as long as one likes; and totals that outlive the runs."""

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coord.jepsen_like.live.report import Report
from coord.jepsen_like.live.run import torture
from coord.jepsen_like.live.settings import Settings

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Cell:
    workload: str
    nemesis: str
    seed: int
    report: Report


def matrix(
    base: Settings,
    workloads: Sequence[str],
    nemeses: Sequence[str],
    *,
    for_s: float = 0.0,
    say: Say = lambda text: None,
) -> list[Cell]:
    """A run of ``base.seconds`` for each pair, and again with other seeds until ``for_s`` have passed.

    ``base.out`` gets a folder for each run, and ``totals.json``, to which the next matrix adds. Raises as ``torture``
    does. A nemesis that is not possible here is a run without one: its report says so.
    """
    until = time.monotonic() + for_s
    cells: list[Cell] = []
    seed = base.seed
    while True:
        for workload in workloads:
            for nemesis in nemeses:
                settings = replace(
                    base,
                    workload=workload,
                    nemeses=(nemesis,),
                    seed=seed,
                    out=base.out / f"{workload}-{nemesis}-{seed}",
                )
                report = torture(settings, say=say)
                cells.append(Cell(workload, nemesis, seed, report))
                verdict = "fine" if report.ok else f"{len(report.violations)} BROKEN PROMISES"
                say(f"{workload} under {nemesis}, seed {seed}: {verdict}; {_counts(report)}")
                add_totals(base.out / "totals.json", report)
                if for_s and time.monotonic() >= until:
                    return cells
        seed += 1
        if time.monotonic() >= until:
            return cells


def add_totals(path: Path, report: Report) -> dict[str, Any]:
    """Add a run to the totals in ``path``; returns them."""
    totals: dict[str, Any] = {"runs": 0, "seconds": 0.0, "broken": 0, "operations": {}, "faults": {}}
    if path.exists():
        totals |= json.loads(path.read_text("utf-8"))
    totals["runs"] += 1
    totals["seconds"] += report.settings.seconds
    totals["broken"] += not report.ok
    for name, counts in (("operations", report.operations), ("faults", report.faults)):
        totals[name] = dict(sorted((Counter(totals[name]) + Counter(counts)).items()))
    path.write_text(json.dumps(totals, indent=2), "utf-8")
    return totals


def _counts(report: Report) -> str:
    return f"{sum(report.operations.values())} operations, {sum(report.faults.values())} faults" + (
        f", {len(report.skipped)} nemeses not possible here" if report.skipped else ""
    )
