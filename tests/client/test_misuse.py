"""What a user may get wrong is said in words, at once, and with a way out; and what is over says so in one way."""

import copy
import pickle
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from threading import Event as ThreadEvent
from typing import Any, cast

import pytest

import coord.client.blocking as threads
from coord.client import (
    ChangeKind,
    Client,
    CoordError,
    DeadlineExceeded,
    Disconnected,
    Event,
    InvalidRequest,
    NotHeld,
    State,
    connect,
    when,
)
from coord.client.blocking import loop as loops
from coord.client.blocking.portal import Portal
from coord.client.core.address import parse_address
from coord.testing import Cluster, cluster
from tests.client.house import both, run


@pytest.fixture(scope="module")
def member() -> Iterator[Cluster]:
    with cluster(1) as made:
        yield made


# --- what belongs to this process -------------------------------------------------------------------------------


WAYS_OUT = {
    "Grant": r"Hand on grant\.token",
    "Watch": r"Hand on watch\.next_revision",
    "Cache": r"Open another one where you need it",
    "Transaction": r"Hand on what you have read",
    "States": r"connect again",
    "Portal": r"connect again",
}


def check_kept(things: list[Any]) -> None:
    for each in things:
        name = type(each).__name__
        for verb, work in (("pickled", pickle.dumps), ("copied", copy.copy), ("copied", copy.deepcopy)):
            with pytest.raises(InvalidRequest, match=rf"a {name} cannot be {verb}: .*{WAYS_OUT[name]}"):
                work(each)
        with pytest.raises(InvalidRequest, match="cannot be pickled"):
            pickle.dumps({"nested": [each]})


@both
def test_what_a_client_gives_is_not_pickled_or_copied(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with (
            connect(member.endpoints) as client,
            client.watch("/") as watch,
            client.cache() as cache,
            await client.claim("/locks/a") as grant,
            client.transaction() as transaction,
        ):
            check_kept([grant, watch, cache, transaction, client.states()])

    run(backend, main)


def test_nor_is_what_a_blocking_client_gives(member: Cluster) -> None:
    with (
        threads.connect(member.endpoints) as client,
        client.watch("/") as watch,
        client.cache() as cache,
        client.claim("/locks/a") as grant,
        client.transaction() as transaction,
    ):
        check_kept([grant, watch, cache, transaction, client.states(), Portal(client)])


# --- arguments of other kinds -------------------------------------------------------------------------------------


@both
def test_arguments_that_cannot_be(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with connect(member.endpoints) as client, client.cache() as cache:
            wrong: list[tuple[str, Callable[[], Awaitable[object]]]] = [
                (r"transact takes an async function of a Transaction, not 5", lambda: client.transact(5)),  # type: ignore[arg-type]
                (
                    r"transact awaits what its function returns.*nothing was",
                    lambda: client.transact(cast(Any, _written)),
                ),
                (r"a revision .* is a whole number", lambda: cache.changed(None)),  # type: ignore[arg-type]
                (r"wait_for takes a function", lambda: cache.wait_for(3)),  # type: ignore[arg-type]
            ]
            for words, call in wrong:
                with pytest.raises(InvalidRequest, match=words):
                    await call()
            for look in (cache.get, cache.children):
                with pytest.raises(InvalidRequest, match="a path is text, not list"):
                    look([])  # type: ignore[arg-type]
            assert [] not in cache
            async with client.transaction() as t:
                for read in (t.get, t.exists, t.children):
                    with pytest.raises(InvalidRequest, match="a path is text, not list"):
                        await read([])  # type: ignore[arg-type]
            assert await client.exists("/written") is None
            assert await client.transact(lambda t: t.exists("/written")) is False  # need not be an async def

    run(backend, main)


def _written(transaction: Any) -> int:
    transaction.create("/written")
    return 7


def test_arguments_that_cannot_be_in_threads(member: Cluster) -> None:
    async def awaited(transaction: threads.Transaction) -> None:
        transaction.create("/written")

    with threads.connect(member.endpoints) as client:
        functions: list[Any] = [awaited, lambda t: awaited(t), partial(awaited)]
        for function in functions:
            with pytest.raises(
                InvalidRequest, match="plain function of a Transaction, not one that returns a cor"
            ):
                client.transact(function)
        with pytest.raises(InvalidRequest, match="takes a function of a Transaction, not 5"):
            client.transact(5)  # type: ignore[arg-type]
        assert client.exists("/written") is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"discover": "no"}, "discover is True or False, not 'no'"),
        ({"session": "false"}, "session is True or False, not 'false'"),
        ({"session": 0}, "session is True or False, not 0"),
        ({"name": 0}, "a client's name is printable text"),
        ({"namespace": b"/a"}, "a path is text, not bytes"),
        ({"session_timeout": "5"}, "a session_timeout is a number of seconds, not '5'"),
        ({"deadline": True}, "a deadline is a number of seconds above 0"),
        ({"at_least": 1.5}, "a revision is a whole number"),
        ({"endpoints": b"host:4711"}, "endpoints are text, or a list of texts; not b'host:4711'"),
        ({"endpoints": [4711]}, "an endpoint is text"),
        ({"endpoints": "coord://host/a#b"}, "no fragment: write %23"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], words: str) -> None:
    for face in (connect, threads.connect):
        with pytest.raises(InvalidRequest, match=words):
            face(**options)


def test_the_case_of_a_url() -> None:
    address = parse_address("Coord://Host/App%23?name=A")
    assert (str(address.endpoints[0]), address.namespace, address.name) == ("Host:4711", "/App#", "A")


# --- what is over -------------------------------------------------------------------------------------------------


async def _entered(block: Any) -> None:
    async with block:
        raise AssertionError("it opened")


@both
@pytest.mark.parametrize("session", [True, False])
def test_a_closed_client_says_so_by_one_error(backend: str, session: bool, member: Cluster) -> None:
    async def main() -> None:
        async with connect(member.endpoints, session=session) as client, client.cache() as cache:
            grant = await client.claim("/locks/a") if session else None
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: client.get("/"),
            lambda: client.namespace("/a").set("/", b""),
            lambda: client.claim("/locks/a"),
            lambda: client.when(when.missing("/b")).then.create("/b").commit(),
            lambda: client.children("/"),
            lambda: _entered(client.watch("/")),
            lambda: _entered(client.cache("/")),
            lambda: cache.wait_revision(2**40),
        ]
        for call in calls:
            with pytest.raises(Disconnected, match="is closed") as caught:
                await call()
            assert caught.value.outcome == "refused"
        assert isinstance(await client.wait_ended(), Disconnected)
        assert client.state is State.CLOSED
        if grant is not None:
            with pytest.raises(NotHeld):
                grant.check()
            await grant.release()  # it is over: no error

    run(backend, main)


def test_and_so_does_a_closed_blocking_client(member: Cluster) -> None:
    with threads.connect(member.endpoints) as client, client.cache() as cache:
        grant = client.claim("/locks/a")
        watch = client.watch("/").__enter__()
    calls: list[Callable[[], object]] = [
        lambda: client.get("/"),
        lambda: client.namespace("/a").set("/", b""),
        lambda: client.claim("/locks/a"),
        lambda: client.children("/"),
        lambda: client.watch("/").__enter__(),
        lambda: client.cache("/").__enter__(),
        lambda: cache.wait_revision(2**40),
        lambda: next(watch),
        lambda: client.see(1),
        lambda: client.transact(lambda t: t.get("/")),
    ]
    for call in calls:
        with pytest.raises(Disconnected, match="is closed") as caught:
            call()
        assert caught.value.outcome == "refused"
    assert isinstance(client.wait_ended(), Disconnected)
    assert client.state is State.CLOSED
    with pytest.raises(NotHeld):
        grant.check()
    grant.release()


def test_a_block_that_the_clients_thread_cannot_leave_is_told(
    member: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "CLOSE_SECONDS", 0.05)
    blocked, goes_on = ThreadEvent(), ThreadEvent()

    def block() -> None:
        blocked.set()
        goes_on.wait(30)

    with threads.connect(member.endpoints) as client:
        watch = client.watch("/").__enter__()
        Portal(client).hand(block)
        assert blocked.wait(30)
        with pytest.raises(DeadlineExceeded, match="own thread does not run") as caught:
            watch.__exit__(None, None, None)
        assert caught.value.outcome == "unknown"
        goes_on.set()
        watch.__exit__(None, None, None)  # it has been left, or is just now


@both
def test_a_claim_that_was_not_answered_in_time_is_unknown(backend: str, member: Cluster) -> None:
    async def late(client: Client) -> CoordError:
        with pytest.raises(DeadlineExceeded) as caught:
            await client.claim("/locks/late", deadline=0)
        return caught.value

    async def main() -> None:
        async with connect(member.endpoints) as client:
            await (await client.claim("/locks/other")).release()  # the watch of claims is open from now on
            link = client._link
            send = link._ask_to_send
            link._ask_to_send = lambda: None  # type: ignore[method-assign]
            assert (await late(client)).outcome == "refused", "it was never sent"

            def lost() -> None:
                link.core.take_bytes()

            link._ask_to_send = lost  # type: ignore[method-assign]
            error = await late(client)
            assert error.outcome == "unknown"
            assert "if it is granted it is given back" in error.message
            link._ask_to_send = send  # type: ignore[method-assign]
            link._cut()  # and sends it again
            info = await client.claim_info("/locks/late")
            assert (info.holders, info.waiters) == (0, 0)

    run(backend, main)


@both
def test_a_fences_event_is_seen_from_inside(backend: str, member: Cluster) -> None:
    root = f"/app-{backend}"

    async def main() -> None:
        async with connect(member.endpoints) as client:
            await client.create(f"{root}/data", parents=True)
            await client.create(f"{root}/more")
            app = client.namespace(root)
            before = client.revision
            async with app.watch("/", "subtree", claims=True, on_gap="raise") as events:
                async with await app.claim("/locks/a") as grant:
                    await app.fence("/data", "/locks/a")
                    await client.fence(f"{root}/more", "/outside")
                    await app.fenced(grant).fence("/data", None)
                told: list[Event] = []
                while len(told) < 3:
                    told += [each for each in [await anext(events)] if each.kind is ChangeKind.FENCED]
            assert [(each.path, each.value) for each in told] == [
                ("/data", b"/locks/a"),
                ("/more", b""),
                ("/data", None),
            ]
            entries = (await app.log(from_revision=before + 1)).entries
            assert [each.value for each in entries if each.kind is ChangeKind.FENCED] == [
                b"/locks/a",
                b"",
                None,
            ]

    run(backend, main)
