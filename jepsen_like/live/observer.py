"""Those who look on: who leads, what the log holds, and whether the members agree at the end.

They ask the members themselves, past the proxies, so that a partition does not blind them; a member that is paused or
dead does not answer, and is asked again.
"""

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import trio

from coord.api.errors import CoordError
from coord.api.ops import LOG, List
from coord.client import Client, connect
from coord.jepsen_like.history import Committed, Digest, Leader, Record
from coord.wire.cbor import dumps

ASK_S: Final = 0.5
LOOK_EACH_S: Final = 0.1
LOG_EACH_S: Final = 0.5
LOG_PAGE: Final = 1_000

T = TypeVar("T")


class Observer:
    """Watches the members at ``addresses`` (by member number) and writes what it sees with ``write``."""

    def __init__(self, addresses: Mapping[int, str], write: Callable[[Record], None]) -> None:
        self._addresses = dict(addresses)
        self._write = write
        self._next_revision = 1
        self.leader = 0
        """That led last time anyone said so; 0 before."""
        self.term = 0
        self.leaders: dict[int, dict[int, None]] = {}
        """Term -> members that said of themselves that they lead it."""
        self.missed_revisions = 0
        """That the members had forgotten before they could be read."""

    async def run(self) -> None:
        """Look until cancelled."""
        async with trio.open_nursery() as nursery:
            for member in self._addresses:
                nursery.start_soon(self._look_at, member)
            nursery.start_soon(self._read_log_forever)

    async def ask(self, member: int) -> Mapping[str, Any] | None:
        """The member's picture of itself; ``None`` when it does not answer soon."""
        return await self._once(member, lambda client: client.status(deadline=ASK_S), ASK_S)

    # --- leaders ---

    async def _look_at(self, member: int) -> None:
        """One connection for as long as it lasts: this runs ten times a second beside a load."""
        while True:
            try:
                async with self._connect(member, ASK_S) as client:
                    while True:
                        self._heard(await client.status(deadline=ASK_S))
                        await trio.sleep(LOOK_EACH_S)
            except CoordError:
                await trio.sleep(LOOK_EACH_S)

    def _heard(self, status: Mapping[str, Any]) -> None:
        if status["role"] != "leader":
            return
        member, term = status["member"], status["term"]
        known = self.leaders.setdefault(term, {})
        if member not in known:
            known[member] = None
            self._write(Leader(member, term, time.monotonic_ns()))
        if term >= self.term:
            self.leader, self.term = member, term

    # --- the log ---

    async def _read_log_forever(self) -> None:
        while True:
            await trio.sleep(LOG_EACH_S)
            for member in self._addresses:
                await self._once(member, self._read_log, 5.0)

    async def read_log(self, deadline_s: float) -> bool:
        """Read what is left of the log, from any member that can say. False: none could in time."""
        with trio.move_on_after(deadline_s):
            while True:
                for member in self._addresses:
                    if await self._once(member, self._read_log, 5.0):
                        return True
                await trio.sleep(LOOK_EACH_S)
        return False

    async def _read_log(self, client: Client) -> bool:
        """From where the last reading ended to the present, linearizably: only what is committed."""
        while True:
            row = await client._read_row(  # raw: the history keeps changes as the members do
                [LOG, self._next_revision, LOG_PAGE], None, False, 5.0
            )
            (first_revision, revisions), store_revision = row[4], row[2]
            if first_revision > self._next_revision and store_revision >= self._next_revision:
                self.missed_revisions += first_revision - self._next_revision
                self._next_revision = first_revision
            for revision, index, _wall_ms, changes in revisions:
                if revision != self._next_revision:  # another task was here while this one waited
                    continue
                self._write(Committed(revision, index, tuple(tuple(each) for each in changes), 0))
                self._next_revision = revision + 1
            if not revisions or self._next_revision > store_revision:
                return True

    # --- agreement ---

    async def read_digests(self, deadline_s: float) -> bool:
        """The whole tree of every member, as a digest at one revision. False: not all could be read in time."""
        digests: dict[int, tuple[int, str]] = {}
        with trio.move_on_after(deadline_s):
            while len(digests) < len(self._addresses) or len({each for each, _ in digests.values()}) > 1:
                for member in self._addresses:
                    found = await self._once(member, _digest, deadline_s)
                    if found is not None:
                        digests[member] = found
                        self._write(Digest(member, *found, time.monotonic_ns()))
            return True
        return False

    # --- connections ---

    async def _once(self, member: int, ask: Callable[[Client], Awaitable[T]], deadline_s: float) -> T | None:
        """What one question on a connection of its own brought; ``None``: no answer."""
        try:
            with trio.move_on_after(deadline_s + ASK_S):
                async with self._connect(member, ASK_S) as client:
                    return await ask(client)
        except CoordError:
            return None  # down, paused, without a quorum: what a torture is made of
        return None

    def _connect(self, member: int, deadline_s: float) -> Any:
        return connect(
            self._addresses[member], session=False, discover=False, name="torture", deadline=deadline_s
        )


async def _digest(client: Client) -> tuple[int, str] | None:
    """``(revision, SHA-256)`` of this member's tree, read locally; ``None`` if it changed meanwhile."""
    digest = hashlib.sha256()
    revisions: dict[int, None] = {}
    paths = ["/"]
    while paths:
        path = paths.pop()
        after: str | None = None
        more = True
        while more:
            op = List(path, values=True, stats=True, limit=1_000, after=after)
            row = await client._read_row(op.row(), None, True, 5.0)
            revisions[row[2]] = None
            children, more = row[4]
            digest.update(dumps([path, children]))
            names = [name for name, _value, _stat in children]
            after = names[-1] if names else None
            base = "" if path == "/" else path
            # A stat's tenth number is its count of children: leaves need not be asked.
            paths += [f"{base}/{name}" for name, _value, stat in children if stat[9]]
    if len(revisions) != 1:
        return None
    [revision] = revisions
    return revision, digest.hexdigest()
