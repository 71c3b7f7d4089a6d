"""One client's talk with the cluster: a core at a time, what is asked of it, and what it says, recorded. Sans IO.

When the session ends a new core takes the old one's place, and what comes next is asked of that.
"""

from dataclasses import replace
from typing import Final

from coord.api.errors import CoordError, DeadlineExceeded, ProtocolError
from coord.api.ops import (
    WATCH_CLAIMS,
    Claim,
    ClaimFirst,
    ClaimSettings,
    Create,
    Delete,
    Fence,
    FencedWrite,
    HoldBack,
    Multi,
    ReadMode,
    Release,
    Set,
    SetLanes,
    WatchScope,
)
from coord.client.core import OVER, Core, State
from coord.client.core.claims import Asked
from coord.client.core.request import NEVER, Request
from coord.client.core.watching import Watching
from coord.jepsen_like.workloads.clock import Clock
from coord.jepsen_like.workloads.conversation import DISTRUSTS, FAILED
from coord.jepsen_like.workloads.own import SCOPE, Own, claims_something
from coord.jepsen_like.workloads.recorder import WRITE, Held, Recorder
from coord.jepsen_like.workloads.settings import DriverSettings
from coord.jepsen_like.workloads.waiting import MS, Call, ForCalls, ForRequest, ForTime, Waiting
from coord.jepsen_like.workloads.workload import LINEARIZABLE, Ask, Process, Read, Watch, Watched

MODES: Final = {each.name.lower(): int(each) for each in ReadMode}
SCOPES: Final = {each.name.lower(): int(each) for each in WatchScope}
SCOPES.update({f"{name}+claims": code | WATCH_CLAIMS for name, code in SCOPES.items() if name != SCOPE})
WRITES: Final = (
    Create
    | Set
    | Delete
    | Multi
    | Claim
    | ClaimFirst
    | Release
    | ClaimSettings
    | HoldBack
    | SetLanes
    | Fence
    | FencedWrite
)
WATCHES_MAX: Final = 1_000_000
"""Of one process: its watches are numbered from its own number times this on."""


class Talk:
    """``core`` is the present one. Whoever drives it hands it bytes and time, and calls :meth:`look` after each."""

    def __init__(self, me: Process, recorder: Recorder, settings: DriverSettings, clock: Clock) -> None:
        self._me = me
        self._recorder = recorder
        self._settings = settings
        self._clock = clock
        self._core_settings = replace(settings.core, session=me.has_session, name=f"process {me.number}")
        self.core = Core(self._core_settings)
        self.claims = Own(self.core, recorder)
        self.under_way = 0
        """Calls without an outcome yet."""
        self._held: dict[int, Held] = {}
        """Watches that go on, by their numbers in the history."""
        self._watches = 0
        self._end_asked = False
        """Of the present session: a member that says it is over may be saying that it was asked to end it."""

    # --- what the core says ---

    def look(self, by: str, now_ns: int) -> bool:
        """Record what the core has to say; ``by``: who would have said that the session is over.

        False: the stream is of no further use to what comes next.
        """
        core, recorder = self.core, self._recorder
        ended = False
        recorder.session(core, now_ns)
        if self.claims.is_due(self._clock.seconds(now_ns)):
            for late in self.claims.leave(self._clock.seconds(now_ns)):
                self._claim_ended(*late, now_ns)
        for request in core.take_completed():
            context = request.context
            if isinstance(context, Call):
                self._completed(context, request, now_ns)
            elif isinstance(context, Asked):
                call = self.claims.completed(context)
                if call is not None:
                    self._completed(call, request, now_ns)
            elif isinstance(context, Watched):
                if request.error is not None:
                    self._opening_failed(context, request.error, now_ns)
            elif context is not None:
                context.set()  # the library's own
            else:
                # Asked and not answered in time: it will end, by this or by its timeout.
                ended = request.error is None or isinstance(request.error, DeadlineExceeded)
        # Replies of this frame may have come before that of an opening, or after.
        for held in self._held.values():
            recorder.watch_opened(held, now_ns)
        self._look_at_claims(now_ns)
        for watching in core.take_woken():
            if isinstance(watching.context, Watched):
                found = self._held.get(watching.context.number)
                if found is not None:
                    self._news(found, now_ns)
            else:
                self._news_of_claims(watching, now_ns)
        self.claims.look(now_ns)
        core.take_states()
        if core.state in OVER:
            if core.state is State.ENDED:
                recorder.session_over(core, "request" if self._end_asked else by, now_ns)
            elif core.failure is not None:
                facts = {"error": core.failure.slug, "message": core.failure.message}
                recorder.note(FAILED, facts, now_ns)
            self.claims.end("client", now_ns)
            for late in self.claims.give_up():
                self._claim_ended(*late, now_ns)
            self._begin_anew()
            return False
        if ended:
            recorder.session_over(core, "request", now_ns)
            self.give_up(now_ns)
            self._begin_anew()
            return False
        if isinstance(core.hang_up, ProtocolError):
            recorder.note(DISTRUSTS, {"message": core.hang_up.message}, now_ns)
            return False
        return core.hang_up is None

    def give_up(self, now_ns: int) -> None:
        """Close the core: what is under way gets its outcome. The session lives on until its timeout."""
        for number in list(self._held):
            self.unwatch(number, now_ns)
        self.claims.end("client", now_ns)
        for late in self.claims.give_up():
            self._claim_ended(*late, now_ns)
        self.core.close()
        for request in self.core.take_completed():
            if isinstance(request.context, Call):
                self._completed(request.context, request, now_ns)

    def _begin_anew(self) -> None:
        self.core = Core(self._core_settings)
        self.claims = Own(self.core, self._recorder)
        self._held.clear()
        self._end_asked = False
        self._recorder.core_begins()

    def _completed(self, call: Call, request: Request, now_ns: int) -> None:
        self.under_way -= 1
        self._recorder.operation(self.core, call, request, request.error, now_ns)
        done = call.operation
        if done is not None and done.revision is not None and done.outcome == "ok":
            self.claims.answered(done.op, done.result, done.revision)

    def _claim_ended(self, call: Call, request: Request | None, error: CoordError, now_ns: int) -> None:
        """Without an answer."""
        self.under_way -= 1
        self._recorder.operation(self.core, call, request, error, now_ns)

    def _look_at_claims(self, now_ns: int) -> None:
        """At the library's own watch: was it opened?"""
        claims = self.claims
        if claims.has_new_watch:
            self._watches += 1
            claims.begin_watch(Watched(self._me.number * WATCHES_MAX + self._watches, "/", SCOPE))
        if claims.watch is not None:
            self._recorder.watch_opened(claims.watch, now_ns)
            for call, error in claims.opened():
                self._claim_ended(call, None, error, now_ns)

    def _news_of_claims(self, watching: Watching, now_ns: int) -> None:
        """The library takes them; what it is told is recorded, as a user of such a watch would be told."""
        held = self.claims.watch
        if held is not None and held.watching is watching:
            self._recorder.claims_told(held, now_ns)
            if watching.error is not None:
                self._recorder.watch_over(held.watched, watching.error, now_ns)
            self.claims.news()
            self._look_at_claims(now_ns)

    def _opening_failed(self, watched: Watched, error: CoordError, now_ns: int) -> None:
        if self._held.pop(watched.number, None) is not None:
            self._recorder.watch_over(watched, error, now_ns)

    def _news(self, held: Held, now_ns: int) -> None:
        watching = held.watching
        self._recorder.watch_told(held, now_ns)
        if watching.error is not None:
            del self._held[held.watched.number]
            self._recorder.watch_over(held.watched, watching.error, now_ns)
        elif watching.paused:
            self.core.taken(watching)
            self._recorder.watch_opened(held, now_ns)

    # --- what is asked of it ---

    def ask(self, asks: tuple[Ask, ...], together: bool, now_ns: int) -> Waiting:
        """``together``: the outcome is a list."""
        calls = [self._call(each, now_ns) for each in asks]
        was_refused = any(call.operation is not None for call in calls)
        return ForCalls(calls, together, now_ns + self._settings.refusal_ms * MS * was_refused)

    def _call(self, ask: Ask, now_ns: int) -> Call:
        called_ns = now_ns + 1
        core, deadline = self.core, self._deadline(now_ns)
        if isinstance(ask, Read):
            call = Call(ask.op, ask.mode, ask.at_least, called_ns)
        else:
            call = Call(ask, WRITE if isinstance(ask, WRITES) else LINEARIZABLE, 0, called_ns)
        try:
            if claims_something(call.op):
                self.claims.ask(call, deadline)
            elif call.mode == WRITE:
                self.claims.about_to_end(call.op, now_ns)
                core.write(call.op.row(), deadline, call)
            else:
                core.read(call.op.row(), MODES[call.mode], call.at_least, deadline, call)
        except CoordError as error:
            self._recorder.operation(core, call, None, error, called_ns)
        else:
            self.under_way += 1
        return call

    def watch(self, step: Watch, now_ns: int) -> Waiting:
        self._watches += 1
        watched = Watched(self._me.number * WATCHES_MAX + self._watches, step.path, step.scope)
        try:
            watching = self.core.watch(
                step.path, SCOPES[step.scope], step.from_revision, self._deadline(now_ns), watched
            )
        except CoordError as error:
            self._recorder.watch_over(watched, error, now_ns)
            return ForTime(now_ns + self._settings.refusal_ms * MS, watched)
        self._held[watched.number] = Held(watched, watching)
        return ForRequest(watching.opening, watched)

    def unwatch(self, number: int, now_ns: int) -> None:
        held = self._held.pop(number, None)
        if held is not None:
            self.core.unwatch(held.watching)
            self._recorder.watch_over(held.watched, None, now_ns)

    def end_session(self, now_ns: int) -> Waiting:
        if not self._me.has_session:
            return ForTime(now_ns)
        self._end_asked = True
        self.claims.end("request", now_ns)
        return ForRequest(self.core.end_session(self._deadline(now_ns)), None)

    @property
    def next_at(self) -> float:
        """When there is something to do, on the client's clock."""
        return min(self.core.next_tick_at(), self.claims.next_at)

    def _deadline(self, now_ns: int) -> float:
        deadline_ms = self._settings.deadline_ms
        return self._clock.seconds(now_ns) + deadline_ms / 1000 if deadline_ms else NEVER
