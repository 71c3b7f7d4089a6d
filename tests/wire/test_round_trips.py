"""What is encoded is decoded to the same: every frame, message, entry and section."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coord.api.commands import END_SESSION, EXPIRE_SESSIONS, OPEN_SESSION, REQUESTS, SET_LIMITS
from coord.api.errors import CoordError, Gap
from coord.api.events import ChangeKind
from coord.api.ops import LOG, READS, SESSIONS, STATUS, WRITES
from coord.limits import PEER_FRAME_MAX_BYTES, MemberLimits
from coord.raft.messages import MESSAGE_TYPES, Append, Heartbeat
from coord.raft.types import Entry
from coord.wire import client_frames as frames
from coord.wire.cbor import DecodeError, array_of, dumps, loads, loads_exactly
from coord.wire.entries import LARGE_BYTES, decode_entry, encode_command, encode_entry
from coord.wire.event_frames import encode_events, encode_group
from coord.wire.framing import FrameBuffer, encode_frame
from coord.wire.op_rows import check_op
from coord.wire.peer_frames import (
    Forward,
    MessageEncoder,
    PeerHello,
    decode_messages,
    decode_peer_answer,
    decode_peer_hello,
    encode_peer_hello,
    encode_peer_refused,
    encode_peer_welcome,
)
from coord.wire.sections import decode_section, encode_section
from tests.wire import strategies as some

LIMITS = MemberLimits()
FEW = settings(max_examples=60, deadline=None)


def one(data: bytes) -> tuple[int, bytes]:
    (frame,) = FrameBuffer(1 << 24).feed(data)
    return frame


def from_client(data: bytes) -> Any:
    return frames.decode_client_frame(one(data), LIMITS)


def from_member(data: bytes) -> Any:
    return frames.decode_server_frame(one(data))


@given(some.HELLOS, some.WATCHES, some.UNWATCHES, some.KEEPALIVES, some.ENDS)
@FEW
def test_client_frames(hello: Any, watch: Any, unwatch: Any, keepalive: Any, end: Any) -> None:
    assert from_client(frames.encode_hello(hello)) == hello
    assert from_client(frames.encode_watch(watch)) == watch
    assert from_client(frames.encode_unwatch(unwatch)) == unwatch
    assert from_client(frames.encode_keepalive(keepalive.request)) == keepalive
    assert from_client(frames.encode_end_session(end.request)) == end


@pytest.mark.parametrize(
    ("scope", "path"), [(scope, "/") for scope in (0, 5, 6, 7, 8, 12, 13, 16, True, None, "3")] + [(4, "/a")]
)
def test_scopes_that_are_none(scope: Any, path: str) -> None:
    frame = from_client(encode_frame(frames.WATCH, [1, 2, path, scope, None]))
    assert isinstance(frame, frames.RefusedFrame)
    assert frame.request == 1


@given(some.OPS)
@settings(max_examples=200, deadline=None)
def test_ops_are_valid(op: Any) -> None:
    row = loads_exactly(dumps(op.row()))
    assert check_op(row, LIMITS) == row == plain(op.row())


def plain(value: Any) -> Any:
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


@given(st.integers(0, 2**40), st.lists(some.OPS, min_size=1, max_size=4))
@FEW
def test_writes_and_reads(confirmed: int, ops: list[Any]) -> None:
    rows = [(confirmed + 1 + number, op.row()) for number, op in enumerate(ops)]
    for codes, data in (
        (WRITES, frames.encode_writes(confirmed, rows)),
        (READS, frames.encode_reads(1, confirmed, rows)),
    ):
        frame = from_client(data)
        assert frame.requests == [plain(row) for row in rows if row[1][0] in codes]
        assert [request for request, _ in frame.refused] == [row[0] for row in rows if row[1][0] not in codes]
        if codes is WRITES:
            # What goes into the log is these requests, and nothing that was refused.
            command = encode_command((REQUESTS, 7, frame.body))
            _, _, decoded = decode_entry(encode_entry(1, 2, [command]))
            assert decoded == [(REQUESTS, 7, confirmed, frame.requests)]
            assert frame.confirmed == confirmed
        else:
            assert (frame.mode, frame.at_least) == (1, confirmed)


def test_a_refused_op_does_not_spoil_its_frame() -> None:
    rows = [
        (1, [2, "/a", b"x", None, None, 0]),
        (2, [2, "a", b"x", None, None, 0]),
        (3, [3, "/a", None, None, 0]),
    ]
    frame = from_client(frames.encode_writes(0, rows))
    assert [row[0] for row in frame.requests] == [1, 3]
    assert [request for request, _ in frame.refused] == [2]
    assert loads(frame.body) == [0, *plain([rows[0], rows[2]])]


def test_reads_of_the_service() -> None:
    rows = [(1, [LOG, None, 5]), (2, [SESSIONS, 3, 5]), (3, [STATUS])]
    frame = from_client(frames.encode_reads(2, 0, rows))
    assert frame.requests == plain(rows)


CHANGE = st.tuples(
    st.sampled_from(list(ChangeKind)).map(int),
    some.PATHS,
    st.none() | some.BYTES,
    some.INTS,
    some.INTS,
    some.INTS,
    st.integers(0, 7),
)


@given(
    st.builds(
        frames.Welcome, some.INTS, some.BYTES, some.INTS, some.INTS, some.INTS, some.SECRET,
        st.lists(st.tuples(some.IDS, st.text(max_size=9))),
    ),
    st.lists(
        st.builds(frames.EventGroup, some.INTS, some.INTS, st.lists(st.tuples(CHANGE, st.lists(some.IDS)))),
        max_size=3,
    ),
    st.lists(st.lists(some.INTS, min_size=5, max_size=5), max_size=3),
)  # fmt: skip
@FEW
def test_server_frames(welcome: Any, groups: Any, rows: Any) -> None:
    assert from_member(frames.encode_welcome(welcome)) == welcome
    assert from_member(encode_events([encode_group(group) for group in groups])) == frames.Events(groups)
    assert from_member(frames.encode_replies(rows)) == frames.Replies(rows)


def test_ends() -> None:
    error: CoordError = Gap("too old", {"first_revision": 5})
    details = {"first_revision": 5}
    assert from_member(frames.encode_watch_ended(3, error)) == frames.WatchEnded(3, 42, "too old", details)
    assert from_member(frames.encode_goodbye(error)) == frames.Goodbye(42, "too old", details)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_messages(data: st.DataObject) -> None:
    for message_type in some.PEER_TYPES:
        message = data.draw(some.messages_of(message_type))
        _, body = one(MessageEncoder().frame([message]))
        (decoded,) = decode_messages(body)
        assert decoded == message
        assert type(decoded) is message_type


@given(st.lists(some.MESSAGES, max_size=30))
@FEW
def test_frames_of_messages(messages: list[Any]) -> None:
    encoder = MessageEncoder()
    for _ in range(2):  # an encoder remembers the last append: that must not show
        assert decode_messages(one(encoder.frame(messages))[1]) == messages


@given(st.lists(some.messages_of(some.PEER_TYPES[4]), min_size=2, max_size=2))
@FEW
def test_two_appends_are_not_mistaken_for_each_other(appends: list[Any]) -> None:
    first, second = appends
    encoder = MessageEncoder()
    for order in ([first, first], [second, first], [first, second]):
        assert decode_messages(one(encoder.frame(order))[1]) == order


@pytest.mark.parametrize(
    "sizes", [(LARGE_BYTES,), (1, LARGE_BYTES, 0, 23, 24, 255, 256, 65535, 65536), (LARGE_BYTES - 1, 1)]
)
def test_large_entries_travel_as_they_are(sizes: tuple[int, ...]) -> None:
    """Put together around their data, they are what the encoder would have made; and the data is not copied."""
    entries = tuple(Entry(100 + at, 7, 0, bytes([at]) * size) for at, size in enumerate(sizes))
    append = Append(7, 99, 6, 98, entries)
    parts = MessageEncoder().parts([Heartbeat(7, 98, 7, 1), append])
    (frame,) = FrameBuffer(1 << 24).feed(b"".join(parts))
    assert frame[1] == dumps([[_number_of(Heartbeat), 7, 98, 7, 1], [_number_of(Append), *append]])
    assert decode_messages(frame[1]) == [Heartbeat(7, 98, 7, 1), append]
    assert all(any(part is entry.data for part in parts) for entry in entries if len(entry.data) > 1)


def _number_of(kind: Any) -> int:
    return next(number for number, each in MESSAGE_TYPES.items() if each is kind)


def test_a_large_command_is_what_the_encoder_would_make() -> None:
    for size in (LARGE_BYTES - 1, LARGE_BYTES, 70_000):
        command = (REQUESTS, 12345, b"x" * size)
        assert encode_command(command) == dumps(command)


def test_more_than_one_frame_can_hold() -> None:
    """What is sent to one peer at a time may be a whole window of large appends, or all that is pending."""
    encoder = MessageEncoder()
    messages: list[Any] = [Forward(1, number, (b"x" * 1_000_000,), (number,)) for number in range(80)]
    messages += [Forward(2, number, (), ()) for number in range(5)]
    messages.insert(40, Forward(3, 0, (b"y" * 20_000_000,), ()))
    received = FrameBuffer(PEER_FRAME_MAX_BYTES).feed(encoder.frame(messages))
    assert len(received) > 10
    assert [message for _, body in received for message in decode_messages(body)] == messages
    assert max(len(body) for _, body in received) < PEER_FRAME_MAX_BYTES // 2


@given(st.integers(1, 2**31), st.integers(1, 2**31), st.just(b"") | some.SECRET, st.text(max_size=20))
@FEW
def test_the_peers_handshake(member: int, to: int, cluster: bytes, reason: str) -> None:
    hello = PeerHello(member, to, cluster)
    assert decode_peer_hello(one(encode_peer_hello(hello))) == hello
    assert decode_peer_answer(one(encode_peer_welcome())) is None
    assert decode_peer_answer(one(encode_peer_refused(reason))) == reason
    with pytest.raises(DecodeError):
        decode_peer_hello(one(encode_peer_welcome()))
    with pytest.raises(DecodeError):
        decode_peer_answer(one(encode_peer_hello(hello)))
    with pytest.raises(DecodeError):
        decode_peer_hello(one(encode_frame(1, [2, member, to, cluster])))


COMMANDS = st.one_of(
    st.tuples(
        st.just(OPEN_SESSION),
        some.IDS,
        some.INTS,
        some.IDS,
        some.INTS,
        some.BYTES,
        st.text(max_size=5),
        st.text(max_size=5),
    ),
    st.tuples(st.just(END_SESSION), some.IDS, some.INTS),
    st.tuples(st.just(EXPIRE_SESSIONS), st.lists(some.IDS, max_size=5)),
    st.tuples(st.just(SET_LIMITS), st.dictionaries(st.text(max_size=5), some.IDS, max_size=3)),
)  # fmt: skip


@given(some.INTS, some.INTS, st.lists(COMMANDS, max_size=5))
@FEW
def test_entries(time_ms: int, wall_ms: int, commands: list[Any]) -> None:
    data = encode_entry(time_ms, wall_ms, [encode_command(command) for command in commands])
    assert decode_entry(data) == (time_ms, wall_ms, commands)
    loads_exactly(data)


@pytest.mark.parametrize("count", [0, 1, 23, 24, 255, 256, 65_535, 65_536])
def test_lists_of_every_length(count: int) -> None:
    assert loads_exactly(array_of([b"\x01"] * count)) == [1] * count


@given(st.integers(0, 10), st.lists(st.lists(some.INTS | some.BYTES | st.none(), max_size=4), max_size=4))
@FEW
def test_sections(kind: int, rows: list[Any]) -> None:
    assert decode_section(encode_section(kind, rows)) == (kind, rows)
