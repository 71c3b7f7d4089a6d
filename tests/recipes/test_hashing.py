"""Rendezvous hashing: the same everywhere, few keys move, shares are fair."""

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.client import InvalidRequest
from coord.recipes.hashing import owner, ranked, score, spread

NAMES = st.lists(st.text(max_size=5), min_size=1, max_size=8, unique=True)
KEYS = st.lists(st.text(max_size=5), max_size=40, unique=True)


def test_the_weights_are_part_of_what_is_promised() -> None:
    """Other versions, and other languages, have to come to the same."""
    assert score("user-17", "a") == 3174148708291962086
    assert score("", "") == 5657698912149702814


def test_another_process_comes_to_the_same() -> None:
    code = (
        "from coord.recipes.hashing import owner; print([owner(str(n), ['x', 'y', 'z']) for n in range(50)])"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1


@given(st.text(), NAMES)
def test_the_order_of_members_does_not_matter(key: str, names: list[str]) -> None:
    assert ranked(key, names) == ranked(key, reversed(names)) == ranked(key, [*names, *names])
    assert owner(key, names) == ranked(key, names)[0]
    assert sorted(ranked(key, names)) == sorted(names)


@given(KEYS, NAMES, st.text(max_size=5))
def test_only_the_keys_of_who_comes_or_goes_move(keys: list[str], names: list[str], other: str) -> None:
    without = [name for name in names if name != other]
    for key in keys if without else []:
        before, after = owner(key, without), owner(key, [*without, other])
        assert after in (before, other)
        assert ranked(key, without) == [name for name in ranked(key, [*without, other]) if name != other]


def test_shares_are_even() -> None:
    members = [f"m{number}" for number in range(10)]
    shares = Counter(owner(str(key), members) for key in range(10_000))
    assert all(900 < shares[member] < 1_100 for member in members)


@given(KEYS, NAMES)
def test_a_spread_is_fair_and_whole(keys: list[str], names: list[str]) -> None:
    shares = spread(keys, names)
    assert sorted(shares) == sorted(names)
    assert sorted(key for share in shares.values() for key in share) == sorted(keys)
    sizes = [len(share) for share in shares.values()]
    assert max(sizes) - min(sizes) <= 1
    assert shares == spread(reversed(keys), reversed(names))


def test_a_spread_moves_little() -> None:
    keys = [str(number) for number in range(400)]
    members = [f"m{number}" for number in range(10)]
    before = {key: name for name, share in spread(keys, members).items() for key in share}
    after = {key: name for name, share in spread(keys, members[:-1]).items() for key in share}
    assert sum(before[key] != after[key] for key in keys) < 400 * 0.2  # a tenth must


def test_nobody() -> None:
    for wrong in (owner, ranked):
        with pytest.raises(InvalidRequest, match="several names"):
            wrong("k", "abc")
    with pytest.raises(InvalidRequest, match="no member"):
        owner("k", [])
    with pytest.raises(InvalidRequest, match="no member"):
        spread(["k"], [])
    assert ranked("k", []) == []


def test_keys_are_text() -> None:
    for wrong in (17, None, b"k"):
        with pytest.raises(InvalidRequest, match="a key is text"):
            owner(wrong, ["a"])  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest, match="a key is text"):
            ranked(wrong, ["a"])  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest, match="a key is text"):
            spread([wrong], ["a"])  # type: ignore[list-item]
