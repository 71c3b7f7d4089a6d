"""The fixtures that pytest finds wherever coord is installed. What they need is imported when they are used."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from coord.testing import Cluster


@pytest.fixture
def coord_cluster_factory() -> "Iterator[Callable[..., Cluster]]":
    """Fresh clusters by ``coord_cluster_factory(5, limits={…})``, with the arguments of ``coord.testing.cluster``."""
    from coord.testing import cluster

    with ExitStack() as stack:
        yield lambda *given, **named: stack.enter_context(cluster(*given, **named))


@pytest.fixture
def coord_cluster(coord_cluster_factory: "Callable[..., Cluster]") -> "Cluster":
    """A fresh cluster of three members: ``connect(coord_cluster.endpoints)``, ``coord_cluster.pause(2)``, …"""
    return coord_cluster_factory(3)


@pytest.fixture
def coord_member(coord_cluster_factory: "Callable[..., Cluster]") -> "Cluster":
    """A fresh cluster of one member: ``connect(coord_member.endpoints)``, ``coord_member.pause()``, …"""
    return coord_cluster_factory(1)
