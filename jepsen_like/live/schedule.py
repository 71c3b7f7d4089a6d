"""When which nemesis strikes: drawn from a seed before anything starts, so that it can be printed and had again."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from coord.jepsen_like.live.nemeses.nemesis import Nemesis

FIRST_MS: Final = 1_000
"""The load settles first."""
GAP_MS: Final = (100, 2_500)
WAITS: Final = 0.7
"""How often a strike gives the cluster the time to do something first."""
OVERLAP: Final = 0.35
"""How often the next strike begins while this one lasts, if they lay hands on different things."""


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault to come. Whom it hits is drawn when it does: that depends on who leads."""

    at_ms: int
    hold_ms: int
    nemesis: str
    seed: int
    waits: bool = False
    """Until something was done since the last strike on the same ended: faults upon faults alone stop the world."""


def draw_schedule(seed: int, nemeses: Sequence[Nemesis], seconds: float) -> list[Strike]:
    """Strikes that begin before ``seconds`` have passed, in order. Each family comes equally often, however large."""
    if not nemeses:
        return []
    dice = Random(f"schedule {seed}")
    families = list(dict.fromkeys(nemesis.family for nemesis in nemeses))
    free_ms: dict[str, int] = {}
    strikes: list[Strike] = []
    at_ms = FIRST_MS
    while at_ms < seconds * 1000:
        family = dice.choice(families)
        nemesis = dice.choice([each for each in nemeses if each.family == family])
        hold_ms = dice.randint(*nemesis.hold_ms)
        begin_ms = max(at_ms, free_ms.get(nemesis.hands_on, 0))
        end_ms = free_ms[nemesis.hands_on] = begin_ms + hold_ms
        if begin_ms < seconds * 1000:
            strikes.append(
                Strike(begin_ms, hold_ms, nemesis.name, dice.getrandbits(32), dice.random() < WAITS)
            )
        overlaps = dice.random() < OVERLAP
        at_ms = begin_ms + dice.randint(0, hold_ms) if overlaps else end_ms + dice.randint(*GAP_MS)
    return sorted(strikes, key=lambda each: each.at_ms)
