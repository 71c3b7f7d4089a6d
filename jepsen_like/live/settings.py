"""What a torture is told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEFAULT_NEMESES: Final = ("kill", "pause", "partition")

OFTEN: Final = "[storage]\nsnapshot_entries = 300\ncatch_up_bytes = 20000\nsegment_bytes = 65536\n"
"""A snapshot every few seconds, and hardly any log behind it: by default a run would see none."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One run. Equal settings draw equal schedules and equal clients; what real processes make of them differs."""

    workload: str = "mixed"
    nemeses: tuple[str, ...] = DEFAULT_NEMESES
    """Names and families; empty: none."""
    members: int = 3
    seconds: float = 60.0
    """Of faults. Healing, the last reads and the verdict come on top."""
    calm_s: float = 3.0
    """Of load after the last fault: what heals is seen to heal."""
    rate: float = 200.0
    """Requests a second of all clients together, as far as they are answered."""
    clients: int = 6
    seed: int = 0
    out: Path = Path("coord-torture")
    """Gets the history, the timeline, the report, and the members' own words."""
    cluster: tuple[str, ...] = ()
    """Endpoints of a cluster that is not ours: no nemesis then."""
    deadline_ms: int = 5_000
    """Of each request."""
    session_timeout_ms: int = 4_000
    config: str = OFTEN
    """TOML tables for every member's configuration."""
    keep_data: bool = False
    """The members' folders stay in ``out`` after a run without violations, too."""

    def command(self) -> str:
        """The line that runs it again."""
        parts = [
            "coord",
            "torture",
            "--workload",
            self.workload,
            "--nemesis",
            ",".join(self.nemeses) or "none",
        ]
        parts += [
            "--members",
            str(self.members),
            "--seconds",
            f"{self.seconds:g}",
            "--rate",
            f"{self.rate:g}",
        ]
        parts += ["--clients", str(self.clients), "--seed", str(self.seed)]
        if self.cluster:
            parts += ["--cluster", ",".join(self.cluster), "--i-know-this-writes-to-my-cluster"]
        return " ".join(parts)
