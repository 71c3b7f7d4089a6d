"""Carries out a schedule: begins every strike, writes it down, and ends every one that began, whatever happens."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

import trio

from coord.jepsen_like.history import Fault, Record
from coord.jepsen_like.live.arena import Arena, NotNow
from coord.jepsen_like.live.nemeses.nemesis import Hit, Nemesis
from coord.jepsen_like.live.schedule import Strike

WAIT_S: Final = 8.0
END_S: Final = 60.0
"""For the ending of a strike, which may have to wait until a member is restored."""


class Strikes:
    """One run's. ``done`` counts the strikes of each nemesis, ``not_now`` why some could not be."""

    def __init__(
        self,
        arena: Arena,
        nemeses: Sequence[Nemesis],
        write: Callable[[Record], None],
        answers: Callable[[], int],
    ) -> None:
        """``answers``: how many operations were done so far."""
        self._answers = answers
        self._answers_at_end: dict[str, int] = {}  # what was laid hands on -> at the end of the last strike
        self.done: Counter[str] = Counter()
        self.not_now: Counter[str] = Counter()
        self._arena = arena
        self._nemeses = {nemesis.name: nemesis for nemesis in nemeses}
        self._hands = {nemesis.hands_on: trio.Lock() for nemesis in nemeses}
        self._write = write

    async def run(self, schedule: Sequence[Strike], seconds: float) -> None:
        """To the end of the schedule. What was cancelled has been ended, too."""
        began = trio.current_time()
        try:
            async with trio.open_nursery() as nursery:
                for strike in schedule:
                    await trio.sleep_until(began + strike.at_ms / 1000)
                    nursery.start_soon(self._strike, strike, began + seconds)
                await trio.sleep_until(began + seconds)
        finally:
            with trio.CancelScope(shield=True):
                await self._arena.heal()

    async def _strike(self, strike: Strike, until: float) -> None:
        nemesis = self._nemeses[strike.nemesis]
        async with self._hands[nemesis.hands_on]:
            if strike.waits:
                await self._something_done(nemesis.hands_on)
            if trio.current_time() >= until:
                return
            try:
                hit = await nemesis.begin(self._arena, Random(strike.seed))
            except NotNow as reason:
                self.not_now[f"{nemesis.name}: {reason}"] += 1
                return
            self.done[nemesis.name] += 1
            self._say(nemesis, hit, "begin")
            try:
                await trio.sleep(strike.hold_ms / 1000)
            finally:
                with trio.move_on_after(END_S, shield=True):
                    await hit.end()
                self._answers_at_end[nemesis.hands_on] = self._answers()
                self._say(nemesis, hit, "end")

    async def _something_done(self, hands_on: str) -> None:
        """Since the last strike on the same; or for as long as one may wait for that."""
        with trio.move_on_after(WAIT_S):
            while self._answers() <= self._answers_at_end.get(hands_on, 0):
                await trio.sleep(0.05)  # nothing rings when a client is answered

    def _say(self, nemesis: Nemesis, hit: Hit, phase: str) -> None:
        self._write(Fault(nemesis.name, phase, hit.members, hit.what, time.monotonic_ns()))
        if phase == "begin":
            self._arena.say(f"{nemesis.name}: {hit.what}")
