"""A number that many add to, and ids that are never given twice: :mod:`coord.recipes.counter`, for plain threads.

*What it guarantees, what it does not, what to do about that*: as there. Any number of threads may share one.

::

    from coord.client.blocking import connect
    from coord.recipes.blocking.counter import Counter, Sequence

    with connect() as client:
        print(Counter(client, "/app/hits").add(2))  # → 2
        print(Sequence(client, "/app/order-ids").next())  # → 1
"""

import os
import threading
from functools import partial
from time import monotonic
from typing import NoReturn

from coord.client import DeadlineExceeded, InvalidRequest
from coord.client.blocking import Client
from coord.recipes.arguments import checked_seconds
from coord.recipes.blocking.bridge import Bridge
from coord.recipes.counter import COPIED, FORKED, checked_block
from coord.recipes.counter import Counter as AsyncCounter


class Counter:
    """A whole number at ``path``: ``Counter(client, "/app/hits")``. It is ``initial`` where there is no znode."""

    def __init__(self, client: Client, path: str, *, initial: int = 0) -> None:
        self._bridge = Bridge(client)
        self._counter = AsyncCounter(self._bridge.client, path, initial=initial)

    @property
    def path(self) -> str:
        return self._counter.path

    def get(self, *, deadline: float | None = None) -> int:
        """The number now (the read is linearizable)."""
        return self._bridge.run(partial(self._counter.get, deadline=deadline), deadline)

    def add(self, amount: int = 1, *, deadline: float | None = None) -> int:
        """Add ``amount``, which may be negative; returns the number right after that.

        One request; a second one after somebody added another amount than 1 since this counter last heard of it.
        """
        return self._bridge.run(partial(self._counter.add, amount, deadline=deadline), deadline)

    def set(self, number: int, *, deadline: float | None = None) -> None:
        """Make it ``number``, whatever it was."""
        self._bridge.run(partial(self._counter.set, number, deadline=deadline), deadline)

    def compare_and_set(self, expected: int, number: int, *, deadline: float | None = None) -> bool:
        """Make it ``number`` if it is ``expected``; says whether it was."""
        work = partial(self._counter.compare_and_set, expected, number, deadline=deadline)
        return self._bridge.run(work, deadline)


class Sequence:
    """Ids, each given once among all who use ``path``: ``Sequence(client, "/app/order-ids")``, from 1 on, growing.

    They are taken from the counter at ``path`` in blocks, so most cost nothing: one request for each ``block``.
    Which size each process has is its own matter. Threads may share one.
    """

    def __init__(self, client: Client, path: str, *, block: int = 1_000) -> None:
        self._block = checked_block(block)
        self._bridge = Bridge(client)
        self._counter = Counter(client, path)
        self._left = iter(range(0))
        self._taking = threading.Lock()
        self._process = os.getpid()

    def next(self, *, deadline: float | None = None) -> int:
        """The next id. *Ctrl-C* at worst leaves a gap."""
        if os.getpid() != self._process:
            raise InvalidRequest(FORKED)
        seconds = checked_seconds(self._bridge.seconds(deadline))
        ends_at = monotonic() + seconds
        # Its own iterator and its own lock: an id of a block costs no way to the client's thread.
        if not self._taking.acquire(timeout=-1 if seconds > threading.TIMEOUT_MAX else max(seconds, 0.0)):
            raise DeadlineExceeded(
                f"no id of {self._counter.path} in time; at worst there is a gap", outcome="refused"
            )
        try:
            found = next(self._left, None)
            if found is None:
                last = self._counter.add(self._block, deadline=max(ends_at - monotonic(), 0.0))
                self._left = iter(range(last - self._block + 1, last + 1))
                found = next(self._left)
            return found
        finally:
            self._taking.release()

    def __reduce__(self) -> NoReturn:
        raise InvalidRequest(COPIED)
