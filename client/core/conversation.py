"""What a client core holds, and what members' words do to it. Half of :class:`coord.client.core.engine.Core`, whose
other half is what its driver and its callers use. Sans IO.
"""

from enum import StrEnum
from typing import Final

from coord.api.commands import Reply
from coord.api.errors import (
    OK,
    CoordError,
    DeadlineExceeded,
    Disconnected,
    InvalidRequest,
    LimitExceeded,
    ProtocolError,
    SessionEnded,
    Unavailable,
    from_code,
)
from coord.client.core.lease import Lease
from coord.client.core.request import Request
from coord.client.core.requests import Requests
from coord.client.core.settings import CoreSettings
from coord.client.core.watching import Watches, Watching
from coord.limits import SERVER_FRAME_MAX_BYTES
from coord.wire.cbor import DecodeError
from coord.wire.client_frames import (
    Events,
    Goodbye,
    NewSession,
    Replies,
    ResumeSession,
    ServerFrame,
    Unwatch,
    Watch,
    WatchEnded,
    Welcome,
    encode_unwatch,
    encode_watch,
)
from coord.wire.framing import FrameBuffer

CLOSED: Final = "this client is closed"

_FINAL: Final = (LimitExceeded.code, ProtocolError.code, InvalidRequest.code)
"""Goodbyes to a first hello that another member, or another try, would only repeat."""


class State(StrEnum):
    """connecting → attached ⇄ suspended; from anywhere → ended or closed, for good."""

    CONNECTING = "connecting"
    """No member has said welcome yet."""
    ATTACHED = "attached"
    SUSPENDED = "suspended"
    """No connection; the session, if any, goes on, and another member is looked for."""
    ENDED = "ended"
    """The session is over: a member said so, or by the client's own clock it must be."""
    CLOSED = "closed"
    """The client was closed, or could never begin; see ``Core.failure``."""


OVER: Final = (State.ENDED, State.CLOSED)


class Conversation:
    """One client's talk with one member after another."""

    def __init__(self, settings: CoreSettings) -> None:
        self.settings = settings
        self.state = State.CONNECTING
        self.session = 0
        """0 before there is one, and without one."""
        self.member = 0
        """The member this client is connected to; 0 while it is not."""
        self.members: list[tuple[int, str]] = []
        """``(member, address)``, as the last welcome said."""
        self.revision = 0
        """The greatest that a member has shown: by a reply, an event or a welcome."""
        self.failure: CoordError | None = None
        """Why the client is over, when it did not end by being closed."""
        self.hang_up: CoordError | None = None
        """Set: the stream is of no further use; drop it, and call ``disconnected``."""
        self.last_error: CoordError | None = None
        """Why the last stream was given up, or ended."""
        self._secret = b""
        self._cluster: bytes | None = None
        self._lease = Lease(settings)
        self._requests = Requests(settings)
        self._watches = Watches(settings)
        self._buffer = FrameBuffer(SERVER_FRAME_MAX_BYTES)
        self._stream = self._welcomed = False
        self._shown = 0
        """The greatest revision of a reply on this connection, other than to the opening of a watch."""
        self._frames: list[bytes] = []
        self._openings: dict[int, tuple[Watching, int]] = {}
        """Request id -> the watch that is being opened, and its number."""
        self._unopened: dict[Watching, None] = {}
        """Watches whose users still wait for the first opening."""
        self._ending: Request | None = None
        self._ending_id = 0
        self._closes = False
        """The session's end is the client's own, and its close."""
        self._completed: list[Request] = []
        self._woken: dict[Watching, None] = {}
        self._states: list[State] = []
        self._warning: str | None = None

    # --- what members say ---

    def _frame(self, frame: ServerFrame) -> None:
        if isinstance(frame, Replies):
            self._replies(frame.rows)
        elif isinstance(frame, Events):
            for group in frame.groups:
                self.revision = max(self.revision, group.revision)
                for watch in self._watches.tell(group, self._woken):
                    watch.paused = True
                    self._send_unwatch(self._watches.shut(watch))
        elif isinstance(frame, Welcome):
            self._welcome(frame)
        elif isinstance(frame, WatchEnded):
            watch_ended = self._watches.get(frame.watch)
            if watch_ended is not None:
                self._fail_watch(watch_ended, from_code(frame.code, frame.message, frame.details))
        else:
            self._goodbye(frame)

    def _replies(self, rows: list[Reply]) -> None:
        answered, completed = self._requests.answered, self._completed
        shown = self._shown
        for row in rows:
            found = answered(row, completed)
            if found is not True:
                if found is not False:
                    self._give_up(found)
                elif not self._other_reply(row, shown):
                    continue
            if row[2] > shown:
                self._shown = shown = row[2]
        if shown > self.revision:
            self.revision = shown

    def _other_reply(self, row: Reply, shown: int) -> bool:
        """A reply to what is no read or write. False: it does not show the tree."""
        request = row[0]
        opening = self._openings.pop(request, None)
        if opening is not None:
            self._watch_answered(*opening, row, shown)
            return False
        if request == self._ending_id and self._ending is not None:
            self._complete(self._ending, row)
            if self._closes and row[1] == OK:
                self.close()  # before the goodbye, which tells of the session's end as of any other
        elif row[1] == OK:
            self._lease.keepalive_answered(request)
        elif self._lease.awaits(request):
            self._give_up(from_code(row[1], row[4], row[5]))
        # Else: to an unwatch, or to a write whose caller has gone and that was sent on a former connection.
        return True

    def _watch_answered(self, watch: Watching, number: int, row: Reply, shown: int) -> None:
        if watch.number != number:
            if row[1] == OK:
                self._send_unwatch(number)  # its user went while it was being opened
        elif row[1] == OK:
            self._watches.opened(watch, row[2], shown)
            self._unopened.pop(watch, None)
            self._complete(watch.opening, row)
        elif row[1] == Unavailable.code:
            self._give_up(from_code(row[1], row[4], row[5]))
        else:
            self._fail_watch(watch, from_code(row[1], row[4], row[5]))

    def _welcome(self, welcome: Welcome) -> None:
        if self._welcomed or (self.session and welcome.session != self.session):
            raise DecodeError("a welcome that was not asked for")
        self._welcomed = True
        if welcome.session and not self.session:
            self.session, self._secret = welcome.session, welcome.secret
        self._cluster = welcome.cluster
        self.member, self.members = welcome.member, welcome.members
        self.revision = max(self.revision, welcome.revision)
        self._lease.welcomed(welcome.timeout_ms)
        # Before the requests: what their replies will show, the watches are told first, also across a reconnection.
        for watch in self._watches:
            if not watch.paused:
                self._open_watch(watch)
        self._become(State.ATTACHED)

    def _goodbye(self, goodbye: Goodbye) -> None:
        code, message, details = goodbye
        if code == SessionEnded.code and self.session:
            self._end(message)
        elif code in _FINAL and self.state is State.CONNECTING:
            self.close(from_code(code, message, details))
        elif code == ProtocolError.code and self._welcomed:
            self.close(from_code(code, message, details))  # the same frames would be refused again, and again
        else:
            self._give_up(from_code(code, message, details))

    # --- what becomes of it ---

    def close(self, failure: CoordError | None = None) -> None:
        """Stop. Whatever is pending is told so; a session that was not ended lives until its timeout."""
        if self.state not in OVER:
            self.failure = failure
            self._finish(State.CLOSED)

    def unwatch(self, watch: Watching) -> None:
        """Its user has gone."""
        watch.closed = watch.opening.done = True
        self._unopened.pop(watch, None)
        was_opened = watch.opened
        number = self._watches.remove(watch)
        if was_opened:
            self._send_unwatch(number)
        # One that is being opened is closed once the member has opened it: until then it may not know the number.

    def _wanted_session(self) -> NewSession | ResumeSession | None:
        if not self.settings.session:
            return None
        if self.session:
            return ResumeSession(self.session, self._secret)
        return NewSession(self.settings.session_timeout_ms)

    def _open_watch(self, watch: Watching) -> None:
        request, number = self._requests.next_id(), self._watches.begin(watch)
        self._openings[request] = (watch, number)
        self._frames.append(
            encode_watch(Watch(request, number, watch.path, watch.scope, watch.next_revision))
        )

    def _send_unwatch(self, number: int) -> None:
        self._frames.append(encode_unwatch(Unwatch(self._requests.next_id(), number)))

    def _complete(self, request: Request, row: Reply) -> None:
        if not request.done:
            request.done = True
            request.reply = row
            if row[1] != OK:
                request.error = from_code(row[1], row[4], row[5])
            self._completed.append(request)

    def _fail(self, request: Request, error: CoordError) -> None:
        if not request.done:
            request.fail(error)
            self._completed.append(request)

    def _fail_watch(self, watch: Watching, error: CoordError) -> None:
        watch.error = error
        self._watches.remove(watch)
        self._unopened.pop(watch, None)
        self._fail(watch.opening, error)
        self._woken[watch] = None

    def _expire(self, now: float) -> None:
        where = (
            "" if self._welcomed else f"; no member is connected: {self.last_error or 'none answered yet'}"
        )
        message = f"the deadline passed before a member had answered{where}"
        self._requests.expire(now, message, self._completed)
        for watch in list(self._unopened):
            if watch.opening.deadline <= now:
                self._fail(watch.opening, DeadlineExceeded(message))
                self.unwatch(watch)
            else:
                self._requests.heed(watch.opening.deadline)
        if self._ending is not None and not self._ending.done:
            if self._ending.deadline <= now:
                self._fail(self._ending, DeadlineExceeded(message))
            else:
                self._requests.heed(self._ending.deadline)

    def _give_up(self, error: CoordError) -> None:
        """The present member is of no use: another one."""
        if self._stream and self.hang_up is None:
            self.hang_up = error

    def _end(self, message: str) -> None:
        if self.state not in OVER:
            self.failure = SessionEnded(message)
            self._finish(State.ENDED)

    def _finish(self, state: State) -> None:
        self._become(state)
        self._requests.fail_all(self._over_error, self._completed)
        for watch in self._watches:
            self._fail_watch(watch, self._over_error())
        if self._ending is not None:
            self._fail(self._ending, self._over_error())
        self._give_up(self._over_error())

    def _become(self, state: State) -> None:
        if self.state is not state:
            self.state = state
            self._states.append(state)

    def _check_open(self) -> None:
        if self.state in OVER:
            raise self._over_error()

    def _over_error(self) -> CoordError:
        """Why nothing is done any more. What was sent before says so of itself (:meth:`Request.fail`)."""
        error = Disconnected(CLOSED) if self.failure is None else self.failure.anew()
        error.outcome = "refused"
        return error
