"""Expiry against a keepalive, on real replicas: a client at a follower, and messages that come when they like.

The promise (docs of coord/replica/leading.py): the answer to a keepalive says that a confirmed leader has heard of the
session after the keepalive was sent. So no expiry that is ever committed may have been decided within the timeout after
that moment: the client trusts its own clock for as long.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from coord.jepsen_like.scope.lease_member import MOMENT_MS, LeaseMember
from coord.jepsen_like.scope.model import Action, Bounds, Broken, Effects
from coord.jepsen_like.scope.words import message_in_words
from coord.raft import election
from coord.raft.roles import Role


class Leased(NamedTuple):
    """The observer's memory."""

    asked: tuple[tuple[int, int], ...] = ()
    """``(request, moment)`` of keepalives that were sent and not answered."""
    assured: int = -1
    """The latest moment at which a keepalive was sent that was answered; the session's opening counts."""
    decided: int = -1
    """The moment at which the expiry was decided, once it is committed; -1: it is not."""


@dataclass(frozen=True)
class LeaseScope:
    """A bound of this kind."""

    name: str
    about: str
    terms: int
    moments: int
    """How far the clock goes."""
    keepalives: int
    client_at: int
    """The member that the client is connected to. Member 1 leads at first."""
    rounds: int = 2
    """Of reads, that one member may ask: it would ask somebody who leads no more for ever."""
    members: int = 3
    campaigners: tuple[int, ...] = (1, 2, 3)


class LeaseSystem:
    """A :class:`~coord.jepsen_like.scope.model.System` of replicas. Bounds: ``(moments left, keepalives left)``."""

    def __init__(self, scope: LeaseScope) -> None:
        self._scope = scope

    def begin(self) -> tuple[list[LeaseMember], list[tuple[int, int, Any]], Leased, Bounds]:
        scope = self._scope
        members = [LeaseMember(number, scope.members) for number in range(1, scope.members + 1)]
        self._settle(members, 1, Action("campaign", 0))
        self._settle(members, scope.client_at, Action("open", 0))
        return members, [], Leased(assured=0), (scope.moments, scope.keepalives)

    def _settle(self, members: list[LeaseMember], number: int, action: Action) -> None:
        """The opening: do it, then deliver everything in order until nothing moves."""
        waiting = [(number, to, message) for to, message in members[number - 1].act(action).messages]
        while waiting:
            sender, to, message = waiting.pop(0)
            effects = members[to - 1].act(Action("deliver", (sender, message, 0)))
            waiting += [(to, other, said) for other, said in effects.messages]

    def hears(self, number: int, bounds: Bounds) -> int:
        return self._scope.moments - bounds[0]

    def choices(self, number: int, member: LeaseMember, bounds: Bounds) -> Iterable[tuple[Action, Bounds]]:
        scope = self._scope
        moments, keepalives = bounds
        now = scope.moments - moments
        raft = member.replica.state.raft
        if number == 1 and moments:
            yield Action("time passes"), (moments - 1, keepalives)
        if number == scope.client_at and keepalives and member.replica.state.attached:
            # Ids of requests grow; the handshake took none.
            yield Action("keepalive", (scope.keepalives - keepalives + 1, now)), (moments, keepalives - 1)
        yield Action("tick", now), bounds
        may_campaign = number in scope.campaigners and election.may_campaign(raft._state)
        if may_campaign and raft.role is not Role.LEADER and raft.term < scope.terms:
            yield Action("campaign", now), bounds

    def act(self, member: LeaseMember, action: Action) -> Effects:
        effects = member.act(action)
        if action.kind == "keepalive":
            return effects._replace(events=(("asked", *action.detail), *effects.events))
        return effects

    def within(self, member: LeaseMember) -> bool:
        state = member.replica.state
        asked = state.rounds._next_number - (state.who.boot << 20)
        return state.raft.term <= self._scope.terms and asked <= self._scope.rounds

    def allows(self, bounds: Bounds, other: Bounds) -> bool:
        """At another moment, the same action is another one."""
        return bounds[0] == other[0] and bounds[1] >= other[1]

    def progress(self, member: LeaseMember) -> int:
        raft = member.replica.state.raft
        return 1_000 * raft.term + 100 * raft.last_index + 50 * raft.commit_index + 20 * (raft.leader != 0)

    def used(self, bounds: Bounds) -> int:
        return 100_000 * (self._scope.moments - bounds[0]) + 10_000 * (self._scope.keepalives - bounds[1])

    def judge(
        self,
        memory: Leased,
        members: Sequence[LeaseMember],
        number: int,
        before: LeaseMember,
        events: Sequence[tuple[Any, ...]],
    ) -> Leased:
        for event in events:
            if event[0] == "asked":
                memory = memory._replace(asked=(*memory.asked, event[1:]))
            elif event[0] == "answered":
                asked = dict(memory.asked)
                moment = asked.pop(event[1])
                memory = memory._replace(
                    asked=tuple(sorted(asked.items())), assured=max(memory.assured, moment)
                )
            elif event[0] == "expired":
                memory = memory._replace(decided=event[2])
            if memory.decided >= 0 and (memory.decided - memory.assured) * MOMENT_MS <= MOMENT_MS:
                raise Broken(
                    "a session outlives its timeout after an answered keepalive",
                    f"its end was decided at moment {memory.decided}, and a keepalive of moment "
                    f"{memory.assured} was answered; its timeout is one moment",
                )
        return memory

    def describe(self, action: Action) -> str:
        kind, detail = action
        if kind == "deliver":
            return f"hears from {detail[0]} at moment {detail[2]}: {message_in_words(detail[1])}"
        if kind == "keepalive":
            return f"gets keepalive {detail[0]} of its client at moment {detail[1]}"
        return kind if detail is None else f"{kind} at moment {detail}"

    def picture(self, member: LeaseMember) -> str:
        state = member.replica.state
        raft = state.raft
        return (
            f"{raft.role.name.lower()} of term {raft.term}, log through {raft.last_index}, committed "
            f"{raft.commit_index}, sessions {sorted(state.store.sessions)}"
        )
