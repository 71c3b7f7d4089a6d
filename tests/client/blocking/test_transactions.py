"""Transactions and builders of plain threads."""

import pytest

from coord.client.blocking import (
    Conflict,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    Transaction,
    Znode,
    connect,
    when,
)
from tests.client.blocking.home import home, threads


def test_a_transaction() -> None:
    with home() as at, connect(at.endpoints, namespace="/app") as client:
        client.create("/a", b"1", parents=True)
        with client.transaction() as t:
            t.set("/a", t.get("/a").value + b"!")
            assert not t.exists("/b")
            t.create("/b", b"2")
            assert t.get("/a").value == b"1!"
            assert t.children("/") == ["a", "b"]
        assert (t.revision, len(t.results), t.stale) == (client.revision, 2, False)
        assert client.get("/a").value == b"1!"
        t = client.transaction()

        def fail() -> None:
            with t:
                t.set("/a", b"never")
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        with pytest.raises(InvalidRequest, match="over"):
            t.get("/a")
        with pytest.raises(NotFound), client.transaction() as t:
            t.delete("/nope")
        assert client.get("/a").value == b"1!"


def test_a_transaction_that_meets_another_is_refused_or_done_again() -> None:
    with home() as at, connect(at.endpoints) as client, connect(at.endpoints) as other:
        client.create("/a", b"0")
        t = client.transaction()

        def race() -> None:
            with t:
                value = t.get("/a").value
                other.set("/a", b"other")
                t.set("/a", value + b"!")

        with pytest.raises(Conflict):
            race()
        assert t.stale
        client.set("/a", b"0")

        def add(_: int) -> None:
            for _ in range(5):
                client.transact(lambda t: t.set("/a", b"%d" % (int(t.get("/a").value) + 1)))

        with threads(8, add):
            pass
        assert client.get("/a").value == b"40"
        with pytest.raises(ZeroDivisionError):
            client.transact(lambda t: len(t.get("/a").value) // 0)

        async def of_the_other_face(t: Transaction) -> None:
            t.set("/a", b"never")

        with pytest.raises(InvalidRequest, match="plain function"):
            client.transact(of_the_other_face)  # type: ignore[unused-coroutine]

        def in_vain(t: Transaction) -> None:
            t.get("/a")
            other.set("/a", b"other")
            t.set("/a", b"mine")

        with pytest.raises(DeadlineExceeded):
            client.transact(in_vain, deadline=0.5)


def test_a_multi_in_steps() -> None:
    with home() as at, connect(at.endpoints, namespace="/app") as client:
        client.create("/a", parents=True)
        result = (
            client.when(when.missing("/b")).then.set("/a", b"1").create("/b").otherwise.get("/b").commit()
        )
        assert result.succeeded
        result = client.when(when.missing("/b")).then.create("/b").otherwise.get("/a").commit(deadline=10)
        assert not result.succeeded
        (znode,) = result.results
        assert isinstance(znode, Znode)
        assert (znode.path, znode.value) == ("/a", b"1")
