"""All links of a cluster: one for each direction of each pair of members, and one from the clients to each member."""

from collections.abc import Iterable, Iterator, Mapping
from random import Random

import trio

from coord.jepsen_like.live.proxy import BOTH, Forward, Link, Mode

CLIENTS = 0
"""Stands for all clients, as the source of a link."""


class Links:
    """``links[i, j]`` carries what member ``i`` sends to member ``j``; ``links[CLIENTS, j]`` clients' connections."""

    def __init__(self, peer_ports: Mapping[int, int], client_ports: Mapping[int, int], dice: Random) -> None:
        """``peer_ports``, ``client_ports``: where the members really listen, by member."""
        self.members = tuple(sorted(peer_ports))
        self._links = {
            (source, target): Link(source, target, peer_ports[target], Random(dice.random()))
            for source in self.members
            for target in self.members
            if source != target
        }
        for target in self.members:
            self._links[CLIENTS, target] = Link(CLIENTS, target, client_ports[target], Random(dice.random()))

    def __getitem__(self, pair: tuple[int, int]) -> Link:
        return self._links[pair]

    def __iter__(self) -> Iterator[Link]:
        return iter(self._links.values())

    async def listen(self) -> None:
        """Take a port for each: after this their ``port`` is known."""
        for link in self:
            await link.listen()

    async def close(self) -> None:
        """Give the ports back; for those that never ran."""
        for link in self:
            await link.close()

    async def run(self) -> None:
        """Serve all, until cancelled."""
        async with trio.open_nursery() as nursery:
            for link in self:
                nursery.start_soon(link.run)

    def set(
        self, pairs: Iterable[tuple[int, int]], mode: Mode, lanes: tuple[str, ...] = BOTH
    ) -> list[tuple[int, int]]:
        """Have these links be so; returns the pairs, for who must undo it."""
        done = list(pairs)
        for pair in done:
            self._links[pair].set(mode, lanes)
        return done

    def heal(self) -> None:
        """All links work again."""
        for link in self:
            link.set(Forward())

    def between(self, some: Iterable[int], others: Iterable[int]) -> list[tuple[int, int]]:
        """The links from ``some`` to ``others``, one way."""
        targets = list(others)
        return [(source, target) for source in some for target in targets if source != target]

    def across(self, some: Iterable[int], others: Iterable[int]) -> list[tuple[int, int]]:
        """The links between ``some`` and ``others``, both ways."""
        left, right = list(some), list(others)
        return self.between(left, right) + self.between(right, left)
