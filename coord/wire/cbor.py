"""CBOR (RFC 8949), as strict as the protocol needs it. The one file that imports cbor2.

No tags (they would build dates, regular expressions, shared and cyclic values out of what a stranger
sent), no indefinite lengths, bounded depth. What comes out is int, float, bool, None, bytes, str, list, dict.
"""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import cbor2

MAX_DEPTH = 20


class DecodeError(ValueError):
    """Bytes that are not what they should be. The one error of every decoder in this room."""


def _refuse_tag(*_: object) -> Any:
    raise cbor2.CBORDecodeError("tags are not used in this protocol")


_KNOWN_TAGS = (*range(6), 25, 28, 29, 30, 35, 36, 37, 41, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799)
_REFUSE_TAGS: dict[int, Any] = dict.fromkeys(_KNOWN_TAGS, _refuse_tag)


def dumps(value: object) -> bytes:
    """Encode. Tuples are lists."""
    return cbor2.dumps(value)


def array_of(items: Sequence[bytes]) -> bytes:
    """A list of values that are CBOR already."""
    return array_head(len(items)) + b"".join(items)


def array_head(count: int) -> bytes:
    """What stands before the ``count`` values of a list."""
    if count < 24:
        return bytes((0x80 | count,))
    if count < 0x10000:
        return b"\x99" + count.to_bytes(2, "big")
    return b"\x9a" + count.to_bytes(4, "big")


def bytes_head(length: int) -> bytes:
    """What stands before the ``length`` bytes of a byte string.

    For large ones: the encoder writes what it is given into a buffer that grows, and copies a megabyte several times.
    """
    if length < 24:
        return bytes((0x40 | length,))
    if length < 0x100:
        return bytes((0x58, length))
    if length < 0x10000:
        return b"\x59" + length.to_bytes(2, "big")
    return b"\x5a" + length.to_bytes(4, "big")


def loads(data: bytes) -> Any:
    """Decode what this service wrote itself (checksummed, or from a peer); bytes past the value are ignored."""
    try:
        return cbor2.loads(
            data,
            tag_hook=_refuse_tag,
            semantic_decoders=_REFUSE_TAGS,
            max_depth=MAX_DEPTH,
            allow_indefinite=False,
        )
    except (cbor2.CBORError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise DecodeError(f"not CBOR as this protocol uses it: {error}") from error


def loads_exactly(data: bytes) -> Any:
    """Decode what a stranger sent: as :func:`loads`, and nothing may follow the value."""
    stream = BytesIO(data)
    try:
        value = cbor2.CBORDecoder(
            stream,
            tag_hook=_refuse_tag,
            semantic_decoders=_REFUSE_TAGS,
            max_depth=MAX_DEPTH,
            allow_indefinite=False,
        ).decode()
    except (cbor2.CBORError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise DecodeError(f"not CBOR as this protocol uses it: {error}") from error
    if stream.tell() != len(data):
        raise DecodeError(f"{len(data) - stream.tell()} bytes follow the value")
    return value
