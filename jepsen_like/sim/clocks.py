"""One member's clocks: a monotonic one that drifts within what is documented, and a wall clock that jumps at will."""

from typing import Final

from coord.jepsen_like.sim.agenda import MS_NS

WALL_START_MS: Final = 1_700_000_000_000


class Clocks:
    """Survives restarts of its member."""

    __slots__ = ("_rate", "wall_offset_ms")

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self.wall_offset_ms = 0
        """Set by whoever makes it jump."""

    def monotonic_ms(self, now_ns: int) -> int:
        return int(now_ns * self._rate) // MS_NS

    def wall_ms(self, now_ns: int) -> int:
        return max(0, WALL_START_MS + now_ns // MS_NS + self.wall_offset_ms)

    def span_ns(self, wait_ms: int) -> int:
        """How long ``wait_ms`` of this clock take."""
        return int(wait_ms * MS_NS / self._rate)
