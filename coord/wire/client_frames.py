"""The frames between a client and a member, both directions. ``docs/PROTOCOL.md`` is their specification.

Decoding a client's frame validates it whole: what comes out can be acted on. A frame that is not of the
protocol raises :class:`DecodeError` and ends its connection; an op that is not valid is set aside with
its error, and the rest of its frame goes on.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from coord.api.commands import Reply, Request
from coord.api.errors import CoordError, InvalidRequest
from coord.api.events import Change
from coord.api.ops import READS, WATCH_CLAIMS, WRITES, ReadMode, Row, WatchScope
from coord.api.paths import ROOT, check_path
from coord.limits import FRAME_REQUESTS_MAX, MemberLimits
from coord.wire.cbor import DecodeError, dumps, loads_exactly
from coord.wire.framing import RawFrame, encode_frame, encode_raw_frame
from coord.wire.op_rows import INT_MAX, check_int, check_op
from coord.wire.reply_rows import encode_reply_rows

PROTOCOL_VERSION: Final = 1

HELLO, WRITES_FRAME, READS_FRAME, WATCH, UNWATCH, KEEPALIVE, END_SESSION = 1, 2, 3, 4, 5, 6, 7
WELCOME, REPLIES, EVENTS, WATCH_ENDED, GOODBYE = 129, 130, 131, 132, 133

SECRET_BYTES: Final = 16
CLUSTER_ID_BYTES: Final = 16


class NewSession(NamedTuple):
    timeout_ms: int


class ResumeSession(NamedTuple):
    session: int
    secret: bytes


class Hello(NamedTuple):
    """The first frame of a connection. Without a session it can read and watch, and not write."""

    session: NewSession | ResumeSession | None
    client: str
    """What the client calls itself, for people; up to 128 characters."""
    cluster: bytes | None
    """The cluster that the client means, if it knows; another one refuses it."""


class Writes(NamedTuple):
    """Requests that go through the log, in the order in which they are to be applied.

    ``body`` is their CBOR as it came (``[confirmed, [id, op], …]``), which is what the log keeps.
    """

    confirmed: int
    requests: list[Request]
    body: bytes
    refused: list[tuple[int, CoordError]]


class Reads(NamedTuple):
    mode: int
    at_least: int
    """The revision to wait for; 0 unless ``mode`` is AT_LEAST."""
    requests: list[Request]
    refused: list[tuple[int, CoordError]]


class Watch(NamedTuple):
    """Open watch number ``watch`` (the client's choice, unique on the connection)."""

    request: int
    watch: int
    path: str
    scope: int
    from_revision: int | None
    """First revision to tell; ``None``: those after the present one."""


class Unwatch(NamedTuple):
    request: int
    watch: int


class Keepalive(NamedTuple):
    request: int


class EndSession(NamedTuple):
    request: int


class RefusedFrame(NamedTuple):
    """A frame with one request that is not valid in itself, as a watch of what is no path."""

    request: int
    error: CoordError


ClientFrame = Hello | Writes | Reads | Watch | Unwatch | Keepalive | EndSession | RefusedFrame


class Welcome(NamedTuple):
    session: int
    """0 without a session."""
    secret: bytes
    """Empty unless the session is new."""
    timeout_ms: int
    """As granted; 0 without a session."""
    revision: int
    member: int
    cluster: bytes
    members: list[tuple[int, str]]
    """``(member id, client address)`` of all, for clients to try when this one is lost."""


class Replies(NamedTuple):
    rows: list[Reply]


class EventGroup(NamedTuple):
    """All events of one revision for one connection: ``(change, watches that it is for)``."""

    revision: int
    wall_ms: int
    events: list[tuple[Change, list[int]]]


class Events(NamedTuple):
    groups: list[EventGroup]


class WatchEnded(NamedTuple):
    watch: int
    code: int
    message: str
    details: dict[str, object]


class Goodbye(NamedTuple):
    """The member's last frame on this connection."""

    code: int
    message: str
    details: dict[str, object]


ServerFrame = Welcome | Replies | Events | WatchEnded | Goodbye


# --- a member's side -----------------------------------------------------------------------------


def decode_client_frame(raw: RawFrame, limits: MemberLimits) -> ClientFrame:
    """A validated frame. Raises :class:`DecodeError`."""
    frame_type, body = raw
    decoder = _CLIENT_DECODERS.get(frame_type)
    if decoder is None:
        raise DecodeError(f"there is no client frame of type {frame_type}")
    try:
        return decoder(loads_exactly(body), body, limits)
    except CoordError as error:
        raise DecodeError(error.message) from error


def _decode_hello(value: Any, body: bytes, limits: MemberLimits) -> Hello:
    if type(value) is not list or not value:
        raise DecodeError("hello is a list of 5")
    if (
        value[0] != PROTOCOL_VERSION or type(value[0]) is not int
    ):  # first: another version may have another layout
        raise DecodeError(f"protocol version {value[0]!r:.40}; this member speaks {PROTOCOL_VERSION}")
    _, session, timeout_ms, client, cluster = _row(value, 5, "hello")
    if type(client) is not str or len(client) > 128:
        raise DecodeError("a client's name is text of at most 128 characters")
    if cluster is not None and (type(cluster) is not bytes or len(cluster) != CLUSTER_ID_BYTES):
        raise DecodeError(f"a cluster id is null or {CLUSTER_ID_BYTES} bytes")
    check_int(timeout_ms, 0, INT_MAX, "a session's timeout_ms")
    if session is None:
        wanted: NewSession | ResumeSession | None = NewSession(timeout_ms) if timeout_ms else None
    else:
        number, secret = _row(session, 2, "a session")
        check_int(number, 1, INT_MAX, "a session")
        if type(secret) is not bytes or len(secret) != SECRET_BYTES:
            raise DecodeError(f"a session's secret is {SECRET_BYTES} bytes")
        wanted = ResumeSession(number, secret)
    return Hello(wanted, client, cluster)


def _decode_writes(value: Any, body: bytes, limits: MemberLimits) -> Writes:
    if type(value) is not list or len(value) < 2:
        raise DecodeError("a frame of writes is [confirmed, [id, op], …]")
    confirmed = check_int(value[0], 0, INT_MAX, "confirmed")
    rows = value[1:]
    requests, refused = _check_requests(rows, WRITES, "written", limits)
    if refused:
        body = dumps([confirmed, *requests])
    previous = confirmed
    for request, _ in rows:  # those that are refused, too
        if request <= previous:
            raise DecodeError(
                f"request {request} after {previous}: ids of writes only grow, past the confirmed one"
            )
        previous = request
    return Writes(confirmed, requests, body, refused)


def _decode_reads(value: Any, body: bytes, limits: MemberLimits) -> Reads:
    if type(value) is not list or len(value) < 3:
        raise DecodeError("a frame of reads is [mode, at_least, [id, op], …]")
    mode = check_int(value[0], 0, max(ReadMode), "a read's mode")
    at_least = check_int(value[1], 0, INT_MAX, "a revision")
    requests, refused = _check_requests(value[2:], READS, "read", limits)
    return Reads(mode, at_least, requests, refused)


def _check_requests(
    rows: list[Any], codes: frozenset[int], how: str, limits: MemberLimits
) -> tuple[list[Request], list[tuple[int, CoordError]]]:
    if len(rows) > FRAME_REQUESTS_MAX:
        raise DecodeError(f"a frame of {len(rows)} requests; at most {FRAME_REQUESTS_MAX} are allowed")
    requests: list[Request] = []
    refused: list[tuple[int, CoordError]] = []
    for row in rows:
        if type(row) is not list or len(row) != 2 or type(row[0]) is not int or not 0 < row[0] <= INT_MAX:
            raise DecodeError("a request is [id, op], with an id from 1")
        try:
            op = check_op(row[1], limits)
            if op[0] not in codes:
                raise InvalidRequest(f"the op with the code {op[0]} is not {how}")
        except CoordError as error:
            refused.append((row[0], error))
        else:
            requests.append(row)
    return requests, refused


def _decode_watch(value: Any, body: bytes, limits: MemberLimits) -> Watch | RefusedFrame:
    request, watch, path, scope, from_revision = _row(value, 5, "watch")
    check_int(request, 1, INT_MAX, "a request's id")
    check_int(watch, 1, INT_MAX, "a watch's number")
    try:
        if type(path) is not str:
            raise InvalidRequest(f"a path is text, not {type(path).__name__}")
        check_path(path)
        _check_scope(scope, path)
        if from_revision is not None:
            check_int(from_revision, 1, INT_MAX, "a revision to watch from")
    except InvalidRequest as error:
        return RefusedFrame(
            request, error
        )  # a user's mistake, as likely as not: the other watches must not pay for it
    return Watch(request, watch, path, scope, from_revision)


def _check_scope(scope: Any, path: str) -> None:
    check_int(scope, 1, WATCH_CLAIMS | WatchScope.SUBTREE, "a watch's scope")
    if scope == WatchScope.CLAIMS:
        if path != ROOT:
            raise InvalidRequest("a session's own claims are watched at '/', wherever they are")
    elif scope & ~WATCH_CLAIMS not in (WatchScope.ZNODE, WatchScope.CHILDREN, WatchScope.SUBTREE):
        raise InvalidRequest(f"a watch's scope is 1, 2 or 3, with 8 added for claims, too; or 4; not {scope}")


def _decode_unwatch(value: Any, body: bytes, limits: MemberLimits) -> Unwatch:
    request, watch = _row(value, 2, "unwatch")
    return Unwatch(check_int(request, 1, INT_MAX, "a request's id"), check_int(watch, 1, INT_MAX, "a watch"))


def _decode_keepalive(value: Any, body: bytes, limits: MemberLimits) -> Keepalive:
    (request,) = _row(value, 1, "keepalive")
    return Keepalive(check_int(request, 1, INT_MAX, "a request's id"))


def _decode_end_session(value: Any, body: bytes, limits: MemberLimits) -> EndSession:
    (request,) = _row(value, 1, "end of session")
    return EndSession(check_int(request, 1, INT_MAX, "a request's id"))


def _row(value: Any, count: int, what: str) -> list[Any]:
    if type(value) is not list or len(value) != count:
        raise DecodeError(f"{what} is a list of {count}")
    return value


_CLIENT_DECODERS: Final[Mapping[int, Callable[[Any, bytes, MemberLimits], ClientFrame]]] = {
    HELLO: _decode_hello,
    WRITES_FRAME: _decode_writes,
    READS_FRAME: _decode_reads,
    WATCH: _decode_watch,
    UNWATCH: _decode_unwatch,
    KEEPALIVE: _decode_keepalive,
    END_SESSION: _decode_end_session,
}


def encode_welcome(welcome: Welcome) -> bytes:
    return encode_frame(WELCOME, [PROTOCOL_VERSION, *welcome])


def encode_replies(rows: list[Reply]) -> bytes:
    return encode_raw_frame(REPLIES, encode_reply_rows(rows))


def encode_watch_ended(watch: int, error: CoordError) -> bytes:
    return encode_frame(WATCH_ENDED, [watch, error.code, error.message, dict(error.details)])


def encode_goodbye(error: CoordError) -> bytes:
    return encode_frame(GOODBYE, [error.code, error.message, dict(error.details)])


# --- a client's side -----------------------------------------------------------------------------


def encode_hello(hello: Hello) -> bytes:
    session: list[object] | None = None
    timeout_ms = 0
    if isinstance(hello.session, ResumeSession):
        session = list(hello.session)
    elif isinstance(hello.session, NewSession):
        timeout_ms = hello.session.timeout_ms
    return encode_frame(HELLO, [PROTOCOL_VERSION, session, timeout_ms, hello.client, hello.cluster])


def encode_writes(confirmed: int, requests: list[tuple[int, Row]]) -> bytes:
    return encode_frame(WRITES_FRAME, [confirmed, *requests])


def encode_reads(mode: int, at_least: int, requests: list[tuple[int, Row]]) -> bytes:
    return encode_frame(READS_FRAME, [mode, at_least, *requests])


def encode_watch(watch: Watch) -> bytes:
    return encode_frame(WATCH, watch)


def encode_unwatch(unwatch: Unwatch) -> bytes:
    return encode_frame(UNWATCH, unwatch)


def encode_keepalive(request: int) -> bytes:
    return encode_frame(KEEPALIVE, [request])


def encode_end_session(request: int) -> bytes:
    return encode_frame(END_SESSION, [request])


def decode_server_frame(raw: RawFrame) -> ServerFrame:
    """A member's frame. Raises :class:`DecodeError` for what is not of the protocol.

    A member is trusted to send sense, so only the outline is checked; a wrong detail is a DecodeError too. Fields after
    those that are known are passed over: a later member may have more to say.
    """
    frame_type, body = raw
    value = loads_exactly(body)
    try:
        if frame_type == REPLIES:
            return Replies([_reply(row) for row in value])
        if frame_type == EVENTS:
            return Events([_event_group(*row[:3]) for row in value])
        if frame_type == WELCOME:
            return _decode_welcome(value)
        if frame_type == WATCH_ENDED:
            return WatchEnded(*value[:4])
        if frame_type == GOODBYE:
            return Goodbye(*value[:3])
    except (TypeError, ValueError, IndexError) as error:
        raise DecodeError(f"a malformed frame of type {frame_type} from the member") from error
    raise DecodeError(f"there is no server frame of type {frame_type}")


def _reply(row: Any) -> Reply:
    # Written out: one of these comes for each call of a client.
    if (
        len(row) < 5
        or type(row[0]) is not int
        or type(row[1]) is not int
        or type(row[2]) is not int
        or type(row[3]) is not int
    ):
        raise ValueError(row)
    return row  # type: ignore[no-any-return]


def _event_group(revision: int, wall_ms: int, events: list[Any]) -> EventGroup:
    return EventGroup(revision, wall_ms, [(_change(*change[:7]), watches) for change, watches, *_ in events])


def _change(
    kind: int, path: str, value: bytes | None, version: int, session: int, request: int, reason: int
) -> Change:
    return (kind, path, value, version, session, request, reason)


def _decode_welcome(value: Any) -> Welcome:
    version, session, secret, timeout_ms, revision, member, cluster, members, *_ = value
    if version != PROTOCOL_VERSION:
        raise DecodeError(
            f"the member speaks protocol version {version!r:.40}, this client {PROTOCOL_VERSION}"
        )
    return Welcome(
        session,
        secret,
        timeout_ms,
        revision,
        member,
        cluster,
        [(each, address) for each, address, *_ in members],
    )
