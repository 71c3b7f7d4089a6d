"""How much may be broken at a time, so that what coord promises can be demanded all the while.

No protocol keeps what every disk has lost. coord promises (``coord/raft/recovering.py``, ``coord/disk``):

- A member whose disk lost something that it had synced (damage, or an empty disk) is *unsound* until its peers have
  restored it. In every configuration that is in force anywhere, the sound must remain a majority of the voters.
- Damage is always told, with one stated exception: the witness of the last batch is not synced, so a power cut and a
  bad sector *together* may lose a tail quietly. So a disk is damaged only under a process that was killed, not with a
  power cut, and one piece of it at a time: the next only after a life that has looked at it.
- A member alone has no peers to restore it: its disk is not damaged.
"""

from typing import TYPE_CHECKING

from coord.jepsen_like.sim.ghost import is_quorum
from coord.raft.configuration import decode_configuration
from coord.raft.types import ENTRY_CONFIGURATION, Configuration

if TYPE_CHECKING:
    from coord.jepsen_like.sim.life import Life
    from coord.jepsen_like.sim.simulation import Simulation


class Budget:
    def __init__(self, sim: "Simulation") -> None:
        self._sim = sim
        self.unsound: dict[int, None] = dict.fromkeys(sim.members)
        """Members that may have promised what they do not hold; also those that belong to no cluster yet, for whoever
        is late to its forming joins it recovering."""
        self._known: dict[int, list[Configuration]] = {
            number: [sim.world.configuration] for number in sim.members
        }
        """By member: the configuration that it goes by; of one that died, all that it may wake up with."""

    def may_damage(self, number: int) -> bool:
        """Whether the sound remain a majority everywhere without member ``number``."""
        if number in self.unsound or self._sim.world.voters < 2:
            return False
        return self.suffice({each: None for each in self._sim.members if each != number})

    def suffice(self, members: dict[int, None]) -> bool:
        """Whether the sound among ``members`` are a quorum of every configuration that is in force anywhere."""
        sound = {each: None for each in members if each not in self.unsound}
        return all(is_quorum(each, sound) for each in self.configurations())

    def configurations(self) -> list[Configuration]:
        for number in self._sim.members:
            life = self._sim.member(number).life
            if life is not None and life.replica is not None:
                self._known[number] = [life.replica.state.raft.configuration]
        return [each for known in self._known.values() for each in known]

    def died(self, life: "Life") -> None:
        """What is committed there stays; of what is not, any first part may be on its disk."""
        if life.replica is None:
            return
        number, raft = life.member.number, life.replica.state.raft
        tail = self._sim.ghosts.members[number].held[raft.commit_index :]
        self._known[number] = [
            raft.configuration_at(raft.commit_index),
            *[decode_configuration(each.data) for each in tail if each.kind == ENTRY_CONFIGURATION],
        ]

    def damaged(self, number: int) -> None:
        self.unsound[number] = None
        self._sim.member(number).harmed = True

    def opened(self, number: int, recovering: bool) -> None:
        """A folder was read: is anything missing?"""
        if recovering:
            self.unsound[number] = None
        elif not self._sim.member(number).empty:
            self.unsound.pop(number, None)

    def forming(self, number: int, recovering: bool) -> None:
        """An empty folder is about to become one of the cluster."""
        if recovering:
            # Or so it must assume: it died before it had a cluster, and the others went on. Noted before that is on its
            # disk: should it die in between, its next life will be told of damage.
            self.damaged(number)

    def formed(self, number: int, recovering: bool) -> None:
        """It has become one."""
        self._sim.member(number).empty = False
        if not recovering:
            self.unsound.pop(number, None)

    def restored(self, number: int) -> None:
        self.unsound.pop(number, None)
