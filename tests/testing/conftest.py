"""One cluster for most tests of a file; none of the connections that a test made outlives it."""

from collections.abc import Iterator

import pytest

from coord.testing import Cluster, cluster
from tests.rawclient import close_all


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    close_all()


@pytest.fixture(scope="module")
def module_cluster() -> Iterator[Cluster]:
    with cluster(3) as made:
        yield made


@pytest.fixture
def three(module_cluster: Cluster) -> Iterator[Cluster]:
    """One cluster for most tests here: each mends what it broke, as far as this does not."""
    yield module_cluster
    module_cluster.heal()
    for member in module_cluster.members:
        if not member.running:
            member.restart()
        member.resume()
    module_cluster.wait_leader()
