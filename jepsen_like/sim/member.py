"""One member over all its lives: its number, its disk, its clocks, and what is planned for it."""

from random import Random

from coord.jepsen_like.sim.clocks import Clocks
from coord.jepsen_like.sim.disk import SimDisk
from coord.jepsen_like.sim.life import Life
from coord.raft.types import Persist


class Member:
    __slots__ = (
        "clocks",
        "dice",
        "disk",
        "empty",
        "falls_with_power",
        "harmed",
        "held",
        "in_flight",
        "life",
        "lives",
        "number",
        "power_was_cut",
        "quick_deaths",
        "slow_disk",
        "start_planned",
    )

    def __init__(self, number: int, disk: SimDisk, clocks: Clocks, dice: Random) -> None:
        self.number = number
        self.disk = disk
        self.clocks = clocks
        self.dice = dice
        self.life: Life | None = None
        self.lives = 0
        self.held = False
        """It is not to start, nor to go on, until somebody says so."""
        self.start_planned = False
        self.in_flight: list[Persist] = []
        """What the last life had given to its disk and not seen synced: any first part of it may be there."""
        self.power_was_cut = False
        """With the last death."""
        self.falls_with_power = False
        """Should its process end in the middle of a disk operation, that was the power."""
        self.harmed = False
        """Its disk was damaged or replaced at some time: it may find damage."""
        self.quick_deaths = 0
        """So many of its next lives are short."""
        self.slow_disk = False
        self.empty = True
        """No cluster was joined yet with the disk that it has."""
