"""Everything has a bound: looked at once a simulated second, so that what feeds itself is seen as such.

The interleaving that these watch for: an answer is repeated, each repetition is answered, and soon a cluster does
nothing else (congestion collapse). It shows as events, as frames on their way, or as inputs that wait, long before it
shows as anything that a client could name.
"""

from typing import TYPE_CHECKING, Final

from coord.jepsen_like.sim.agenda import SECOND_NS
from coord.jepsen_like.sim.peace import Peace

if TYPE_CHECKING:
    from coord.jepsen_like.sim.simulation import Simulation

EVENTS_MAX: Final = 200_000
"""In a second, of all members and clients together."""
IN_FLIGHT_MAX: Final = 5_000
"""Frames on one link, also while it is cut for as long as a sender has patience."""
WAITING_MAX: Final = 50_000
"""Inputs of one member that stands still."""


class Bounds:
    def __init__(self, sim: "Simulation") -> None:
        self._sim = sim
        self._events = 0
        self.peace = Peace(sim)

    def watch(self) -> None:
        """Look now, and again in a second."""
        sim = self._sim
        self._hold("events in a second", sim.agenda.events - self._events, EVENTS_MAX)
        self._events = sim.agenda.events
        self._hold("frames on one link", sim.network.most_in_flight, IN_FLIGHT_MAX)
        for life in sim.lives:
            number = life.member.number
            self._hold(f"inputs that wait at member {number}", life.inbox_size, WAITING_MAX)
            if life.replica is None:
                continue
            state = life.replica.state
            limits = sim.settings.limits
            self._hold(
                f"pending commands of member {number}", state.proposals.pending_count, limits.pending_commands
            )
            self._hold(f"history of member {number}", len(state.store.history), sim.world.history_revisions)
            for session in state.attached:
                if session not in state.store.sessions:
                    what = f"member {number} serves session {session} on, which is over, and does not tell its client"
                    self._sim.broken("sessions", what)
            for peer in state.raft.status().peers:
                self._hold(
                    f"appends from {number} to {peer.peer}", peer.inflight_appends, sim.world.inflight_appends
                )
        self.peace.look()
        sim.agenda.after(SECOND_NS, self.watch)

    def _hold(self, what: str, count: int, most: int) -> None:
        if count > most:
            self._sim.broken("bounds", f"{count} {what}, and at most {most} are allowed")
