"""What is left: sessions, convergence, availability, durability, causal reads; histories with half a log or none."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from coord.api.events import Change
from coord.api.ops import Create, Delete, Exists, Get, Kind, List, Multi, Op, Set
from coord.api.results import Child, Created, Deleted, Page, Result, Stat, Written, Znode
from coord.jepsen_like.checkers import (
    CHECKS,
    acknowledged,
    availability,
    causal,
    check_file,
    convergence,
    exactly_once,
    judge,
    linearizable,
    sessions,
)
from coord.jepsen_like.history import (
    Committed,
    Digest,
    Fault,
    Note,
    Operation,
    Record,
    Run,
    SessionOpened,
    SessionOver,
    SessionProof,
    WatchTold,
    dump,
)
from tests.jepsen_like.checkers.world import World

MS = 1_000_000


def did(
    op: Op, revision: int | None, result: Result = None, *, session: int = 1, request: int = 0, called: int = 0,
    returned: int | None = None, error: str = "", mode: str = "", at_least: int = 0,
) -> Operation:  # fmt: skip
    """One operation; a write if it has a request's id. Without ``returned`` it takes no time; -1: it never did."""
    ended = called + 1 if returned is None else returned
    is_unknown = ended < 0
    outcome = "unknown" if is_unknown else "refused" if error else "ok"
    return Operation(
        session, session, 1, session, request, op, mode or ("write" if request else "linearizable"), at_least, called,
        None if is_unknown else ended, outcome, error, revision, revision, result,
    )  # fmt: skip


def made(revision: int, *changes: Change, at_ns: int = 0) -> Committed:
    return Committed(revision, revision, changes, at_ns)


def stat(created: int, modified: int, version: int, length: int) -> Stat:
    return Stat(created, modified, created, version, 0, 0, 0, 0, length, 0, Kind.PERSISTENT, 0)


# --- sessions ---

OPENED: list[Record] = [SessionOpened(1, 1, 2_000, 0), SessionProof(1, 1, 1, 0, 5)]
EPHEMERALS: list[Record] = [
    made(1, (1, "/e", b"", 0, 1, 1, 0), at_ns=10),
    made(2, (1, "/f", b"", 0, 1, 2, 0), at_ns=20),
    did(Create("/e", kind=Kind.EPHEMERAL), 1, Created("/e", 1), request=1, called=6, returned=30),
    did(Create("/f", kind=Kind.EPHEMERAL), 2, Created("/f", 2), request=2, called=6, returned=40),
]


def gone(revision: int, *paths: str, at_ms: int, reason: int = 2, session: int = 1) -> Committed:
    return made(revision, *[(3, path, None, 0, session, 0, reason) for path in paths], at_ns=at_ms * MS)


@pytest.mark.parametrize(
    ("is_good", "rest"),
    [
        (True, [gone(3, "/e", "/f", at_ms=2_000), SessionOver(1, 1, "member", 2_001 * MS)]),
        (True, [gone(3, "/e", "/f", at_ms=1_990)]),  # clocks may differ by a little
        (False, [gone(3, "/e", "/f", at_ms=1_500)]),
        (True, [SessionOver(1, 1, "request", 50 * MS), gone(3, "/e", "/f", at_ms=60, reason=1)]),
        (False, [gone(3, "/e", at_ms=2_000), gone(4, "/f", at_ms=2_000)]),
        (False, [gone(3, "/e", at_ms=2_000)]),
        (False, [gone(3, "/e", "/f", at_ms=2_000), made(4, (1, "/g", b"", 0, 1, 3, 0), at_ns=2_001 * MS)]),
        (False, [SessionProof(1, 1, 1, 100 * MS, 120 * MS), gone(3, "/e", "/f", at_ms=2_050)]),
        (False, [gone(3, "/e", "/f", at_ms=2_000), SessionProof(1, 1, 1, 2_100 * MS, 2_200 * MS)]),
        (
            False,
            [
                made(3, (1, "/g", b"", 0, 7, 1, 0)),
                did(Create("/g"), 3, Created("/g", 3), session=7, request=1, called=50, returned=60),
                gone(4, "/e", "/f", "/g", at_ms=2_000),
            ],
        ),
        # Another session has deleted one of them before.
        (
            True,
            [
                made(3, (3, "/e", None, 0, 7, 1, 0)),
                did(Delete("/e"), 3, Deleted(1, 3), session=7, request=1, called=50, returned=60),
                gone(4, "/f", at_ms=2_000),
            ],
        ),
        # The log says that it was asked for, though nobody's record does.
        (True, [gone(3, "/e", "/f", at_ms=60, reason=1), SessionOver(1, 1, "member", 61 * MS)]),
        (False, [gone(3, "/e", "/f", at_ms=60), SessionOver(1, 1, "member", 61 * MS)]),
        # Told that it is over, and it is not, or was not for long enough.
        (False, [SessionOver(1, 1, "member", 2_001 * MS)]),
        (False, [SessionOver(1, 1, "member", 1_000 * MS), gone(3, "/e", "/f", at_ms=2_000)]),
        (False, [SessionOver(1, 1, "member", 2_001 * MS), gone(3, "/e", "/f", at_ms=2_500)]),
        # By the client's own clock it may be over although it goes on.
        (True, [SessionOver(1, 1, "client", 1_980 * MS)]),
        (
            False,
            [
                gone(3, "/e", "/f", at_ms=2_000),
                SessionOver(1, 1, "member", 2_001 * MS),
                did(Exists("/"), 3, None, session=1, request=9, called=2_002 * MS),
            ],
        ),
    ],
)
def test_sessions(is_good: bool, rest: list[Record]) -> None:
    assert (sessions.check([*OPENED, *EPHEMERALS, *rest]) == []) is is_good


def test_a_run_may_allow_for_worse_clocks() -> None:
    early = [*OPENED, *EPHEMERALS, gone(3, "/e", "/f", at_ms=1_500)]
    assert sessions.check(early)
    assert sessions.check([Run("any", 1, 3, {sessions.SLACK_NOTE: 0.3}), *early]) == []
    assert sessions.check([Run("any", 1, 3, {sessions.SLACK_NOTE: 0.2}), *early])


def test_an_early_end_is_seen_without_a_log() -> None:
    told = did(
        Set("/e", b""), 2, None, request=3, called=900 * MS, returned=1_000 * MS, error="session_ended"
    )
    assert sessions.check([*OPENED, told])
    assert sessions.check([*OPENED, SessionOver(1, 1, "request", 10), told]) == []
    assert sessions.check([*OPENED, replace(told, called_ns=2_000 * MS, returned_ns=2_001 * MS)]) == []


# --- convergence, availability, durability, causal reads ---


def test_convergence() -> None:
    same: list[Record] = [Digest(1, 5, "a", 0), Digest(2, 5, "a", 0), Digest(3, 4, "b", 0)]
    rest = Note(0, convergence.QUIESCED, {"members": [1, 2]}, 0)
    assert convergence.check([*same, rest]) == []
    assert convergence.check([*same, Digest(3, 5, "c", 0)])
    assert convergence.check([*same, Digest(3, 5, "c", 0, index=9)]) == []
    assert convergence.check([Digest(1, 5, "a", 0, index=9), Digest(3, 5, "c", 0, index=9)])
    assert convergence.check([*same, replace(rest, facts={"members": [1, 2, 3]})])
    assert convergence.check([*same, replace(rest, facts={"members": [1, 2, 4]})])
    assert convergence.check([*same, did(Set("/a", b""), 6, Written(1, 6), request=1), rest])
    assert convergence.check([made(1, (1, "/a", b"", 0, 1, 1, 0)), made(1, (1, "/b", b"", 0, 1, 1, 0))])
    assert convergence.check([made(1, (1, "/a", b"", 0, 1, 1, 0)), made(1, (1, "/a", b"", 0, 1, 1, 0))]) == []


def _fault(phase: str, at_ms: int, name: str = "partition") -> Fault:
    return Fault(name, phase, (1,), "", at_ms * MS)


def _write(called_ms: int, returned_ms: int) -> Operation:
    return did(Set("/a", b""), 1, Written(1, 1), request=1, called=called_ms * MS, returned=returned_ms * MS)


def test_availability() -> None:
    records: list[Record] = [
        Run("any", 1, 3, {availability.BOUND_NOTE: 500}),
        _write(0, 1), _fault("begin", 10), _write(9, 11), _fault("end", 1_000), _write(20, 1_400), _write(1_400, 1_401),
    ]  # fmt: skip
    assert [each.recovered_ms for each in availability.recoveries(records)] == [1_390, 400]
    assert availability.check(records) == []
    assert availability.check(records, 300)
    assert availability.check(records[:-2], 300) == []  # nobody knows what would have come
    assert availability.check([*records[:-2], _write(20, 9_000)])
    assert (
        availability.check([*records[:-2], Note(0, "the end", {}, 9_000 * MS)]) == []
    )  # nobody asked for anything
    # Another fault was still on; or came again at once.
    both = [records[0], _fault("begin", 5, "kill"), *records[2:5], _write(20, 9_000)]
    assert availability.check(both) == []
    assert availability.check([*records[:-2], _fault("begin", 1_100), _write(20, 9_000)]) == []


def test_acknowledged() -> None:
    log: list[Record] = [made(revision, (2, "/a", b"", revision, 1, revision, 0)) for revision in (1, 2, 3)]
    done: list[Record] = [
        did(Set("/a", b""), revision, Written(revision, revision), request=revision) for revision in (1, 2, 3)
    ]
    assert acknowledged.check([*log, *done]) == []
    assert acknowledged.check([*log[:2], *done])
    assert acknowledged.check([log[0], log[2], done[0]])
    assert acknowledged.check([*log[1:], *done]) == []  # a log that begins late
    assert acknowledged.check([*log, Digest(1, 4, "", 0)])
    assert acknowledged.check(done) == []


def test_exactly_once() -> None:
    one, two = (1, "/a", b"", 0, 1, 1, 0), (1, "/b", b"", 0, 1, 2, 0)
    done = did(Create("/a"), 1, Created("/a", 1), request=1)
    assert exactly_once.check([made(1, one), made(2, two), done]) == []
    assert exactly_once.check([made(1, one), made(2, one), done])
    assert exactly_once.check([made(1, two), made(2, one)])  # not in the order of its ids
    assert exactly_once.check([made(1, one), replace(done, outcome="refused", error="exists")])
    assert exactly_once.check([made(1, two), replace(done, op=Create("/b"))])
    assert exactly_once.check([made(1, (1, "/b", b"", 0, 2, 2, 0)), done])  # the log says another's
    assert exactly_once.check([done, replace(done, op=Create("/b"))])
    reads = did(Multi((), (), ()), 1, None, request=1)
    assert exactly_once.check([made(1, one), reads])


def test_causal() -> None:
    start = [did(Create("/a", b"x"), 1, Created("/a", 1), request=1), made(1, (1, "/a", b"x", 0, 1, 1, 0))]
    old = did(Get("/a"), 1, Znode("/a", b"x", stat(1, 1, 0, 1), 1), mode="at_least", at_least=1, called=10)
    assert causal.check([*start, old]) == []
    assert causal.check([*start, replace(old, at_least=2)])
    local = replace(old, mode="local", at_least=0)
    assert causal.check([*start, local]) == []
    mixed = replace(local, result=Znode("/a", b"y", stat(1, 1, 0, 1), 1))
    assert causal.check([*start, mixed])
    assert linearizable.check([*start, mixed]) == []  # each its own


# --- logs that are not whole ---


def test_without_a_log_what_an_unknown_write_touched_is_not_judged() -> None:
    start = did(Create("/a", b"x"), 1, Created("/a", 1), request=1)
    other = did(Create("/b", b"x"), 2, Created("/b", 2), request=2, called=10)
    unknown = did(Set("/a", b"y"), None, request=3, called=20, returned=-1)
    read = did(Get("/a"), 3, Znode("/a", b"y", stat(1, 3, 1, 1), 3), called=30)
    other_read = did(Get("/b"), 3, Znode("/b", b"x", stat(2, 2, 0, 1), 3), called=30)
    assert linearizable.check([start, other, unknown, read, other_read]) == []
    wrong = replace(other_read, result=Znode("/b", b"?", stat(2, 2, 0, 1), 3))
    assert linearizable.check([start, other, unknown, read, wrong])


def test_a_log_that_begins_late_tells_of_what_is_created_in_it() -> None:
    log: list[Record] = [
        made(501, (1, "/mine", b"", 0, 8, 1, 0)),
        made(502, (1, "/mine/a", b"x", 0, 8, 2, 0)),
        made(503, (2, "/others", b"?", 7, 3, 3, 0)),
        made(504, (2, "/mine/a", b"y", 1, 8, 3, 0)),
    ]
    asked: list[Operation] = [
        did(Create("/mine"), 501, Created("/mine", 501), session=8, request=1),
        did(Create("/mine/a", b"x"), 502, Created("/mine/a", 502), session=8, request=2, called=10),
        did(Set("/mine/a", b"y"), 504, Written(1, 504), session=8, request=3, called=20),
    ]
    read = did(Get("/mine/a"), 504, Znode("/mine/a", b"y", stat(502, 504, 1, 1), 504), called=30)
    alien = did(Get("/others"), 504, Znode("/others", b"?", stat(3, 503, 7, 1), 504), called=30)
    for with_log in (log, []):
        records: list[Record] = [*with_log, *asked, read, alien]
        assert judge(records) == []
        assert linearizable.check(
            [*records, replace(read, result=Znode("/mine/a", b"x", stat(502, 504, 1, 1), 504))]
        )


def test_a_write_that_is_only_in_the_log_is_taken_from_it() -> None:
    """Whose operation is not in the history: nobody knows what kind of znode it made."""
    log: list[Record] = [
        made(1, (1, "/c", b"", 0, 9, 1, 0)),
        made(2, (1, "/c/s0000000000", b"", 0, 9, 2, 0)),
        made(3, (1, "/c/s0000000001", b"", 0, 1, 1, 0)),
        made(4, (3, "/c/s0000000000", None, 0, 1, 2, 0)),
        # It was a container, so it goes with its last child.
        made(5, (3, "/c/s0000000001", None, 0, 1, 3, 0), (3, "/c", None, 0, 1, 3, 4)),
    ]
    asked = [
        did(Create("/c/s", sequential=True), 3, Created("/c/s0000000001", 3), request=1),
        did(Delete("/c/s0000000000"), 4, Deleted(1, 4), request=2, called=10),
        did(Delete("/c/s0000000001"), 5, Deleted(1, 5), request=3, called=20),
    ]
    gone_read = did(Get("/c"), 5, error="not_found", called=30)
    assert linearizable.check([*log, *asked, gone_read]) == []
    assert linearizable.check([*log, *asked, replace(gone_read, revision=4)])


def test_a_page_may_end_early_but_says_so() -> None:
    start = [
        did(Create("/a", b"x"), 1, Created("/a", 1), request=1),
        did(Create("/b", b"y"), 2, Created("/b", 2), request=2, called=10),
    ]
    page = Page((Child("a", b"x", None),), True, 2)
    listed = did(List("/", values=True), 2, page, called=20)
    assert linearizable.check([*start, listed]) == []
    assert linearizable.check([*start, replace(listed, result=replace(page, more=False))])
    assert linearizable.check([*start, replace(listed, result=replace(page, children=()))])


def test_a_file_is_judged(tmp_path: Any) -> None:
    records = World(3).run(100)
    path = tmp_path / "history.jsonl"
    path.write_text("\n".join(dump(records)))
    assert check_file(path) == []
    spoiled = [
        replace(each, digest="?") if type(each) is Digest and each.member == 2 else each for each in records
    ]
    path.write_text("\n".join(dump(spoiled)))
    assert {each.promise for each in check_file(path)} == {"convergence"}
    assert check_file(path, ["watches"]) == []


def test_every_checker_takes_an_empty_history() -> None:
    assert judge([]) == []
    assert judge([Run("none", 1, 1)], reversed(CHECKS)) == []


def test_verdicts_do_not_depend_on_the_order_of_the_log_records() -> None:
    records = World(11).run(300)
    log = [each for each in records if type(each) is Committed]
    rest = [each for each in records if type(each) is not Committed]
    Random(1).shuffle(log)
    assert judge([*rest, *log]) == []


def test_what_was_shown_by_other_ways_may_not_be_missing_from_a_linearizable_read() -> None:
    """A watch's event, or a local read, has shown revision 2; a linearizable read is called after, and shows 1."""
    start: list[Record] = [
        did(Create("/a", b"x"), 1, Created("/a", 1), request=1),
        did(Create("/b", b""), None, request=2, called=5, returned=-1),
        made(1, (1, "/a", b"x", 0, 1, 1, 0)),
        made(2, (1, "/b", b"", 0, 1, 2, 0)),
    ]
    read = did(Get("/a"), 1, Znode("/a", b"x", stat(1, 1, 0, 1), 1), called=30)
    told = WatchTold(2, 2, 1, 2, ((1, "/b", b"", 0, 1, 2, 0),), 20)
    local = did(Exists("/b"), 2, stat(2, 2, 0, 0), called=10, mode="local")
    assert linearizable.check([*start, read]) == []
    assert linearizable.check([*start, told, read])
    assert linearizable.check([*start, local, read])
    assert linearizable.check([*start, replace(told, at_ns=30), replace(local, returned_ns=30), read]) == []
    # Nor may it have been shown before it was called, though nobody ever learned that it was done.
    late = did(Create("/b", b""), None, request=2, called=25, returned=-1)
    assert linearizable.check([start[0], late, *start[2:], told])
    assert linearizable.check([start[0], late, *start[2:]]) == []


def test_a_revision_and_its_log_index_go_together() -> None:
    done = did(Create("/a", b"x"), 1, Created("/a", 1), request=1)
    entry = made(1, (1, "/a", b"x", 0, 1, 1, 0))
    assert linearizable.check([entry, done]) == []
    assert linearizable.check([replace(entry, index=7), done])
    later = did(Set("/a", b"y"), 2, Written(1, 2), request=2, called=10)
    assert linearizable.check([done, later]) == []
    assert linearizable.check([replace(done, index=5), later])


def test_two_writes_cannot_make_one_revision() -> None:
    one, other = (
        did(Create(path), 1, Created(path, 1), session=session, request=1, called=0, returned=10)
        for session, path in ((1, "/a"), (2, "/b"))
    )
    assert linearizable.check([one]) == []
    assert linearizable.check([one, other])


def test_the_answer_to_a_write_is_compared() -> None:
    entry = made(1, (1, "/a", b"x", 0, 1, 1, 0))
    done = did(Create("/a", b"x"), 1, Created("/a", 1), request=1)
    for log in ([entry], []):
        assert linearizable.check([*log, done]) == []
        assert linearizable.check([*log, replace(done, result=Created("/b", 1))])


def test_a_revision_that_the_log_does_not_reach() -> None:
    done = did(Create("/a", b"x"), 1, Created("/a", 1), request=1)
    entry = made(1, (1, "/a", b"x", 0, 1, 1, 0))
    read = did(Get("/a"), 2, Znode("/a", b"x", stat(1, 1, 0, 1), 2), called=10)
    assert linearizable.check([entry, done, replace(read, revision=1)]) == []
    assert linearizable.check([entry, done, read])
    assert linearizable.check([done, read]) == []  # without a log some other write may have made it


@pytest.mark.parametrize(
    "name",
    ["created_revision", "modified_revision", "children_revision", "version", "children_version", "owner",
     "data_length", "child_count", "ttl_ms"],
)  # fmt: skip
def test_each_number_of_a_stat_is_compared(name: str) -> None:
    done = did(Create("/a", b"x"), 1, Created("/a", 1), request=1)
    right = stat(1, 1, 0, 1)
    assert linearizable.check([done, did(Exists("/a"), 1, right, called=10)]) == []
    wrong = right._replace(**{name: getattr(right, name) + 1})
    assert linearizable.check([done, did(Exists("/a"), 1, wrong, called=10)])


@pytest.mark.parametrize(
    "unknown", [Create("/a/s-", sequential=True), Delete("/a", subtree=True), Create("/a/b/c", parents=True)]
)
def test_what_an_unknown_write_may_have_touched_below(unknown: Op) -> None:
    """Without a log: what is there below is not known any more, and what is elsewhere still is."""
    start = [
        did(Create("/a"), 1, Created("/a", 1), request=1),
        did(Create("/a/b"), 2, Created("/a/b", 2), request=2, called=10),
        did(Create("/z", b"z"), 3, Created("/z", 3), request=3, called=20),
        did(unknown, None, request=4, called=30, returned=-1),
    ]
    path = "/a/s-0000000000" if isinstance(unknown, Create) and unknown.sequential else "/a/b"
    if isinstance(unknown, Delete):
        below = did(Exists(path), 4, None, called=40)
    else:
        below = did(Exists(path), 4, stat(4, 4, 0, 0)._replace(child_count=int(path == "/a/b")), called=40)
    elsewhere = did(Get("/z"), 4, Znode("/z", b"z", stat(3, 3, 0, 1), 4), called=40)
    assert linearizable.check([*start, below, elsewhere]) == []
    assert linearizable.check(
        [*start, below, replace(elsewhere, result=Znode("/z", b"?", stat(3, 3, 0, 1), 4))]
    )


def test_an_ephemeral_may_go_unseen() -> None:
    """Without a log: its session may have ended."""
    start = [
        did(Create("/a"), 1, Created("/a", 1), request=1),
        did(Create("/a/e", kind=Kind.EPHEMERAL), 2, Created("/a/e", 2), request=2, called=10),
    ]
    gone_read = did(Get("/a/e"), 3, error="not_found", called=20)
    assert linearizable.check([*start, gone_read]) == []
    assert linearizable.check([*start, replace(gone_read, revision=2)])
