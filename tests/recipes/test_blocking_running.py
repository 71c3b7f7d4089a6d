"""Partitions and periodic jobs in plain threads: whom they call, and how a thread hears that it is to end."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from coord.client.blocking import Client, CoordError, Disconnected, InvalidRequest, StaleToken, Token, connect
from coord.recipes.blocking.partitioning import Partition, Partitioning
from coord.recipes.blocking.periodic import Periodic, Tick
from coord.recipes.partitioning import share_of
from coord.recipes.periodic import State
from coord.testing import Cluster
from tests.recipes.house import fresh

HANG_S = 20
EVERY = 0.02

Threads = Callable[..., "Future[object]"]


class Enough(Exception):
    """The test has seen what it wanted."""


@pytest.fixture
def pair(member: Cluster) -> Iterator[tuple[Client, Client]]:
    space = fresh()
    with connect(member.endpoints, namespace=space) as a, connect(member.endpoints, namespace=space) as b:
        yield a, b


@pytest.fixture
def threads() -> Iterator[Threads]:
    with ThreadPoolExecutor(8) as pool:
        yield pool.submit


class Owners:
    """Who works on what: raises as soon as two do."""

    def __init__(self) -> None:
        self.by: dict[int, str] = {}
        self.tokens: dict[int, list[Token]] = {}
        self._changed = threading.Condition()

    def work(self, name: str) -> Callable[[Partition], None]:
        def work(partition: Partition) -> None:
            with self._changed:
                assert partition.number not in self.by, "two owners"
                partition.check()
                self.by[partition.number] = name
                self.tokens.setdefault(partition.number, []).append(partition.token)
                self._changed.notify_all()
            partition.cancelled.wait()
            time.sleep(0.01)  # it takes a while to end
            with self._changed:
                assert self.by.pop(partition.number) == name
                self._changed.notify_all()

        return work

    def until(self, *names: str, count: int) -> None:
        wanted = {number: name for name in names for number in share_of(name, names, count)}
        with self._changed:
            assert self._changed.wait_for(lambda: self.by == wanted, HANG_S), self.by


def test_partitions_move_from_thread_to_thread(pair: tuple[Client, Client], threads: Threads) -> None:
    owners = Owners()
    a, b = (Partitioning(client, "/p", 8, name=name) for client, name in zip(pair, "ab", strict=True))
    first = threads(a.run, owners.work("a"))
    owners.until("a", count=8)
    assert [each.number for each in a.mine] == list(range(8))
    assert all(each.held and each.remaining() > 0 for each in a.mine)
    for _ in range(3):
        second = threads(b.run, owners.work("b"))
        owners.until("a", "b", count=8)
        b.stop()
        assert second.result(HANG_S) is None
        assert b.mine == ()
    owners.until("a", count=8)
    a.stop()
    assert first.result(HANG_S) is None
    assert owners.by == {}
    assert all(tokens == sorted(set(tokens)) for tokens in owners.tokens.values())
    assert pair[0].claims().claims == ()


def test_a_partition_stays_for_as_long_as_its_work_takes(
    pair: tuple[Client, Client], threads: Threads
) -> None:
    slow = threading.Event()
    at_b: list[int] = []
    seen: list[bool] = []

    def dawdles(partition: Partition) -> None:
        assert partition.leaving.wait(HANG_S)
        assert not partition.cancelled.is_set(), "it has its grace"
        assert partition.cancelled.wait(HANG_S)
        slow.wait(HANG_S)
        seen.append(partition.held and not at_b)

    def there(partition: Partition) -> None:
        at_b.append(partition.number)
        partition.cancelled.wait()

    a, b = Partitioning(pair[0], "/p", 1, name="a", grace=0.05), Partitioning(pair[1], "/p", 1, name="b")
    # With one partition it is the names that decide; the owner comes first.
    first, second = (a, b) if share_of("b", ["a", "b"], 1) else (b, a)
    if first is b:
        first = Partitioning(pair[1], "/p", 1, name="b", grace=0.05)
    running = threads(first.run, dawdles)
    while not first.mine:
        time.sleep(0.001)
    other = threads(second.run, there)
    [partition] = first.mine
    assert partition.cancelled.wait(HANG_S)
    assert (at_b, partition.held) == ([], True)
    slow.set()
    while not at_b:
        time.sleep(0.001)
    assert seen == [True]
    for each, future in ((first, running), (second, other)):
        each.stop()
        future.result(HANG_S)


def test_a_partition_that_is_taken_away_is_no_failure(pair: tuple[Client, Client], threads: Threads) -> None:
    a, b = pair
    b.create("/data", parents=True)
    b.fence("/data", "/p/partitions/0")
    owned: list[Partition] = []

    def work(partition: Partition) -> None:
        owned.append(partition)
        if len(owned) == 1:
            [claim] = b.claims("/p/partitions").claims
            b.release(claim.number, force=True)
            while True:
                partition.client.set("/data", b"x")  # StaleToken, in the end
        with pytest.raises(StaleToken):
            owned[0].client.set("/data", b"late")
        with pytest.raises(CoordError):
            owned[0].check()
        shards.stop()

    shards = Partitioning(a, "/p", 1)
    threads(shards.run, work).result(HANG_S)
    assert len(owned) == 2
    assert owned[0].token < owned[1].token


def test_what_a_work_raises_is_raised_when_the_others_have_ended(pair: tuple[Client, Client]) -> None:
    ended: list[int] = []

    def work(partition: Partition) -> None:
        if partition.number == 1:
            raise Enough
        partition.cancelled.wait()
        time.sleep(0.02)
        ended.append(partition.number)

    with pytest.raises(Enough):
        Partitioning(pair[0], "/p", 1 + 2).run(work)
    assert set(ended) <= {0, 2}
    assert pair[0].claims().claims == ()
    running = [each.name for each in threading.enumerate() if each.name == "coord-work"]
    assert running == []


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Test runners that spread the tests over processes have these ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_tells_the_works_and_waits_for_them(pair: tuple[Client, Client]) -> None:
    ended: list[int] = []

    def work(partition: Partition) -> None:
        if partition.number == 0:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        partition.cancelled.wait(HANG_S)
        time.sleep(0.02)
        ended.append(partition.number)

    with pytest.raises(KeyboardInterrupt):
        Partitioning(pair[0], "/p", 1).run(work)
    assert ended == [0]
    assert pair[0].claims().claims == ()


def test_jobs_are_called_in_the_callers_thread(pair: tuple[Client, Client]) -> None:
    seen: list[Tick] = []

    def job(tick: Tick) -> None:
        assert threading.current_thread() is threading.main_thread()
        tick.leadership.check()
        tick.client.set("/out", b"x", create=True)
        assert tick.client.get("/out").value == b"x"
        seen.append(tick)
        if len(seen) == 4:
            periodic.stop()

    pair[0].create("/out", parents=True)
    pair[0].fence("/out", "/job")
    periodic = Periodic(pair[0], "/job", EVERY, missed="all")
    periodic.run(job)
    numbers = [tick.number for tick in seen]
    assert numbers == list(range(numbers[0], numbers[0] + 4))
    assert [tick.leadership.lost.is_set() for tick in seen] == [False, False, False, True]
    assert pair[0].claims().claims == ()
    assert [tick.interrupted for tick in seen] == [None] * 4


def test_a_job_is_told_and_the_next_one_waits_for_it(pair: tuple[Client, Client]) -> None:
    """1. It is deposed, and would lead again at once. 2. Its job takes a while to look. 3. Then only it stands anew."""
    seen: list[Tick] = []
    inside = 0

    def job(tick: Tick) -> None:
        nonlocal inside
        inside += 1
        assert inside == 1, "two jobs of one process at a time"
        seen.append(tick)
        if len(seen) == 3:
            raise Enough
        [claim] = pair[1].claims("/job").claims
        pair[1].release(claim.number, force=True)
        assert tick.leadership.lost.wait(HANG_S)
        time.sleep(EVERY * 2)
        inside -= 1
        if len(seen) == 2:
            tick.leadership.check()  # NotHeld: it is no failure to have lost it

    with pytest.raises(Enough):
        Periodic(pair[0], "/job", EVERY, missed="once").run(job)
    first, second, third = seen
    assert first.number < second.number < third.number
    assert (second.interrupted, third.interrupted) == (first.number, second.number)
    assert first.token < second.token < third.token


def test_a_job_that_is_broken_off_has_not_ended(pair: tuple[Client, Client]) -> None:
    def job(tick: Tick) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Periodic(pair[0], "/job", EVERY).run(job)
    state = State.decode(pair[0].get("/job/ticks").value, "/job/ticks")
    assert state.done < state.begun


def test_stopped_while_it_waits_in_line(pair: tuple[Client, Client], threads: Threads) -> None:
    with pair[0].claim("/job"):
        waits = Periodic(pair[1], "/job", EVERY)
        running = threads(waits.run, _never)
        while pair[0].claim_info("/job").waiters != 1:
            time.sleep(0.001)
        waits.stop()
        assert running.result(HANG_S) is None
        while pair[0].claim_info("/job").waiters != 0:  # it is withdrawn without waiting for the answer
            time.sleep(0.001)
    before = Periodic(pair[0], "/job", 60)
    before.stop()
    before.run(_never)


def test_closed_under_it_and_mistakes(member: Cluster, threads: Threads) -> None:
    client = connect(member.endpoints, namespace=fresh()).open()
    running = threads(Periodic(client, "/job", 60).run, _never)
    while client.claim_info("/job").holders == 0:
        time.sleep(0.001)
    client.close()
    with pytest.raises(Disconnected, match="closed"):
        running.result(HANG_S)
    with pytest.raises(Disconnected, match="closed"):
        Partitioning(client, "/p", 1).run(_never)
    with pytest.raises(InvalidRequest, match="a number of partitions"):
        Partitioning(client, "/p", 0)
    with pytest.raises(InvalidRequest, match="every"):
        Periodic(client, "/p", 0)


def test_one_thread_runs_it_at_a_time(pair: tuple[Client, Client], threads: Threads) -> None:
    """Two would take each other's calls, and the word that it has ended: one of them would never hear of it."""
    client, _ = pair
    partitioning, periodic = Partitioning(client, "/p", 1), Periodic(client, "/job", 60)

    def works() -> None:
        partitioning.run(lambda partition: partition.cancelled.wait(HANG_S))

    def waits() -> None:
        periodic.run(_never)

    for it, run, claimed in ((partitioning, works, "/p/partitions/0"), (periodic, waits, "/job")):
        for _ in range(2):  # afterwards it may run again
            running = threads(run)
            while client.claim_info(claimed).holders == 0:
                time.sleep(0.001)
            with pytest.raises(InvalidRequest, match="runs already"):
                threads(run).result(HANG_S)  # not here: two that run it wait for each other's ends
            it.stop()
            assert running.result(HANG_S) is None


def test_works_that_are_none(pair: tuple[Client, Client]) -> None:
    client, _ = pair

    async def asynchronous(_: object) -> None:
        raise AssertionError

    for it in (Partitioning(client, "/p", 1), Periodic(client, "/job", 60)):
        with pytest.raises(InvalidRequest, match="is a function, not 5"):
            it.run(5)  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest, match="a plain function here"):
            it.run(asynchronous)


def _never(_: object) -> None:
    raise AssertionError
