"""Proofs of life, as the observer sees them: nobody is sure of a session that is over.

A history shows the end of a session only where it owned something, or where its client was told. Here each end is known
when it is committed, and what every client has been told by then.
"""

from typing import TYPE_CHECKING

from coord.api.events import Reason
from coord.jepsen_like.history import SessionProof

if TYPE_CHECKING:
    from coord.jepsen_like.sim.simulation import Simulation


class Proofs:
    def __init__(self, sim: "Simulation") -> None:
        self._sim = sim
        self._until_ns: dict[int, int] = {}
        """Until when the client of each session is sure of it."""
        self._expired_ns: dict[int, int] = {}
        self._ended_ns: dict[int, int] = {}

    def proven(self, proof: SessionProof) -> None:
        """A client was told that its session lives."""
        session = proof.session
        self._until_ns[session] = max(proof.until_ns, self._until_ns.get(session, 0))
        ended_ns = self._ended_ns.get(session)
        if ended_ns is not None and ended_ns < proof.called_ns:
            self._sim.broken(
                "sessions",
                f"session {session} was over at {ended_ns}, and its client, who asked at {proof.called_ns}, is told "
                "that it lives",
            )
        self._look(session)

    def ended(self, session: int, reason: Reason) -> None:
        """The end of ``session`` was committed, now."""
        now_ns = self._sim.agenda.now_ns
        self._ended_ns[session] = now_ns
        if reason is Reason.SESSION_EXPIRED:
            self._expired_ns[session] = now_ns
            self._look(session)

    def _look(self, session: int) -> None:
        expired_ns, until_ns = self._expired_ns.get(session), self._until_ns.get(session, 0)
        if expired_ns is not None and expired_ns < until_ns:
            early_ms = (until_ns - expired_ns) // 1_000_000
            self._sim.broken(
                "sessions",
                f"session {session} expired {early_ms} ms before its client ceased to be sure of it",
            )
