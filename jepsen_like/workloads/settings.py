"""What a client driver is told at its start."""

from dataclasses import dataclass, field

from coord.client.core.settings import CoreSettings


@dataclass(frozen=True, slots=True)
class DriverSettings:
    """All times are of the client's own clock."""

    deadline_ms: int = 5_000
    """For each request; 0: none. A write that was sent and not answered by then is ``unknown``."""
    core: CoreSettings = field(default_factory=CoreSettings)
    """Its ``session`` is the process's to say."""
    clock_rate: float = 1.0
    """Seconds of the client's clock in one of the history's: it may drift. The client allows for one percent."""
    refusal_ms: int = 1
    """What the library refuses by itself costs so long, lest a process that insists stand still in time."""
