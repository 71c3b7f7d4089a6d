"""The client core: a session, its requests and its watches, sans IO.

No clock, no dice, no tasks, no sockets: whoever drives it says what time it is (``now``, seconds of any monotonic
clock), brings the bytes that arrived, and sends the bytes it asks for. The async library beside it drives one;
so does a load generator, without a task for each request::

    core = Core(CoreSettings(name="bench"))
    core.connected(now)                           # a stream to some member is up
    loop:
        request = core.write(Set("/a", b"x").row())           # as many as wanted, at any time
        request = core.read(Get("/a").row(), mode=ReadMode.LINEARIZABLE)
        data = core.take_bytes()                  # all there is to send now: one frame of writes, one of reads
        send(data); core.received(receive(), now)
        for request in core.take_completed():     # in the order of their answers
            request.context, request.error, request.reply, request.result()
        core.tick(now)                            # deadlines, keepalives
    core.disconnected(now)                        # the stream is gone: connect again, to any member

In: ``connected``, ``received``, ``disconnected``, ``tick`` (at ``next_tick_at()``, or more often), ``write``,
``read``, ``abandon``, ``watch``, ``unwatch``, ``taken``, ``end_session``, ``close``. Out: ``take_bytes``,
``take_completed``, ``take_woken`` (watches with news), ``take_states``, and ``hang_up``: when it is set, drop the
stream and call ``disconnected``. Nothing here raises but ``write``, ``read`` and ``watch``, for what is refused
before it is sent.
"""

from enum import StrEnum
from typing import Any, Final

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
    SessionRequired,
    Unavailable,
    from_code,
)
from coord.api.ops import ReadMode, Row, WatchScope
from coord.api.paths import check_path
from coord.client.lease import Lease
from coord.client.request import NEVER, OTHER, WRITE, Request
from coord.client.requests import Requests
from coord.client.settings import CoreSettings
from coord.client.watching import Watches, Watching
from coord.limits import SERVER_FRAME_MAX_BYTES
from coord.wire.cbor import DecodeError
from coord.wire.client_frames import (
    Events,
    Goodbye,
    Hello,
    NewSession,
    Replies,
    ResumeSession,
    ServerFrame,
    Unwatch,
    Watch,
    WatchEnded,
    Welcome,
    decode_server_frame,
    encode_end_session,
    encode_hello,
    encode_keepalive,
    encode_unwatch,
    encode_watch,
)
from coord.wire.framing import FrameBuffer
from coord.wire.op_rows import INT_MAX, check_int

LINEARIZABLE: Final = int(ReadMode.LINEARIZABLE)

_FINAL: Final = (LimitExceeded.code, ProtocolError.code, InvalidRequest.code)
"""Goodbyes to a first hello that another member, or another try, would only repeat."""


class State(StrEnum):
    """connecting → connected ⇄ suspended; from anywhere → ended or closed, for good."""

    CONNECTING = "connecting"
    """No member has said welcome yet."""
    CONNECTED = "connected"
    SUSPENDED = "suspended"
    """No connection; the session, if any, goes on, and another member is looked for."""
    ENDED = "ended"
    """The session is over: a member said so, or by the client's own clock it must be."""
    CLOSED = "closed"
    """The client was closed, or could never begin; see ``Core.failure``."""


OVER: Final = (State.ENDED, State.CLOSED)


class Core:
    """One client. See the module for how to drive it."""

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
        self._completed: list[Request] = []
        self._woken: dict[Watching, None] = {}
        self._states: list[State] = []

    # --- the stream ---

    def connected(self, now: float) -> None:
        """A stream to a member is up; nothing was sent on it."""
        self._buffer = FrameBuffer(SERVER_FRAME_MAX_BYTES)
        self._stream, self._welcomed = True, False
        self._shown = 0
        self.hang_up = None
        self._frames = [encode_hello(Hello(self._wanted_session(), self.settings.name, self._cluster))]
        self._lease.hello_sent(now)

    def received(self, data: bytes, now: float) -> None:
        """``data`` arrived, in order."""
        if not self._stream or self.hang_up is not None:
            return
        try:
            for raw in self._buffer.feed(data):
                self._frame(decode_server_frame(raw))
        except (DecodeError, TypeError, ValueError, IndexError) as error:
            self._give_up(ProtocolError(f"this does not look like a member of coord: {error}"))

    def disconnected(self, now: float, reason: CoordError | None = None) -> None:
        """The stream is gone, or could not be had. What was in flight goes out again on the next one."""
        self.last_error = self.hang_up or reason or self.last_error
        self._stream = self._welcomed = False
        self.member = 0
        self.hang_up = None
        self._frames.clear()
        self._openings.clear()
        self._ending_id = 0
        self._lease.disconnected()
        self._watches.disconnected(self._shown)
        self._requests.disconnected()
        if self.state is State.CONNECTED:
            self._become(State.SUSPENDED)

    def take_bytes(self) -> bytes:
        """Everything to be sent now: the hello alone, and the rest once the welcome came. It counts as sent."""
        if not self._stream or self.hang_up is not None:
            return b""
        frames, self._frames = self._frames, []
        if self._welcomed:
            frames += self._requests.take_frames()
            if self._wants_ending():
                self._ending_id = self._requests.next_id()
                frames.append(encode_end_session(self._ending_id))
        return b"".join(frames)

    @property
    def has_bytes(self) -> bool:
        """Whether ``take_bytes`` has anything."""
        if not self._stream or self.hang_up is not None:
            return False
        return bool(self._frames) or (self._welcomed and (self._requests.has_frames or self._wants_ending()))

    def _wants_ending(self) -> bool:
        ending = self._ending
        return (
            ending is not None and not ending.done and not self._ending_id and self._requests.writes_are_out
        )

    # --- time ---

    def tick(self, now: float) -> None:
        """Look at the clock: deadlines, keepalives, the session's end."""
        if now >= self._requests.earliest_deadline:
            self._expire(now)
        lease = self._lease
        if now >= lease.safe_until and self.state not in OVER:
            self._end(
                f"nothing was heard of the members for the session's timeout of {lease.timeout:g} s; "
                "by now it must be over"
            )
        elif now >= lease.patience_ends_at and self.hang_up is None:
            self._give_up(Unavailable("the member does not answer, or has no quorum"))
        elif self._welcomed and lease.keepalive_due(now):
            request = self._requests.next_id()
            lease.keepalive_sent(request, now)
            self._frames.append(encode_keepalive(request))

    def next_tick_at(self) -> float:
        """When ``tick`` has something to do; ``inf``: nothing, as things are."""
        if self.state in OVER:
            return NEVER
        return min(self._requests.earliest_deadline, self._lease.next_at)

    @property
    def safe_until(self) -> float:
        """Until then the session surely lives, on the driver's clock; ``inf`` while there is none."""
        return self._lease.safe_until

    @property
    def session_timeout(self) -> float:
        """Seconds: as granted, or as asked for while no member has granted any."""
        return self._lease.timeout

    @property
    def unanswered(self) -> int:
        """Requests that are queued or in flight."""
        return self._requests.unanswered

    # --- requests ---

    def write(self, op: Row, deadline: float = NEVER, context: Any = None) -> Request:
        """Submit a write. Raises :class:`CoordError` (refused) for what cannot even be sent.

        Writes are applied in the order of these calls, each exactly once.
        """
        self._check_open()
        if not self.settings.session:
            raise SessionRequired("this client was opened without a session, and writes need one")
        return self._requests.submit(op, WRITE, 0, deadline, context)

    def read(
        self,
        op: Row,
        mode: int = LINEARIZABLE,
        at_least: int = 0,
        deadline: float = NEVER,
        context: Any = None,
    ) -> Request:
        """Submit a read. Raises :class:`CoordError` (refused) for what cannot even be sent.

        A linearizable read sees every write that was answered before this call.
        """
        self._check_open()
        check_int(at_least, 0, INT_MAX, "a revision")
        return self._requests.submit(op, int(ReadMode(mode)), at_least, deadline, context)

    def abandon(self, request: Request) -> None:
        """Its caller waits no more: it is not completed. A write that was sent may still happen."""
        request.done = True

    def take_completed(self) -> list[Request]:
        """Requests that are done since the last call, in the order of their answers."""
        completed, self._completed = self._completed, []
        return completed

    # --- watches ---

    def watch(
        self,
        path: str,
        scope: int,
        from_revision: int | None = None,
        deadline: float = NEVER,
        context: Any = None,
    ) -> Watching:
        """Open a watch; its ``opening`` completes when it is open, or could not be. Raises as ``write`` does."""
        self._check_open()
        if type(path) is not str:
            raise InvalidRequest(f"a path is text, not {type(path).__name__}")
        check_path(path)
        if from_revision is not None:
            check_int(from_revision, 1, INT_MAX, "a revision to watch from")
        opening = Request([], b"", OTHER, 0, deadline, context)
        watch = Watching(path, int(WatchScope(scope)), from_revision, opening, context)
        self._watches.add(watch)
        self._unopened[watch] = None
        self._requests.heed(deadline)
        if self._welcomed:
            self._open_watch(watch)
        return watch

    def unwatch(self, watch: Watching) -> None:
        """Its user has gone."""
        watch.closed = watch.opening.done = True
        self._unopened.pop(watch, None)
        was_opened = watch.opened
        number = self._watches.remove(watch)
        if was_opened:
            self._send_unwatch(number)
        # One that is being opened is closed once the member has opened it: until then it may not know the number.

    def taken(self, watch: Watching) -> None:
        """Its user took events. A paused watch goes on when there is room again."""
        if watch.paused and self._watches.has_room(watch) and not watch.ended:
            watch.paused = False
            if self._welcomed:
                self._open_watch(watch)

    def take_woken(self) -> list[Watching]:
        """Watches that have events or an error since the last call."""
        woken, self._woken = self._woken, {}
        return list(woken)

    # --- ends ---

    def end_session(self, deadline: float = NEVER, context: Any = None) -> Request:
        """End the session, after every write submitted so far."""
        self._check_open()
        self._ending = Request([], b"", OTHER, 0, deadline, context)
        self._requests.heed(deadline)
        return self._ending

    def close(self, failure: CoordError | None = None) -> None:
        """Stop. Whatever is pending is told so; a session that was not ended lives until its timeout."""
        if self.state not in OVER:
            self.failure = failure
            self._finish(State.CLOSED)

    def take_states(self) -> list[State]:
        """The states that were entered since the last call."""
        states, self._states = self._states, []
        return states

    # --- inside: what members say ---

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
        self._become(State.CONNECTED)

    def _goodbye(self, goodbye: Goodbye) -> None:
        code, message, details = goodbye
        if code == SessionEnded.code and self.session:
            self._end(message)
        elif code in _FINAL and self.state is State.CONNECTING:
            self.close(from_code(code, message, details))
        else:
            self._give_up(from_code(code, message, details))

    # --- inside: what becomes of it ---

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
            error = self._over_error()
            error.outcome = "refused"
            raise error

    def _over_error(self) -> CoordError:
        failure = self.failure
        if failure is None:
            return Disconnected("this client is closed")
        return type(failure)(failure.message, failure.details)
