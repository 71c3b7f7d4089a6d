"""Exhaustive exploration of everything that can happen to a system, within its bounds.

The network remembers every message that was ever sent, and may deliver any of them at any time, any number of times, or
never. That is loss, delay, reordering and repetition without a bound, and cheaper than any network with one: a state
does not say which messages are still under way, and what was sent is a bit set that only grows.

What a member does depends on itself and on the action only. So each pair is run once, on a clone of the real object,
and looked up afterwards: a state is a row of small numbers, and the real code runs some thousand times for a million
transitions. Members are equal when their canonical forms are (canonical.py).

A state is *covered* by another that differs only in that more was sent, and more may still happen: whatever can come of
the one can come of the other. Covered states are dropped. So that the covering ones come first, states are taken in the
order of their progress (terms, logs, what was used of the bounds), breadth first by that measure; and what a member
would say again without changing is said at once.

Of each state its parent and the action that led to it are kept: enough to tell the way to a violation, and to walk it
again (story.py).
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from time import process_time
from typing import Any, Generic

from coord.api.checks import InvariantViolation
from coord.jepsen_like.scope.canonical import canonical
from coord.jepsen_like.scope.clone import clone
from coord.jepsen_like.scope.model import Action, Broken, Effects, M, System


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


class _Result:
    """What an action makes of a member: its number, the messages as bits, and what the judges want to know."""

    __slots__ = ("broken", "events", "member", "sent")

    def __init__(self, member: int, sent: int, events: tuple[Any, ...], broken: Broken | None) -> None:
        self.member = member
        self.sent = sent
        self.events = events
        self.broken = broken


_Key = tuple[tuple[int, ...], int]
"""(numbers of the members' states, number of the memory)."""

_Variant = tuple[int, int, int]
"""(messages sent, number of the bounds, number of the state)."""


class _Numbers:
    """Things by number and back: equal things have one number."""

    def __init__(self) -> None:
        self.of: dict[Any, int] = {}
        self.things: list[Any] = []

    def number(self, key: Any, thing: Any) -> int:
        number = self.of.setdefault(key, len(self.things))
        if number == len(self.things):
            self.things.append(thing)
        return number


class Explorer(Generic[M]):
    """One exploration. ``limit``: the states after which it gives up, incomplete."""

    def __init__(self, name: str, system: System[M], limit: int | None = None) -> None:
        self._system = system
        self._limit = limit
        self._verdict = Verdict(name)
        self._members = _Numbers()
        self._messages = _Numbers()
        self._memories = _Numbers()
        self._bounds = _Numbers()
        self._actions = _Numbers()
        self._results: list[dict[int, _Result | None]] = []
        """By member's state, then by action: None when it leads out of the bounds."""
        self._inert: list[int] = []
        """By member's state: messages whose delivery changes nothing and says nothing."""
        self._choices: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self._deliveries: dict[tuple[int, Any], int] = {}
        self._to: list[int] = []
        """By member: the messages to it, as bits."""
        self._parents = array("q")
        self._made_by = array("q")
        self._known: dict[_Key, list[_Variant]] = {}
        """Of each key, the states that no other covers."""
        self._waiting: dict[int, dict[_Key, None]] = {}
        """By progress."""
        self._order: list[int] = []
        """A heap of the keys of ``_waiting``."""
        self._expanded: dict[_Key, int] = {}
        """The states of a key before this number are expanded."""
        self._progress: list[int] = []
        """By member's state."""
        self._bounds_cover: dict[tuple[int, int], bool] = {}

    def run(self) -> Verdict:
        """Explore all of it."""
        verdict = self._verdict
        began = process_time()
        try:
            self._explore()
        except Broken as broken:
            verdict.promise, verdict.what, verdict.complete = (
                broken.promise,
                f"{broken.what} (in the opening)",
                True,
            )
        finally:
            verdict.cpu_s = process_time() - began
            verdict.states = len(self._parents)
            verdict.keys = len(self._known)
            verdict.member_states = len(self._members.things)
            verdict.messages = len(self._messages.things)
        return verdict

    # -- in the order of progress ---------------------------------------------------------------------------

    def _explore(self) -> None:
        members, messages, memory, bounds = self._system.begin()
        self._to = [0] * (len(members) + 1)
        sent = 0
        for sender, to, message in messages:
            sent |= self._bit(sender, to, message)
        numbers = tuple([self._member_number(member) for member in members])
        key = (numbers, self._memories.number(memory, memory))
        self._visit(key, sent, self._bounds.number(bounds, bounds), -1, -1)
        verdict = self._verdict
        while self._order:
            for key in self._waiting.pop(heappop(self._order)):
                first = self._expanded.get(key, 0)
                self._expanded[key] = len(self._parents)
                for sent, bounds_number, state in list(self._known[key]):
                    if state >= first and not self._expand(key, sent, bounds_number, state):
                        return
            if self._limit is not None and verdict.expanded >= self._limit:
                return
        verdict.complete = True

    def _visit(self, key: _Key, sent: int, bounds: int, origin: int, made_by: int) -> None:
        """A state was reached; it waits to be expanded, unless another covers it."""
        variants = self._known.get(key)
        if variants is None:
            variants = self._known[key] = []
        else:
            for other_sent, other_bounds, _ in variants:
                if sent | other_sent == other_sent and (
                    bounds == other_bounds or self._cover(other_bounds, bounds)
                ):
                    return
            variants[:] = [
                variant
                for variant in variants
                if sent | variant[0] != sent or not (bounds == variant[1] or self._cover(bounds, variant[1]))
            ]
        variants.append((sent, bounds, len(self._parents)))
        self._parents.append(origin)
        self._made_by.append(made_by)
        progress = sum([self._progress[number] for number in key[0]])
        progress += self._system.used(self._bounds.things[bounds])
        waiting = self._waiting.get(progress)
        if waiting is None:
            waiting = self._waiting[progress] = {}
            heappush(self._order, progress)
        waiting[key] = None

    def _cover(self, bounds: int, other: int) -> bool:
        """Whether under ``bounds`` everything may happen that may under ``other``."""
        known = self._bounds_cover.get((bounds, other))
        if known is None:
            known = self._system.allows(self._bounds.things[bounds], self._bounds.things[other])
            self._bounds_cover[bounds, other] = known
        return known

    def _expand(self, key: _Key, sent: int, bounds: int, state: int) -> bool:
        """All that can happen next; False when a promise was broken."""
        numbers, memory = key
        self._verdict.expanded += 1
        sent, state = self._say_all(key, sent, bounds, state)
        made = 0
        for place, before in enumerate(numbers):
            results = self._results[before]
            for action, bounds_after in self._next(place + 1, before, sent, bounds):
                made += 1
                result = results[action] if action in results else self._run(place + 1, before, action)
                if result is None:
                    continue
                if result.broken is not None:
                    return self._stop(state, place, action, result.broken)
                after = result.member
                memory_after = memory
                if after == before:
                    if bounds_after == bounds and not result.events:
                        continue  # what it says has been said
                    numbers_after = numbers
                else:
                    numbers_after = (*numbers[:place], after, *numbers[place + 1 :])
                if result.events:
                    try:
                        memory_after = self._judge(memory, numbers_after, place, before, result.events)
                    except Broken as broken:
                        return self._stop(state, place, action, broken)
                key_after = (numbers_after, memory_after)
                self._visit(key_after, sent | result.sent, bounds_after, state, action * 64 + place)
        self._verdict.transitions += made
        return True

    def _say_all(self, key: _Key, sent: int, bounds: int, state: int) -> tuple[int, int]:
        """Let everybody say what can be said without changing: the state after it covers the one before."""
        said = True
        while said:
            said = False
            for place, before in enumerate(key[0]):
                results = self._results[before]
                for action, bounds_after in self._next(place + 1, before, sent, bounds):
                    result = results[action] if action in results else self._run(place + 1, before, action)
                    if (
                        result is not None
                        and result.member == before
                        and bounds_after == bounds
                        and result.sent & ~sent
                        and not result.events
                        and result.broken is None
                    ):
                        sent |= result.sent
                        self._parents.append(state)
                        self._made_by.append(action * 64 + place)
                        state = len(self._parents) - 1
                        said = True
        return sent, state

    def _next(self, number: int, before: int, sent: int, bounds: int) -> Iterator[tuple[int, int]]:
        """``(action, bounds after it)`` for everything that can happen at one member."""
        hears = self._system.hears(number, self._bounds.things[bounds])
        deliverable = sent & self._to[number] & ~(self._inert[before] if hears is None else 0)
        while deliverable:
            bit = deliverable & -deliverable
            deliverable ^= bit
            delivery = (bit, hears)
            action = self._deliveries.get(delivery)
            if action is None:
                sender, _, message = self._messages.things[bit.bit_length() - 1]
                detail = (sender, message) if hears is None else (sender, message, hears)
                action = len(self._actions.things)
                self._actions.number(("deliver", *delivery), Action("deliver", detail))
                self._deliveries[delivery] = action
            yield action, bounds
        choices = self._choices.get((before, bounds))
        if choices is None:
            choices = []
            member = self._members.things[before]
            for chosen, bounds_after in self._system.choices(number, member, self._bounds.things[bounds]):
                action = self._actions.number(canonical(chosen), chosen)
                choices.append((action, self._bounds.number(bounds_after, bounds_after)))
            self._choices[before, bounds] = choices
        yield from choices

    def _run(self, number: int, before: int, action: int) -> _Result | None:
        """Run the real code: once for each member's state and action."""
        member = clone(self._members.things[before])
        done: Action = self._actions.things[action]
        self._verdict.steps_run += 1
        result: _Result | None
        try:
            effects: Effects = self._system.act(member, done)
        except Broken as broken:
            result = _Result(before, 0, (), broken)
        except InvariantViolation as violation:
            result = _Result(before, 0, (), Broken("the core's own checks", str(violation)))
        else:
            result = None
            if self._system.within(member):
                sent = 0
                for to, message in effects.messages:
                    sent |= self._bit(number, to, message)
                result = _Result(self._member_number(member), sent, effects.events, None)
        self._results[before][action] = result
        if done.kind == "deliver" and len(done.detail) == 2:
            silent = result is None or (
                result.member == before and not result.sent and not result.events and not result.broken
            )
            if silent:
                sender, message = done.detail
                self._inert[before] |= self._bit(sender, number, message)
        return result

    def _judge(
        self, memory: int, numbers: tuple[int, ...], place: int, before: int, events: tuple[Any, ...]
    ) -> int:
        things = self._members.things
        after = self._system.judge(
            self._memories.things[memory],
            [things[number] for number in numbers],
            place + 1,
            things[before],
            events,
        )
        return self._memories.number(after, after)

    # -- numbers ----------------------------------------------------------------------------------------------

    def _member_number(self, member: M) -> int:
        number = self._members.number(canonical(member), member)
        if number == len(self._results):
            self._results.append({})
            self._inert.append(0)
            self._progress.append(self._system.progress(member))
        return number

    def _bit(self, sender: int, to: int, message: Any) -> int:
        if to >= len(self._to):
            return 0  # to somebody who is not in this scope
        known = len(self._messages.things)
        number = self._messages.number((sender, to, canonical(message)), (sender, to, message))
        if number == known:
            self._to[to] |= 1 << number
        return 1 << number

    # -- the way to a violation ------------------------------------------------------------------------------

    def _stop(self, origin: int, place: int, action: int, broken: Broken) -> bool:
        verdict = self._verdict
        verdict.promise, verdict.what = broken.promise, broken.what
        verdict.story = [*self._way_to(origin), Step(place + 1, self._actions.things[action])]
        verdict.complete = True
        return False

    def _way_to(self, state: int) -> list[Step]:
        steps = []
        while self._parents[state] >= 0:
            action, place = divmod(self._made_by[state], 64)
            steps.append(Step(place + 1, self._actions.things[action]))
            state = self._parents[state]
        return steps[::-1]
