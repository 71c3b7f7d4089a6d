"""Totals over many runs, in a JSON file: how much was simulated so far, by which versions, and what failed."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import coord
from coord.jepsen_like.sim.batch import Outcome, Totals, densities
from coord.jepsen_like.sim.marks import missing

_GIT_LIMIT_S: Final = 10.0


def read_totals(path: Path) -> dict[str, Any]:
    """What ``path`` holds; nothing yet, if it is not there. Raises: OSError, ValueError when it is something else."""
    try:
        row = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    if not isinstance(row, dict) or not isinstance(row.get("failed"), list):
        raise ValueError(f"{path} does not hold totals of the simulator")
    return row


def add_to_totals(path: Path, totals: Totals, version: str, replay: Callable[[Outcome], str]) -> None:
    """Add one run to the totals in ``path``, which is made with its folders if need be.

    Written aside and renamed: whoever reads it, or dies here, finds the old totals or the new ones. Two runs that end
    at the very same time may count as one. Raises as :func:`read_totals` does.
    """
    row = read_totals(path)
    faults = _added(row.get("faults_by_kind", {}), totals.faults)
    marks = _added(row.get("marks", {}), totals.marks)
    simulated_ms = row.get("simulated_ms", 0) + totals.simulated_ms
    cpu_s = row.get("cpu_s", 0.0) + totals.cpu_s
    operations = row.get("operations", 0) + totals.operations
    failed = [
        {"seed": each.seed, "replay": replay(each), "violations": list(each.violations), "version": version}
        for each in totals.failed
    ]
    whole = {
        "runs": row.get("runs", 0) + 1,
        "seeds": row.get("seeds", 0) + totals.seeds,
        "seeds_by_version": _added(row.get("seeds_by_version", {}), {version: totals.seeds}),
        "simulated_ms": simulated_ms,
        "simulated_hours": round(simulated_ms / 3_600_000, 3),
        "cpu_s": round(cpu_s, 3),
        **densities(simulated_ms, cpu_s, sum(faults.values()), operations),
        "operations": operations,
        "faults": sum(faults.values()),
        "faults_by_kind": faults,
        "marks": marks,
        "marks_not_reached": missing(marks),
        "failed": row.get("failed", []) + failed,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        aside.write_text(json.dumps(whole, indent=2) + "\n", "utf-8")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def version() -> str:
    """coord's, and the commit when it runs from a repository: a seed means the same only in the same code."""
    folder = Path(__file__).resolve().parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_GIT_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired):
        return coord.__version__  # no git here
    commit = done.stdout.strip()
    return f"{coord.__version__} ({commit})" if not done.returncode and commit else coord.__version__


def _added(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in sorted({*one, *other})}
