"""Faults that are triggered by state: right after something happened, to the member to which it happened.

Uniform dice seldom hit the moment between a vote and the next tick; these do nothing else. What happened is seen from
outside, in what a step puts out and in the jobs of the disk.
"""

from random import Random
from typing import TYPE_CHECKING, Final

from coord.jepsen_like.sim.agenda import MS_NS
from coord.jepsen_like.sim.claiming import AT_HOLDER
from coord.jepsen_like.sim.claiming import EVENTS as CLAIM_EVENTS
from coord.raft.messages import Append, Heartbeat, SnapshotSection, TimeoutNow, Vote
from coord.replica.inputs import Outputs
from coord.wire.peer_frames import Forward, ReadGranted, ReadRequest

if TYPE_CHECKING:
    from coord.jepsen_like.sim.life import Life
    from coord.jepsen_like.sim.member import Member
    from coord.jepsen_like.sim.simulation import Simulation

Trigger = tuple[str, str, float]
"""``(event, action, probability)``."""

EVENTS: Final = (
    "started", "vote_asked", "vote_granted", "election_won", "leader_ended", "append_sent", "forwarded", "read_asked",
    "read_granted", "beat_sent",
    "committed", "sync_begun", "sync_done", "snapshot_begun", "section_save_done", "snapshot_rename_begun",
    "snapshot_rename_done", "section_sent", "install_begun", "log_reset_begun", "log_reset_done", "snapshot_installed",
    "trim_begun", "trim_done", "end_recovering_begun", "end_recovering_done", "expiry_proposed", "session_opened",
    "session_ended", "replied", "forming", "transfer_begun",
)  # fmt: skip
DISK_EVENTS: Final = tuple(
    f"disk_{operation}"
    for operation in ("create", "write", "sync", "truncate", "rename", "remove", "sync_directory")
)
"""Right after one operation of a disk, and before the next but one or two: only deaths can come so quickly."""
OPERATIONS_LEFT: Final = 4
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

CLAIM_ACTIONS: Final = (
    "kill",
    "power_cut",
    "pause",
    "cut",
    "drop_reply",
    "break_clients",
    "freeze",
    "freeze",
)
"""At what happens to claims; ``freeze``: the client whose claim it is stands still, for about its session's timeout."""

_SENT: Final = {
    Vote: "vote_asked", Append: "append_sent", Forward: "forwarded", ReadGranted: "read_granted",
    ReadRequest: "read_asked", Heartbeat: "beat_sent",
    SnapshotSection: "section_sent", TimeoutNow: "transfer_begun",
}  # fmt: skip

_SEEN_IN_STATE: Final = ("replied", "expiry_proposed", "committed", "session_opened", "session_ended")


def draw_triggers(dice: Random) -> tuple[Trigger, ...]:
    """A few; often none."""
    count = dice.choice((0, 1, 2, 4, 6))
    triggers = []
    for _ in range(count):
        event = dice.choice((*EVENTS, *DISK_EVENTS))
        action = dice.choice((*ACTIONS, "kill", "power_cut", "pause"))
        if event in DISK_EVENTS and action != "kill":
            action = "power_cut"
        triggers.append((event, action, dice.choice((0.02, 0.1, 0.4))))
    return tuple(triggers)


def draw_claim_triggers(dice: Random) -> tuple[Trigger, ...]:
    """Some at what happens to claims, at whoever commits it or at the member of the claim's client."""
    return tuple(
        (
            dice.choice(CLAIM_EVENTS) + dice.choice(("", AT_HOLDER)),
            dice.choice(CLAIM_ACTIONS),
            dice.choice((0.05, 0.2, 0.5)),
        )
        for _ in range(dice.choice((0, 1, 2, 3)))
    )


class Triggers:
    def __init__(self, sim: "Simulation", dice: Random) -> None:
        self._sim = sim
        self._dice = dice
        self._by_event: dict[str, list[tuple[str, float]]] = {}
        for event, action, probability in sim.world.triggers:
            self._by_event.setdefault(event, []).append((action, probability))
        self._sent = {kind: name for kind, name in _SENT.items() if name in self._by_event}
        self._seen_in_state = any(event in self._by_event for event in _SEEN_IN_STATE)
        self.armed = False
        self.on_disks = any(event in self._by_event for event in DISK_EVENTS)
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
                # After the present handler has come to its end: what a step put out has left.
                sim.agenda.after(0, sim.nemesis.strike, action, life, event)
                return

    def on_disk(self, operation: str, member: "Member") -> None:
        """``operation`` has just happened to ``member``'s disk, in the middle of a job."""
        found = self._by_event.get(f"disk_{operation}")
        sim, disk = self._sim, member.disk
        if found is None or not self.armed or disk.cut_after or member.life is None or not member.life.alive:
            return
        now_ns = sim.agenda.now_ns
        if now_ns < self._quiet_until_ns.get("disk", 0):
            return
        for action, probability in found:
            if self._dice.random() < probability:
                self._quiet_until_ns["disk"] = now_ns + self._dice.randint(10, 1_000) * MS_NS
                disk.cut_after = self._dice.randint(1, OPERATIONS_LEFT)
                member.falls_with_power = action == "power_cut"
                sim.nemesis.tell("power_cut" if member.falls_with_power else "kill", member.number, operation)
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
        if self._seen_in_state:
            self._look_at(number, life, outputs)

    def _look_at(self, number: int, life: "Life", outputs: Outputs) -> None:
        assert life.replica is not None
        state = life.replica.state
        wanted = self._by_event
        if "replied" in wanted and any(output.answered for output in outputs.clients):
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
