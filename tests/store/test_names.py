"""SortedNames against a plain sorted list."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coord.store import names
from coord.store.names import SortedNames

NAMES = st.text("abc", min_size=1, max_size=4)


@pytest.fixture(autouse=True, scope="module")
def _small_buckets() -> object:
    """Buckets of four, so that a few names split and empty them."""
    before, names._BUCKET_MAX = names._BUCKET_MAX, 4
    yield
    names._BUCKET_MAX = before


@given(st.lists(st.tuples(st.booleans(), NAMES), max_size=120), NAMES, st.integers(1, 12))
@settings(max_examples=150, deadline=None)
def test_against_a_sorted_list(steps: list[tuple[bool, str]], after: str, limit: int) -> None:
    found, model = SortedNames(), set[str]()
    for adds, name in steps:
        if adds and name not in model:
            found.add(name)
            model.add(name)
        elif not adds and name in model:
            found.remove(name)
            model.remove(name)
    expected = sorted(model)
    assert list(found) == expected
    assert len(found) == len(expected)
    assert found.after(None, limit) == expected[:limit]
    for start in (after, *expected[:3], *expected[-2:], "", "z"):
        assert found.after(start, limit) == [name for name in expected if name > start][:limit]


def test_names_in_order_and_in_reverse() -> None:
    for order in (range(500), range(499, -1, -1)):
        found = SortedNames()
        for number in order:
            found.add(f"{number:010d}")
        assert list(found) == [f"{number:010d}" for number in range(500)]
        assert max(len(bucket) for bucket in found._buckets) <= 4
        for number in order:
            found.remove(f"{number:010d}")
        assert len(found) == 0
        assert found.after(None, 5) == []


def test_what_is_not_there_cannot_be_removed() -> None:
    found = SortedNames()
    found.add("b")
    for missing in ("a", "c"):
        with pytest.raises(KeyError):
            found.remove(missing)
    assert list(found) == ["b"]
