"""The clients of a run: real client cores (through their drivers), over connections that break in every way.

A break is seen by each end at a time of its own. What a client had sent until then may still arrive, whole or in part,
long after it was sent again to somebody else; what was on its way down is lost.
"""

from random import Random
from typing import TYPE_CHECKING, Final

from coord.jepsen_like.sim.agenda import MICROSECOND_NS, MS_NS, SECOND_NS
from coord.jepsen_like.sim.trace import DOWN, UP
from coord.jepsen_like.workloads.clock import NEVER_NS
from coord.jepsen_like.workloads.driver import ClientDriver
from coord.limits import CLIENT_FRAME_MAX_BYTES
from coord.replica.inputs import ClientConnected, ClientLost, ClientOutput, FromClient
from coord.wire.cbor import DecodeError
from coord.wire.client_frames import ClientFrame, Hello, Reads, Writes, decode_client_frame
from coord.wire.framing import FrameBuffer

if TYPE_CHECKING:
    from coord.jepsen_like.sim.life import Life
    from coord.jepsen_like.sim.simulation import Simulation

RETRY_FIRST_NS: Final = 10 * MS_NS
RETRY_MAX_NS: Final = SECOND_NS
NOTICED_LATE_NS: Final = 5 * SECOND_NS
"""An end that the other does not tell of is noticed within so long."""


class Wire:
    """One connection."""

    __slots__ = (
        "client", "client_gone", "deaf", "down_bytes", "frames", "full", "last_down_ns", "last_up_ns", "life",
        "member_gone", "number", "unanswered", "waits_since_ns",
    )  # fmt: skip

    def __init__(self, number: int, client: "Client", life: "Life") -> None:
        self.number = number
        self.client = client
        self.life = life
        self.frames = FrameBuffer(CLIENT_FRAME_MAX_BYTES)
        self.client_gone = False
        self.member_gone = False
        self.deaf = False
        """Nothing passes any more, and nobody is told."""
        self.full = False
        self.unanswered = 0
        """Requests that the member has taken and not answered (fewer, if it answers one twice: sent again, it may)."""
        self.waits_since_ns = 0
        self.down_bytes = 0
        self.last_up_ns = self.last_down_ns = 0


class Client:
    """One driver, and what its shell would keep."""

    __slots__ = ("dialling", "driver", "frozen", "missed", "number", "retry_ns", "timer_ns", "wire")

    def __init__(self, number: int, driver: ClientDriver) -> None:
        self.number = number
        self.driver = driver
        self.wire: Wire | None = None
        self.dialling = False
        self.retry_ns = RETRY_FIRST_NS
        self.timer_ns = NEVER_NS
        self.frozen = False
        """Its process stands still."""
        self.missed: list[tuple[Wire, bytes, bool]] = []
        """What came meanwhile."""


class Clients:
    def __init__(self, sim: "Simulation", dice: Random) -> None:
        self._sim = sim
        self._dice = dice
        self._connections = 0
        self.all: list[Client] = []
        self.cut_off: dict[int, None] = {}
        """Members that clients cannot reach."""
        self.drop_next: dict[int, None] = {}
        """Members whose next reply is lost on its way, and the connection with it."""
        self.heard_ns: dict[int, int] = {}
        """When a client of that session last sent something."""

    def add(self, driver: ClientDriver) -> Client:
        client = Client(driver.process.number, driver)
        self.all.append(client)
        self.drive(client)
        return client

    def life_of(self, session: int) -> "Life | None":
        """The member's that the client of ``session`` is connected to."""
        client = self.client_of(session)
        return (
            None if client is None or client.wire is None or not client.wire.life.alive else client.wire.life
        )

    def client_of(self, session: int) -> Client | None:
        for client in self.all:
            if client.driver.process.session == session:
                return client
        return None

    # --- driving ----------------------------------------------------------------------------------------------------

    def drive(self, client: Client) -> None:
        """Everything that its driver wants now."""
        if client.frozen:
            return
        driver, now_ns = client.driver, self._sim.agenda.now_ns
        while True:
            if client.wire is not None:
                data = driver.take_bytes()
                if data:
                    self._send_up(client.wire, data)
            if not driver.wants_hang_up:
                break
            self._hang_up(client)
        if driver.wants_connection and not client.dialling:
            client.dialling = True
            self._sim.agenda.after(self._dice.randint(MS_NS, client.retry_ns), self._dial, client)
            client.retry_ns = min(2 * client.retry_ns, RETRY_MAX_NS)
        at_ns = driver.next_at_ns
        if at_ns < client.timer_ns or client.timer_ns <= now_ns:
            client.timer_ns = at_ns
            if at_ns < NEVER_NS:
                self._sim.agenda.at(at_ns, self._timer, client, at_ns)

    def _timer(self, client: Client, at_ns: int) -> None:
        if client.timer_ns != at_ns or client.frozen:
            return
        client.timer_ns = NEVER_NS
        client.driver.tick(self._sim.agenda.now_ns)
        self.drive(client)

    def freeze(self, client: Client) -> None:
        client.frozen = True

    def thaw(self, client: Client) -> None:
        if not client.frozen:
            return
        client.frozen = False
        client.timer_ns = NEVER_NS
        missed, client.missed = client.missed, []
        # The clock first, as an event loop does: time has passed whatever the sockets hold.
        client.driver.tick(self._sim.agenda.now_ns)
        for wire, data, ends in missed:
            self._take(wire, data, ends)
        self.drive(client)

    # --- connecting -------------------------------------------------------------------------------------------------

    def _dial(self, client: Client) -> None:
        client.dialling = False
        if client.frozen or client.wire is not None or not client.driver.wants_connection:
            if client.frozen:
                client.dialling = True
                self._sim.agenda.after(client.retry_ns, self._dial, client)
            return
        sim, driver = self._sim, client.driver
        others = [each for each in sim.members if each != driver.avoid] or sim.members
        number = self._dice.choice(others)
        life = sim.member(number).life
        now_ns = sim.agenda.now_ns
        if life is None or life.replica is None or number in self.cut_off:
            driver.disconnected(now_ns)
            self.drive(client)
            return
        self._connections += 1
        client.wire = wire = Wire(self._connections, client, life)
        life.wires[wire.number] = wire
        life.put(ClientConnected(wire.number, self._dice.randbytes(16), ""))
        driver.connected(number, wire.number, now_ns)
        self.drive(client)

    def _hang_up(self, client: Client) -> None:
        """The client drops its stream; what it sent before still arrives."""
        wire, client.wire = client.wire, None
        if wire is not None:
            wire.client_gone = True
            self._sim.agenda.at(
                max(wire.last_up_ns, self._sim.agenda.now_ns + self._delay_ns()), self._lost, wire
            )
        client.driver.disconnected(self._sim.agenda.now_ns)

    def _lost(self, wire: Wire) -> None:
        """The member learns that the client has gone."""
        if not wire.member_gone:
            wire.member_gone = True
            wire.life.wires.pop(wire.number, None)
            wire.life.put(ClientLost(wire.number))

    # --- bytes ------------------------------------------------------------------------------------------------------

    def _delay_ns(self) -> int:
        world = self._sim.world
        return self._dice.randint(world.delay_min_us, world.delay_max_us) * MICROSECOND_NS

    def _send_up(self, wire: Wire, data: bytes) -> None:
        self.heard_ns[wire.client.driver.process.session] = self._sim.agenda.now_ns
        wire.last_up_ns = max(self._sim.agenda.now_ns + self._delay_ns(), wire.last_up_ns)
        self._sim.agenda.at(wire.last_up_ns, self._up, wire, data)

    def _up(self, wire: Wire, data: bytes) -> None:
        life = wire.life
        if wire.member_gone or not life.alive or wire.deaf:
            return
        if wire.client_gone and self._dice.random() < 0.3:
            data = data[: self._dice.randint(0, len(data))]  # the rest was still in the client's own host
            wire.deaf = True
        self._sim.trace.note(self._sim.agenda.now_ns, UP, wire.number, life.member.number, data)
        try:
            for raw in wire.frames.feed(data):
                frame = decode_client_frame(raw, self._sim.settings.limits)
                if not wire.unanswered:
                    wire.waits_since_ns = self._sim.agenda.now_ns
                wire.unanswered += _requests_of(frame)
                life.put(FromClient(wire.number, frame))
        except DecodeError as error:
            self._sim.broken("codec", f"a client's frame does not decode: {error}")

    def send_down(self, wire: Wire, output: ClientOutput) -> None:
        wire.unanswered = max(0, wire.unanswered - output.answered)
        if wire.client_gone or wire.deaf:
            return
        member = wire.life.member.number
        if member in self.drop_next and output.answered:
            del self.drop_next[member]
            self._sim.fault_counts["dropped reply"] += 1
            self.break_wire(wire, member_first=False)
            return
        wire.down_bytes += len(output.data)
        if wire.down_bytes > self._sim.world.backlog_bytes and not wire.full:
            wire.full = True
            self._sim.mark("client_backlog")
            wire.life.backlog(wire.number, True)
        wire.last_down_ns = max(self._sim.agenda.now_ns + self._delay_ns(), wire.last_down_ns)
        self._sim.agenda.at(wire.last_down_ns, self._down, wire, output.data, output.close)
        if output.close:
            wire.member_gone = True
            wire.life.wires.pop(wire.number, None)

    def _down(self, wire: Wire, data: bytes, ends: bool) -> None:
        wire.down_bytes -= len(data)
        if wire.full and wire.down_bytes * 2 <= self._sim.world.backlog_bytes:
            wire.full = False
            if not wire.member_gone:
                wire.life.backlog(wire.number, False)
        if wire.client_gone or wire.deaf:
            return
        if wire.client.frozen:
            wire.client.missed.append((wire, data, ends))
            return
        self._take(wire, data, ends)
        self.drive(wire.client)

    def _take(self, wire: Wire, data: bytes, ends: bool) -> None:
        client, now_ns = wire.client, self._sim.agenda.now_ns
        if wire.client_gone or client.wire is not wire:
            return
        self._sim.trace.note(now_ns, DOWN, wire.number, client.number, data)
        client.retry_ns = RETRY_FIRST_NS
        client.driver.received(data, now_ns)
        if ends:
            wire.client_gone = True
            client.wire = None
            client.driver.disconnected(now_ns)

    # --- breaking ---------------------------------------------------------------------------------------------------

    def break_wire(self, wire: Wire, member_first: bool) -> None:
        """One end learns of it now, the other later."""
        late_ns = self._dice.choice((self._delay_ns(), self._dice.randint(0, NOTICED_LATE_NS)))
        if member_first:
            self._lost(wire)
            wire.deaf = True
            self._sim.agenda.after(late_ns, self._client_learns, wire)
        else:
            self._client_learns(wire)
            self._sim.agenda.after(late_ns, self._lost, wire)

    def _client_learns(self, wire: Wire) -> None:
        client = wire.client
        if wire.client_gone or client.wire is not wire:
            return
        if client.frozen:
            self._sim.agenda.after(RETRY_MAX_NS, self._client_learns, wire)
            return
        wire.client_gone = True
        client.wire = None
        client.driver.disconnected(self._sim.agenda.now_ns)
        self.drive(client)

    def life_ended(self, life: "Life", power: bool) -> None:
        """Its host says so, unless it has gone, too."""
        for wire in list(life.wires.values()):
            wire.member_gone = wire.deaf = True
            late_ns = self._dice.randint(0, NOTICED_LATE_NS) if power else self._delay_ns()
            self._sim.agenda.after(late_ns, self._client_learns, wire)
        life.wires.clear()

    def go_deaf(self, member: int) -> None:
        """The connections to ``member`` carry nothing any more; clients find out by themselves, members later."""
        life = self._sim.member(member).life
        if life is not None:
            for wire in life.wires.values():
                wire.deaf = True
                self._sim.agenda.after(self._dice.randint(SECOND_NS, NOTICED_LATE_NS), self._lost, wire)


def _requests_of(frame: ClientFrame) -> int:
    """How many answers ``frame`` asks for."""
    if isinstance(frame, Reads | Writes):
        return len(frame.requests) + len(frame.refused)
    return 0 if isinstance(frame, Hello) else 1
