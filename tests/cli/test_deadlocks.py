"""Who waits for whom, from listings of claims: by hand, and beside a search that tries every path."""

from hypothesis import given
from hypothesis import strategies as st

from coord.api.results import ClaimRow
from coord.api.tokens import Token
from coord.cli.deadlocks import Wait, cycles, still_there, waits


def claim(
    number: int, path: str, session: int, before: int | None = None, *, shared: bool = False
) -> ClaimRow:
    """A claim: held, or with so many ``before`` it in line."""
    token = Token(1, number) if before is None else None
    return ClaimRow(number, path, session, f"c{session}", token, 1, shared, b"", 0, before or 0, 0)


def told(all_waits: list[Wait]) -> list[tuple[int, int]]:
    return [(wait.waiter.number, wait.blocker.number) for wait in all_waits]


def test_the_first_in_line_waits_for_the_holder_and_each_other_for_the_one_before() -> None:
    rows = [claim(1, "/a", 1), claim(2, "/a", 2, 0), claim(3, "/a", 3, 1), claim(4, "/b", 3)]
    assert told(waits(rows)) == [(2, 1), (3, 2)]
    assert cycles(waits(rows)) == []


def test_two_that_wait_for_each_other() -> None:
    rows = [claim(1, "/a", 1), claim(2, "/b", 2), claim(3, "/b", 1, 0), claim(4, "/a", 2, 0)]
    [circle] = cycles(waits(rows))
    assert told(circle) == [(3, 2), (4, 1)]
    assert still_there([circle], rows) == [circle]
    assert still_there([circle], rows[:3]) == []
    assert still_there([circle], [*rows[:3], claim(4, "/a", 2)]) == []  # granted meanwhile


def test_one_who_only_waits_in_line_can_be_part_of_a_circle() -> None:
    """3 waits behind 2 for /a; 2 waits for /b, which 3 holds: nobody passes 2, so 3 waits for it."""
    rows = [
        claim(1, "/a", 1),
        claim(2, "/b", 3),
        claim(3, "/a", 2, 0),
        claim(4, "/a", 3, 1),
        claim(5, "/b", 2, 0),
    ]
    assert [told(circle) for circle in cycles(waits(rows))] == [[(5, 2), (4, 3)]]


def test_readers_do_not_wait_for_readers() -> None:
    rows = [claim(1, "/a", 1, shared=True), claim(2, "/a", 2, 0, shared=True), claim(3, "/b", 2)]
    assert waits([*rows, claim(4, "/b", 1, 0)])[0].waiter.number == 4
    assert cycles(waits([*rows, claim(4, "/b", 1, 0)])) == []
    writer = claim(2, "/a", 2, 0)
    assert len(cycles(waits([rows[0], writer, rows[2], claim(4, "/b", 1, 0)]))) == 1


def test_tasks_of_one_session_take_turns() -> None:
    rows = [claim(1, "/a", 1), claim(2, "/a", 1, 0)]
    assert waits(rows) == []


def test_who_waits_for_a_circle_is_not_in_it() -> None:
    rows = [
        claim(1, "/a", 1),
        claim(2, "/b", 2),
        claim(3, "/b", 1, 0),
        claim(4, "/a", 2, 0),
        claim(5, "/a", 9, 1),
    ]
    [circle] = cycles(waits(rows))
    assert {wait.waiter.session for wait in circle} == {1, 2}


sessions = st.integers(1, 6)


@given(st.lists(st.tuples(sessions, sessions), max_size=14))
def test_a_circle_is_found_if_and_only_if_there_is_one(edges: list[tuple[int, int]]) -> None:
    found = cycles(
        [
            Wait(claim(number, f"/{number}", waiter, 0), claim(100 + number, f"/{number}", blocker))
            for number, (waiter, blocker) in enumerate(edges)
            if waiter != blocker
        ]
    )
    for circle in found:
        for one, following in zip(circle, [*circle[1:], circle[0]], strict=True):
            assert one.blocker.session == following.waiter.session
            assert (one.waiter.session, one.blocker.session) in edges
    in_circles = [wait.waiter.session for circle in found for wait in circle]
    assert len(set(in_circles)) == len(in_circles)

    reached = {session: {b for a, b in edges if a == session and a != b} for session in range(1, 7)}
    for _ in range(6):
        for session in reached:
            reached[session] |= {far for near in set(reached[session]) for far in reached[near]}
    assert bool(found) == any(session in reached[session] for session in reached)
