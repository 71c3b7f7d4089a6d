"""A leader's memory of when it last heard from each session. Never in the log; starts afresh with each term.

Time here is the leader's *waking* time: a tick counts for no more than ``step_max_ms`` however late it comes.
The story: the leader is paused (a debugger, a suspended machine, a swapped-out process) for a minute. The
keepalives of that minute wait in its sockets. By the wall, every session is overdue; it looks at the clock
before it reads the sockets, and ends them all. By waking time nobody is overdue.
"""

from collections.abc import Iterable


class Leases:
    """Milliseconds of waking time at which each session was last heard from.

    A session in ``_expiring`` is no longer touched: its end is in the log already, and a keepalive that came
    later must not be answered as if it had prevented it.
    """

    __slots__ = ("_expiring", "_heard_ms", "_last_tick_ms", "_nobody_until_ms", "_step_max_ms", "waking_ms")

    def __init__(self, sessions: Iterable[int], now_ms: int, step_max_ms: int) -> None:
        self.waking_ms = 0
        self._last_tick_ms = now_ms
        self._step_max_ms = step_max_ms
        self._heard_ms = dict.fromkeys(sessions, 0)
        self._expiring: dict[int, None] = {}
        self._nobody_until_ms = -1
        """Until then nobody can be overdue: who is heard of is so later still. So ten thousand sessions are looked at
        when one may be overdue, mostly once in most of a timeout, and not ten times a second (a tenth of the leader's
        time)."""

    def tick(self, now_ms: int) -> None:
        self.waking_ms += min(max(now_ms - self._last_tick_ms, 0), self._step_max_ms)
        self._last_tick_ms = now_ms

    def touch(self, session: int) -> None:
        """``session`` was heard from; one that is not known (yet, or any more) is passed over."""
        if session in self._heard_ms and session not in self._expiring:
            self._heard_ms[session] = self.waking_ms

    def opened(self, session: int) -> None:
        self._heard_ms[session] = self.waking_ms
        self._nobody_until_ms = -1  # its timeout may be shorter than any

    def ended(self, session: int) -> None:
        self._heard_ms.pop(session, None)
        self._expiring.pop(session, None)

    @property
    def may_be_overdue(self) -> bool:
        """Whether somebody may be: if not, :meth:`take_overdue` would find nobody."""
        return self.waking_ms > self._nobody_until_ms

    def take_overdue(self, timeouts_ms: dict[int, int]) -> list[int]:
        """Sessions that were silent for longer than their timeouts; each is returned once."""
        overdue = [
            session
            for session, heard_ms in self._heard_ms.items()
            if self.waking_ms - heard_ms > timeouts_ms[session] and session not in self._expiring
        ]
        self._expiring.update(dict.fromkeys(overdue))
        ends = [
            heard_ms + timeouts_ms[session]
            for session, heard_ms in self._heard_ms.items()
            if session not in self._expiring
        ]
        self._nobody_until_ms = min(ends, default=-1)
        return overdue

    def spare(self, sessions: list[int]) -> None:
        """The end of ``sessions`` did not get into the log: they are overdue as before."""
        for session in sessions:
            self._expiring.pop(session, None)
        self._nobody_until_ms = -1
