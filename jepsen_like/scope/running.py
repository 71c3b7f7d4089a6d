"""Exploring a scope by name, and saying what came of it."""

from dataclasses import dataclass
from typing import Any

from coord.jepsen_like.scope.bounds import CoreScope, CoreSystem
from coord.jepsen_like.scope.explorer import Explorer, Step, Verdict
from coord.jepsen_like.scope.leases import LeaseScope, LeaseSystem
from coord.jepsen_like.scope.model import Broken, System
from coord.jepsen_like.scope.story import Impossible, tell


@dataclass(frozen=True)
class Explored:
    """``lines``: the story of a violation, empty when there is none."""

    verdict: Verdict
    lines: tuple[str, ...]

    def summary(self) -> str:
        verdict = self.verdict
        if verdict.promise:
            outcome = f"BROKEN {verdict.promise}: {verdict.what}"
        else:
            outcome = "complete" if verdict.complete else "INCOMPLETE: the limit was met"
        return (
            f"{verdict.name}: {outcome}; {verdict.expanded} states, {verdict.transitions} transitions, "
            f"{verdict.steps_run} runs of the code, {verdict.cpu_s:.1f} s"
        )

    def facts(self) -> dict[str, Any]:
        """For ``--json``."""
        verdict = self.verdict
        return {
            "name": verdict.name,
            "ok": verdict.ok,
            "complete": verdict.complete,
            "states": verdict.expanded,
            "transitions": verdict.transitions,
            "member_states": verdict.member_states,
            "messages": verdict.messages,
            "runs_of_the_code": verdict.steps_run,
            "cpu_s": round(verdict.cpu_s, 2),
            "promise": verdict.promise,
            "what": verdict.what,
            "story": list(self.lines),
        }


def system_of(scope: CoreScope | LeaseScope) -> System[Any]:
    return CoreSystem(scope) if isinstance(scope, CoreScope) else LeaseSystem(scope)


def explore(scope: CoreScope | LeaseScope, limit: int | None = None) -> Explored:
    """Explore ``scope``, up to ``limit`` states; tell the way to a violation, as short as it is easily made."""
    verdict = Explorer(scope.name, system_of(scope), limit).run()
    if not verdict.story:
        return Explored(verdict, ())
    verdict.story = shorten(scope, verdict.story)
    lines, _ = tell(system_of(scope), verdict.story)
    return Explored(verdict, tuple(lines))


def shorten(scope: CoreScope | LeaseScope, story: list[Step]) -> list[Step]:
    """Leave out every step without which the story still ends in a broken promise.

    The exploration goes by progress, not by the number of steps, so its way is full of detours. As messages do not get
    lost, leaving a step out leaves most of the others possible.
    """
    position = len(story) - 1
    while position >= 0:
        without = [*story[:position], *story[position + 1 :]]
        end = _end_of(scope, without)
        if end is not None:
            story = without[:end]
            position = min(position, len(story))
        position -= 1
    return story


def _end_of(scope: CoreScope | LeaseScope, story: list[Step]) -> int | None:
    """How many steps it takes to break a promise; None when none is broken or a step is not possible."""
    try:
        lines, broken = tell(system_of(scope), story)
    except Impossible:
        return None
    if not isinstance(broken, Broken):
        return None
    return sum(1 for line in lines if line[:3].strip().isdigit())
