"""The nemeses there are, by name. A new one is a class in a file of its own, and a line here."""

from collections.abc import Sequence
from typing import Final

from coord.jepsen_like.live.nemeses.clock import ClockJump, ClockRate
from coord.jepsen_like.live.nemeses.full_disk import FullDisk
from coord.jepsen_like.live.nemeses.io_errors import FAULTS, IoErrors
from coord.jepsen_like.live.nemeses.kill import Kill, KillLoop
from coord.jepsen_like.live.nemeses.nemesis import Nemesis
from coord.jepsen_like.live.nemeses.network import ClientNetwork, Network
from coord.jepsen_like.live.nemeses.partition import Partition
from coord.jepsen_like.live.nemeses.pause import Pause
from coord.jepsen_like.live.nemeses.rot import Rot, Wipe
from coord.jepsen_like.live.nemeses.unsynced import PowerCut

_ALL: Final[tuple[Nemesis, ...]] = (
    *(Kill(whom) for whom in ("one", "leader", "all")),
    KillLoop(),
    *(Pause(whom) for whom in ("one", "leader", "majority", "all")),
    *(Partition(shape) for shape in ("halves", "one", "leader", "bridge", "ring", "one-way")),
    *(Network(fault) for fault in ("delay", "drip", "reset", "truncate", "hold")),
    *(ClientNetwork(fault) for fault in ("cut", "replies", "delay", "reset", "truncate", "hold")),
    ClockJump(),
    ClockRate(),
    *(IoErrors(fault) for fault in FAULTS),
    FullDisk(),
    *(Rot(how, when) for how in ("flip", "truncate") for when in ("stopped", "running")),
    Wipe(),
    PowerCut(),
)

NEMESES: Final[dict[str, Nemesis]] = {nemesis.name: nemesis for nemesis in _ALL}

FAMILIES: Final = tuple(dict.fromkeys(nemesis.family for nemesis in _ALL))


def choose(wanted: Sequence[str]) -> list[Nemesis]:
    """Those of these names and families, in the order of the registry; ``all``: all there are.

    Raises :class:`ValueError` for a name that is none.
    """
    for each in wanted:
        if each not in ("all", *FAMILIES, *NEMESES):
            raise ValueError(
                f"there is no nemesis {each!r}; there are {', '.join(FAMILIES)} (families), {', '.join(NEMESES)}"
            )
    return [
        nemesis for nemesis in _ALL if "all" in wanted or nemesis.family in wanted or nemesis.name in wanted
    ]
