"""Claims, as the observer sees them: what must hold of the table after each entry, what happens, and what is rare.

Computed from the plain rows of the table; what the store derives from them (queues, units in use) is compared with it.
"""

from typing import TYPE_CHECKING, Any, Final

from coord.api.events import (
    CLAIMED,
    CONFIGURED,
    DELETED,
    HELD_BACK,
    LANES_SET,
    QUEUED,
    RELEASED,
    UNTIL_TOLD,
    Change,
    Reason,
)
from coord.jepsen_like.sim.agenda import MS_NS
from coord.store.claims import FIRST, SHARED
from coord.store.store import Store

if TYPE_CHECKING:
    from coord.jepsen_like.sim.life import Life
    from coord.jepsen_like.sim.simulation import Simulation

EVENTS: Final = (
    "claim_granted",
    "claim_queued",
    "claim_released",
    "claim_transferred",
    "holder_expired",
    "delay_begun",
)
AT_HOLDER: Final = "_at_holder"
"""The same event, at the member that the claim's client is connected to."""

_EXPIRED, _TRANSFERRED = int(Reason.SESSION_EXPIRED), int(Reason.TRANSFERRED)


class Claiming:
    def __init__(self, sim: "Simulation") -> None:
        self._sim = sim
        self._queued: dict[int, tuple[int, str]] = {}
        """Number -> the leader's term when it was queued, and the path."""
        self._delays: dict[str, int] = {}
        """Path -> the cluster time before which nobody is to be granted it."""
        self._held_back: dict[str, int] = {}
        """Likewise, of what was held back."""
        self._paid_ms: dict[str, int] = {}
        """Lane -> when what was granted of its rate is paid off."""
        self._used: dict[str, int] = {}
        """Units, after the last revision."""
        self._used_before: dict[str, int] = {}
        """And after the last entry."""
        self._capacities: dict[str, int] = {}
        """The greatest that was in force since then. The store that a revision is looked at in has the whole entry
        behind it: units may be granted, and the capacity lowered after that."""
        self._left_over = False
        self.session = 0
        """Of the claim to which something happened last."""

    def applied(self, store: Store, changes: tuple[Change, ...], life: "Life") -> None:
        """A revision was made, first seen at ``life``."""
        quiet = not (self._used or self._delays or self._held_back)
        if quiet and not any(change[0] > DELETED for change in changes):
            return
        assert life.replica is not None
        term = life.replica.state.raft.term
        said = dict.fromkeys([change[1] for change in changes if change[0] in (LANES_SET, DELETED)])
        for change in changes:
            kind, path, _, version, session, number, reason = change
            event = ""
            if kind == QUEUED:
                self._queued[number] = (term, path)
                event = "claim_queued"
            elif kind == CLAIMED:
                self._granted(path, number, reason, store, term)
                if path not in said:  # else the store has other lanes by now, or none
                    self._pays(path, reason, store)
                event = "claim_transferred" if reason == _TRANSFERRED else "claim_granted"
            elif kind == RELEASED:
                event = "holder_expired" if reason == _EXPIRED else "claim_released"
                delay_ms = store.claims.settings.get(path, (1, 0))[1]
                if reason == _EXPIRED and delay_ms:
                    self._delays[path] = store.time_ms + delay_ms
                    event = "delay_begun"
            elif kind == CONFIGURED:
                self._capacities[path] = max(self._capacities.get(path, 1), version)
            elif kind == HELD_BACK:
                self._held_back.pop(path, None)
                if version:
                    self._held_back[path] = UNTIL_TOLD if version == UNTIL_TOLD else store.time_ms + version
            elif kind == DELETED:
                self._delays.pop(path, None)
                self._held_back.pop(path, None)
            if event:
                self.session = session
                self._sim.happened(event, life)
                holder = self._sim.clients.life_of(session)
                if holder is not None:
                    self._sim.happened(event + AT_HOLDER, holder)
        self._check(store)

    def after_entry(self, store: Store) -> None:
        """Capacities. Lock delays: some may have been made shorter, and none runs without a cause."""
        for path, units in self._used.items():
            if units > max(self._capacities.get(path, 1), self._used_before.get(path, 0)):
                self._sim.broken("capacity", f"{units} units of {path} are held")
        self._used_before = self._used
        settings = store.claims.settings
        for path in [
            path for path, most in self._capacities.items() if most != settings.get(path, (1, 0))[0]
        ]:
            self._capacities[path] = settings.get(path, (1, 0))[0]
        for path, until_ms in list(self._delays.items()):
            delay_ms = store.claims.settings.get(path, (1, 0))[1]
            if until_ms > store.time_ms + delay_ms:
                self._delays[path] = store.time_ms + delay_ms
        for path in store.claims.delays:
            if path not in self._delays:
                self._sim.broken("lock delay", f"one runs at {path}, where no holder's session has expired")

    def _granted(self, path: str, number: int, reason: int, store: Store, term: int) -> None:
        sim = self._sim
        queued = self._queued.pop(number, None)
        if queued is not None and queued[0] != term:
            sim.mark("grant_of_an_earlier_term")
        if queued is not None and queued[1] != path:
            sim.mark("any_child_granted")
        if self._left_over and queued is not None:
            sim.mark("left_over_granted")
        if reason == _TRANSFERRED:
            return
        held_back = [path] if queued is None or queued[1] == path else [path, queued[1]]
        for each in held_back:
            until_ms = self._held_back.get(each, 0)
            if store.time_ms < until_ms:
                sim.broken("held back", f"{path} was granted, and {each} is held back until {until_ms}")
            if until_ms:
                sim.mark("held_back_no_more")
                del self._held_back[each]
        until_ms = self._delays.get(path, 0)
        if not until_ms:
            return
        if store.time_ms < until_ms:
            sim.broken("lock delay", f"{path} was granted {until_ms - store.time_ms} ms too early")
        sim.mark("delay_over")
        del self._delays[path]

    def _pays(self, path: str, reason: int, store: Store) -> None:
        for name, _, interval_ms, burst in store.claims.lanes.of.get(path, ()):
            if reason == _TRANSFERRED or not interval_ms:
                continue
            paid_ms = self._paid_ms.get(name, 0)
            if paid_ms > store.time_ms + (burst - 1) * interval_ms:
                self._sim.broken(
                    "rate", f"{path} was granted, and the rate of {name} is used up until {paid_ms}"
                )
            if paid_ms > store.time_ms - interval_ms:
                self._sim.mark("rate_used_up")
            self._paid_ms[name] = max(paid_ms, store.time_ms) + interval_ms

    def _check(self, store: Store) -> None:
        claims, sim = store.claims, self._sim
        held: dict[str, dict[int, int]] = {}
        used: dict[str, int] = {}
        waiting: dict[str, list[int]] = {}
        first: dict[str, list[int]] = {}
        for number, path, session, units, flags, _, _, token in sorted(claims.by_number.values()):
            if session not in store.sessions or path not in store.tree.znodes:
                sim.broken("claims", f"claim {number} of {path} outlives its session {session} or its znode")
            if token:
                before = used.get(path, 0)
                if (before > 0) if flags & SHARED else (before < 0):
                    sim.broken("capacity", f"{path} is shared and held alone")
                held.setdefault(path, {})[number] = token
                used[path] = before - 1 if flags & SHARED else before + units
            else:
                (first if flags & FIRST else waiting).setdefault(path, []).append(number)
        tables: Any = (held, used, waiting, first)
        if tables != (claims.held, claims.used, claims.waiting, claims.first):
            sim.broken("claims", f"tables of claims do not fit their rows: {tables}"[:500])
        self._used = used
        self._left_over = bool(claims.unsettled)
        if self._left_over:
            sim.mark("grants_left_over")
        for path, queue in waiting.items():
            if claims.is_paused(path) or path in claims.unsettled or _is_full(store, path):
                continue
            _, _, _, units, flags, _, _, _ = claims.by_number[queue[0]]
            now = used.get(path, 0)
            capacity = claims.settings.get(path, (1, 0))[0]
            if now <= 0 if flags & SHARED else (now >= 0 and now + units <= capacity):
                sim.broken("nobody waits at what is free", f"claim {queue[0]} waits for {path}")


def _is_full(store: Store, path: str) -> bool:
    """Whether a lane of ``path`` has no room, counted anew."""
    claims = store.claims
    for name, width, interval_ms, burst in claims.lanes.of.get(path, ()):
        held = sum(
            len(holders)
            for each, holders in claims.held.items()
            if name in [lane[0] for lane in claims.lanes.of.get(each, ())]
        )
        if width and held >= width:
            return True
        if interval_ms and claims.lanes.paid_ms.get(name, 0) > store.time_ms + (burst - 1) * interval_ms:
            return True
    return False


def pause_ns(sim: "Simulation", share: float) -> int:
    """For how long a client stands still: from nothing to half as long again as its session's timeout."""
    return int(share * 1.5 * sim.world.session_timeout_ms * MS_NS)
