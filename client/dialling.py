"""How a member is reached: names looked up, streams made, and what the system says in plain words."""

import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import anyio
import anyio.abc

from coord.client.core.endpoints import Endpoint

FAILURES: Final = (OSError, UnicodeError, anyio.BrokenResourceError, anyio.ClosedResourceError)
"""What reaching for a member, or talking with it, can raise besides the end of its stream."""

Dial = Callable[[Endpoint], Awaitable[anyio.abc.ByteStream]]
"""Makes a stream to a member. An OSError: it could not be reached."""

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""The addresses that a name stands for, at least one. An OSError: there are none, or nobody knows."""


async def dial_tcp(endpoint: Endpoint) -> anyio.abc.ByteStream:
    return await anyio.connect_tcp(endpoint.host, endpoint.port)


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
