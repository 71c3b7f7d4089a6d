"""System calls that fail, by libfiu: a sync that the disk refuses, writes that fall short, a disk without room.

A member must end itself after a failed write or sync of its log, so these deaths are expected: it is started again.
"""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

import trio

from coord.jepsen_like.live.arena import Arena, NotNow
from coord.jepsen_like.live.cluster import Cluster
from coord.jepsen_like.live.nemeses.nemesis import PROCESSES, Hit, Plain
from coord.jepsen_like.live.nemeses.preload import find_library, preload

LIBRARIES: Final[Sequence[Sequence[str]]] = tuple(
    tuple(f"{folder}/{name}" for folder in ("/usr/lib/fiu", "/usr/lib/*/fiu", "/usr/local/lib/fiu"))
    for name in ("fiu_run_preload.so", "fiu_posix_preload.so")
)

FAULTS: Final = {
    "sync": (("posix/io/sync/fsync", "posix/io/sync/fdatasync"), errno.EIO),
    "short-write": (("posix/io/rw/pwrite/reduce",), 0),
    "no-space": (("posix/io/rw/pwrite",), errno.ENOSPC),
}
"""Points of failure, and the error that they give."""


ANSWER_S: Final = 1.0


class IoErrors(Plain):
    """``fault``: one of :data:`FAULTS`, in some calls of one member."""

    family = "io"
    hands_on = PROCESSES

    def __init__(self, fault: str) -> None:
        self.name = f"io-{fault}"
        self.hold_ms = (200, 3_000)
        self._fault = fault

    def possible(self) -> str | None:
        missing = [patterns[0] for patterns in LIBRARIES if find_library(patterns) is None]
        return f"libfiu is not installed (Debian: fiu-utils; {missing[0]})" if missing else None

    def prepare(self, cluster: Cluster) -> None:
        for process in cluster.processes.values():
            preload(process, [find_library(patterns) or "" for patterns in LIBRARIES])
            process.environment["FIU_CTRL_FIFO"] = str(_control(cluster, process.member))

    async def begin(self, arena: Arena, dice: Random) -> Hit:
        [member] = arena.pick(dice)
        points, error = FAULTS[self._fault]
        probability = dice.choice((0.05, 0.3, 1.0)) if error else dice.choice((0.3, 0.9))
        process = arena.cluster.processes[member]
        pid = process.pid
        commands = [
            f"enable_random name={point},probability={probability},failinfo={error}" for point in points
        ]
        arena.cluster.may_die[member] = None
        try:
            await _tell(arena.cluster, member, pid, commands)
        except OSError as failure:
            arena.cluster.may_die.pop(member, None)
            raise NotNow(f"member {member} does not listen to libfiu now: {failure}") from failure

        async def end() -> None:
            try:
                if process.pid == pid:
                    await _tell(arena.cluster, member, pid, [f"disable name={point}" for point in points])
            except OSError:
                await arena.cluster.kill(member)  # it is ending already, or would go on with the fault
            arena.cluster.start(member)
            arena.cluster.may_die.pop(member, None)

        what = ", ".join(points)
        return Hit((member,), f"member {member}: {what} fails with probability {probability}", end)

    def clean(self, cluster: Cluster) -> None:
        for path in cluster.folder.glob("fiu-*"):
            path.unlink()


def _control(cluster: Cluster, member: int) -> Path:
    return cluster.folder / f"fiu-{member}"


async def _tell(cluster: Cluster, member: int, pid: int, commands: Sequence[str]) -> None:
    """Through the library's pipes; it answers each line. Raises :class:`OSError` if nobody listens there."""
    base = f"{_control(cluster, member)}-{pid}"
    # The library opens the second pipe before it reads the first: both must be open before it hears anything.
    answers = os.open(f"{base}.out", os.O_RDONLY | os.O_NONBLOCK)
    try:
        orders = os.open(f"{base}.in", os.O_WRONLY | os.O_NONBLOCK)
        try:
            for command in commands:
                os.write(orders, f"{command}\n".encode())
                with trio.move_on_after(ANSWER_S) as limit:
                    await trio.lowlevel.wait_readable(answers)
                if limit.cancelled_caught or os.read(answers, 64).strip() != b"0":
                    raise OSError(f"libfiu did not take {command!r}")
        finally:
            os.close(orders)
    finally:
        os.close(answers)
