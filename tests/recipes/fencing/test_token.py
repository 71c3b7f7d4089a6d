"""Tokens: their order, their texts, and what is said of wrong ones."""

import pickle
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.api.tokens import NUMBER_MAX
from coord.client import CoordError, InvalidRequest
from coord.recipes.fencing import StaleToken, Token
from coord.recipes.fencing.token import NAME_CHARACTERS_MAX, admit, check_name, checked

numbers = st.integers(1, NUMBER_MAX)
tokens = st.builds(Token, numbers, numbers)


@given(tokens, tokens)
def test_order_and_texts(one: Token, other: Token) -> None:
    pairs = (one.incarnation, one.revision), (other.incarnation, other.revision)
    assert (one < other) == (pairs[0] < pairs[1])
    assert (one == other) == (pairs[0] == pairs[1])
    assert (one.sortable() < other.sortable()) == (one < other)
    assert len(one.sortable()) == 39
    assert Token.parse(str(one)) == Token.parse(one.sortable()) == one
    assert hash(Token.parse(str(one))) == hash(one)


@given(st.from_regex(r"[0-9]{1,20}-[0-9]{1,20}") | st.text())
def test_any_text_is_a_token_or_refused(text: str) -> None:
    try:
        token = Token.parse(text)
    except InvalidRequest:
        return
    assert [int(number) for number in text.split("-")] == [token.incarnation, token.revision]


WRONG = [
    "",
    "1",
    "1-",
    "-1",
    "1-2-3",
    " 1-2",
    "1-2\n",
    "0-1",
    "1-0",
    "1_0-2",
    "+1-2",
    "1.0-2",
    "\u0661-\u0662",
]


@pytest.mark.parametrize("text", [*WRONG, f"1-{NUMBER_MAX + 1}", "1" * 20 + "-1"])
def test_texts_that_are_none(text: str) -> None:
    with pytest.raises(InvalidRequest):
        Token.parse(text)


@pytest.mark.parametrize(
    "numbers", [(0, 1), (1, 0), (1, -1), (True, 1), (1, 1.0), ("1", 1), (1, NUMBER_MAX + 1)]
)
def test_numbers_that_are_none(numbers: tuple[int, int]) -> None:
    with pytest.raises(InvalidRequest, match=r"a token's (incarnation|revision) is a whole number from 1"):
        Token(*numbers)


def test_a_token_is_not_compared_with_a_number() -> None:
    with pytest.raises(TypeError):
        _ = Token(1, 4711) < 4711  # type: ignore[operator]


def test_a_grants_token_will_do() -> None:
    @dataclass
    class FromTheService:
        incarnation: int
        revision: int

    assert checked(FromTheService(1, 7)) == Token(1, 7)
    assert checked(Token(1, 7)) == Token(1, 7)
    for wrong in ("1-7", 7, None, (1, 7)):
        with pytest.raises(InvalidRequest, match=r"a token is a Token\(incarnation, revision\)"):
            checked(wrong)  # type: ignore[arg-type]


def test_what_a_guard_decides() -> None:
    assert admit("a", Token(1, 7), None)
    assert admit("a", Token(1, 7), Token(1, 6))
    assert not admit("a", Token(1, 7), Token(1, 7))
    with pytest.raises(StaleToken) as caught:
        admit("a", Token(1, 7), Token(2, 1))
    error = caught.value
    assert (error.name, error.presented, error.greatest) == ("a", Token(1, 7), Token(2, 1))
    assert (error.outcome, error.code, error.slug) == ("refused", 18, "stale_token")
    assert error.details == {"name": "a", "presented": "1-7", "greatest": "2-1"}
    assert isinstance(error, CoordError)


def test_a_refusal_crosses_process_pools() -> None:
    error = pickle.loads(pickle.dumps(StaleToken("a", Token(1, 5), Token(1, 7))))
    assert (type(error), error.name, error.presented, error.greatest) == (
        StaleToken,
        "a",
        Token(1, 5),
        Token(1, 7),
    )
    assert error.details["greatest"] == "1-7"


@pytest.mark.parametrize("name", ["", "a\0b", "a" * (NAME_CHARACTERS_MAX + 1), "\ud800", b"a", None])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(InvalidRequest, match="a guarded thing's name"):
        check_name(name)
