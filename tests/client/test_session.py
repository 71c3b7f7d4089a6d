"""The session through the core: keepalives, the client's own clock, its end."""

from math import inf

import pytest

from coord.api.errors import (
    Disconnected,
    LimitExceeded,
    ProtocolError,
    SessionEnded,
    Unavailable,
)
from coord.api.ops import Get, Set, WatchScope
from coord.client.core import Core, CoreSettings, State
from coord.wire.client_frames import EndSession, Hello, Keepalive, NewSession, Writes
from tests.client.script import Script, ok, refused

SET = Set("/a", b"x").row()
GET = Get("/a").row()
SAFE = 8.91
"""Seconds that a session of nine is safe: one percent is for the clocks."""


def test_a_keepalive_goes_out_every_third_of_the_timeout() -> None:
    script = Script()
    script.connect(timeout_ms=9_000)
    sent_at = []
    for _ in range(30):
        assert script.core.next_tick_at() >= script.now
        script.now = script.core.next_tick_at()
        script.tick()
        for frame in script.sent():
            assert isinstance(frame, Keepalive)
            sent_at.append(script.now - 100.0)
            script.now += 0.5
            script.replies(ok(frame.request))
    assert sent_at[:4] == [3.0, 6.0, 9.0, 12.0]
    assert script.core.safe_until == pytest.approx(100.0 + sent_at[-1] + SAFE)


def test_a_keepalive_without_an_answer_ends_the_connection_not_the_session() -> None:
    script = Script()
    script.connect(timeout_ms=9_000)
    script.tick(3)
    (keepalive,) = script.sent()
    assert isinstance(keepalive, Keepalive)
    script.tick(2.9)
    assert script.core.hang_up is None
    script.tick(0.1)
    assert isinstance(script.core.hang_up, Unavailable)
    assert script.core.state is State.ATTACHED
    script.cut()
    assert script.core.state is State.SUSPENDED
    assert script.core.safe_until == pytest.approx(100.0 + SAFE)
    script.connect()
    assert script.core.state is State.ATTACHED
    assert script.core.safe_until == pytest.approx(script.now + SAFE)  # from its second hello
    assert script.core.take_states() == [State.ATTACHED, State.SUSPENDED, State.ATTACHED]


def test_the_time_counts_from_the_sending_of_what_was_answered() -> None:
    script = Script()
    script.dial()
    script.sent()
    script.now += 1
    script.welcome(timeout_ms=9_000)
    assert script.core.safe_until == pytest.approx(100.0 + SAFE)
    script.tick(2)
    (keepalive,) = script.sent()
    assert isinstance(keepalive, Keepalive)
    script.now += 2
    script.replies(ok(keepalive.request))
    assert script.core.safe_until == pytest.approx(103.0 + SAFE)


def test_a_refused_keepalive_is_no_sign_of_life() -> None:
    script = Script()
    script.connect(timeout_ms=9_000)
    script.tick(3)
    (keepalive,) = script.sent()
    assert isinstance(keepalive, Keepalive)
    script.replies(refused(keepalive.request, Unavailable("no quorum")))
    assert script.core.hang_up is not None
    assert script.core.safe_until == pytest.approx(100.0 + SAFE)


def test_by_its_own_clock_the_client_knows_when_the_session_must_be_over() -> None:
    script = Script(writes_in_flight=1)
    script.connect(timeout_ms=9_000)
    sent, unsent, read = script.core.write(SET), script.core.write(SET), script.core.read(GET)
    watch = script.core.watch("/", WatchScope.SUBTREE)
    script.sent()
    script.cut()
    assert script.core.next_tick_at() == script.core.safe_until
    assert script.tick(8.9) == []
    assert set(script.tick(0.1)) == {sent, unsent, read, watch.opening}
    assert script.core.state is State.ENDED
    for request, outcome in ((sent, "unknown"), (unsent, "refused"), (read, "refused")):
        assert isinstance(request.error, SessionEnded)
        assert request.error.outcome == outcome
    assert isinstance(watch.error, SessionEnded)
    assert watch in script.core.take_woken()
    for again in (script.core.write, script.core.read):
        with pytest.raises(SessionEnded) as caught:
            again(SET if again == script.core.write else GET)
        assert caught.value.outcome == "refused"
    with pytest.raises(SessionEnded):
        script.core.watch("/", 1)
    assert script.core.next_tick_at() == inf


def test_an_ended_session_does_not_come_to_life_again() -> None:
    """The members are more patient than the client: the session may still be there. Its holder said that it is over."""
    script = Script()
    script.connect(timeout_ms=9_000)
    script.cut()
    script.tick(9)
    script.dial()
    assert script.core.hang_up is not None
    assert script.sent() == []
    assert script.welcome() == []
    assert script.core.state is State.ENDED
    script.cut()
    assert script.core.state is State.ENDED


def test_a_paused_process_does_not_trust_its_session() -> None:
    script = Script()
    script.connect(timeout_ms=9_000)
    script.tick(60)
    assert script.core.state is State.ENDED
    assert script.core.hang_up is not None


def test_the_members_word_that_the_session_ended_is_final() -> None:
    script = Script()
    script.connect()
    request = script.core.write(SET)
    script.sent()
    assert script.goodbye(SessionEnded("session 7 has ended: silent")) == [request]
    assert isinstance(request.error, SessionEnded)
    assert request.error.outcome == "unknown"
    assert "silent" in request.error.message
    assert script.core.state is State.ENDED
    script.cut()
    assert script.core.state is State.ENDED


def test_other_goodbyes_send_the_client_to_another_member() -> None:
    script = Script()
    script.connect()
    request = script.core.write(SET)
    script.sent()
    assert script.goodbye(Disconnected("shutting down")) == []
    assert isinstance(script.core.hang_up, Disconnected)
    assert script.core.take_bytes() == b""
    script.cut()
    assert "shutting down" in str(script.core.last_error)
    (writes,) = script.connect()
    assert isinstance(writes, Writes)
    assert script.replies(ok(1, 1, 1)) == [request]


@pytest.mark.parametrize("error", [LimitExceeded("sessions"), ProtocolError("version 9")])
def test_a_first_hello_that_is_refused_for_good_ends_the_client(error: LimitExceeded | ProtocolError) -> None:
    script = Script()
    script.dial()
    script.sent()
    script.goodbye(error)
    assert script.core.state is State.CLOSED
    assert type(script.core.failure) is type(error)


def test_what_a_member_calls_a_breach_of_the_protocol_is_not_repeated() -> None:
    script = Script()
    script.connect()
    request = script.core.write(SET)
    script.sent()
    assert script.goodbye(ProtocolError("a bug in the client")) == [request]
    assert script.core.state is State.CLOSED
    assert isinstance(request.error, ProtocolError)
    assert request.error.outcome == "unknown"


def test_a_member_that_does_not_say_welcome_is_given_up() -> None:
    script = Script(session_timeout_ms=10_000)
    script.dial()
    script.sent()
    assert script.core.next_tick_at() == 103.0
    script.tick(3)
    assert script.core.hang_up is not None
    script.cut()
    script.dial()
    assert script.sent() == [Hello(NewSession(10_000), "", None)]


def test_garbage_ends_the_connection() -> None:
    for garbage in (
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\x00\x00\x00\x03\x82\x81\x01",
        b"\x00\x00\x00\x02\x01\x80",
    ):
        script = Script()
        script.connect()
        script.core.received(garbage, script.now)
        assert isinstance(script.core.hang_up, ProtocolError)


def test_the_session_ends_after_every_write_before() -> None:
    script = Script(writes_in_flight=1)
    script.connect()
    script.core.write(SET)
    script.core.write(SET)
    ending = script.core.end_session()
    (writes,) = script.sent()
    assert isinstance(writes, Writes)
    script.replies(ok(1))
    writes, end = script.sent()
    assert isinstance(writes, Writes)
    assert isinstance(end, EndSession)
    assert script.replies(ok(2), ok(end.request))[-1] is ending
    assert ending.error is None
    assert script.sent() == []
    script.goodbye(SessionEnded("the client ended it"))
    assert script.core.state is State.ENDED


def test_closing_tells_everybody() -> None:
    script = Script()
    script.connect()
    sent = script.core.write(SET)
    script.sent()
    unsent = script.core.write(SET)
    script.core.close()
    assert set(script.core.take_completed()) == {sent, unsent}
    assert [each.error.outcome for each in (sent, unsent) if each.error] == ["unknown", "refused"]
    assert script.core.state is State.CLOSED
    with pytest.raises(Disconnected):
        script.core.write(SET)
    script.tick(5)
    assert script.core.take_warning() is None, "there is no keepalive any more that could be late"


def test_a_client_without_a_session_never_ends_but_notices_a_dead_connection() -> None:
    script = Script(session=False, session_timeout_ms=9_000)
    script.connect()
    script.tick(3)
    (keepalive,) = script.sent()
    assert isinstance(keepalive, Keepalive)
    script.tick(3)
    assert script.core.hang_up is not None
    script.cut()
    script.tick(1000)
    assert script.core.state is State.SUSPENDED
    assert script.core.safe_until == inf
    script.connect()
    assert script.core.state is State.ATTACHED


def test_a_core_begins_unconnected() -> None:
    core = Core(CoreSettings())
    assert core.next_tick_at() == inf
    assert core.take_bytes() == b""
    core.received(b"late", 0.0)
    core.tick(0.0)
    assert core.state is State.CONNECTING


# --- a process that stands still ---------------------------------------------------------------------


def test_a_keepalive_that_is_sent_late_is_told_with_what_was_left() -> None:
    script = Script()
    script.connect(timeout_ms=9_000)
    script.tick(3.5)
    (keepalive,) = script.sent()
    assert isinstance(keepalive, Keepalive)
    assert script.core.take_warning() is None, "so much is nothing to tell"
    script.replies(ok(keepalive.request))
    script.tick(7)
    (keepalive,) = script.sent()
    warning = script.core.take_warning()
    assert warning is not None
    assert "4.0 s late" in warning
    assert "1.9 s more" in warning  # 8.91 after the last one that was answered, less 7
    assert "of 9 s" in warning
    assert script.core.take_warning() is None


def test_without_a_session_a_late_keepalive_endangers_nothing_and_is_told_all_the_same() -> None:
    script = Script(session=False, session_timeout_ms=9_000)
    script.connect()
    script.tick(60)
    warning = script.core.take_warning()
    assert warning is not None
    assert "57.0 s late" in warning
    assert "session" not in warning


def test_an_end_that_was_told_is_not_taken_back() -> None:
    """A keepalive is answered in time, but the answer is looked at late: until then the session may have been over.
    Who was told so has let go of what it held. Who was not goes on."""
    for told in (True, False):
        script = Script()
        script.connect(timeout_ms=9_000)
        script.tick(3)
        (keepalive,) = script.sent()
        assert isinstance(keepalive, Keepalive)
        script.now += 6
        if told:
            assert script.core.session_is_over(script.now)
        script.replies(ok(keepalive.request))
        script.tick()
        assert script.core.state is (State.ENDED if told else State.ATTACHED)


def test_who_finds_the_session_over_late_says_by_how_much() -> None:
    script = Script()
    script.connect(timeout_ms=9_000)
    script.tick(9)
    assert "looked at its clock" not in str(script.core.failure)
    script = Script()
    script.connect(timeout_ms=9_000)
    script.tick(609)
    assert "has not looked at its clock for 600 s" in str(script.core.failure)


def test_a_copy_of_a_core_in_another_process_does_nothing() -> None:
    script = Script()
    script.connect()
    request = script.core.write(SET)
    script.core.disown(Disconnected("not yours"))
    assert script.core.take_bytes() == b""
    assert script.replies(ok(1)) == []
    assert not request.done
    for attempt in (
        lambda: script.core.write(SET),
        lambda: script.core.read(GET),
        lambda: script.core.watch("/", 1),
    ):
        with pytest.raises(Disconnected, match="not yours") as caught:
            attempt()
        assert caught.value.outcome == "refused"
    script.tick(3600)
    assert script.core.take_states() == [State.ATTACHED]
