"""Slows a workload's process to a rate: without it, a closed loop asks as fast as it is answered."""

from random import Random

from coord.jepsen_like.workloads.workload import (
    EndSession,
    MoveAway,
    Pause,
    Say,
    Script,
    Unwatch,
    Wait,
    Watch,
)

_FREE = (Pause, Wait, Say, Watch, Unwatch, EndSession, MoveAway)
"""Steps that ask nothing of the tree."""


def paced(script: Script, rate: float, dice: Random) -> Script:
    """``script``, with a pause before each ask: at most ``rate`` a second on average, unevenly."""
    outcome = None
    try:
        while True:
            try:
                step = script.send(outcome)
            except StopIteration:
                return
            if not isinstance(step, _FREE):
                yield Pause(round(dice.expovariate(rate) * 1000))
            outcome = yield step
    finally:
        script.close()
