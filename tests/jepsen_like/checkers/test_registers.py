"""Registers with known verdicts, and all small ones by trying everything: the oracle for search and witness."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coord.api.ops import Delete
from coord.api.results import Deleted
from coord.jepsen_like.checkers import linearizable, search
from coord.jepsen_like.checkers.register import Call, step
from tests.jepsen_like.checkers import registers
from tests.jepsen_like.checkers.registers import Line, witnessed
from tests.jepsen_like.checkers.world import World

KNOWN: dict[str, tuple[bool, list[Line]]] = {
    # The two examples of Porcupine's README.
    "porcupine, first": (
        True,
        [Line("write", 100, 0, 100), Line("read", 100, 25, 75), Line("read", 0, 30, 60)],
    ),
    "porcupine, second": (
        False,
        [Line("write", 200, 0, 100), Line("read", 200, 10, 30), Line("read", 0, 40, 90)],
    ),
    # Lamport, On Interprocess Communication (1986): regular is not atomic, it may show a new value before an old one.
    "new-old inversion": (
        False,
        [Line("write", 1, 0, 100), Line("read", 1, 10, 20), Line("read", 0, 30, 40)],
    ),
    "both may be seen while it is written": (
        True,
        [Line("write", 1, 0, 100), Line("read", 0, 10, 20), Line("read", 1, 30, 40)],
    ),
    # Herlihy and Wing, Linearizability (1990), in the manner of its register figure.
    "a write that has returned is seen": (
        True,
        [Line("write", 1, 0, 10), Line("read", 1, 20, 30), Line("write", 2, 15, 40), Line("read", 2, 45, 50)],
    ),
    "a write that has returned must be seen": (False, [Line("write", 1, 0, 10), Line("read", 0, 20, 30)]),
    "overwritten, and seen again": (
        False,
        [
            Line("write", 1, 0, 10), Line("write", 2, 20, 30), Line("read", 2, 40, 50), Line("read", 1, 60, 70),
        ],
    ),
    "overlapping writes, seen in two orders": (
        False,
        [
            Line("write", 1, 0, 50), Line("write", 2, 0, 50), Line("read", 1, 60, 70), Line("read", 2, 80, 90),
        ],
    ),
    "overlapping writes, in either order": (
        True,
        [Line("write", 1, 0, 50), Line("write", 2, 0, 50), Line("read", 1, 60, 70), Line("read", 1, 80, 90)],
    ),
    "pending, and takes effect late": (
        True,
        [Line("write", 1, 0, None), Line("read", 0, 10, 20), Line("read", 1, 30, 40)],
    ),
    "pending, and taken back": (
        False,
        [Line("write", 1, 0, None), Line("read", 1, 10, 20), Line("read", 0, 30, 40)],
    ),
    "seen before it was called": (False, [Line("read", 1, 0, 10), Line("write", 1, 20, None)]),
    "pending, and never seen": (True, [Line("write", 1, 0, None), Line("read", 0, 10, 20)]),
    # Herlihy and Wing: linearizability is local. Sequentially inconsistent as one, each register by itself is wrong.
    "two registers, each stale (store buffering)": (
        False,
        [
            Line("write", 1, 0, 10, "/x"), Line("write", 1, 0, 10, "/y"),
            Line("read", 0, 20, 30, "/x"), Line("read", 0, 20, 30, "/y"),
        ],
    ),
    "two registers that overlap": (
        True,
        [
            Line("write", 1, 0, 25, "/x"), Line("write", 1, 0, 25, "/y"),
            Line("read", 0, 20, 30, "/x"), Line("read", 1, 26, 30, "/y"),
        ],
    ),
    "swapped by two": (
        False,
        [Line("cas", (0, 1, True), 0, 10), Line("cas", (0, 2, True), 5, 15)],
    ),
    "swapped by one of two": (
        True,
        [Line("cas", (0, 1, True), 0, 10), Line("cas", (0, 2, False), 5, 15)],
    ),
    "a swap that failed for no reason": (
        False,
        [Line("cas", (0, 1, False), 0, 10), Line("read", 0, 20, 30)],
    ),
    "a chain of swaps": (
        True,
        [Line("cas", (1, 2, True), 0, 50), Line("cas", (0, 1, True), 0, 50), Line("read", 2, 60, 70)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_known_histories(name: str) -> None:
    verdict, lines = KNOWN[name]
    assert registers.linearizable(lines) is verdict
    assert _search_accepts(lines) is verdict
    assert _some_witness(lines) is verdict


def _search_accepts(lines: list[Line]) -> bool:
    verdicts = {each.verdict for each in search.searches(witnessed(lines)).values()}
    assert "undecided" not in verdicts
    return verdicts <= {"ok"}


def _some_witness(lines: list[Line]) -> bool:
    """Whether there are revisions, and unknown writes that happened or did not, that the witness checker accepts."""
    pending = [place for place, line in enumerate(lines) if line.returned is None]
    for chosen in range(1 << len(pending)):
        happened = [place for number, place in enumerate(pending) if chosen >> number & 1]
        # One that happened is as one that returned at the very end; one that did not is as if it had never been called.
        part = [
            line._replace(returned=1_000) if place in happened else line
            for place, line in enumerate(lines)
            if line.returned is not None or place in happened
        ]
        for order in registers.orders(part):
            if not linearizable.check(witnessed(part, order)):
                return True
    return False


@st.composite
def some_lines(draw: st.DrawFn) -> list[Line]:
    lines = []
    for number in range(draw(st.integers(1, 4))):
        called = draw(st.integers(0, 12))
        returned = called + draw(st.integers(1, 8))
        action = draw(st.sampled_from(("write", "read", "read", "cas")))
        value: object = number + 1
        if action == "read":
            value = draw(st.integers(0, 3))
        elif action == "cas":
            value = (draw(st.integers(0, 3)), number + 1, draw(st.booleans()))
        is_pending = action == "write" and draw(st.integers(0, 3)) == 0
        lines.append(Line(action, value, 2 * called, None if is_pending else 2 * returned))
    return lines


@settings(max_examples=300, deadline=None)
@given(some_lines())
def test_the_search_and_the_witness_agree_with_trying_everything(lines: list[Line]) -> None:
    verdict = registers.linearizable(lines)
    assert _search_accepts(lines) is verdict
    assert _some_witness(lines) is verdict


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 32))
def test_what_the_witness_accepts_the_search_accepts(seed: int) -> None:
    """Also of histories that were spoiled somewhere: what is wrong for the search is wrong for the witness."""
    dice = Random(seed)
    records = World(seed, processes=dice.randint(2, 5), kinds="register").run(250)
    assert not linearizable.check(records)
    assert not search.check(records)
    for _ in range(5):
        spoiled = list(records)
        at, other = (
            dice.choice([p for p, each in enumerate(spoiled) if _is_get(each)] or [0]) for _ in range(2)
        )
        if not at or not other or spoiled[at].op != spoiled[other].op:  # type: ignore[union-attr]
            continue
        one, two = spoiled[at], spoiled[other]
        spoiled[at] = replace(one, result=two.result, revision=two.revision, index=two.index)  # type: ignore
        if any(each.promise == "search" for each in search.check(spoiled)):
            assert linearizable.check(spoiled)


def _is_get(each: object) -> bool:
    return getattr(each, "mode", "") == "linearizable" and getattr(each, "outcome", "") == "ok"


def test_an_exhausted_budget_is_said() -> None:
    lines = [Line("write", number, 0, 1000) for number in range(12)]
    lines += [Line("read", 5, 2000, 2001), Line("read", 6, 3000, 3001)]
    (found,) = search.check(witnessed(lines), budget=3_000)
    assert found.promise == search.UNDECIDED


def test_one_bad_register_is_found_beside_one_that_explodes() -> None:
    hard = [Line("write", number, 0, 1000, "/hard") for number in range(14)]
    hard += [Line("read", 5, 2000, 2001, "/hard"), Line("read", 6, 3000, 3001, "/hard")]
    bad = [Line("write", 1, 0, 10, "/bad"), Line("read", 0, 20, 30, "/bad")]
    found = search.check(witnessed([*hard, *bad]), budget=20_000)
    assert sorted(each.promise for each in found) == [search.PROMISE, search.UNDECIDED]


@pytest.mark.parametrize(("there", "count"), [(True, 1), (False, 0)])
def test_what_may_be_missing_is_deleted_if_it_is_there(there: bool, count: int) -> None:
    state = (b"1", 0, 3) if there else None
    call = Call(Delete("/x", missing_ok=True), True, "", Deleted(count, 5), -1)
    assert step(state, call, frozenset()) == (True, None)
    assert not step(state, call._replace(result=Deleted(1 - count, 5)), frozenset())[0]
