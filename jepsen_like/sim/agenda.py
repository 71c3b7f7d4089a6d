"""Virtual time: what is to happen, and when. Nothing happens but what stands here.

Things that are due at the same nanosecond happen in the order in which they were entered.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Final

MICROSECOND_NS: Final = 1_000
MS_NS: Final = 1_000_000
SECOND_NS: Final = 1_000_000_000

START_NS: Final = SECOND_NS
"""Not 0: a time of 0 means "unknown" in a history."""


class Agenda:
    """``at(when_ns, handler, *args)``; handlers are bound methods with their arguments beside them, not closures."""

    __slots__ = ("_heap", "_order", "events", "now_ns", "stopped")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0
        self.now_ns = START_NS
        self.events = 0
        """How many have happened."""
        self.stopped = False
        """Nothing more is to happen."""

    def at(self, when_ns: int, handler: Callable[..., None], *args: Any) -> None:
        """Have ``handler(*args)`` called at ``when_ns``; now, if that is past."""
        self._order += 1
        heappush(self._heap, (max(when_ns, self.now_ns), self._order, handler, args))

    def after(self, wait_ns: int, handler: Callable[..., None], *args: Any) -> None:
        self._order += 1
        heappush(self._heap, (self.now_ns + wait_ns, self._order, handler, args))

    def run_until(self, end_ns: int) -> None:
        """Let time pass until ``end_ns``, or until something sets ``stopped``."""
        heap = self._heap
        while heap and heap[0][0] <= end_ns and not self.stopped:
            self.now_ns, _, handler, args = heappop(heap)
            self.events += 1
            handler(*args)
        if not self.stopped:
            self.now_ns = max(self.now_ns, end_ns)

    def __len__(self) -> int:
        return len(self._heap)
