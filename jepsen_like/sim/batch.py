"""Many seeds: one after another or in several processes, with totals of what was simulated."""

import gc
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from coord.jepsen_like.sim.run import simulate
from coord.jepsen_like.sim.world import World, draw, override


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict without its history, small enough to be sent between processes."""

    seed: int
    world: World
    violations: tuple[str, ...]
    trace_hash: str
    simulated_ms: int
    faults: dict[str, int]
    operations: int
    marks: dict[str, int]
    cpu_s: float

    @property
    def ok(self) -> bool:
        return not self.violations


@dataclass(slots=True)
class Totals:
    seeds: int = 0
    simulated_ms: int = 0
    cpu_s: float = 0.0
    operations: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    marks: Counter[str] = field(default_factory=Counter)
    failed: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.seeds += 1
        self.simulated_ms += outcome.simulated_ms
        self.cpu_s += outcome.cpu_s
        self.operations += outcome.operations
        self.faults.update(outcome.faults)
        self.marks.update(outcome.marks)
        if not outcome.ok:
            self.failed.append(outcome)

    def row(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "seeds": self.seeds,
            "simulated_hours": round(self.simulated_ms / 3_600_000, 3),
            **densities(self.simulated_ms, self.cpu_s, sum(self.faults.values()), self.operations),
            "faults": sum(self.faults.values()),
            "faults_by_kind": dict(sorted(self.faults.items())),
            "operations": self.operations,
            "marks": dict(sorted(self.marks.items())),
            "failed_seeds": [outcome.seed for outcome in self.failed],
        }


def densities(simulated_ms: int, cpu_s: float, faults: int, operations: int) -> dict[str, float]:
    """How much there was in the hours: quiet ones are quick, and prove little."""
    simulated_s = simulated_ms / 1000
    return {
        "speed": round(simulated_s / cpu_s, 1) if cpu_s else 0,  # simulated seconds for one of the processor
        "faults_per_simulated_hour": round(3600 * faults / simulated_s, 1) if simulated_s else 0,
        "operations_per_simulated_second": round(operations / simulated_s, 1) if simulated_s else 0,
    }


def run_one(seed: int, settings: Mapping[str, str]) -> Outcome:
    """One seed, timed. (The collector rests meanwhile: it finds little, and slows everything.)"""
    world = override(draw(seed), settings)
    collects = gc.isenabled()
    gc.disable()
    began = time.process_time()
    try:
        verdict = simulate(seed, world)
    finally:
        if collects:
            gc.enable()
    cpu_s = time.process_time() - began
    outcome = Outcome(
        seed=seed,
        world=world,
        violations=tuple(str(each) for each in verdict.violations),
        trace_hash=verdict.trace_hash,
        simulated_ms=verdict.simulated_ms,
        faults=verdict.faults,
        operations=verdict.operations,
        marks=verdict.marks,
        cpu_s=cpu_s,
    )
    del verdict
    gc.collect()
    return outcome


def run_many(seeds: Iterable[int], settings: Mapping[str, str], jobs: int, end_s: float) -> Iterator[Outcome]:
    """Outcomes as they come about, until the seeds or the time (``end_s``, monotonic) are used up."""
    if jobs <= 1:
        for seed in seeds:
            yield run_one(seed, settings)
            if time.monotonic() >= end_s:
                return
        return
    left = iter(seeds)
    with ProcessPoolExecutor(jobs) as pool:
        running: set[Future[Outcome]] = {
            pool.submit(run_one, seed, settings) for seed in islice(left, 2 * jobs)
        }
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for each in done:
                yield each.result()
            if time.monotonic() < end_s:
                running |= {pool.submit(run_one, seed, settings) for seed in islice(left, len(done))}
