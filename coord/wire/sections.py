"""Sections of a snapshot: ``[kind, row, …]`` as CBOR. What the rows mean is the store's business."""

from collections.abc import Sequence
from typing import Any

from coord.wire.cbor import DecodeError, dumps, loads


def encode_section(kind: int, rows: Sequence[Any]) -> bytes:
    return dumps([kind, rows])


def decode_section(data: bytes) -> tuple[int, list[Any]]:
    """``(kind, rows)``. Raises :class:`DecodeError`."""
    value = loads(data)
    if type(value) is not list or len(value) != 2 or type(value[0]) is not int or type(value[1]) is not list:
        raise DecodeError("a section is [kind, [row, …]]")
    return value[0], value[1]
