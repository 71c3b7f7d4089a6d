"""What a nemesis may touch, and the rules that keep its faults within what coord promises to survive.

A minority of disks may be damaged at a time; a disk counts as damaged until its member has been restored by the
others. Without this ledger a run could ruin one disk after another, faster than they are mended, and call that a bug.
"""

import shutil
from collections.abc import Callable
from random import Random
from typing import Final

import trio

from coord.cli.exits import STORAGE
from coord.jepsen_like.live.cluster import Cluster
from coord.jepsen_like.live.links import Links
from coord.jepsen_like.live.observer import Observer

RESTORE_S: Final = 30.0


class NotNow(Exception):
    """This nemesis has nothing to strike at present; the text says why."""


class Arena:
    """The cluster, its links, who leads, and whose disk is damaged."""

    def __init__(self, cluster: Cluster, observer: Observer, say: Callable[[str], None]) -> None:
        self.cluster = cluster
        self.links: Links = cluster.links
        self.members = cluster.members
        self.say = say
        """One line for people."""
        self._observer = observer
        self._damaged: dict[int, None] = {}

    @property
    def leader(self) -> int:
        """Who led when last looked. Raises :class:`NotNow`."""
        if not self._observer.leader:
            raise NotNow("no leader is known")
        return self._observer.leader

    def pick(self, dice: Random, count: int = 1) -> list[int]:
        """``count`` members, drawn."""
        return sorted(dice.sample(self.members, count))

    @property
    def minority(self) -> int:
        """How many members may be lost."""
        return (len(self.members) - 1) // 2

    @property
    def majority(self) -> int:
        return len(self.members) // 2 + 1

    async def pick_to_damage(self, dice: Random) -> int:
        """A member whose disk may be damaged now; it is entered in the ledger. Raises :class:`NotNow`."""
        for member in list(self._damaged):
            await self._check_restored(member)
        if len(self._damaged) >= self.minority:
            if not self.minority:
                raise NotNow("no member may be lost")
            raise NotNow(f"member {min(self._damaged)} is not restored yet")
        member = dice.choice([each for each in self.members if each not in self._damaged])
        self._damaged[member] = None
        return member

    async def restore(self, member: int) -> None:
        """Start it and wait until the others have restored it, or for as long as one may wait.

        A member that refuses its folder with a clear message gets an empty one, as its operator would do.
        """
        process = self.cluster.processes[member]
        self.cluster.may_die[member] = None
        self.cluster.start(member)
        deaths = len(self.cluster.deaths)
        with trio.move_on_after(RESTORE_S):
            while not await self._check_restored(member):
                refused = [
                    death
                    for death in self.cluster.deaths[deaths:]
                    if death.member == member and death.code == STORAGE
                ]
                if refused and not process.running:
                    self.say(f"member {member} refuses its folder; it gets an empty one")
                    deaths = len(self.cluster.deaths)
                    await self.cluster.kill(member)
                    shutil.rmtree(self.cluster.data(member))
                    self.cluster.start(member)
                await trio.sleep(0.1)  # asking is all one can do from outside
        self.cluster.may_die.pop(member, None)

    async def heal(self) -> None:
        """Whatever nemeses did or forgot: links work, members run and are not paused."""
        self.links.heal()
        self.cluster.may_die.clear()
        for member, process in self.cluster.processes.items():
            process.resume()
            self.cluster.start(member)

    async def _check_restored(self, member: int) -> bool:
        """Whether it votes again and holds what the leader had committed; then it is damaged no more."""
        own = await self._observer.ask(member)
        leader = await self._observer.ask(self._observer.leader) if self._observer.leader else None
        if own is None or leader is None or own["role"] == "recovering" or not leader["commit_index"]:
            return False
        if own["term"] != leader["term"] or own["persisted_index"] < leader["commit_index"]:
            return False
        self._damaged.pop(member, None)
        return True
