"""A worker among the app's workers, with what it runs now: for people, who look by ``coord queue workers``."""

import math
import os
import socket
from typing import TYPE_CHECKING, Any, Final

import anyio

from coord.client import Client, CoordError, State
from coord.recipes import membership

if TYPE_CHECKING:
    from coord.recipes.queue.worker.worker import Worker

UPDATE_S: Final = 3.0
"""What it runs is told no more often: every update is told to whoever watches, and its tasks are thousands a second."""
SHOWN_MAX: Final = 20
"""Running tasks that are told by name."""


async def be_listed(worker: "Worker", client: Client) -> None:
    """Until cancelled. Raises :class:`CoordError` when its place is taken away."""
    shown = facts(worker)
    # A worker that was killed leaves its former self behind until that session has expired; tasks are run meanwhile.
    joining = membership.join(
        client, worker.app.layout.workers, worker.name, shown, wait=True, deadline=math.inf
    )
    async with joining as me:
        while True:
            await anyio.sleep(UPDATE_S)
            now = facts(worker)
            if now == shown:
                continue
            try:
                await me.update(now)
            except CoordError:
                if client.state in (State.ENDED, State.CLOSED):
                    raise
                # Somebody has removed it by hand. It works all the same, and nobody sees it.
                return
            shown = now


def facts(worker: "Worker") -> dict[str, Any]:
    """What the others see."""
    attempts = list(worker.attempts.values())
    counted = worker.statistics()
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "queues": list(worker.queues),
        "capabilities": sorted(worker.capabilities),
        "concurrency": worker.concurrency,
        "stopping": worker.stopping,
        "succeeded": counted.succeeded,
        "failed": counted.failed,
        "retried": counted.retried,
        "lost": counted.lost,
        "running": len(attempts),
        "tasks": [
            {
                "id": attempt.running.id,
                "task": attempt.record.task,
                "queue": attempt.running.paths.name,
                "attempt": attempt.running.attempt,
                "since_ms": attempt.began_ms,
            }
            for attempt in attempts[:SHOWN_MAX]
        ],
    }
