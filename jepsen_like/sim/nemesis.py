"""What is done to a cluster: random faults in the safety phase, and the strikes of triggers.

Each fault is a method named after its kind, with an end of its own drawn with it. Whatever one does to a disk's content
asks the budget first.
"""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from coord.jepsen_like.history import Fault
from coord.jepsen_like.sim.agenda import MS_NS
from coord.jepsen_like.sim.claiming import pause_ns
from coord.jepsen_like.sim.cuts import draw_cut
from coord.jepsen_like.sim.damage import damage
from coord.jepsen_like.sim.disk import UNLIMITED
from coord.jepsen_like.sim.trace import FAULT
from coord.raft.types import Configuration

if TYPE_CHECKING:
    from coord.jepsen_like.sim.life import Life
    from coord.jepsen_like.sim.member import Member
    from coord.jepsen_like.sim.simulation import Simulation

DAY_MS = 86_400_000


class Nemesis:
    def __init__(self, sim: "Simulation", dice: Random) -> None:
        self._sim = sim
        self._dice = dice
        self._kinds = [kind for kind, _ in sim.world.faults]
        self._weights = [weight for _, weight in sim.world.faults]
        self._actions: dict[str, Callable[[], None]] = {
            kind: getattr(self, f"_{kind}") for kind in self._kinds
        }
        self.active = False

    def begin(self) -> None:
        if not self.active and self._kinds and self._sim.world.fault_every_ms:
            self.active = True
            self._plan()

    def end(self) -> None:
        self.active = False

    def _plan(self) -> None:
        wait_ms = self._dice.expovariate(1.0) * self._sim.world.fault_every_ms
        self._sim.agenda.after(int(wait_ms * MS_NS), self._act)

    def _act(self) -> None:
        if not self.active:
            return
        [kind] = self._dice.choices(self._kinds, self._weights)
        self._actions[kind]()
        self._plan()

    def strike(self, action: str, life: "Life", event: str) -> None:
        """A trigger's: do ``action`` to one life, for ``event`` has happened to it."""
        sim = self._sim
        if not life.alive or not sim.triggers.armed:
            return
        number = life.member.number
        if action in ("kill", "power_cut"):
            self._die(life, action == "power_cut", event)
        elif action == "pause":
            self._pause_life(life, event)
        elif action == "cut":
            pairs = [
                pair for each in sim.members if each != number for pair in ((each, number), (number, each))
            ]
            self._cut_pairs(pairs, f"cut {number} off, {event}")
        elif action == "stall":
            self._stall(life, event)
        elif action == "strand":
            self._strand(life, event)
        elif action == "freeze":
            client = sim.clients.client_of(sim.claiming.session)
            if client is not None and not client.frozen:
                wait_ns = pause_ns(sim, self._dice.random())
                self.tell(
                    "freeze_client", number, f"{event}, process {client.number} for {wait_ns // MS_NS} ms"
                )
                sim.clients.freeze(client)
                sim.agenda.after(wait_ns, sim.clients.thaw, client)
        elif action == "drop_reply":
            self.tell(action, number, event)
            sim.clients.drop_next[number] = None
        elif action == "drop_frame":
            self.tell(action, number, event)
            sim.network.drop_next[number] = None
        elif action == "break_links":
            self.tell(action, number, event)
            for link in sim.network.links.values():
                if number in (link.sender, link.receiver):
                    sim.network.break_link(link)
        else:
            self.tell(action, number, event)
            for wire in list(life.wires.values()):
                sim.clients.break_wire(wire, self._dice.random() < 0.5)

    def tell(self, fault: str, number: int, event: str) -> None:
        """What a trigger does to member ``number``, now."""
        self._tell(fault, "once", (number,), f"at {event}")

    # --- for all ----------------------------------------------------------------------------------------------------

    def _tell(self, fault: str, phase: str, members: tuple[int, ...], what: str) -> None:
        sim = self._sim
        if phase != "end":
            sim.fault_counts[fault] += 1
        sim.trace.say(sim.agenda.now_ns, FAULT, members[0] if members else 0, f"{fault} {phase} {what}")
        sim.record(Fault(fault, phase, members, what, sim.agenda.now_ns))

    def _life(self) -> "Life | None":
        lives = [member.life for member in self._sim.all_members() if member.life is not None]
        if not lives:
            return None
        leaders = [life for life in lives if life.replica is not None and life.replica.state.leads]
        if leaders and self._dice.random() < 0.4:
            return self._dice.choice(leaders)
        return self._dice.choice(lives)

    def _long_ns(self) -> int:
        """From a moment to several election timeouts."""
        election_ms = self._sim.world.election_ms
        return (
            int(self._dice.choice((0.1, 0.5, 1.0, 4.0)) * self._dice.random() * election_ms * MS_NS) + MS_NS
        )

    # --- processes --------------------------------------------------------------------------------------------------

    def _die(self, life: "Life", power: bool, what: str) -> None:
        self._tell("power_cut" if power else "kill", "once", (life.member.number,), what)
        self._sim.end_life(life, power)

    def _kill(self) -> None:
        life = self._life()
        if life is not None:
            self._die(life, False, "kill -9")

    def _power_cut(self) -> None:
        lives = [member.life for member in self._sim.all_members() if member.life is not None]
        # All at once is what a data centre's power does.
        for life in lives if self._dice.random() < 0.15 else [self._life()]:
            if life is not None:
                self._die(life, True, "power cut")

    def _crash_loop(self) -> None:
        life = self._life()
        if life is not None:
            life.member.quick_deaths = self._dice.randint(2, 6)
            self._die(life, self._dice.random() < 0.5, f"crash loop of {life.member.quick_deaths}")

    def _pause(self) -> None:
        life = self._life()
        if life is not None:
            self._pause_life(life, "SIGSTOP")

    def _pause_life(self, life: "Life", what: str) -> None:
        if not life.paused:
            self._tell("pause", "begin", (life.member.number,), what)
            life.pause()
            pause_ms = self._sim.world.pause_ms
            pause_ns = self._dice.randint(pause_ms // 2, pause_ms) * MS_NS if pause_ms else self._long_ns()
            self._sim.agenda.after(pause_ns, self._resume, life)

    def _resume(self, life: "Life") -> None:
        if life.alive and life.paused and not life.member.held:
            self._tell("pause", "end", (life.member.number,), "SIGCONT")
            life.resume()

    def _slow_member(self) -> None:
        life = self._life()
        if life is not None:
            life.slow_us = self._dice.choice((5_000, 50_000, 300_000))
            self._tell("slow_member", "begin", (life.member.number,), f"{life.slow_us} µs for each step")
            self._sim.agenda.after(5 * self._long_ns(), self._quick_again, life)

    def _quick_again(self, life: "Life") -> None:
        life.slow_us = 0

    # --- network ----------------------------------------------------------------------------------------------------

    def _cut(self) -> None:
        self._cut_drawn("halves" if self._dice.random() < 0.4 else "one")

    def _one_way(self) -> None:
        self._cut_drawn(self._dice.choice(("in", "out", "link", "one_way_link")))

    def _bridge(self) -> None:
        self._cut_drawn("bridge")

    def _ring(self) -> None:
        self._cut_drawn("ring")

    def _cut_drawn(self, kind: str) -> None:
        pairs, what = draw_cut(kind, self._sim.members, self._dice)
        if pairs:
            self._cut_pairs(pairs, what)

    def _cut_pairs(self, pairs: list[tuple[int, int]], what: str) -> None:
        sim, dice = self._sim, self._dice
        touched = tuple(sorted({number for pair in pairs for number in pair}))
        self._tell("cut", "begin", touched, what)
        for pair in pairs:
            sim.network.block(*pair)
        cut_off = []
        if dice.random() < 0.5:
            # A member that no other member can reach is out of its clients' reach, too, as often as not.
            lonely = [
                each for each in sim.members
                if all((other, each) in sim.network.blocked for other in sim.members if other != each)
            ]  # fmt: skip
            for number in lonely:
                cut_off.append(number)
                sim.clients.cut_off[number] = None
                sim.clients.go_deaf(number)
        if dice.random() >= sim.world.permanent:
            sim.agenda.after(2 * self._long_ns(), self._mend, pairs, cut_off, touched, what)

    def _mend(
        self, pairs: list[tuple[int, int]], cut_off: list[int], touched: tuple[int, ...], what: str
    ) -> None:
        sim = self._sim
        if sim.calm:
            return  # which links there are is the liveness phase's business now
        self._tell("cut", "end", touched, what)
        sim.network.unblock(pairs)
        for number in cut_off:
            sim.clients.cut_off.pop(number, None)

    def _stall(self, life: "Life", event: str) -> None:
        """What a leader says to one follower is held up, for longer than a round of reads is waited for, and hardly for
        as long as that one is patient."""
        if life.replica is None:
            return
        number, state = life.member.number, life.replica.state
        others = [each for each in self._sim.members if each != number]
        if state.leads and others:
            self._hold_up((number, self._dice.choice(others)), event)
        elif state.leader not in (0, number):
            self._hold_up((state.leader, number), event)

    def _strand(self, life: "Life", event: str) -> None:
        """What a follower has passed on is held up, and its clients leave it: they have it done elsewhere, go on, and
        then it arrives."""
        sim = self._sim
        if life.replica is not None and life.replica.state.leader not in (0, life.member.number):
            self._hold_up((life.member.number, life.replica.state.leader), event)
            for wire in list(life.wires.values()):
                sim.clients.break_wire(wire, member_first=False)

    def _hold_up(self, pair: tuple[int, int], event: str) -> None:
        sim, dice, world = self._sim, self._dice, self._sim.world
        if pair in sim.network.blocked:
            return
        most_ticks = max(world.election_ticks, world.round_ticks + 1)
        wait_ms = dice.randint(world.round_ticks * world.tick_ms, most_ticks * world.tick_ms)
        self._tell("stall", "begin", pair, f"{pair} for {wait_ms} ms, at {event}")
        sim.network.hold_up(*pair, wait_ms * MS_NS)
        sim.agenda.after(wait_ms * MS_NS, self._go_on, pair)

    def _go_on(self, pair: tuple[int, int]) -> None:
        if not self._sim.calm:  # else which links there are is the liveness phase's business
            self._tell("stall", "end", pair, f"{pair}")
            self._sim.network.unblock([pair])

    def _break_link(self) -> None:
        links = list(self._sim.network.links.values())
        if links:
            link = self._dice.choice(links)
            self._tell("break_link", "once", (link.sender, link.receiver), "the connection breaks")
            self._sim.network.break_link(link)

    def _false_down(self) -> None:
        """Some or all who follow a leader are told that its process is gone. It lives."""
        leader = self._leader()
        followers = [
            member.life for member in self._sim.all_members()
            if leader is not None and member.life is not None and member.life.replica is not None
            and member.life.replica.state.raft.leader == leader.member.number and member.life is not leader
        ]  # fmt: skip
        if leader is not None and followers:
            told = followers if self._dice.random() < 0.5 else [self._dice.choice(followers)]
            numbers = tuple(life.member.number for life in told)
            self._tell("false_down", "once", (leader.member.number,), f"is said to be down, to {numbers}")
            self._sim.mark("leader_told_down_falsely")
            for life in told:
                life.peer_down(leader.member.number)

    # --- clients ----------------------------------------------------------------------------------------------------

    def _break_client(self) -> None:
        wires = [client.wire for client in self._sim.clients.all if client.wire is not None]
        if wires:
            wire = self._dice.choice(wires)
            self._tell("break_client", "once", (), f"connection {wire.number}")
            self._sim.clients.break_wire(wire, self._dice.random() < 0.5)

    def _drop_reply(self) -> None:
        life = self._life()
        if life is not None:
            self._tell("drop_reply", "once", (life.member.number,), "its next reply is lost")
            self._sim.clients.drop_next[life.member.number] = None

    def _freeze_client(self) -> None:
        clients = self._sim.clients.all
        if clients:
            client = self._dice.choice(clients)
            wait_ns = int(self._dice.random() * 1.5 * self._sim.world.session_timeout_ms * MS_NS)
            self._tell("freeze_client", "once", (), f"process {client.number} for {wait_ns // MS_NS} ms")
            self._sim.clients.freeze(client)
            self._sim.agenda.after(wait_ns, self._sim.clients.thaw, client)

    # --- disks ------------------------------------------------------------------------------------------------------

    def _slow_disk(self) -> None:
        life = self._life()
        if life is not None:
            self._tell("slow_disk", "begin", (life.member.number,), "each sync takes long")
            life.member.slow_disk = True
            self._sim.agenda.after(2 * self._long_ns(), self._quick_disk, life.member)

    def _quick_disk(self, member: "Member") -> None:
        member.slow_disk = False

    def _failed_sync(self) -> None:
        life = self._life()
        if life is not None:
            self._tell("failed_sync", "once", (life.member.number,), "its next sync fails")
            life.member.disk.failing_syncs = 1

    def _full_disk(self) -> None:
        life = self._life()
        if life is not None:
            disk = life.member.disk
            disk.capacity_bytes = disk.used_bytes() + self._dice.choice((0, 100, 2_000))
            disk.longest_write = self._dice.choice((0, 0, 100))
            self._tell("full_disk", "begin", (life.member.number,), f"{disk.capacity_bytes} bytes")
            self._sim.agenda.after(4 * self._long_ns(), self._space_again, life.member)

    def _space_again(self, member: "Member") -> None:
        member.disk.capacity_bytes = UNLIMITED
        member.disk.longest_write = 0

    def _damage(self) -> None:
        life = self._life()
        number = 0 if life is None else life.member.number
        if life is None or life.replica is None or not self._sim.budget.may_damage(number):
            return
        self._sim.end_life(life, False)
        what = damage(life.member.disk, self._dice)
        if what:
            self._sim.budget.damaged(number)
            self._tell("damage", "once", (number,), what)

    def _wipe(self) -> None:
        life = self._life()
        number = 0 if life is None else life.member.number
        if life is None or life.replica is None or not self._sim.budget.may_damage(number):
            return
        self._tell("wipe", "once", (number,), "its disk is replaced by an empty one")
        self._sim.end_life(life, False)
        self._sim.wipe(life.member)

    # --- clocks, leaders, membership --------------------------------------------------------------------------------

    def _wall_clock(self) -> None:
        life = self._life()
        if life is not None:
            jump_ms = self._dice.choice((1, 1_000, DAY_MS, 30 * DAY_MS)) * self._dice.choice((1, -1))
            life.member.clocks.wall_offset_ms += jump_ms
            self._tell("wall_clock", "once", (life.member.number,), f"jumps by {jump_ms} ms")

    def _leader(self) -> "Life | None":
        leaders = [
            member.life for member in self._sim.all_members()
            if member.life is not None and not member.life.paused
            and member.life.replica is not None and member.life.replica.state.leads
        ]  # fmt: skip
        return self._dice.choice(leaders) if leaders else None

    def _transfer(self) -> None:
        life = self._leader()
        if life is not None and life.replica is not None:
            to = self._dice.choice(self._sim.members)
            if life.replica.state.raft.transfer_leadership(to):
                self._tell("transfer", "once", (life.member.number, to), f"hands over to {to}")
                life.nudge()

    def _configure(self) -> None:
        """Another set of voters and learners: joint consensus, while everything else goes on."""
        life = self._leader()
        if life is None or life.replica is None:
            return
        voters = tuple(each for each in self._sim.members if self._dice.random() < 0.75)
        learners = tuple(
            each for each in self._sim.members if each not in voters and self._dice.random() < 0.6
        )
        target = Configuration(voters, (), learners)
        sound = {each: None for each in voters if each not in self._sim.budget.unsound}
        if not voters or 2 * len(sound) <= len(voters):
            return
        if life.replica.state.raft.propose_configuration(target) is not None:
            self._sim.ghosts.asked_for[(voters, learners)] = None
            self._sim.mark("configuration_proposed")
            self._tell("configure", "once", (life.member.number,), f"voters {voters}, learners {learners}")
            life.nudge()
