"""The quick encoding of ops beside the general one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.api.errors import InvalidRequest
from coord.api.ops import DELETE, GET, SET
from coord.client.core.encoding import encode_row
from coord.client.core.request import encode_op
from coord.wire.cbor import loads_exactly
from coord.wire.op_rows import INT_MAX


@given(
    path=st.text(min_size=1, max_size=40),
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
            assert loads_exactly(encode_row(row)) == row
    assert loads_exactly(encode_row([DELETE, path, version, revision, 0])) == [
        DELETE,
        path,
        version,
        revision,
        0,
    ]


def test_a_text_that_is_none_is_refused_also_by_the_quick_encoding() -> None:
    for row in ([SET, "/\ud800", b"", None, None, 0], [GET, "/\ud800", None, None]):
        with pytest.raises(UnicodeEncodeError):
            encode_row(row)
        with pytest.raises(InvalidRequest):
            encode_op(row)
