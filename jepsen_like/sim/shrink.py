"""A failing seed made small: its world is edited, one simplification at a time, as long as it still breaks a promise.

The seed's dice stay the same, but what they decide moves with each edit: so this is a search, and keeps whatever
still fails. Deterministic, as everything here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from coord.jepsen_like.sim.run import Verdict, simulate
from coord.jepsen_like.sim.world import World, differences


@dataclass(frozen=True, slots=True)
class Shrunk:
    world: World
    verdict: Verdict
    tries: int


def shrink(seed: int, world: World, tries: int, tell: Callable[[str], None]) -> Shrunk | None:
    """The smallest world found in so many ``tries`` that breaks the same promise; ``None``: ``world`` breaks none."""
    verdict = simulate(seed, world)
    if verdict.ok:
        return None
    promise = verdict.violations[0].promise
    done = 1
    again = True
    while again:
        again = False
        for what, smaller in _edits(world):
            if done >= tries:
                return Shrunk(world, verdict, done)
            done += 1
            attempt = simulate(seed, smaller)
            if not attempt.ok and attempt.violations[0].promise == promise:
                tell(f"{what}: still {promise}, after {attempt.simulated_ms / 1000:.1f} simulated seconds")
                world, verdict, again = smaller, attempt, True
                break
    return Shrunk(world, verdict, done)


def _edits(world: World) -> Iterator[tuple[str, World]]:
    """Simpler worlds, the greatest simplifications first."""
    if len(world.triggers) > 1:
        yield "no triggers", replace(world, triggers=())
    for position, (event, action, _) in enumerate(world.triggers):
        left = world.triggers[:position] + world.triggers[position + 1 :]
        yield f"without {action} at {event}", replace(world, triggers=left)
    if len(world.faults) > 1:
        yield "no random faults", replace(world, faults=())
    for position, (kind, _) in enumerate(world.faults):
        left_faults = world.faults[:position] + world.faults[position + 1 :]
        yield f"without {kind}", replace(world, faults=left_faults)
    if world.clients > 1:
        yield "half the clients", replace(world, clients=world.clients // 2)
    if world.learners:
        yield "no learners", replace(world, learners=0)
    if world.voters > 3:
        yield "three voters", replace(world, voters=3)
    if world.safety_ms > 1_000:
        yield "half as long", replace(world, safety_ms=world.safety_ms // 2)
    usual = World()
    for name in differences(world):
        if name not in ("triggers", "faults", "clients", "learners", "voters", "safety_ms", "workload"):
            changes: dict[str, Any] = {name: getattr(usual, name)}
            yield f"{name} as usual", replace(world, **changes)
