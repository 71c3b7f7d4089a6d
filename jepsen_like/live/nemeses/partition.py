"""Partitions: who can send to whom. Each by cutting links, holding them, or letting what is sent disappear."""

from collections.abc import Sequence
from random import Random

from coord.jepsen_like.live.arena import Arena, NotNow
from coord.jepsen_like.live.links import Links
from coord.jepsen_like.live.nemeses.nemesis import LINKS, Hit, Plain
from coord.jepsen_like.live.proxy import BlackHole, Cut, Forward, Hold, Mode

Pairs = list[tuple[int, int]]


class Partition(Plain):
    """``shape``: see :func:`pairs_of`. Clients reach every member throughout."""

    family = "partition"
    hands_on = LINKS

    def __init__(self, shape: str) -> None:
        self.name = f"partition-{shape}"
        self.hold_ms = (200, 5_000)
        self._shape = shape

    async def begin(self, arena: Arena, dice: Random) -> Hit:
        if len(arena.members) < 2:
            raise NotNow("one member alone cannot be parted")
        order = list(arena.members)
        dice.shuffle(order)
        if self._shape == "leader":
            order.remove(arena.leader)
            order.insert(0, arena.leader)
        pairs, what = pairs_of(self._shape, order, arena.links, dice)
        how: Mode = dice.choice((Cut(), BlackHole(), Hold()))
        arena.links.set(pairs, how)

        async def end() -> None:
            arena.links.set(pairs, Forward())

        members = tuple(sorted(dict.fromkeys(each for pair in pairs for each in pair)))
        return Hit(members, f"{what} ({type(how).__name__.lower()})", end)


def pairs_of(shape: str, order: Sequence[int], links: Links, dice: Random) -> tuple[Pairs, str]:
    """The links that ``shape`` takes away, ``(source, target)``, and what to call it. ``order``: members, drawn.

    ``halves``: a majority and the rest. ``one``, ``leader``: the first against all others. ``bridge``: two sides that
    only one member joins. ``ring``: each sees its neighbours only. ``one-way``: some links in one direction.
    """
    if shape in ("one", "leader"):
        return links.across(order[:1], order[1:]), f"member {order[0]} alone"
    if shape == "halves":
        half = len(order) // 2
        return links.across(order[:half], order[half:]), f"{_set(order[:half])} | {_set(order[half:])}"
    if shape == "bridge":
        bridge, rest = order[0], order[1:]
        half = len(rest) // 2
        return (
            links.across(rest[:half], rest[half:]),
            f"{_set(rest[:half])} | {_set(rest[half:])}, joined by {bridge} alone",
        )
    if shape == "ring":
        count = len(order)
        near = {(order[at], order[(at + step) % count]) for at in range(count) for step in (1, -1)}
        pairs = [pair for pair in links.across(order, order) if pair not in near]
        # A ring of three is whole: there its every link works in one direction only.
        pairs = list(dict.fromkeys(pairs)) or [(order[at - 1], order[at]) for at in range(count)]
        return pairs, f"a ring {'-'.join(str(each) for each in order)}"
    if shape == "one-way":
        deaf = order[: dice.randint(1, len(order) - 1)]
        rest = order[len(deaf) :]
        return links.between(rest, deaf), f"{_set(deaf)} heard by {_set(rest)}, and deaf to them"
    raise ValueError(f"there is no partition {shape!r}")


def _set(members: Sequence[int]) -> str:
    return "{" + ", ".join(str(each) for each in sorted(members)) + "}"
