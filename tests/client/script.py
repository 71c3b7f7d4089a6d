"""A member played by hand: what a core sends, decoded; what a member would answer, encoded."""

from coord.api.commands import Reply
from coord.api.errors import CoordError
from coord.client.core import Core, CoreSettings
from coord.client.core.request import Request
from coord.limits import CLIENT_FRAME_MAX_BYTES, MemberLimits
from coord.wire.client_frames import (
    ClientFrame,
    EventGroup,
    Welcome,
    decode_client_frame,
    encode_goodbye,
    encode_replies,
    encode_watch_ended,
    encode_welcome,
)
from coord.wire.event_frames import encode_events, encode_group
from coord.wire.framing import FrameBuffer

SECRET = b"s" * 16
CLUSTER = b"c" * 16
SESSION = 7


class Script:
    """One core and its present member. ``now`` is moved by hand."""

    def __init__(self, **settings: object) -> None:
        self.core = Core(CoreSettings(**settings))  # type: ignore[arg-type]
        self.now = 100.0
        self._frames = FrameBuffer(CLIENT_FRAME_MAX_BYTES)

    def connect(self, timeout_ms: int = 9_000, revision: int = 0) -> "list[ClientFrame]":
        """Hello and welcome; returns what the core sends at once thereafter."""
        self.dial()
        self.sent()
        return self.welcome(timeout_ms, revision)

    def dial(self) -> None:
        self._frames = FrameBuffer(CLIENT_FRAME_MAX_BYTES)
        self.core.connected(self.now)

    def welcome(self, timeout_ms: int = 9_000, revision: int = 0) -> "list[ClientFrame]":
        session = SESSION if self.core.settings.session else 0
        welcome = Welcome(session, SECRET, timeout_ms if session else 0, revision, 1, CLUSTER, [(1, "h:1")])
        self.core.received(encode_welcome(welcome), self.now)
        return self.sent()

    def sent(self) -> "list[ClientFrame]":
        raw = self._frames.feed(self.core.take_bytes())
        assert not self._frames.pending_bytes, "whole frames leave together"
        return [decode_client_frame(each, MemberLimits()) for each in raw]

    def replies(self, *rows: Reply) -> list[Request]:
        self.core.received(encode_replies(list(rows)), self.now)
        return self.core.take_completed()

    def events(self, *groups: EventGroup) -> None:
        self.core.received(encode_events([encode_group(group) for group in groups]), self.now)

    def watch_ended(self, watch: int, error: CoordError) -> None:
        self.core.received(encode_watch_ended(watch, error), self.now)

    def goodbye(self, error: CoordError) -> list[Request]:
        self.core.received(encode_goodbye(error), self.now)
        return self.core.take_completed()

    def cut(self) -> None:
        self.core.disconnected(self.now)

    def tick(self, seconds: float = 0.0) -> list[Request]:
        self.now += seconds
        self.core.tick(self.now)
        return self.core.take_completed()


def ok(request: int, revision: int = 1, result: object = None) -> Reply:
    return (request, 0, revision, revision, result)


def refused(request: int, error: CoordError, revision: int = 1) -> Reply:
    return (request, error.code, revision, revision, error.message, dict(error.details))


def group(revision: int, *events: tuple[str, list[int]]) -> EventGroup:
    """A revision that set paths, each told to some watches."""
    return EventGroup(revision, 1, [((2, path, b"v", 1, 1, 1, 0), numbers) for path, numbers in events])
