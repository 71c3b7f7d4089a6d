"""Clocks that lie, by libfaketime: wall clocks that jump, and machines whose time runs slow."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

from coord.jepsen_like.live.arena import Arena
from coord.jepsen_like.live.cluster import Cluster
from coord.jepsen_like.live.nemeses.nemesis import CLOCKS, PROCESSES, Hit, Plain
from coord.jepsen_like.live.nemeses.preload import find_library, preload

LIBRARY: Final[Sequence[str]] = (
    "/usr/lib/*/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
)
JUMPS: Final = ("+2s", "-2s", "+300s", "-300s", "+30d", "-30d")
RATES: Final = (0.5, 0.8, 0.995, 1.005)
"""A slow clock ends sessions late, which is allowed. One that is faster than true time by more than the percent that
clients allow for ends them early, and no service without common time can help that."""


class _Faketime(Plain):
    def possible(self) -> str | None:
        return None if find_library(LIBRARY) else "libfaketime is not installed (Debian: faketime)"


class ClockJump(_Faketime):
    """Wall clocks of some members jump, and jump back. Nothing that is true may depend on them."""

    name = "clock-jump"
    family = "clock"
    hands_on = CLOCKS
    hold_ms = (500, 5_000)

    def prepare(self, cluster: Cluster) -> None:
        for process in cluster.processes.values():
            preload(process, [find_library(LIBRARY) or ""])
            clock = _clock(cluster, process.member)
            clock.write_text("+0\n")
            process.environment |= {
                "FAKETIME_TIMESTAMP_FILE": str(clock),
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }

    async def begin(self, arena: Arena, dice: Random) -> Hit:
        chosen = arena.pick(dice, dice.randint(1, len(arena.members)))
        jumps = {member: dice.choice(JUMPS) for member in chosen}
        for member, jump in jumps.items():
            _clock(arena.cluster, member).write_text(f"{jump}\n")

        async def end() -> None:
            for member in chosen:
                _clock(arena.cluster, member).write_text("+0\n")

        what = ", ".join(f"member {member} {jump}" for member, jump in jumps.items())
        return Hit(tuple(chosen), f"wall clocks jump: {what}", end)


class ClockRate(_Faketime):
    """A member is restarted on a machine whose clocks, the monotonic one too, run at another rate; and later back."""

    name = "clock-rate"
    family = "clock"
    hands_on = PROCESSES
    hold_ms = (1_000, 8_000)

    async def begin(self, arena: Arena, dice: Random) -> Hit:
        [member] = arena.pick(dice)
        process = arena.cluster.processes[member]
        before = dict(process.environment)
        rate = dice.choice(RATES)
        await arena.cluster.kill(member)
        for name in ("FAKETIME_TIMESTAMP_FILE", "FAKETIME_CACHE_DURATION", "FAKETIME_DONT_FAKE_MONOTONIC"):
            process.environment.pop(name, None)
        preload(process, [find_library(LIBRARY) or ""])
        process.environment["FAKETIME"] = f"+0 x{rate}"
        arena.cluster.start(member)

        async def end() -> None:
            await arena.cluster.kill(member)
            process.environment = before
            arena.cluster.start(member)

        return Hit((member,), f"member {member} restarted, its clocks at {rate} of true time", end)


def _clock(cluster: Cluster, member: int) -> Path:
    return cluster.folder / f"member-{member}.clock"
