"""A full disk: one member's folder lies on a small file system, which something else fills, and later gives back."""

import os
import shutil
import subprocess
from pathlib import Path
from random import Random
from typing import Final

from coord.jepsen_like.live.arena import Arena
from coord.jepsen_like.live.cluster import Cluster
from coord.jepsen_like.live.nemeses.nemesis import PROCESSES, Hit, Plain

SIZE: Final = "512m"
"""Of memory, and only what is written of it is taken: a log's segment is 64 MiB, and two may be there."""


class FullDisk(Plain):
    """Always the last member's: its folder is on a tmpfs from the beginning."""

    name = "full-disk"
    family = "disk"
    hands_on = PROCESSES
    hold_ms = (500, 5_000)

    def possible(self) -> str | None:
        if shutil.which("mount") is None:
            return "there is no mount command"
        return None if os.geteuid() == 0 else "mounting a tmpfs takes root"

    def prepare(self, cluster: Cluster) -> None:
        folder = _folder(cluster)
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "coord-torture", folder], check=True)

    def clean(self, cluster: Cluster) -> None:
        if os.path.ismount(_folder(cluster)):
            subprocess.run(["umount", "--lazy", _folder(cluster)], check=True)

    async def begin(self, arena: Arena, dice: Random) -> Hit:
        member = arena.members[-1]
        ballast = _folder(arena.cluster) / "ballast"
        arena.cluster.may_die[member] = None
        leave_bytes = dice.choice((0, 4_096, 100_000))
        usage = os.statvfs(_folder(arena.cluster))
        count = max(usage.f_bavail * usage.f_frsize - leave_bytes, 0)
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, count)

        async def end() -> None:
            ballast.unlink(missing_ok=True)
            arena.cluster.start(member)
            arena.cluster.may_die.pop(member, None)

        return Hit((member,), f"the disk of member {member} has {leave_bytes} bytes left", end)


def _folder(cluster: Cluster) -> Path:
    return cluster.data(cluster.members[-1])
