"""One client of a workload: the real client core, a process that says what to ask, and the record of both. Sans IO.

Whoever drives it has the clock, the sockets (or what stands for them) and the choice of members::

    driver = ClientDriver(me, workload.process(me), history.append, DriverSettings(), now_ns)
    loop:
        if driver.wants_hang_up:     drop the stream;            driver.disconnected(now_ns)
        if driver.wants_connection:  dial a member, not driver.avoid if there is a choice;
                                     driver.connected(member, connection, now_ns), or driver.disconnected(now_ns)
        data = driver.take_bytes();  send it, and only then drop the stream, if that is wanted
        driver.received(data, now_ns)                            as bytes arrive
        driver.tick(now_ns)          at driver.next_at_ns, or more often
    driver.stop(now_ns)              no further steps; what is under way goes on: drive it until driver.done
    driver.close(now_ns)             what still is under way is given up: unknown, if it was a write that was sent

Each call may change what the driver wants: look at ``wants_hang_up`` and ``take_bytes`` after it.

Times. A call is stamped one nanosecond after the instant at which it was made, so that what a process asks comes
after what it was told before. This puts no two operations into a false order, provided that a member's answer takes
more than two nanoseconds.

When the session ends a new core, with a new session, goes on with the same process.
"""

from collections.abc import Callable, Generator, Iterable, Iterator

from coord.client.core import State
from coord.jepsen_like.history import Record
from coord.jepsen_like.workloads.clock import NEVER_NS, Clock
from coord.jepsen_like.workloads.pieces import Pieces
from coord.jepsen_like.workloads.recorder import Recorder
from coord.jepsen_like.workloads.settings import DriverSettings
from coord.jepsen_like.workloads.talk import Talk
from coord.jepsen_like.workloads.waiting import MS, ForNews, ForTime, Waiting
from coord.jepsen_like.workloads.workload import (
    AwaitGrant,
    DropReplies,
    EndSession,
    MoveAway,
    Pause,
    Process,
    Say,
    Step,
    Together,
    Unwatch,
    Wait,
    Watch,
)


class ClientDriver:
    """See the module for how to drive it. Every record goes to ``record`` as it comes about."""

    def __init__(
        self,
        process: Process,
        script: Iterable[Step],
        record: Callable[[Record], None],
        settings: DriverSettings,
        now_ns: int,
    ) -> None:
        self.process = process
        self.avoid = 0
        """The member that was of no use, or was left on purpose; 0: none."""
        self._script: Iterator[Step] | None = iter(script)
        self._clock = Clock(now_ns, settings.clock_rate)
        self._recorder = Recorder(process, record, self._clock)
        self._talk = Talk(process, self._recorder, settings, self._clock)
        self._pieces = Pieces()
        self._stream = False
        self._drop = False
        """The stream is to be dropped, and nothing more of it counts."""
        self._drop_when_sent = False
        self._closed = False
        self._waiting: Waiting = ForTime(now_ns)
        self._looked_ns = now_ns - 1

    # --- what it wants ---

    @property
    def wants_connection(self) -> bool:
        return not self._stream and not self._closed

    @property
    def wants_hang_up(self) -> bool:
        """The stream is of no further use."""
        return self._drop

    @property
    def has_bytes(self) -> bool:
        return self._stream and not self._drop and self._talk.core.has_bytes

    def take_bytes(self) -> bytes:
        """All that is to be sent now. It counts as sent."""
        if not self._stream or self._drop:
            return b""
        data = self._talk.core.take_bytes()
        if data and self._drop_when_sent:
            self._drop_when_sent = False
            self._leave()
        return data

    @property
    def next_at_ns(self) -> int:
        """When ``tick`` has something to do, as things are; ``NEVER_NS``: not of itself."""
        at_ns = self._clock.wake_ns(self._talk.next_at)
        if self._script is not None and self._waiting.until_ns > self._looked_ns:
            at_ns = min(at_ns, self._waiting.until_ns)
        return NEVER_NS if self._closed else at_ns

    @property
    def done(self) -> bool:
        """The process has ended or was stopped, and everything it asked has an outcome."""
        return self._script is None and not self._talk.under_way

    # --- what happens to it ---

    def connected(self, member: int, connection: int, now_ns: int) -> None:
        """A stream to ``member`` is up. ``connection``: unique in the history, and not 0."""
        self._stream, self._drop = True, self._closed
        self._recorder.connection, self._recorder.member = connection, member
        self._pieces = Pieces()
        self.avoid = 0
        self._talk.core.connected(self._clock.seconds(now_ns))
        self._settle("client", now_ns)

    def received(self, data: bytes, now_ns: int) -> None:
        """``data`` arrived, in order."""
        for piece in self._pieces.of(data):
            if self._drop:
                break
            self._talk.core.received(piece, self._clock.seconds(now_ns))
            self._look("member", now_ns)
        self._advance(now_ns)

    def disconnected(self, now_ns: int) -> None:
        """The stream is gone, or could not be had."""
        self._stream = self._drop = self._drop_when_sent = False
        self._talk.core.disconnected(self._clock.seconds(now_ns))
        self._settle("client", now_ns)

    def tick(self, now_ns: int) -> None:
        if not self._closed:
            self._talk.core.tick(self._clock.seconds(now_ns))
            self._settle("client", now_ns)

    def stop(self, now_ns: int) -> None:
        """The process takes no further steps."""
        script, self._script = self._script, None
        if isinstance(script, Generator):
            script.close()
        self._settle("client", now_ns)

    def close(self, now_ns: int) -> None:
        """Give up what is under way. The session lives on until its timeout."""
        self.stop(now_ns)
        if not self._closed:
            self._talk.give_up(now_ns)
            self._closed, self._drop = True, self._stream

    # --- inside ---

    def _settle(self, by: str, now_ns: int) -> None:
        if not self._closed:
            self._look(by, now_ns)
            self._advance(now_ns)

    def _look(self, by: str, now_ns: int) -> None:
        if not self._talk.look(by, now_ns):
            self._leave()

    def _advance(self, now_ns: int) -> None:
        self._looked_ns = now_ns
        while self._script is not None and self._waiting.is_over(now_ns):
            outcome = self._waiting.outcome()
            try:
                script = self._script
                step = script.send(outcome) if isinstance(script, Generator) else next(script)
            except StopIteration:
                self._script = None
            else:
                self._waiting = self._begin(step, now_ns)

    def _begin(self, step: Step, now_ns: int) -> Waiting:
        match step:
            case Together(asks):
                return self._talk.ask(asks, True, now_ns)
            case DropReplies(asks):
                self._drop_when_sent = self._talk.core.state is State.ATTACHED
                return self._talk.ask(asks, True, now_ns)
            case Pause(ms):
                return ForTime(now_ns + ms * MS)
            case Watch():
                return self._talk.watch(step, now_ns)
            case Wait(watched, ms):
                return ForNews(watched, now_ns + ms * MS)
            case Unwatch(watched):
                self._talk.unwatch(watched.number, now_ns)
            case AwaitGrant(number, ms):
                return self._talk.claims.wait(number, now_ns + ms * MS)
            case EndSession():
                return self._talk.end_session(now_ns)
            case MoveAway():
                self._leave()
            case Say(what, facts):
                self._recorder.note(what, facts, now_ns)
            case _:
                return self._talk.ask((step,), False, now_ns)
        return ForTime(now_ns)

    def _leave(self) -> None:
        """For another member."""
        if self._stream:
            self._drop, self.avoid = True, self._recorder.member
