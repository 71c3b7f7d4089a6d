"""Streams over TCP, in both event loops."""

import errno
import socket
import struct
from collections.abc import Awaitable, Callable

import anyio
import anyio.to_thread
import pytest

from coord.client.core.endpoints import Endpoint
from coord.client.dialling import Stream, dial_tcp, in_words
from tests.client.house import both, run

MUCH = bytes(range(256)) * 64 * 1024
"""More than the kernel takes at once."""

Test = Callable[[Stream, socket.socket], Awaitable[None]]


def with_both_ends(backend: str, test: Test) -> None:
    """Run ``test`` with a stream and its other end, which blocks."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            stream = await dial_tcp(Endpoint("127.0.0.1", listener.getsockname()[1]))
            other, _ = listener.accept()
            other.settimeout(5)
            with other:
                try:
                    with anyio.fail_after(5):
                        await test(stream, other)
                finally:
                    stream.close()

    run(backend, main)


@both
def test_what_arrives_is_handed_over_until_the_other_side_closes(backend: str) -> None:
    async def test(stream: Stream, other: socket.socket) -> None:
        got: list[bytes] = []
        other.sendall(b"before anybody receives, ")
        await anyio.sleep(0.01)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stream.carry, got.append)
            while not got:
                await anyio.lowlevel.checkpoint()
            await anyio.to_thread.run_sync(other.sendall, MUCH)
            other.shutdown(socket.SHUT_WR)
        assert b"".join(got) == b"before anybody receives, " + MUCH

    with_both_ends(backend, test)


@both
def test_what_is_not_taken_at_once_is_kept_and_sent(backend: str) -> None:
    async def test(stream: Stream, other: socket.socket) -> None:
        got: list[bytes] = []

        def read(size: int) -> None:
            while size:
                got.append(other.recv(65_536))
                size -= len(got[-1])

        stream.send(b"small")
        assert not stream.full
        await stream.sent()
        stream.send(MUCH)
        assert stream.full
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, read, 5 + len(MUCH))
            await stream.sent()
            assert not stream.full
        assert b"".join(got) == b"small" + MUCH

    with_both_ends(backend, test)


@both
def test_a_connection_that_breaks_says_so_to_who_carries(backend: str) -> None:
    async def test(stream: Stream, other: socket.socket) -> None:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        other.close()  # with a reset
        stream.send(MUCH)  # tells nothing of it
        await stream.sent()
        with pytest.raises(OSError) as caught:
            await stream.carry(print)
        assert caught.value.errno in (errno.ECONNRESET, errno.EPIPE)
        stream.close()
        stream.close()

    with_both_ends(backend, test)


@both
def test_what_the_receiver_raises_comes_out(backend: str) -> None:
    async def test(stream: Stream, other: socket.socket) -> None:
        other.sendall(b"1")
        with pytest.raises(ValueError, match="could not convert"):
            await stream.carry(lambda data: print(float(data + b"x")))

    with_both_ends(backend, test)


@both
def test_who_has_raised_is_given_no_more(backend: str) -> None:
    """1. The receiver raises. 2. Before who carries has closed, more arrives."""

    async def test(stream: Stream, other: socket.socket) -> None:
        got: list[bytes] = []

        def refuse(data: bytes) -> None:
            got.append(data)
            raise ValueError("no frame")

        other.sendall(b"first")
        with pytest.raises(ValueError, match="no frame"):
            await stream.carry(refuse)
        other.sendall(b"second")
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        assert got == [b"first"]

    with_both_ends(backend, test)


@both
def test_nobody_listens(backend: str) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        with pytest.raises(OSError) as caught:
            await dial_tcp(Endpoint("127.0.0.1", port))
        assert in_words(caught.value) == "connection refused"

    run(backend, main)
