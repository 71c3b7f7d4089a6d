"""Requests through the core: gathered, bounded, answered, sent again, given up."""

import pytest

from coord.api.errors import (
    Conflict,
    CoordError,
    DeadlineExceeded,
    InvalidRequest,
    LimitExceeded,
    Overloaded,
    SessionEnded,
    SessionRequired,
    Unavailable,
)
from coord.api.ops import Create, Get, Multi, ReadMode, Set
from coord.api.results import Created, Written
from coord.client.core.requests import FRAME_BYTES
from coord.limits import CLIENT_FRAME_MAX_BYTES, MIB
from coord.wire.client_frames import Hello, NewSession, Reads, ResumeSession, Welcome, Writes, encode_welcome
from tests.client.script import CLUSTER, SECRET, SESSION, Script, ok, refused

SET = Set("/a", b"x").row()
GET = Get("/a").row()


def ids(frame: object) -> list[int]:
    assert isinstance(frame, Writes | Reads)
    return [request for request, _ in frame.requests]


def test_nothing_is_sent_between_hello_and_welcome() -> None:
    script = Script(name="me", session_timeout_ms=9_000)
    script.core.write(SET)
    assert not script.core.take_bytes()
    script.dial()
    assert script.sent() == [Hello(NewSession(9_000), "me", None)]
    script.core.read(GET)
    assert not script.core.has_bytes
    assert script.sent() == []
    writes, reads = script.welcome()
    assert ids(writes) == [1]
    assert ids(reads) == [2]


def test_what_was_submitted_since_the_last_sending_shares_frames() -> None:
    script = Script()
    script.connect()
    for _ in range(3):
        script.core.write(SET)
        script.core.read(GET)
        script.core.read(GET, ReadMode.LOCAL)
        script.core.read(GET, ReadMode.AT_LEAST, 5)
    writes, linearizable, local, at_least = script.sent()
    assert ids(writes) == [1, 2, 3]
    assert isinstance(linearizable, Reads)
    assert isinstance(local, Reads)
    assert isinstance(at_least, Reads)
    assert [(each.mode, each.at_least) for each in (linearizable, local, at_least)] == [
        (0, 0),
        (2, 0),
        (1, 5),
    ]
    assert [len(each.requests) for each in (linearizable, local, at_least)] == [3, 3, 3]
    assert script.sent() == []


def test_results_and_errors_reach_their_requests() -> None:
    script = Script()
    script.connect()
    first = script.core.write(SET, context="first")
    second = script.core.write(Create("/b").row())
    third = script.core.write(SET)
    script.sent()
    error = Conflict("not that", {"version": 4})
    assert script.replies(ok(2, 9, "/b"), ok(1, 10, 3), refused(3, error)) == [second, first, third]
    assert second.result() == Created("/b", 9)
    assert first.result() == Written(3, 10)
    assert first.context == "first"
    with pytest.raises(Conflict, match="not that") as caught:
        third.result()
    assert caught.value.details == {"version": 4}
    assert caught.value.outcome == "refused"
    assert script.core.revision == 10


def test_confirmed_is_the_id_before_the_first_write_that_is_not_answered() -> None:
    script = Script()
    script.connect()
    for _ in range(3):
        script.core.write(SET)
    (first,) = script.sent()
    script.core.read(GET)  # takes id 4
    script.sent()
    script.replies(ok(1), ok(3))
    script.core.write(SET)
    (second,) = script.sent()
    script.replies(ok(2), ok(5))
    script.core.write(SET)
    (third,) = script.sent()
    assert [frame.confirmed for frame in (first, second, third) if isinstance(frame, Writes)] == [0, 1, 5]


def test_in_flight_is_bounded_and_the_rest_waits() -> None:
    script = Script(writes_in_flight=2, reads_in_flight=1)
    script.connect()
    for _ in range(3):
        script.core.write(SET)
        script.core.read(GET)
    writes, reads = script.sent()
    assert ids(writes) == [1, 2]
    assert ids(reads) == [3]
    assert not script.core.has_bytes
    script.replies(ok(1), ok(2))
    assert script.core.has_bytes
    (writes,) = script.sent()
    assert ids(writes) == [4]
    script.replies(ok(3, 1, [b"", [0] * 12]))
    (reads,) = script.sent()
    assert ids(reads) == [5]


def test_bytes_in_flight_are_bounded_but_one_write_always_goes() -> None:
    script = Script(in_flight_bytes=1000)
    script.connect()
    for _ in range(2):
        script.core.write(Set("/a", b"x" * 2000).row())
    (writes,) = script.sent()
    assert ids(writes) == [1]
    script.replies(ok(1))
    (writes,) = script.sent()
    assert ids(writes) == [2]


def test_frames_are_split_and_stay_below_the_bound() -> None:
    script = Script(in_flight_bytes=64 * MIB)
    script.connect()
    for _ in range(20):
        script.core.write(Set("/a", b"x" * 100_000).row())
    script.core.write(Multi(then=tuple(Set(f"/{i}", b"x" * 900_000) for i in range(4))).row())
    frames = script.sent()  # decoded with the protocol's bound
    assert [request for frame in frames for request in ids(frame)] == list(range(1, 22))
    assert len(frames) == 5
    assert all(isinstance(each, Writes) and len(each.body) < FRAME_BYTES + 1000 for each in frames[:4])


def test_an_op_too_large_for_a_frame_is_refused_before_it_is_sent() -> None:
    script = Script()
    script.connect()
    with pytest.raises(LimitExceeded, match="fit into a frame") as caught:
        script.core.write(Set("/a", b"x" * CLIENT_FRAME_MAX_BYTES).row())
    assert caught.value.outcome == "refused"
    largest = 0
    for length in range(CLIENT_FRAME_MAX_BYTES - 95, CLIENT_FRAME_MAX_BYTES):
        try:
            script.core.write(Set("/a", b"x" * length).row())
        except LimitExceeded:
            break
        largest = length
        assert len(script.sent()) == 1  # it would raise if the frame were too large
        script.replies(ok(script.core._requests._last_id))
    assert largest > CLIENT_FRAME_MAX_BYTES - 100


@pytest.mark.parametrize(
    "op",
    [
        [2, "/a", "text", None, None, 0],
        [2, "a", b"", None, None, 0],
        [2, 5, b"", None, None, 0],
        [2, "/\ud800", b"", None, None, 0],
        [6, "/", 0, 10, "\ud800"],
        [2, "/a", b"", 1.5, None, 0],
        [4, [[[[[[[[[[[[[[]]]]]]]]]]]]]], None, None],
        [99],
        [],
    ],
)
def test_what_could_spoil_a_frame_is_refused_before_it_is_sent(op: list[object]) -> None:
    script = Script()
    script.connect()
    submit = script.core.read if op[:1] == [6] else script.core.write
    with pytest.raises(InvalidRequest):
        submit(op)
    assert script.sent() == []


def test_the_queue_is_bounded() -> None:
    script = Script(queue=2)
    script.core.write(SET)
    script.core.write(SET)
    with pytest.raises(Overloaded):
        script.core.write(SET)
    script.core.read(GET)
    script.connect()
    script.core.write(SET)
    script = Script(queue_bytes=100)
    script.core.write(Set("/a", b"x" * 60).row())
    with pytest.raises(Overloaded):
        script.core.write(Set("/a", b"x" * 60).row())


def test_without_a_session_there_are_no_writes() -> None:
    script = Script(session=False)
    with pytest.raises(SessionRequired):
        script.core.write(SET)
    script.core.read(GET)
    script.dial()
    assert script.sent() == [Hello(None, "", None)]
    (reads,) = script.welcome()
    assert ids(reads) == [1]


# --- another connection ----------------------------------------------------------------------------


def test_unanswered_writes_go_again_under_their_ids_and_reads_as_if_new() -> None:
    script = Script()
    script.connect()
    for _ in range(3):
        script.core.write(SET)
    script.core.read(GET)
    script.sent()
    script.replies(ok(2))
    script.cut()
    script.core.write(SET)
    script.dial()
    assert script.sent() == [Hello(ResumeSession(SESSION, SECRET), "", CLUSTER)]
    again, new, reads = script.welcome()
    assert (ids(again), ids(new), ids(reads)) == ([1, 3], [5], [6])
    assert isinstance(again, Writes)
    assert isinstance(new, Writes)
    assert (again.confirmed, new.confirmed) == (0, 0)
    script.replies(ok(1), ok(3), ok(5))
    script.core.write(SET)
    (writes,) = script.sent()
    assert isinstance(writes, Writes)
    assert writes.confirmed == 6


def test_what_is_sent_again_is_split_into_frames_too() -> None:
    script = Script()
    script.connect()
    for _ in range(3):
        script.core.write(Set("/a", b"x" * (FRAME_BYTES // 2)).row())
    script.sent()
    script.cut()
    script.core.write(SET)
    assert [ids(frame) for frame in script.connect()] == [[1], [2], [3], [4]]


def test_an_answer_may_overtake_the_second_sending() -> None:
    script = Script()
    script.connect()
    first, second = script.core.write(SET), script.core.write(SET)
    script.sent()
    script.cut()
    script.dial()
    script.sent()
    # The welcome, and with it the answer to what the former connection had sent.
    script.core.received(encode_welcome(Welcome(SESSION, b"", 9_000, 3, 1, CLUSTER, [])), script.now)
    assert script.replies(ok(1, 3, 1)) == [first]
    (writes,) = script.sent()
    assert ids(writes) == [2]
    assert script.replies(ok(2, 4, 2)) == [second]


def test_overloaded_sends_everything_to_another_member() -> None:
    script = Script()
    script.connect()
    requests = [script.core.write(SET), script.core.write(SET)]
    script.sent()
    assert script.goodbye(Overloaded("full")) == []
    assert isinstance(script.core.hang_up, Overloaded)
    script.cut()
    (writes,) = script.connect()
    assert ids(writes) == [1, 2]
    assert script.replies(ok(1, 5, 1), ok(2, 6, 2)) == requests


def test_a_refusal_of_the_second_sending_may_say_nothing_of_the_first() -> None:
    script = Script()
    script.connect()
    twice = [script.core.write(SET) for _ in range(3)]
    script.sent()
    script.cut()
    once = script.core.write(SET)
    script.connect()
    unknown_code = (3, 999, 1, 1, "a newer member's", {})
    ended = SessionEnded("over")
    script.replies(refused(1, ended), refused(2, Conflict("no")), unknown_code, refused(4, ended))
    outcomes = [request.error.outcome for request in (*twice, once) if request.error]
    assert outcomes == ["unknown", "refused", "unknown", "refused"]


def test_a_member_without_a_quorum_is_left_for_another() -> None:
    script = Script()
    script.connect()
    read = script.core.read(GET)
    script.sent()
    assert script.replies(refused(1, Unavailable("no quorum"))) == []
    assert script.core.hang_up is not None
    script.cut()
    (reads,) = script.connect()
    assert ids(reads) == [2]
    assert script.replies(ok(2, 5, [b"x", [0] * 12])) == [read]
    # One that waited for a revision in vain is told so: it may be asking for the future.
    patient = script.core.read(GET, ReadMode.AT_LEAST, 99)
    script.sent()
    assert script.replies(refused(3, Unavailable("did not come"))) == [patient]
    assert isinstance(patient.error, Unavailable)


# --- deadlines, and callers that go ----------------------------------------------------------------


def test_a_deadline_says_whether_it_was_sent() -> None:
    script = Script(writes_in_flight=1)
    script.connect()
    sent = script.core.write(SET, deadline=script.now + 1)
    unsent = script.core.write(SET, deadline=script.now + 1)
    read = script.core.read(GET, deadline=script.now + 1)
    later = script.core.write(SET, deadline=script.now + 2)
    script.sent()
    assert script.core.next_tick_at() == script.now + 1
    assert script.tick(0.9) == []
    assert set(script.tick(0.1)) == {sent, unsent, read}
    outcomes = {request: request.error.outcome for request in (sent, unsent, read) if request.error}
    assert outcomes == {sent: "unknown", unsent: "refused", read: "refused"}
    assert isinstance(read.error, DeadlineExceeded)
    assert script.core.next_tick_at() == script.now + 1
    # The answer to what was sent is awaited in silence, and makes room.
    assert script.replies(ok(1)) == []
    (writes,) = script.sent()
    assert ids(writes) == [3]
    assert isinstance(writes, Writes)
    assert writes.confirmed == 2
    assert script.replies(ok(3, 2, 1)) == [later]


def test_a_write_that_was_given_up_holds_confirmed_back_until_it_is_answered() -> None:
    script = Script()
    script.connect()
    gone = script.core.write(SET)
    script.sent()
    script.core.abandon(gone)
    script.core.write(SET)
    (writes,) = script.sent()
    assert isinstance(writes, Writes)
    assert writes.confirmed == 0
    assert script.replies(ok(1)) == []
    script.core.write(SET)
    (writes,) = script.sent()
    assert isinstance(writes, Writes)
    assert writes.confirmed == 1


def test_a_write_that_was_given_up_is_sent_again_in_its_place() -> None:
    """What was sent of it may still come, and then be applied after those that were sent later."""
    script = Script()
    script.connect()
    first, gone, kept = script.core.write(SET), script.core.write(SET), script.core.write(SET)
    late = script.core.write(SET, deadline=script.now + 5)
    script.sent()
    script.core.abandon(gone)
    script.cut()
    script.tick(5)
    (writes,) = script.connect()
    assert ids(writes) == [1, 2, 3, 4]
    assert late.error is not None
    assert late.error.outcome == "unknown"
    assert script.replies(*[ok(each, 3, 1) for each in (1, 2, 3, 4)]) == [first, kept]


def test_what_was_abandoned_before_it_was_sent_is_never_sent() -> None:
    script = Script(writes_in_flight=1)
    requests = [script.core.write(SET), script.core.read(GET), script.core.write(SET)]
    script.core.abandon(requests[0])
    script.core.abandon(requests[1])
    (writes,) = script.connect()
    assert ids(writes) == [1]
    assert script.replies(ok(1)) == [requests[2]]
    assert script.core.unanswered == 0


def test_an_answer_that_nobody_awaits_is_passed_over() -> None:
    script = Script()
    script.connect()
    request = script.core.write(SET)
    script.sent()
    assert script.replies(ok(99), ok(1), ok(1)) == [request]
    assert script.replies(refused(50, CoordError("?"))) == []
    assert script.core.hang_up is None


def test_a_read_that_is_refused_did_not_happen_however_often_it_was_sent() -> None:
    script = Script()
    script.connect()
    read = script.core.read(GET)
    script.sent()
    script.cut()
    script.connect()
    script.sent()
    script.replies(refused(read.id, SessionEnded("over")))
    assert read.error is not None
    assert read.error.outcome == "refused"
