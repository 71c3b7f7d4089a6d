"""Mixed: several workloads at once, each process taking a few steps of the one and then of the other.

What breaks where the parts meet: a watch beside a flood of writes on one connection, a session's end in the middle
of somebody's transaction. A drawn part of all workloads (a swarm), so that each also gets to run without the others.
"""

from collections.abc import Sequence
from random import Random

from coord.jepsen_like.workloads.workload import Check, Process, Script, Workload


class Mixed:
    name = "mixed"

    def __init__(self, dice: Random, parts: Sequence[Workload]) -> None:
        """``parts``: of different names."""
        self.parts = list(parts)
        self._most_steps = dice.choice((1, 5, 20))
        self.checks: tuple[Check, ...] = tuple(check for part in parts for check in part.checks)

    def setup(self) -> Script:
        for part in self.parts:
            yield from part.setup()

    def process(self, me: Process) -> Script:
        scripts = [part.process(me) for part in self.parts]
        outcomes = [None for _ in scripts]
        while scripts:
            chosen = me.dice.randrange(len(scripts))
            try:
                for _ in range(me.dice.randint(1, self._most_steps)):
                    outcomes[chosen] = yield scripts[chosen].send(outcomes[chosen])
            except StopIteration:
                del scripts[chosen], outcomes[chosen]

    def finish(self, me: Process) -> Script:
        for part in self.parts:
            yield from part.finish(me)
