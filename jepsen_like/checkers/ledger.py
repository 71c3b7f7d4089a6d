"""Who holds what and who waits for what, after each revision of the log: kept anew, and plainly, from its changes.

Shares no code with ``coord.store``. The log does not say how many units a claim takes, or whether it shares: that is in
the op that asked for it, which is found by its label (each is used once, or by one :class:`ClaimFirst`).
"""

from collections.abc import Sequence
from typing import Any, Final

from coord.api.events import (
    CLAIMED,
    CONFIGURED,
    CREATED,
    DELETED,
    FENCED,
    HELD_BACK,
    LANES_SET,
    QUEUED,
    RELEASED,
    WITHDRAWN,
    Change,
    Reason,
)
from coord.api.ops import Claim, ClaimFirst, ClaimSettings, Lane, SetLanes
from coord.api.paths import ROOT, ancestors, is_below, parent
from coord.jepsen_like.checkers.about import parts
from coord.jepsen_like.history import Operation, Record

EXPIRED: Final = int(Reason.SESSION_EXPIRED)
TRANSFERRED: Final = int(Reason.TRANSFERRED)
_LOST: Final = (int(Reason.SESSION_ENDED), EXPIRED, int(Reason.FORCED))


class Entry:
    """One claim. ``token`` is 0 while it waits; ``units`` is 0 where nobody knows what was asked for."""

    __slots__ = ("label", "number", "path", "session", "shared", "token", "units", "waits_for_any")

    def __init__(self, number: int, path: str, session: int, label: bytes) -> None:
        self.number = number
        self.path = path
        self.session = session
        self.label = label
        self.units = 0
        self.shared = False
        self.waits_for_any = False
        """At a parent, for any child of it."""
        self.token = 0


class Ledger:
    def __init__(self, records: Sequence[Record]) -> None:
        self._asked: dict[bytes, Claim | ClaimFirst] = {}
        self._by_request: dict[tuple[int, int], Any] = {}
        for each in records:
            if type(each) is Operation and each.mode == "write":
                if each.request:
                    self._by_request[(each.session, each.request)] = each.op
                for part in parts(each.op):
                    if isinstance(part, Claim | ClaimFirst) and part.label:
                        self._asked[part.label] = part
        self.claims: dict[int, Entry] = {}
        self.at_path: dict[str, dict[int, Entry]] = {}
        self.over: dict[int, None] = {}
        """Numbers of claims that are no more."""
        self.capacities: dict[str, int] = {}
        self.delays_ms: dict[str, int] = {}
        """Lock delays that were set."""
        self.delayed: dict[str, int] = {}
        """Path -> when (nanoseconds) a delay began there of which it is not known when it is over. Its end shows in a
        grant; its beginning in the expiry of a holder."""
        self.held_back: dict[str, int] = {}
        """Path -> for how many ms it was held back when that was said last: the log does not tell when it is over."""
        self.lanes: dict[str, tuple[Lane, ...] | None] = {}
        """``None``: some; which, nobody knows."""
        self.lost: dict[str, int | None] = {}
        """How many claims of a path were lost. ``None``: one was handed on, and the log does not tell by whom."""
        self.fences: dict[str, str] = {}
        self.children: dict[str, dict[str, None]] = {}
        """Path -> those that are there, as far as the log tells."""

    def op_of(self, change: Change) -> Any:
        """The op that asked for a change of the tree; ``None``: nobody knows."""
        return self._by_request.get((change[4], change[5]))

    # --- questions ---

    def held(self, path: str) -> list[Entry]:
        return [each for each in self.at_path.get(path, {}).values() if each.token]

    def queue(self, path: str) -> list[Entry]:
        """Those who wait for ``path`` itself, the first first."""
        waiting = [
            each for each in self.at_path.get(path, {}).values() if not each.token and not each.waits_for_any
        ]
        return sorted(waiting, key=_number)

    def queue_for_any(self, path: str) -> list[Entry]:
        """Those who wait for any child of ``path``."""
        waiting = [
            each for each in self.at_path.get(path, {}).values() if not each.token and each.waits_for_any
        ]
        return sorted(waiting, key=_number)

    def before(self, entry: Entry) -> int:
        """How many wait before it."""
        queue = self.queue_for_any(entry.path) if entry.waits_for_any else self.queue(entry.path)
        return sum(each.number < entry.number for each in queue)

    def capacity(self, path: str) -> int:
        return self.capacities.get(path, 1)

    def fits(self, path: str, units: int, shared: bool) -> bool | None:
        """Whether a claim fits beside those that are held; ``None``: nobody knows."""
        held = self.held(path)
        if not held:
            return shared or units <= self.capacity(path)
        if not units or any(not each.units for each in held):
            return None
        if shared or any(each.shared for each in held):
            return shared and all(each.shared for each in held)
        return sum(each.units for each in held) + units <= self.capacity(path)

    def next_at(self, path: str) -> Entry | None:
        """Who is to be granted next at ``path``, as soon as it fits."""
        own = self.queue(path)
        found = own[0] if own else None
        if found is not None and not self.fits(path, found.units, found.shared):
            return found  # it blocks the path for all, also with units beyond a capacity that was lowered
        if path != ROOT and not self.held(path) and path in self.children.get(parent(path), ()):
            any_child = self.queue_for_any(parent(path))
            if any_child and (found is None or any_child[0].number < found.number):
                found = any_child[0]
        return found

    def is_free(self, path: str, units: int, shared: bool) -> bool | None:
        """Whether a new claim is to be granted at once; ``None``: nobody knows."""
        if self.queue(path):
            return False
        fits = self.fits(path, units, shared)
        if not fits:
            return fits
        if self.may_be_kept_back(path):
            return None
        return bool(self.held(path)) or path == ROOT or not self.queue_for_any(parent(path))

    def may_be_kept_back(self, path: str) -> bool:
        """Whether something else than claims may forbid a grant at ``path``: a delay, a holding back, a lane."""
        return path in self.delayed or path in self.held_back or path in self.lanes

    def in_lane(self, name: str) -> int:
        """How many claims are held at paths with that lane, as far as is known."""
        those = [path for path, lanes in self.lanes.items() if name in [lane.name for lane in lanes or ()]]
        return sum(len(self.held(path)) for path in those)

    def fences_at(self, path: str) -> list[tuple[str, str]]:
        """``(fence, claim)`` at ``path`` and above, nearest first."""
        return [(each, self.fences[each]) for each in (path, *ancestors(path)) if each in self.fences]

    def tokens(self, claim: str) -> dict[int, None]:
        """Of those who hold ``claim``."""
        return {each.token: None for each in self.held(claim)}

    # --- what happens ---

    def apply(self, change: Change, revision: int, at_ns: int) -> None:
        """Take the log's word for ``change``."""
        kind, path, value, version, session, number, reason = change
        if kind == CREATED:
            if path != ROOT:
                self.children.setdefault(parent(path), {})[path] = None
        elif kind == DELETED:
            self.children.get(parent(path), {}).pop(path, None)
            for table in (self.capacities, self.delays_ms, self.delayed, self.held_back):
                table.pop(path, None)
            self.lanes.pop(path, None)
            self.lost.pop(path, None)
        elif kind == QUEUED:
            self._put(self._made(change))
        elif kind == CLAIMED:
            entry = self.claims.pop(number, None)
            if entry is None:
                entry = self._made(change)
            else:
                del self.at_path[entry.path][number]
            entry.path, entry.token, entry.waits_for_any = path, revision, False
            self._put(entry)
            if reason != TRANSFERRED:
                self.delayed.pop(path, None)
        elif kind in (RELEASED, WITHDRAWN):
            entry = self.claims.pop(number, None)
            self.over[number] = None
            if entry is not None:
                del self.at_path[entry.path][number]
                if kind == RELEASED and reason == EXPIRED and self.delays_ms.get(path):
                    self.delayed[path] = at_ns
                lost = self.lost.get(path, 0)
                if kind == RELEASED and reason in _LOST and lost is not None:
                    self.lost[path] = lost + 1
                elif kind == RELEASED and reason == TRANSFERRED:
                    self.lost[path] = None
        elif kind == CONFIGURED:
            self.capacities[path] = version
            for each in parts(self._by_request.get((session, number))):
                if isinstance(each, ClaimSettings) and each.path == path:
                    self.delays_ms[path] = each.lock_delay_ms
                    if not each.lock_delay_ms:
                        self.delayed.pop(path, None)
        elif kind == HELD_BACK:
            self.held_back.pop(path, None)
            if version:
                self.held_back[path] = version
        elif kind == LANES_SET:
            self.lanes.pop(path, None)
            if version:
                self.lanes[path] = None
            for each in parts(self._by_request.get((session, number))):
                if version and isinstance(each, SetLanes) and each.path == path:
                    self.lanes[path] = each.lanes
        elif kind == FENCED:
            self.fences.pop(path, None)
            if value is not None:
                self.fences[path] = value.decode()

    def _made(self, change: Change) -> Entry:
        _, path, label, _, session, number, _ = change
        entry = Entry(number, path, session, label or b"")
        asked = self._asked.get(entry.label)
        if isinstance(asked, ClaimFirst):
            entry.units = 1
            entry.waits_for_any = change[0] == QUEUED
        elif asked is not None:
            entry.units, entry.shared = asked.units, asked.shared
        return entry

    def _put(self, entry: Entry) -> None:
        self.claims[entry.number] = entry
        self.at_path.setdefault(entry.path, {})[entry.number] = entry


def _number(entry: Entry) -> int:
    return entry.number


def is_at_or_below(path: str, above: str) -> bool:
    return path == above or is_below(path, above)
