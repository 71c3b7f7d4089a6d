"""What came of a run."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Operation, Record, of
from coord.jepsen_like.live.availability import Cost
from coord.jepsen_like.live.settings import Settings


@dataclass(frozen=True, slots=True)
class Report:
    settings: Settings
    violations: list[Violation]
    operations: dict[str, int]
    """By outcome."""
    faults: dict[str, int]
    """By nemesis: how often it struck."""
    skipped: dict[str, str]
    """Nemeses that are not possible on this machine, with the reason."""
    not_now: dict[str, int]
    """Strikes that found nothing to strike."""
    costs: list[Cost]
    longest_gap_ms: float
    terms_count: int
    """That had a leader."""
    notes: list[str] = field(default_factory=list)
    """What a reader should know of how it was judged."""
    history: Path = Path()
    timeline: Path = Path()

    @property
    def ok(self) -> bool:
        return not self.violations

    def to_json(self) -> str:
        row: dict[str, Any] = {"ok": self.ok, **asdict(self), "again": self.settings.command()}
        return json.dumps(row, indent=2, default=str)


def outcomes(records: Sequence[Record]) -> dict[str, int]:
    """How many operations had each outcome."""
    return dict(sorted(Counter(operation.outcome for operation in of(Operation, records)).items()))
