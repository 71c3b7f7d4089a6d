"""The clients of this member: who is attached to which session, and what is to be sent to each.

The order of what one client is sent carries promises. Events of a revision go before any reply that shows
it; a watch that is still being told the past holds the replies of its connection back until it is done.
"""

from collections.abc import Iterable
from typing import Final

from coord.api.commands import Reply
from coord.api.errors import CoordError
from coord.replica.inputs import ClientOutput
from coord.replica.reads import Waiting
from coord.wire.client_frames import encode_goodbye, encode_replies
from coord.wire.event_frames import EncodedGroup, encode_events

FRAME_EVENTS_BYTES: Final = 1024 * 1024
"""Groups share a frame up to about this size."""
FRAME_ROWS: Final = 512
"""Replies share a frame up to this many."""
FRAME_ROWS_BYTES: Final = 1024 * 1024


class _Rows(list[Reply]):
    """Replies that go out together. ``bytes``: of the values in them."""

    __slots__ = ("bytes",)

    def __init__(self, rows: Iterable[Reply], value_bytes: int) -> None:
        super().__init__(rows)
        self.bytes = value_bytes


class _Groups(list[EncodedGroup]):
    """Events that go out together."""


class Connection:
    """One client's connection. Life: greeting → attached (or sessionless) → closed; ``docs/PROTOCOL.md``."""

    __slots__ = (
        "_dirty",
        "_held",
        "_parts",
        "answered",
        "closing",
        "deferred",
        "full",
        "greeted",
        "id",
        "opening",
        "principal",
        "queued_bytes",
        "replaying",
        "secret",
        "session",
        "watch_count",
        "welcomed",
    )

    def __init__(self, id: int, secret: bytes, principal: str) -> None:
        self.id = id
        self.secret = secret
        self.principal = principal
        self.greeted = False
        """Its hello came."""
        self.welcomed = False
        """It may send anything now. ``welcomed`` implies ``greeted``."""
        self.session = 0
        self.full = False
        self.replaying = 0
        """Watches that are still being told the past."""
        self.watch_count = 0
        self.opening: dict[int, int] = {}
        """Numbers of watches that wait to be opened, and the requests that asked for them."""
        self.deferred: list[Waiting] = []
        """Reads that are due, put off while the client has enough to take in."""
        self.closing = False
        self.answered = 0
        self.queued_bytes = 0
        """Of values, to be sent at the end of this step, or held back."""
        self._parts: list[bytes | _Rows | _Groups] = []
        self._held = _Rows((), 0)

    def reply(self, row: Reply, value_bytes: int = 0) -> None:
        """Answer a request, with ``value_bytes`` of values in the answer."""
        self.answered += 1
        self.queued_bytes += value_bytes
        if self.replaying:
            self._held.append(row)
            self._held.bytes += value_bytes
            return
        parts = self._parts
        last = parts[-1] if parts else None
        if type(last) is _Rows:
            last.append(row)
            last.bytes += value_bytes
        else:
            parts.append(_Rows((row,), value_bytes))

    def reply_at_once(self, row: Reply) -> None:
        """Answer a request that shows nothing of the tree, even while replies are held back."""
        self.answered += 1
        self._parts.append(_Rows((row,), 0))

    def event(self, group: EncodedGroup) -> None:
        """Tell this client's watches of a revision."""
        parts = self._parts
        last = parts[-1] if parts else None
        if type(last) is _Groups:
            last.append(group)
        else:
            parts.append(_Groups((group,)))

    def send(self, frame: bytes) -> None:
        """Send a frame, in its order."""
        self._parts.append(frame)

    def replay_ended(self) -> None:
        """One watch has been told all of the past."""
        self.replaying -= 1
        if not self.replaying and self._held:
            self._parts.append(self._held)
            self._held = _Rows((), 0)

    def give_up(self, error: CoordError) -> None:
        """Say why, and hang up, without what is still to be sent: it is more than a client may have waiting for it."""
        self._parts.clear()
        self._held = _Rows((), 0)
        self.close(error)

    def close(self, error: CoordError) -> None:
        """Say why, and hang up."""
        if not self.closing:
            self.closing = True
            self._parts.append(encode_goodbye(error))

    @property
    def dirty(self) -> bool:
        return bool(self._parts)

    def take(self) -> ClientOutput:
        """Everything to be sent now."""
        parts, self._parts = self._parts, []
        answered, self.answered = self.answered, 0
        self.queued_bytes = self._held.bytes
        data = _encoded(parts[0]) if len(parts) == 1 else b"".join(map(_encoded, parts))
        return ClientOutput(self.id, data, answered, self.closing)


def _encoded(part: bytes | _Rows | _Groups) -> bytes:
    if isinstance(part, bytes):
        return part
    if isinstance(part, _Rows):
        return b"".join(_reply_frames(part))
    if len(part) == 1:
        return part[0].frame  # shared with all that are told the same
    return b"".join(_event_frames(part))


def _event_frames(groups: list[EncodedGroup]) -> Iterable[bytes]:
    start = size = 0
    for position, group in enumerate(groups):
        weight = len(group.data)
        if size and size + weight > FRAME_EVENTS_BYTES:
            yield encode_events(groups[start:position])
            start, size = position, 0
        size += weight
    yield encode_events(groups[start:])


def _reply_frames(rows: _Rows) -> Iterable[bytes]:
    small = rows.bytes <= FRAME_ROWS_BYTES
    if (small and len(rows) <= FRAME_ROWS) or len(rows) == 1:
        yield encode_replies(rows)
        return
    start, size = 0, 0
    for position, row in enumerate(rows):
        weight = 0 if small else result_bytes(row[4])
        if position - start >= FRAME_ROWS or (size and size + weight > FRAME_ROWS_BYTES):
            yield encode_replies(rows[start:position])
            start, size = position, 0
        size += weight
    yield encode_replies(rows[start:])


def result_bytes(result: object) -> int:
    """About the bytes of a result row. Names and numbers count too: a page of children is large without any value."""
    kind = type(result)
    if kind is bytes or kind is str:
        return len(result)  # type: ignore[arg-type]
    if kind is not list and kind is not tuple:
        return 0
    rows: list[object] | tuple[object, ...] = result  # type: ignore[assignment]
    size = len(rows)
    for each in rows:
        kind = type(each)  # a row is mostly numbers: looked at here, without a call for each
        if kind is bytes or kind is str:
            size += len(each)  # type: ignore[arg-type]
        elif kind is list or kind is tuple:
            size += result_bytes(each)
    return size
