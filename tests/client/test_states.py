"""What a client says of its session: as a value, as an iterator, by callbacks, by the clock."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from coord.client import CoordError, InvalidRequest, SessionEnded, State, connect
from coord.client import client as client_module
from coord.client import link as link_module
from coord.client.client import Client
from coord.client.clock import now
from tests.client.house import Door, House, both, house, run


def present(at: House) -> Door:
    (door,) = [door for door in at.doors if door.streams]
    return door


def sleep_for(client: Client, seconds: float) -> None:
    """As if the machine had slept just now: the client's clock has gone on, no timer has noticed."""
    client._link._now = lambda: now() + seconds


async def until(client: Client, state: State) -> None:
    async for each in client.states():
        if each is state:
            return
    raise AssertionError(f"{client.state} came before {state}")


# --- the iterator ------------------------------------------------------------------------------------


@both
def test_states_begin_with_the_present_one_and_stop_after_the_last(backend: str) -> None:
    async def main() -> None:
        seen: list[State] = []

        async def look(client: Client) -> None:
            async for state in client.states():
                seen.append(state)  # noqa: PERF401  # looked at meanwhile

        async with house(1) as at, anyio.create_task_group() as tasks, connect(at.endpoints) as client:
            tasks.start_soon(look, client)
            (door,) = at.doors
            while not seen:
                await anyio.lowlevel.checkpoint()
            await at.cut(door, shut=True)
            await until(client, State.SUSPENDED)
            door.shut = False
            await until(client, State.ATTACHED)
        assert seen[:-1] == [State.ATTACHED, State.SUSPENDED, State.ATTACHED]
        assert seen[-1] in (State.ENDED, State.CLOSED)
        assert [state async for state in client.states()] == seen[-1:]

    run(backend, main)


@both
def test_a_slow_taker_is_told_what_is_so_now(backend: str) -> None:
    async def main() -> None:
        async with house(1) as at, connect(at.endpoints) as client:
            states = client.states()
            assert await anext(states) is State.ATTACHED
            for _ in range(3):
                await at.cut(present(at))
                await until(client, State.SUSPENDED)
                await until(client, State.ATTACHED)
            for door in at.doors:
                await at.cut(door, shut=True)
            await until(client, State.SUSPENDED)
            assert await anext(states) is State.SUSPENDED, "and not ATTACHED twice, nor anything of long ago"

    run(backend, main)


@both
def test_the_end_is_never_missed(backend: str) -> None:
    async def main() -> None:
        async with house(1) as at, connect(at.endpoints) as client:
            states = client.states()
            assert await anext(states) is State.ATTACHED
            sleep_for(client, 3600)
            assert await anext(states) is State.ENDED
            with pytest.raises(StopAsyncIteration):
                await anext(states)

    run(backend, main)


# --- callbacks ---------------------------------------------------------------------------------------


@both
def test_callbacks_are_told_of_each_state_in_order(backend: str) -> None:
    async def main() -> None:
        told: list[State] = []
        forgotten: list[State] = []
        async with house(1) as at:
            # Without a session: nothing is said by a member when it ends.
            async with connect(at.endpoints, session=False) as client:
                client.on_state(told.append)
                forget = client.on_state(forgotten.append)
                await at.cut(present(at))
                await until(client, State.SUSPENDED)
                await until(client, State.ATTACHED)
                while len(told) < 2:
                    await anyio.lowlevel.checkpoint()
                forget()
                forget()
            assert forgotten == [State.SUSPENDED, State.ATTACHED]
            assert told == [*forgotten, State.CLOSED], "the last one is told before the block is left"

    run(backend, main)


@both
def test_callbacks_are_told_of_an_end_by_a_bug_of_ours(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        told: list[State] = []

        def broken(data: bytes, now: float) -> None:
            raise ZeroDivisionError("oh")

        async with house(1) as at, connect(at.endpoints) as client:
            client.on_state(told.append)
            client._core.received = broken  # type: ignore[method-assign]
            with pytest.raises(CoordError, match="bug of its own"):
                await client.get("/")
            await client.wait_ended()
        assert told == [State.CLOSED]

    run(backend, main)


@both
def test_a_callback_that_fails_is_named_and_harms_nobody(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        told: list[State] = []

        def careless(state: State) -> None:
            raise ZeroDivisionError("mine")

        async with house(1) as at, connect(at.endpoints) as client:
            client.on_state(careless)
            client.on_state(told.append)
            await at.cut(present(at))
            await until(client, State.SUSPENDED)
            await until(client, State.ATTACHED)
            while len(told) < 2:
                await anyio.lowlevel.checkpoint()
            await client.create("/a")
        lines = [record for record in caplog.records if "careless" in record.getMessage()]
        assert len(lines) >= 2
        assert "SUSPENDED" in lines[0].getMessage()
        assert lines[0].exc_info is not None

    run(backend, main)


@both
def test_a_callback_may_take_away_itself_and_others(backend: str) -> None:
    async def main() -> None:
        told: list[str] = []

        def first(state: State) -> None:
            told.append("first")
            for forget in forgets:
                forget()

        async with house(1) as at, connect(at.endpoints) as client:
            forgets = [client.on_state(first), client.on_state(lambda _: told.append("second"))]
            await at.cut(present(at))
            await until(client, State.SUSPENDED)
            await until(client, State.ATTACHED)
        assert told == ["first"]

    run(backend, main)


@both
def test_what_is_no_callback(backend: str) -> None:
    async def main() -> None:
        async def later(state: State) -> None: ...

        async with house(1) as at, connect(at.endpoints) as client:
            with pytest.raises(InvalidRequest, match=r"later.*plain function"):
                client.on_state(later)
            with pytest.raises(InvalidRequest):
                client.on_state("print")  # type: ignore[arg-type]

    run(backend, main)


# --- the time that is left ---------------------------------------------------------------------------


@both
def test_how_long_the_session_certainly_lives(backend: str) -> None:
    async def main() -> None:
        async with house(1) as at:
            async with connect(at.endpoints, session=False) as client:
                assert client.remaining() == float("inf")
            assert client.remaining() == 0
            async with connect(at.endpoints, session_timeout=60) as client:
                assert 30 < client.remaining() <= 59.4
                sleep_for(client, 40)
                assert 0 < client.remaining() < 20
                assert client.state is State.ATTACHED
            assert client.remaining() == 0

    run(backend, main)


# --- a process that stood still ----------------------------------------------------------------------


def test_one_clock_that_counts_sleep() -> None:
    """Deadlines and the session are counted on the same clock, and where there is one that counts sleep, on that."""
    assert abs(now() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 1
    files = Path(client_module.__file__).resolve().parent.glob("*.py")
    others = [
        each.name for each in files if "current_time(" in each.read_text() or "monotonic(" in each.read_text()
    ]
    assert others == []


@both
def test_right_after_a_sleep_the_state_is_what_it_is(backend: str) -> None:
    async def main() -> None:
        async with house(1) as at, connect(at.endpoints) as client:
            sleep_for(client, 3600)
            assert client.state is State.ENDED
            assert client.remaining() == 0
            sleep_for(client, 0)
            assert client.state is State.ENDED, "once told it stays so"
            assert isinstance(await client.wait_ended(), SessionEnded)

    run(backend, main)


@both
def test_another_threads_look_does_not_end_it_but_it_will(backend: str) -> None:
    async def main() -> None:
        async with house(1) as at, connect(at.endpoints) as client:
            sleep_for(client, 3600)
            assert await anyio.to_thread.run_sync(lambda: client.state) is State.ENDED
            sleep_for(client, 0)
            assert client.state is State.ENDED
            assert "stood" not in str(await client.wait_ended())

    run(backend, main)


@both
def test_a_call_right_after_a_sleep_does_not_act_on_a_session_that_is_over(backend: str) -> None:
    async def main() -> None:
        async with house(1) as at, connect(at.endpoints) as client:
            await client.create("/a")
            frames = at.doors[0].frames
            sleep_for(client, 3600)
            with pytest.raises(SessionEnded, match=r"has not looked at its clock for 3\d+ s") as caught:
                await client.set("/a", b"mine")
            assert caught.value.outcome == "refused"
            assert at.doors[0].frames == frames
            async with connect(at.endpoints) as other:
                assert (await other.get("/a")).value == b""

    run(backend, main)


@both
def test_a_sleep_is_noticed_though_no_timer_is_due(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "LOOK_SECONDS", 0.1)

    async def main() -> None:
        async with house(1) as at, connect(at.endpoints, session_timeout=600) as client:
            sleep_for(client, 3600)
            with anyio.fail_after(3):
                assert isinstance(await client.wait_ended(), SessionEnded)

    run(backend, main)


@both
def test_an_answer_that_arrives_after_the_end_is_told_with_it(backend: str) -> None:
    """The answer is true, and so is the end: whoever waits gets the one, whoever looks the other."""

    async def main() -> None:
        async with house(1) as at, connect(at.endpoints) as client, anyio.create_task_group() as tasks:

            async def call() -> None:
                assert (await client.create("/a")).revision == 1
                assert client.state is State.ENDED
                with pytest.raises(SessionEnded):
                    await client.set("/a", b"mine")

            tasks.start_soon(call)
            while not at.replica.state.store.revision:
                await anyio.lowlevel.checkpoint()
            sleep_for(client, 3600)

    run(backend, main)


STOPPED = """
import os, signal, sys
import anyio
from coord.client import SessionEnded, connect

async def main():
    async with connect(sys.argv[1], session_timeout=1.0) as client:
        await client.create("/mine", ephemeral=True)
        os.kill(os.getpid(), signal.SIGSTOP)
        state = client.state.name  # the first thing after waking, before the loop has turned
        try:
            await client.set("/mine", b"still")
        except SessionEnded as error:
            print(state, error.outcome, flush=True)

anyio.run(main, backend=sys.argv[2])
"""


@both
def test_a_stopped_process_wakes_up_without_its_session(backend: str) -> None:
    async def main() -> None:
        async with house(1) as at, connect(at.endpoints) as other:
            process = subprocess.Popen(
                [sys.executable, "-c", STOPPED, at.endpoints[0], backend], stdout=subprocess.PIPE, text=True
            )
            try:
                stopped = await anyio.to_thread.run_sync(os.waitpid, process.pid, os.WUNTRACED)
                assert os.WIFSTOPPED(stopped[1])
                async with other.watch("/mine") as events:
                    if await other.exists("/mine") is not None:
                        assert (await anext(events)).kind.name == "DELETED"
                process.send_signal(signal.SIGCONT)
                said, _ = await anyio.to_thread.run_sync(process.communicate)
                assert said.split() == ["ENDED", "refused"]
            finally:
                process.kill()
                process.wait()

    run(backend, main)


@both
def test_a_session_that_ends_is_told_to_everybody_at_once(backend: str) -> None:
    async def main() -> None:
        async with house(1) as at, connect(at.endpoints) as client, client.watch("/") as events:
            told: list[State] = []
            client.on_state(told.append)
            sleep_for(client, 3600)
            with pytest.raises(CoordError):
                await client.get("/")
            with pytest.raises(SessionEnded):
                await anext(events)
            while not told:
                await anyio.lowlevel.checkpoint()
            assert told == [State.ENDED]

    run(backend, main)
