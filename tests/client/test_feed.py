"""How a mirror is fed, step by step, and by real replicas which lag, lose their leader and forget. From seeds."""

from collections.abc import Callable, Generator
from random import Random
from typing import Any

import pytest

from coord.api.errors import Disconnected, Gap
from coord.api.events import ChangeKind
from coord.api.ops import Delete, Exists, Set, TreeOp, WatchScope
from coord.client.core import Core
from coord.client.core.mirror import Cached
from coord.client.core.request import NEVER, Request
from coord.client.core.tree import Tree
from coord.client.feed import Feed
from coord.limits import MemberLimits
from coord.wire.client_frames import Reads, Watch
from tests.client.script import Script, group, ok
from tests.client.test_mirror import PATHS, within
from tests.client.world import Driver, World


class OneStep:
    """Awaited: until whoever drives the task sends on."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class StepLink:
    """As much of a link as a feed needs, driven by a world's steps instead of an event loop."""

    def __init__(self, core: Core) -> None:
        self.core = core

    def settle(self) -> None:
        pass  # the driver looks at the core in each step

    def waiter(self) -> None:
        return None

    async def finished(self, request: Request, answer: Callable[[Request], object]) -> object:
        while not request.done:
            await OneStep()
        return answer(request)


class StepBell:
    def set(self) -> None:
        pass

    async def wait(self) -> None:
        await OneStep()


def test_an_answer_from_before_the_watch_was_open_says_nothing_of_it() -> None:
    """1. The watch is paused: closed at the member, as its buffer is full. 2. A read is asked and answered, at 30.
    3. The watch is open again, from 12 on. 4. Whoever asked has his turn only now. All through 11 was told, not 30.
    """
    script = Script(watch_buffer=1)
    script.connect()
    link: Any = StepLink(script.core)
    bell: Any = StepBell()
    feed = Feed(link, "/a", WatchScope.SUBTREE, None, bell)
    opening = feed.open(None, NEVER)
    opening.send(None)
    (watch,) = script.sent()
    assert isinstance(watch, Watch)
    script.replies(ok(watch.request, 10))
    with pytest.raises(StopIteration):
        opening.send(None)
    script.events(group(11, ("/a", [1]), ("/a", [1])))
    assert feed.watching.paused
    asking = feed.ask([Exists("/a")], NEVER)
    asking.send(None)
    _, reads = script.sent()
    assert isinstance(reads, Reads)
    script.replies(ok(reads.requests[0][0], 30, None))
    feed.take()
    feed.take()
    feed.went_on()
    (again,) = script.sent()
    assert isinstance(again, Watch)
    assert again.from_revision == 12
    script.replies(ok(again.request, 11))
    with pytest.raises(StopIteration):
        asking.send(None)
    assert feed.told == 11


def test_one_that_is_closed_while_it_is_opened_says_so() -> None:
    script = Script()
    script.connect()
    link: Any = StepLink(script.core)
    bell: Any = StepBell()
    feed = Feed(link, "/a", WatchScope.SUBTREE, None, bell)
    opening = feed.open(None, NEVER)
    opening.send(None)
    feed.close()
    with pytest.raises(Disconnected, match="closed while it was opened"):
        opening.send(None)
    feed.close()


class Copyist:
    """Keeps a tree of ``path``, and notes what it was at every revision that it claimed."""

    def __init__(self, driver: Driver, path: str) -> None:
        self.path = path
        self.claims: dict[int, dict[str, Cached]] = {}
        self.gaps = self.listings = 0
        self._core = driver.core
        self._task = self._copy(StepLink(driver.core), StepBell())

    def step(self) -> None:
        self._task.send(None)
        self._core.take_completed()

    async def _copy(self, link: Any, bell: Any) -> None:
        while True:
            feed = Feed(link, self.path, WatchScope.SUBTREE, None, bell)
            await feed.open(None, NEVER)
            tree = Tree(self.path, True)
            try:
                await feed.fill(tree, NEVER)
                self.listings += 1
                while feed.watching.error is None:
                    while feed.watching.buffer:
                        tree.apply(feed.take())
                    tree.told(feed.told)
                    feed.went_on()
                    assert tree.revision is not None
                    self.claims[tree.revision] = dict(tree.entries)
                    await OneStep()
                raise feed.watching.error
            except Gap:
                self.gaps += 1


class Past:
    """What the tree was at every revision, from the members' histories, before they forget it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.states: list[dict[str, Cached]] = [{}]

    def step(self) -> None:
        for replica in self.world.replicas.values():
            store = replica.state.store
            if store.revision < len(self.states):
                continue
            for revision, _, wall_ms, changes in store.history.since(len(self.states)):
                state = dict(self.states[-1])
                assert revision == len(self.states)
                for kind, path, value, version, *_ in changes:
                    if kind == ChangeKind.DELETED:
                        del state[path]
                    else:
                        created = revision if kind == ChangeKind.CREATED else state[path].created_revision
                        state[path] = Cached(path, value, version, created, revision, wall_ms)
                self.states.append(state)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_is_exact_at_members_that_lag_and_fail(seed: int) -> None:
    world = World(seed, MemberLimits(history_revisions=12))
    world.slowest_steps = 3
    dice = Random(seed)
    writers = [world.client(session_timeout_ms=60_000) for _ in range(2)]
    copyists = [Copyist(world.client(session=False, watch_buffer=20), path) for path in ("/", "/r", "/r/a")]
    past = Past(world)
    written = 0

    def step() -> None:
        for writer in writers:
            writer.core.take_completed()
        world.step()
        past.step()
        for copyist in copyists:
            copyist.step()

    for turn in range(1500):
        world.disturb()
        if turn == 1000:
            world.cut_off = {world.leader}
        for writer in writers:
            if writer.core.unanswered < 4 and dice.random() < 0.5:
                path = dice.choice(PATHS)
                op: TreeOp = Set(path, b"%d" % turn, create=True, parents=True)
                writer.core.write((Delete(path, subtree=True) if dice.random() < 0.3 else op).row())
                written += 1
        step()
    world.heal()
    for _ in range(3000):
        step()
        last = len(past.states) - 1
        if not any(writer.core.unanswered for writer in writers) and all(
            copyist.listings and max(copyist.claims, default=0) == last for copyist in copyists
        ):
            break
    for copyist in copyists:
        for revision, claim in copyist.claims.items():
            state = past.states[revision]
            facts = {
                path: each for path, each in state.items() if within(path, copyist.path, WatchScope.SUBTREE)
            }
            claim.pop("/", None)  # it was there before any history
            assert claim == facts, (seed, copyist.path, revision)
        assert max(copyist.claims) == last
        assert len(copyist.claims) > last / 10
    # The faults did happen:
    assert written > 300
    assert sum(copyist.gaps for copyist in copyists) > 1
