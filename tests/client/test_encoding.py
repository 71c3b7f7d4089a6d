"""The quick encoding of ops beside the general one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.api.errors import InvalidRequest
from coord.api.ops import DELETE, GET, SET
from coord.api.paths import is_valid
from coord.client.core.encoding import encode_common
from coord.client.core.request import encode_op
from coord.wire.cbor import loads_exactly
from coord.wire.op_rows import INT_MAX


@given(
    path=st.text(min_size=1, max_size=40).map("/{}".format).filter(is_valid),
    value=st.binary(max_size=300),
    version=st.none() | st.integers(0, INT_MAX),
    revision=st.none() | st.integers(0, INT_MAX),
    flags=st.integers(0, 3),
)
def test_the_quick_encoding_says_the_same_as_the_general_one(
    path: str, value: bytes, version: int | None, revision: int | None, flags: int
) -> None:
    for row in ([SET, path, value, version, revision, flags], [GET, path, version, revision]):
        for _ in range(2):  # the second time the path is known
            encoded = encode_common(row)
            assert encoded is not None
            assert loads_exactly(encoded) == row
    assert encode_common([DELETE, path, version, revision, 0]) is None


@pytest.mark.parametrize("path", ["/\ud800", "a", "/a/", "/a//b", "/.", "/" + "a" * 1024])
def test_what_is_no_path_is_refused_also_by_the_quick_encoding(path: str) -> None:
    for row in ([SET, path, b"", None, None, 0], [GET, path, None, None]):
        for _ in range(2):
            with pytest.raises(InvalidRequest, match="is not a path"):
                encode_common(row)
            with pytest.raises(InvalidRequest, match="is not a path"):
                encode_op(row)


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "row",
    [
        *[[SET, "/a", b"", None, None, flags] for flags in (-1, 4, True, 1.0, None, "0")],
        *[[SET, "/a", b"", version, None, 0] for version in (-1, INT_MAX + 1, True, 1.0, "0")],
        *[[SET, "/a", b"", None, revision, 0] for revision in (-1, INT_MAX + 1, False)],
        *[[SET, "/a", value, None, None, 0] for value in ("text", None, bytearray(b"x"), [b"x"])],
        *[[SET, path, b"", None, None, 0] for path in (Text("/a"), b"/a", None, ["/a"])],
        *[[GET, path, None, None] for path in (Text("/a"), b"/a", None, ["/a"])],
        [GET, "/a", -1, None],
        [GET, "/a", None, True],
        [SET, "/a", b"", None, None],
        [SET, "/a", b"", None, None, 0, 0],
        [GET, "/a", None],
        [GET, "/a", None, None, None],
        [SET],
        [GET],
        [],
    ],
    ids=repr,
)
def test_what_is_not_as_it_should_be_is_left_to_who_knows_why(row: list[object]) -> None:
    assert encode_common(row) is None
    with pytest.raises(InvalidRequest):
        encode_op(row)
