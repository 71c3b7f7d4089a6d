"""A walk gives the tree as it was when it began, whatever happens to the tree meanwhile."""

import random

import pytest

from coord.api.paths import ROOT, join, parent
from coord.store.tree import Tree
from coord.store.walk import Walk
from coord.store.znode import Znode, new_znode

LOT = 60  # bytes: two or three znodes
NAMES = ["a", "a-b", "a.b", "aa", "b", "é", "\U0001f511"]
"""Some of them sort otherwise beside a slash than among their siblings."""


class Growing:
    """A tree that changes at random, one revision at a time."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.tree = Tree()
        self.revision = 0

    def change(self) -> None:
        self.revision += 1
        tree, dice = self.tree, self.dice
        path = dice.choice(sorted(tree.znodes))
        before = tree.znodes[path]
        what = dice.random()
        if what < 0.3:
            tree.replace(path, before, (b"%d" % self.revision, *before[1:]))
        elif what < 0.65:
            below = join(path, dice.choice(NAMES))
            if below not in tree.znodes:
                tree.insert(below, new_znode(b"", self.revision, 0))
        else:
            for each in reversed(tree.subtree(path, 1_000) or []):
                if each != ROOT:
                    tree.remove(each, tree.znodes[each])
            if path != ROOT and dice.random() < 0.5:  # and at once there is another one
                tree.insert(path, new_znode(b"", self.revision, 0))


@pytest.mark.parametrize("seed", range(60))
def test_it_gives_what_there_was_and_each_once(seed: int) -> None:
    grows = Growing(seed)
    for _ in range(80):
        grows.change()
    there_was: dict[str, Znode] = dict(grows.tree.znodes)
    walk = Walk(grows.tree, grows.revision)
    grows.tree.keep = walk.keep
    found: list[tuple[str, Znode]] = []
    for paths, znodes in walk.lots(LOT):
        assert 0 < len(paths) == len(znodes)
        found += zip(paths, znodes, strict=True)
        for _ in range(grows.dice.randrange(6)):
            grows.change()
    assert len(found) == len(there_was)
    assert dict(found) == there_was


def test_it_keeps_only_what_it_has_yet_to_come_by() -> None:
    tree = Tree()
    for number in range(100):
        tree.insert(f"/{number:02}", new_znode(b"", 1, 0))
    walk = Walk(tree, 1)
    tree.keep = walk.keep
    lots = walk.lots(LOT)
    while "/50" not in next(lots)[0]:
        pass
    for number in range(100):
        path = f"/{number:02}"
        tree.replace(path, tree.znodes[path], new_znode(b"later", 2, 0))
        tree.replace(path, tree.znodes[path], new_znode(b"later still", 3, 0))
    assert 40 < len(walk._kept) <= 50
    rest = [each for lot in lots for each in zip(*lot, strict=True)]
    assert not walk._kept
    assert {znode[0] for _, znode in rest} == {b""}


def test_a_name_that_goes_on_comes_after_all_that_is_below_the_shorter_one() -> None:
    """As text ``/a-b`` is before ``/a/5``: what is kept must be known by where the walk goes."""
    tree = Tree()
    for path in ("/a", "/a-b", *[f"/a/{number}" for number in range(10)]):
        tree.insert(path, new_znode(b"", 1, 0))
    walk = Walk(tree, 1)
    tree.keep = walk.keep
    found: list[tuple[str, Znode]] = []
    for lot in walk.lots(LOT):
        found += zip(*lot, strict=True)
        if "/a/5" in lot[0]:
            tree.replace("/a-b", tree.znodes["/a-b"], new_znode(b"later", 2, 0))
    assert [znode for path, znode in found if path == "/a-b"] == [new_znode(b"", 1, 0)]


@pytest.mark.parametrize("seed", range(5))
def test_it_goes_by_name_a_parent_before_what_is_below_it(seed: int) -> None:
    grows = Growing(seed)
    for _ in range(80):
        grows.change()
    found = [path for paths, _ in Walk(grows.tree, grows.revision).lots(LOT) for path in paths]
    assert found == sorted(grows.tree.znodes, key=lambda path: path.rstrip("/").split("/"))
    assert all(parent(path) in found[: place + 1] for place, path in enumerate(found))


def test_lots_are_about_as_large_as_they_are_to_be() -> None:
    """Also where small znodes and large ones take turns: each lot begins with a guess that is wrong."""
    tree, lot_bytes = Tree(), 2_000
    for number in range(2_000):
        size = (0, 0, lot_bytes // 2, 3 * lot_bytes)[number // 100 % 4]
        tree.insert(f"/{number:04}", new_znode(bytes(size), 1, 0))
    lots = list(Walk(tree, 1).lots(lot_bytes))
    sizes = [sum(len(path) + len(znode[0]) + 20 for path, znode in zip(*lot, strict=True)) for lot in lots]
    assert all(size <= 2 * lot_bytes or len(lot[0]) == 1 for lot, size in zip(lots, sizes, strict=True))
    assert [path for paths, _ in lots for path in paths] == sorted(tree.znodes)
    small = [lot for lot in lots if not any(len(znode[0]) for znode in lot[1])]
    assert (
        len(small) < 60
    )  # of 1000 znodes, 78 of which make a lot; with some cut short where the large ones begin
