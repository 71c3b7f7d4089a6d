"""The table of claims: who holds what, who waits for what, in which order.

A claim is one request of one session for one znode, and not the session's as such: two tasks of one client exclude
each other. Plain exact tuples by number; everything else here is derived from them, and each change of the one
(:meth:`Claims.put`) keeps the others right and can be undone (for a multi that fails midway).

Numbers grow, so a queue is a sorted list of numbers: its head is the one who has waited longest, a place in it is found
by bisection, and taking one out moves some of 80 KB at the most.
"""

from bisect import bisect_left
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any, Final, TypeAlias

from coord.api.checks import check
from coord.api.paths import ROOT, parent

Claim: TypeAlias = tuple[int, str, int, int, int, bytes, int, int]
"""``(number, path, session, units, flags, label, since_ms, token)``.

``token`` is the revision of the grant, 0 while it waits. ``since_ms``: held, or waiting, since then; wall clock, for
people. ``flags``: ``SHARED``; ``FIRST``: it waits at ``path`` for any child of it (and has the child's path once it is
granted).
"""

PATH: Final = 1
SESSION: Final = 2
UNITS: Final = 3
FLAGS: Final = 4
TOKEN: Final = 7

SHARED: Final = 1
FIRST: Final = 2

DEFAULT: Final = (1, 0)
"""Settings: ``(capacity, lock_delay_ms)``."""

Journal: TypeAlias = list[tuple[Callable[[Any, Any], None], Any, Any]]
"""``(what puts it back, key, before)``, in the order of the changes."""


class Claims:
    """All claims. Invariants: a path in ``held`` has a holder, one in ``waiting`` or ``first`` a waiter; no path is in
    both ``waiting`` and free to be granted, except those in ``unsettled`` (see granting.py).
    """

    __slots__ = (
        "_delay_heap",
        "by_number",
        "by_session",
        "delays",
        "first",
        "held",
        "next_claim",
        "settings",
        "undo",
        "unsettled",
        "used",
        "waiting",
    )

    def __init__(self) -> None:
        self.by_number: dict[int, Claim] = {}
        """In no order that means anything."""
        self.by_session: dict[int, dict[int, None]] = {}
        self.held: dict[str, dict[int, int]] = {}
        """Path -> number -> token."""
        self.used: dict[str, int] = {}
        """Of the paths in ``held``: the units that are held, or minus the number of those who share."""
        self.waiting: dict[str, list[int]] = {}
        """Path -> numbers, sorted: first come, first served."""
        self.first: dict[str, list[int]] = {}
        """Likewise, of those who wait for any child."""
        self.settings: dict[str, tuple[int, int]] = {}
        """``(capacity, lock_delay_ms)`` where they are not the default."""
        self.delays: dict[str, int] = {}
        """Paths at which nobody is granted anything before that cluster time. Each has settings."""
        self._delay_heap: list[tuple[int, str]] = []
        # (cluster ms, path): for each delay its entry; others are of delays that are no more.
        self.unsettled: dict[str, None] = {}
        """Paths where somebody may be granted who was not yet: too many at once. In the order of their turn."""
        self.next_claim = 1
        self.undo: Journal | None = None

    # --- changes -----------------------------------------------------------------------------------------------------

    def put(self, number: int, after: Claim | None) -> None:
        """Claim ``number`` is ``after`` from now on; ``None``: it is no more."""
        before = self.by_number.get(number)
        if self.undo is not None:
            self.undo.append((self.put, number, before))
        if before is not None:
            self._unlink(before)
        if after is not None:
            self.by_number[number] = after
            self._link(after)
        else:
            del self.by_number[number]

    def configure(self, path: str, settings: tuple[int, int] | None) -> None:
        """``None``, and the default: they need no place."""
        if self.undo is not None:
            self.undo.append((self.configure, path, self.settings.get(path)))
        if settings is None or settings == DEFAULT:
            self.settings.pop(path, None)
        else:
            self.settings[path] = settings

    def delay(self, path: str, until_ms: int | None) -> None:
        """Nobody is granted anything at ``path`` until then; ``None``: no delay."""
        if self.undo is not None:
            self.undo.append((self.delay, path, self.delays.get(path)))
        if until_ms is None:
            self.delays.pop(path, None)
            return
        self.delays[path] = until_ms
        heappush(self._delay_heap, (until_ms, path))
        if len(self._delay_heap) > 2 * len(self.delays) + 64:
            self._delay_heap = [(each_ms, each) for each, each_ms in self.delays.items()]
            heapify(self._delay_heap)

    def take_over(self, now_ms: int) -> list[str]:
        """The delays that are over, by their time and path; they are no more."""
        over: list[str] = []
        heap = self._delay_heap
        while heap and heap[0][0] <= now_ms:
            until_ms, path = heappop(heap)
            if self.delays.get(path) == until_ms:
                del self.delays[path]
                over.append(path)
        return over

    @property
    def next_due_ms(self) -> int | None:
        """The cluster time before which no delay is over; ``None``: none runs."""
        return self._delay_heap[0][0] if self._delay_heap else None

    def undo_all(self, journal: Journal, next_claim: int) -> None:
        """Take back the changes of ``journal``, last first."""
        self.undo = None
        for put_back, key, before in reversed(journal):
            put_back(key, before)
        self.next_claim = next_claim

    # --- questions ---------------------------------------------------------------------------------------------------

    def capacity(self, path: str) -> int:
        return self.settings.get(path, DEFAULT)[0]

    def keep(self, path: str) -> bool:
        """Whether claims keep a container: some are there, or somebody has said how they are to be."""
        return self.claimed(path) or path in self.settings

    def claimed(self, path: str) -> bool:
        """Whether there is any claim at ``path``, held or waiting."""
        return path in self.held or path in self.waiting or path in self.first

    def at(self, path: str) -> list[int]:
        """The numbers of all claims at ``path``, in order."""
        return sorted((*self.held.get(path, ()), *self.waiting.get(path, ()), *self.first.get(path, ())))

    def count_at(self, path: str) -> int:
        return len(self.held.get(path, ())) + len(self.waiting.get(path, ())) + len(self.first.get(path, ()))

    def queue_of(self, claim: Claim) -> list[int]:
        """The queue in which a claim waits."""
        return (self.first if claim[FLAGS] & FIRST else self.waiting)[claim[PATH]]

    def fits(self, path: str, units: int, shared: int) -> bool:
        """Whether a claim fits beside those that are held."""
        used = self.used.get(path, 0)
        if shared:
            return used <= 0
        return used >= 0 and used + units <= self.capacity(path)

    def waits_above(self, path: str) -> bool:
        """Whether somebody waits for any child of the parent of ``path``."""
        return bool(self.first) and path != ROOT and parent(path) in self.first

    def is_free(self, path: str, units: int, shared: int) -> bool:
        """Whether a new claim could be held at once: it fits, no delay runs, and nobody waits who came before it.

        Strictly first come, first served. 1. A holds 1 of 2 units. 2. B wants both, and waits. 3. C wants one: it
        would fit, and were it granted, and then D, and so on, B would wait for ever.
        """
        if path in self.waiting or path in self.delays or not self.fits(path, units, shared):
            return False
        return path in self.held or not self.waits_above(path)

    def state(self) -> tuple[Any, ...]:
        """All that is replicated, comparable: equal tables, equal states."""
        return (
            self.next_claim,
            sorted(self.by_number.values()),
            sorted(self.settings.items()),
            sorted(self.delays.items()),
            list(self.unsettled),
        )

    # --- what is derived ---------------------------------------------------------------------------------------------

    def _link(self, claim: Claim) -> None:
        number, path, session, units, flags, _, _, token = claim
        self.by_session.setdefault(session, {})[number] = None
        if token:
            self.held.setdefault(path, {})[number] = token
            used = self.used.get(path, 0)
            check(
                used <= 0 if flags & SHARED else used >= 0,
                "who shares does not hold beside who does not",
                path,
            )
            self.used[path] = used - 1 if flags & SHARED else used + units
            return
        queue = (self.first if flags & FIRST else self.waiting).setdefault(path, [])
        if not queue or queue[-1] < number:
            queue.append(number)
        else:  # undone: back to where it was
            queue.insert(bisect_left(queue, number), number)

    def _unlink(self, claim: Claim) -> None:
        number, path, session, units, flags, _, _, token = claim
        mine = self.by_session[session]
        del mine[number]
        if not mine:
            del self.by_session[session]
        if token:
            holders = self.held[path]
            del holders[number]
            if holders:
                self.used[path] += 1 if flags & SHARED else -units
            else:
                del self.held[path], self.used[path]
            return
        table = self.first if flags & FIRST else self.waiting
        queue = table[path]
        place = bisect_left(queue, number)
        check(queue[place] == number, "a waiting claim is in its queue", number)
        del queue[place]
        if not queue:
            del table[path]
