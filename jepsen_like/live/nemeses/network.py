"""Bad networks that are no partition: slow, thin, and connections that end in the middle of a frame."""

from random import Random

from coord.jepsen_like.live.arena import Arena, NotNow
from coord.jepsen_like.live.links import CLIENTS
from coord.jepsen_like.live.nemeses import nemesis
from coord.jepsen_like.live.nemeses.nemesis import Hit, Plain
from coord.jepsen_like.live.proxy import BACK, BOTH, BlackHole, Break, Cut, Delay, Drip, Forward, Hold, Mode


class Network(Plain):
    """``fault`` (``delay``, ``drip``, ``reset``, ``truncate``, ``hold``) on some links between members."""

    family = "network"
    hands_on = nemesis.LINKS

    def __init__(self, fault: str) -> None:
        self.name = f"network-{fault}"
        self.hold_ms = (200, 4_000)
        self._fault = fault

    async def begin(self, arena: Arena, dice: Random) -> Hit:
        mode = _mode(self._fault, dice)
        links = arena.links.across(arena.members, arena.members)
        pairs = [pair for pair in dict.fromkeys(links) if dice.random() < 0.5]
        if not pairs:
            raise NotNow("no link was drawn")
        arena.links.set(pairs, mode)

        async def end() -> None:
            arena.links.set(pairs, Forward())

        arrows = ", ".join(f"{source}→{target}" for source, target in pairs)
        return Hit(tuple(sorted({target for _, target in pairs})), f"{mode} on {arrows}", end)


class ClientNetwork(Plain):
    """``fault`` between clients and some members: those above, ``cut``, and ``replies`` (requests arrive, answers do
    not)."""

    family = "clients"
    hands_on = nemesis.CLIENTS

    def __init__(self, fault: str) -> None:
        self.name = f"clients-{fault}"
        self.hold_ms = (100, 2_500)
        self._fault = fault

    async def begin(self, arena: Arena, dice: Random) -> Hit:
        mode = BlackHole() if self._fault == "replies" else _mode(self._fault, dice)
        chosen = arena.pick(dice, dice.randint(1, len(arena.members)))
        pairs = [(CLIENTS, member) for member in chosen]
        arena.links.set(pairs, mode, (BACK,) if self._fault == "replies" else BOTH)

        async def end() -> None:
            arena.links.set(pairs, Forward())

        where = ", ".join(str(each) for each in chosen)
        return Hit(tuple(chosen), f"{mode} between clients and {where}", end)


def _mode(fault: str, dice: Random) -> Mode:
    if fault == "delay":
        least_ms = dice.randint(1, 100)
        return Delay(least_ms, least_ms + dice.randint(0, 300))
    if fault == "drip":
        return Drip(dice.choice((1, 16, 256)))
    if fault in ("reset", "truncate"):
        return Break(dice.choice((64, 1_024, 16_384)), politely=fault == "truncate")
    if fault == "hold":
        return Hold()
    if fault == "cut":
        return Cut()
    raise ValueError(f"there is no network fault {fault!r}")
