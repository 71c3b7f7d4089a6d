"""Claims, fences and mutual exclusion: one good history by hand, and for each promise ones with a single fault."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from coord.api.events import (
    CHANGED,
    CLAIMED,
    CONFIGURED,
    CREATED,
    DELETED,
    FENCED,
    LANES_SET,
    QUEUED,
    RELEASED,
)
from coord.api.ops import (
    Claim,
    ClaimFirst,
    ClaimInfo,
    Claims,
    ClaimSettings,
    Create,
    Delete,
    Fence,
    FencedWrite,
    Lane,
    Release,
    Set,
    SetLanes,
    WatchScope,
)
from coord.api.results import (
    ChildrenFacts,
    ClaimedChild,
    ClaimedFirst,
    ClaimFacts,
    Claiming,
    ClaimPage,
    ClaimRow,
    Created,
    Deleted,
    Released,
    Written,
)
from coord.api.tokens import Token
from coord.jepsen_like.checkers import judge
from coord.jepsen_like.checkers.claims import (
    ANSWERS,
    CAPACITY,
    ENDS,
    FIRST_COME,
    GIVEN_BACK,
    TOKENS,
    WAITING,
)
from coord.jepsen_like.checkers.exclusion import PROMISE as EXCLUSION
from coord.jepsen_like.checkers.exclusion import beliefs
from coord.jepsen_like.checkers.fences import PROMISE as FENCES
from coord.jepsen_like.history import (
    ClaimHeld,
    ClaimOver,
    Committed,
    Operation,
    Record,
    SessionOpened,
    SessionOver,
    SessionProof,
    WatchOpened,
    WatchTold,
    dump,
    load,
)
from tests.jepsen_like.checkers.test_others import MS, did, made

HOUR = 3_600_000 * MS
EXPIRED, FORCED, TRANSFERRED, ZNODE_DELETED = 2, 5, 7, 6


def opened(session: int) -> list[Record]:
    return [
        SessionOpened(session, session, 5_000, 0),
        SessionProof(session, session, session, 0, 5, HOUR),
        WatchOpened(session, session, session, "/", "claims", None, 0, 6, session),
    ]


def told(session: int, revision: int, at: int, *changes: Any) -> WatchTold:
    return WatchTold(session, session, session, revision, changes, at)


def value(token: int) -> bytes:
    return b"%d" % token


NOTHING_ELSE: Any = ((), ("/j",), 1, 0, False, 0, (), ChildrenFacts(0, 0, 0, 0), 8)
A, B, C = b"a", b"b", b"c"
LISTED = (
    ClaimRow(1, "/l", 1, "", Token(1, 5), 1, False, A, 0, 0, 0),
    ClaimRow(2, "/l", 2, "", None, 1, False, B, 0, 0, 0),
    ClaimRow(3, "/l", 3, "", None, 1, False, C, 0, 1, 0),
)
GOOD: list[Record] = [
    *opened(1), *opened(2), *opened(3),
    made(1, (CREATED, "/l", b"", 0, 1, 1, 0), at_ns=10),
    made(2, (CREATED, "/j", b"", 0, 1, 2, 0), at_ns=10),
    made(3, (CONFIGURED, "/l", None, 1, 1, 3, 0), at_ns=10),
    made(4, (FENCED, "/j", b"/l", 0, 1, 4, 0), at_ns=10),
    did(Create("/l"), 1, Created("/l", 1), request=1, called=7, returned=20),
    did(Create("/j"), 2, Created("/j", 2), request=2, called=8, returned=20),
    did(ClaimSettings("/l", 1, 0), 3, request=3, called=9, returned=20),
    did(Fence("/j", "/l"), 4, request=4, called=9, returned=20),
    # 1 holds, 2 and 3 wait.
    made(5, (CLAIMED, "/l", A, 0, 1, 1, 0), at_ns=30),
    told(1, 5, 31, (CLAIMED, "/l", A, 0, 1, 1, 0)),
    did(Claim("/l", label=A), 5, Claiming(1, Token(1, 5), 0, 0, 5), request=5, called=25, returned=32),
    ClaimHeld(1, 1, 1, "/l", 5, 32),
    made(6, (QUEUED, "/l", B, 0, 2, 2, 0), at_ns=40),
    told(2, 6, 41, (QUEUED, "/l", B, 0, 2, 2, 0)),
    did(Claim("/l", True, label=B), 6, Claiming(2, None, 0, 0, 6), session=2, request=1, called=35, returned=42),
    made(7, (QUEUED, "/l", C, 0, 3, 3, 0), at_ns=43),
    told(3, 7, 44, (QUEUED, "/l", C, 0, 3, 3, 0)),
    did(Claim("/l", True, label=C), 7, Claiming(3, None, 1, 0, 7), session=3, request=1, called=35, returned=45),
    # Who holds writes below the fence.
    made(8, (CHANGED, "/j", b"5", 1, 1, 6, 0), at_ns=50),
    did(FencedWrite(((1, 5),), Set("/j", b"5")), 8, Written(1, 8), request=6, called=46, returned=51),
    did(Set("/j", b"x"), 8, session=2, request=2, called=46, returned=52, error="stale_token"),
    did(Claims("/l", WatchScope.ZNODE), 8, ClaimPage(LISTED, False, 1, 8), session=3, called=46, returned=53),
    did(ClaimInfo("/l"), 8, ClaimFacts(1, 0, 0, 1, 2, *NOTHING_ELSE),
        session=3, called=46, returned=54),
    did(Claim("/l", label=b"d"), 8, session=3, request=2, called=46, returned=55, error="claimed"),
    # 1 gives it back, 2 has it; then hands it over to 3.
    ClaimOver(1, 1, 1, "request", 60),
    made(9, (RELEASED, "/l", None, 5, 1, 1, 0), (CLAIMED, "/l", B, 0, 2, 2, 0), at_ns=65),
    told(1, 9, 66, (RELEASED, "/l", None, 5, 1, 1, 0)),
    did(Release(1), 9, Released(5, 9), request=7, called=61, returned=70),
    told(2, 9, 66, (CLAIMED, "/l", B, 0, 2, 2, 0)),
    ClaimHeld(2, 2, 2, "/l", 9, 66),
    did(Release(1), 9, session=3, request=3, called=61, returned=71, error="not_held"),
    ClaimOver(2, 2, 2, "request", 80),
    made(10, (RELEASED, "/l", None, 9, 2, 2, 7), (CLAIMED, "/l", C, 0, 3, 3, 7), at_ns=85),
    told(2, 10, 86, (RELEASED, "/l", None, 9, 2, 2, 7)),
    did(Release(2, to=3), 10, Released(9, 10), session=2, request=3, called=81, returned=90),
    told(3, 10, 86, (CLAIMED, "/l", C, 0, 3, 3, 7)),
    ClaimHeld(3, 3, 3, "/l", 10, 86),
    # A child of /j for whoever comes first; the fence lets in who has the token.
    made(11, (CREATED, "/j/1", b"", 0, 1, 8, 0), at_ns=91),
    did(FencedWrite(((1, 10),), Create("/j/1")), 11, Created("/j/1", 11), request=8, called=91, returned=92),
    made(12, (CLAIMED, "/j/1", b"e", 0, 1, 4, 0), at_ns=93),
    told(1, 12, 94, (CLAIMED, "/j/1", b"e", 0, 1, 4, 0)),
    did(ClaimFirst("/j", label=b"e"), 12, ClaimedFirst(0, (ClaimedChild(4, "1", None, 0),), Token(1, 12), 12),
        request=9, called=92, returned=95),
    ClaimHeld(1, 1, 4, "/j/1", 12, 95),
    made(13, (QUEUED, "/j", b"f", 0, 2, 5, 0), at_ns=96),
    told(2, 13, 97, (QUEUED, "/j", b"f", 0, 2, 5, 0)),
    did(ClaimFirst("/j", wait=True, label=b"f"), 13, ClaimedFirst(5, (), Token(1, 13), 13),
        session=2, request=4, called=92, returned=98),
    # The session of 1 expires, and who waits for any child has it.
    made(14, (RELEASED, "/j/1", None, 12, 1, 4, 2), (CLAIMED, "/j/1", b"f", 1, 2, 5, 0), at_ns=HOUR + 50),
    told(2, 14, HOUR + 51, (CLAIMED, "/j/1", b"f", 1, 2, 5, 0)),
    ClaimHeld(2, 2, 5, "/j/1", 14, HOUR + 51),
    SessionOver(1, 1, "member", HOUR + 52),
    # And goes with its znode.
    made(15, (RELEASED, "/j/1", None, 14, 2, 5, 6), (DELETED, "/j/1", None, 0, 3, 4, 0), at_ns=HOUR + 60),
    told(2, 15, HOUR + 61, (RELEASED, "/j/1", None, 14, 2, 5, 6)),
    ClaimOver(2, 2, 5, "member", HOUR + 61),
    did(FencedWrite(((1, 10),), Delete("/j/1")), 15, Deleted(1, 15), session=3, request=4, called=HOUR + 55,
        returned=HOUR + 62),
]  # fmt: skip


def found(records: list[Record]) -> set[str]:
    return {each.promise for each in judge(records)}


def test_a_good_history_is_good_and_survives_its_file() -> None:
    assert judge(GOOD) == []
    assert load(dump(GOOD)) == GOOD
    assert {each.claim for each in beliefs(GOOD)} == {1, 2, 3, 4}, "and is not empty"


def change(revision: int, *changes: Any) -> Callable[[list[Record]], list[Record]]:
    """The log says otherwise of one revision."""

    def plant(records: list[Record]) -> list[Record]:
        return [
            replace(each, changes=changes)
            if isinstance(each, Committed) and each.revision == revision
            else each
            for each in records
        ]

    return plant


def answer(which: tuple[int, int], **values: Any) -> Callable[[list[Record]], list[Record]]:
    """One operation was answered otherwise."""

    def plant(records: list[Record]) -> list[Record]:
        return [
            replace(each, **values)
            if isinstance(each, Operation) and (each.session, each.request) == which
            else each
            for each in records
        ]

    return plant


def read(op: type[Any], result: Any) -> Callable[[list[Record]], list[Record]]:
    def plant(records: list[Record]) -> list[Record]:
        return [
            replace(each, result=result) if isinstance(each, Operation) and type(each.op) is op else each
            for each in records
        ]

    return plant


def without(*dropped: Record) -> Callable[[list[Record]], list[Record]]:
    return lambda records: [each for each in records if each not in dropped]


def also(*more: Record) -> Callable[[list[Record]], list[Record]]:
    return lambda records: [*records, *more]


def later(kind: type[Any], claim: int, at_ns: int) -> Callable[[list[Record]], list[Record]]:
    def plant(records: list[Record]) -> list[Record]:
        return [
            replace(each, at_ns=at_ns) if type(each) is kind and getattr(each, "claim", 0) == claim else each
            for each in records
        ]

    return plant


def lanes(revision: int, path: str, request: int) -> list[Record]:
    """Session 3 gives ``path`` a lane for one."""
    op = SetLanes(path, (Lane("x", width=1),))
    at = HOUR + 70 + revision
    return [
        made(revision, (LANES_SET, path, None, 1, 3, request, 0), at_ns=at),
        did(op, revision, session=3, request=request, called=at - 1, returned=at + 1),
    ]


RELEASE_1 = (RELEASED, "/l", None, 5, 1, 1, 0)
GRANT_2 = (CLAIMED, "/l", B, 0, 2, 2, 0)
EXPIRY = (RELEASED, "/j/1", None, 12, 1, 4, 2)


@pytest.mark.parametrize(
    ("promise", "plant"),
    [
        # The last in the queue is served first.
        (FIRST_COME, change(9, RELEASE_1, (CLAIMED, "/l", C, 0, 3, 3, 0))),
        # A new claim is granted past those who wait.
        (FIRST_COME, also(made(16, (RELEASED, "/l", None, 10, 3, 3, 0)),
                          made(17, (QUEUED, "/l", b"y", 0, 2, 9, 0)),
                          made(18, (CLAIMED, "/l", b"z", 0, 3, 10, 0)))),
        # Two hold what has room for one.
        (CAPACITY, change(6, (CLAIMED, "/l", B, 0, 2, 2, 0))),
        # Released, and nobody granted.
        (WAITING, change(9, RELEASE_1)),
        # Queued although it is free.
        (WAITING, change(5, (QUEUED, "/l", A, 0, 1, 1, 0))),
        # The expiry of a session leaves a claim of it; a znode's deletion does.
        (ENDS, change(14, (RELEASED, "/l", None, 10, 3, 3, 2), (CREATED, "/x", b"", 0, 1, 99, 2))),
        (ENDS, change(15, (DELETED, "/j/1", None, 0, 3, 4, 0))),
        (ENDS, also(SessionOver(3, 3, "member", HOUR + 70))),
        # Granted to a session that has ended.
        (ENDS, also(made(16, (CLAIMED, "/q", b"z", 0, 1, 9, 0)))),
        # Granted twice; a number used again.
        (TOKENS, also(made(16, (CLAIMED, "/l", C, 0, 3, 3, 0)))),
        (TOKENS, also(made(16, (QUEUED, "/l", C, 0, 3, 1, 0)))),
        # Granted what it did not wait for.
        (ANSWERS, change(10, (RELEASED, "/l", None, 9, 2, 2, 7), (CLAIMED, "/q", C, 0, 3, 3, 7))),
        # The answer is not the log's.
        (ANSWERS, answer((1, 5), result=Claiming(1, Token(1, 4), 0, 0, 5))),
        (ANSWERS, answer((2, 1), result=Claiming(2, Token(1, 6), 0, 0, 6))),
        (ANSWERS, answer((3, 1), result=Claiming(3, None, 0, 0, 7))),
        (ANSWERS, answer((1, 7), result=Released(9, 9))),
        (ANSWERS, answer((1, 9), result=ClaimedFirst(0, (ClaimedChild(7, "1", None, 0),), Token(1, 12), 12))),
        (ANSWERS, answer((3, 3), op=Release(2), session=2)),
        (ANSWERS, answer((1, 7), session=3, request=9)),
        (ANSWERS, read(ClaimInfo, ClaimFacts(1, 0, 0, 2, 2, *NOTHING_ELSE))),
        (ANSWERS, read(Claims, ClaimPage((), False, 1, 8))),
        (ANSWERS, also(did(Claim("/j/2", label=b"d"), 15, session=3, request=9, called=HOUR + 70, error="claimed"))),
        # It was lost, and who gets it next is not told; or told although it was not.
        (ANSWERS, change(14, EXPIRY, (CLAIMED, "/j/1", b"f", 0, 2, 5, 0))),
        (ANSWERS, change(9, RELEASE_1, (CLAIMED, "/l", B, 1, 2, 2, 0))),
        (ANSWERS, read(ClaimInfo, ClaimFacts(1, 0, 0, 1, 2, (), ("/j",), 1, 1, *NOTHING_ELSE[4:]))),
        # Two in a lane for one.
        (CAPACITY, also(*lanes(16, "/l", 5), made(17, (CREATED, "/k", b"", 0, 3, 6, 0)), *lanes(18, "/k", 7),
                        made(19, (CLAIMED, "/k", b"k", 0, 2, 9, 0)))),
        # Nobody waits for its answer, and it stays.
        (GIVEN_BACK, answer((3, 1), outcome="unknown", error="deadline_exceeded", revision=None, returned_ns=None)),
        # Two believe: the one too long; the other too early.
        (EXCLUSION, later(ClaimOver, 1, 67)),
        (EXCLUSION, later(ClaimHeld, 2, 59)),
        # It believes on after it was told; believes what was never granted; with another token; in the end.
        (EXCLUSION, also(ClaimHeld(2, 2, 5, "/j/1", 14, HOUR + 70))),
        (EXCLUSION, also(ClaimHeld(3, 3, 9, "/q", 15, HOUR + 70))),
        (EXCLUSION, change(10, (RELEASED, "/l", None, 9, 2, 2, 7), (CLAIMED, "/l", C, 0, 2, 3, 7))),
        (EXCLUSION, without(ClaimOver(2, 2, 5, "member", HOUR + 61))),
        # A stale token, none, of another; and a current one refused.
        (FENCES, answer((1, 6), op=FencedWrite(((1, 4),), Set("/j", b"5")))),
        (FENCES, answer((1, 6), op=Set("/j", b"5"))),
        (FENCES, answer((3, 4), op=FencedWrite(((1, 9),), Delete("/j/1")))),
        (FENCES, answer((2, 2), op=FencedWrite(((1, 5),), Set("/j", b"x")))),
        (FENCES, also(made(16, (FENCED, "/j", None, 0, 3, 5, 0)),
                      did(Fence("/j", None), 16, session=3, request=5, called=HOUR + 70, returned=HOUR + 71))),
        # A grant is heard late, twice, by another; or not at all.
        ("watches", without(told(1, 5, 31, (CLAIMED, "/l", A, 0, 1, 1, 0)))),
        ("watches", also(told(3, 10, HOUR + 80, (CLAIMED, "/l", C, 0, 3, 3, 7)))),
        ("watches", also(told(3, 14, HOUR + 80, (CLAIMED, "/j/1", b"f", 1, 2, 5, 0)))),
    ],
)  # fmt: skip
def test_one_planted_fault_is_found(promise: str, plant: Callable[[list[Record]], list[Record]]) -> None:
    spoilt = plant(list(GOOD))
    assert spoilt != GOOD
    assert promise in found(spoilt)


def test_a_forced_release_excuses_who_has_not_heard_of_it() -> None:
    """It believes on until it hears; the next holder believes, too; and nobody is to blame."""
    forced = change(9, (RELEASED, "/l", None, 5, 1, 1, FORCED), GRANT_2)(later(ClaimOver, 1, 79)(list(GOOD)))
    assert EXCLUSION not in found(forced)


def test_who_is_not_sure_of_its_session_believes_nothing() -> None:
    """However late its process hears of the end."""
    records = later(ClaimOver, 1, 200)(list(GOOD))
    assert EXCLUSION in found(records)
    sure = replace(GOOD[1], until_ns=60)
    assert EXCLUSION not in found([records[0], sure, *records[2:]])
