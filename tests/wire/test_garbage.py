"""Whatever comes in: a value or a DecodeError, soon, and nothing else."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coord.api.errors import InvalidRequest
from coord.api.ops import Create, Get, Multi, Set
from coord.limits import CLIENT_FRAME_MAX_BYTES, MemberLimits, StoreLimits
from coord.wire import client_frames as frames
from coord.wire.cbor import MAX_DEPTH, DecodeError, dumps, loads, loads_exactly
from coord.wire.client_frames import RefusedFrame, decode_client_frame, decode_server_frame
from coord.wire.entries import decode_entry, encode_command, encode_entry
from coord.wire.event_frames import encode_events, encode_group
from coord.wire.framing import FrameBuffer, encode_frame, encode_raw_frame
from coord.wire.peer_frames import MessageEncoder, decode_messages, decode_peer_answer, decode_peer_hello
from coord.wire.sections import decode_section, encode_section
from tests.wire import strategies as some

LIMITS = MemberLimits()

DECODERS: dict[str, Callable[[int, bytes], object]] = {
    "client frame": lambda number, body: decode_client_frame((number, body), LIMITS),
    "server frame": lambda number, body: decode_server_frame((number, body)),
    "messages": lambda number, body: decode_messages(body),
    "peer hello": lambda number, body: decode_peer_hello((number, body)),
    "peer answer": lambda number, body: decode_peer_answer((number, body)),
    "entry": lambda number, body: decode_entry(body),
    "section": lambda number, body: decode_section(body),
    "loads": lambda number, body: loads(body),
    "loads_exactly": lambda number, body: loads_exactly(body),
}
TYPES = (1, 2, 3, 4, 5, 6, 7, 129, 130, 131, 132, 133, 0, 255)


def is_total(number: int, body: bytes) -> None:
    """Every decoder answers ``body`` or refuses it, in its own way."""
    for decode in DECODERS.values():
        with suppress(DecodeError):
            decode(number, body)


@given(st.sampled_from(TYPES), st.binary(max_size=80))
@settings(max_examples=300, deadline=None)
def test_any_bytes(number: int, body: bytes) -> None:
    is_total(number, body)


PLAIN = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**64), 2**64 - 1), st.floats(), st.binary(max_size=17),
        st.text(max_size=6),
    ),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=4),
    max_leaves=25,
)  # fmt: skip


@given(st.sampled_from(TYPES), PLAIN)
@settings(max_examples=150, deadline=None)
def test_any_value(number: int, value: Any) -> None:
    try:
        body = dumps(value)
    except OverflowError:
        return
    is_total(number, body)


@pytest.mark.parametrize(
    "rows", [[{1: 2}], [{}], [{0: 1}], [[]], [None], [5], [["x"]], [[0, 1, 2]], [[0, 1]], {}, 5, "ab"]
)
def test_entries_whose_commands_are_none(rows: Any) -> None:
    with suppress(DecodeError):
        decode_entry(dumps([1, 0, 0, rows]))


VALID = st.one_of(
    some.HELLOS.map(frames.encode_hello),
    some.WATCHES.map(frames.encode_watch),
    st.lists(some.OPS, min_size=1, max_size=3).map(
        lambda ops: frames.encode_writes(0, [(number + 1, op.row()) for number, op in enumerate(ops)])
    ),
    st.lists(some.OPS, min_size=1, max_size=3).map(
        lambda ops: frames.encode_reads(0, 0, [(number + 1, op.row()) for number, op in enumerate(ops)])
    ),
    st.lists(some.MESSAGES, min_size=1, max_size=3).map(lambda messages: MessageEncoder().frame(messages)),
    st.lists(some.BYTES, max_size=3).map(
        lambda each: encode_raw_frame(2, encode_entry(1, 2, [encode_command((0, 1, body)) for body in each]))
    ),
    st.just(encode_raw_frame(2, encode_section(4, [["/a", b"", 1, 2]]))),
    st.just(frames.encode_replies([(1, 0, 1, 1, [b"x", [1] * 12]), (2, 10, 1, 1, "no", {"path": "/a"})])),
    st.just(encode_events([encode_group(frames.EventGroup(1, 2, [((1, "/a", b"", 0, 1, 1, 0), [1])]))])),
    st.just(frames.encode_welcome(frames.Welcome(1, b"", 2, 3, 4, b"c" * 16, [(1, "h:1")]))),
)


@given(VALID, st.data())
@settings(max_examples=300, deadline=None)
def test_mutations_of_what_is_valid(frame: bytes, data: st.DataObject) -> None:
    body = bytearray(frame[5:])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(len(body) - 1, 0)))
        how = data.draw(st.sampled_from(("flip", "cut", "drop", "insert", "repeat")))
        if how == "flip" and body:
            body[at] = data.draw(st.integers(0, 255))
        elif how == "cut":
            del body[at:]
        elif how == "drop":
            del body[at : at + 1]
        elif how == "insert":
            body.insert(at, data.draw(st.integers(0, 255)))
        else:
            body[at:at] = body[at : at + 8]
    is_total(frame[4], bytes(body))


@pytest.mark.parametrize("kind", ["array", "map", "bytes", "text"])
@pytest.mark.parametrize("length", [2**16, 2**31 - 1, 2**32, 2**63, 2**64 - 1])
def test_a_length_that_is_not_there_costs_nothing(kind: str, length: int) -> None:
    major = {"bytes": 0x5B, "text": 0x7B, "array": 0x9B, "map": 0xBB}[kind]
    body = bytes((major,)) + length.to_bytes(8, "big") + b"\x01\x02\x03"
    began = time.monotonic()
    is_total(2, body)
    for decode in DECODERS.values():
        with pytest.raises(DecodeError):
            decode(2, body)
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize("opening", [b"\x81", b"\xa1\x01", b"\xa1"])
def test_deep_nesting(opening: bytes) -> None:
    for depth in (MAX_DEPTH + 1, 1000, 1_000_000):
        for decode in DECODERS.values():
            with pytest.raises(DecodeError):
                decode(2, opening * depth + b"\x01")
    assert loads_exactly(b"\x81" * MAX_DEPTH + b"\x01")


@pytest.mark.parametrize(
    "tag", [*range(64), 100, 256, 258, 260, 261, 262, 1004, 43000, 55799, 2**32, 2**64 - 1]
)
def test_tags_are_refused(tag: int) -> None:
    """They would build dates, patterns, bignums, shared and cyclic values."""
    head = b"\xdb" + tag.to_bytes(8, "big")
    for inner in (b"\x01", b"\x41\x01", b"\x61\x31", b"\x80", b"\x82\x01\x02", b"\x83\x01\x02\x03", b"\xa0"):
        for body in (head + inner, b"\x81" + head + inner, b"\xa1\x01" + head + inner):
            for decode in (loads, loads_exactly):
                with pytest.raises(DecodeError):
                    decode(body)


@pytest.mark.parametrize(
    "body", [b"\x9f\x01\xff", b"\xbf\x01\x02\xff", b"\x5f\x41\x01\xff", b"\x7f\x61a\xff", b"\xff"]
)
def test_indefinite_lengths_are_refused(body: bytes) -> None:
    for decode in (loads, loads_exactly):
        with pytest.raises(DecodeError):
            decode(body)


def test_trailing_bytes_are_refused_of_strangers() -> None:
    keepalive = frames.encode_keepalive(1)
    decode_client_frame((keepalive[4], keepalive[5:]), LIMITS)
    for rest in (b"\x00", b"\xf6", keepalive[5:]):
        with pytest.raises(DecodeError, match="follow"):
            decode_client_frame((keepalive[4], keepalive[5:] + rest), LIMITS)
        with pytest.raises(DecodeError, match="follow"):
            decode_server_frame((130, dumps([]) + rest))


@pytest.mark.parametrize(
    ("number", "value"),
    [
        (1, [2, None, 0, "me", None]),  # another version
        (1, [True, None, 0, "me", None]),
        (1, [1, None, 0, "me"]),
        (1, [1, None, -1, "me", None]),
        (1, [1, None, 0, "x" * 129, None]),
        (1, [1, None, 0, b"me", None]),
        (1, [1, None, 0, "me", b"short"]),
        (1, [1, [1, b"short"], 0, "me", None]),
        (1, [1, [0, b"s" * 16], 0, "me", None]),
        (1, [1, [1], 0, "me", None]),
        (2, []),
        (2, [0]),
        (2, [-1, [1, [6, "/"]]]),
        (2, [True, [1, [6, "/"]]]),
        (2, [0, [0, [3, "/a", None, None, 0]]]),
        (2, [0, [1]]),
        (2, [0, [True, [3, "/a", None, None, 0]]]),
        (2, [0, [2**63, [3, "/a", None, None, 0]]]),
        (2, [0, [2, [3, "/a", None, None, 0]], [1, [3, "/a", None, None, 0]]]),  # ids must grow
        (2, [0, [2, [3, "/a", None, None, 0]], [2, [3, "/a", None, None, 0]]]),
        (2, [5, [5, [3, "/a", None, None, 0]]]),  # confirmed already
        (3, [3, 0, [1, [5, "/"]]]),
        (3, [0, -1, [1, [5, "/"]]]),
        (3, [0, 0]),
        (4, [1, 0, "/a", 1, None]),
        (5, [1]),
        (6, [0]),
        (6, [1, 2]),
        (7, ["1"]),
        (8, [1]),
        (129, [1]),
        (0, [1]),
    ],
)
def test_frames_that_are_not_of_the_protocol(number: int, value: Any) -> None:
    with pytest.raises(DecodeError):
        decode_client_frame((number, dumps(value)), LIMITS)


@pytest.mark.parametrize(
    "value",
    [
        [9, 1, "a", 1, None],
        [9, 1, "/a", 4, None],
        [9, 1, "/a", 0, None],
        [9, 1, "/a", 1, 0],
        [9, 1, b"/a", 1, None],
    ],
)
def test_a_watch_of_what_is_no_path_is_refused_alone(value: Any) -> None:
    frame = decode_client_frame((4, dumps(value)), LIMITS)
    assert isinstance(frame, RefusedFrame)
    assert frame.request == 9
    assert isinstance(frame.error, InvalidRequest)


# --- framing ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=30)), max_size=12), st.data())
@settings(max_examples=100, deadline=None)
def test_frames_in_any_chunks(sent: list[tuple[int, bytes]], data: st.DataObject) -> None:
    stream = b"".join(encode_raw_frame(number, body) for number, body in sent)
    buffer = FrameBuffer(100)
    received, at = [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, 40))
        received += buffer.feed(stream[at : at + size])
        at += size
        assert buffer.pending_bytes <= 4 + 31
    assert received == sent
    assert buffer.pending_bytes == 0


def test_a_byte_at_a_time() -> None:
    buffer = FrameBuffer(100)
    stream = encode_frame(3, [1, 2]) + encode_frame(4, [])
    frames_found = [frame for each in stream for frame in buffer.feed(bytes((each,)))]
    assert frames_found == [(3, dumps([1, 2])), (4, dumps([]))]


@pytest.mark.parametrize("length", [0, 101, 2**31, 2**32 - 1])
def test_a_length_that_cannot_be(length: int) -> None:
    with pytest.raises(DecodeError, match=str(length)):
        FrameBuffer(100).feed(length.to_bytes(4, "big"))  # at once: not when so much has gathered


def test_the_largest_frame() -> None:
    body = b"x" * 99
    assert FrameBuffer(100).feed(encode_raw_frame(1, body)) == [(1, body)]
    assert StoreLimits().value_bytes < CLIENT_FRAME_MAX_BYTES


def test_a_value_a_multi_and_a_read_fit_one_frame() -> None:
    value = b"x" * StoreLimits().value_bytes
    frame = frames.encode_writes(
        0, [(1, Set("/a", value).row()), (2, Multi(then=(Create("/b", value),)).row())]
    )
    assert len(frame) <= CLIENT_FRAME_MAX_BYTES
    assert len(frames.encode_reads(0, 0, [(1, Get("/a").row())])) < 100
