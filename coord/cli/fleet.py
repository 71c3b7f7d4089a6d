"""Which worker processes there should be, and what to do about it. Pure: it is told what happened and when.

There are so many *places*, with one process each: started, *ready* once it says so, started again when it ends by
itself, a little later each time. A reload gives one place after another a fresh process; the old one is told to stop
when that is ready, and not before: when the new code can't be loaded the old goes on.
"""

import signal
from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from math import inf
from typing import Final

PAUSE_MAX_S: Final = 30.0
"""Between a process that has ended by itself and the next one at its place; the first pauses are shorter."""
STEADY_S: Final = 60.0
"""One that was ready for so long is no sign of another failure."""


class Is(Enum):
    STARTING = auto()
    READY = auto()
    STOPPING = auto()
    """It was told to."""


@dataclass
class Process:
    number: int
    place: int
    state: Is = Is.STARTING
    ready_at: float = inf


@dataclass
class Place:
    failures: int = 0
    """In a row."""
    restart_at: float = inf
    finished: bool = False
    """Its process has ended as one that has done what it was to do."""


@dataclass(frozen=True)
class Start:
    number: int


@dataclass(frozen=True)
class Send:
    number: int
    signal: int


@dataclass(frozen=True)
class Say:
    """For people."""

    text: str


Order = Start | Send | Say


@dataclass
class Fleet:
    """Invariant, once one is ready: each place that is not finished has a process, or a time at which one is started;
    or all stop.
    """

    size: int
    places: list[Place] = field(default_factory=list)
    processes: dict[int, Process] = field(default_factory=dict)
    exit_code: int = 0
    stops: int = 0
    """How often it was told to stop."""
    _orders: list[Order] = field(default_factory=list)
    _reloads: deque[int] = field(default_factory=deque)
    """Places that still get a fresh process."""
    _last: int = 0
    _any_was_ready: bool = False

    def begin(self) -> None:
        """Start the first; the others follow when that works. What is wrong with what they are given is said once."""
        self.places = [Place() for _ in range(self.size)]
        self._start(0)

    @property
    def done(self) -> bool:
        """Nothing runs, and nothing will."""
        return not self.processes and (self.stops > 0 or all(place.finished for place in self.places))

    @property
    def due_at(self) -> float:
        """When :meth:`tick` has something to do."""
        return inf if self.stops else min((place.restart_at for place in self.places), default=inf)

    def take_orders(self) -> list[Order]:
        orders, self._orders = self._orders, []
        return orders

    # --- what happens ---

    def ready(self, number: int, now: float) -> None:
        """A process says that it works."""
        process = self.processes.get(number)
        if process is None or process.state is not Is.STARTING:
            return
        process.state, process.ready_at = Is.READY, now
        if not self._any_was_ready:
            self._any_was_ready = True
            for place in range(1, self.size):
                self._start(place)
        for other in self._at(process.place):
            if other is not process and other.state is Is.READY:
                self._stop_one(other)
        self._reload_next()

    def ended(self, number: int, code: int, now: float) -> None:
        """A process is gone."""
        process = self.processes.pop(number, None)
        if process is None or process.state is Is.STOPPING or self.stops:
            return
        place = self.places[process.place]
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        beside = self._at(process.place)
        if beside and process.state is Is.READY:
            self._say(f"a worker {how}; the one that was to follow it follows")
        elif beside:  # a fresh one, that was to follow one which still works
            self._reloads.clear()
            self._say(f"the reload has failed: a fresh worker {how} before it was ready; the old ones go on")
        elif code == 0:
            place.finished = True
        elif not self._any_was_ready:
            # There is something wrong with what it was given, and whoever has just started this is there to be told.
            self.exit_code = code if code > 0 else 1
            self.stop()
        else:
            steady = now - process.ready_at >= STEADY_S
            place.failures = 1 if steady else place.failures + 1
            pause = min(2.0 ** (place.failures - 2), PAUSE_MAX_S) if place.failures > 1 else 0.0
            place.restart_at = now + pause
            self._say(f"a worker {how}; another one follows{f' in {pause:g} s' if pause else ''}")
            self.tick(now)

    def tick(self, now: float) -> None:
        """Time has passed."""
        if self.stops:
            return
        for number, place in enumerate(self.places):
            if place.restart_at <= now:
                self._start(number)

    def reload(self) -> None:
        """Fresh processes, one after another."""
        if self.stops:
            return
        self._say("reloading")
        self._reloads = deque(number for number, place in enumerate(self.places) if not place.finished)
        self._reload_next()

    def stop(self) -> None:
        """Once: finish what runs. Again: hand it back, at once. A third time: no more patience."""
        self.stops += 1
        self._reloads.clear()
        for process in self.processes.values():
            process.state = Is.STOPPING
            self._orders.append(Send(process.number, signal.SIGTERM if self.stops <= 2 else signal.SIGKILL))

    # --- inside ---

    def _at(self, place: int) -> list[Process]:
        return [
            each for each in self.processes.values() if each.place == place and each.state is not Is.STOPPING
        ]

    def _start(self, place: int) -> None:
        self._last += 1
        self.places[place].restart_at = inf
        self.processes[self._last] = Process(self._last, place)
        self._orders.append(Start(self._last))

    def _stop_one(self, process: Process) -> None:
        process.state = Is.STOPPING
        self._orders.append(Send(process.number, signal.SIGTERM))

    def _reload_next(self) -> None:
        if any(each.state is Is.STARTING for each in self.processes.values()):
            return  # one at a time: not twice the memory, and a failure stops it at the first
        if self._reloads:
            self._start(self._reloads.popleft())

    def _say(self, text: str) -> None:
        self._orders.append(Say(text))
