"""Who looks at the clock for attempts that do not end in their time."""

import logging
import math
import time
from collections.abc import Mapping

import anyio

from coord.recipes.queue.worker.attempt import Attempt

log = logging.getLogger("coord.worker")


class Limits:
    """To be made in the worker's event loop."""

    def __init__(self, attempts: Mapping[str, Attempt]) -> None:
        self._attempts = attempts
        self._news = anyio.Event()
        self._earliest = math.inf
        """When the first of the attempts is overdue."""

    def began(self, attempt: Attempt) -> None:
        """Its job begins, and so its time."""
        if attempt.kill_at < self._earliest:
            self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._news = anyio.Event()
            now = time.monotonic()
            self._earliest = min([each.kill_at for each in self._attempts.values()], default=math.inf)
            if self._earliest > now:
                with anyio.move_on_after(self._earliest - now):
                    await self._news.wait()
                continue
            for attempt in list(self._attempts.values()):
                if attempt.kill_at <= now:
                    log.error("%s has not ended in time, and is ended without it", attempt)
                    attempt.overdue()
