"""Real replicas in memory, and clients whose connections are slow, cut and half dead. One seed decides everything.

What a cut leaves behind is the point. The client knows at once, and goes elsewhere; the member may know much
later, and what the client had sent until then still arrives, whole or in part, long after it was sent
again to somebody else. Replies and events that were on their way to the client are lost.
"""

from collections import deque
from random import Random

from coord.client.core import OVER, Core, CoreSettings
from coord.limits import CLIENT_FRAME_MAX_BYTES, MemberLimits
from coord.raft.types import Configuration, HardState, SnapshotMeta
from coord.replica.inputs import (
    ClientConnected,
    ClientLost,
    FromClient,
    FromPeer,
    GoOn,
    Input,
    PeerLost,
    Persisted,
    Tick,
)
from coord.replica.replica import Replica
from coord.replica.settings import ReplicaSettings
from coord.replica.state import Who
from coord.wire.client_frames import decode_client_frame
from coord.wire.framing import FrameBuffer
from coord.wire.peer_frames import MessageEncoder, decode_messages

TICK_MS = 20
SETTLE_ROUNDS = 1_000


class Wire:
    """One connection. ``up`` and ``down``: chunks on their way, and the step at which each arrives."""

    def __init__(self, number: int, member: int) -> None:
        self.number = number
        self.member = member
        self.up: deque[tuple[int, bytes]] = deque()
        self.down: deque[tuple[int, bytes]] = deque()
        self.frames = FrameBuffer(CLIENT_FRAME_MAX_BYTES)
        self.client_gone = False
        self.member_gone = False
        self.lost_at: int | None = None
        """The step at which the member learns of the cut."""


class World:
    """Three members, any number of clients."""

    def __init__(self, seed: int, limits: MemberLimits | None = None) -> None:
        self.dice = Random(seed)
        self.step_number = 0
        self.settings = ReplicaSettings(limits=limits or MemberLimits())
        members = (1, 2, 3)
        addresses = {each: f"member-{each}:1" for each in members}
        configuration = Configuration(members)
        self.replicas = {
            each: Replica(
                Who(each, b"c" * 16, each * 1000, addresses),
                self.settings,
                seed * 7 + each,
                HardState(0, 0),
                SnapshotMeta(0, 0, configuration),
                None,
                [],
            )
            for each in members
        }
        self.cut_off: set[int] = set()
        """Members whose peers do not hear them, nor they their peers."""
        self.frozen: set[int] = set()
        """Members that stand still; what is sent to them waits."""
        self._inbox: dict[int, list[Input]] = {each: [] for each in members}
        self._encoder = MessageEncoder()
        self._wires: dict[int, Wire] = {}
        self._last_wire = 0
        self.clients: list[Driver] = []
        self.slowest_steps = 0
        """Chunks take from 0 to so many steps, in their order."""

    @property
    def now(self) -> float:
        return self.step_number * TICK_MS / 1000

    @property
    def leader(self) -> int:
        leaders = [each for each, replica in self.replicas.items() if replica.state.leads]
        return max(leaders, key=lambda each: self.replicas[each].state.raft.term, default=0)

    def client(self, **settings: object) -> "Driver":
        driver = Driver(self, Core(CoreSettings(**settings)))  # type: ignore[arg-type]
        self.clients.append(driver)
        return driver

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()

    def step(self) -> None:
        """Twenty milliseconds."""
        self.step_number += 1
        for member, inbox in self._inbox.items():
            if member not in self.frozen:
                inbox.append(Tick())
        for driver in self.clients:
            driver.drive()
        for wire in list(self._wires.values()):
            self._carry_up(wire)
        self._settle()
        for wire in list(self._wires.values()):
            self._carry_down(wire)
        for driver in self.clients:
            driver.drive()

    def _settle(self) -> None:
        now_ms = self.step_number * TICK_MS
        for _ in range(SETTLE_ROUNDS):
            busy = [each for each in self.replicas if self._inbox[each] and each not in self.frozen]
            if not busy:
                return
            for member in busy:
                inputs, self._inbox[member] = self._inbox[member], []
                replica = self.replicas[member]
                replica.step(now_ms, now_ms, inputs)
                outputs = replica.take_outputs()
                self._inbox[member] += [Persisted(each.number) for each in outputs.persists]
                self._inbox[member] += [GoOn()] * outputs.go_on
                for peer, message in outputs.messages:
                    if peer not in self.cut_off and member not in self.cut_off:
                        frame = self._encoder.frame([message])
                        self._inbox[peer].append(FromPeer(member, decode_messages(frame[5:])))
                for output in outputs.clients:
                    wire = self._wires.get(output.connection)
                    if wire is not None:
                        wire.down.append((self._arrives(wire.down), output.data))
                        wire.member_gone = wire.member_gone or output.close
        raise AssertionError("the members keep each other busy for ever")

    # --- connections ---

    def dial(self, member: int) -> Wire:
        self._last_wire += 1
        wire = self._wires[self._last_wire] = Wire(self._last_wire, member)
        secret = self.dice.randbytes(16)
        self._inbox[member].append(ClientConnected(wire.number, secret, ""))
        return wire

    def cut(self, wire: Wire, notice_steps: int = 0) -> None:
        """The client's end is gone; the member notices later, and takes what was sent until then (or a part)."""
        wire.client_gone = True
        wire.down.clear()
        wire.lost_at = self.step_number + notice_steps

    def send(self, wire: Wire, data: bytes) -> None:
        wire.up.append((self._arrives(wire.up), data))

    def _arrives(self, queue: deque[tuple[int, bytes]]) -> int:
        at = self.step_number + self.dice.randint(0, self.slowest_steps)
        return max(at, queue[-1][0]) if queue else at

    def _carry_up(self, wire: Wire) -> None:
        if wire.member in self.frozen:
            return
        inbox = self._inbox[wire.member]
        lost = wire.lost_at is not None and wire.lost_at <= self.step_number
        while wire.up and (wire.up[0][0] <= self.step_number or lost):
            data = wire.up.popleft()[1]
            if lost and self.dice.random() < 0.5:
                data = data[: self.dice.randint(0, len(data))]
                wire.up.clear()
            if not wire.member_gone:
                limits = self.settings.limits
                inbox += [
                    FromClient(wire.number, decode_client_frame(raw, limits))
                    for raw in wire.frames.feed(data)
                ]
        if lost:
            inbox.append(ClientLost(wire.number))
            del self._wires[wire.number]

    def _carry_down(self, wire: Wire) -> None:
        while wire.down and wire.down[0][0] <= self.step_number and not wire.client_gone:
            data = wire.down.popleft()[1]
            for driver in self.clients:
                if driver.wire is wire:
                    driver.arrived(data)
        if wire.member_gone and not wire.down:
            for driver in self.clients:
                if driver.wire is wire:
                    driver.hung_up()

    # --- faults ---

    def disturb(self) -> None:
        """One step's share of trouble."""
        dice = self.dice
        if dice.random() < 0.02:
            self.cut_off = {dice.randint(1, 3)} if not self.cut_off else set()
            for member in self.replicas:
                self._inbox[member] += [PeerLost(peer) for peer in self.replicas if peer != member]
        if dice.random() < 0.02:
            self.frozen = {dice.randint(1, 3)} if not self.frozen else set()
        for driver in self.clients:
            if dice.random() < 0.02:
                driver.cut(dice.choice((0, 1, 5, 50)))

    def heal(self) -> None:
        self.cut_off = set()
        self.frozen = set()


class Driver:
    """Drives one core: what the async shell does, by hand and by dice."""

    def __init__(self, world: World, core: Core) -> None:
        self.world = world
        self.core = core
        self.wire: Wire | None = None
        self.connections = 0

    def drive(self) -> None:
        """Everything that is to be done now."""
        core, world = self.core, self.world
        if core.state in OVER:
            return
        core.tick(world.now)
        if core.hang_up is not None:
            self.cut(world.dice.choice((0, 10)))
        if self.wire is None:
            self.wire = world.dial(world.dice.randint(1, 3))
            self.connections += 1
            core.connected(world.now)
        data = core.take_bytes()
        if data:
            world.send(self.wire, data)

    def arrived(self, data: bytes) -> None:
        self.core.received(data, self.world.now)

    def hung_up(self) -> None:
        self.cut(0)

    def cut(self, notice_steps: int) -> None:
        if self.wire is not None:
            self.world.cut(self.wire, notice_steps)
            self.wire = None
            self.core.disconnected(self.world.now)
