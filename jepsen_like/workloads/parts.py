"""What several workloads are made of."""

from collections.abc import Generator
from typing import Any

from coord.jepsen_like.history import Operation
from coord.jepsen_like.workloads.workload import Ask, Pause, Process, Step

AGAIN_MS = 50


def insist(ask: Ask, *enough: str) -> Generator[Step, Any, Operation]:
    """Ask until it is ``ok``, or refused with one of the errors that are ``enough``: for what may be done twice."""
    while True:
        operation: Operation = yield ask
        if operation.outcome == "ok" or operation.error in enough:
            return operation
        yield Pause(AGAIN_MS)


def think(me: Process, at_most_ms: int) -> Pause:
    return Pause(me.dice.randint(0, at_most_ms))
