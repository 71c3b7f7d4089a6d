"""``simulate``: a seed in, a verdict out. A pure function of its arguments."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Final

from coord.api.ops import Release
from coord.jepsen_like.checkers import judge as judge_history
from coord.jepsen_like.checkers.claims import GRANTS_NOTE
from coord.jepsen_like.checkers.search import UNDECIDED
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Operation, Record, WatchOpened, WatchOver
from coord.jepsen_like.history import Run as RunRecord
from coord.jepsen_like.sim.agenda import START_NS
from coord.jepsen_like.sim.phases import Run
from coord.jepsen_like.sim.simulation import Simulation
from coord.jepsen_like.sim.trace import Trace
from coord.jepsen_like.sim.world import World, draw
from coord.jepsen_like.workloads import WORKLOADS, Factory
from coord.replica import applying, connections, serving
from coord.store import claims, columns, granting, history, store

CRUMBS: Final[tuple[tuple[ModuleType, str, int], ...]] = (
    (connections, "FRAME_ROWS", 2),
    (connections, "FRAME_ROWS_BYTES", 40),
    (connections, "FRAME_EVENTS_BYTES", 60),
    (serving, "STEP_BYTES", 100),
    (serving, "REPLAY_BYTES", 200),
    (serving, "REPLAY_CHANGES", 20),
    (applying, "LOT_BYTES", 100),
    (store, "TTL_SWEEP", 1),
    (claims, "TAKE_OVER_MAX", 1),
    (columns, "_DISTINCT_MAX", 2),
    (history, "_TRIM_SLACK", 2),
)
"""Constants that only large clusters meet, and how large they are in a world of crumbs. What is cut into pieces there
is cut by the very lines that cut it elsewhere."""


@contextmanager
def _constants(world: World) -> Iterator[None]:
    """Like limits that a member cannot set: what is over them is met with a handful of clients, too."""
    wanted = ((granting, "GRANTS_MAX", world.grants_max), *(CRUMBS if world.crumbs else ()))
    before = [(module, name, vars(module)[name]) for module, name, _ in wanted]
    try:
        for module, name, value in wanted:
            vars(module)[name] = value
        yield
    finally:
        for module, name, value in before:
            vars(module)[name] = value


@dataclass(frozen=True, slots=True)
class Verdict:
    seed: int
    world: World
    violations: tuple[Violation, ...]
    trace_hash: str
    simulated_ms: int
    faults: dict[str, int]
    operations: int
    """That clients asked for and that were judged."""
    events: int
    """Of the agenda."""
    marks: dict[str, int]
    history: list[Record] = field(repr=False)

    @property
    def ok(self) -> bool:
        return not self.violations


def simulate(
    seed: int,
    world: World | None = None,
    *,
    workload: Factory | None = None,
    tell: Callable[[str], None] | None = None,
) -> Verdict:
    """Run ``seed`` in ``world`` (by default as drawn from it), with the world's workload or one of yours.

    ``tell`` is given each line of the trace, to be read.
    """
    world = world or draw(seed)
    trace = Trace(tell)
    sim = Simulation(seed, world, trace)
    clients = (workload or WORKLOADS[world.workload])(sim.dice("workload"))
    sim.record(
        RunRecord(clients.name, seed, world.members, {"world": str(world), GRANTS_NOTE: world.grants_max})
    )
    try:
        with _constants(world):
            Run(sim, clients).go()
    except Exception as error:  # noqa: BLE001  # whatever the code under test raises is a finding
        where = traceback.extract_tb(error.__traceback__)[-1]
        sim.broken(
            "no crash",
            f"{type(error).__name__}: {error} ({where.filename.rsplit('/', 3)[-1]}:{where.lineno})",
        )
    if not sim.violations:
        found = judge_history(sim.history)
        for check in clients.checks:
            found += check(sim.history)
        # A search that gave up has found nothing. Here the log is known whole, so the other judge decides for both.
        sim.violations += [each for each in found if each.promise != UNDECIDED]
        if len(sim.violations) < len(found):
            sim.mark(UNDECIDED)
    of_claims: dict[int, None] = {}
    for each in sim.history:
        if isinstance(each, WatchOver) and each.error:
            sim.mark(f"{each.error}_told")
            if each.watch in of_claims:
                sim.mark(f"{each.error}_of_claims_told")
        elif isinstance(each, WatchOpened) and each.scope == "claims":
            of_claims[each.watch] = None
        elif isinstance(each, Operation) and each.error == "stale_token":
            sim.mark("stale_token_refused")
        elif isinstance(each, Operation) and isinstance(each.op, Release) and each.op.to:
            sim.mark("successor_gone" if each.error == "conflict" else "claim_handed_over")
    return Verdict(
        seed=seed,
        world=world,
        violations=tuple(sim.violations),
        trace_hash=trace.hex(),
        simulated_ms=(sim.agenda.now_ns - START_NS) // 1_000_000,
        faults=dict(sorted(sim.fault_counts.items())),
        operations=sum([type(each) is Operation for each in sim.history]),
        events=sim.agenda.events,
        marks=dict(sorted(sim.marks.items())),
        history=sim.history,
    )
