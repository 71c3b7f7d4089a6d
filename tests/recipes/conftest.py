"""Clusters that the tests of a module share: each test keeps to a namespace of its own."""

from collections.abc import Iterator

import pytest

from coord.testing import Cluster, cluster


@pytest.fixture(scope="module")
def member() -> Iterator[Cluster]:
    """One member."""
    with cluster(1) as made:
        yield made
