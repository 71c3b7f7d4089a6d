"""Validation of ops, as a table: each field of each op, wrong in each way."""

from typing import Any

import pytest

from coord.api.errors import CoordError, InvalidRequest, LimitExceeded
from coord.limits import MemberLimits
from coord.wire.cbor import dumps, loads_exactly
from coord.wire.op_rows import INT_MAX, TTL_MAX_MS, check_op

LIMITS = MemberLimits(list_page=100)

CREATE, SET, DELETE, GET, EXISTS, LIST, MULTI, LOG, SESSIONS, STATUS = range(1, 11)

VALID: list[list[Any]] = [
    [CREATE, "/a", b"x", 0, 0, 0],
    [CREATE, "/", b"x", 0, 1, 0],
    [CREATE, "/q/", b"x", 1, 1, 0],
    [CREATE, "/a", b"0123456789", 2, 3, 0],
    [CREATE, "/a", b"", 3, 0, 1],
    [CREATE, "/a", b"", 3, 0, TTL_MAX_MS],
    [SET, "/a", b"", None, None, 0],
    [SET, "/", b"", 0, INT_MAX, 3],
    [DELETE, "/a", 1, 1, 1],
    [GET, "/a", None, 5],
    [EXISTS, "/"],
    [LIST, "/a", 3, 100, None],
    [LIST, "/a", 0, 1, "name"],
    [MULTI, [], [], []],
    [MULTI, [[1, "/a", 5, b"x"], [5, "/a", 1, False], [6, "/a", 0, 3]], [[EXISTS, "/"]], []],
    [LOG, None, 100],
    [LOG, 0, 1],
    [SESSIONS, None, 1],
    [SESSIONS, 5, 100],
    [STATUS],
]

BAD_PATHS: list[Any] = [
    "", "a", "a/b", "//", "/a/", "/a//b", "/.", "/a/../b", "/a\x00", "/a\n", "/\x7f", "/\x85", "/" + "x" * 1024,
    "/" + "ä" * 512, None, 1, b"/a", ["/a"], True,
]  # fmt: skip
BAD_INTS: list[Any] = [-1, INT_MAX + 1, 1.0, "1", b"1", True, [1], {}]
BAD_VALUES: list[Any] = [None, "x", 1, [b"x"], True, 1.5]


def changed(row: list[Any], at: int, value: Any) -> list[Any]:
    return [*row[:at], value, *row[at + 1 :]]


INVALID: list[Any] = [
    None, 1, "x", b"x", {}, [], [None], ["1"], [1.0], [True], [0], [11], [-1], [2**64 - 1], [[1]],
    *[[*row, 0] for row in VALID],
    *[row[:-1] for row in VALID if len(row) > 1],
    *[changed(row, 1, path) for row in VALID if row[0] in (SET, DELETE, GET, EXISTS, LIST) for path in BAD_PATHS],
    *[changed(VALID[0], 1, path) for path in BAD_PATHS],
    *[changed(VALID[1], 1, path) for path in BAD_PATHS if path not in ("/a/", "/.")],  # good prefixes
    [CREATE, "/" + "x" * 1010, b"", 0, 1, 0],  # its number would make it too long
    *[changed(row, 2, value) for row in (VALID[0], VALID[6]) for value in BAD_VALUES],
    *[changed(VALID[0], 3, kind) for kind in (-1, 4, 1.0, None, "0", True)],
    *[changed(VALID[0], 4, flags) for flags in (-1, 4, None, 1.0, True)],
    *[changed(VALID[0], 5, ttl) for ttl in (1, -1, None, False, 0.0)],
    *[changed(VALID[4], 5, ttl) for ttl in (0, -1, TTL_MAX_MS + 1, None, 1.0, True)],
    *[changed(VALID[6], at, number) for at in (3, 4) for number in BAD_INTS],
    *[changed(VALID[6], 5, flags) for flags in (-1, 4, None, True)],
    *[changed(VALID[8], at, number) for at in (2, 3) for number in BAD_INTS],
    *[changed(VALID[8], 4, flags) for flags in (-1, 2, None, True)],
    *[changed(VALID[9], at, number) for at in (2, 3) for number in BAD_INTS],
    *[changed(VALID[11], 2, flags) for flags in (-1, 4, None, True)],
    *[changed(VALID[11], 3, limit) for limit in (0, -1, None, 1.0, "5", True)],
    *[changed(VALID[11], 4, after) for after in (1, b"x", [], "x" * 1025, True)],
    *[changed(VALID[13], at, part) for at in (1, 2, 3) for part in (None, {}, "", 1)],
    *[[MULTI, [compare], [], []] for compare in (
        None, [], [1, "/a", 0], [1, "/a", 0, b"x", 1], [0, "/a", 0, b"x"], [7, "/a", 0, 1], [1, "a", 0, b"x"],
        [1, "/a", 6, b"x"], [1, "/a", -1, b"x"], [1, "/a", 0, "x"], [1, "/a", 0, 1], [2, "/a", 0, b"x"],
        [2, "/a", 0, -1], [2, "/a", 0, True], [5, "/a", 0, 1], [5, "/a", 2, True], [6, "/a", 0, INT_MAX + 1],
    )],
    *[[MULTI, [], *branches] for inner in (
        None, [], 5, [MULTI, [], [], []], [LOG, None, 1], [SESSIONS, None, 1], [STATUS], [99], [True, "/a"],
        [SET, "a", b"", None, None, 0],
    ) for branches in ([[inner], []], [[], [inner]])],
    *[changed(row, 1, first) for row in (VALID[15], VALID[17]) for first in BAD_INTS],
    *[changed(row, 2, limit) for row in (VALID[15], VALID[17]) for limit in (0, -1, None, True)],
]  # fmt: skip

OVER: list[tuple[list[Any], str]] = [
    ([LIST, "/a", 0, 101, None], "list_page"),
    ([LOG, None, 101], "list_page"),
    ([SESSIONS, None, 101], "list_page"),
]


@pytest.mark.parametrize("row", VALID)
def test_valid(row: list[Any]) -> None:
    assert check_op(loads_exactly(dumps(row)), LIMITS) == row


def test_invalid() -> None:
    assert len(INVALID) > 200
    for row in INVALID:
        with pytest.raises(InvalidRequest) as caught:
            check_op(row, LIMITS)
        error: CoordError = caught.value
        assert error.outcome == "refused"
        assert 0 < len(error.message) < 400, row


@pytest.mark.parametrize(("row", "limit"), OVER)
def test_over_a_limit(row: list[Any], limit: str) -> None:
    with pytest.raises(LimitExceeded) as caught:
        check_op(row, LIMITS)
    assert caught.value.details == {"limit": limit, "maximum": getattr(LIMITS, limit)}
