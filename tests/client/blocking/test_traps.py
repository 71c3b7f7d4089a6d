"""What goes wrong with threads and processes elsewhere: callbacks that call, forks, copies, a blocked thread."""

import copy
import os
import pickle
import threading
from collections.abc import Callable

import pytest

from coord.client.blocking import (
    Client,
    CoordError,
    DeadlineExceeded,
    InvalidRequest,
    State,
    connect,
)
from coord.client.blocking import loop as loop_module
from tests.client.blocking.home import Home, home


def in_callback(at: Home, client: Client, work: Callable[[], object]) -> list[object]:
    """What ``work`` returns or raises in the client's own thread."""
    found: list[object] = []
    told = threading.Event()

    def callback(state: State) -> None:
        try:
            found.append(work())
        except CoordError as error:
            found.append(error)
        told.set()
        forget()

    forget = client.on_state(callback)
    for door in at.doors:
        at.cut(door)
    assert told.wait(10)
    return found


def test_a_callback_that_calls_is_refused_and_does_not_hang() -> None:
    with home() as at, connect(at.endpoints) as client, client.watch("/") as events:
        for call in (
            lambda: client.get("/"),
            lambda: client.children("/"),
            client.close,
            events.next,
            client.wait_ended,
            lambda: client.watch("/").__enter__(),
        ):
            (error, *_) = in_callback(at, client, call)
            assert isinstance(error, InvalidRequest)
            assert "callback" in error.message
        found = in_callback(at, client, lambda: (client.state, client.on_state(print)()))
        assert not isinstance(found[0], CoordError), "facts, and what does not wait, may be asked for there"
        assert client.children("/") == []


def test_callbacks_are_told_every_state_until_they_are_forgotten() -> None:
    with home(1) as at, connect(at.endpoints) as client:
        told: list[tuple[State, str]] = []
        forget = client.on_state(lambda state: told.append((state, threading.current_thread().name)))
        at.cut(at.doors[0])
        client.children("/")
        forget()
        forget()
        at.cut(at.doors[0])
        client.children("/")
        thread = "coord-client"
        assert told == [(State.SUSPENDED, thread), (State.ATTACHED, thread)]


def test_a_thread_that_is_blocked_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "GRACE_SECONDS", 0.05)
    with home(1) as at, connect(at.endpoints, session_timeout=60.0) as client:
        blocked, go_on = threading.Event(), threading.Event()

        def block(state: State) -> None:
            blocked.set()
            go_on.wait(20)

        forget = client.on_state(block)
        at.cut(at.doors[0])
        assert blocked.wait(10)
        try:
            for call, outcome in (
                (lambda: client.set("/a", b"", create=True, deadline=0.05), "unknown"),
                (lambda: client.get("/", deadline=0.05), "refused"),
                (lambda: client.children("/", deadline=0.05), "refused"),
            ):
                with pytest.raises(DeadlineExceeded, match="does not run") as caught:
                    call()
                assert caught.value.outcome == outcome
        finally:
            go_on.set()
        forget()
        client.children("/")


def test_closing_does_not_wait_for_a_callback_that_blocks(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loop_module, "CLOSE_SECONDS", 0.05)
    with home(1) as at:
        client = connect(at.endpoints, session_timeout=60.0).open()
        blocked, go_on = threading.Event(), threading.Event()

        def block(state: State) -> None:
            blocked.set()
            go_on.wait(20)

        client.on_state(block)
        at.cut(at.doors[0])
        assert blocked.wait(10)
        client.close()
        assert not go_on.is_set()
        assert "does a callback block it?" in caplog.text
        go_on.set()
        client._loop.join(10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_is_refused_and_its_parent_goes_on() -> None:
    with home() as at, connect(at.endpoints) as client, client.watch("/a") as events:
        calls: list[Callable[[], object]] = [
            lambda: client.set("/a", b"child", create=True),
            lambda: client.get("/"),
            lambda: client.children("/"),
            events.next,
            client.wait_ended,
            lambda: client.watch("/").__enter__(),
        ]
        child = os.fork()
        if child == 0:
            refused = 0
            try:
                for call in calls:
                    try:
                        call()
                    except InvalidRequest as error:
                        refused += "forked" in error.message
                # Leaving blocks in the child is nothing to the parent.
                events.__exit__(None, None, None)
                client.close()
                with connect(at.endpoints) as own:
                    own.set("/b", b"child", create=True)
                    refused += 1
            finally:
                os._exit(refused)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == len(calls) + 1
        client.set("/a", b"parent", create=True)
        assert events.next(10).value == b"parent"
        assert client.get("/b").value == b"child"
        assert at.sessions == 1


def test_a_client_cannot_be_copied_or_pickled() -> None:
    with home() as at, connect(at.endpoints) as client:
        for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(InvalidRequest, match="connect again"):
                attempt(client)
