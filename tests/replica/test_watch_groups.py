"""Who is told what, against asking every watch about every change; whatever is kept and shared in between."""

from hypothesis import given
from hypothesis import strategies as st

from coord.api.events import CLAIMED, CREATED, DELETED, Change, Revision
from coord.api.ops import WATCH_CLAIMS, WatchScope
from coord.limits import SERVER_FRAME_MAX_BYTES
from coord.replica import watches as module
from coord.replica.watches import Watcher, Watches, replay_group
from coord.wire.client_frames import EventGroup, Events, decode_server_frame
from coord.wire.event_frames import encode_events, encode_group
from coord.wire.framing import FrameBuffer
from tests.wire.test_round_trips import FEW

PATHS = ("/", "/a", "/a/b")
SCOPES = (1, 2, 3, 1 | WATCH_CLAIMS, 2 | WATCH_CLAIMS, 3 | WATCH_CLAIMS, int(WatchScope.CLAIMS))
SESSIONS = (101, 102)

steps = st.one_of(
    st.tuples(
        st.just("open"), st.integers(1, 2), st.sampled_from(PATHS), st.sampled_from(SCOPES), st.integers(0, 2)
    ),
    st.tuples(st.just("close"), st.integers(0, 30)),
    st.tuples(st.just("lose"), st.integers(1, 2)),
    st.tuples(st.just("replay"), st.integers(0, 30)),
    st.tuples(st.just("live"), st.integers(0, 30)),
    st.tuples(
        st.just("change"),
        st.lists(
            st.tuples(st.sampled_from((CREATED, DELETED, CLAIMED)), st.sampled_from(PATHS)),
            min_size=1,
            max_size=3,
        ),
    ),
)


def group_of(told: module.EncodedGroup) -> EventGroup:
    ((frame),) = FrameBuffer(SERVER_FRAME_MAX_BYTES).feed(encode_events([told]))
    decoded = decode_server_frame(frame)
    assert isinstance(decoded, Events)
    return decoded.groups[0]


def asked(watchers: list[Watcher], revision: Revision) -> dict[int, list[tuple[Change, set[int]]]]:
    """By connection, what each of ``watchers`` says that it wants."""
    found: dict[int, list[tuple[Change, set[int]]]] = {}
    for change in revision[3]:
        by_connection: dict[int, set[int]] = {}
        for each in watchers:
            if each.live and each.next_revision <= revision[0] and each.wants(change):
                by_connection.setdefault(each.connection, set()).add(each.number)
        for connection, numbers in by_connection.items():
            found.setdefault(connection, []).append((change, numbers))
    return found


@given(st.lists(steps, min_size=20, max_size=60))
@FEW
def test_as_if_every_watch_were_asked(script: list[tuple[object, ...]]) -> None:
    watches, watchers, revision = Watches(), list[Watcher](), 10
    for number, (what, *more) in enumerate(script, 1):
        match what, more:
            case "open", [int(connection), str(path), int(scope), int(ahead)]:
                session = SESSIONS[connection % 2]
                watcher = Watcher(connection, number, path, scope, revision + 1 + ahead, session)
                watches.add(watcher)
                watches.make_live(watcher)
                watchers.append(watcher)
            case "close", [int(at)] if watchers:
                watches.remove(watchers.pop(at % len(watchers)))
            case "lose", [int(connection)]:
                watches.remove_connection(connection)
                watchers = [each for each in watchers if each.connection != connection]
            case "replay", [int(at)] if watchers and watchers[at % len(watchers)].live:
                watches.make_replaying(watchers[at % len(watchers)])
            case "live", [int(at)] if watchers and not watchers[at % len(watchers)].live:
                watches.make_live(watchers[at % len(watchers)])
            case "change", [list(made)]:
                revision += 1
                changes: list[Change] = [
                    (kind, path, b"v", at, SESSIONS[at % 2], 5, 0) for at, (kind, path) in enumerate(made)
                ]
                row: Revision = (revision, revision, 1, tuple(changes))
                told = {connection: each for connection, each in watches.groups(row).items() if each}
                assert {
                    connection: [(change, set(numbers)) for change, numbers in group_of(each).events]
                    for connection, each in told.items()
                } == asked(watchers, row)
        assert len(watches) == len(watchers)


def changed(number: int, *paths: str) -> Revision:
    return (number, number, 1, tuple((CREATED, path, b"v", 0, 1, 1, 0) for path in paths))


def opened(watches: Watches, connection: int, number: int, path: str, scope: int = 1) -> Watcher:
    watcher = Watcher(connection, number, path, scope, 1)
    watches.add(watcher)
    watches.make_live(watcher)
    return watcher


def test_what_many_are_told_is_one_group() -> None:
    watches = Watches()
    for connection in (1, 2, 3):
        for number in (1, 2) if connection < 3 else (7,):
            opened(watches, connection, number, "/a")
    opened(watches, 2, 9, "/", scope=3)
    told = watches.groups(changed(5, "/a"))
    assert told[1] is not told[2], "of whom one is told for three watches"
    told = watches.groups(changed(6, "/b", "/a"))
    assert set(told) == {1, 2, 3}
    watches.remove_connection(2)
    opened(watches, 2, 1, "/a")
    opened(watches, 2, 2, "/a")
    told = watches.groups(changed(7, "/b", "/a", "/a"))
    assert told[1] is told[2]
    assert told[1] is not None
    assert told[1].frame is told[1].frame, "also the frame is one"
    assert told[3] is not told[1]


def test_the_past_is_told_in_the_same_words() -> None:
    watches = Watches()
    watcher = opened(watches, 1, 3, "/a", scope=3)
    revision = changed(5, "/a", "/a/b", "/c")
    told, past = watches.groups(revision)[1], replay_group(watcher, revision)
    assert told is not None
    assert past is not None
    assert encode_group(past).data == told.data


def test_a_revision_of_twenty_thousand_changes() -> None:
    """Each told event leads back to the one before it: letting go of them all must not go as deep."""
    watches = Watches()
    opened(watches, 1, 1, "/", scope=3)
    told = watches.groups(changed(5, *[f"/{number}" for number in range(20_000)]))[1]
    assert told is not None
    assert len(group_of(told).events) == 20_000


def test_a_watch_that_comes_later_is_told_beside_those_that_are_there() -> None:
    """In each kind of table: who is live there is looked up once, and anew when another becomes live."""
    claimed: Change = (CLAIMED, "/a", b"", 0, 7, 1, 0)
    for scope in (1 | WATCH_CLAIMS, int(WatchScope.CLAIMS)):
        watches = Watches()
        for number in (1, 2):
            watcher = Watcher(1, number, "/a", scope, 1, 7)
            watches.add(watcher)
            watches.make_live(watcher)
            told = watches.groups((number, number, 1, (claimed,)))[1]
            assert told is not None
            assert group_of(told).events == [(claimed, list(range(1, number + 1)))], scope
