"""SIGSTOP and SIGCONT: a process stands still while time goes on, and then finds all that it was sent meanwhile.

What stale reads are made of, and leaders that do not know that they were deposed.
"""

from random import Random

from coord.jepsen_like.live.arena import Arena
from coord.jepsen_like.live.nemeses.kill import victims
from coord.jepsen_like.live.nemeses.nemesis import PROCESSES, Hit, Plain


class Pause(Plain):
    """``whom``: ``one``, ``leader``, ``majority`` or ``all``."""

    family = "pause"
    hands_on = PROCESSES

    def __init__(self, whom: str) -> None:
        self.name = f"pause-{whom}"
        self.hold_ms = (50, 4_000)
        self._whom = whom

    async def begin(self, arena: Arena, dice: Random) -> Hit:
        chosen = victims(self._whom, arena, dice)
        for member in chosen:
            arena.cluster.processes[member].pause()

        async def end() -> None:
            for member in chosen:
                arena.cluster.processes[member].resume()

        who = "all members" if self._whom == "all" else f"{', '.join(str(each) for each in chosen)}"
        return Hit(tuple(chosen), f"SIGSTOP of {who}", end)
