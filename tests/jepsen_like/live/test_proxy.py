"""The proxy: what each mode does to the bytes of a connection."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio

from coord.jepsen_like.live.proxy import BACK, BlackHole, Break, Cut, Delay, Drip, Forward, Hold, Link, Mode

SOON_S = 10.0
NOT_YET_S = 0.05


@asynccontextmanager
async def echo_behind() -> AsyncIterator[Link]:
    """A link to a server that sends back what it gets."""

    async def echo(stream: trio.SocketStream) -> None:
        try:
            while data := await stream.receive_some():
                await stream.send_all(data)
        except trio.BrokenResourceError:
            return

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, echo, [listener])
        link = Link(1, 2, listener.socket.getsockname()[1], Random(1))
        await link.listen()
        nursery.start_soon(link.run)
        with trio.fail_after(SOON_S):
            try:
                yield link
            finally:
                await close_dialled()
        nursery.cancel_scope.cancel()


async def dial(link: Link) -> trio.SocketStream:
    """A connection that is closed with its test."""
    stream = await trio.open_tcp_stream("127.0.0.1", link.port)
    _dialled.append(stream)
    return stream


_dialled: list[trio.SocketStream] = []


async def close_dialled() -> None:
    while _dialled:
        await trio.aclose_forcefully(_dialled.pop())


async def exactly(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = await stream.receive_some(count - len(data))
        assert more, f"the connection ended after {data!r}"
        data += more
    return data


async def nothing_arrives(stream: trio.SocketStream) -> bool:
    with trio.move_on_after(NOT_YET_S):
        await stream.receive_some()
        return False
    return True


async def ends(stream: trio.SocketStream) -> tuple[bytes, str]:
    """What came until the end, and how it ended."""
    data = b""
    try:
        while more := await stream.receive_some():
            data += more
    except trio.BrokenResourceError:
        return data, "reset"
    return data, "closed"


async def test_forwards_both_ways() -> None:
    async with echo_behind() as link:
        stream = await dial(link)
        await stream.send_all(b"x" * 200_000)
        assert await exactly(stream, 200_000) == b"x" * 200_000


async def test_cut_resets_what_is_up_and_what_comes() -> None:
    async with echo_behind() as link:
        before = await dial(link)
        await before.send_all(b"a")
        assert await exactly(before, 1) == b"a"
        link.set(Cut())
        assert await ends(before) == (b"", "reset")
        assert await ends(await dial(link)) == (b"", "reset")
        link.set(Forward())
        after = await dial(link)
        await after.send_all(b"b")
        assert await exactly(after, 1) == b"b"


async def test_held_bytes_arrive_late_and_whole() -> None:
    async with echo_behind() as link:
        stream = await dial(link)
        link.set(Hold())
        await stream.send_all(b"late")
        assert await nothing_arrives(stream)
        link.set(Forward())
        assert await exactly(stream, 4) == b"late"


async def test_a_black_hole_swallows_and_its_connections_do_not_go_on_over_the_hole() -> None:
    async with echo_behind() as link:
        unhurt, hurt = await dial(link), await dial(link)
        await unhurt.send_all(b"1")
        assert await exactly(unhurt, 1) == b"1"
        link.set(BlackHole())
        await hurt.send_all(b"lost")
        assert await nothing_arrives(hurt)
        link.set(Forward())
        assert await ends(hurt) == (b"", "reset")
        await unhurt.send_all(b"2")
        assert await exactly(unhurt, 1) == b"2"


async def test_one_lane_alone() -> None:
    """Requests arrive and answers do not: the other end sees what this one cannot know."""
    got: list[bytes] = []

    async def keep(stream: trio.SocketStream) -> None:
        got.append(await stream.receive_some())
        await stream.send_all(b"answer")
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, keep, [listener])
        link = Link(0, 1, listener.socket.getsockname()[1], Random(1))
        await link.listen()
        nursery.start_soon(link.run)
        link.set(BlackHole(), (BACK,))
        stream = await dial(link)
        await stream.send_all(b"ask")
        assert await nothing_arrives(stream)
        assert got == [b"ask"]
        await close_dialled()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("politely", [True, False])
async def test_breaks_within_so_many_bytes(politely: bool) -> None:
    async with echo_behind() as link:
        link.set(Break(1_000, politely))
        stream = await dial(link)
        await stream.send_all(b"z" * 3_000)
        data, end = await ends(stream)
        assert len(data) < 1_000
        assert set(data) <= {ord("z")}
        # The server may see the end first and answer it; only a polite break is sure to be an orderly one.
        assert end == "closed" if politely else end in ("reset", "closed")


async def test_delay_keeps_order_and_waits() -> None:
    async with echo_behind() as link:
        stream = await dial(link)
        link.set(Delay(30, 40))
        began = trio.current_time()
        await stream.send_all(b"one")
        await stream.send_all(b"two")
        assert await exactly(stream, 6) == b"onetwo"
        assert trio.current_time() - began >= 0.06  # there, and back


async def test_drip_is_whole_in_the_end() -> None:
    async with echo_behind() as link:
        stream = await dial(link)
        link.set(Drip(16))
        payload = bytes(range(200))
        await stream.send_all(payload)
        assert await exactly(stream, 200) == payload


@pytest.mark.parametrize("slow", [Drip(1), Delay(60_000, 60_000), Hold()])
async def test_healing_ends_slowness_at_once(slow: Mode) -> None:
    async with echo_behind() as link:
        stream = await dial(link)
        link.set(slow)
        await stream.send_all(b"y" * 5_000)
        assert await nothing_arrives(stream) or isinstance(slow, Drip)
        began = trio.current_time()
        link.set(Forward())
        await exactly(stream, 4_000)
        assert trio.current_time() - began < 2


async def test_a_target_that_is_down_is_a_connection_that_ends() -> None:
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        await listener.aclose()
        link = Link(1, 2, port, Random(1))
        await link.listen()
        nursery.start_soon(link.run)
        with trio.fail_after(SOON_S):
            assert await ends(await dial(link)) == (b"", "reset")
        await close_dialled()
        nursery.cancel_scope.cancel()
