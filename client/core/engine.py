"""What whoever drives a core, and those who call it, use; see :mod:`coord.client.core` for how."""

from typing import Any

from coord.api.errors import (
    CoordError,
    InvalidRequest,
    ProtocolError,
    SessionRequired,
    Unavailable,
)
from coord.api.ops import WATCH_CLAIMS, ReadMode, Row, WatchScope
from coord.api.paths import check_path
from coord.client.core.conversation import OVER, Conversation, State
from coord.client.core.request import NEVER, OTHER, WRITE, Request
from coord.client.core.watching import Watching
from coord.limits import SERVER_FRAME_MAX_BYTES
from coord.wire.cbor import DecodeError
from coord.wire.client_frames import (
    Hello,
    decode_server_frame,
    encode_end_session,
    encode_hello,
    encode_keepalive,
)
from coord.wire.framing import FrameBuffer
from coord.wire.op_rows import INT_MAX, check_int

LINEARIZABLE, LOCAL = int(ReadMode.LINEARIZABLE), int(ReadMode.LOCAL)

STOOD_STILL_SECONDS = 2.0
"""Whoever drives a core and is later than that was held up."""


class Core(Conversation):
    """One client. See the module for how to drive it."""

    # --- the stream ---

    def connected(self, now: float) -> None:
        """A stream to a member is up; nothing was sent on it. One that came up after the end is hung up on."""
        if self.state in OVER:
            self.hang_up = self._over_error()
            return
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
        self._watches.disconnected(self._shown, now)
        self._requests.disconnected()
        if self.state is State.ATTACHED:
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
        if self.state in OVER:
            return
        if now >= self._requests.earliest_deadline:
            self._expire(now)
        lease = self._lease
        if lease.is_over(now):
            self._end(
                f"nothing was heard of the members for the session's timeout of {lease.timeout:g} s; "
                f"by now it must be over{_stood_still(now - lease.safe_until)}"
            )
        elif now >= lease.patience_ends_at and self.hang_up is None:
            self._give_up(Unavailable("the member does not answer, or has no quorum"))
        elif self._welcomed and lease.keepalive_due(now):
            request = self._requests.next_id()
            late = lease.keepalive_sent(request, now)
            self._frames.append(encode_keepalive(request))
            if late:
                self._warning = _late_words(late, lease.safe_until - now, lease.timeout)

    def next_tick_at(self) -> float:
        """When ``tick`` has something to do; ``inf``: nothing, as things are."""
        if self.state in OVER:
            return NEVER
        return min(self._requests.earliest_deadline, self._lease.next_at)

    @property
    def safe_until(self) -> float:
        """Until then the session surely lives, on the driver's clock; ``inf`` while there is none."""
        return self._lease.safe_until

    def session_is_over(self, now: float) -> bool:
        """Whether a ``tick`` would end the session, if it has not ended yet; from then on it is sure to."""
        return self._lease.is_over(now)

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
        if self.state in OVER:
            raise self._over_error()
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
        if self.state in OVER:
            raise self._over_error()
        if at_least != 0:
            check_int(at_least, 0, INT_MAX, "a revision")
        if not LINEARIZABLE <= mode <= LOCAL:
            raise InvalidRequest(f"there is no read mode {mode!r:.40}")
        return self._requests.submit(op, int(mode), at_least, deadline, context)

    def abandon(self, request: Request) -> None:
        """Its caller waits no more: it is not completed. A write that was sent may still happen."""
        request.done = True

    def take_completed(self) -> list[Request]:
        """Requests that are done since the last call, in the order of their answers."""
        completed, self._completed = self._completed, []
        return completed

    def take_second_half(self, at_least: int) -> list[Request]:
        """Of what ``take_completed`` has, the later half, where that is ``at_least`` so many; else nothing. For drivers
        that wake callers in turns.
        """
        half = len(self._completed) // 2
        if half < at_least:
            return []
        others = self._completed[half:]
        del self._completed[half:]
        return others

    # --- watches ---

    def watch(
        self,
        path: str,
        scope: int,
        from_revision: int | None = None,
        deadline: float = NEVER,
        context: Any = None,
    ) -> Watching:
        """Open a watch; its ``opening`` completes when it is open, or could not be. Raises as ``write`` does.

        ``scope`` is a :class:`WatchScope`, with ``WATCH_CLAIMS`` added where changes of claims are wanted, too.
        """
        self._check_open()
        if type(path) is not str:
            raise InvalidRequest(f"a path is text, not {type(path).__name__}")
        check_path(path)
        if from_revision is not None:
            check_int(from_revision, 1, INT_MAX, "a revision to watch from")
        opening = Request([], b"", OTHER, 0, deadline, context)
        WatchScope(scope & ~WATCH_CLAIMS)  # raises for what is none
        watch = Watching(path, int(scope), from_revision, opening, context)
        self._watches.add(watch)
        self._unopened[watch] = None
        self._requests.heed(deadline)
        if self._welcomed:
            self._open_watch(watch)
        return watch

    def taken(self, watch: Watching) -> None:
        """Its user took events. A paused watch goes on when there is room again."""
        if watch.paused and self._watches.has_room(watch) and not watch.ended:
            watch.paused = False
            if self._welcomed:
                self._open_watch(watch)

    def told(self, watch: Watching) -> int | None:
        """Everything through this revision is in its buffer, or was taken; ``None`` before it was opened."""
        return self._watches.told(watch, self._shown)

    def take_woken(self) -> list[Watching]:
        """Watches that have events or an error since the last call."""
        woken, self._woken = self._woken, {}
        return list(woken)

    # --- ends ---

    def end_session(self, deadline: float = NEVER, context: Any = None, close: bool = False) -> Request:
        """End the session, after every write submitted so far; ``close``: and this client with it."""
        self._check_open()
        self._closes = close
        self._ending = Request([], b"", OTHER, 0, deadline, context)
        self._requests.heed(deadline)
        return self._ending

    def take_states(self) -> list[State]:
        """The states that were entered since the last call."""
        states, self._states = self._states, []
        return states

    def take_warning(self) -> str | None:
        """What somebody should be told of, the latest: this program endangers its own session."""
        warning, self._warning = self._warning, None
        return warning

    def disown(self, why: CoordError) -> None:
        """This is a copy of a core that another process drives: refuse everything, and do nothing. What is pending is
        the other's; nothing here can be trusted to be whole.
        """
        self.failure = why
        self.state = State.CLOSED
        self.hang_up = why


def _late_words(late: float, left: float, timeout: float) -> str:
    words = (
        f"a keepalive is sent {late:.1f} s late: something in this program blocks its event loop, "
        "or the process did not get to run"
    )
    if left == NEVER:
        return words
    return f"{words}. {max(left, 0):.1f} s more, and its session, of {timeout:g} s, would have ended"


def _stood_still(seconds: float) -> str:
    """Whoever drives a core looks at the clock when it is asked to."""
    if seconds < STOOD_STILL_SECONDS:
        return ""
    return f". This process has not looked at its clock for {seconds:.0f} s: it was stopped, or slept, or was blocked"
