"""What clients do to a cluster, sans IO: the same code in the simulator and against real members.

``WORKLOADS[name](dice)`` makes one; its sizes are drawn from the dice.
"""

from random import Random
from typing import Final

from coord.jepsen_like.workloads.append import Append
from coord.jepsen_like.workloads.causal import Causal
from coord.jepsen_like.workloads.claims import ClaimsWorkload
from coord.jepsen_like.workloads.counter import Counter
from coord.jepsen_like.workloads.elections import Elections
from coord.jepsen_like.workloads.ephemerals import Ephemerals
from coord.jepsen_like.workloads.exactly_once import ExactlyOnce
from coord.jepsen_like.workloads.fences import Fences
from coord.jepsen_like.workloads.jobs import Jobs
from coord.jepsen_like.workloads.local_reads import LocalReads
from coord.jepsen_like.workloads.mixed import Mixed
from coord.jepsen_like.workloads.register import Register
from coord.jepsen_like.workloads.sets import Sets
from coord.jepsen_like.workloads.shards import Shards
from coord.jepsen_like.workloads.tasks import Tasks
from coord.jepsen_like.workloads.ticks import Ticks
from coord.jepsen_like.workloads.tree import TreeWorkload
from coord.jepsen_like.workloads.unique import Unique
from coord.jepsen_like.workloads.watching import Ahead, Watching
from coord.jepsen_like.workloads.workload import Factory, Workload

TREE_PARTS: Final[dict[str, Factory]] = {
    "register": Register,
    "append": Append,
    "sets": Sets,
    "counter": Counter,
    "unique": Unique,
    "watching": Watching,
    "ephemerals": Ephemerals,
    "causal": Causal,
    "local_reads": LocalReads,
    "exactly_once": ExactlyOnce,
}
CLAIM_PARTS: Final[dict[str, Factory]] = {"claims": ClaimsWorkload, "fences": Fences}
RECIPE_PARTS: Final[dict[str, Factory]] = {
    "elections": Elections,
    "shards": Shards,
    "ticks": Ticks,
    "jobs": Jobs,
    "tasks": Tasks,
}
"""What ``coord.recipes`` ask for, and how they put together what they are told. (Not in ``mixed``: they are made of
what is in it, and each part that joins it makes other runs of its seeds.)"""
PARTS: Final[dict[str, Factory]] = {**TREE_PARTS, **CLAIM_PARTS}


def mixed(dice: Random) -> Workload:
    """Some of the others, at least two."""
    twin = Random()  # what joined later moves nothing of what was drawn before
    twin.setstate(dice.getstate())
    names = dice.sample(list(TREE_PARTS), dice.randint(2, len(TREE_PARTS)))
    names += [name for name in CLAIM_PARTS if twin.random() < 0.25]
    return Mixed(dice, [PARTS[name](dice) for name in names])


WORKLOADS: Final[dict[str, Factory]] = {
    **PARTS,
    **RECIPE_PARTS,
    "tree": TreeWorkload,
    "ahead": Ahead,
    "mixed": mixed,
}

__all__ = ["CLAIM_PARTS", "PARTS", "RECIPE_PARTS", "TREE_PARTS", "WORKLOADS", "Factory", "Workload", "mixed"]
