"""The frames between members: a handshake, then lists of messages, one way on each connection.

Raft's messages travel as ``[type number, *fields]``, decoded by the types of their fields; so do the
replica's own, which stand here. A peer is trusted to be a member, not to be undamaged: whatever does not
decode raises :class:`DecodeError`, and the connection starts anew.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, get_type_hints

from coord.raft.messages import MESSAGE_TYPES, Append, Message
from coord.raft.types import Configuration, Entry, SnapshotMeta
from coord.wire.cbor import DecodeError, array_head, bytes_head, dumps, loads
from coord.wire.entries import LARGE_BYTES
from coord.wire.framing import RawFrame, encode_frame, frame_head

PEER_VERSION: Final = 1

PEER_HELLO, PEER_MESSAGES, PEER_WELCOME, PEER_REFUSED = 1, 2, 129, 130

FRAME_BYTES: Final = 4 * 1024 * 1024
"""Messages share a frame up to this size; a larger one has its own."""


class PeerHello(NamedTuple):
    """The dialling member's first frame. ``cluster`` is empty before the cluster is formed."""

    member: int
    to: int
    cluster: bytes


class Forward(NamedTuple):
    """Commands that a follower passes on, the ``sequence``-th lot of its ``stream``.

    A stream belongs to one leader and term, and begins with all that the follower has pending, so the leader
    takes lots of one stream in order and without holes: the requests of one session never overtake
    each other. Commands as in an entry, encoded. ``touched``: these sessions were heard from.
    """

    stream: int
    sequence: int
    commands: tuple[bytes, ...]
    touched: tuple[int, ...]


class ForwardRefused(NamedTuple):
    """A leader did not take a lot of ``stream``, and takes none after it: pass everything pending on anew."""

    stream: int


class ReadRequest(NamedTuple):
    """From where may reads be served that arrived before this was sent? And: these sessions were heard from."""

    read: int
    touched: tuple[int, ...]


class ReadGranted(NamedTuple):
    """Once everything through ``index`` is applied. Leadership was confirmed after the request came."""

    read: int
    index: int  # type: ignore[assignment]  # Raft's word, over tuple.index()


class ReadRefused(NamedTuple):
    """Not the leader, or no longer: ask again, under a new number."""

    read: int


class FormationProbe(NamedTuple):
    """Before a cluster is formed: who are you? See :mod:`coord.replica.formation`."""

    nonce: int


class FormationReply(NamedTuple):
    """``state``: 0 fresh, 1 formed and still empty, 2 established. ``cluster`` is empty while fresh."""

    nonce: int
    state: int
    cluster: bytes


ReplicaMessage = (
    Forward | ForwardRefused | ReadRequest | ReadGranted | ReadRefused | FormationProbe | FormationReply
)
PeerMessage = Message | ReplicaMessage

_REPLICA_TYPES: Final[dict[int, type[Any]]] = {
    64: Forward,
    65: ReadRequest,
    66: ReadGranted,
    67: ReadRefused,
    68: FormationProbe,
    69: FormationReply,
    70: ForwardRefused,
}
_TYPES: Final[dict[int, type[Any]]] = {**MESSAGE_TYPES, **_REPLICA_TYPES}
_NUMBERS: Final = {message_type: number for number, message_type in _TYPES.items()}


class MessageEncoder:
    """Encodes messages; what goes to several peers is encoded once."""

    __slots__ = ("_last", "_last_parts")

    def __init__(self) -> None:
        self._last: object = None
        self._last_parts: list[bytes] = []

    def frame(self, messages: list[PeerMessage]) -> bytes:
        """``messages`` as one frame; as several, one behind the other, where one would grow large."""
        return b"".join(self.parts(messages))

    def parts(self, messages: list[PeerMessage]) -> list[bytes]:
        """As :meth:`frame`, in pieces: an entry of a megabyte is not copied for each peer that it goes to.

        A window of appends for a follower that lags, or all that a follower has pending for a new leader, is more than
        ``PEER_FRAME_MAX_BYTES``: in one frame it would be refused, and the next attempt likewise.
        """
        frames: list[bytes] = []
        body: list[bytes] = []
        count = size = 0
        for message in messages:
            parts = self._encode(message)
            length = sum(map(len, parts))
            if size and size + length > FRAME_BYTES:
                frames += _frame(count, size, body)
                body, count, size = [], 0, 0
            body += parts
            count += 1
            size += length
        return frames + _frame(count, size, body)

    def _encode(self, message: PeerMessage) -> list[bytes]:
        if message is self._last:
            return self._last_parts
        if type(message) is not Append:
            return [dumps([_NUMBERS[type(message)], *message])]  # small and soon gone
        if sum([len(entry.data) for entry in message.entries]) < LARGE_BYTES:
            parts = [dumps([_NUMBERS[Append], *message])]
        else:
            parts = _large_append(message)
        self._last, self._last_parts = message, parts
        return parts


def _frame(count: int, size: int, body: list[bytes]) -> list[bytes]:
    head = array_head(count)
    first = frame_head(PEER_MESSAGES, len(head) + size) + head
    if size < LARGE_BYTES:
        return [b"".join((first, *body))]
    return [first, *body]


def _large_append(message: Append) -> list[bytes]:
    """Around each entry's data, as it is."""
    *fields, entries = (_NUMBERS[Append], *message)
    head = array_head(len(fields) + 1) + b"".join(map(dumps, fields)) + array_head(len(entries))
    parts: list[bytes] = []
    for entry in entries:
        *numbers, data = entry
        parts += (head + array_head(len(entry)) + b"".join(map(dumps, numbers)) + bytes_head(len(data)), data)
        head = b""
    return parts


def decode_messages(body: bytes) -> list[PeerMessage]:
    """The messages of one frame. Raises :class:`DecodeError`."""
    rows = loads(body)
    if type(rows) is not list:
        raise DecodeError("a frame of messages is a list")
    return [_decode_message(row) for row in rows]


def _decode_message(row: Any) -> PeerMessage:
    if type(row) is not list or not row or type(row[0]) is not int or row[0] not in _TYPES:
        raise DecodeError("a message is [a known type number, *fields]")
    message_type, decoders = _LAYOUTS[row[0]]
    if len(row) != len(decoders) + 1:
        raise DecodeError(f"{message_type.__name__} has {len(decoders)} fields, not {len(row) - 1}")
    return message_type(*[decode(value) for decode, value in zip(decoders, row[1:], strict=True)])  # type: ignore[no-any-return]


def encode_peer_hello(hello: PeerHello) -> bytes:
    return encode_frame(PEER_HELLO, [PEER_VERSION, *hello])


def decode_peer_hello(raw: RawFrame) -> PeerHello:
    """Raises :class:`DecodeError`."""
    frame_type, body = raw
    value = loads(body)
    if frame_type != PEER_HELLO or type(value) is not list or len(value) != 4:
        raise DecodeError("a member's first frame is its hello: is this a client, on the members' port?")
    if value[0] != PEER_VERSION:
        raise DecodeError(f"peer protocol version {value[0]!r:.20}; this member speaks {PEER_VERSION}")
    return PeerHello(_int(value[1]), _int(value[2]), _bytes(value[3]))


def encode_peer_welcome() -> bytes:
    return encode_frame(PEER_WELCOME, [PEER_VERSION])


def encode_peer_refused(reason: str) -> bytes:
    return encode_frame(PEER_REFUSED, [reason])


def decode_peer_answer(raw: RawFrame) -> str | None:
    """``None`` when welcome, else the reason of the refusal. Raises :class:`DecodeError`."""
    frame_type, body = raw
    value = loads(body)
    if frame_type == PEER_WELCOME:
        return None
    if frame_type == PEER_REFUSED and type(value) is list and len(value) == 1 and type(value[0]) is str:
        return value[0]
    raise DecodeError("a member answers a hello with welcome or refused: is this a client port?")


# --- fields, by their types ----------------------------------------------------------------------


def _int(value: Any) -> int:
    if type(value) is not int:
        raise DecodeError(f"a whole number was expected, not {type(value).__name__}")
    return value


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise DecodeError(f"true or false was expected, not {type(value).__name__}")
    return value


def _bytes(value: Any) -> bytes:
    if type(value) is not bytes:
        raise DecodeError(f"bytes were expected, not {type(value).__name__}")
    return value


def _list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise DecodeError(f"a list was expected, not {type(value).__name__}")
    return value


def _ints(value: Any) -> tuple[int, ...]:
    return tuple([_int(each) for each in _list(value)])


def _byte_strings(value: Any) -> tuple[bytes, ...]:
    return tuple([_bytes(each) for each in _list(value)])


def _entries(value: Any) -> tuple[Entry, ...]:
    entries = []
    for row in _list(value):
        if type(row) is not list or len(row) != 4:
            raise DecodeError("an entry is [index, term, kind, data]")
        entries.append(Entry(_int(row[0]), _int(row[1]), _int(row[2]), _bytes(row[3])))
    return tuple(entries)


def _snapshot_meta(value: Any) -> SnapshotMeta:
    row = _list(value)
    if len(row) != 3 or len(_list(row[2])) != 4:
        raise DecodeError("a snapshot is named [index, term, [four lists of members]]")
    return SnapshotMeta(_int(row[0]), _int(row[1]), Configuration(*[_ints(each) for each in row[2]]))


_FIELD_DECODERS: Final[dict[Any, Callable[[Any], Any]]] = {
    int: _int,
    bool: _bool,
    bytes: _bytes,
    tuple[int, ...]: _ints,
    tuple[bytes, ...]: _byte_strings,
    tuple[Entry, ...]: _entries,
    SnapshotMeta: _snapshot_meta,
}
_LAYOUTS: Final = {
    number: (message_type, [_FIELD_DECODERS[hint] for hint in get_type_hints(message_type).values()])
    for number, message_type in _TYPES.items()
}
