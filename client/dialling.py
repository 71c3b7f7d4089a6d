"""How a member is reached: names looked up, streams made, and what the system says in plain words."""

import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import anyio

from coord.client.core.endpoints import Endpoint
from coord.client.sockets import AsyncioStream, Receive, TrioStream
from coord.client.waiting import at_asyncio

FAILURES: Final = (OSError, UnicodeError)
"""What reaching for a member, or talking with it, can raise."""


class Stream(Protocol):
    """To a member, and from it."""

    async def carry(self, receive: Receive) -> None:
        """Give ``receive`` what arrives, until the other side closes. Raises :class:`OSError`: it broke; and what
        ``receive`` raises.
        """

    def send(self, data: bytes) -> None:
        """Send, or keep; not while it is ``full``. Never waits, and raises nothing: what can't be sent is lost, and who
        carries meets the end.
        """

    @property
    def full(self) -> bool:
        """Something is kept."""

    async def sent(self) -> None:
        """Wait until nothing is."""

    def close(self) -> None:
        """At once. Harmless the second time."""


Dial = Callable[[Endpoint], Awaitable[Stream]]
"""Makes a stream to a member. An OSError: it could not be reached."""

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""The addresses that a name stands for, at least one. An OSError: there are none, or nobody knows."""


async def dial_tcp(endpoint: Endpoint) -> Stream:
    kind = AsyncioStream if at_asyncio() else TrioStream
    return await kind.dial(endpoint.host, endpoint.port)


async def resolve_name(name: str) -> Sequence[str]:
    found = await anyio.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def in_words(error: Exception) -> str:
    """anyio wraps what the system said; each backend has its own words for that."""
    cause = error.__cause__ or error
    if isinstance(cause, socket.gaierror):  # its numbers are not those of strerror
        return (cause.strerror or str(cause)).lower()
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
        return os.strerror(cause.errno).lower()
    return str(cause) or type(cause).__name__
