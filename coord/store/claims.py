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
from coord.api.events import UNTIL_TOLD
from coord.api.paths import ROOT, parent
from coord.store.lanes import NO_LANES, Lane, Lanes
from coord.store.work import CLAIM as CLAIM_WORK
from coord.store.work import Work

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

TAKE_OVER_MAX: Final = 1_000
"""Delays that are over, and paths that are held back no more, in one entry at most; the next entry goes on."""

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
        "granted",
        "held",
        "held_back",
        "lanes",
        "lost",
        "next_claim",
        "settings",
        "touched",
        "undo",
        "unsettled",
        "used",
        "waiting",
        "waits_first",
        "work",
    )

    def __init__(self, work: Work | None = None) -> None:
        self.work = work or Work()
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
        self.held_back: dict[str, int] = {}
        """Likewise, as somebody asked for it; ``UNTIL_TOLD``: until it is said otherwise."""
        self._delay_heap: list[tuple[int, str]] = []
        # (cluster ms, path): for each of both its entry; others are of some that are no more.
        self.lost: dict[str, int] = {}
        """How many claims ended while they were held, by no will of their own; where there were any."""
        self.lanes = Lanes()
        self.unsettled: dict[str, None] = {}
        """Paths where somebody may be granted who was not yet: too many at once. In the order of their turn."""
        self.next_claim = 1
        self.granted = 0
        """So many were, as this replica has lived through it: for people, and no part of the state."""
        self.undo: Journal | None = None
        self.touched: Callable[[str], object] = _nobody
        """Told of each path at which anything has changed (candidates.py) …"""
        self.waits_first: Callable[[str], object] = _nobody
        """… and of each parent where somebody waits for any child."""

    # --- changes -----------------------------------------------------------------------------------------------------

    def put(self, number: int, after: Claim | None) -> None:
        """Claim ``number`` is ``after`` from now on; ``None``: it is no more."""
        self.work.done += CLAIM_WORK
        before = self.by_number.get(number)
        if self.undo is not None:
            self.undo.append((self.put, number, before))
        if before is not None:
            self._unlink(before)
        if after is not None:
            self.by_number[number] = after
            self._link(after)
            self.touched(after[PATH])
        else:
            del self.by_number[number]
        if before is not None and (after is None or after[PATH] != before[PATH]):
            self.touched(before[PATH])

    def configure(self, path: str, settings: tuple[int, int] | None) -> None:
        """``None``, and the default: they need no place."""
        if self.undo is not None:
            self.undo.append((self.configure, path, self.settings.get(path)))
        if settings is None or settings == DEFAULT:
            self.settings.pop(path, None)
        else:
            self.settings[path] = settings
        self.touched(path)

    def delay(self, path: str, until_ms: int | None) -> None:
        """Nobody is granted anything at ``path`` until then; ``None``: no delay."""
        if self.undo is not None:
            self.undo.append((self.delay, path, self.delays.get(path)))
        self._pause(self.delays, path, until_ms)

    def hold_back(self, path: str, until_ms: int | None) -> None:
        """Likewise, as somebody asked for it."""
        if self.undo is not None:
            self.undo.append((self.hold_back, path, self.held_back.get(path)))
        self._pause(self.held_back, path, until_ms)

    def _pause(self, table: dict[str, int], path: str, until_ms: int | None) -> None:
        if until_ms is None:
            table.pop(path, None)
        else:
            table[path] = until_ms
            if until_ms < UNTIL_TOLD:
                heappush(self._delay_heap, (until_ms, path))
            if len(self._delay_heap) > 2 * (len(self.delays) + len(self.held_back)) + 64:
                both = (*self.delays.items(), *self.held_back.items())
                self._delay_heap = [(each_ms, each) for each, each_ms in both if each_ms < UNTIL_TOLD]
                heapify(self._delay_heap)
        self.touched(path)

    def take_over(self, now_ms: int) -> list[str]:
        """The paths of which a delay is over, or which are held back no more, by time and path: ``TAKE_OVER_MAX`` at
        most. Neither is any more.
        """
        over: list[str] = []
        heap = self._delay_heap
        while heap and heap[0][0] <= now_ms and len(over) < TAKE_OVER_MAX:
            until_ms, path = heappop(heap)
            both = [table for table in (self.delays, self.held_back) if table.get(path) == until_ms]
            for table in both:
                del table[path]
            if both:
                over.append(path)
                self.touched(path)
        return over

    def lose(self, path: str, lost: int | None = None) -> None:
        """One more claim was lost at ``path``; or: ``lost`` were so far."""
        before = self.lost.get(path, 0)
        if self.undo is not None:
            self.undo.append((self.lose, path, before))
        after = before + 1 if lost is None else lost
        if after:
            self.lost[path] = after
        else:
            self.lost.pop(path, None)

    def set_lanes(self, path: str, lanes: tuple[Lane, ...]) -> None:
        if self.undo is not None:
            self.undo.append((self.set_lanes, path, self.lanes.of.get(path, NO_LANES)))
        self.lanes.put(path, lanes, len(self.held.get(path, ())))
        self.touched(path)

    def pay(self, name: str, paid_ms: int | None) -> None:
        """What was granted of the lane ``name`` is paid off then."""
        if self.undo is not None:
            self.undo.append((self.pay, name, self.lanes.paid_ms.get(name)))
        self.lanes.pay(name, paid_ms)

    @property
    def next_due_ms(self) -> int | None:
        """The cluster time before which no delay is over, and no rate has room again; ``None``: none runs."""
        due_ms = [self._delay_heap[0][0]] if self._delay_heap else []
        if self.lanes.next_due_ms is not None:
            due_ms.append(self.lanes.next_due_ms)
        return min(due_ms, default=None)

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
        return self.claimed(path) or path in self.settings or path in self.held_back or path in self.lanes.of

    @property
    def waiting_count(self) -> int:
        """How many claims wait."""
        return sum([len(each) for queues in (self.waiting, self.first) for each in queues.values()])

    @property
    def unknown(self) -> bool:
        """Whether there is not one claim, and nothing was ever said of any: most deletes need not look further."""
        return not (self.by_number or self.settings or self.held_back or self.lanes.of or self.lost)

    def is_paused(self, path: str) -> bool:
        """Whether nobody is granted anything at ``path`` now, for a time or until it is said otherwise."""
        return path in self.delays or path in self.held_back

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
        """Whether somebody waits for any child of the parent of ``path``, and is not held back."""
        if not self.first or path == ROOT:
            return False
        above = parent(path)
        return above in self.first and above not in self.held_back

    def is_free(self, path: str, units: int, shared: int) -> bool:
        """Whether a new claim could be held at once: it fits, no delay runs, nothing is held back, its lanes have room,
        and nobody waits who came before it.

        Strictly first come, first served. 1. A holds 1 of 2 units. 2. B wants both, and waits. 3. C wants one: it
        would fit, and were it granted, and then D, and so on, B would wait for ever.
        """
        if path in self.waiting or self.is_paused(path) or not self.fits(path, units, shared):
            return False
        if self.lanes.of and self.lanes.full(path) is not None:
            return False
        return path in self.held or not self.waits_above(path)

    def state(self) -> tuple[Any, ...]:
        """All that is replicated, comparable: equal tables, equal states."""
        return (
            self.next_claim,
            sorted(self.by_number.values()),
            sorted(self.settings.items()),
            sorted(self.delays.items()),
            sorted(self.held_back.items()),
            sorted(self.lost.items()),
            sorted(self.lanes.of.items()),
            sorted(self.lanes.paid_ms.items()),
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
            if path in self.lanes.of:
                self.lanes.hold(path, 1)
            return
        queue = (self.first if flags & FIRST else self.waiting).setdefault(path, [])
        if not queue or queue[-1] < number:
            queue.append(number)
        else:  # undone: back to where it was
            queue.insert(bisect_left(queue, number), number)
        if flags & FIRST:
            self.waits_first(path)

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
            if path in self.lanes.of:
                self.lanes.hold(path, -1)
            return
        table = self.first if flags & FIRST else self.waiting
        queue = table[path]
        place = bisect_left(queue, number)
        check(queue[place] == number, "a waiting claim is in its queue", number)
        del queue[place]
        if not queue:
            del table[path]


def _nobody(path: str) -> None:
    """Nobody wants to know yet."""
