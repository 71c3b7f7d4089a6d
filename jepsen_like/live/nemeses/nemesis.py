"""What a nemesis is: one kind of fault, that begins, and ends.

A nemesis holds no state of its strikes. What a strike did, it hands back as a :class:`Hit` that knows how to undo
it; whoever runs the schedule ends every hit, whatever happens (``strikes.py``).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol

from coord.jepsen_like.live.arena import Arena
from coord.jepsen_like.live.cluster import Cluster

PROCESSES, LINKS, CLIENTS, CLOCKS = "processes", "links", "clients", "clocks"
"""What a nemesis lays its hands on. Strikes on the same do not overlap, those on others may."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A fault that has begun."""

    members: tuple[int, ...]
    what: str
    """For people."""
    end: Callable[[], Awaitable[None]]
    """Undo it. Called once, shielded from cancellation."""


class Nemesis(Protocol):
    """One kind of fault."""

    @property
    def name(self) -> str: ...

    @property
    def family(self) -> str:
        """By which several are asked for at once."""

    @property
    def hands_on(self) -> str: ...

    @property
    def hold_ms(self) -> tuple[int, int]:
        """For how long it lasts: at least, at most."""

    def possible(self) -> str | None:
        """Why it is not possible on this machine; ``None``: it is."""

    def prepare(self, cluster: Cluster) -> None:
        """Before the members are started for the first time: environments, folders."""

    def clean(self, cluster: Cluster) -> None:
        """After the members have ended: undo :meth:`prepare`, as far as it came."""

    async def begin(self, arena: Arena, dice: Random) -> Hit:
        """Strike. Raises :class:`~coord.jepsen_like.live.arena.NotNow`."""


class Plain:
    """What most nemeses have in common: possible everywhere, and nothing to prepare."""

    def possible(self) -> str | None:
        return None

    def prepare(self, cluster: Cluster) -> None:
        """Nothing."""

    def clean(self, cluster: Cluster) -> None:
        """Nothing."""
