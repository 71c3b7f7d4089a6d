"""Bits that flip, files that lose their end, disks that are lost: a minority at a time (``arena.py`` keeps the ledger).

A member that runs does not look at its log again, so what was damaged under it shows at its next start: the strike ends
with one.
"""

import os
import shutil
from pathlib import Path
from random import Random
from typing import Final

from coord.jepsen_like.live.arena import Arena, NotNow
from coord.jepsen_like.live.nemeses.nemesis import PROCESSES, Hit, Plain

KEPT: Final = ("lock", "ballast")
"""Files that hold nothing of the member's."""
LOGS: Final = 0.7
"""How often it is the log or a snapshot: they are most of a disk, and the least of its files."""


class Rot(Plain):
    """``how``: ``flip`` or ``truncate``; ``when``: ``stopped`` or ``running``."""

    family = "disk"
    hands_on = PROCESSES

    def __init__(self, how: str, when: str) -> None:
        self.name = f"{how}-{when}"
        self.hold_ms = (0, 2_000)
        self._how, self._when = how, when

    async def begin(self, arena: Arena, dice: Random) -> Hit:
        member = await arena.pick_to_damage(dice)
        if self._when == "stopped":
            await arena.cluster.kill(member)
        try:
            what = damage(arena.cluster.data(member), self._how, dice)
        except NotNow:
            arena.cluster.start(member)
            raise

        async def end() -> None:
            await arena.cluster.kill(member)
            await arena.restore(member)

        return Hit((member,), f"member {member} ({self._when}): {what}", end)


class Wipe(Plain):
    """A member loses its disk, and comes back under its old name with an empty one."""

    name = "wipe"
    family = "disk"
    hands_on = PROCESSES
    hold_ms = (0, 1_000)

    async def begin(self, arena: Arena, dice: Random) -> Hit:
        member = await arena.pick_to_damage(dice)
        await arena.cluster.kill(member)
        for path in arena.cluster.data(member).iterdir():  # the folder itself may be a mount
            if path.name not in KEPT:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

        async def end() -> None:
            await arena.restore(member)

        return Hit((member,), f"the disk of member {member} is empty", end)


def damage(folder: Path, how: str, dice: Random) -> str:
    """Damage one file in ``folder``; says what was done. Raises :class:`NotNow` if there is none."""
    files = [path for path in sorted(folder.iterdir()) if path.name not in KEPT and path.stat().st_size]
    if not files:
        raise NotNow(f"there is no file in {folder}")
    logs = [path for path in files if path.suffix in (".log", ".snap")]
    path = dice.choice(logs if logs and dice.random() < LOGS else files)
    size = path.stat().st_size
    if path.suffix == ".log":
        size = len(path.read_bytes().rstrip(b"\0")) or size  # behind the last record there are zeros
    # Not O_TRUNC, not a copy: the member may have this very file open.
    file = os.open(path, os.O_RDWR)
    try:
        if how == "truncate":
            keep = dice.randrange(size)
            os.ftruncate(file, keep)
            return f"{path.name} cut to {keep} bytes, of {size}"
        flips = dice.choice((1, 1, 8))
        offset = dice.randrange(size)
        for _ in range(flips):
            at = min(offset + dice.randrange(flips), size - 1)
            byte = os.pread(file, 1, at)
            if byte:
                os.pwrite(file, bytes([byte[0] ^ (1 << dice.randrange(8))]), at)
        return f"{flips} bits flipped in {path.name}, from {offset} on"
    finally:
        os.close(file)
