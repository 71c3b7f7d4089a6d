"""Watches and caches of plain threads."""

from collections.abc import Callable

import pytest

from coord.client.blocking import (
    Client,
    DeadlineExceeded,
    Event,
    Gap,
    InvalidRequest,
    LimitExceeded,
    Reason,
    connect,
)
from coord.client.blocking import watch as watch_module
from coord.limits import MemberLimits
from tests.client.blocking.home import Home, home, threads, until


def set_many(client: Client, path: str, count: int) -> None:
    for number in range(count):
        client.set(path, b"%d" % number, create=True)


def test_a_watch_begins_where_it_is_told_to() -> None:
    with home() as at, connect(at.endpoints) as client:
        set_many(client, "/a", 5)
        with client.watch("/a", from_revision=3) as events:
            assert events.next_revision == 3
            assert [event.value for _, event in zip(range(3), events, strict=False)] == [b"2", b"3", b"4"]
            assert events.next_revision == 6
            with pytest.raises(DeadlineExceeded) as caught:
                events.next(0.01)
            assert caught.value.outcome == "refused"
            client.set("/a", b"5")
            assert events.next(float("inf")).value == b"5"
            for timeout in ("1", float("nan")):
                with pytest.raises(InvalidRequest):
                    events.next(timeout)  # type: ignore[arg-type]
        with client.watch("/", "children") as events:
            client.create("/a/below")
            client.create("/b")
            assert events.next(10).path == "/b"
        with pytest.raises(InvalidRequest, match="closed"):
            events.next(10)
        assert list(events) == []
        with pytest.raises(InvalidRequest, match="opened once"):
            events.__enter__()


def test_no_event_is_lost_or_skipped_where_a_thread_takes_them_slowly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch_module, "AHEAD", 4)
    with home() as at, connect(at.endpoints) as client, client.watch("/a") as events:
        set_many(client, "/a", 30)
        until(lambda: len(events._ahead._events) == 4)
        assert client._loop.look(lambda: len(events._ahead._events)) == 4, "no more is taken ahead"
        for number in range(30):
            # Another watch that went on from here would miss nothing.
            assert events.next_revision == number + 1
            assert events.next(10).value == b"%d" % number


def test_what_is_taken_ahead_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "AHEAD_BYTES", 10)
    with home() as at, connect(at.endpoints) as client, client.watch("/a") as events:
        for _ in range(5):
            client.set("/a", bytes(6), create=True)
        until(lambda: len(events._ahead._events) == 2)
        assert client._loop.look(lambda: len(events._ahead._events)) == 2
        assert [events.next(10).revision for _ in range(5)] == [1, 2, 3, 4, 5]


def test_several_threads_take_from_one_watch_and_are_told_of_its_end() -> None:
    taken: list[Event] = []
    with home() as at, connect(at.endpoints) as client:
        events = client.watch("/a").__enter__()
        with threads(4, lambda _: taken.extend(events)):
            set_many(client, "/a", 50)
            until(lambda: len(taken) == 50)
            events.__exit__(None, None, None)
    assert sorted(event.revision for event in taken) == list(range(1, 51))


def cut_off(at: Home, first_revision: int) -> None:
    """The client is away for longer than history reaches."""
    at.cut(at.doors[0], shut=True)
    history = at.replica.state.store.history
    at.do(lambda: setattr(history, "first_revision", first_revision))
    at.doors[0].shut = False


def test_a_gap_is_raised_where_that_was_asked_for() -> None:
    with home(1, MemberLimits(history_revisions=5)) as at, connect(at.endpoints) as client:
        events = client.watch("/a", on_gap="raise").__enter__()
        client.set("/a", b"first", create=True)
        assert events.next(10).value == b"first"
        cut_off(at, 90)
        for _ in range(2):
            with pytest.raises(Gap):
                events.next(10)
        events.__exit__(None, None, None)
        with pytest.raises(Gap), client.watch("/a", from_revision=1):
            pass


def test_the_difference_is_told_where_there_was_a_gap() -> None:
    limits = MemberLimits(history_revisions=5)
    with (
        home(2, limits) as at,
        connect(at.endpoints[:1], discover=False) as client,
        connect(at.endpoints[1:], discover=False) as other,
        client.watch("/", "subtree") as events,
    ):
        client.create("/a")
        assert events.next(10).path == "/a"
        at.cut(at.doors[0], shut=True)
        set_many(other, "/b", 20)
        other.delete("/a")
        at.doors[0].shut = False
        told = [events.next(10), events.next(10)]
        assert [(event.kind.name, event.path, event.reason) for event in told] == [
            ("DELETED", "/a", Reason.RELISTED),
            ("CREATED", "/b", Reason.RELISTED),
        ]


def test_a_cache() -> None:
    with home() as at, connect(at.endpoints) as client, connect(at.endpoints) as other:
        client.create("/cfg/a", b"1", parents=True)
        with client.cache("/cfg") as cache:
            found = cache.get("/cfg/a")
            assert found is not None
            assert (found.value, found.version) == (b"1", 0)
            assert list(cache) == ["/cfg", "/cfg/a"]
            assert (len(cache), "/cfg/a" in cache, cache.get("/cfg/b")) == (2, True, None)
            assert (cache.path, cache.current, cache.stale_for, cache.failure) == ("/cfg", True, 0.0, None)
            written = other.create("/cfg/b", b"2")
            assert cache.wait_revision(written.revision) >= written.revision
            assert cache.children("/cfg") == ["a", "b"]
            since = cache.changed()
            with threads(1, lambda _: other.set("/cfg/b", b"3")):
                assert cache.changed(since, deadline=10) == since + 1
            with threads(1, lambda _: other.create("/cfg/ready")):
                assert cache.wait_for(lambda: "/cfg/ready" in cache, deadline=10)
            for revision in cache.changes():
                assert revision == client.revision
                break
            with pytest.raises(DeadlineExceeded):
                cache.wait_for(lambda: "/cfg/never" in cache, deadline=0.01)
            with pytest.raises(ZeroDivisionError):
                cache.wait_for(lambda: 1 // 0)
            with pytest.raises(InvalidRequest):
                cache.get("/other")
        assert cache.children("/cfg") == ["a", "b", "ready"], "as it was when it was closed"
        assert cache.failure is not None


def test_a_cache_that_cannot_be() -> None:
    with home() as at, connect(at.endpoints) as client:
        cache = client.cache("/cfg")
        attempts: list[Callable[[], object]] = [lambda: cache.get("/cfg"), lambda: len(cache), cache.changed]
        for attempt in attempts:
            with pytest.raises(InvalidRequest, match="not open"):
                attempt()
        with pytest.raises(InvalidRequest), client.cache("cfg"):
            pass
        client.create("/cfg/a", parents=True)
        with pytest.raises(LimitExceeded), client.cache("/cfg", limit=1):
            pass
