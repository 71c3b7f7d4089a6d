"""Sets and gets as CBOR, quickly: looking at an op and encoding it would be half of what a call costs in the core, and
most calls are these two.

A validator asks of each field what it is, and a general encoder asks once more. Here both are one look. The paths come
again and again, so that a path is looked at, and encoded, when it is new; what is left to be written is a value, and
conditions where there are some. In a sixth of the time. Rejected: encoding all ops of a frame at once, when it is
sent. It is as fast, but a write's size has to be known when it is queued, and its bytes are kept to be sent again.
"""

from functools import lru_cache
from struct import Struct
from typing import Final

from coord.api.ops import GET, SET, Row, SetFlag
from coord.api.paths import check_path
from coord.wire.cbor import dumps
from coord.wire.op_rows import INT_MAX

_SET_ROW, _GET_ROW = b"\x86", b"\x84"
_NONE: Final = b"\xf6"
_NO_CONDITIONS: Final = b"\xf6\xf6"
_number = Struct(">BQ").pack
_U64: Final = 0x1B
_bytes_head = Struct(">BI").pack
_BYTES_U32: Final = 0x5A
_FLAGS: Final = [dumps(flags) for flags in range((SetFlag.CREATE | SetFlag.PARENTS) + 1)]

PATHS: Final = 8_192
"""Whose encoding is remembered."""


@lru_cache(maxsize=PATHS)
def _set_head(path: str) -> bytes:
    return _SET_ROW + dumps(SET) + dumps(check_path(path))


@lru_cache(maxsize=PATHS)
def _get_head(path: str) -> bytes:
    return _GET_ROW + dumps(GET) + dumps(check_path(path))


def encode_common(op: Row) -> bytes | None:
    """The bytes of a set or a get that is as it should be; ``None``: whoever knows all ops should look at it.

    Raises :class:`InvalidRequest` (refused) for what is no path.
    """
    if len(op) == 6 and op[0] == SET:
        _, path, value, version, revision, flags = op
        conditions = _conditions(version, revision)
        if (
            conditions is not None
            and type(path) is str
            and type(value) is bytes
            and type(flags) is int
            and 0 <= flags < len(_FLAGS)
        ):
            head = _bytes_head(_BYTES_U32, len(value))
            return b"".join((_set_head(path), head, value, conditions, _FLAGS[flags]))
    elif len(op) == 4 and op[0] == GET:
        _, path, version, revision = op
        conditions = _conditions(version, revision)
        if conditions is not None and type(path) is str:
            return _get_head(path) + conditions
    return None


def _conditions(version: object, revision: object) -> bytes | None:
    if version is None and revision is None:
        return _NO_CONDITIONS
    encoded = b""
    for each in (version, revision):
        if each is None:
            encoded += _NONE
        elif type(each) is int and 0 <= each <= INT_MAX:
            encoded += _number(_U64, each)
        else:
            return None
    return encoded
