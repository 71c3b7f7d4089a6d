"""What every action makes of every member: the real code, run once for each pair, and looked up afterwards.

What a member does depends on itself and on the action only. So each pair is run once, on a clone of the real object: a
state is a row of small numbers, and the real code runs some thousand times for a million transitions. Members are equal
when their canonical forms are (canonical.py).
"""

from collections.abc import Iterator
from typing import Any, Generic, NamedTuple

from coord.api.checks import InvariantViolation
from coord.jepsen_like.scope.canonical import canonical
from coord.jepsen_like.scope.clone import clone
from coord.jepsen_like.scope.model import Action, Broken, Effects, M, System


class Result:
    """What an action makes of a member: its number, the messages as bits, and what the judges want to know."""

    __slots__ = ("broken", "events", "member", "sent")

    def __init__(self, member: int, sent: int, events: tuple[Any, ...], broken: Broken | None) -> None:
        self.member = member
        self.sent = sent
        self.events = events
        self.broken = broken


class Move(NamedTuple):
    """An action that may lead to another state, or breaks a promise."""

    made_by: int
    """The action and its place, as the frontier keeps them."""
    bounds: int
    """What is left of them after it."""
    result: Result


class Outcomes:
    """Everything that can happen at one member, given what it may hear and what the bounds leave."""

    __slots__ = ("count", "moves", "saying", "says")

    def __init__(self) -> None:
        self.count = 0
        """Of all actions, also of those that lead nowhere."""
        self.moves: list[Move] = []
        self.says: list[tuple[int, int]] = []
        """``(made_by, messages)`` of what changes nothing but says something."""
        self.saying = 0
        """All those messages."""


class Numbers:
    """Things by number and back: equal things have one number."""

    def __init__(self) -> None:
        self.of: dict[Any, int] = {}
        self.things: list[Any] = []

    def number(self, key: Any, thing: Any) -> int:
        number = self.of.setdefault(key, len(self.things))
        if number == len(self.things):
            self.things.append(thing)
        return number


class Table(Generic[M]):
    """Members, messages, bounds and actions of one system by number, and the results."""

    def __init__(self, system: System[M], members: int) -> None:
        self._system = system
        self.members = Numbers()
        self.messages = Numbers()
        self.bounds = Numbers()
        self.used: list[int] = []
        """By bounds."""
        self.actions = Numbers()
        self.results: list[dict[int, Result | None]] = []
        """By member's state, then by action: None when it leads out of the bounds."""
        self.progress: list[int] = []
        """By member's state."""
        self.runs = 0
        """Distinct actions at distinct members: how often the real code was run."""
        self._inert: list[int] = []
        """By member's state: messages whose delivery changes nothing and says nothing."""
        self._outcomes: dict[tuple[int, int, int], Outcomes] = {}
        """By member's state, what it may hear, and bounds."""
        self._choices: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self._deliveries: dict[tuple[int, Any], int] = {}
        self._to = [0] * (members + 1)
        """By member: the messages to it, as bits."""

    def member_number(self, member: M) -> int:
        number = self.members.number(canonical(member), member)
        if number == len(self.results):
            self.results.append({})
            self._inert.append(0)
            self.progress.append(self._system.progress(member))
        return number

    def bounds_number(self, bounds: tuple[int, ...]) -> int:
        number = self.bounds.number(bounds, bounds)
        if number == len(self.used):
            self.used.append(self._system.used(bounds))
        return number

    def bit(self, sender: int, to: int, message: Any) -> int:
        """The message as a bit; 0 when it is to somebody who is not in this scope."""
        if to >= len(self._to):
            return 0
        known = len(self.messages.things)
        number = self.messages.number((sender, to, canonical(message)), (sender, to, message))
        if number == known:
            self._to[to] |= 1 << number
        return 1 << number

    def outcomes(self, number: int, before: int, sent: int, bounds: int) -> Outcomes:
        """What can happen at one member, in order: looked up, for most states differ in another member."""
        hears = self._system.hears(number, self.bounds.things[bounds])
        deliverable = sent & self._to[number] & ~(self._inert[before] if hears is None else 0)
        known = self._outcomes.get((before, deliverable, bounds))
        if known is None:
            known = Outcomes()
            for action, bounds_after in self._next(number, before, deliverable, hears, bounds):
                known.count += 1
                self._add(known, number, before, bounds, action, bounds_after)
            if hears is None:
                known.count -= (deliverable & self._inert[before]).bit_count()  # of which nobody knew before
            self._outcomes[before, deliverable, bounds] = known
        return known

    def _add(
        self, outcomes: Outcomes, number: int, before: int, bounds: int, action: int, bounds_after: int
    ) -> None:
        results = self.results[before]
        result = results[action] if action in results else self.run(number, before, action)
        if result is None:
            return
        made_by = action * 64 + number - 1
        if result.member != before or bounds_after != bounds or result.events or result.broken is not None:
            outcomes.moves.append(Move(made_by, bounds_after, result))
        elif result.sent:
            outcomes.says.append((made_by, result.sent))
            outcomes.saying |= result.sent

    def _next(
        self, number: int, before: int, deliverable: int, hears: Any, bounds: int
    ) -> Iterator[tuple[int, int]]:
        """``(action, bounds after it)`` for everything that can happen at one member."""
        while deliverable:
            bit = deliverable & -deliverable
            deliverable ^= bit
            delivery = (bit, hears)
            action = self._deliveries.get(delivery)
            if action is None:
                sender, _, message = self.messages.things[bit.bit_length() - 1]
                detail = (sender, message) if hears is None else (sender, message, hears)
                action = self.actions.number(("deliver", *delivery), Action("deliver", detail))
                self._deliveries[delivery] = action
            yield action, bounds
        choices = self._choices.get((before, bounds))
        if choices is None:
            choices = []
            member = self.members.things[before]
            for chosen, bounds_after in self._system.choices(number, member, self.bounds.things[bounds]):
                action = self.actions.number(canonical(chosen), chosen)
                choices.append((action, self.bounds_number(bounds_after)))
            self._choices[before, bounds] = choices
        yield from choices

    def run(self, number: int, before: int, action: int) -> Result | None:
        """Run the real code: once for each member's state and action."""
        member = clone(self.members.things[before])
        done: Action = self.actions.things[action]
        self.runs += 1
        result: Result | None
        try:
            effects: Effects = self._system.act(member, done)
        except Broken as broken:
            result = Result(before, 0, (), broken)
        except InvariantViolation as violation:
            result = Result(before, 0, (), Broken("the core's own checks", str(violation)))
        else:
            result = None
            if self._system.within(member):
                sent = 0
                for to, message in effects.messages:
                    sent |= self.bit(number, to, message)
                result = Result(self.member_number(member), sent, effects.events, None)
        self.results[before][action] = result
        if done.kind == "deliver" and len(done.detail) == 2:
            silent = result is None or (
                result.member == before and not result.sent and not result.events and not result.broken
            )
            if silent:
                sender, message = done.detail
                self._inert[before] |= self.bit(sender, number, message)
        return result
