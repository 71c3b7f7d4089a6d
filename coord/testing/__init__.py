"""Real members for the tests of programs that use coord: in this process, ready in a quarter of a second.

Under pytest, fixtures (nothing to configure: they are there where coord is installed)::

    def test_mine(coord_cluster):
        with connect(coord_cluster.endpoints) as client:
            ...
            coord_cluster.kill(coord_cluster.leader())
            ...

and without pytest a context manager::

    with coord.testing.cluster(3) as c:
        c.pause(2)

``coord_member`` is a fresh cluster of one, ``coord_cluster`` of three, ``coord_cluster_factory(members=5, …)`` whatever
:func:`cluster` makes. What can be done to members: :class:`Cluster`. The guide: ``README.md`` beside this file.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coord.testing.hosting import Cluster, cluster
    from coord.testing.member import HostedMember

__all__ = ["Cluster", "HostedMember", "cluster"]


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is. pytest imports this package in every run of everybody who has coord
    installed, for the names of three fixtures; the members' code would cost each of them half a second.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from coord.testing import hosting, member

    return getattr(member if name == "HostedMember" else hosting, name)
