"""One member of a cluster in this process, as a test handles it."""

import threading
import time
from pathlib import Path

from coord.api.errors import InvalidRequest
from coord.server.config import Config
from coord.server.member import Cut
from coord.testing.life import PATIENCE_S, Life


class HostedMember:
    """A real member, with its sockets and its data folder, in threads of this process: ``cluster.member(2)``.

    Its methods are those of :class:`~coord.testing.Cluster`, without the number. Each returns when it is done, after a
    few milliseconds, and can be called in any thread, also in that of an event loop.
    """

    def __init__(self, config: Config, news: threading.Condition, acting: threading.RLock) -> None:
        """``acting`` is held by whoever does something to any member: one thing at a time."""
        self._config = config
        self._news = news
        self._acting = acting
        self._life: Life | None = None
        self._cut = Cut()

    @property
    def number(self) -> int:
        return self._config.member

    @property
    def endpoint(self) -> str:
        """Where it listens for clients, ``host:port``; the same after each restart."""
        return str(self._config.listen)

    @property
    def endpoints(self) -> list[str]:
        """The same, as ``connect`` takes several."""
        return [self.endpoint]

    @property
    def data(self) -> Path:
        """Its data folder. For looking at, and, while the member is down, for harming."""
        return self._config.data

    @property
    def running(self) -> bool:
        """Started, and neither stopped nor killed since. Also while it is paused."""
        return self._life is not None and not self._life.over

    @property
    def paused(self) -> bool:
        return self._life is not None and self._life.paused

    def pause(self) -> None:
        """Hold it still, as SIGSTOP does a process: connections stay open, and nothing is answered."""
        with self._acting:
            self._running("pause").pause()

    def resume(self) -> None:
        """Let it go on after a pause; harmless when it does."""
        with self._acting:
            self._running("resume").resume()

    def kill(self) -> None:
        """End it as kill -9 does: no goodbye, connections just end, what was not synced yet is nobody's promise."""
        self._end(killed=True)

    def stop(self) -> None:
        """Stop it as an operator does: its clients are told to go elsewhere."""
        self._end(killed=False)

    def restart(self) -> None:
        """Start it again, with its data; stop it first, if it runs. Returns when it serves clients."""
        with self._acting:
            self.stop()
            self.begin().wait_serving(time.monotonic() + PATIENCE_S)

    # --- for the cluster ---

    @property
    def life(self) -> Life | None:
        return self._life

    @property
    def cut(self) -> Cut:
        return self._cut

    def begin(self) -> Life:
        """Start it; does not wait until it serves."""
        self._life = Life(self._config, self._cut, self._news)
        return self._life

    def set_cut(self, cut: Cut) -> None:
        """Also of the lives to come."""
        if cut != self._cut:
            with self._news:
                self._cut = cut
                self._news.notify_all()
            if self._life is not None and not self._life.over:
                self._life.cut(cut)

    def begin_stop(self) -> None:
        if self._life is not None and not self._life.over:
            self._life.end(killed=False)

    def end_stop(self) -> None:
        if self._life is not None:
            self._life.join()

    def _end(self, *, killed: bool) -> None:
        with self._acting:
            life = self._life
            if life is not None:
                if not life.over:
                    life.end(killed=killed)
                life.join()

    def _running(self, what: str) -> Life:
        if self._life is None or self._life.over:
            raise InvalidRequest(f"cannot {what} member {self.number}: it does not run; restart it first")
        return self._life

    def __repr__(self) -> str:
        life = self._life
        state = "stopped" if life is None or life.over else "paused" if life.paused else "running"
        cut = "" if self._cut == Cut() else ", cut off"
        return f"<member {self.number} at {self.endpoint}, {state}{cut}>"
