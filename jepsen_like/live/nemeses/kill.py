"""kill -9: processes end between any two instructions; what they had written to the system stays."""

from collections.abc import Sequence
from random import Random
from typing import Final

import trio

from coord.jepsen_like.live.arena import Arena
from coord.jepsen_like.live.nemeses.nemesis import PROCESSES, Hit, Plain

LOOP_KILLS_MAX: Final = 6
LOOP_UP_MS_MAX: Final = 1_500


class Kill(Plain):
    """``whom``: ``one``, ``leader`` or ``all``. Started again at the end."""

    family = "kill"
    hands_on = PROCESSES

    def __init__(self, whom: str) -> None:
        self.name = f"kill-{whom}"
        self.hold_ms = (0, 500) if whom == "all" else (0, 3_000)
        self._whom = whom

    async def begin(self, arena: Arena, dice: Random) -> Hit:
        doomed = victims(self._whom, arena, dice)
        async with trio.open_nursery() as nursery:
            for member in doomed:
                nursery.start_soon(arena.cluster.kill, member)

        async def end() -> None:
            for member in doomed:
                arena.cluster.start(member)

        return Hit(tuple(doomed), f"kill -9 of {_names(doomed)}", end)


class KillLoop(Plain):
    """One member is killed again and again, also while it starts."""

    name = "kill-loop"
    family = "kill"
    hands_on = PROCESSES
    hold_ms = (0, 0)

    async def begin(self, arena: Arena, dice: Random) -> Hit:
        [member] = arena.pick(dice)
        kills = dice.randint(2, LOOP_KILLS_MAX)

        async def end() -> None:
            try:
                for _ in range(kills):
                    await arena.cluster.kill(member)
                    arena.cluster.start(member)
                    await trio.sleep(dice.uniform(0, LOOP_UP_MS_MAX) / 1000)  # how far it gets is the point
            finally:
                arena.cluster.start(member)

        return Hit((member,), f"kill -9 of member {member}, {kills} times", end)


def victims(whom: str, arena: Arena, dice: Random) -> Sequence[int]:
    """The members that ``whom`` means now. Raises :class:`~coord.jepsen_like.live.arena.NotNow`."""
    if whom == "leader":
        return [arena.leader]
    if whom == "all":
        return list(arena.members)
    return arena.pick(dice, arena.majority if whom == "majority" else 1)


def _names(members: Sequence[int]) -> str:
    return ("member " if len(members) == 1 else "members ") + ", ".join(str(each) for each in members)
