"""Client drivers at real replicas in virtual time, with a network that does what a test tells it."""

from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from coord.client.core.settings import CoreSettings
from coord.jepsen_like.history import Committed, Operation, Record, dump, load
from coord.jepsen_like.workloads.driver import ClientDriver
from coord.jepsen_like.workloads.settings import DriverSettings
from coord.jepsen_like.workloads.workload import Process, Step, Workload
from coord.limits import CLIENT_FRAME_MAX_BYTES
from coord.replica.inputs import ClientConnected, ClientLost, FromClient
from coord.replica.settings import ReplicaSettings
from coord.wire.client_frames import decode_client_frame
from coord.wire.framing import FrameBuffer
from tests.replica.cluster import TICK_MS, Cluster

__all__ = ["MS", "TICK_MS", "World"]

MS = 1_000_000


class Wire:
    """One connection. What is under way arrives at the next step; what a held direction carries waits."""

    def __init__(self, world: "World", member: int, number: int) -> None:
        self.world = world
        self.member = member
        self.number = number
        self.frames = FrameBuffer(CLIENT_FRAME_MAX_BYTES)
        self.down: deque[bytes] = deque()
        self.closed = False

    def take(self, data: bytes, close: bool) -> None:
        """From the member."""
        self.down.append(data)
        self.closed = self.closed or close

    def lose(self) -> None:
        """The member is gone."""
        self.closed = True

    def send(self, data: bytes) -> None:
        member = self.world.cluster.members[self.member]
        if member.replica is not None:
            limits = self.world.cluster.settings.limits
            member.inbox += [
                FromClient(self.number, decode_client_frame(raw, limits)) for raw in self.frames.feed(data)
            ]


class World:
    """``history`` is everything that was recorded. A step is a tick of the members; clients get a microsecond each."""

    def __init__(self, settings: ReplicaSettings | None = None, size: int = 3, seed: int = 1) -> None:
        self.cluster = Cluster(size, settings, seed)
        self.history: list[Record] = []
        self.now_ns = self.cluster.now_ms * MS
        self.facts: dict[str, Any] = {}
        self.seed = seed
        self.drivers: list[ClientDriver] = []
        self.wires: dict[int, Wire] = {}
        self.deaf: dict[int, None] = {}
        """Processes that do not get what members send: it is lost with the connection."""
        self.dice = Random(seed)

    def process(self, number: int, has_session: bool = True) -> Process:
        return Process(number, Random(f"{self.seed}/{number}"), self.facts, has_session)

    def start(
        self, me: Process, script: Iterable[Step], settings: DriverSettings | None = None
    ) -> ClientDriver:
        driver = ClientDriver(me, script, self.history.append, settings or DriverSettings(), self.now_ns)
        self.drivers.append(driver)
        return driver

    def run(self, *drivers: ClientDriver) -> None:
        """Until these are done."""
        self.until(lambda: all(driver.done for driver in drivers))

    def until(self, holds: Callable[[], bool], steps: int = 2_000) -> None:
        for _ in range(steps):
            if holds():
                return
            self.step()
        raise AssertionError(f"not within {steps} steps")

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self.cluster.tick()
            self.now_ns = max(self.now_ns, self.cluster.now_ms * MS)
            for driver in self.drivers:
                self._drive(driver)
            self.cluster.settle()

    def cut(self, driver: ClientDriver) -> None:
        """Both ends learn of it at once; what was under way is lost."""
        wire = self.wires.pop(driver.process.number, None)
        if wire is not None:
            self._forget(wire)
            driver.disconnected(self._instant())

    def member_of(self, driver: ClientDriver) -> int:
        return self.wires[driver.process.number].member

    def run_workload(self, workload: Workload, processes: int, steps: int, faults: bool = True) -> None:
        """From its setup to its finish, with cut connections and isolated members meanwhile."""
        self.run(self.start(self.process(0), workload.setup()))
        settings = DriverSettings(deadline_ms=1_000, core=CoreSettings(session_timeout_ms=1_500))
        drivers = []
        for number in range(1, processes + 1):
            me = self.process(number, has_session=number != processes)
            drivers.append(self.start(me, workload.process(me), settings))
        for _ in range(steps):
            self.step()
            if faults:
                self._disturb(drivers)
        self.cluster.heal()
        self.deaf.clear()
        for driver in drivers:
            driver.stop(self._instant())
        self.run(*drivers)
        me = self.process(processes + 1)
        self.run(self.start(me, workload.finish(me)))
        for driver in self.drivers:
            driver.close(self._instant())

    def _disturb(self, drivers: list[ClientDriver]) -> None:
        if self.dice.random() < 0.02:
            self.cut(self.dice.choice(drivers))
        if self.dice.random() < 0.01:
            self.cluster.heal()
            if self.dice.random() < 0.5:
                self.cluster.isolate(self.dice.choice(list(self.cluster.members)))
        if self.dice.random() < 0.02:
            self.deaf = {} if self.deaf else {self.dice.choice(drivers).process.number: None}

    # --- what was recorded ---

    def of(self, kind: type[Any], process: int | None = None) -> list[Any]:
        return [
            each
            for each in self.history
            if type(each) is kind and (process is None or each.process == process)  # type: ignore[union-attr]
        ]

    def outcomes(self, process: int) -> list[tuple[str, str]]:
        """``(op, outcome)`` of each operation, in order."""
        return [(type(each.op).__name__, each.outcome) for each in self.of(Operation, process)]

    def whole_history(self) -> list[Record]:
        """With what was committed, and through its file's form and back."""
        committed = [
            Committed(revision, index, changes, 0)
            for revision, index, _, changes in (
                self.cluster.revisions[number] for number in sorted(self.cluster.revisions)
            )
        ]
        return load(dump([*self.history, *committed]))

    # --- inside ---

    def _drive(self, driver: ClientDriver) -> None:
        number = driver.process.number
        driver.tick(self._instant())
        if driver.wants_hang_up:
            self.cut(driver)
        if driver.wants_connection:
            self._dial(driver)
        wire = self.wires.get(number)
        if wire is None:
            return
        while wire.down and number not in self.deaf and self.wires.get(number) is wire:
            # In portions that have nothing to do with frames.
            data = wire.down.popleft()
            middle = self.dice.randint(0, len(data))
            driver.received(data[:middle], self._instant())
            driver.received(data[middle:], self._instant())
            if driver.wants_hang_up:
                self.cut(driver)
        if self.wires.get(number) is wire and wire.closed and not wire.down:
            self.cut(driver)
        data = driver.take_bytes()
        if data:
            wire.send(data)

    def _dial(self, driver: ClientDriver) -> None:
        number = driver.process.number
        up = [each for each in self.cluster.members if self.cluster.up(each)]
        if not up:
            driver.disconnected(self._instant())
            return
        member = self.dice.choice([each for each in up if each != driver.avoid] or up)
        self.cluster.connections += 1
        wire = self.wires[number] = Wire(self, member, self.cluster.connections)
        self.cluster.clients[(member, wire.number)] = wire  # type: ignore[assignment]
        secret = wire.number.to_bytes(16, "big")
        self.cluster.members[member].inbox.append(ClientConnected(wire.number, secret, ""))
        driver.connected(member, wire.number, self._instant())

    def _forget(self, wire: Wire) -> None:
        if self.cluster.clients.pop((wire.member, wire.number), None) is not None:
            self.cluster.members[wire.member].inbox.append(ClientLost(wire.number))

    def _instant(self) -> int:
        """Each is later than all before; a step has many."""
        self.now_ns += 1_000
        return self.now_ns
