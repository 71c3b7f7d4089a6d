"""Validation of ops, as a table: each field of each op, wrong in each way."""

from typing import Any

import pytest

from coord.api.errors import CoordError, InvalidRequest, LimitExceeded
from coord.limits import TOKEN_TTL_MAX_MS, MemberLimits
from coord.wire.cbor import dumps, loads_exactly
from coord.wire.op_rows import (
    INT_MAX,
    KEY_NAME_MAX,
    LANE_INTERVAL_MAX_MS,
    LOCK_DELAY_MAX_MS,
    TOKENS_MAX,
    TTL_MAX_MS,
    UNITS_MAX,
    check_op,
)

LIMITS = MemberLimits(list_page=100)

CREATE, SET, DELETE, GET, EXISTS, LIST, MULTI, LOG, SESSIONS, STATUS = range(1, 11)
CLAIM, CLAIM_FIRST, RELEASE, CLAIM_SETTINGS, FENCE, FENCED, CLAIMS, CLAIM_INFO, HOLD_BACK, LANES = range(
    11, 21
)

VALID: list[list[Any]] = [
    [CREATE, "/a", b"x", 0, 0, 0],
    [CREATE, "/", b"x", 0, 1, 0],
    [CREATE, "/q/", b"x", 1, 1, 0],
    [CREATE, "/a", b"0123456789", 2, 3, 0],
    [CREATE, "/a", b"", 3, 0, 1],
    [CREATE, "/a", b"", 3, 0, TTL_MAX_MS],
    [SET, "/a", b"", None, None, 0],
    [SET, "/", b"", 0, INT_MAX, 3],
    [DELETE, "/a", 1, 1, 3],
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

VALID_CLAIM = [CLAIM, "/a", 15, 1, b"me"]
VALID_FIRST = [CLAIM_FIRST, "/q", 3, 3, b""]
VALID_RELEASE = [RELEASE, 7, 9, 1]
VALID_SETTINGS = [CLAIM_SETTINGS, "/a", UNITS_MAX, LOCK_DELAY_MAX_MS]
VALID_HOLD_BACK = [HOLD_BACK, "/a", TTL_MAX_MS]
VALID_LANE = ["smtp", UNITS_MAX, LANE_INTERVAL_MAX_MS, UNITS_MAX]
VALID_LANES = [LANES, "/a", [["ä" * 128, 0, 0, 1], VALID_LANE, ["b", 1, 0, 1], ["c", 1, 0, 1]]]
VALID_CLAIMS = [CLAIMS, "/a", 3, 5, 0, 100]
VALID_OF_CLAIMS: list[list[Any]] = [
    VALID_CLAIM,
    [CLAIM, "/", 0, UNITS_MAX, b""],
    [*VALID_CLAIM, 0],
    [*VALID_CLAIM, UNITS_MAX],
    VALID_FIRST,
    [CLAIM_FIRST, "/q", INT_MAX, 0, b"x"],
    VALID_RELEASE,
    [RELEASE, INT_MAX, 0, 0],
    VALID_SETTINGS,
    [CLAIM_SETTINGS, "/a", 1, 0],
    VALID_HOLD_BACK,
    [HOLD_BACK, "/", None],
    [HOLD_BACK, "/a", 0],
    VALID_LANES,
    [LANES, "/", []],
    [FENCE, "/a", "/b"],
    [FENCE, "/", None],
    [FENCED, [], [SET, "/a", b"", None, None, 0]],
    [FENCED, [[1, 5], [0, INT_MAX]], [MULTI, [], [[DELETE, "/a", None, None, 0], [FENCE, "/a", None]], []]],
    [FENCED, [[1, 5]], [FENCE, "/a", None]],
    VALID_CLAIMS,
    [CLAIMS, "/", 1, None, None, 1],
    [CLAIM_INFO, "/a"],
    [MULTI, [[8, "/a", 0, 5], [9, "/a", 1, 0], [10, "/a", 5, 2]], [[CLAIM, "/a", 14, 1, b""], [RELEASE, 1, 0, 0]],
     [[CLAIM_SETTINGS, "/a", 2, 0], [FENCE, "/a", "/a"], [MULTI, [], [[HOLD_BACK, "/a", None]], [[LANES, "/a", []]]]]],
]  # fmt: skip
VALID += VALID_OF_CLAIMS
SIGN, ROTATE = 30, 31


def nested(levels: int, innermost: list[Any]) -> list[Any]:
    op = innermost
    for level in range(levels):
        op = [MULTI, [], [op], []] if level % 2 else [MULTI, [], [], [op]]
    return op


VALID += [nested(4, VALID_LANES), [FENCED, [[1, 1]], nested(4, VALID_LANES)]]
VALID += [
    [SIGN, 1, 0],
    [SIGN, INT_MAX, TOKEN_TTL_MAX_MS],
    [ROTATE, None],
    [ROTATE, "1-my-4rqBNJaFz-P1owtwT9A"],
    [ROTATE, "x" * KEY_NAME_MAX],
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
    None, 1, "x", b"x", {}, [], [None], ["1"], [1.0], [True], [0], [21], [-1], [2**64 - 1], [[1]],
    *[[*row, 0] for row in VALID if row[0] != CLAIM],  # whose last field may be left out
    *[row[:-1] for row in VALID if len(row) > 1 and (row[0] != CLAIM or len(row) == len(VALID_CLAIM))],
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
    *[changed(VALID[8], 4, flags) for flags in (-1, 4, None, True)],
    *[changed(VALID[9], at, number) for at in (2, 3) for number in BAD_INTS],
    *[changed(VALID[11], 2, flags) for flags in (-1, 4, None, True)],
    *[changed(VALID[11], 3, limit) for limit in (0, -1, None, 1.0, "5", True)],
    *[changed(VALID[11], 4, after) for after in (1, b"x", [], "x" * 1025, True)],
    *[changed(VALID[13], at, part) for at in (1, 2, 3) for part in (None, {}, "", 1)],
    *[[MULTI, [compare], [], []] for compare in (
        None, [], [1, "/a", 0], [1, "/a", 0, b"x", 1], [0, "/a", 0, b"x"], [11, "/a", 0, 1], [1, "a", 0, b"x"],
        [1, "/a", 6, b"x"], [1, "/a", -1, b"x"], [1, "/a", 0, "x"], [1, "/a", 0, 1], [2, "/a", 0, b"x"],
        [2, "/a", 0, -1], [2, "/a", 0, True], [5, "/a", 0, 1], [5, "/a", 2, True], [6, "/a", 0, INT_MAX + 1],
    )],
    *[[MULTI, [], *branches] for inner in (
        None, [], 5, nested(4, [EXISTS, "/a"]), [MULTI, [], []], nested(2, [LOG, None, 1]), [LOG, None, 1],
        [SESSIONS, None, 1], [STATUS], [99], [True, "/a"], [SET, "a", b"", None, None, 0],
    ) for branches in ([[inner], []], [[], [inner]])],
    *[changed(row, 1, path) for row in VALID_OF_CLAIMS for path in BAD_PATHS if row[0] not in (RELEASE, FENCED, MULTI)],
    *[[FENCE, "/a", path] for path in BAD_PATHS if path is not None],
    *[changed(VALID_CLAIM, 2, flags) for flags in (-1, 16, None, True)],
    *[[*VALID_CLAIM, capacity] for capacity in (-1, UNITS_MAX + 1, *BAD_INTS)],
    [*VALID_CLAIM, 1, 1],
    *[changed(VALID_CLAIM, 3, units) for units in (0, UNITS_MAX + 1, *BAD_INTS)],
    *[changed(row, 4, label) for row in (VALID_CLAIM, VALID_FIRST) for label in BAD_VALUES],
    *[changed(VALID_FIRST, 2, count) for count in (0, *BAD_INTS)],
    *[changed(VALID_FIRST, 3, flags) for flags in (-1, 4, None, True)],
    *[changed(VALID_RELEASE, 1, number) for number in (0, *BAD_INTS)],
    *[changed(VALID_RELEASE, 2, number) for number in BAD_INTS],
    *[changed(VALID_RELEASE, 3, flags) for flags in (-1, 2, None, True)],
    *[changed(VALID_SETTINGS, 2, capacity) for capacity in (0, UNITS_MAX + 1, *BAD_INTS)],
    *[changed(VALID_SETTINGS, 3, delay_ms) for delay_ms in (LOCK_DELAY_MAX_MS + 1, *BAD_INTS)],
    *[changed(VALID_HOLD_BACK, 2, delay_ms) for delay_ms in (TTL_MAX_MS + 1, *BAD_INTS)],
    *[changed(VALID_LANES, 2, lanes) for lanes in (
        None, {}, 5, "x", [5], [[]], [["a", 1, 0]], [["a", 1, 0, 1, 1]], [["a", 1, 0, 1]] * 2,
        [[str(number), 1, 0, 1] for number in range(5)],
    )],
    *[changed(VALID_LANES, 2, [changed(VALID_LANE, 0, name)]) for name in ("", "ä" * 129, None, 1, b"a", ["a"])],
    *[changed(VALID_LANES, 2, [changed(VALID_LANE, at, number)]) for at in (1, 2, 3) for number in BAD_INTS],
    *[changed(VALID_LANES, 2, [changed(VALID_LANE, at, number)]) for at, number in (
        (1, UNITS_MAX + 1), (2, LANE_INTERVAL_MAX_MS + 1), (3, 0), (3, UNITS_MAX + 1),
    )],
    *[changed(VALID_CLAIMS, 2, scope) for scope in (0, 2, 4, 9, None, True, 1.0, "1")],
    *[changed(VALID_CLAIMS, at, number) for at in (3, 4) for number in BAD_INTS],
    *[changed(VALID_CLAIMS, 5, limit) for limit in (0, -1, None, True)],
    *[[FENCED, tokens, [SET, "/a", b"", None, None, 0]] for tokens in (
        None, {}, 5, [5], [[1]], [[1, 2, 3]], [[1, -1]], [[-1, 1]], [[1, True]], [["1", 1]],
        [[1, 2]] * (TOKENS_MAX + 1),
    )],
    *[[FENCED, [], inner] for inner in (
        None, [], 5, [GET, "/a", None, None], [CLAIM, "/a", 0, 1, b""], [FENCED, [], [SET, "/a", b"", None, None, 0]],
        [RELEASE, 1, 0, 0], [True], [SET, "a", b"", None, None, 0], ["2"], [[2]], [99],
    )],
    *[[MULTI, [], *branches] for inner in (
        [CLAIM, "/a", 1, 1, b""], [CLAIM, "/a", 3, 1, b""], [CLAIM, "/a", None, 1, b""], VALID_FIRST, VALID_CLAIMS,
        [CLAIM_INFO, "/a"], [FENCED, [], [SET, "/a", b"", None, None, 0]], [RELEASE, 0, 0, 0],
    ) for branches in ([[inner], []], [[], [inner]])],
    *[[SIGN, number, 0] for number in (0, *BAD_INTS)],
    *[[SIGN, 1, ttl_ms] for ttl_ms in (TOKEN_TTL_MAX_MS + 1, *BAD_INTS)],
    *[[ROTATE, key] for key in (1, b"1-a", True, [], "", "a/b", "..", "a\n", "x" * (KEY_NAME_MAX + 1))],
    *[[MULTI, [[target, "/a", 0, operand]], [], []] for target in (8, 9, 10) for operand in BAD_INTS],
    *[changed(row, 1, first) for row in (VALID[15], VALID[17]) for first in BAD_INTS],
    *[changed(row, 2, limit) for row in (VALID[15], VALID[17]) for limit in (0, -1, None, True)],
]  # fmt: skip

OVER: list[tuple[list[Any], str]] = [
    ([LIST, "/a", 0, 101, None], "list_page"),
    ([LOG, None, 101], "list_page"),
    ([SESSIONS, None, 101], "list_page"),
    ([CLAIMS, "/", 3, None, None, 101], "list_page"),
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
