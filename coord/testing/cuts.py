"""Who is cut off from whom: what is kept at each member, as sets of what the network drops there."""

from collections.abc import Collection, Mapping
from typing import Literal

from coord.server.member import Cut

Direction = Literal["both", "in", "out"]
"""Of what is lost, as the member sees it: all; what it is told; what it says."""


def cut_more(cut: Cut, peers: Collection[int], clients: bool, direction: Direction) -> Cut:
    """``cut``, and these besides."""
    says, hears = direction in ("both", "out"), direction in ("both", "in")
    return Cut(
        to_peers=cut.to_peers | frozenset(peers if says else ()),
        from_peers=cut.from_peers | frozenset(peers if hears else ()),
        to_clients=cut.to_clients or (clients and says),
        from_clients=cut.from_clients or (clients and hears),
    )


def without_peer(cut: Cut, peer: int) -> Cut:
    """``cut``, but for what it has between its member and ``peer``."""
    return cut._replace(to_peers=cut.to_peers - {peer}, from_peers=cut.from_peers - {peer})


def can_lead(member: int, cuts: Mapping[int, Cut], awake: Collection[int]) -> bool:
    """Whether ``member`` and a majority hear each other. ``cuts`` has all members, ``awake`` those that run."""
    if member not in awake:
        return False
    reached = [peer for peer in awake if peer == member or _hear_each_other(member, peer, cuts)]
    return 2 * len(reached) > len(cuts)


def _hear_each_other(one: int, other: int, cuts: Mapping[int, Cut]) -> bool:
    lost = [(cuts[one], other), (cuts[other], one)]
    return not any(peer in cut.to_peers or peer in cut.from_peers for cut, peer in lost)
