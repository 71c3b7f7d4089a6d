"""Znodes and history as columns: what is packed is unpacked to the same, and anything else is refused."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.api.events import Revision
from coord.store.columns import pack_revisions, pack_znodes, unpack_revisions, unpack_znodes
from coord.store.znode import ZNODE_FIELDS, Znode
from coord.wire.cbor import dumps, loads

NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=9
)
PATHS = st.just("/") | st.builds(lambda names: "/" + "/".join(names), st.lists(NAMES, min_size=1, max_size=4))
NUMBERS = st.integers(0, 3) | st.integers(0, 2**62)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=20) | st.text(max_size=9),
    lambda items: st.lists(items, max_size=4),
    max_leaves=12,
)


@st.composite
def znodes(draw: st.DrawFn) -> tuple[list[str], list[Znode]]:
    paths = draw(st.lists(PATHS, min_size=1, max_size=20, unique=True))
    values = st.binary(max_size=20)
    rows: list[Any] = [(draw(values), *[draw(NUMBERS) for _ in range(ZNODE_FIELDS - 1)]) for _ in paths]
    return paths, rows


def packed(found: tuple[list[str], list[Znode]]) -> list[Any]:
    """As it comes from the disk."""
    columns: list[Any] = loads(dumps(pack_znodes(*found)))
    return columns


def many(count: int) -> tuple[list[str], list[Znode]]:
    """So many children of one znode, each made by its own revision, ten of them in a millisecond."""
    found: list[Znode] = [
        (b"x", at, at, at, 0, 0, 0, 10**12 + at // 10, 10**12 + at // 10, 0, 0, 0, 0)
        for at in range(1, count + 1)
    ]
    return [f"/many/{at}" for at in range(1, count + 1)], found


def history(count: int) -> list[Any]:
    """The columns of so many revisions, as they come from the disk."""
    found: list[Revision] = [
        (at, 5, 10**12, ((1, f"/{at}", b"x", 0, 7, at, 1),)) for at in range(1, count + 1)
    ]
    columns: list[Any] = loads(dumps(pack_revisions(found)))
    return columns


@given(znodes())
def test_what_is_packed_is_unpacked(found: tuple[list[str], list[Znode]]) -> None:
    paths, rows = found
    unpacked = unpack_znodes(packed(found))
    assert (unpacked.paths, unpacked.znodes) == (paths, rows)
    assert [
        f"{unpacked.parents[at]}/{name}" for at, name in zip(unpacked.parent_of, unpacked.names, strict=True)
    ] == paths
    assert unpacked.data_bytes == sum(map(len, paths)) + sum(len(row[0]) for row in rows)
    assert unpacked.notable == any(row[6] or row[10] for row in rows)


@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 600])
def test_many(count: int) -> None:
    """Also where there are too many different numbers for one byte each."""
    found = many(count)
    unpacked = unpack_znodes(packed(found))
    assert (unpacked.paths, unpacked.znodes) == found


def test_numbers_are_shared_again() -> None:
    """A million znodes with four int objects each that could be one take 100 MB more."""
    rows = unpack_znodes(packed(many(600))).znodes
    assert all(row[1] is row[2] is row[3] and row[7] is row[8] for row in rows)
    assert sum(before[7] is after[7] for before, after in pairwise(rows)) == 600 - 61


@given(st.data())
def test_anything_else_is_refused(data: st.DataObject) -> None:
    """Total: znodes, or ``ValueError``."""
    columns = packed(data.draw(znodes()))
    at = data.draw(st.integers(0, len(columns) - 1))
    columns[at] = data.draw(JUNK)
    try:
        unpacked = unpack_znodes(columns)
    except ValueError:
        return
    for path, row in zip(unpacked.paths, unpacked.znodes, strict=True):
        assert type(path) is str
        assert type(row) is tuple
        assert [type(field) for field in row] == [bytes] + [int] * (ZNODE_FIELDS - 1)


@pytest.mark.parametrize(
    ("at", "column"),
    [
        (0, "a/b"),
        (0, 1),
        (1, []),
        (1, ["/many", "/many"]),
        (1, [5]),
        (2, 1),
        (2, -1),
        (2, [[0, 1], b"\0\1\0"]),
        (3, [b"x", b"x"]),
        (3, [b"x", b"x", "x"]),
        (3, [b"x", b"x", True]),
        (4, b"12345678"),
        (4, [[1, 2], b"\0\1\2"]),
        (4, [[1, 2], b"\0\1"]),
        (4, [[True, 2], b"\0\1\1"]),
        (4, [[], b"\0\0\0"]),
        (4, [[1], b"\0\0\0", 3]),
        (4, True),
        (4, None),
        (15, 1.0),
    ],
)
def test_what_does_not_fit_is_refused(at: int, column: Any) -> None:
    columns = packed(many(3))
    columns[at] = column
    with pytest.raises(ValueError, match=r".+"):
        unpack_znodes(columns)


@pytest.mark.parametrize(
    ("columns", "unpack"), [(packed(many(3)), unpack_znodes), (history(3), unpack_revisions)]
)
def test_a_column_more_or_less_is_refused(columns: list[Any], unpack: Callable[[list[Any]], Any]) -> None:
    for wrong in (columns[:-1], [*columns, 0], []):
        with pytest.raises(ValueError, match="number of columns"):
            unpack(wrong)


# --- history -----------------------------------------------------------------------------------------


CHANGES = st.tuples(
    st.integers(1, 11),
    PATHS,
    st.none() | st.binary(max_size=20),
    NUMBERS,
    NUMBERS,
    NUMBERS,
    st.integers(1, 9),
)


@st.composite
def revisions(draw: st.DrawFn) -> list[Revision]:
    first = draw(NUMBERS)
    lots = draw(st.lists(st.lists(CHANGES, min_size=1, max_size=4), min_size=1, max_size=9))
    return [
        (revision, draw(NUMBERS), draw(NUMBERS), tuple(changes))
        for revision, changes in enumerate(lots, first)
    ]


@given(revisions())
def test_history_that_is_packed_is_unpacked(found: list[Revision]) -> None:
    assert unpack_revisions(loads(dumps(pack_revisions(found)))) == found


@given(st.data())
def test_any_other_history_is_refused(data: st.DataObject) -> None:
    columns = loads(dumps(pack_revisions(data.draw(revisions()))))
    at = data.draw(st.integers(0, len(columns) - 1))
    columns[at] = data.draw(JUNK)
    try:
        unpacked = unpack_revisions(columns)
    except ValueError:
        return
    for revision, index, wall_ms, changes in unpacked:
        assert type(revision) is type(index) is type(wall_ms) is int
        for kind, path, value, *numbers in changes:
            assert type(kind) is int
            assert type(path) is str
            assert value is None or type(value) is bytes
            assert [type(number) for number in numbers] == [int] * 4


@pytest.mark.parametrize(
    ("at", "column"),
    [
        (0, "1"),
        (1, 0),
        (1, 2),
        (1, 4),
        (1, True),
        (2, b"12345678"),
        (4, 2),
        (4, 0),
        (4, [[1, 2], b"\0\1\0"]),
        (6, "/a\0/b"),
        (6, None),
        (7, [b"x", None]),
        (7, [b"x", None, "x"]),
        (11, None),
    ],
)
def test_history_that_does_not_fit_is_refused(at: int, column: Any) -> None:
    columns = history(3)
    columns[at] = column
    with pytest.raises(ValueError, match=r".+"):
        unpack_revisions(columns)
