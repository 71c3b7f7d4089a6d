"""Objects: heads, conditions that fail, stores whose tags come back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.client import Conflict, DeadlineExceeded, InvalidRequest
from coord.recipes.fencing import (
    DamagedGuard,
    FileObjects,
    MemoryObjects,
    ObjectGuard,
    Objects,
    StaleToken,
    Stored,
    Token,
    opened,
)
from coord.recipes.fencing.objects import sealed
from tests.recipes.fencing.subjects import S3Like
from tests.recipes.fencing.test_token import tokens

STORES: dict[str, Callable[[Path], Objects]] = {
    "memory": lambda folder: MemoryObjects(),
    "files": lambda folder: FileObjects(folder / "objects"),
    "s3-like": lambda folder: S3Like(),
}
stores = pytest.mark.parametrize("store", STORES)


@given(tokens, st.binary())
def test_heads(token: Token, data: bytes) -> None:
    assert opened(sealed(token, data)) == (data, token)


@given(st.binary())
def test_whatever_was_there_before_is_data_without_a_token(data: bytes) -> None:
    assert opened(data) == (data, None)


@pytest.mark.parametrize(
    "rest", [b"", b"1-7", b"1-7x", b"1-7\n", b"seven\n\n", b"\xff\n\n", b"1-7" + b" " * 80 + b"\n\n"]
)
def test_heads_that_are_damaged(rest: bytes) -> None:
    objects = MemoryObjects()
    objects.put_if_match("a", b"Coord-Fencing-Token: " + rest, None)
    guard = ObjectGuard(objects)
    for call in (
        lambda: guard.put("a", Token(1, 7), b""),
        lambda: guard.get("a"),
        lambda: guard.greatest("a"),
    ):
        with pytest.raises(DamagedGuard, match="says no fencing token"):
            call()


@stores
def test_put_get_update(store: str, tmp_path: Path) -> None:
    guard = ObjectGuard(STORES[store](tmp_path))
    assert (guard.get("a/b"), guard.greatest("a/b")) == (None, None)
    guard.put("a/b", Token(1, 6), b"one")
    assert guard.update("a/b", Token(1, 7), lambda data: (data or b"") + b", two") == b"one, two"
    assert (guard.get("a/b"), guard.greatest("a/b")) == (b"one, two", Token(1, 7))
    assert guard.update("c", Token(1, 7), lambda data: repr(data).encode()) == b"None"
    with pytest.raises(StaleToken):
        guard.update("a/b", Token(1, 6), lambda data: pytest.fail("it must not even be asked"))


@stores
def test_conditions(store: str, tmp_path: Path) -> None:
    objects = STORES[store](tmp_path)
    tag = objects.put_if_match("a", b"1", None)
    with pytest.raises(Conflict):
        objects.put_if_match("a", b"2", None)
    with pytest.raises(Conflict):
        objects.put_if_match("a", b"2", tag + "0")
    with pytest.raises(Conflict):
        objects.put_if_match("b", b"2", tag)
    assert objects.get("a") == Stored(b"1", tag)
    assert objects.get("b") is None
    assert objects.put_if_match("a", b"2", tag) != tag


@stores
def test_an_object_from_before_the_guard_is_taken_over(store: str, tmp_path: Path) -> None:
    objects = STORES[store](tmp_path)
    objects.put_if_match("a", b"plain", None)
    guard = ObjectGuard(objects)
    assert (guard.get("a"), guard.greatest("a")) == (b"plain", None)
    guard.put("a", Token(1, 5), b"guarded")
    assert (guard.get("a"), guard.greatest("a")) == (b"guarded", Token(1, 5))


class Meanwhile:
    """A store where something happens between a guard's get and its put."""

    def __init__(self, objects: Objects, happens: list[Callable[[], Any]]) -> None:
        self.objects = objects
        self.happens = happens

    def get(self, key: str) -> Stored | None:
        stored = self.objects.get(key)
        if self.happens:
            self.happens.pop(0)()
        return stored

    def put_if_match(self, key: str, data: bytes, tag: str | None) -> str:
        return self.objects.put_if_match(key, data, tag)


@stores
def test_a_tag_of_an_older_token_never_comes_back(store: str, tmp_path: Path) -> None:
    """1. The old holder has read A. 2. The new one puts B, then A again. 3. The old one puts: A's digest is back."""
    objects = STORES[store](tmp_path)
    new = ObjectGuard(objects)
    new.put("a", Token(1, 5), b"A")

    def happens() -> None:
        new.put("a", Token(1, 7), b"B")
        new.put("a", Token(1, 7), b"A")

    with pytest.raises(StaleToken):
        ObjectGuard(Meanwhile(objects, [happens])).put("a", Token(1, 5), b"late")
    assert new.get("a") == b"A"


@stores
def test_who_was_not_first_looks_again(store: str, tmp_path: Path) -> None:
    objects = STORES[store](tmp_path)
    other = ObjectGuard(objects)
    happens = [lambda n=n: other.put("a", Token(1, 7), b"%d" % n) for n in range(3)]
    guard = ObjectGuard(Meanwhile(objects, happens))
    assert guard.update("a", Token(1, 7), lambda data: (data or b"") + b"+") == b"2+"


def test_a_put_does_not_go_on_for_ever() -> None:
    objects = MemoryObjects()
    other = ObjectGuard(objects)
    for_ever = [lambda n=n: other.put("a", Token(1, 7), b"%d" % n) for n in range(2)]
    with pytest.raises(DeadlineExceeded, match="nothing was put") as caught:
        ObjectGuard(Meanwhile(objects, for_ever), deadline=0).put("a", Token(1, 7), b"late")
    assert caught.value.outcome == "refused"
    assert other.get("a") == b"0"


def test_failures_of_the_store_come_through() -> None:
    class Down(MemoryObjects):
        def put_if_match(self, key: str, data: bytes, tag: str | None) -> str:
            raise ConnectionResetError("by peer")

    with pytest.raises(ConnectionResetError):
        ObjectGuard(Down()).put("a", Token(1, 7), b"")


def test_arguments_are_checked() -> None:
    guard = ObjectGuard(MemoryObjects())
    with pytest.raises(TypeError):
        guard.put("a", Token(1, 7), "text")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest):
        guard.put("", Token(1, 7), b"")
    with pytest.raises(InvalidRequest):
        guard.put("a", "1-7", b"")  # type: ignore[arg-type]
    assert guard.get("a") is None
