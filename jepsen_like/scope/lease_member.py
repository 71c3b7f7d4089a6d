"""One member of the lease scope: a real ``Replica``, whose disk is instant and whose clock is the scope's.

Raft, the store, leases, reads and the client's frames are the shipped ones; what is rewritten (as in normal.py) is
what time alone counts. A moment is one tick. The scope's whole time is shorter than the longest step that a lease
clock takes at once, so a lease clock is right whenever it is looked at, and how it is split into steps does not matter.
"""

from typing import Any, Final

from coord.api.commands import EXPIRE_SESSIONS
from coord.jepsen_like.scope.disk import Disk
from coord.jepsen_like.scope.model import Action, Effects
from coord.jepsen_like.scope.normal import normalise
from coord.raft import election
from coord.raft.settings import RaftSettings
from coord.raft.types import ENTRY_COMMANDS, Configuration, Entry, HardState, SnapshotMeta
from coord.replica.inputs import ClientConnected, FromClient, FromPeer, Input, Persisted, Tick
from coord.replica.replica import Replica
from coord.replica.settings import ReplicaSettings
from coord.replica.state import Who
from coord.wire.client_frames import (
    ClientFrame,
    Hello,
    Keepalive,
    NewSession,
    Replies,
    decode_server_frame,
)
from coord.wire.entries import decode_entry
from coord.wire.framing import FrameBuffer
from coord.wire.peer_frames import ReadRequest

MOMENT_MS: Final = 1_000
"""One tick, and the session's timeout: the shortest that the store grants."""

SETTINGS: Final = ReplicaSettings(
    tick_ms=MOMENT_MS,
    raft=RaftSettings(election_ticks=1_000, heartbeat_ticks=500),  # campaigns are actions of their own
    touch_ticks=1,
    lease_ticks=1,
)

CONNECTION: Final = 1
"""The one client's, at the member where it opened its session."""


class LeaseMember:
    """See the module."""

    __slots__ = ("disk", "number", "replica", "rounds_taken")

    def __init__(self, number: int, members: int) -> None:
        configuration = Configuration(tuple(range(1, members + 1)))
        none = SnapshotMeta(0, 0, configuration)
        self.number = number
        who = Who(number, b"c" * 16, number)
        self.replica = Replica(who, SETTINGS, number, HardState(0, 0), none, None, [])
        self.disk = Disk(none)
        """Never crashed, so nothing is kept on it: its queue is what the numbering of batches goes by."""
        self.rounds_taken: dict[tuple[int, int], None] = {}
        """``(peer, number)`` of each ReadRequest. A connection repeats nothing, and each repetition would begin a
        round of heartbeats of its own, without end. All other messages may come as often as they like."""

    def act(self, action: Action) -> Effects:
        """Do it; every action but the passing of time says at which moment."""
        kind, detail = action
        if kind == "time passes":
            return Effects((), ())
        inputs: list[Input] = []
        if kind == "deliver":
            sender, message, moment = detail
            if isinstance(message, ReadRequest):
                if (sender, message.read) in self.rounds_taken:
                    return Effects((), ())
                self.rounds_taken[sender, message.read] = None
            inputs.append(FromPeer(sender, [message]))
        elif kind == "keepalive":
            request, moment = detail
            inputs.append(FromClient(CONNECTION, Keepalive(request)))
        elif kind == "tick":
            moment = detail
            inputs.append(Tick())
        elif kind == "campaign":
            moment = detail
            election.campaign(self.replica.state.raft._state, forced=True)
        elif kind == "open":
            moment = detail
            hello: ClientFrame = Hello(NewSession(MOMENT_MS), "scope", None)
            inputs += [ClientConnected(CONNECTION, b"s" * 16, ""), FromClient(CONNECTION, hello)]
        else:
            raise ValueError(kind)
        return self._step(inputs, moment)

    def _step(self, inputs: list[Input], moment: int) -> Effects:
        raft = self.replica.state.raft
        committed = raft.commit_index
        messages: list[tuple[int, Any]] = []
        events: list[tuple[Any, ...]] = []
        while True:
            self.replica.step(moment * MOMENT_MS, moment * MOMENT_MS, inputs)
            outputs = self.replica.take_outputs()
            messages += outputs.messages
            for output in outputs.clients:
                events += _heard_by_client(output.data)
            if not outputs.persists and not outputs.go_on:
                break
            inputs = [Persisted(persist.number) for persist in outputs.persists]
        if raft.commit_index > committed:
            entries = raft._state.log.slice(committed + 1, raft.commit_index)
            events += [("expired", *each) for each in _expiries(entries)]
        self._rewrite()
        return Effects(tuple(messages), tuple(events))

    def _rewrite(self) -> None:
        state = self.replica.state
        normalise(state.raft, self.disk, 0, False, True)
        # Set anew at the beginning of each step.
        state.now_ms = state.wall_ms = 0
        # Nothing here waits for a number of ticks: all that does is asked at every tick, or outlasts the scope.
        state.ticks = state.progress_tick = state.rounds.asked_ticks = 0
        state.snapshot_maker._quiet_ticks = 0
        for progress in state.raft._state.peers:
            progress.silent_ticks = 0
        leases = state.leases
        if leases is not None:
            # The lease clock runs with the true one, however many steps it takes: only their difference matters.
            leases.waking_ms -= leases._last_tick_ms
            leases._last_tick_ms = 0


def _heard_by_client(data: bytes) -> list[tuple[Any, ...]]:
    """``("answered", request)`` for each answer that says yes."""
    answered: list[tuple[Any, ...]] = []
    for raw in FrameBuffer(1 << 20).feed(data):
        frame = decode_server_frame(raw)
        if isinstance(frame, Replies):
            answered += [("answered", row[0]) for row in frame.rows if row[1] == 0]
    return answered


def _expiries(entries: list[Entry]) -> list[tuple[int, int]]:
    """``(index, moment of the proposal)`` of the entries that expire sessions."""
    found = []
    for entry in entries:
        if entry.kind == ENTRY_COMMANDS and entry.data:
            _, wall_ms, commands = decode_entry(entry.data)
            if any(command[0] == EXPIRE_SESSIONS for command in commands):
                found.append((entry.index, wall_ms // MOMENT_MS))
    return found
