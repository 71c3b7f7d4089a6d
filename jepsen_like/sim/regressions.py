"""Seeds that once broke a promise, with their worlds: what was fixed stays fixed.

A world is written down whole (what it has otherwise than the default one), not drawn: a seed means the same when what
is drawn changes. Even so, what a seed decides moves with the code: where a scripted test can be had, too, it is the
better kept.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from coord.jepsen_like.sim.world import World, override

FILE = Path(__file__).with_name("regressions.toml")


@dataclass(frozen=True, slots=True)
class Regression:
    seed: int
    world: World
    found: str
    """What was broken."""


def regressions(file: Path = FILE) -> list[Regression]:
    with file.open("rb") as source:
        rows = tomllib.load(source)["regression"]
    return [Regression(row["seed"], override(World(), row["set"]), row["found"]) for row in rows]
