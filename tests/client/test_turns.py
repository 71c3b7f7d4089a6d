"""Many callers whose answers came together are woken in two turns; the first one's requests leave before the second."""

import anyio
import pytest

from coord.client import connect
from coord.client.streams import TURN
from coord.wire.client_frames import encode_replies
from tests.client.house import both, house, run
from tests.client.script import Script, ok

MANY = 2 * TURN


def test_the_later_half_if_it_is_so_many() -> None:
    for count, first in ((7, 7), (8, 4), (9, 4), (0, 0)):
        script = Script()
        script.connect()
        asked = [script.core.read([4, "/a", None, None]) for _ in range(count)]
        script.sent()
        script.core.received(encode_replies([ok(request.id) for request in asked]), script.now)
        assert script.core.take_second_half(4) == asked[first:]
        assert script.core.take_completed() == asked[:first]


@both
@pytest.mark.parametrize(("callers", "frames"), [(MANY, 3), (MANY - 2, 2)])
def test_two_turns_make_two_frames(backend: str, callers: int, frames: int) -> None:
    """All ask at once: one frame. They are answered at once, and ask again."""

    async def main() -> None:
        async with house(1) as at, connect(at.endpoints, session=False) as client:
            await client.exists("/a")
            before = at.doors[0].frames

            async def twice() -> None:
                for _ in range(2):
                    await client.exists("/a")

            async with anyio.create_task_group() as tasks:
                for _ in range(callers):
                    tasks.start_soon(twice)
            assert at.doors[0].frames - before == frames

    run(backend, main)


@both
def test_the_second_turn_comes_though_the_first_asks_for_nothing(backend: str) -> None:
    async def main() -> None:
        async with house(1) as at, connect(at.endpoints, session=False) as client:
            with anyio.fail_after(
                client._link.core.session_timeout / 6
            ):  # not only with the next keepalive's answer
                async with anyio.create_task_group() as tasks:
                    for _ in range(MANY):
                        tasks.start_soon(client.exists, "/a")

    run(backend, main)


@both
def test_whoever_waits_for_the_second_turn_is_woken_when_it_is_called_off(backend: str) -> None:
    """The connection ends while those of the first turn are at it."""

    async def main() -> None:
        answered = 0
        async with house(1) as at, connect(at.endpoints, session=False) as client:

            async def call() -> None:
                nonlocal answered
                await client.exists("/a")
                answered += 1
                if answered == 1:
                    client._link._cut()

            with anyio.fail_after(10):
                async with anyio.create_task_group() as tasks:
                    for _ in range(MANY):
                        tasks.start_soon(call)
            assert answered == MANY

    run(backend, main)
