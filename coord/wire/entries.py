"""The data of a log entry: ``[version, cluster time, wall clock, [command, …]]`` as CBOR.

A command of requests keeps its client frame's body as the bytes that came in: it is wrapped once, where
it arrived, and decoded once on each replica, when it is applied. The entry around it is put together
from pieces that are CBOR already.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Any, Final

from coord.api.commands import REQUESTS, Command
from coord.wire.cbor import DecodeError, array_of, bytes_head, dumps, loads

ENTRY_VERSION: Final = 1

_HEAD = Struct(">BBBQBQ")
_LIST_OF_3, _LIST_OF_4, _UINT64 = b"\x83", 0x84, 0x1B

LARGE_BYTES: Final = 16 * 1024
"""From this size on, bytes are put together around what is there, and not encoded anew."""


def encode_command(command: Command) -> bytes:
    """One command; one of requests stands here as ``(REQUESTS, session, body)``."""
    if command[0] == REQUESTS and len(command[2]) >= LARGE_BYTES:
        _, session, body = command
        return b"".join((_LIST_OF_3, dumps(REQUESTS), dumps(session), bytes_head(len(body)), body))
    return dumps(command)


def encode_entry(time_ms: int, wall_ms: int, commands: Sequence[bytes]) -> bytes:
    """The entry of commands that :func:`encode_command` encoded."""
    head = _HEAD.pack(_LIST_OF_4, ENTRY_VERSION, _UINT64, time_ms, _UINT64, wall_ms)
    return head + array_of(commands)


def decode_entry(data: bytes) -> tuple[int, int, list[Command]]:
    """``(cluster time, wall clock, commands)``; one of requests as
    ``(REQUESTS, session, confirmed, requests)``. Raises :class:`DecodeError`.
    """
    value = loads(data)
    try:
        version, time_ms, wall_ms, rows = value
        if version != ENTRY_VERSION:
            raise DecodeError(f"an entry of version {version!r:.20}; this member knows {ENTRY_VERSION}")
        return time_ms, wall_ms, [_command(row) for row in rows]
    except (TypeError, ValueError, LookupError) as error:
        raise DecodeError(f"a malformed entry: {error}") from error


def _command(row: list[Any]) -> Command:
    if row[0] == REQUESTS:
        _, session, body = row
        confirmed, *requests = loads(body)
        return (REQUESTS, session, confirmed, requests)
    return tuple(row)
