"""A client's promises against real replicas, with connections that break in every way, from seeds.

Exactly once, in order, without the caller noticing; watches that tell everything once. A red run names its seed.
"""

from itertools import pairwise, zip_longest

import pytest

from coord.api.events import Event, Revision
from coord.api.ops import Create, Get, Set, WatchScope
from coord.api.results import Created, Written, Znode
from coord.client.core import State
from coord.client.core.request import Request
from coord.client.core.watching import Watching
from tests.client.world import Driver, World

SEEDS = (0, 1, 2, 3, 307, 316)
"""The last two found that a write whose caller had gone must be sent again, lest its first sending come late."""
WRITES_EACH = 150


class Worker:
    """Creates sequential znodes, sets a counter of its own, reads it back; a few requests in flight.

    Now and then it loses its patience with one.
    """

    def __init__(self, number: int, driver: Driver) -> None:
        self.number = number
        self.driver = driver
        self.key = f"/k/{number}"
        self.submitted = 0
        self.done: list[Request] = []
        self.counted: list[Request] = []
        self.acknowledged = -1
        self.abandoned = 0

    def work(self) -> None:
        core, dice = self.driver.core, self.driver.world.dice
        for request in core.take_completed():
            if not request.op:
                continue  # the opening of a watch
            self.done.append(request)
            result = request.result()  # raises, if it failed: no fault here may reach a caller
            if isinstance(result, Written):
                self.acknowledged = max(self.acknowledged, int(request.op[2]))
            if isinstance(result, Znode):
                assert int(result.value) >= request.context, "a read that is older than an answered write"
        while self.submitted < WRITES_EACH and core.unanswered < 8 and dice.random() < 0.7:
            if not self.submitted:
                core.write(Create("/q/n-", b"%d" % self.number, sequential=True, parents=True).row())
            counted = core.write(Set(self.key, b"%d" % self.submitted, create=True, parents=True).row())
            self.counted.append(counted)
            self.submitted += 1
            core.write(Create("/q/n-", b"%d" % self.number, sequential=True, parents=True).row())
            if self.acknowledged >= 0 and dice.random() < 0.5:
                core.read(Get(self.key).row(), context=self.acknowledged)
        if self.counted and dice.random() < 0.05 and not self.counted[-1].done:
            core.abandon(self.counted[-1])
            self.abandoned += 1

    @property
    def finished(self) -> bool:
        return self.submitted == WRITES_EACH and not self.driver.core.unanswered


class Watcher:
    """Takes the events of a watch, at a pace of its own."""

    def __init__(self, driver: Driver, path: str, from_revision: int | None) -> None:
        self.driver = driver
        self.path = path
        self.watch: Watching = driver.core.watch(path, WatchScope.SUBTREE, from_revision)
        self.seen: list[Event] = []

    def take(self, eager: bool) -> None:
        dice = self.driver.world.dice
        while self.watch.buffer and (eager or dice.random() < 0.7):
            self.seen.append(self.watch.take())
            self.driver.core.taken(self.watch)
        assert self.watch.error is None


@pytest.mark.parametrize("seed", SEEDS)
def test_exactly_once_in_order_and_every_event_once(seed: int) -> None:
    world = World(seed)
    world.slowest_steps = 3
    workers = [Worker(number, world.client(session_timeout_ms=60_000)) for number in range(3)]
    watchers = [
        Watcher(workers[0].driver, "/", 1),
        Watcher(workers[1].driver, "/k", None),
        Watcher(world.client(session=False, watch_buffer=20), "/", 1),
        Watcher(world.client(session_timeout_ms=60_000), "/q", 1),
    ]
    for _ in range(1200):
        world.disturb()
        world.step()
        for worker in workers:
            worker.work()
        for watcher in watchers:
            watcher.take(eager=False)
    world.heal()
    for _ in range(4000):
        world.step()
        for worker in workers:
            worker.work()
        for watcher in watchers:
            watcher.take(eager=True)
        if all(worker.finished for worker in workers) and _all_told(world, watchers):
            break
    assert all(worker.finished for worker in workers), [worker.driver.core.unanswered for worker in workers]
    # The faults did happen:
    assert sum(driver.connections for driver in world.clients) > 5 * len(world.clients)

    store = world.replicas[world.leader].state.store
    _exactly_once(workers, store.history.since(1))
    told = [
        (revision, change[1], change[2])
        for revision, _, _, changes in store.history.since(1)
        for change in changes
    ]
    for watcher in watchers:
        expected = [each for each in told if each[1] == watcher.path or each[1].startswith(watcher.path)]
        seen = [(event.revision, event.path, event.value) for event in watcher.seen]
        if watcher.watch.from_revision is None:
            assert seen, "it was told something"
            expected = [each for each in expected if each[0] >= seen[0][0]]
        differences = [pair for pair in zip_longest(seen, expected) if pair[0] != pair[1]]
        assert not differences[:3]


def _all_told(world: World, watchers: list[Watcher]) -> bool:
    leader = world.leader
    if not leader:
        return False
    last = world.replicas[leader].state.store.revision
    return all(
        watcher.seen and (watcher.seen[-1].revision == last or watcher.path != "/") for watcher in watchers
    )


def _exactly_once(workers: list[Worker], history: list[Revision]) -> None:
    for worker in workers:
        # Answers may come in another order: what a former connection had sent is answered as it is applied.
        in_order = sorted(worker.done, key=lambda request: request.id)
        created = [request.result() for request in in_order if request.op[0] == 1]
        paths = [result.path for result in created if isinstance(result, Created)]
        assert len(paths) == WRITES_EACH + 1
        assert not [pair for pair in pairwise(paths) if pair[0] >= pair[1]], (
            "applied in the order of their sending"
        )
        sets = [change[2] for _, _, _, changes in history for change in changes if change[1] == worker.key]
        values = [int(value) for value in sets if value is not None]
        assert values == sorted(dict.fromkeys(values)), "each once, in the order of their sending"
        answered = [int(request.op[2]) for request in worker.counted if request.reply is not None]
        assert len(answered) == WRITES_EACH - worker.abandoned
        assert not [value for value in answered if value not in values], "what was answered did happen"
    every = [path for _, _, _, changes in history for kind, path, *_ in changes if kind == 1]
    created_paths = [path for path in every if path.startswith("/q/n-")]
    assert len(created_paths) == len(dict.fromkeys(created_paths)) == len(workers) * (WRITES_EACH + 1)


def test_an_ephemeral_outlives_its_connections_and_not_its_session() -> None:
    world = World(1)
    driver, other = world.client(session_timeout_ms=2_000), world.client(session=False)
    watcher = Watcher(other, "/", None)
    request = driver.core.write(Create("/e", kind=1).row())  # type: ignore[arg-type]
    world.run(100)
    assert request.error is None
    assert request.done
    for _ in range(20):
        driver.cut(0)
        world.run(10)
    watcher.take(eager=True)
    assert [event.path for event in watcher.seen] == ["/e"]
    session, safe_until = driver.core.session, driver.core.safe_until
    driver.cut(0)
    world.clients.remove(driver)  # silent from here on
    while driver.core.state is not State.ENDED:
        assert world.replicas[world.leader].state.store.tree.ephemerals.get(session)
        world.step()
        driver.core.tick(world.now)
    assert world.now >= safe_until
    world.run(50)
    watcher.take(eager=True)
    assert [event.kind for event in watcher.seen] == [1, 3]


def test_a_session_goes_on_at_another_member_when_its_own_is_cut_off() -> None:
    world = World(2)
    driver = world.client(session_timeout_ms=6_000)
    world.run(100)
    assert driver.wire is not None
    first = driver.wire.member
    session = driver.core.session
    world.cut_off = {first}
    request = driver.core.write(Set("/a", b"1", create=True).row())
    world.run(600)
    assert driver.core.state is State.ATTACHED
    assert driver.core.session == session
    assert driver.core.member != first
    assert driver.core.take_completed() == [request]
    assert request.result() == Written(0, 1)
