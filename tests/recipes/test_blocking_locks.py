"""Locks of all kinds and elections, for plain threads: who holds them, and how a thread hears that it does not."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic

import pytest

from coord.client.blocking import (
    Client,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    NotHeld,
    SessionEnded,
    StaleToken,
    Token,
    connect,
)
from coord.client.grant import Grant as AsyncGrant
from coord.recipes.blocking.election import Election
from coord.recipes.blocking.lock import Lock
from coord.recipes.blocking.multilock import MultiLock
from coord.recipes.blocking.rwlock import ReadWriteLock
from coord.recipes.blocking.semaphore import Semaphore
from coord.recipes.scope import Lost
from coord.testing import Cluster
from tests.recipes.house import fresh

HANG_S = 20


@pytest.fixture
def pair(member: Cluster) -> Iterator[tuple[Client, Client]]:
    space = fresh()
    with (
        connect(member.endpoints, namespace=space, name="a") as a,
        connect(member.endpoints, namespace=space, name="b") as b,
    ):
        yield a, b


@pytest.fixture
def threads() -> Iterator[Callable[..., "Future[object]"]]:
    with ThreadPoolExecutor(16) as pool:
        yield pool.submit


def until_waiting(client: Client, path: str, number: int = 1) -> None:
    while (info := client.claim_info(path)).waiters != number:
        client.exists("/", at_least=info.revision + 1)


Threads = Callable[..., "Future[object]"]


def test_one_thread_at_a_time(pair: tuple[Client, Client], threads: Threads) -> None:
    inside = 0
    tokens: list[Token] = []

    def contender(client: Client) -> None:
        nonlocal inside
        lock = Lock(client, "/l")
        for _ in range(10):
            with lock as grant:
                inside += 1
                assert inside == 1
                grant.check()
                tokens.append(grant.token)
                inside -= 1
            assert not grant.held
            assert not grant.lost.is_set(), "it was given back, not lost"

    for future in [threads(contender, pair[number % 2]) for number in range(8)]:
        future.result(HANG_S)
    assert tokens == sorted(set(tokens))
    assert len(tokens) == 80
    assert pair[0].exists("/l") is None


def test_threads_that_share_one_lock_object(pair: tuple[Client, Client], threads: Threads) -> None:
    client, _ = pair
    plain, again = Lock(client, "/l"), Lock(client, "/r", reentrant=True)
    with plain:
        with pytest.raises(InvalidRequest, match="reentrant"):
            plain.__enter__()
        assert threads(plain.try_acquire).result(HANG_S) is None
        with pytest.raises(InvalidRequest, match="entered"):
            threads(again.__exit__, None, None, None).result(HANG_S)
    with again as outer:
        with again as inner:
            assert inner is outer
        assert outer.held
        waits = threads(lambda: again.hold(deadline=10).__enter__())
        until_waiting(client, "/r")
    theirs = waits.result(HANG_S)
    assert isinstance(theirs, type(outer))
    theirs.release()


def test_leaving_without_waiting(pair: tuple[Client, Client], monkeypatch: pytest.MonkeyPatch) -> None:
    async def waits(_: AsyncGrant, **__: float) -> None:
        raise AssertionError("it waits for the answer")

    a, b = pair
    lock = Lock(a, "/l", release_nowait=True)
    monkeypatch.setattr(AsyncGrant, "release", waits)
    for _ in range(3):
        with lock as grant:
            assert grant.held
        assert not grant.held
    monkeypatch.undo()
    with Lock(b, "/l").hold(deadline=HANG_S) as later:
        assert later.token > grant.token


def test_in_time_or_not_at_all(pair: tuple[Client, Client]) -> None:
    a, b = pair
    with Lock(a, "/l"):
        for deadline in (0, 0.05):
            with pytest.raises(DeadlineExceeded) as caught:
                Lock(b, "/l").acquire(deadline=deadline)
            assert caught.value.outcome == "refused"
            with pytest.raises(DeadlineExceeded), Lock(b, "/l").hold(deadline=deadline):
                raise AssertionError
        until_waiting(a, "/l", 0)
    with Lock(b, "/l").acquire() as grant:
        assert grant.held
    held = Lock(b, "/l").hold()
    with held, pytest.raises(InvalidRequest, match="once"):
        held.__enter__()


def test_a_thread_hears_that_its_lock_was_taken_away(pair: tuple[Client, Client]) -> None:
    a, b = pair

    def holder() -> None:
        with Lock(a, "/l") as grant:
            a.create("/l/x", b"")
            b.release(grant.number, force=True)
            assert grant.lost.wait(HANG_S)
            assert not grant.held
            assert grant.remaining() == 0
            with pytest.raises(NotHeld):
                grant.check()

    with pytest.raises(Lost, match="another session"):
        holder()

    def careful_holder() -> None:
        with Lock(a, "/l") as grant:
            b.release(grant.number, force=True)
            assert grant.lost.wait(HANG_S)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):  # the thread's own error comes first
        careful_holder()


def test_a_thread_hears_of_it_before_somebody_else_can_hold_its_lock(
    coord_cluster: Cluster, threads: Threads
) -> None:
    here, elsewhere = coord_cluster.member(1).endpoint, coord_cluster.member(2).endpoint
    granted_at = 0.0
    with (
        connect(here, session_timeout=0.6, discover=False) as short,
        connect(elsewhere, discover=False) as b,
    ):

        def next_one() -> None:
            nonlocal granted_at
            with Lock(b, "/l"):
                granted_at = monotonic()

        def holder() -> float:
            with Lock(short, "/l") as grant:
                future = threads(next_one)
                until_waiting(b, "/l")
                coord_cluster.cut_off(1, peers=False)
                assert grant.lost.wait(HANG_S)
                heard_at = monotonic()
                with pytest.raises(SessionEnded):
                    grant.check()
                coord_cluster.heal(1)
                future.result(HANG_S)
                assert heard_at < granted_at
            raise AssertionError("the end of the block raises")

        with pytest.raises(Lost):
            holder()


def test_the_others(pair: tuple[Client, Client]) -> None:
    a, b = pair
    one, other = ReadWriteLock(a, "/rw"), ReadWriteLock(b, "/rw")
    with one.read, other.read as reader:
        assert reader.held
        assert other.write.try_acquire() is None
    with one.write:
        assert other.read.try_acquire() is None
        with pytest.raises(InvalidRequest, match="would wait for itself for ever"):
            one.read.__enter__()
    with one.read, pytest.raises(InvalidRequest, match="would wait for itself for ever"):
        one.write.__enter__()

    mine, theirs = Semaphore(a, "/s", 3), Semaphore(b, "/s", 3)
    with mine.hold(2), theirs:
        assert mine.try_acquire() is None
        with pytest.raises(DeadlineExceeded):
            theirs.acquire(deadline=0)
    units = theirs.acquire(3)
    assert mine.try_acquire() is None
    units.release()

    with MultiLock(a, ["/b", "/a", "/b"]) as grants:
        assert [grant.path for grant in grants] == ["/a", "/b"]
        assert MultiLock(b, ["/0", "/b"]).try_acquire() is None
        with pytest.raises(DeadlineExceeded, match="given back"):
            MultiLock(b, ["/0", "/b"]).acquire(deadline=0.05)
        with pytest.raises(DeadlineExceeded, match="is not free"):
            MultiLock(b, ["/0", "/b"]).acquire(deadline=0)
        with MultiLock(b, ["/0", "/1"]).hold(deadline=0) as free:
            assert free[1].held

    def all_or_none() -> None:
        with MultiLock(a, ["/a", "/b"]) as grants:
            b.release(grants[1].number, force=True)
            assert grants[0].lost.wait(HANG_S)

    with pytest.raises(Lost):
        all_or_none()
    for grant in MultiLock(b, ["/a", "/b"]).acquire():
        grant.release()
    with pytest.raises(InvalidRequest, match="entered"):
        MultiLock(a, ["/a"]).__exit__(None, None, None)
    assert b.claims().claims == ()


def test_an_election_of_threads(pair: tuple[Client, Client], threads: Threads) -> None:
    a, b = pair
    here, there = Election(a, "/e", b"here"), Election(b, "/e", b"there")
    a.create("/data", b"", parents=True)
    a.fence("/data", "/e")
    go = threading.Event()

    def candidate() -> None:
        with there.lead() as leadership:
            leadership.client.set("/data", b"there")
            assert go.wait(HANG_S)

    with there.observe() as leaders:
        assert leaders.next(timeout=HANG_S) is None
        with pytest.raises(DeadlineExceeded) as caught:
            leaders.next(timeout=0.05)
        assert caught.value.outcome == "refused"
        with here.lead() as leadership:
            leadership.client.set("/data", b"here")
            assert leadership.remaining() > 0
            future = threads(candidate)
            until_waiting(a, "/e")
            with pytest.raises(NotFound):
                here.hand_over(leadership, "nobody")
            assert not leadership.lost.is_set()
            here.hand_over(leadership, "b")
            assert leadership.lost.wait(HANG_S)
            with pytest.raises(NotHeld):
                leadership.check()
            with pytest.raises(StaleToken):
                leadership.client.set("/data", b"late")
        told = [next(leaders), next(leaders)]
        assert [(each.value, each.client) for each in told if each] == [(b"here", "a"), (b"there", "b")]
        assert here.leader() == told[1]
        with pytest.raises(DeadlineExceeded), here.lead(deadline=0):
            raise AssertionError
        assert here.candidates() == ()
        go.set()
        future.result(HANG_S)
        assert leaders.next(timeout=HANG_S) is None
    with pytest.raises(InvalidRequest):
        leaders.next()


def test_a_leader_of_threads_that_is_deposed(pair: tuple[Client, Client]) -> None:
    a, b = pair

    def leader() -> None:
        with Election(a, "/e").lead() as leadership:
            b.release(leadership.number, force=True)
            assert leadership.lost.wait(HANG_S)

    with pytest.raises(Lost, match="the leadership of /e is lost"):
        leader()


def test_a_block_is_entered_once(pair: tuple[Client, Client], threads: Threads) -> None:
    """Also while it waits: the second thread would take the first one's stay from it, and that be held for ever."""
    a, b = pair
    for hold in (lambda: Lock(a, "/l").hold(deadline=1.5), lambda: Election(a, "/l").lead(deadline=1.5)):
        block = hold()
        with Lock(b, "/l"):
            waiting = threads(block.__enter__)
            until_waiting(b, "/l")
            with pytest.raises(InvalidRequest, match="entered once"):
                block.__enter__()
            with pytest.raises(DeadlineExceeded):
                waiting.result(HANG_S)
        with block:  # who did not get in may try again
            pass
        with pytest.raises(InvalidRequest, match="entered once"):
            block.__enter__()
        assert b.claims().claims == ()


def test_the_client_is_closed_in_a_block(member: Cluster) -> None:
    """The lock was given back with the client: what the block did after that was not covered."""
    client = connect(member.endpoints, namespace=fresh()).open()
    block = Lock(client, "/l").hold()
    grant = block.__enter__()
    client.close()
    assert grant.lost.wait(HANG_S)
    assert not grant.held
    with pytest.raises(NotHeld):
        grant.check()
    with pytest.raises(Lost, match="client was closed"):
        block.__exit__(None, None, None)


def test_the_client_is_closed_in_a_block_that_only_looks(member: Cluster) -> None:
    client = connect(member.endpoints, namespace=fresh()).open()
    with Election(client, "/e").observe():
        client.close()


def test_what_a_block_raises_when_it_has_lost_its_lock(pair: tuple[Client, Client]) -> None:
    """Its own error comes out; one that only says that it is lost does so with the reason."""
    a, b = pair

    def lose(error: Exception) -> None:
        with Lock(a, "/l") as grant:
            b.release(grant.number, force=True)
            assert grant.lost.wait(HANG_S)
            raise error

    with pytest.raises(KeyError):
        lose(KeyError("its own"))
    for error in (SessionEnded("heard of in the block"), Lost("of something within")):
        with pytest.raises(Lost, match="l is lost: "):
            lose(error)


def test_blocks_that_are_not_open(pair: tuple[Client, Client]) -> None:
    a, _ = pair
    with pytest.raises(InvalidRequest, match="enter its block"):
        Election(a, "/e").observe().next()
    Lock(a, "/l").hold().__exit__(None, None, None)
