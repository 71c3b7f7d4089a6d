"""Python's own traps: forks, pickles, garbage, other loops and threads, and a loop that is blocked."""

import asyncio
import copy
import gc
import os
import pickle
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import anyio
import anyio.abc
import pytest

from coord.client import Disconnected, InvalidRequest, State, connect
from coord.client import link as link_module
from coord.client.client import Client
from coord.client.clock import now
from coord.client.core import Core, CoreSettings
from coord.client.core.endpoints import Endpoint, Route
from coord.client.core.request import Request
from coord.client.link import LATE_SECONDS, Link
from coord.limits import CLIENT_FRAME_MAX_BYTES, MemberLimits
from coord.wire.client_frames import Keepalive, Welcome, decode_client_frame, encode_replies, encode_welcome
from coord.wire.framing import FrameBuffer
from tests.client.house import both, house, run, running


def at_once(work: Coroutine[Any, Any, object]) -> str:
    """What ``work`` raises before it waits for anything."""
    try:
        work.send(None)
    except InvalidRequest as error:
        return error.message
    except StopIteration:
        return "done"
    finally:
        work.close()
    return "it waits"


# --- forks -------------------------------------------------------------------------------------------


def in_child(work: Callable[[], str]) -> str:
    """What ``work`` returns in a forked child, which then ends without any further ado."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writing, work().encode())
        except BaseException as error:  # noqa: BLE001  the parent tells
            os.write(writing, f"raised {error!r}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    return said


@both
def test_a_forked_child_is_told_and_the_parent_goes_on(backend: str) -> None:
    async def main() -> None:
        async with house(1) as at:
            connecting = connect(at.endpoints)
            async with connecting as client, client.watch("/a") as events:
                (connection,) = at.doors[0].streams
                told: list[State] = []
                client.on_state(told.append)
                frames = at.doors[0].frames

                def child() -> str:
                    said = [
                        at_once(client.set("/a", b"the child's")),
                        at_once(client.get("/a")),
                        at_once(client.namespace("/a").get("/")),
                        at_once(client.watch("/a").__aenter__()),
                        client.state.name,
                        str(client.remaining()),
                        at_once(connecting.__aexit__(None, None, None)),
                    ]
                    gc.collect()
                    return "\n".join(said)

                said = in_child(child).splitlines()
                assert len(said) == 7, said
                for each in said[:4]:
                    assert "forked from: connect again in the child" in each
                assert said[4:] == ["CLOSED", "0.0", "done"]

                await client.create("/a", b"the parent's")
                assert (await anext(events)).value == b"the parent's"
                assert list(at.doors[0].streams) == [connection]
                assert at.doors[0].frames == frames + 1
                assert told == []

    run(backend, main)


@both
def test_a_forked_child_connects_for_itself(backend: str) -> None:
    async def main() -> None:
        async with house(1) as at, connect(at.endpoints) as client:

            def child() -> str:
                said: list[str] = []

                async def its_own() -> None:
                    async with connect(at.endpoints) as mine:
                        await mine.create("/a", b"the child's")
                        said.append(str(mine.session_id))

                # A thread of its own, in which no event loop runs: that of the parent is in this one.
                thread = threading.Thread(target=run, args=(backend, its_own))
                thread.start()
                thread.join()
                return said[0]

            # The house is in this loop: let it answer the child.
            session = await anyio.to_thread.run_sync(in_child, child)
            assert int(session) != client.session_id
            assert (await client.get("/a")).value == b"the child's"

    run(backend, main)


# --- pickles and copies ------------------------------------------------------------------------------


@both
def test_a_client_is_not_pickled_or_copied(backend: str) -> None:
    async def main() -> None:
        async with house(1) as at, connect(at.endpoints) as client:
            for each in (client, client.namespace("/a")):
                with pytest.raises(InvalidRequest, match=r"cannot be pickled.*connect again"):
                    pickle.dumps(each)
                with pytest.raises(InvalidRequest, match="cannot be pickled"):
                    pickle.dumps({"settings": [each]})
                with pytest.raises(InvalidRequest, match="cannot be copied"):
                    copy.copy(each)
                with pytest.raises(InvalidRequest, match="cannot be copied"):
                    copy.deepcopy([each])

    run(backend, main)


# --- garbage -----------------------------------------------------------------------------------------


@both
def test_a_client_that_was_never_closed_is_told_with_its_place(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "LOOK_SECONDS", 0.1)

    async def main() -> None:
        async with house(1) as at:
            connecting = connect(at.endpoints, name="lost", session_timeout=60)
            client = await connecting.__aenter__()
            link, tasks = client._link, connecting._tasks
            view = client.namespace("/a")
            del connecting, client
            gc.collect()
            await view.create("/", b"a view is enough to hold it")
            with pytest.warns(ResourceWarning, match=r"'lost', made at test_traps.py:\d+, was never closed"):
                del view  # the last that holds it
            with anyio.fail_after(3):
                assert isinstance(await link.ended(), Disconnected), "nobody keeps its session alive any more"
            # What its user has not done. (trio does not forgive it.)
            assert tasks is not None
            await tasks.__aexit__(None, None, None)

    run(backend, main)


@both
def test_a_client_that_was_closed_is_not_told(backend: str) -> None:
    async def main() -> None:
        async with house(1) as at:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                async with connect(at.endpoints) as client:
                    await client.create("/a")
                gone = weakref.ref(client)
                async with AsyncExitStack() as stack:
                    client = await stack.enter_async_context(connect(at.endpoints))
                    await client.set("/a", b"")
                with pytest.raises(KeyError):
                    async with connect(at.endpoints) as client:
                        raise KeyError
                del client
                gc.collect()
                assert gone() is None
                connect(at.endpoints)  # never entered: there is nothing to close
                gc.collect()

    run(backend, main)


# --- other loops, other threads ----------------------------------------------------------------------


@both
@pytest.mark.parametrize("other", ["trio", "asyncio"])
def test_in_another_thread_it_is_of_no_use(backend: str, other: str) -> None:
    async def main() -> None:
        async with house(1) as at, connect(at.endpoints) as client:

            async def elsewhere() -> None:
                async def watched() -> None:
                    async with client.watch("/"):
                        pass

                for attempt in (
                    client.get("/"),
                    client.set("/a", b""),
                    client.children("/"),
                    client.wait_ended(),
                    anext(client.states()),
                    watched(),
                ):
                    with pytest.raises(InvalidRequest, match=r"belongs to the .* coord\.client\.blocking"):
                        await attempt
                with pytest.raises(InvalidRequest, match="belongs to the"):
                    client.on_state(print)
                assert client.state is State.ATTACHED, "facts may be asked for anywhere"
                assert client.remaining() > 0

            await anyio.to_thread.run_sync(lambda: anyio.run(elsewhere, backend=other))
            assert await client.children("/") == []

    run(backend, main)


def test_after_its_event_loop_it_is_over() -> None:
    kept: list[Client] = []

    async def first() -> None:
        async with house(1) as at:

            async def enter() -> None:
                kept.append(await connect(at.endpoints).__aenter__())

            await asyncio.create_task(enter())

    async def second() -> None:
        with pytest.raises(InvalidRequest, match="event loop"):
            await kept[0].get("/")

    anyio.run(first, backend="asyncio")
    assert kept[0].state is State.CLOSED
    anyio.run(second, backend="asyncio")
    with pytest.warns(ResourceWarning, match="never closed"):
        kept.clear()


# --- a loop that is blocked --------------------------------------------------------------------------


@both
def test_a_blocked_loop_is_named(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with house(1) as at, connect(at.endpoints, session_timeout=1.5) as client:
            told: list[State] = []
            client.on_state(told.append)
            await client.create("/a", ephemeral=True)
            time.sleep(0.8)  # this is it
            while not caplog.records:
                await anyio.sleep(0.01)
            (message,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
            assert "a keepalive is sent 0." in message
            assert "blocks its event loop" in message
            assert "its session, of 1.5 s, would have ended" in message
            await client.set("/a", b"still here")
            assert told == []

    run(backend, main)


class Member:
    """A stream that is a member: it answers when it is let."""

    full = False

    def __init__(self) -> None:
        self.may_answer = True
        self.asked: list[object] = []
        self._frames = FrameBuffer(CLIENT_FRAME_MAX_BYTES)
        self._news = anyio.Event()
        self._out = b""

    def send(self, data: bytes) -> None:
        for raw in self._frames.feed(data):
            frame = decode_client_frame(raw, MemberLimits())
            self.asked.append(frame)
            if isinstance(frame, Keepalive):
                self._out += encode_replies([(frame.request, 0, 1, 1, None)])
            elif len(self.asked) == 1:
                self._out += encode_welcome(Welcome(7, b"s" * 16, 1_500, 0, 1, b"c" * 16, [(1, "h:1")]))
        if self.may_answer:
            self.answer()

    def answer(self) -> None:
        self._news.set()

    async def carry(self, receive: Callable[[bytes], None]) -> None:
        while True:
            await self._news.wait()
            self._news = anyio.Event()
            out, self._out = self._out, b""
            receive(out)

    async def sent(self) -> None: ...

    def close(self) -> None: ...


@both
def test_an_answer_that_lay_there_while_the_loop_was_blocked_counts(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A keepalive is sent; its answer comes while the loop is blocked, for longer than the member is given. When the
    loop goes on, the clock and the answer are there at the same time: the connection is as good as it was.
    """
    look = 2 * LATE_SECONDS
    monkeypatch.setattr(link_module, "LOOK_SECONDS", look)

    async def main() -> None:
        member = Member()

        async def dial(endpoint: Endpoint) -> Member:
            return member

        blocked = 0.0
        link = Link(
            Core(CoreSettings()),
            Route([Endpoint("10.0.0.1", 1)], Random(1)),
            dial,
            now=lambda: now() + blocked,
        )
        async with running(link):
            await link.begun()
            member.may_answer = False
            while not any(isinstance(each, Keepalive) for each in member.asked):
                await anyio.sleep(0.01)
            blocked = 0.6  # of the half second that a member is given
            await anyio.sleep(0)
            time.sleep(look)  # until the clock is sure to be looked at next
            member.answer()
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            assert link.core.state is State.ATTACHED
            assert link.core.hang_up is None
            assert link.core.last_error is None
            assert link.remaining() > 0

    run(backend, main)


# --- what calls are given ----------------------------------------------------------------------------


@both
@pytest.mark.parametrize("deadline", ["soon", float("nan"), b"1"])
def test_a_deadline_is_a_number(backend: str, deadline: object) -> None:
    async def main() -> None:
        async with house(1) as at, connect(at.endpoints) as client:
            for call in (client.get, client.children, client.delete):
                with pytest.raises(InvalidRequest, match="a deadline is a number of seconds"):
                    await call("/", deadline=deadline)  # type: ignore[operator]

    run(backend, main)


@both
def test_a_call_that_is_cancelled_as_its_answer_comes(backend: str) -> None:
    """Its waiter is cancelled, and has not had its turn yet, when the answer arrives: nothing breaks."""

    async def main() -> None:
        async with house(1) as at, connect(at.endpoints) as client:
            requests = client._core._requests
            for _ in range(20):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(client.get, "/")
                    asked: list[Request] = []
                    while not asked:
                        await anyio.lowlevel.checkpoint()
                        waiting = [*requests._reads, *requests._waiting.values()]
                        asked = [each for each in waiting if not each.done]
                    tasks.cancel_scope.cancel()
                    asked[0].context.set()
            assert await client.children("/") == []

    run(backend, main)
