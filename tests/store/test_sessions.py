"""Sessions: their ends, exactly-once, the revision rule, and what goes with a session."""

import time

import pytest

from coord.api.commands import END_SESSION, EXPIRE_SESSIONS, OPEN_SESSION, REQUESTS
from coord.api.errors import OK, Conflict, LimitExceeded, ReplyForgotten, SessionEnded
from coord.api.events import Reason
from coord.api.ops import SESSIONS, Compare, Create, Delete, Get, Kind, Multi, Operator, Set, Target
from coord.limits import MemberLimits, StoreLimits
from tests.store.machine import Machine, picture, plain, reloaded


@pytest.fixture
def machine() -> Machine:
    return Machine()


# --- life and end ----------------------------------------------------------------------------------------------------


def test_open_grants_a_timeout_within_the_limits() -> None:
    machine = Machine(StoreLimits(session_timeout_min_ms=100, session_timeout_max_ms=200))
    assert [machine.open_reply(wanted)[4] for wanted in (1, 100, 150, 200, 10**9)] == [
        100,
        100,
        150,
        200,
        200,
    ]


def test_opening_is_not_a_revision_and_ids_are_never_used_again(machine: Machine) -> None:
    first = machine.open()
    machine.end(first)
    assert machine.open() == first + 1
    assert machine.store.revision == 0
    assert machine.store.session_was(first)
    assert not machine.store.session_was(first + 2)
    assert not machine.store.session_was(0)


@pytest.mark.parametrize("expires", [True, False])
def test_the_end_of_a_session_is_one_revision(machine: Machine, expires: bool) -> None:
    other = machine.open()
    for path in ("/e2", "/e1", "/e3"):
        machine.do(Create(path, path.encode(), kind=Kind.EPHEMERAL), other)
    machine.do(Create("/mine", kind=Kind.EPHEMERAL))
    revision = machine.store.revision
    if expires:
        machine.expire(other)
    else:
        machine.end(other)
    assert machine.paths() == ["/", "/mine"]
    assert machine.store.revision == revision + 1
    reason = Reason.SESSION_EXPIRED if expires else Reason.SESSION_ENDED
    changes = machine.changes()[-1][3]
    assert [(change[1], change[4], change[5], change[6]) for change in changes] == [
        (path, other, 0, reason) for path in ("/e1", "/e2", "/e3")
    ]
    assert machine.store.take_ended() == [(other, reason)]
    assert machine.store.take_ended() == []


def test_an_end_without_ephemerals_makes_no_revision(machine: Machine) -> None:
    other = machine.open()
    machine.do(Create("/p"), other)
    machine.expire(other)
    assert machine.store.revision == 1
    assert machine.paths() == ["/", "/p"]


def test_each_of_several_ends_is_a_revision(machine: Machine) -> None:
    sessions = [machine.open() for _ in range(3)]
    for session in sessions:
        machine.do(Create(f"/e{session}", kind=Kind.EPHEMERAL), session)
    machine.expire(*sessions, 999)
    assert machine.store.revision == 6
    assert len(machine.changes()) == 6


def test_ending_twice_is_as_good_as_once(machine: Machine) -> None:
    other = machine.open()
    for _ in range(2):
        (answer,) = machine.apply((END_SESSION, other, 5))
        assert answer is not None
        assert answer[:2] == (5, OK)
    assert len(machine.store.take_ended()) == 1


def test_requests_of_an_ended_session_are_refused_and_do_nothing(machine: Machine) -> None:
    other = machine.open()
    machine.expire(other)
    for op in (Create("/late"), Create("/e", kind=Kind.EPHEMERAL), Multi(then=(Create("/m"),))):
        assert isinstance(machine.refused(op, other), SessionEnded)
    assert isinstance(machine.refused(Create("/x"), 12345), SessionEnded)


def test_a_late_write_in_the_very_entry_of_the_end(machine: Machine) -> None:
    """Expiry and write share an entry, in this order: the write comes too late, and an ephemeral would stay forever."""
    other = machine.open()
    row = Create("/e", kind=Kind.EPHEMERAL).row()
    answers = machine.apply((EXPIRE_SESSIONS, [other]), (REQUESTS, other, 0, [[1, row]]))
    assert answers[1][0][1] == SessionEnded.code  # type: ignore[index]
    assert machine.paths() == ["/"]
    answers = machine.apply((REQUESTS, machine.session, 0, [[1, row]]), (EXPIRE_SESSIONS, [machine.session]))
    assert answers[0][0][1] == OK  # type: ignore[index]
    assert machine.paths() == ["/"]
    picture(machine.store)


def test_sessions_are_listed(machine: Machine) -> None:
    other = machine.open(9_000)
    for number in range(25):
        machine.do(Create(f"/e{number:02}", kind=Kind.EPHEMERAL), other)
    page, more = machine.store.read([SESSIONS, None, 1], machine.member_limits)
    assert ([row[0] for row in page], more) == ([machine.session], True)
    page, more = machine.store.read([SESSIONS, machine.session, 10], machine.member_limits)
    paths = [f"/e{number:02}" for number in range(20)]
    assert page == [(other, 9_000, "", "me", machine.wall_ms, paths, 25)]
    assert not more
    page, more = machine.store.read([SESSIONS, None, 10], MemberLimits(list_page_bytes=150))
    assert ([row[0] for row in page], more) == ([machine.session], True)


def test_sessions_are_bounded() -> None:
    machine = Machine(StoreLimits(sessions=2))
    machine.open()
    reply = machine.open_reply()
    assert (reply[1], reply[5]["limit"]) == (LimitExceeded.code, "sessions")
    machine.end(machine.session)
    machine.open()


# --- exactly once ----------------------------------------------------------------------------------------------------


def test_a_retry_gets_the_first_answer_and_changes_nothing(machine: Machine) -> None:
    ops = [(1, Create("/a", b"x")), (2, Set("/a", b"y")), (3, Create("/q/n", sequential=True, parents=True))]
    first = machine.requests(ops)
    machine.requests([(4, Set("/a", b"z"))])
    before = picture(machine.store)
    assert machine.requests(ops) == first
    after = picture(machine.store)
    after["applied_index"] = before["applied_index"]
    assert after == before


def test_a_retry_of_a_refusal_is_refused_alike(machine: Machine) -> None:
    """Though it would succeed by now: the client may have acted on the refusal."""
    (first,) = machine.requests([(1, Set("/a", b"x", version=0, create=True))])
    assert first[1] == Conflict.code
    machine.requests([(2, Create("/a"))])
    (again,) = machine.requests([(1, Set("/a", b"x", version=0, create=True))])
    assert again == first


def test_a_retry_within_one_entry(machine: Machine) -> None:
    frame = (REQUESTS, machine.session, 0, [[1, Create("/q-", sequential=True).row()]])
    answers = machine.apply(frame, frame, frame)
    assert answers[0] == answers[1] == answers[2]
    assert machine.paths() == ["/", "/q-0000000000"]


def test_the_same_ids_of_two_sessions_are_two_requests(machine: Machine) -> None:
    other = machine.open()
    machine.requests([(1, Create("/a"))])
    (reply,) = machine.requests([(1, Create("/b"))], other)
    assert reply[1] == OK
    assert machine.paths() == ["/", "/a", "/b"]


def test_a_confirmed_request_is_forgotten_not_run_again(machine: Machine) -> None:
    machine.requests([(1, Create("/q-", sequential=True)), (2, Create("/r-", sequential=True))])
    machine.requests([(3, Create("/s-", sequential=True))], confirmed=1)
    replies = machine.requests([(1, Create("/q-", sequential=True)), (2, Create("/r-", sequential=True))])
    assert [reply[1] for reply in replies] == [ReplyForgotten.code, OK]
    assert machine.store.revision == 3
    assert list(machine.store.sessions[machine.session].replies) == [2, 3]


def test_an_older_frame_does_not_take_a_confirmation_back(machine: Machine) -> None:
    machine.requests([(1, Create("/a"))])
    machine.requests([(5, Create("/b"))], confirmed=4)
    machine.requests([(6, Create("/c"))], confirmed=0)
    assert machine.store.sessions[machine.session].confirmed == 4


@pytest.mark.parametrize("gap", [1, 2, 7, 1000, 10**12])
def test_confirmation_jumps_over_ids_that_reads_took(machine: Machine, gap: int) -> None:
    """Ids are far apart where reads took the ones between; confirming walks neither them nor forgets to drop."""
    ids = [1 + gap * number for number in range(10)]
    for request in ids:
        machine.requests([(request, Multi(then=(Create(f"/n{request}"), Get("/"))))])
    session = machine.store.sessions[machine.session]
    machine.requests([(ids[-1] + 1, Create("/last"))], confirmed=ids[5])
    assert list(session.replies) == [*ids[6:], ids[-1] + 1]
    machine.requests([(ids[-1] + 2, Create("/very-last"))], confirmed=ids[-1] + 1)
    assert list(session.replies) == [ids[-1] + 2]
    assert session.reply_bytes == 0


def test_replies_are_bounded_in_number() -> None:
    machine = Machine(StoreLimits(replies_per_session=3))
    for request in range(1, 6):
        machine.requests([(request, Create(f"/n{request}"))])
    assert list(machine.store.sessions[machine.session].replies) == [3, 4, 5]
    replies = machine.requests([(request, Create(f"/n{request}")) for request in range(1, 6)])
    assert [reply[1] for reply in replies] == [ReplyForgotten.code] * 2 + [OK] * 3
    assert machine.store.revision == 5


def test_replies_are_bounded_in_bytes() -> None:
    machine = Machine(StoreLimits(reply_bytes_per_session=500))
    machine.requests([(1, Create("/a", b"x" * 100))])
    for request in range(2, 6):
        machine.requests([(request, Multi(then=(Get("/a"),)))])
    session = machine.store.sessions[machine.session]
    assert list(session.replies) == [4, 5]
    machine.requests([(6, Set("/a", b"x" * 400))])
    machine.requests([(7, Multi(then=(Get("/a"),)))])
    assert list(session.replies) == [7]  # one is always kept


@pytest.mark.parametrize("gap", [1, 100_000])
def test_a_frame_with_far_more_requests_than_replies_are_kept(gap: int) -> None:
    """One frame holds up to 250 000 requests. Dropping its oldest replies must not cost the square of that."""
    machine = Machine(StoreLimits(replies_per_session=10))
    count = 20_000
    frame = [(1 + gap * number, Delete("/nope")) for number in range(count)]
    began = time.process_time()
    machine.requests(frame)
    elsewhere = time.process_time() - began
    session = machine.store.sessions[machine.session]
    assert list(session.replies) == [request for request, _ in frame[-10:]]

    session.replies = {request: (request, OK, 0, 0, None) for request, _ in frame}
    session.confirmed = 0
    began = time.process_time()
    session.trim(machine.store.limits)
    assert time.process_time() - began < max(elsewhere, 0.1)
    assert list(session.replies) == [request for request, _ in frame[-10:]]


def test_what_one_frame_reads_is_bounded() -> None:
    machine = Machine(StoreLimits(reply_bytes_per_session=500))
    machine.requests([(1, Create("/a", b"x" * 100))])
    read = Multi(then=(Get("/a"), Set("/b", b"", create=True)))
    replies = machine.requests([*((request, read) for request in range(2, 7)), (7, Set("/a", b"y"))])
    assert [reply[1] for reply in replies] == [OK, OK, OK, LimitExceeded.code, LimitExceeded.code, OK]
    assert replies[3][5] == {"limit": "reply_bytes_per_session", "maximum": 500}
    assert replies[-1][2] == 5, "a refused multi has written nothing"
    again = machine.requests([(5, read)])
    assert again[0][1] == LimitExceeded.code, "a retry gets the first answer, alone in its frame, too"


def test_large_replies_are_weighed_alike_after_a_snapshot() -> None:
    """The bound decides who is told "forgotten": a replica that loaded a snapshot must decide the same."""
    machine = Machine(StoreLimits(reply_bytes_per_session=350))
    machine.requests([(1, Create("/a", b"x" * 100))])
    for request in range(2, 5):
        machine.requests([(request, Multi(then=(Get("/a"),)))])
    copy = reloaded(machine.store)
    frame = (
        REQUESTS,
        machine.session,
        2,
        [[5, Multi(then=(Get("/a"), Get("/a"))).row()], [3, Get("/a").row()]],
    )
    index = machine.store.applied_index + 1
    answers = [store.apply(index, 0, 0, [frame]) for store in (machine.store, copy)]
    assert plain(answers[0]) == plain(answers[1])
    assert picture(copy) == picture(machine.store)


# --- the revision rule -----------------------------------------------------------------------------------------------


def test_one_revision_for_each_request_that_changed_anything(machine: Machine) -> None:
    replies = machine.requests(
        [
            (1, Create("/a/b", parents=True)),
            (2, Create("/a")),  # refused
            (3, Multi(then=(Get("/a"),))),
            (4, Multi((Compare(Target.EXISTS, "/a", Operator.EQUAL, False),), (Delete("/a"),), ())),
            (5, Multi(then=(Create("/c"), Delete("/c")))),
            (6, Multi(then=(Create("/c"), Delete("/nope")))),  # undone
            (7, Delete("/a", subtree=True)),
        ]
    )
    assert [reply[2] for reply in replies] == [1, 1, 1, 1, 2, 2, 3]
    assert {reply[3] for reply in replies} == {machine.store.applied_index}
    assert [revision[0] for revision in machine.changes()] == [1, 2, 3]
    assert [revision[0] for revision in machine.store.take_fresh()] == [1, 2, 3]
    assert machine.store.take_fresh() == []


def test_entries_are_applied_in_order(machine: Machine) -> None:
    with pytest.raises(AssertionError):
        machine.store.apply(machine.store.applied_index, 0, 0, [])
    with pytest.raises(AssertionError):
        machine.store.skip(machine.store.applied_index)
    machine.store.skip(machine.store.applied_index + 1)
    with pytest.raises(AssertionError):
        machine.apply((99,))


def opening(number: int, boot: int = 78, member: int = 1) -> tuple[object, ...]:
    return (OPEN_SESSION, member, boot, number, 5_000, b"d" * 32, "", "me")


def test_an_opening_that_is_in_the_log_twice_opens_one_session(machine: Machine) -> None:
    first, again = machine.apply(opening(1), opening(1))
    assert first is not None
    assert first == again
    later, other_member, other_life = machine.apply(opening(2), opening(1, member=2), opening(1, boot=79))
    assert len({each[0] for each in (first, later, other_member, other_life) if each}) == 4


def test_the_repetition_of_an_opening_whose_session_has_ended_opens_none(machine: Machine) -> None:
    (first,) = machine.apply(opening(1))
    assert first is not None
    machine.end(int(first[0]))
    sessions = dict(machine.store.sessions)
    (again,) = machine.apply(opening(1))
    assert again is not None
    assert again[1] == SessionEnded.code
    assert machine.store.sessions == sessions


def test_repetitions_are_known_after_a_snapshot(machine: Machine) -> None:
    (first,) = machine.apply(opening(1))
    machine.apply(opening(2))
    loaded = reloaded(machine.store)
    again, past = loaded.apply(loaded.applied_index + 1, 1, 1, [opening(1), opening(3)])
    assert first is not None
    assert again is not None
    assert again[0] == first[0]
    assert past is not None
    assert past[0] == int(first[0]) + 2


def test_a_late_opening_of_an_earlier_life_between_two_of_this_one(machine: Machine) -> None:
    first, _, again = machine.apply(opening(1, boot=80), opening(5, boot=79), opening(1, boot=80))
    assert first is not None
    assert again is not None
    assert again[0] == first[0]
    for session in list(machine.store.sessions):
        machine.end(session)
    assert not machine.store.sessions
