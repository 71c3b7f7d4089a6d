"""What waits because it is more than can be done now: by who asked for it, in turn.

What one of them asks for stays in its order. Between them there is none to keep, so each comes to its turn: who asks
for one small thing waits for a turn of the others, and not for all that they asked for before.
"""

from collections import deque
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


class Turns(Generic[_Item]):
    """Plain state. ``who`` is a number: a connection, a session."""

    __slots__ = ("_queues", "count")

    def __init__(self) -> None:
        self._queues: dict[int, deque[_Item]] = {}
        """None empty. Whoever is first is next."""
        self.count = 0
        """Of all that waits."""

    def add(self, who: int, item: _Item) -> None:
        queue = self._queues.get(who)
        if queue is None:
            queue = self._queues[who] = deque()
        queue.append(item)
        self.count += 1

    def take(self) -> _Item:
        """The next one. The turn of whoever asked for it comes again after all others'."""
        who = next(iter(self._queues))
        queue = self._queues.pop(who)
        self.count -= 1
        item = queue.popleft()
        if queue:
            self._queues[who] = queue
        return item

    def put_back(self, who: int, rest: _Item) -> None:
        """What is left of one that was taken: before all else of ``who``."""
        self.add(who, rest)
        self._queues[who].rotate(1)

    def clear(self) -> None:
        self._queues.clear()
        self.count = 0
