"""Watches through the core: from where they go on, when they pause, how they end."""

import pytest

from coord.api.errors import DeadlineExceeded, Gap, InvalidRequest, LimitExceeded, Unavailable
from coord.api.ops import Exists, Set, WatchScope
from coord.client.core.watching import Watching
from coord.wire.client_frames import Reads, Unwatch, Watch, Writes
from tests.client.script import Script, group, ok, refused

SUBTREE = WatchScope.SUBTREE


def opened(script: Script, path: str = "/", from_revision: int | None = None, at: int = 10) -> Watching:
    watch = script.core.watch(path, SUBTREE, from_revision)
    (frame,) = script.sent()
    assert isinstance(frame, Watch)
    assert script.replies(ok(frame.request, at)) == [watch.opening]
    return watch


def reopened(script: Script) -> list[Watch]:
    """Cut and connect anew: the watches that are opened again."""
    script.cut()
    return [frame for frame in script.connect() if isinstance(frame, Watch)]


def revisions(watch: Watching) -> list[int]:
    taken = []
    while watch.buffer:
        taken.append(watch.take().revision)
    return taken


def test_events_reach_their_watches_in_order() -> None:
    script = Script()
    script.connect()
    one, two = opened(script, "/a"), opened(script, "/")
    script.events(group(11, ("/a", [1, 2]), ("/a/b", [1, 2])), group(12, ("/c", [2])))
    assert script.core.take_woken() == [one, two]
    assert [event.path for event in one.buffer] == ["/a", "/a/b"]
    assert revisions(one) == [11, 11]
    assert revisions(two) == [11, 11, 12]
    assert script.core.revision == 12


def test_a_watch_goes_on_after_the_revision_of_its_opening() -> None:
    script = Script()
    script.connect()
    opened(script, at=10)
    (frame,) = reopened(script)
    assert frame.from_revision == 11
    # An opening that was never answered is as it was.
    (frame,) = reopened(script)
    assert frame.from_revision == 11


def test_a_watch_goes_on_after_its_own_events() -> None:
    script = Script()
    script.connect()
    watch = opened(script, at=10)
    script.events(group(15, ("/a", [1])))
    assert [frame.from_revision for frame in reopened(script)] == [16]
    assert watch.resume_revision == 15  # not taken yet
    watch.take()
    assert watch.resume_revision == 16


def test_a_reply_says_that_everything_before_it_was_told() -> None:
    script = Script()
    script.connect()
    opened(script, at=10)
    script.core.write(Set("/x", b"").row())
    (frame,) = script.sent()
    assert isinstance(frame, Writes)
    script.replies(ok(frame.requests[0][0], 20, 1))
    assert [frame.from_revision for frame in reopened(script)] == [21]


def test_a_reply_before_the_opening_says_nothing() -> None:
    script = Script()
    script.connect()
    script.core.write(Set("/x", b"").row())
    script.sent()
    script.replies(ok(1, 50, 1))
    opened(script, from_revision=5, at=4)
    assert [frame.from_revision for frame in reopened(script)] == [5]


def test_other_watches_say_nothing() -> None:
    script = Script()
    script.connect()
    opened(script, "/old", from_revision=5, at=4)
    opened(script, "/new", at=30)
    script.events(group(31, ("/new", [2])))
    assert [(frame.path, frame.from_revision) for frame in reopened(script)] == [("/old", 5), ("/new", 32)]


def test_watches_are_opened_again_before_anything_else_is_asked() -> None:
    script = Script()
    script.connect()
    opened(script)
    script.core.write(Set("/x", b"").row())
    script.sent()
    script.cut()
    assert [type(frame) for frame in script.connect()] == [Watch, Writes]


def test_a_watch_that_was_not_open_yet_begins_as_it_was_asked_for() -> None:
    script = Script()
    watch = script.core.watch("/a", SUBTREE)
    (first,) = script.connect()
    (second,) = reopened(script)
    assert isinstance(first, Watch)
    assert (first.from_revision, second.from_revision) == (None, None)
    assert first.watch != second.watch
    assert script.replies(ok(second.request, 3)) == [watch.opening]


def test_a_full_watch_pauses_and_goes_on_where_it_was() -> None:
    script = Script(watch_buffer=4)
    script.connect()
    watch = opened(script, at=10)
    for revision in (11, 12):
        script.events(group(revision, ("/a", [1]), ("/b", [1])))
    assert script.sent() == []
    script.events(group(13, ("/a", [1]), ("/b", [1]), ("/c", [1])))
    (frame,) = script.sent()
    assert frame == Unwatch(frame.request, 1) if isinstance(frame, Unwatch) else False
    assert watch.paused
    script.events(group(14, ("/a", [1])))  # was on its way
    assert len(watch.buffer) == 7
    assert reopened(script) == []  # still full
    for _ in range(5):
        script.core.taken(watch)
        assert script.sent() == []
        watch.take()
    script.core.taken(watch)
    (frame,) = script.sent()
    assert isinstance(frame, Watch)
    assert frame.from_revision == 14
    script.replies(ok(frame.request, 13))
    script.events(group(14, ("/a", [frame.watch])))
    assert revisions(watch) == [13, 13, 14]


def test_large_values_fill_a_watch_too() -> None:
    script = Script(watch_buffer_bytes=100)
    script.connect()
    watch = opened(script)
    script.events(group(11, ("/" + "a" * 100, [1])))
    assert watch.paused
    watch.take()
    assert watch.buffer_bytes == 0


def test_a_gap_is_told_after_what_was_told_before() -> None:
    script = Script()
    script.connect()
    watch = opened(script)
    script.events(group(11, ("/a", [1])))
    (frame,) = reopened(script)
    assert script.replies(refused(frame.request, Gap("gone", {"first_revision": 90}))) == []
    assert script.core.take_woken() == [watch]
    assert revisions(watch) == [11]
    assert isinstance(watch.error, Gap)
    assert watch.error.details == {"first_revision": 90}
    assert reopened(script) == []


def test_a_member_may_end_a_watch() -> None:
    script = Script()
    script.connect()
    watch, other = opened(script), opened(script)
    script.watch_ended(1, Gap("gone"))
    assert isinstance(watch.error, Gap)
    assert other.error is None
    script.watch_ended(1, Gap("gone"))  # nobody's any more
    assert len(reopened(script)) == 1


def test_an_opening_that_is_refused() -> None:
    script = Script()
    script.connect()
    watch = script.core.watch("/a", SUBTREE)
    (frame,) = script.sent()
    assert isinstance(frame, Watch)
    assert script.replies(refused(frame.request, LimitExceeded("too many"))) == [watch.opening]
    with pytest.raises(LimitExceeded):
        watch.opening.row()
    assert reopened(script) == []


def test_an_opening_at_a_member_without_a_quorum_goes_to_another() -> None:
    script = Script()
    script.connect()
    watch = script.core.watch("/a", SUBTREE)
    (frame,) = script.sent()
    assert isinstance(frame, Watch)
    assert script.replies(refused(frame.request, Unavailable("no quorum"))) == []
    assert script.core.hang_up is not None
    (frame,) = reopened(script)
    assert script.replies(ok(frame.request, 3)) == [watch.opening]


def test_a_watch_that_is_closed_while_it_is_opened_does_not_stay_open_at_the_member() -> None:
    script = Script()
    script.connect()
    watch = script.core.watch("/a", SUBTREE)
    (frame,) = script.sent()
    assert isinstance(frame, Watch)
    script.core.unwatch(watch)
    assert script.sent() == []
    assert script.replies(ok(frame.request, 3)) == []
    (unwatch,) = script.sent()
    assert isinstance(unwatch, Unwatch)
    assert unwatch.watch == frame.watch
    script.replies(ok(unwatch.request))
    script.events(group(4, ("/a", [frame.watch])))
    assert not watch.buffer
    assert reopened(script) == []


def test_an_opening_has_a_deadline() -> None:
    script = Script()
    script.connect()
    watch = script.core.watch("/a", SUBTREE, deadline=script.now + 1)
    script.sent()
    assert script.core.next_tick_at() == script.now + 1
    assert script.tick(1) == [watch.opening]
    assert isinstance(watch.opening.error, DeadlineExceeded)
    assert watch.opening.error.outcome == "refused"
    assert reopened(script) == []


def test_an_open_watch_has_no_deadline() -> None:
    script = Script()
    script.connect(timeout_ms=60_000)
    watch = script.core.watch("/a", SUBTREE, deadline=script.now + 1)
    (frame,) = script.sent()
    assert isinstance(frame, Watch)
    script.replies(ok(frame.request, 3))
    script.tick(2)
    assert not watch.ended


@pytest.mark.parametrize("path", ["a", "", "/a/", 7])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    script = Script()
    script.connect()
    with pytest.raises(InvalidRequest):
        script.core.watch(path, SUBTREE)
    with pytest.raises(InvalidRequest):
        script.core.watch("/", SUBTREE, 0)
    assert script.sent() == []


# --- what a watch has told ---------------------------------------------------------------------------


def keepalive(script: Script, revision: int) -> None:
    """A reply that shows ``revision``, to what no watch or write asked."""
    request = script.core.read(Exists("/x").row())
    (frame,) = script.sent()
    assert isinstance(frame, Reads)
    assert script.replies(ok(frame.requests[0][0], revision, None)) == [request]


def test_replies_tell_how_far_it_is_without_an_event() -> None:
    script = Script()
    script.connect()
    watch = script.core.watch("/a", SUBTREE)
    assert script.core.told(watch) is None
    (frame,) = script.sent()
    assert isinstance(frame, Watch)
    script.replies(ok(frame.request, 10))
    assert script.core.told(watch) == 10
    keepalive(script, 20)
    assert script.core.told(watch) == 20
    script.events(group(25, ("/a", [1])))
    assert script.core.told(watch) == 25
    script.cut()
    assert script.core.told(watch) == 25
    script.connect()
    keepalive_before_the_opening = script.core.read(Exists("/x").row())
    (frame,) = script.sent()
    assert isinstance(frame, Reads)
    assert script.replies(ok(frame.requests[0][0], 40, None)) == [keepalive_before_the_opening]
    assert script.core.told(watch) == 25, "it is not open on this connection yet"


def test_what_was_asked_while_it_was_open_tells_too() -> None:
    script = Script()
    script.connect()
    keepalive(script, 30)
    watch = opened(script, from_revision=5, at=4)
    number = watch.number
    keepalive(script, 30)
    assert script.core.told(watch) == 4, "replies had shown as much before it was opened"
    watch.heard(number, 30)
    assert script.core.told(watch) == 30
    watch.heard(number, 20)
    assert script.core.told(watch) == 30
    watch.heard(0, 40)
    watch.heard(number + 1, 40)
    assert script.core.told(watch) == 30
    assert [frame.from_revision for frame in reopened(script)] == [31]
    assert watch.number != number
    watch.heard(watch.number, 40)
    assert script.core.told(watch) == 30, "it is not open yet"


def test_it_knows_since_when_it_lacks_a_connection() -> None:
    script = Script()
    script.connect()
    watch = opened(script)
    assert watch.lost_at is None
    script.now += 1
    script.cut()
    lost_at = script.now
    assert watch.lost_at == lost_at
    script.now += 1
    (frame,) = [frame for frame in script.connect() if isinstance(frame, Watch)]
    script.cut()  # once more, before it was open
    assert watch.lost_at == lost_at
    (frame,) = [frame for frame in script.connect() if isinstance(frame, Watch)]
    script.replies(ok(frame.request, 11))
    assert watch.lost_at is None
