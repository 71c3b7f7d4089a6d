"""One life of a member, from its start to its end, in threads of this process."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

import trio

from coord.replica.state import ReplicaState
from coord.server.causes import run_trio
from coord.server.config import Config
from coord.server.member import Cut, Member

log: Final = logging.getLogger("coord.testing")

PATIENCE_S: Final = 30.0
"""For what takes milliseconds: a start, a stop, a pause. Beyond: something is stuck, and says so."""


class Life:
    """Starts at once; is over when it was stopped, or could not go on.

    ``news`` is notified of all that changes here, and held while it does; others read under it.
    """

    def __init__(self, config: Config, cut: Cut, news: threading.Condition) -> None:
        self._number = config.member
        self._news = news
        self._token: trio.lowlevel.TrioToken | None = None
        self._gate: threading.Event | None = None
        self._parked = 0
        self.serving = False
        self.over = False
        self._error: BaseException | None = None
        """What ended it, if that was not asked for, until somebody is told."""
        self.term = 0
        self.leader = 0
        """Whom it takes for the leader of that term; 0: it knows of none."""
        self.limited = False
        """The limits that it was given are in force: a leader puts them into the log when it has led for a moment."""
        self._member = Member(config, log.getChild(f"member-{config.member}"), self._look)
        self._member.cut(cut)  # taken before anything arrives
        self._thread = threading.Thread(target=self._run, name=f"coord member {config.member}", daemon=True)
        self._thread.start()

    @property
    def paused(self) -> bool:
        return self._gate is not None

    def wait_serving(self, until: float) -> None:
        """Until clients can be served; ``until`` as time.monotonic() counts. Raises what kept it from that."""
        self._wait_for(lambda: self.serving, until, "serve")

    def pause(self) -> None:
        """Hold up the two threads that others hear of: the one that drives, and the one that accepts and dials.

        What the disk's threads still finish nobody is told of. The system goes on taking connections and bytes for
        the member until its buffers are full, as it does for a process that is stopped.
        """
        if self._gate is not None:
            return
        gate = self._gate = threading.Event()
        self._parked = 0

        def park() -> None:
            with self._news:
                self._parked += 1
                self._news.notify_all()
            gate.wait()

        until = time.monotonic() + PATIENCE_S
        self._tell(lambda: self._member.call(park))
        # First the driver: of a member that began just now, it is trio that has yet to start the driver's thread.
        self._wait_for(lambda: self._parked == 1, until, "pause")
        self._in_trio(park)
        self._wait_for(lambda: self._parked == 2, until, "pause")

    def resume(self) -> None:
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.set()
            with self._news:
                self._news.notify_all()  # it may be the leader that somebody waits for

    def cut(self, cut: Cut) -> None:
        """What is in ``cut`` is lost from the moment on when this returns (when paused: before it goes on)."""
        taken = threading.Event()

        def note() -> None:
            with self._news:
                taken.set()
                self._news.notify_all()

        self._tell(lambda: self._member.cut(cut))
        self._tell(lambda: self._member.call(note))
        if not self.paused:
            self._wait_for(taken.is_set, time.monotonic() + PATIENCE_S, "take a cut")

    def end(self, *, killed: bool) -> None:
        """Begin to end: with a goodbye to its clients, or as kill -9 does. Paused, it goes on for that."""
        if killed:
            self._tell(self._member.fall_silent)
        with self._news:
            self._news.wait_for(lambda: self._token is not None or self.over)
        self._in_trio(self._member.stop)
        self.resume()

    def join(self) -> None:
        """Wait until nothing of it is left."""
        self._thread.join(PATIENCE_S)
        if self._thread.is_alive():
            raise TimeoutError(f"member {self._number} does not stop")

    def raise_error(self) -> None:
        """Raise what ended it, if nobody asked for its end and nobody was told yet."""
        error, self._error = self._error, None
        if error is not None:
            error.add_note(f"member {self._number} of the cluster under test was ended by this")
            raise error

    # --- in its threads -------------------------------------------------------------------------

    def _run(self) -> None:
        async def main() -> None:
            with self._news:
                self._token = trio.lowlevel.current_trio_token()
                self._news.notify_all()
            await self._member.run(ready=self._ready)

        error: BaseException | None = None
        try:
            run_trio(main)
        except BaseException as caught:  # whoever waits, or closes the cluster, raises it
            error = caught
            log.error("member %d ended: %s", self._number, caught, exc_info=caught)
        with self._news:
            self.over, self._error = True, error
            self.leader = 0
            self._news.notify_all()

    def _ready(self) -> None:
        with self._news:
            self.serving = True
            self._news.notify_all()

    def _look(self, state: ReplicaState) -> None:
        seen = (state.term, state.leader, state.store.limits == state.settings.store_limits)
        if seen != (self.term, self.leader, self.limited):
            with self._news:
                self.term, self.leader, self.limited = seen
                self._news.notify_all()

    # --- the rest -------------------------------------------------------------------------------

    def _wait_for(self, condition: Callable[[], bool], until: float, what: str) -> None:
        """Raises what ended the member before that."""
        with self._news:
            self._news.wait_for(lambda: condition() or self.over, max(until - time.monotonic(), 0))
            if condition():
                return
        self.raise_error()
        raise TimeoutError(f"member {self._number} does not {what}")

    def _tell(self, what: Callable[[], None]) -> None:
        """Tell the member's driver something; nothing, when that has ended."""
        try:
            what()
        except OSError:
            pass  # its poller is closed: it is over, as whoever waits will see

    def _in_trio(self, function: Callable[[], object]) -> None:
        """Have ``function`` called in its trio thread; nothing, when that has ended."""
        if self._token is None:
            return
        try:
            self._token.run_sync_soon(function)
        except trio.RunFinishedError:
            pass  # it is over, as whoever waits will see
