"""What must come about in peace: who asks is answered, sessions of which nothing is heard end, and what has its time
comes when that is over.

No history shows it: a client whose question is lost inside a member asks again, and a session that nobody ends harms
nobody who can tell. So it is looked at from outside, once a simulated second, when the faults are over and one member
has led for a while.
"""

from typing import TYPE_CHECKING, Final

from coord.jepsen_like.sim.agenda import MS_NS, SECOND_NS
from coord.raft.configuration import members_of

if TYPE_CHECKING:
    from coord.jepsen_like.sim.simulation import Simulation

ANSWER_NS: Final = 4 * SECOND_NS
"""So long a request may wait, at a member that everybody hears."""

SILENT_NS: Final = 3 * SECOND_NS
"""So much longer than twice its timeout a session may live on: this is about those that live for ever."""


OVERDUE_NS: Final = SECOND_NS
"""A session that was silent for so much longer than its timeout has been forgotten, or is about to end."""

SLOWEST: Final = 0.98
"""A leader's clock runs so slowly at most; the cluster's time with it."""

DUE_MS: Final = 2_000
"""So much later than its time something may be done that waits for one: a TTL, a lock delay, a rate."""


class Peace:
    def __init__(self, sim: "Simulation") -> None:
        self._sim = sim
        self._reign = (0, 0)
        """Who leads, in which term."""
        self._since_ns = 0
        self._timed = ((0, 0), 0, 0)
        """In whose reign, since when by the world's clock, and by the cluster's."""
        self._known_ns: dict[int, int] = {}
        """Since when each session has been seen here: who opens one does not say its number."""

    def look(self) -> None:
        """Whether all is as it should be by now."""
        sim = self._sim
        now_ns = sim.agenda.now_ns
        reign = self._leader() if sim.calm else (0, 0)
        if reign != self._reign or not reign[0]:
            self._reign, self._since_ns = reign, now_ns
            return
        for session in sim.ghosts.oracle.store.sessions.values():
            known_ns = self._known_ns.setdefault(session.id, now_ns)
            silent_ns = now_ns - max(self._since_ns, known_ns, sim.clients.heard_ns.get(session.id, 0))
            if silent_ns > 2 * session.timeout_ms * MS_NS + SILENT_NS:
                what = f"session {session.id}, of {session.timeout_ms} ms, has been silent for {silent_ns // MS_NS} ms"
                sim.broken("sessions", f"{what}, in peace, and is not ended")
        if not sim.healed_ns:
            return  # some members are still out of reach of their leader, and they may not know it
        if self._timed[0] != reign:
            self._timed = reign, now_ns, sim.ghosts.oracle.store.time_ms
        if self._overdue_ms > DUE_MS:
            what = (
                f"what was due at {sim.ghosts.oracle.store.next_due_ms}, in the cluster's time, is not done"
            )
            sim.broken("liveness", f"{what} {self._overdue_ms} ms later, in peace")
        belonging = self._belonging(reign[0])
        for life in sim.lives:
            if life.member.number not in belonging:
                continue  # it was left out of the cluster, and can answer nobody
            for wire in life.wires.values():
                waits_ns = now_ns - max(self._since_ns, sim.healed_ns, wire.waits_since_ns)
                if wire.unanswered and waits_ns > ANSWER_NS and not (wire.deaf or wire.client_gone):
                    sim.broken(
                        "liveness",
                        f"{wire.unanswered} requests of process {wire.client.number} wait at member "
                        f"{life.member.number} for {waits_ns // MS_NS} ms, in peace",
                    )

    @property
    def is_awaited(self) -> bool:
        """Whether it takes time to see if all comes about: somebody waits, or something should have ended by now."""
        sim = self._sim
        if self._overdue_ms > 0:
            return True
        silent_ns = {
            each: sim.agenda.now_ns - sim.clients.heard_ns.get(each.id, 0) - each.timeout_ms * MS_NS
            for each in sim.ghosts.oracle.store.sessions.values()
        }
        return any(each > OVERDUE_NS for each in silent_ns.values()) or any(
            wire.unanswered and not (wire.deaf or wire.client_gone)
            for life in sim.lives
            for wire in life.wires.values()
        )

    @property
    def _overdue_ms(self) -> int:
        """For how long something has been due that the leader is to do, by the least that its clock can show; 0 also if
        it is left over from more than one entry may do, and has its turn."""
        reign, since_ns, since_ms = self._timed
        store = self._sim.ghosts.oracle.store
        due_ms = store.next_due_ms
        if reign != self._reign or not reign[0] or due_ms is None or due_ms <= store.time_ms:
            return 0
        return since_ms + int((self._sim.agenda.now_ns - since_ns) // MS_NS * SLOWEST) - due_ms

    def _belonging(self, leader: int) -> tuple[int, ...]:
        life = self._sim.member(leader).life
        return (
            () if life is None or life.replica is None else members_of(life.replica.state.raft.configuration)
        )

    def _leader(self) -> tuple[int, int]:
        """The one that leads in the latest term."""
        reigns = [
            (life.replica.state.raft.term, life.member.number)
            for life in self._sim.lives
            if life.replica is not None and life.replica.state.leads and not life.paused
        ]
        term, number = max(reigns, default=(0, 0))
        return (number, term)
