"""What tasks report of their progress, on its way to whoever watches. The last of each task counts."""

import json
import math
from typing import Any, Final

import anyio

from coord.client import Client, CoordError, Create, InvalidRequest, Kind, Set
from coord.recipes.queue.plan import Plan, if_so, is_claimed_by, is_missing
from coord.recipes.queue.running import Running
from coord.recipes.scope import log

BYTES_MAX: Final = 16 * 1024
KEEP_MS: Final = 86_400_000
"""How long the last report of a task stands whose worker was lost."""


def report(running: Running, value: bytes) -> Plan[bool]:
    """Tell it, if the task is still this attempt's."""
    path = running.paths.progress(running.id)
    tell = if_so([is_missing(path)], [Create(path, value, Kind.TTL, ttl_ms=KEEP_MS)], [Set(path, value)])
    return Plan((is_claimed_by(running.path, running.token),), (tell,), (), lambda result: result.succeeded)


class Progress:
    """One report is under way at a time; what is reported meanwhile takes the place of what was before it. So there is
    one of each running task at most.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._last: dict[str, tuple[Running, bytes]] = {}
        self._news = anyio.Event()

    def tell(self, running: Running, value: bytes) -> None:
        self._last[running.id] = (running, value)
        self._news.set()

    def forget(self, id: str) -> None:
        """It has ended; what was not told yet is of no interest any more."""
        self._last.pop(id, None)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._news.wait()
            self._news = anyio.Event()
            while self._last:
                id = next(iter(self._last))
                plan = report(*self._last.pop(id))
                try:
                    await self._client.multi(plan.compare, plan.then, plan.otherwise, deadline=math.inf)
                except CoordError as error:
                    # It is for people, and the next one may have more luck; the session's end is told elsewhere.
                    log.warning("the progress of task %s was not told: %s", id, error)


def encode(value: Any) -> bytes:
    """Raises :class:`InvalidRequest` for what JSON can't say, or is too much."""
    try:
        data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"progress is what JSON can say: {error}") from None
    if len(data) > BYTES_MAX:
        raise InvalidRequest(f"progress has {BYTES_MAX} bytes at most, not {len(data)}")
    return data
