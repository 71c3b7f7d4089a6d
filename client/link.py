"""The shell around the core: one stream at a time, one clock, and callers that wait.

Four tasks: two for the stream (:mod:`coord.client.streams`), one that looks at the clock when the core wants it, one
that tells callbacks of states. Callers wait by a waiter of their own, set when the core has completed their request.
No locks: everything runs in one thread, and nothing waits between two calls to the core that belong together.

A process may stand still anywhere, for any time: stopped, asleep with its machine, or blocked by its own code. So
whoever is about to rely on the session looks at the clock first (:meth:`Link.deadline`, :attr:`Link.state`),
whatever the tasks here have come to.
"""

import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, NoReturn, TypeVar

import anyio
import anyio.abc
from anyio.lowlevel import cancel_shielded_checkpoint, checkpoint

from coord.api.errors import CoordError, Disconnected, InvalidRequest
from coord.client import clock
from coord.client.core import OVER, Core, State
from coord.client.core.claims import OwnClaims
from coord.client.core.conversation import CLOSED
from coord.client.core.endpoints import Route
from coord.client.core.request import NEVER, Request
from coord.client.dialling import Dial, Resolve, dial_tcp, resolve_name
from coord.client.forks import FORKED, own
from coord.client.listeners import Listeners
from coord.client.streams import Streams
from coord.client.waiting import Waiter

log = logging.getLogger("coord.client")

T = TypeVar("T")

LOOK_SECONDS: Final = 1.0
"""The clock is looked at no less often. Loops wait by a clock that stands still while the machine sleeps, and
would go on waiting for what is long past; and a client that nobody holds any more is noticed."""

LATE_SECONDS, LATE_TURNS = 0.1, 5
"""A look at the clock that comes so late was held up by somebody. What has arrived meanwhile is read first, in so many
turns of the loop: the answer that is missed may lie there."""


class Bell:
    """Wakes those who wait now. Look first, then wait: nothing can ring between the two."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: anyio.Event | None = None
        """Made by who waits: whoever rings may be no task, and anyio would not know whose event it is."""

    def set(self) -> None:
        event, self._event = self._event, None
        if event is not None:
            event.set()

    async def wait(self) -> None:
        if self._event is None:
            self._event = anyio.Event()
        await self._event.wait()


def _nobody() -> None:
    return None


class Link(Streams):
    """Drives a core over streams, for as long as :meth:`run` runs. Lives in the event loop that it was made in."""

    def __init__(
        self,
        core: Core,
        route: Route,
        dial: Dial = dial_tcp,
        resolve: Resolve = resolve_name,
        now: Callable[[], float] = clock.now,
    ) -> None:
        super().__init__(core, route, dial, resolve, now)
        self.claims = OwnClaims(core)
        """Of the session, whichever view of the client has claimed them."""
        self._clock_moved = anyio.Event()
        self._clock_at = NEVER
        """When the core next wants to look at the clock."""
        self._state_changed = Bell()
        self._listeners = Listeners()
        self._scope = anyio.CancelScope(shield=True)
        self._tasks: anyio.abc.TaskGroup | None = None
        self._stopped = anyio.Event()
        self.forsaken = False
        """Set, in any thread: nobody is left who could use this client, or close it."""
        self.hold: Callable[[], object | None] = _nobody
        """What every view of this client has; see :mod:`coord.client.holding`."""
        own(self)

    async def run(self) -> None:
        """Keep the core connected, until it is over or :meth:`stop` is called. Raises nothing: a failure in here
        closes the core, and so every caller is told.

        *Cancellation:* shielded. A block that is cancelled still has a connection to end its session with.
        """
        try:
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    self._tasks = tasks
                    tasks.start_soon(self._send)
                    tasks.start_soon(self._keep_time)
                    tasks.start_soon(self._tell_states)
                    await self._keep_connected()
                    tasks.cancel_scope.cancel()
        except Exception as error:
            log.exception("the client has failed; this is a bug in it")
            self.core.close(CoordError(f"the client has failed, by a bug of its own: {error!r}"))
        finally:
            try:
                self.core.close()  # its event loop may have ended under it
                self.settle()
                self._listeners.tell()
            finally:
                self._stopped.set()

    async def stop(self) -> None:
        """End :meth:`run`, and wait until it has. *Cancellation:* shielded; there is nothing in it that takes long."""
        self.core.close()
        self.settle()
        self._scope.cancel()
        with anyio.CancelScope(shield=True):
            await self._stopped.wait()
        await cancel_shielded_checkpoint()  # its task leaves its group one step later

    def disown(self, why: InvalidRequest) -> None:
        """This is a forked child: the stream is the parent's, and whatever is pending is asked by the parent."""
        self.forked = True
        self._stream = None
        self.core.disown(why)

    # --- for callers ---

    def deadline(self, seconds: float) -> float:
        """When ``seconds`` will have passed, on the core's clock: the first thing in every call.

        Raises :class:`InvalidRequest` (refused) in another event loop or thread than the client's. And sees to it that
        a call which is made right after a pause does not act on a session that has ended in it.
        """
        if not self._home.is_here():
            self._refuse_elsewhere()
        now = self._now()
        if now >= self.core.safe_until:
            self._look(now)
        try:
            ends_at = now + seconds
        except (TypeError, OverflowError):
            ends_at = float("nan")
        if not isinstance(ends_at, float) or ends_at != ends_at or isinstance(seconds, bool):
            raise InvalidRequest(f"a deadline is a number of seconds, not {seconds!r:.40}")
        return ends_at

    def left(self, deadline: float) -> float:
        """Seconds until then; below 0: it has passed."""
        return deadline - self._now()

    def waiter(self) -> Waiter:
        """For the context of a request, and :meth:`finished`."""
        return self._home.waiter()

    def soon(self, call: Callable[[], None]) -> None:
        """Have ``call()`` called after those who are woken now."""
        self._home.soon(call)

    def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``work`` beside the link, until the client is over. It must not raise."""
        if self._tasks is None:
            raise RuntimeError("a link that does not run")
        self._tasks.start_soon(work)

    async def finished(self, request: Request, answer: Callable[[Request], T]) -> T:
        """Wait until ``request``, whose context is a waiter, is done; returns what ``answer`` makes of it.

        *Cancellation:* it is abandoned.
        """
        if not self._asked_to_send:
            self._ask_to_send()
        if request.deadline < self._clock_at:
            self._clock_moved.set()
        try:
            await request.context.wait()
        finally:
            if not request.done:
                self.core.abandon(request)
        return answer(request)

    def settle(self) -> None:
        """After something was told to the core: wake whoever has something to do now."""
        core = self.core
        for watch in core.take_woken():
            watch.context.set()  # first: a cache applies what a reply is about to show
        for request in core.take_completed():
            request.context.set()
        for state in core.take_states():
            self._entered(state)
        warning = core.take_warning()
        if warning is not None:
            log.warning("%s", warning)
        if core.hang_up is not None:
            self._cut()
        if core.has_bytes:
            self._ask_to_send()
        if core.next_tick_at() < self._clock_at:
            self._clock_moved.set()

    def check_home(self) -> None:
        """Raise :class:`InvalidRequest` (refused) in another event loop or thread than the client's."""
        if not self._home.is_here():
            self._refuse_elsewhere()

    def _refuse_elsewhere(self) -> NoReturn:
        if self.forked:
            raise InvalidRequest(FORKED)
        raise InvalidRequest(
            f"this client belongs to the {self._home.what} that it was made in, and was used from another: use it "
            "there, connect again here, or use coord.client.blocking, which is safe to share among threads"
        )

    # --- states ---

    @property
    def state(self) -> State:
        """By the clock, also when nobody has looked at it for long. May be asked in any thread."""
        now = self._now()
        if self.core.session_is_over(now):
            if self._home.is_here():
                self._look(now)
            return State.CLOSED if self.core.state is State.CLOSED else State.ENDED
        return self.core.state

    def remaining(self) -> float:
        """Seconds for which the session is certain to live. May be asked in any thread."""
        core = self.core
        return 0.0 if core.state in OVER else max(core.safe_until - self._now(), 0.0)

    def on_state(self, callback: Callable[[State], object]) -> Callable[[], None]:
        self.check_home()
        return self._listeners.add(callback)

    async def state_change(self) -> None:
        """Wait for the next one. Look first: it is not told what was before."""
        await self._state_changed.wait()

    async def begun(self) -> None:
        """Wait until a member has said welcome for the first time, or the client is over."""
        while self.core.state is State.CONNECTING:
            await self._state_changed.wait()

    async def ended(self) -> CoordError:
        """Wait until the client is over; returns why."""
        while self.core.state not in OVER:
            await self._state_changed.wait()
        return self.core.failure or Disconnected(CLOSED, outcome="refused")

    def _entered(self, state: State) -> None:
        if state is State.ATTACHED:
            self.route.learned([address for _, address in self.core.members])
            self._troubles.clear()
        self._listeners.entered(state)
        self._state_changed.set()

    async def _tell_states(self) -> None:
        while True:
            self._listeners.tell()
            await self._state_changed.wait()

    # --- the clock ---

    async def _keep_time(self) -> None:
        while True:
            now = self._now()
            self._look(now)
            self._clock_moved = anyio.Event()
            self._clock_at = self.core.next_tick_at()
            look_at = min(self._clock_at, now + LOOK_SECONDS)
            with anyio.move_on_after(look_at - now):
                await self._clock_moved.wait()
            if self.forsaken:
                self.core.close()
            if self._now() - look_at > LATE_SECONDS:
                for _ in range(LATE_TURNS):
                    await checkpoint()

    def _look(self, now: float) -> None:
        self.core.tick(now)
        self.settle()
