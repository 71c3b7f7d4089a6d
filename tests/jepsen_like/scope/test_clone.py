"""Clones behave as deep copies do, and share nothing that can change."""

import copy
from random import Random

import pytest

from coord.jepsen_like.scope.bounds import CoreScope, CoreSystem
from coord.jepsen_like.scope.canonical import canonical
from coord.jepsen_like.scope.clone import clone
from coord.jepsen_like.scope.leases import LeaseSystem
from coord.jepsen_like.scope.member import CoreMember
from coord.jepsen_like.scope.model import Action, System
from coord.jepsen_like.scope.scopes import CRASH, LEASES, MEMBERSHIP, RECOVERING, SNAPSHOT
from coord.raft.messages import PreVoteReply, VoteReply
from coord.store.store import Store


class Walk:
    """A random walk in a scope, by the same choices that the explorer has."""

    def __init__(self, scope: CoreScope, seed: int) -> None:
        self.system: System[CoreMember] = CoreSystem(scope)
        self.dice = Random(seed)
        self.members, messages, self.memory, self.bounds = self.system.begin()
        self.sent = list(messages)

    def choose(self) -> tuple[int, Action]:
        number = self.dice.randint(1, len(self.members))
        letters = [letter for letter in self.sent if letter[1] == number]
        choices = list(self.system.choices(number, self.members[number - 1], self.bounds))
        if letters and (not choices or self.dice.random() < 0.7):
            sender, _, message = self.dice.choice(letters)
            return number, Action("deliver", (sender, message))
        if not choices:
            return self.choose()
        action, self.bounds = self.dice.choice(choices)
        return number, action


@pytest.mark.parametrize("scope", [CRASH, MEMBERSHIP, SNAPSHOT, RECOVERING], ids=lambda scope: scope.name)
@pytest.mark.parametrize("seed", range(3))
def test_a_clone_behaves_like_a_deep_copy_and_leaves_the_original_alone(scope: CoreScope, seed: int) -> None:
    walk = Walk(scope, seed)
    for _ in range(120):
        number, action = walk.choose()
        member = walk.members[number - 1]
        before = canonical(member)
        cloned, copied = clone(member), copy.deepcopy(member)
        assert canonical(cloned) == before
        effects = walk.system.act(cloned, action)
        assert walk.system.act(copied, action) == effects
        assert canonical(copied) == canonical(cloned)
        assert canonical(member) == before
        walk.members[number - 1] = cloned
        walk.sent += [(number, to, message) for to, message in effects.messages if to <= len(walk.members)]


def test_a_clone_of_a_replica_shares_nothing_that_a_step_changes() -> None:
    system = LeaseSystem(LEASES)
    members, *_ = system.begin()
    before = [canonical(member) for member in members]
    for member in members:
        cloned = clone(member)
        system.act(cloned, Action("tick", 1))
        if member.number != 1:  # who leads
            system.act(cloned, Action("campaign", 1))
    assert [canonical(member) for member in members] == before


def test_what_is_one_object_stays_one() -> None:
    system = CoreSystem(CRASH)
    members, *_ = system.begin()
    leader = clone(members[0])
    state = leader.raft._state
    assert state.peers
    for progress in state.peers:
        assert state.progress[progress.peer] is progress


def test_what_is_not_known_is_not_shared_by_accident() -> None:
    with pytest.raises(TypeError, match="bytearray"):
        clone([bytearray(b"x")])


def test_a_tuple_around_what_changes_is_neither_shared_nor_remembered() -> None:
    around = (1, ([2],))
    before = canonical(around)
    clone(around)[1][0].append(3)
    assert canonical(around) == before
    around[1][0].append(4)
    assert canonical(around) != before


def test_equal_tuples_of_different_messages_are_different_states() -> None:
    assert PreVoteReply(1, True) == VoteReply(1, True)
    assert canonical(PreVoteReply(1, True)) != canonical(VoteReply(1, True))


def test_a_method_of_a_copied_object_is_the_copys() -> None:
    """Shared, what happens in one branch of an exploration would be told to what is derived from another's state."""
    store = Store()
    copied = clone(store)
    for told in (copied.tree.touched, copied.claims.touched, copied.claims.waits_first):
        assert getattr(told, "__self__", None) is copied.candidates
    assert copied.candidates is not store.candidates
