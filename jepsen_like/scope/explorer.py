"""Exhaustive exploration of everything that can happen to a system, within its bounds.

The network remembers every message that was ever sent, and may deliver any of them at any time, any number of times, or
never. That is loss, delay, reordering and repetition without a bound, and cheaper than any network with one: a state
does not say which messages are still under way, and what was sent is a bit set that only grows.

What an action makes of a member is looked up (table.py); which state comes next, and which need not, is kept elsewhere
(frontier.py). What a member would say again without changing is said at once. The way to a violation can be walked
again (story.py).
"""

from dataclasses import dataclass, field
from time import process_time
from typing import Any, Generic

from coord.jepsen_like.scope.frontier import Frontier, Key, Place, State
from coord.jepsen_like.scope.model import Action, Broken, M, System
from coord.jepsen_like.scope.table import Numbers, Outcomes, Result, Table


@dataclass
class Step:
    """One action of a story."""

    member: int
    action: Action


@dataclass
class Verdict:
    """What an exploration came to. ``complete``: everything within the bounds was visited, or a violation ended it."""

    name: str
    states: int = 0
    """That no other covered when they were reached."""
    expanded: int = 0
    transitions: int = 0
    keys: int = 0
    """Different members' states together, whatever was sent and may still happen."""
    member_states: int = 0
    steps_run: int = 0
    """Distinct actions at distinct members: how often the real code was run."""
    messages: int = 0
    cpu_s: float = 0.0
    complete: bool = False
    promise: str = ""
    what: str = ""
    story: list[Step] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.complete and not self.promise


class Explorer(Generic[M]):
    """One exploration. ``limit``: the states after which it gives up, incomplete."""

    def __init__(self, name: str, system: System[M], limit: int | None = None) -> None:
        self._system = system
        self._limit = limit
        self._verdict = Verdict(name)
        self._memories = Numbers()

    def run(self) -> Verdict:
        """Explore all of it."""
        verdict = self._verdict
        began = process_time()
        try:
            members, messages, memory, bounds = self._system.begin()
        except Broken as broken:
            verdict.promise, verdict.what = broken.promise, f"{broken.what} (in the opening)"
            verdict.complete = True
            return verdict
        self._table = table = Table(self._system, len(members))
        self._frontier = frontier = Frontier(self._progress, table.used, self._allows)
        sent = 0
        for sender, to, message in messages:
            sent |= table.bit(sender, to, message)
        numbers = tuple([table.member_number(member) for member in members])
        first = frontier.place((numbers, self._memories.number(memory, memory)))
        frontier.visit(first, sent, table.bounds_number(bounds), -1, -1)
        self._explore()
        verdict.cpu_s = process_time() - began
        verdict.states = frontier.states
        verdict.keys = frontier.keys
        verdict.member_states = len(table.members.things)
        verdict.messages = len(table.messages.things)
        verdict.steps_run = table.runs
        return verdict

    def _explore(self) -> None:
        verdict = self._verdict
        place: Place | None = None
        leads_to: dict[int, Place] = {}
        while self._frontier:
            for state in self._frontier.take():
                if state.place is not place:
                    place, leads_to = state.place, {}
                if not self._expand(state, leads_to):
                    return
            if self._limit is not None and verdict.expanded >= self._limit:
                return
        verdict.complete = True

    def _expand(self, state: State, leads_to: dict[int, Place]) -> bool:
        """All that can happen next; False when a promise was broken.

        ``leads_to``: where each action leads from this place, as far as it is known. What was sent and what the bounds
        leave decide whether an action is possible, not what comes of it; so it is judged once for all states here.
        """
        self._verdict.expanded += 1
        sent, origin, all_outcomes = self._say_all(state)
        visit = self._frontier.visit
        for index, outcomes in enumerate(all_outcomes):
            for made_by, bounds_after, result in outcomes.moves:
                there = leads_to.get(made_by)
                if there is None:
                    try:
                        there = leads_to[made_by] = self._place_after(state.place, index, result)
                    except Broken as broken:
                        return self._stop(origin, made_by, broken)
                visit(there, sent | result.sent, bounds_after, origin, made_by)
        self._verdict.transitions += sum([outcomes.count for outcomes in all_outcomes])
        return True

    def _place_after(self, place: Place, index: int, result: Result) -> Place:
        """Where a member's step leads to. Raises Broken when it broke a promise."""
        if result.broken is not None:
            raise result.broken
        numbers, memory = place.key
        before = numbers[index]
        if result.member != before:
            numbers = (*numbers[:index], result.member, *numbers[index + 1 :])
        if result.events:
            memory = self._judge(memory, numbers, index, before, result.events)
        return self._frontier.place((numbers, memory))

    def _say_all(self, state: State) -> tuple[int, int, list[Outcomes]]:
        """Let everybody say what can be said without changing: the state after it covers the one before.

        What was sent then, the number of that state, and by member what can happen in it.
        """
        place, sent, bounds, number = state
        numbers, _ = place.key
        outcomes_of = self._table.outcomes
        while True:
            said = sent
            all_outcomes = []
            for index, before in enumerate(numbers):
                outcomes = outcomes_of(index + 1, before, sent, bounds)
                all_outcomes.append(outcomes)
                if outcomes.saying & ~sent:
                    for made_by, messages in outcomes.says:
                        if messages & ~sent:
                            sent |= messages
                            number = self._frontier.note(number, made_by)
            if said == sent:
                return sent, number, all_outcomes

    def _judge(
        self, memory: int, numbers: tuple[int, ...], index: int, before: int, events: tuple[Any, ...]
    ) -> int:
        things = self._table.members.things
        after = self._system.judge(
            self._memories.things[memory],
            [things[number] for number in numbers],
            index + 1,
            things[before],
            events,
        )
        return self._memories.number(after, after)

    def _allows(self, bounds: int, other: int) -> bool:
        things = self._table.bounds.things
        return self._system.allows(things[bounds], things[other])

    def _progress(self, key: Key) -> int:
        return sum([self._table.progress[number] for number in key[0]])

    def _stop(self, origin: int, made_by: int, broken: Broken) -> bool:
        """A promise was broken in state ``origin``, as ``made_by`` says: keep the way there."""
        verdict = self._verdict
        verdict.promise, verdict.what = broken.promise, broken.what
        way = [*self._frontier.way_to(origin), made_by]
        actions = self._table.actions.things
        verdict.story = [Step(each % 64 + 1, actions[each // 64]) for each in way]
        verdict.complete = True
        return False
