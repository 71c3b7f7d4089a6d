"""What a watch may be told and what not, each as the smallest history that shows it: six revisions, one watch."""

from collections.abc import Sequence

import pytest

from coord.api.events import Change
from coord.api.ops import Get, Set
from coord.api.results import Written
from coord.jepsen_like.checkers import watches
from coord.jepsen_like.history import Committed, Operation, Record, WatchOpened, WatchOver, WatchTold

A, B = "/t/a", "/t/b"
LOG: dict[int, tuple[Change, ...]] = {
    1: ((1, "/t", b"", 0, 1, 1, 0),),
    2: ((1, A, b"", 0, 1, 2, 0),),
    3: ((1, B, b"", 0, 1, 3, 0),),
    4: ((2, A, b"x", 1, 1, 4, 0), (2, B, b"y", 1, 1, 4, 0), (1, f"{A}/c", b"", 0, 1, 4, 0)),
    5: ((2, B, b"z", 2, 1, 5, 0),),
    6: ((2, A, b"w", 2, 1, 6, 0),),
}


def log() -> list[Record]:
    return [Committed(revision, revision, changes, 0) for revision, changes in LOG.items()]


def opened(
    from_revision: int | None, revision: int, connection: int = 1, path: str = "/t", at_ns: int = 0
) -> Record:
    return WatchOpened(1, connection, 1, path, "children", from_revision, revision, at_ns)


def told(revision: int, changes: Sequence[Change] | None = None, connection: int = 1) -> Record:
    wanted = [each for each in LOG[revision] if each[1].count("/") == 2] if changes is None else changes
    return WatchTold(1, connection, 1, revision, tuple(wanted), 0)


def over(error: str = "", first_revision: int = 0, connection: int = 1) -> Record:
    return WatchOver(1, connection, 1, error, first_revision, 0)


def reply(revision: int, outcome: str = "ok", error: str = "", connection: int = 1) -> Record:
    return Operation(
        1, connection, 1, 1, 0, Get("/nothing"), "local", 0, 0, 1, outcome, error, revision, revision, None
    )


GOOD: dict[str, list[Record]] = {
    "from now on": [opened(None, 2), told(3), told(4), told(5), told(6)],
    "from a revision": [opened(3, 2), told(3), told(4)],
    "from a revision that is still to come": [opened(9, 8)],
    "the store's revision at the opening says nothing, if one was asked for": [opened(3, 6), told(3)],
    "on another connection": [opened(3, 2), told(3), opened(4, 3, 2), told(4, connection=2)],
    "a reply moved the point": [
        opened(None, 1, path="/t/a"), reply(3), opened(4, 3, 2, path="/t/a"),
        told(4, LOG[4][2:], connection=2),
    ],
    "a reply after its events": [opened(3, 2), told(3), reply(3), told(4), reply(4)],
    "a reply on the former connection": [opened(3, 2), opened(3, 2, 2), reply(6), told(3, connection=2)],
    "a reply on another connection": [opened(3, 2), reply(6, connection=2), told(3)],
    "a gap that is told": [opened(3, 2), told(3), over("gap", 6), opened(6, 5), told(6)],
    "given up, and a reply": [opened(3, 2), told(3), over(), reply(6)],
    "closed because it was full, and opened again": [opened(3, 2), told(3), over(), reply(6), opened(4, 3), told(4)],
    "the library keeps the request to itself": [
        opened(3, 2), told(3, [(*LOG[3][0][:5], 0, LOG[3][0][6])]),
    ],
}  # fmt: skip

BAD: dict[str, list[Record]] = {
    "one left out": [opened(3, 2), told(3), told(5)],
    "the first left out": [opened(3, 2), told(4)],
    "twice": [opened(3, 2), told(3), told(3)],
    "backwards": [opened(3, 2), told(4), told(3)],
    "before its opening": [opened(4, 3), told(3)],
    "half of a revision": [opened(4, 3), told(4, LOG[4][:1])],
    "not in the order of its making": [opened(4, 3), told(4, LOG[4][1::-1])],
    "of what it is not about": [opened(4, 3), told(4, LOG[4])],
    "another value": [opened(3, 2), told(3, [(1, B, b"?", 0, 1, 3, 0)])],
    "another reason": [opened(3, 2), told(3, [(1, B, b"", 0, 1, 3, 3)])],
    "another's doing": [opened(3, 2), told(3, [(1, B, b"", 0, 1, 2, 0)])],
    "nothing": [opened(3, 2), told(3, [])],
    "of a revision that never was": [opened(6, 5), told(6), WatchTold(1, 1, 1, 7, LOG[6], 0)],
    "again on another connection": [opened(3, 2), told(3), opened(3, 2, 2), told(3, connection=2)],
    "goes on too far": [opened(3, 2), told(3), opened(5, 4, 2), told(5, connection=2)],
    "goes on from now": [opened(3, 2), told(3), opened(None, 6, 2)],
    "on a connection where it is not open": [opened(3, 2), told(3, connection=2)],
    "on the former connection": [opened(3, 2), opened(3, 2, 2), told(3, connection=1)],
    "after it was over": [opened(3, 2), over(), told(3)],
    "a gap that is none": [opened(3, 2), told(3), over("gap", 4)],
    "a gap, silently": [opened(3, 2), told(3), over(), opened(6, 5), told(6)],
    "a reply before its events": [opened(3, 2), reply(3), told(3)],
    "a refusal before the events of its revision": [opened(3, 2), reply(3, "refused", "not_found"), told(3)],
    "a reply, and then no events at all": [opened(3, 2), told(3), reply(4)],
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_good(name: str) -> None:
    assert watches.check([*log(), *GOOD[name]]) == []
    assert watches.check([*GOOD[name], *log()]) == []
    assert watches.check(GOOD[name]) == []


@pytest.mark.parametrize("name", BAD)
def test_bad(name: str) -> None:
    assert watches.check([*log(), *BAD[name]])


def _write(revision: int, path: str, called_ns: int) -> Record:
    return Operation(
        2, 9, 1, 1, revision, Set(path, b""), "write", 0, called_ns, called_ns + 5, "ok", "", revision, revision,
        Written(1, revision),
    )  # fmt: skip


@pytest.mark.parametrize(
    "name", ["one left out", "goes on too far", "half of a revision", "a reply before its events"]
)
def test_without_a_log_the_acknowledged_writes_are_evidence(name: str) -> None:
    writes = [_write(revision, LOG[revision][0][1], 0) for revision in (2, 3, 4, 5, 6)]
    spoiled = BAD[name]
    if name == "half of a revision":
        spoiled = [opened(4, 3), told(4, LOG[4][1:2])]
    assert watches.check([*writes, *spoiled])
    assert watches.check([*writes, *GOOD["from now on"]]) == []


def test_two_watches_that_are_told_different_things() -> None:
    other: list[Record] = [
        WatchOpened(2, 2, 2, "/t", "children", 3, 2, 0),
        WatchTold(2, 2, 2, 3, ((1, B, b"?", 0, 1, 3, 0),), 0),
    ]
    assert watches.check([opened(3, 2), told(3), *other])


def test_a_watch_from_now_on_does_not_begin_in_the_future() -> None:
    late = _write(6, A, 100)
    assert watches.check([*log(), opened(None, 6, at_ns=50), late])
    assert watches.check([*log(), opened(None, 5, at_ns=50), late]) == []
    assert watches.check([*log(), opened(None, 6, at_ns=150), late]) == []
