"""A core scope: how many members, from where on, and what may happen how often.

``CoreScope`` is the whole statement of a bound; ``CoreSystem`` turns it into what the explorer wants.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from coord.jepsen_like.scope.clone import clone
from coord.jepsen_like.scope.member import CoreMember, Manner
from coord.jepsen_like.scope.model import Action, Bounds, Effects
from coord.jepsen_like.scope.normal import normalise
from coord.jepsen_like.scope.properties import Judge, Memory
from coord.jepsen_like.scope.words import action_in_words, member_in_words
from coord.raft import election
from coord.raft.roles import Role
from coord.raft.settings import RaftSettings
from coord.raft.types import Configuration

COUNTED: Final = (
    "beat",
    "check quorum",
    "propose",
    "configure",
    "read",
    "restart",
    "lose",
    "snapshot",
    "peer down",
)
"""Actions that are bounded by count. The others are bounded by what they lead to: terms, and what there is to sync."""

FREE: Final = ("sync", "install", "campaign", "time out", "lapse")


@dataclass(frozen=True)
class CoreScope:
    """One named bound."""

    name: str
    about: str
    """What it is for, in a sentence."""
    terms: int
    """Nobody enters a later one."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """How often each of ``COUNTED`` may happen, among all members together; what is not named does not."""
    beats: bool = False
    """Leaders beat as often as they like; a count of beats in ``counts`` is for scopes that number them for reads."""
    only: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """At which members an action may happen; at all where it is not named."""
    voters: tuple[int, ...] = (1, 2, 3)
    outside: tuple[int, ...] = ()
    """Members that run with an empty configuration, and wait to be added."""
    targets: tuple[Configuration, ...] = ()
    """What ``configure`` asks for."""
    opening: tuple[tuple[int, Action], ...] = ()
    """What happens first: ``(member, action)``. ``settle`` delivers and syncs until nothing moves, among those that it
    names; ``hear`` delivers the oldest message from the member that it names. All that was sent in it is lost, and it
    is not counted."""
    pre_votes: bool = False
    """True: members campaign as they do, by ticks and pre-votes, and defend a leader that they hear. False: anybody may
    campaign at any moment and everybody listens. That is more than can happen, so safety in it is safety; and much
    smaller."""
    slow_disks: bool = True
    """False: a batch is synced at once."""
    keeps_opening_messages: bool = False
    split_appends: bool = False
    """One entry with data in each append, so that a majority may have one entry and not yet the next."""


class CoreSystem:
    """A :class:`~coord.jepsen_like.scope.model.System` of real Raft cores."""

    def __init__(self, scope: CoreScope) -> None:
        self._scope = scope
        self._settings = RaftSettings(
            election_ticks=2,
            heartbeat_ticks=1,
            max_append_bytes=1 if scope.split_appends else 1 << 20,
            max_inflight_appends=2,
        )
        self._manner = Manner(
            self._settings,
            not scope.slow_disks,
            "check quorum" in scope.counts,
            "read" in scope.counts,
            scope.pre_votes,
        )
        self._judge = Judge("lose" in scope.counts)
        self._counted = tuple([kind for kind in COUNTED if scope.counts.get(kind)])
        self._place = {kind: place for place, kind in enumerate(self._counted)}

    def begin(self) -> tuple[list[CoreMember], list[tuple[int, int, Any]], Memory, Bounds]:
        scope = self._scope
        formed = Configuration(scope.voters)
        members = []
        for number in sorted((*scope.voters, *scope.outside)):
            configuration = formed if number in scope.voters else Configuration(())
            members.append(CoreMember(number, configuration, self._settings))
        opening = _Opening(self, members)
        for number, action in scope.opening:
            opening.do(number, action)
        counts = tuple([scope.counts[kind] for kind in self._counted])
        for member in members:
            normalise(member.raft, member.disk, member.lives, self._manner.checks_quorum, self._manner.reads)
        return members, opening.sent if scope.keeps_opening_messages else [], opening.memory, counts

    def act(self, member: CoreMember, action: Action) -> Effects:
        return member.act(self._manner, action)

    def judge(
        self,
        memory: Memory,
        members: Sequence[CoreMember],
        number: int,
        before: CoreMember,
        events: Sequence[tuple[Any, ...]],
    ) -> Memory:
        return self._judge.judge(memory, members, number, before, events)

    def within(self, member: CoreMember) -> bool:
        return member.raft.term <= self._scope.terms

    def allows(self, bounds: Bounds, other: Bounds) -> bool:
        return all(mine >= theirs for mine, theirs in zip(bounds, other, strict=True))

    def progress(self, member: CoreMember) -> int:
        return progress_of(member)

    def used(self, bounds: Bounds) -> int:
        return 1_000_000 * sum(self._scope.counts[kind] for kind in self._counted) - 1_000_000 * sum(bounds)

    def hears(self, number: int, bounds: Bounds) -> None:
        return None

    def choices(self, number: int, member: CoreMember, bounds: Bounds) -> Iterable[tuple[Action, Bounds]]:
        scope, disk, raft = self._scope, member.disk, member.raft
        if disk.unsynced:
            yield Action("sync"), bounds
        if member.installing is not None:
            yield Action("install"), bounds
        if self._may("campaign", number) and raft.term < scope.terms and raft.role is not Role.LEADER:
            yield from self._campaigns(member, bounds)
        if scope.beats and raft.role is Role.LEADER:
            yield Action("beat"), bounds
        for kind in self._counted:
            place = self._place[kind]
            left = bounds[place]
            if left and self._may(kind, number):
                after = (*bounds[:place], left - 1, *bounds[place + 1 :])
                for action in self._counted_actions(kind, member, left):
                    yield action, after

    def _may(self, kind: str, number: int) -> bool:
        return number in self._scope.only.get(kind, (number,))

    def _campaigns(self, member: CoreMember, bounds: Bounds) -> Iterable[tuple[Action, Bounds]]:
        state = member.raft._state
        if not self._scope.pre_votes:
            if election.may_campaign(state):
                yield Action("campaign"), bounds
            return
        yield Action("time out"), bounds
        if state.leader and state.election_elapsed < state.settings.election_ticks:
            yield Action("lapse"), bounds

    def _counted_actions(self, kind: str, member: CoreMember, left: int) -> Iterable[Action]:
        raft, disk = member.raft, member.disk
        leads = raft.role is Role.LEADER
        if kind in ("beat", "check quorum"):
            if leads:
                yield Action(kind)
        elif kind == "propose":
            if leads:
                yield Action(kind, b"entry %d" % left)
        elif kind == "read":
            if leads:
                yield Action(kind, left)
        elif kind == "configure":
            if leads:
                for target in self._scope.targets:
                    yield Action(kind, target)
        elif kind == "peer down":
            leader = raft.leader
            if leader and not leads:  # of anybody else it changes nothing
                yield Action(kind, leader)
        elif kind == "restart":
            yield Action(kind)
        elif kind == "lose":
            for kept in range(len(disk.entries) + 1):
                yield Action(kind, kept)
        elif kind == "snapshot":
            idle = not disk.unsynced and member.installing is None
            if idle and member.applied_index > disk.snapshot.index and not raft.recovering:
                yield Action(kind)

    def describe(self, action: Action) -> str:
        return action_in_words(action)

    def picture(self, member: CoreMember) -> str:
        return member_in_words(member)


def progress_of(member: CoreMember) -> int:
    """Terms before logs before what is known of them: what a member cannot go back on without a restart."""
    raft, disk = member.raft, member.disk
    state = raft._state
    progress = 20_000 * raft.term + 10 * disk.hard_state.term + (state.vote != 0) * 5
    progress += 100 * raft.commit_index + 10 * state.log.persisted_index + state.batch_number
    if raft.role is Role.LEADER:
        progress += 10_000 + 500 * raft.last_index + sum(state.acknowledged.values()) * 20
        for peer in state.peers:
            progress += 5 * peer.match_index + 2 * peer.next_index + 3 * int(peer.state) + peer.probe_sent
    elif state.leader:
        progress += 10_000 + 500 * state.verified_index + 20 * state.acked_index
    else:
        progress += 1_000 * int(raft.role) + 100 * len(state.votes)
    return progress


class _Opening:
    """Runs a scope's opening: actions in order, with ``settle`` for everything that follows from them."""

    def __init__(self, system: CoreSystem, members: list[CoreMember]) -> None:
        self._system = system
        self._members = members
        self._waiting: list[tuple[int, int, Any]] = []
        self.sent: list[tuple[int, int, Any]] = []
        self.memory = Memory()

    def do(self, number: int, action: Action) -> None:
        if action.kind == "settle":
            self._settle(action.detail or tuple([member.number for member in self._members]))
            return
        if action.kind == "hear":
            place = [letter[:2] for letter in self._waiting].index((action.detail, number))
            action = Action("deliver", self._waiting.pop(place)[::2])
        members = self._members
        member = members[number - 1]
        before = clone(member)
        effects = self._system.act(member, action)
        new = [(number, to, message) for to, message in effects.messages if to <= len(members)]
        self._waiting += new
        self.sent += new
        if effects.events:
            self.memory = self._system.judge(self.memory, members, number, before, effects.events)

    def _settle(self, among: tuple[int, ...]) -> None:
        """Deliver and sync among these members until nothing moves; what is sent to others is lost."""
        while True:
            waiting, self._waiting = self._waiting, []
            busy = False
            for sender, to, message in waiting:
                if sender in among and to in among:
                    self.do(to, Action("deliver", (sender, message)))
                    busy = True
            for number in among:
                member = self._members[number - 1]
                if member.disk.unsynced:
                    self.do(number, Action("sync"))
                    busy = True
                if member.installing is not None:
                    self.do(number, Action("install"))
                    busy = True
            if not busy:
                return
