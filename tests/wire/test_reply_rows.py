"""The quick encoder of replies says what the library would say, only not in shortest form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.wire.cbor import dumps, loads_exactly
from coord.wire.reply_rows import encode_reply_rows

numbers = st.integers(0, 2**63 - 1)
stats = st.tuples(*[numbers] * 12)
results = st.one_of(
    st.none(),
    numbers,
    st.booleans(),
    st.integers(-(2**63), -1),
    st.text(max_size=5),
    st.tuples(st.binary(max_size=300), stats),
    st.tuples(st.binary(max_size=3), stats).map(list),
    st.tuples(st.binary(max_size=3), st.lists(numbers, max_size=13)),
    st.tuples(st.lists(st.tuples(st.text(max_size=3), st.none(), st.none()), max_size=3), st.booleans()),
    st.tuples(st.booleans(), st.lists(numbers, max_size=3)),
    stats,
)
done = st.tuples(numbers, st.just(0), numbers, numbers, results)
refused = st.tuples(
    numbers, st.integers(1, 60), numbers, numbers, st.text(max_size=9), st.dictionaries(st.text(), numbers)
)


@given(st.lists(st.one_of(done, refused), max_size=30))
def test_it_says_what_the_library_says(rows: list[tuple[object, ...]]) -> None:
    assert loads_exactly(encode_reply_rows(rows)) == loads_exactly(dumps(rows))


@pytest.mark.parametrize("count", [0, 23, 24, 255, 256, 65_535, 65_536])
def test_any_number_of_rows(count: int) -> None:
    assert len(loads_exactly(encode_reply_rows([(1, 0, 1, 1, 5)] * count))) == count


@pytest.mark.parametrize("size", [0, 23, 24, 255, 256, 65_535, 65_536])
def test_any_length_of_a_value(size: int) -> None:
    row = (1, 0, 1, 1, (b"v" * size, (0,) * 12))
    assert loads_exactly(encode_reply_rows([row])) == loads_exactly(dumps([row]))
