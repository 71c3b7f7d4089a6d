"""How a blocking client begins and ends: blocks, ``open`` and ``close``, the collector, the interpreter's end."""

import gc
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

import pytest

from coord.client.blocking import (
    Client,
    CoordError,
    Disconnected,
    InvalidRequest,
    SessionEnded,
    State,
    Unavailable,
    connect,
)
from tests.client.blocking.home import client_threads, home, sent, threads, until

OVER = (State.ENDED, State.CLOSED)
"""In the one if the member said that the session is over before the client was closed, or else in the other."""

OVER_ERRORS = (SessionEnded, Disconnected)


def test_leaving_the_block_ends_the_session_and_the_thread() -> None:
    with home() as at, connect(at.endpoints, session=False) as other, other.watch("/e") as events:
        with connect(at.endpoints) as client:
            client.create("/e", ephemeral=True)
            assert len(client_threads()) == 2
        assert [events.next(10).kind.name for _ in range(2)] == ["CREATED", "DELETED"]
        assert not at.sessions
        assert client.state in OVER
        assert len(client_threads()) == 1
        for call in (lambda: client.get("/e"), lambda: client.children("/"), lambda: client.set("/e", b"")):
            with pytest.raises(OVER_ERRORS) as caught:
                call()
            assert caught.value.outcome == "refused"
        with pytest.raises(OVER_ERRORS), client.watch("/"):
            raise AssertionError("not reached")
        assert isinstance(client.wait_ended(), OVER_ERRORS)
        assert list(client.states()) == [client.state]
        with pytest.raises(OVER_ERRORS):
            client.on_state(print)


def test_a_client_without_a_block() -> None:
    with home() as at:
        connecting = connect(at.endpoints)
        client = connecting.open()
        assert client.children("/") == []
        with pytest.raises(InvalidRequest, match="opened once"):
            connecting.open()
        view = client.namespace("/a")
        view.close()
        client.close()
        assert not at.sessions
        assert not client_threads()


def test_what_waits_is_told_when_the_client_is_closed() -> None:
    failures: list[CoordError] = []
    states: list[State] = []
    told: list[State] = []
    with home(1) as at:
        client = connect(at.endpoints, deadline=inf).open()
        client.on_state(told.append)
        watch = client.watch("/").__enter__()
        waits = (
            lambda: client.get("/", at_least=1_000),
            watch.next,
            lambda: failures.append(client.wait_ended()),
            lambda: states.extend(client.states()),
        )

        def wait(number: int) -> None:
            try:
                waits[number]()
            except CoordError as error:
                failures.append(error)

        with threads(len(waits), wait):
            until(lambda: sent(client) and states)
            client.close()
        assert len(failures) == 3
        assert all(isinstance(each, OVER_ERRORS) for each in failures)
        assert states == [State.ATTACHED, client.state]
        assert told == [client.state]
        watch.__exit__(None, None, None)


def test_closing_under_load_leaves_nobody_waiting() -> None:
    with home(1) as at:
        for _ in range(5):
            client = connect(at.endpoints, deadline=inf).open()
            begun = threading.Event()

            def call(_: int, client: Client = client, begun: threading.Event = begun) -> None:
                try:
                    while True:
                        client.set("/a", b"", create=True)
                        begun.set()
                except OVER_ERRORS:
                    return

            with threads(30, call):
                assert begun.wait(30)
                client.close()
            assert not client._loop._handed


def test_what_is_handed_over_to_a_loop_that_ends_is_refused() -> None:
    with home(1) as at:
        client = connect(at.endpoints, deadline=inf).open()
        loop = client._loop
        loop._woken = True  # by somebody, and the loop ends before it gets to look

        def call(_: int) -> None:
            with pytest.raises(OVER_ERRORS):
                client.get("/")

        with threads(1, call):
            until(lambda: loop._handed)
            assert loop._loop is not None
            assert loop._leave is not None
            loop._loop.call_soon_threadsafe(loop._leave.set)
        client.close()


def test_the_blocks_own_error_comes_out_as_it_is() -> None:
    with home() as at:
        with pytest.raises(KeyError, match="mine"), connect(at.endpoints):
            raise KeyError("mine")
        assert not at.sessions


def test_connecting_where_nobody_is() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(Unavailable, match="refused") as caught, connect(endpoint, deadline=0.2):
            raise AssertionError("not reached")
    assert caught.value.outcome == "refused"
    assert not client_threads()


@contextmanager
def ctrl_c_after(where: object, name: str) -> Iterator[None]:
    """As if it had come when the method was done, and before its caller went on."""
    method = getattr(where, name)

    def interrupted(*args: object) -> None:
        method(*args)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            yield


@pytest.mark.parametrize("when", ["the thread is started", "it is waited for", "it is open"])
def test_ctrl_c_at_any_moment_of_connecting_leaves_nothing_behind(when: str) -> None:
    with home() as at:
        connecting = connect(at.endpoints)
        loop = connecting._loop
        where, name = {
            "the thread is started": (loop._thread, "start"),
            "it is waited for": (loop._opened, "wait"),
            "it is open": (loop, "open"),
        }[when]
        with ctrl_c_after(where, name):
            connecting.open()
        loop.join(10)
        assert not client_threads()
        if (
            when == "it is open"
        ):  # else one may be opened just now that it never hears of, and ends by its timeout
            assert not at.sessions
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            del connecting, loop, where
            gc.collect()


def test_ctrl_c_while_something_is_handed_over_keeps_nobody_from_it() -> None:
    with home() as at, connect(at.endpoints) as client:
        loop = client._loop._loop
        assert loop is not None
        wake = loop.call_soon_threadsafe

        def interrupted(*_: object, **__: object) -> None:
            patch.undo()
            raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "call_soon_threadsafe", interrupted)
            handed = threading.Event()
            with pytest.raises(KeyboardInterrupt):
                client._loop.hand(handed.set)
        assert loop.call_soon_threadsafe == wake
        assert handed.wait(10), "another thread may count on it"
        assert client.children("/", deadline=10) == []


def test_an_unclosed_client_is_told_of_and_its_session_ends() -> None:
    with home() as at:
        client = connect(at.endpoints).open()
        views = [client.namespace("/a")]
        (thread,) = client_threads()
        del client
        gc.collect()
        assert views[0].exists("/") is None, "a view is enough to hold it"
        events = views[0].watch("/", "subtree").__enter__()
        views[0].create("/b", parents=True)
        views.clear()
        gc.collect()
        assert events.next(10).path == "/", "or a watch"
        with pytest.warns(ResourceWarning, match=r"test_closing.py:\d+, was never closed"):
            del events
        thread.join(10)
        assert not thread.is_alive()
        assert not at.sessions


PROGRAM = """
import contextlib, logging, sys, threading
logging.getLogger("asyncio").setLevel(logging.ERROR)  # that a step took long, with -X dev, says the machine is busy
from coord.client.blocking import CoordError, connect
client = connect(sys.argv[1]).open()
client.create("/e", ephemeral=True)
watch = client.watch("/").__enter__()
def look():
    with contextlib.suppress(CoordError):
        watch.next()
print(client.session_id, flush=True)
{end}
"""


@pytest.mark.parametrize(
    "end",
    [
        "",
        "raise SystemExit(0)",
        "threading.Thread(target=client.wait_ended, daemon=True).start()",
        "threading.Thread(target=look, daemon=True).start()",
    ],
)
def test_the_end_of_the_interpreter_ends_the_session_and_does_not_hang(end: str) -> None:
    with home() as at:
        program = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM.format(end=end), at.endpoints[0]],
            capture_output=True,
            timeout=30,
            text=True,
            check=False,
        )
        assert (program.returncode, program.stderr) == (0, "")
        assert int(program.stdout) > 0
        assert not at.sessions


def test_the_interpreter_ends_though_no_member_answers() -> None:
    with home(1) as at:
        program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(end="input()"), at.endpoints[0]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert program.stdout is not None
        assert int(program.stdout.readline()) > 0
        at.doors[0].deaf = True
        assert program.communicate("\n", timeout=30) == ("", "")
        assert program.returncode == 0
