"""Power cuts: members are killed, and their disks forget what was not synced, all of it or some of its sectors.

Safe on all members at once: what was acknowledged was synced by a majority.
"""

import os
import subprocess
import sys
from random import Random

from coord.jepsen_like.live.arena import Arena, NotNow
from coord.jepsen_like.live.cluster import Cluster
from coord.jepsen_like.live.nemeses.nemesis import PROCESSES, Hit, Plain


class PowerCut(Plain):
    """Each member's folder is a FUSE file system of ours, from the beginning, unless another nemesis mounted one."""

    name = "power-cut"
    family = "power"
    hands_on = PROCESSES
    hold_ms = (0, 2_000)

    def __init__(self) -> None:
        self._disks: dict[int, subprocess.Popen[str]] = {}

    def possible(self) -> str | None:
        if not os.path.exists("/dev/fuse"):
            return "there is no /dev/fuse"
        return None if os.geteuid() == 0 else "mounting a FUSE file system takes root"

    def prepare(self, cluster: Cluster) -> None:
        for member in cluster.members:
            folder = cluster.data(member)
            if folder.exists():
                continue  # it is on a small disk, for one
            folder.mkdir()
            disk = self._disks[member] = subprocess.Popen(
                [sys.executable, "-m", "coord.jepsen_like.live.unsynced_fuse", str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            if _line(disk) != "mounted":
                raise OSError(f"cannot mount a FUSE file system on {folder}")

    def clean(self, cluster: Cluster) -> None:
        for member, disk in self._disks.items():
            subprocess.run(["umount", "--lazy", cluster.data(member)], check=False)
            disk.communicate()  # closes its stdin, which ends it
        self._disks.clear()

    async def begin(self, arena: Arena, dice: Random) -> Hit:
        if not self._disks:
            raise NotNow("no member's disk is ours")
        chosen = sorted(dice.sample(sorted(self._disks), dice.randint(1, len(self._disks))))
        for member in chosen:
            await arena.cluster.kill(member)
        took = [f"member {member}: {_cut(self._disks[member], dice)}" for member in chosen]

        async def end() -> None:
            for member in chosen:
                arena.cluster.start(member)

        return Hit(tuple(chosen), f"power cut; {', '.join(took)}", end)


def _cut(disk: "subprocess.Popen[str]", dice: Random) -> str:
    """What it took. Answered at once: it is memory."""
    assert disk.stdin is not None
    disk.stdin.write(f"{dice.getrandbits(32)}\n")
    disk.stdin.flush()
    return _line(disk)


def _line(disk: "subprocess.Popen[str]") -> str:
    assert disk.stdout is not None
    return disk.stdout.readline().strip()
