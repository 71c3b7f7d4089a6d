"""Safety first, then liveness: heal a quorum and no more, and demand that it gets on within bounded time.

Those outside of the quorum are not simply gone. They may live on, cut off in both directions or in one, and must not
be able to keep the others from their work.
"""

from collections.abc import Callable
from typing import Any, Final

from coord.api.ops import Set
from coord.jepsen_like.history import Operation
from coord.jepsen_like.sim.agenda import MS_NS, SECOND_NS
from coord.jepsen_like.sim.clients import Client
from coord.jepsen_like.sim.disk import UNLIMITED
from coord.jepsen_like.sim.simulation import Simulation
from coord.jepsen_like.workloads.workload import Pause, Process, Script
from coord.raft.configuration import members_of

ELECTIONS: Final = 10
"""So many of the longest election timeouts may pass before there is a leader, and as many again for the rest."""

AFTERMATH_NS: Final = 10 * SECOND_NS
"""What is left over from the faults may take so long: connections that nobody knows to be dead, slow syncs, starts."""

STABLE_ELECTIONS: Final = 5
STABLE_TERMS: Final = 2
"""A cluster at peace does not spend more terms than these in ``STABLE_ELECTIONS``."""

GLANCE_NS: Final = 20 * MS_NS


def choose_core(sim: Simulation) -> list[int]:
    """A random set of members of which the sound are a quorum of every configuration in force."""
    dice = sim.dice("core")
    order = list(sim.members)
    dice.shuffle(order)
    core: dict[int, None] = {}
    for number in order:
        if sim.budget.suffice(core):
            break
        core[number] = None
    return sorted(core)


def cut_down_to(sim: Simulation, core: list[int]) -> None:
    """Heal ``core``; the others stay down, still, or out of reach, for the whole phase."""
    dice = sim.dice("cut down")
    sim.network.unblock(list(sim.network.blocked))
    sim.clients.drop_next.clear()
    sim.network.drop_next.clear()
    heal_members(sim, core)
    for number in sim.members:
        if number in core:
            continue
        others = [each for each in sim.members if each != number]
        fate = dice.choice(("down", "down", "cut", "deaf", "mute", "paused"))
        member = sim.member(number)
        if member.life is None:
            fate = "down"
        sim.mark(f"outside: {fate}")
        if fate == "down":
            member.held = True
            if member.life is not None:
                sim.end_life(member.life, dice.random() < 0.5)
            continue
        if fate == "paused" and member.life is not None:
            member.held = True  # an earlier pause of it may be due to end
            member.life.pause()
        for other in others:
            if fate in ("cut", "deaf"):
                sim.network.block(other, number)
            if fate in ("cut", "mute"):
                sim.network.block(number, other)
        sim.clients.cut_off[number] = None
        sim.clients.go_deaf(number)


def heal_members(sim: Simulation, members: list[int]) -> None:
    for number in members:
        member = sim.member(number)
        member.held = member.slow_disk = False
        member.quick_deaths = 0
        member.disk.failing_syncs = member.disk.cut_after = 0
        member.disk.capacity_bytes = UNLIMITED
        member.disk.longest_write = 0
        sim.clients.cut_off.pop(number, None)
        if member.life is None:
            sim.plan_start(member)
        else:
            member.life.slow_us = 0
            member.life.resume()


def heal_all(sim: Simulation) -> None:
    sim.network.unblock(list(sim.network.blocked))
    heal_members(sim, sim.members)


def demand_progress(
    sim: Simulation, core: list[int], client_of: Callable[[Callable[[Process], Script]], Client], whose: str
) -> bool:
    """A leader, a write of a new client that is acknowledged, that write applied by everyone in ``core``, and then
    peace. False: that did not come about, or a promise was broken meanwhile."""
    for client in sim.clients.all:
        sim.clients.thaw(client)
    world = sim.world
    limit_ns = ELECTIONS * world.election_ms * MS_NS + AFTERMATH_NS + world.down_ms * MS_NS
    began_ns = sim.agenda.now_ns
    if not _until(sim, lambda: _leader(sim, core) != 0, limit_ns):
        _late(sim, f"{whose} {core} have no leader", began_ns)
        return False
    probe = _Probe()
    client = client_of(probe.script)
    # A session is opened, which is a write; then the write; each may meet what is left of the faults.
    limit_ns += 2 * world.session_timeout_ms * MS_NS + 4 * AFTERMATH_NS
    if not _until(sim, lambda: probe.index > 0 and _have_applied(sim, core, probe.index), limit_ns):
        if not sim.agenda.stopped:
            applied = {
                life.member.number: life.replica.state.store.applied_index
                for life in sim.lives
                if life.replica is not None
            }
            _late(sim, f"{whose} {core} do not get on: written at {probe.index}, applied {applied}", began_ns)
        return False
    client.driver.close(sim.agenda.now_ns)
    sim.clients.drive(client)
    if core == sim.members:
        sim.healed_ns = sim.agenda.now_ns
    term = _term(sim, core)
    sim.agenda.run_until(sim.agenda.now_ns + STABLE_ELECTIONS * world.election_ms * MS_NS)
    # Where messages take about as long as followers' patience lasts, elections are nobody's fault.
    is_prompt = 8 * world.delay_max_us < world.election_ticks * world.tick_ms * 1_000
    if is_prompt and not sim.agenda.stopped and _term(sim, core) > term + STABLE_TERMS:
        _late(sim, f"{whose} {core} went from term {term} to {_term(sim, core)} in peace", began_ns)
    return not sim.agenda.stopped


class _Probe:
    """Writes until it is told that it has."""

    def __init__(self) -> None:
        self.index = 0

    def script(self, me: Process) -> Script:
        while not self.index:
            outcome: Any = yield Set("/", b"alive")
            if isinstance(outcome, Operation) and outcome.index and outcome.outcome == "ok":
                self.index = outcome.index
            else:
                yield Pause(100)


def _leader(sim: Simulation, core: list[int]) -> int:
    """A member of ``core`` that leads and has committed an entry of its term."""
    for number in core:
        life = sim.member(number).life
        if life is not None and life.replica is not None and not life.paused:
            raft = life.replica.state.raft
            if life.replica.state.leads and raft.term_at(raft.commit_index) == raft.term:
                return number
    return 0


def _term(sim: Simulation, core: list[int]) -> int:
    terms = [
        life.replica.state.raft.term
        for life in sim.lives
        if life.replica is not None and life.member.number in core
    ]
    return max(terms, default=0)


def _have_applied(sim: Simulation, core: list[int], index: int) -> bool:
    """Everyone in ``core`` that belongs to the cluster, as its leader sees it."""
    leader = _leader(sim, core)
    life = sim.member(leader).life if leader else None
    if life is None or life.replica is None:
        return False
    belonging = members_of(life.replica.state.raft.configuration)
    for number in core:
        if number not in belonging:
            continue
        other = sim.member(number).life
        if other is None or other.replica is None or other.replica.state.store.applied_index < index:
            return False
        if other.replica.state.raft.recovering:
            return False
    return True


def _until(sim: Simulation, holds: Callable[[], bool], limit_ns: int) -> bool:
    agenda = sim.agenda
    end_ns = agenda.now_ns + limit_ns
    while not agenda.stopped and agenda.now_ns < end_ns:
        if holds():
            return True
        agenda.run_until(agenda.now_ns + GLANCE_NS)
    return False


def _late(sim: Simulation, what: str, began_ns: int) -> None:
    if not sim.agenda.stopped:
        sim.broken("liveness", f"{what}, {(sim.agenda.now_ns - began_ns) / 1e9:.1f} s after it was healed")
