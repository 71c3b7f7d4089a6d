"""The examples in the docstrings work as they stand there, and every room says what it promises."""

import doctest
import importlib
import pkgutil

import pytest

import coord.recipes.fencing

ROOMS = [
    f"coord.recipes.fencing.{found.name}" for found in pkgutil.iter_modules(coord.recipes.fencing.__path__)
]
MADE_OF = tuple(f"coord.recipes.fencing.{each}" for each in ("durable", "storms", "trial"))
WITHOUT = (
    *MADE_OF,
    "coord.recipes.fencing.conformance",
)  # that one's example needs a guard; test_conformance has them


@pytest.mark.parametrize("room", [each for each in ROOMS if each not in WITHOUT])
def test_examples(room: str) -> None:
    done = doctest.testmod(importlib.import_module(room))
    assert done.attempted > 2
    assert done.failed == 0


@pytest.mark.parametrize("room", ["coord.recipes.fencing", *(each for each in ROOMS if each not in MADE_OF)])
def test_each_says_what_it_promises(room: str) -> None:
    told = importlib.import_module(room).__doc__ or ""
    if room.endswith((".token", ".holds")):
        return  # parts of guards: what they are for stands there, what is promised stands with the guards
    places = [told.find(words) for words in ("guarantee", "What it does not", "What to do about that")]
    if room == "coord.recipes.fencing":
        places[1] = told.find("What they do not")
    assert -1 < places[0] < places[1] < places[2]


def test_all_names_are_there() -> None:
    assert len(coord.recipes.fencing.__all__) == len(set(coord.recipes.fencing.__all__))
    for name in coord.recipes.fencing.__all__:
        assert hasattr(coord.recipes.fencing, name)
