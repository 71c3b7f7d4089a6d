"""The course of a run: a cluster forms, works under faults, gets on with a healed quorum, and ends as a whole."""

from collections.abc import Callable, Iterable
from typing import Final

from coord.client.core.settings import CoreSettings
from coord.jepsen_like.sim.agenda import MS_NS, SECOND_NS
from coord.jepsen_like.sim.bounds import Bounds
from coord.jepsen_like.sim.clients import Client
from coord.jepsen_like.sim.liveness import choose_core, cut_down_to, demand_progress, heal_all
from coord.jepsen_like.sim.simulation import Simulation
from coord.jepsen_like.workloads.driver import ClientDriver
from coord.jepsen_like.workloads.settings import DriverSettings
from coord.jepsen_like.workloads.workload import Pause, Process, Say, Script, Step, Workload

FORMING_FAULTS_NS: Final = 5 * SECOND_NS
SETUP_LIMIT_NS: Final = 120 * SECOND_NS
FINISH_LIMIT_NS: Final = 120 * SECOND_NS
LAST_WAIT_NS: Final = 25 * SECOND_NS
"""So long the observer looks on in the end, if somebody waits: longer than peace.py lets anybody wait."""
GLANCE_NS: Final = 50 * MS_NS
"""How often the phases look whether they are done."""


class Run:
    """One run's clients and their workload."""

    def __init__(self, sim: Simulation, workload: Workload) -> None:
        self._sim = sim
        self._workload = workload
        self._facts: dict[str, object] = {}
        self._processes = 0
        self._bounds = Bounds(sim)

    def go(self) -> None:
        """All phases, or as many as there are before a promise is broken."""
        sim = self._sim
        self._bounds.watch()
        self._form()
        if not self._one_process(self._workload.setup(), SETUP_LIMIT_NS, "the workload's first steps"):
            return
        clients = [self._client(self._paced) for _ in range(sim.world.clients)]
        if not self._trouble(sim.world.safety_ms * MS_NS):
            return
        core = choose_core(sim)
        cut_down_to(sim, core)
        if not demand_progress(sim, core, self._client, "a healed quorum"):
            return
        heal_all(sim)
        if not demand_progress(sim, sim.members, self._client, "all members together"):
            return
        for client in clients:
            client.driver.stop(sim.agenda.now_ns)
            sim.clients.drive(client)
        if not self._until(lambda: all(client.driver.done for client in clients), FINISH_LIMIT_NS):
            self._late("what clients had asked was not answered")
        process = self._process()
        self._one_process(
            self._workload.finish(process), FINISH_LIMIT_NS, "the workload's last reads", process
        )
        # Mostly nobody waits any more; who does is to be answered, and nothing else happens meanwhile.
        self._until(lambda: not self._bounds.peace.is_awaited, LAST_WAIT_NS)
        if not sim.agenda.stopped:
            self._agree()
        for client in sim.clients.all:
            client.driver.close(sim.agenda.now_ns)

    # --- phases -----------------------------------------------------------------------------------------------------

    def _form(self) -> None:
        sim = self._sim
        dice = sim.dice("forming")
        for member in sim.all_members():
            sim.agenda.after(dice.randint(0, 500) * MS_NS, sim.start, member)
        if sim.world.faults_from_start:
            self._trouble(FORMING_FAULTS_NS)
            heal_all(sim)

    def _trouble(self, length_ns: int) -> bool:
        """Faults, for so long. False: a promise was broken."""
        sim = self._sim
        sim.calm = sim.network.calm = False
        sim.nemesis.begin()
        sim.triggers.armed = True
        sim.agenda.run_until(sim.agenda.now_ns + length_ns)
        sim.triggers.armed = False
        sim.nemesis.end()
        sim.calm = sim.network.calm = True
        return not sim.agenda.stopped

    def _agree(self) -> None:
        """At the end all members hold the same."""
        sim = self._sim
        expected = sim.ghosts.oracle.digest()
        for life in sim.lives:
            if life.replica is not None and life.replica.state.store.applied_index == len(
                sim.ghosts.committed
            ):
                sim.ghosts.oracle.compare_digest(life, expected)

    # --- clients ----------------------------------------------------------------------------------------------------

    def _process(self) -> Process:
        self._processes += 1
        number = self._processes
        return Process(number, self._sim.dice(f"process {number}"), self._facts)

    def _paced(self, me: Process) -> Script:
        """The workload's process, with pauses for thought: how busy the clients are is the world's to say."""
        script, think_ms = self._workload.process(me), self._sim.world.think_ms
        outcome = None
        while True:
            try:
                step = script.send(outcome)
            except StopIteration:
                return
            outcome = yield step
            if not isinstance(step, Pause | Say):
                yield Pause(me.dice.randint(0, 2 * think_ms))

    def _client(self, script: Callable[[Process], Iterable[Step]], process: Process | None = None) -> Client:
        sim, world = self._sim, self._sim.world
        process = process or self._process()
        rate = 1.0 + process.dice.uniform(-world.drift, world.drift)
        settings = DriverSettings(
            deadline_ms=world.deadline_ms,
            core=CoreSettings(session_timeout_ms=world.session_timeout_ms),
            clock_rate=rate,
        )
        driver = ClientDriver(process, script(process), sim.record, settings, sim.agenda.now_ns)
        return sim.clients.add(driver)

    def _one_process(
        self, steps: Iterable[Step], limit_ns: int, what: str, process: Process | None = None
    ) -> bool:
        """Let one process take ``steps`` to their end."""
        sim = self._sim
        client = self._client(lambda _: steps, process)
        if not self._until(lambda: client.driver.done, limit_ns):
            self._late(f"{what} did not come to their end")
            return False
        client.driver.close(sim.agenda.now_ns)
        sim.clients.drive(client)
        return True

    def _until(self, holds: Callable[[], bool], limit_ns: int) -> bool:
        agenda = self._sim.agenda
        end_ns = agenda.now_ns + limit_ns
        while not agenda.stopped and agenda.now_ns < end_ns:
            if holds():
                return True
            agenda.run_until(agenda.now_ns + GLANCE_NS)
        return False

    def _late(self, what: str) -> None:
        if not self._sim.agenda.stopped:
            self._sim.broken("liveness", what)
