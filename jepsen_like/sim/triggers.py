"""Faults that are triggered by state: right after something happened, to the member to which it happened.

Uniform dice seldom hit the moment between a vote and the next tick; these do nothing else. What happened is seen from
outside, in what a step puts out and in the jobs of the disk.
"""

from random import Random
from typing import TYPE_CHECKING, Final

from coord.jepsen_like.sim.agenda import MS_NS
from coord.raft.messages import Append, SnapshotSection, TimeoutNow, Vote
from coord.replica.inputs import Outputs
from coord.wire.peer_frames import Forward, ReadGranted

if TYPE_CHECKING:
    from coord.jepsen_like.sim.life import Life
    from coord.jepsen_like.sim.simulation import Simulation

Trigger = tuple[str, str, float]
"""``(event, action, probability)``."""

EVENTS: Final = (
    "started", "vote_asked", "vote_granted", "election_won", "leader_ended", "append_sent", "forwarded", "read_granted",
    "committed", "sync_begun", "sync_done", "snapshot_begun", "section_save_done", "snapshot_rename_begun",
    "snapshot_rename_done", "section_sent", "install_begun", "log_reset_begun", "log_reset_done", "snapshot_installed",
    "trim_begun", "end_recovering_begun", "end_recovering_done", "expiry_proposed", "session_opened", "session_ended",
    "replied", "forming", "transfer_begun",
)  # fmt: skip
ACTIONS: Final = (
    "kill",
    "power_cut",
    "pause",
    "cut",
    "drop_reply",
    "drop_frame",
    "break_links",
    "break_clients",
)

_SENT: Final = {
    Vote: "vote_asked", Append: "append_sent", Forward: "forwarded", ReadGranted: "read_granted",
    SnapshotSection: "section_sent", TimeoutNow: "transfer_begun",
}  # fmt: skip


CHURNS: Final[tuple[tuple[Trigger, ...], ...]] = (
    # Voters die over their votes: a forgotten one is given twice.
    (("vote_granted", "kill", 0.5), ("append_sent", "kill", 0.4)),
    # Leaders die as they begin: entries of several terms that nobody has committed (figure 3.7).
    (("election_won", "kill", 0.4), ("append_sent", "kill", 0.3), ("committed", "pause", 0.05)),
    # Leaders are left alone with what they have just appended: logs that differ, the longer ones older.
    (("append_sent", "cut", 0.3), ("committed", "kill", 0.2)),
    (("append_sent", "pause", 0.3), ("committed", "power_cut", 0.1)),
)
"""Pairs that make one election follow another; see ``world.churning``."""


def draw_triggers(dice: Random) -> tuple[Trigger, ...]:
    """A few; often none."""
    count = dice.choice((0, 1, 2, 4, 6))
    return tuple(
        (
            dice.choice(EVENTS),
            dice.choice((*ACTIONS, "kill", "power_cut", "pause")),
            dice.choice((0.02, 0.1, 0.4)),
        )
        for _ in range(count)
    )


class Triggers:
    def __init__(self, sim: "Simulation", dice: Random) -> None:
        self._sim = sim
        self._dice = dice
        self._by_event: dict[str, list[tuple[str, float]]] = {}
        for event, action, probability in sim.world.triggers:
            self._by_event.setdefault(event, []).append((action, probability))
        self._sent = {kind: name for kind, name in _SENT.items() if name in self._by_event}
        self.armed = False
        self._expire_index: dict[int, int] = {}
        self._next_session: dict[int, int] = {}
        self._sessions: dict[int, int] = {}
        self._commit: dict[int, int] = {}
        self._quiet_until_ns: dict[str, int] = {}

    def happened(self, event: str, life: "Life") -> None:
        """``event`` has just happened to ``life``'s member: does anything follow?"""
        if not self.armed or not life.alive:
            return
        found = self._by_event.get(event)
        if found is None:
            return
        sim = self._sim
        if sim.agenda.now_ns < self._quiet_until_ns.get(event, 0):
            return
        for action, probability in found:
            if self._dice.random() < probability:
                # Not for ever: a cluster that is struck at each append does nothing that could be checked.
                quiet_ns = self._dice.randint(10, 1_000) * MS_NS
                self._quiet_until_ns[event] = sim.agenda.now_ns + quiet_ns
                sim.fault_counts[f"{action} at {event}"] += 1
                # After the present handler has come to its end: what a step put out has left.
                sim.agenda.after(0, sim.nemesis.strike, action, life)
                return

    def cut_short_here(self, event: str, life: "Life") -> bool:
        """For what takes no time of its own: whether to die in the middle of it."""
        found = self._by_event.get(event)
        return self.armed and found is not None and self._dice.random() < found[0][1]

    def after_step(self, life: "Life", outputs: Outputs) -> None:
        """What a step's outputs, and its state, show to have happened."""
        if not self._by_event or not self.armed or life.replica is None:
            return
        number = life.member.number
        if self._sent:
            for _, message in outputs.messages:
                name = self._sent.get(type(message))
                if name is not None:
                    self.happened(name, life)
                    break
        state = life.replica.state
        if any(output.answered for output in outputs.clients):
            self.happened("replied", life)
        if state.expire_index != self._expire_index.get(number, 0):
            self._expire_index[number] = state.expire_index
            if state.expire_index:
                self.happened("expiry_proposed", life)
        if state.raft.commit_index != self._commit.get(number, 0):
            self._commit[number] = state.raft.commit_index
            self.happened("committed", life)
        store = state.store
        if store.next_session != self._next_session.get(number, 0):
            self._next_session[number] = store.next_session
            self.happened("session_opened", life)
        if len(store.sessions) < self._sessions.get(number, 0):
            self.happened("session_ended", life)
        self._sessions[number] = len(store.sessions)
