"""One run: everything put together, and what it knows. The phases of a run are in phases.py."""

from collections import Counter
from random import Random

from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Leader, Record, SessionProof
from coord.jepsen_like.sim.ageing import Ageing
from coord.jepsen_like.sim.agenda import MS_NS, Agenda
from coord.jepsen_like.sim.budget import Budget
from coord.jepsen_like.sim.claiming import Claiming
from coord.jepsen_like.sim.clients import Clients
from coord.jepsen_like.sim.clocks import Clocks
from coord.jepsen_like.sim.disk import SimDisk
from coord.jepsen_like.sim.invariants import Ghosts
from coord.jepsen_like.sim.life import Life
from coord.jepsen_like.sim.member import Member
from coord.jepsen_like.sim.nemesis import Nemesis
from coord.jepsen_like.sim.network import Network
from coord.jepsen_like.sim.proofs import Proofs
from coord.jepsen_like.sim.trace import DISK, LIFE, Trace
from coord.jepsen_like.sim.triggers import Triggers
from coord.jepsen_like.sim.world import World

SHORT_LIFE_MS = 300


class Simulation:
    """Nothing in here reads a clock, or draws from dice but its own, one set for each part of it: so that
    what one part draws moves nothing in another."""

    def __init__(self, seed: int, world: World, trace: Trace) -> None:
        self.seed = seed
        self.world = world
        self.trace = trace
        self.agenda = Agenda()
        self.settings = world.replica_settings()
        self.members = list(range(1, world.members + 1))
        self.history: list[Record] = []
        self.violations: list[Violation] = []
        self.marks: Counter[str] = Counter()
        """Rare paths that were reached, and how often."""
        self.fault_counts: Counter[str] = Counter()
        self.calm = False
        """No more faults: the phase of liveness has begun."""
        self.healed_ns = 0
        """When all members got on together again; 0: not yet."""
        self._dice = self.dice("lives")
        self._members = {number: self._make_member(number) for number in self.members}
        self.network = Network(
            world, self.agenda, self.dice("network"), trace, self.members, self._frame_lost
        )
        self.clients = Clients(self, self.dice("clients"))
        self.claiming = Claiming(self)
        self.ageing = Ageing(self)
        self.proofs = Proofs(self)
        self.budget = Budget(self)
        self.ghosts = Ghosts(self)
        self.triggers = Triggers(self, self.dice("triggers"))
        self.nemesis = Nemesis(self, self.dice("nemesis"))

    def dice(self, name: str) -> Random:
        """Dice of their own for one part of the run."""
        return Random(f"{name} {self.seed}")

    def _make_member(self, number: int) -> Member:
        trace, agenda = self.trace, self.agenda

        def on_operation(operation: str, name: str, data: bytes) -> None:
            trace.note(agenda.now_ns, DISK, number, len(operation), name.encode() + data)
            if self.triggers.on_disks:
                self.triggers.on_disk(operation, self._members[number])

        disk = SimDisk(f"/member-{number}", self.dice(f"disk {number}"), on_operation)
        dice = self.dice(f"member {number}")
        clocks = Clocks(1.0 + dice.uniform(-self.world.drift, self.world.drift))
        return Member(number, disk, clocks, dice)

    # --- what happens -----------------------------------------------------------------------------------------------

    def member(self, number: int) -> Member:
        return self._members[number]

    def all_members(self) -> list[Member]:
        return list(self._members.values())

    @property
    def lives(self) -> list[Life]:
        return [member.life for member in self._members.values() if member.life is not None]

    def record(self, record: Record) -> None:
        self.history.append(record)
        if type(record) is SessionProof:
            self.proofs.proven(record)

    def mark(self, name: str) -> None:
        self.marks[name] += 1

    def happened(self, event: str, life: Life) -> None:
        self.marks[event] += 1
        self.triggers.happened(event, life)

    def happened_to(self, event: str, number: int) -> None:
        life = self._members[number].life
        if life is None:
            self.marks[event] += 1
        else:
            self.happened(event, life)

    def leads(self, number: int, term: int) -> None:
        self.record(Leader(number, term, self.agenda.now_ns))

    def broken(self, promise: str, what: str) -> None:
        """A promise is broken: the run ends here."""
        self.violations.append(Violation(promise, f"{what}, at {self.agenda.now_ns / 1e9:.6f} s"))
        self.agenda.stopped = True

    def _frame_lost(self) -> None:
        self.fault_counts["lost frame"] += 1

    # --- lives ------------------------------------------------------------------------------------------------------

    def start(self, member: Member) -> None:
        """Begin a life, if none is there and none is forbidden."""
        member.start_planned = False
        if member.life is not None or member.held:
            return
        member.lives += 1
        life = member.life = Life(self, member)
        self.trace.say(self.agenda.now_ns, LIFE, member.number, f"start {member.lives}")
        if member.quick_deaths:
            member.quick_deaths -= 1
            if member.dice.random() < 0.5:
                member.disk.cut_after = member.dice.randint(1, 20)
            else:
                self.agenda.after(member.dice.randint(0, SHORT_LIFE_MS) * MS_NS, self._end_quickly, life)
        life.begin()
        member.disk.cut_after = 0

    def _end_quickly(self, life: Life) -> None:
        if life.alive:
            self.fault_counts["kill"] += 1
            self.end_life(life, life.member.dice.random() < 0.3)

    def end_life(self, life: Life, power: bool) -> None:
        """The process dies, by a signal or with its host."""
        member = life.member
        if not life.alive:
            return
        self.budget.died(life)
        life.end()
        member.in_flight += life.in_flight  # until a folder is opened again
        member.life = None
        member.falls_with_power = False
        member.power_was_cut = power
        if power:
            member.disk.power_cut()
        else:
            member.disk.process_ended()
        self.trace.say(self.agenda.now_ns, LIFE, member.number, "power cut" if power else "killed")
        if self.network.has(member.number):
            self.network.stop(member.number, power)
        self.clients.life_ended(life, power)
        self.plan_start(member)

    def died(self, life: Life, why: str, needs_operator: bool = False) -> None:
        """The process ended itself."""
        self.mark(f"died: {why}")
        member = life.member
        self.end_life(life, member.falls_with_power)
        if needs_operator:
            if member.number not in self.budget.unsound:
                self.broken("durability", f"member {member.number} cannot be opened, and nothing damaged it")
            self.wipe(member)  # what the message tells the operator to do

    def plan_start(self, member: Member) -> None:
        if not member.start_planned and not member.held:
            member.start_planned = True
            wait_ms = self._dice.randint(1, self.world.down_ms)
            self.agenda.after(wait_ms * MS_NS, self.start, member)

    def wipe(self, member: Member) -> None:
        """Its disk is replaced by an empty one."""
        self.budget.damaged(member.number)
        member.disk.wipe()
        member.empty = True
        member.in_flight = []
        self.ghosts.wiped(member.number)
