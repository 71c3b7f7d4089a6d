"""Real members, for tests of recipes: one for all tests of a module, and a namespace of its own for each."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from itertools import count

import anyio
import pytest

from coord.client import Client, connect
from coord.client.core.endpoints import Endpoint
from coord.client.dialling import Stream
from coord.testing import Cluster

both = pytest.mark.parametrize("backend", ["trio", "asyncio"])
_numbers = count(1)


def run(backend: str, main: Callable[[], Awaitable[None]], seconds: float = 30) -> None:
    """Run ``main``, for at most as long as a hang is sure to be one."""

    async def bounded() -> None:
        with anyio.fail_after(seconds):
            await main()

    anyio.run(bounded, backend=backend)


def fresh() -> str:
    """A namespace that no other test uses."""
    return f"/test-{next(_numbers)}"


@asynccontextmanager
async def clients(cluster: Cluster, number: int, session_timeout: float = 10) -> AsyncIterator[list[Client]]:
    """So many, with a session each, all in one fresh namespace."""
    space = fresh()
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                connect(cluster.endpoints, namespace=space, session_timeout=session_timeout, deadline=10)
            )
            for _ in range(number)
        ]


@contextmanager
def away(client: Client) -> Iterator[None]:
    """``client`` loses its connection, and connects again after the block."""
    link, back = client._link, anyio.Event()
    dial = link._dial

    async def later(endpoint: Endpoint) -> Stream:
        await back.wait()
        return await dial(endpoint)

    link._dial = later
    link._cut()
    try:
        yield
    finally:
        back.set()
        link._dial = dial
