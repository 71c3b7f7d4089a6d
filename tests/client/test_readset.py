"""What a transaction has read was all true at one moment: random trees, changes, and reads in between."""

import random

import pytest

from coord.api.ops import Create, Delete, Kind, Set
from coord.api.results import Stat, Znode
from coord.client.core.readset import ReadSet, listing_read, what_changed, znode_read
from tests.store.model import Model

PATHS = ["/a", "/b", "/a/a", "/a/b", "/a/c", "/b/a"]


def stat_of(model: Model, path: str) -> Stat | None:
    found = model.nodes.get(path)
    if found is None:
        return None
    return Stat(
        found["created"], found["modified"], found["touched_at"], found["version"], 0, 0, 0, 0,
        len(found["value"]), len(model.children(path)), Kind.PERSISTENT, 0,
    )  # fmt: skip


def znode_of(model: Model, path: str) -> Znode | None:
    stat = stat_of(model, path)
    return None if stat is None else Znode(path, model.nodes[path]["value"], stat, model.revision)


class Life:
    """A tree, all states it has had, and one transaction that reads it while it changes."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.model = Model()
        self.model.open()
        self.requests = 0
        self.past: dict[int, dict[str, tuple[bytes | None, list[str] | None]]] = {}
        self.reads = ReadSet()
        self.values: dict[str, bytes | None] = {}
        self.names: dict[str, list[str] | None] = {}
        self.confirmations = 0
        self.remember()
        for path in self.dice.sample(PATHS, 5):
            self.do(Create(path, parents=True))

    def remember(self) -> None:
        model = self.model
        self.past[model.revision] = {
            path: (
                model.nodes[path]["value"] if path in model.nodes else None,
                model.children(path) if path in model.nodes else None,
            )
            for path in PATHS
        }

    def change(self) -> None:
        path, dice = self.dice.choice(PATHS), self.dice
        self.do(
            dice.choice(
                (Create(path), Create(path), Set(path, dice.randbytes(1)), Delete(path, subtree=True))
            )
        )

    def do(self, op: Create | Set | Delete) -> None:
        self.requests += 1
        self.model.request(1, self.requests, op)
        self.remember()

    def read(self) -> bool:
        """False: a conflict, and known to be one at once."""
        path, model = self.dice.choice(PATHS), self.model
        if self.dice.random() < 0.5:
            if self.reads.znode(path) is None:
                znode = znode_of(model, path)
                self.reads.add(znode_read(path, znode, model.revision))
                self.values[path] = None if znode is None else znode.value
        elif self.reads.listing(path) is None:
            return self.list(path)
        return True

    def list(self, path: str) -> bool:
        """In pages of one name, with changes in between."""
        names: list[str] = []
        first = self.model.revision
        while path in self.model.nodes:
            last = self.model.revision
            more = [name for name in self.model.children(path) if not names or name > names[-1]]
            names += more[:1]
            if not more[1:]:
                self.reads.add(listing_read(path, names, first, last))
                self.names[path] = names
                return True
            while self.dice.random() < 0.5:
                self.change()
        self.values[path] = None
        return self.reads.add(znode_read(path, None, self.model.revision)).missing

    def holds_now(self) -> bool:
        return all(read.still_holds(stat_of(self.model, read.path)) for read in self.reads.all())

    def is_a_state(self, revision: int) -> bool:
        state = self.past[revision]
        return all(state[path][0] == value for path, value in self.values.items()) and all(
            state[path][1] == names for path, names in self.names.items()
        )

    def run(self) -> bool:
        """Until a conflict, or for a while. Says whether it came to the end."""
        for _ in range(20):
            if self.dice.random() < 0.5:
                self.change()
            elif not self.read():
                return False
            if self.holds_now():
                assert self.is_a_state(self.model.revision)  # so a commit that goes through now is right
            elif not self.reads.at_one_moment():
                return False
            if not self.reads.at_one_moment():
                self.reads.confirmed(self.reads.all(), self.model.revision)
                self.confirmations += 1
            assert self.reads.at_one_moment()
            assert any(self.is_a_state(revision) for revision in self.past), (self.values, self.names)
        return True


def test_what_was_read_is_a_state_that_was() -> None:
    lives = [Life(seed) for seed in range(1_000)]
    ended = [life.run() for life in lives]
    assert 100 < sum(ended) < 900
    assert sum(life.confirmations for life in lives) > 100


def test_the_story_at_the_top() -> None:
    reads = ReadSet()
    first = Znode("/a", b"50", Stat(1, 7, 1, 0, 0, 0, 0, 0, 2, 0, Kind.PERSISTENT, 0), 10)
    second = Znode("/b", b"100", Stat(1, 11, 1, 0, 0, 0, 0, 0, 3, 0, Kind.PERSISTENT, 0), 11)
    reads.add(znode_read("/a", first, 10))
    assert reads.at_one_moment()
    reads.add(znode_read("/b", second, 11))
    assert not reads.at_one_moment()


def test_what_was_not_there_may_have_come_and_gone() -> None:
    reads = ReadSet()
    reads.add(znode_read("/a", None, 10))
    reads.add(znode_read("/b", None, 12))
    assert not reads.at_one_moment()
    reads.confirmed(reads.all(), 15)
    assert reads.at_one_moment()
    # One that was on its way during the comparison: at revision 13, /a may have been there for a while.
    reads.add(listing_read("/c", [], 13, 13))
    assert not reads.at_one_moment()
    reads.confirmed(reads.all(), 16)
    assert reads.at_one_moment()
    reads.add(znode_read("/d", None, 17))
    assert not reads.at_one_moment()


@pytest.mark.parametrize(("last", "at_once"), [(7, True), (8, False)])
def test_pages_of_a_listing(last: int, at_once: bool) -> None:
    reads = ReadSet()
    reads.add(listing_read("/a", ["x", "y"], 7, last))
    assert reads.at_one_moment() is at_once
    reads.confirmed(reads.all(), 9)
    assert reads.at_one_moment()


def test_what_is_read_again_is_what_was_read_first() -> None:
    reads = ReadSet()
    first = reads.add(znode_read("/a", None, 10))
    assert reads.add(znode_read("/a", None, 12)) is first
    assert reads.znode("/a") is first
    assert reads.listing("/a") is first  # there is no such znode, so it has no children
    assert reads.at_one_moment()


def test_what_has_changed_is_named() -> None:
    stat = Stat(1, 7, 9, 0, 0, 0, 0, 0, 2, 0, Kind.PERSISTENT, 0)
    znode = znode_read("/a", Znode("/a", b"", stat, 10), 10)
    children = listing_read("/a", [], 8, 8)
    missing = znode_read("/b", None, 10)
    assert what_changed([znode, missing, children], [stat, None, stat]) == ("the children of '/a'", "/a")
    assert what_changed([znode, missing], [stat, stat]) == ("'/b'", "/b")
    assert what_changed([znode], [None]) == ("'/a'", "/a")
    assert what_changed([znode, missing], [stat]) == ("something", "")
