"""A broken core is found by the scope that is meant for it; the story is short, and can be walked again.

The mutants of one line are made here by standing in for one function each.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from coord.api.checks import check
from coord.jepsen_like.scope import member as member_module
from coord.jepsen_like.scope.bounds import CoreSystem
from coord.jepsen_like.scope.model import Broken
from coord.jepsen_like.scope.running import explore
from coord.jepsen_like.scope.scopes import CRASH, ELECTION, LEASES, READ_INDEX, SCOPES
from coord.jepsen_like.scope.story import tell
from coord.raft import (
    commitment,
    election,
    following,
    membership,
    messages,
    quorum,
    raft,
    replication,
    snapshots,
)
from coord.raft.peer_down import peer_down
from coord.raft.raft import Raft
from coord.raft.settings import RaftSettings
from coord.raft.state import IncomingSnapshot, RaftState
from coord.raft.types import Entry, HardState, SnapshotMeta
from coord.replica import leases

SMALL_ELECTION = replace(ELECTION, terms=1)


def test_a_forgotten_vote_elects_two_leaders(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(
        member_id: int,
        settings: RaftSettings,
        seed: int,
        hard_state: HardState,
        snapshot: SnapshotMeta,
        entries: Sequence[Entry],
        recovering: bool,
    ) -> Raft:
        return Raft(member_id, settings, seed, HardState(hard_state.term, 0), snapshot, entries, recovering)

    monkeypatch.setattr(member_module, "Raft", forgetful)
    explored = explore(SMALL_ELECTION)
    assert explored.verdict.promise == "election safety"
    # Two campaigns with a sync each, a request, its sync and its answer for each, and the crash between them.
    assert len(explored.verdict.story) <= 11, "\n".join(explored.lines)
    lines, broken = tell(CoreSystem(SMALL_ELECTION), explored.verdict.story)
    assert isinstance(broken, Broken)
    assert tuple(lines) == explored.lines
    assert any("restart" in line for line in lines)


def test_half_is_no_majority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quorum, "majority", lambda count: count // 2)
    assert explore(SMALL_ELECTION).verdict.promise


def test_a_vote_for_a_stale_log_loses_what_was_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    def anything(state: RaftState, last_index: int, last_term: int) -> bool:
        return True

    monkeypatch.setattr(election, "_log_is_up_to_date", anything)
    scope = replace(CRASH, counts={"propose": 1}, only={}, slow_disks=False)
    assert explore(scope).verdict.promise == "leader completeness"


def test_a_read_by_an_older_answer_is_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    true_handler = replication.handle_heartbeat_reply

    def any_answer(state: RaftState, sender: int, message: replication.HeartbeatReply) -> None:
        true_handler(state, sender, message._replace(round=state.round))

    monkeypatch.setattr("coord.raft.raft._TO_THE_LEADER", _with_handler(any_answer))
    assert explore(READ_INDEX).verdict.promise.startswith("a read sees")


def _with_handler(handler: object) -> dict[object, object]:
    return {**raft._TO_THE_LEADER, replication.HeartbeatReply: handler}


def test_a_lease_that_ends_early_breaks_the_clients_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    def early(self: leases.Leases, timeouts_ms: dict[int, int]) -> list[int]:
        return [session for session, heard in self._heard_ms.items() if self.waking_ms - heard >= 1_000]

    monkeypatch.setattr(leases.Leases, "take_overdue", early)
    explored = explore(replace(LEASES, terms=1))
    assert explored.verdict.promise.startswith("a session outlives")
    assert any("time passes" in line for line in explored.lines)


# -- mutants of one line, each with its scope -----------------------------------------------------------------------


def _pretending(function: Callable[..., Any], **fields: Any) -> Callable[..., Any]:
    """``function(state, ...)``, which sees other values in these fields of the state."""

    def pretending(state: RaftState, *arguments: Any) -> Any:
        true = {name: getattr(state, name) for name in fields}
        for name, value in fields.items():
            setattr(state, name, value)
        result = function(state, *arguments)
        for name, value in true.items():
            setattr(state, name, value)
        return result

    return pretending


def _recovering_member_votes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(election, "handle_vote", _pretending(election.handle_vote, recovering=False))


def _commit_beyond_what_was_verified(patch: pytest.MonkeyPatch) -> None:
    true_handler = following.handle_append

    def handler(state: RaftState, sender: int, message: messages.Append) -> None:
        true_handler(state, sender, message)
        if state.log.term_at(message.previous_index) == message.previous_term:
            following.commit_to(state, min(message.commit, state.log.last_index))

    patch.setitem(raft._FROM_THE_LEADER, messages.Append, handler)


def _snapshot_over_newer_entries(patch: pytest.MonkeyPatch) -> None:
    true_handler = snapshots.handle_snapshot_section

    def handler(state: RaftState, sender: int, message: messages.SnapshotSection) -> None:
        meta = message.meta
        if state.incoming or meta.index <= state.commit_index or meta.index > state.log.last_index:
            true_handler(state, sender, message)
            return
        state.incoming = IncomingSnapshot(sender, state.term, meta)
        state.incoming.awaiting_store = state.incoming.installing = True
        state.outputs.sections_received.append((meta, 0, message.data, True))

    patch.setitem(raft._FROM_THE_LEADER, messages.SnapshotSection, handler)


def _change_upon_an_uncommitted_one(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        raft, "propose_configuration", _pretending(membership.propose_configuration, configuration_index=0)
    )


def _change_before_an_entry_of_its_term(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        raft, "propose_configuration", _pretending(membership.propose_configuration, term_start_index=0)
    )


def _truncation_keeps_the_configuration(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(following, "configurations_truncated_from", lambda state, index: None)


def _joint_configuration_left_too_early(patch: pytest.MonkeyPatch) -> None:
    def on_commit(state: RaftState) -> None:
        if state.configuration.outgoing:
            membership.append_configuration(state, membership.leave_joint(state.configuration))
        else:
            membership.on_commit(state)

    patch.setattr(commitment, "on_commit", on_commit)


def _committed_without_the_outgoing_voters(patch: pytest.MonkeyPatch) -> None:
    true_quorum = commitment.greatest_reached
    patch.setattr(
        commitment,
        "greatest_reached",
        lambda configuration, positions: true_quorum(configuration._replace(outgoing=()), positions),
    )


def _own_vote_counts_before_it_is_durable(patch: pytest.MonkeyPatch) -> None:
    true_send = election.send_when_durable

    def send(state: RaftState, to: int, message: messages.VoteReply) -> None:
        if to == state.member_id:
            election.handle_vote_reply(state, to, message)
        else:
            true_send(state, to, message)

    def check_all_but_that(holds: bool, promise: str, *facts: object) -> None:
        if promise != "a leader's vote is on its disk":  # the core would find it by itself
            check(holds, promise, *facts)

    patch.setattr(election, "send_when_durable", send)
    patch.setattr(election, "check", check_all_but_that)


def _pre_vote_of_any_term(patch: pytest.MonkeyPatch) -> None:
    true_handler = election.handle_pre_vote_reply

    def handler(state: RaftState, sender: int, message: messages.PreVoteReply) -> None:
        true_handler(state, sender, message._replace(term=state.term + 1) if message.granted else message)

    patch.setattr(election, "handle_pre_vote_reply", handler)


def _report_of_a_death_skips_the_pre_vote(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(raft, "peer_down", lambda state, peer: election.campaign(state, forced=True))


def _report_of_a_death_frees_the_vote(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(raft, "peer_down", lambda state, peer: (setattr(state, "vote", 0), peer_down(state, peer)))


@pytest.mark.parametrize(
    ("mutant", "scope", "promise"),
    [
        (_recovering_member_votes, "recovering-votes", "leader completeness"),
        (_commit_beyond_what_was_verified, "short-append", "state machine safety"),
        (_snapshot_over_newer_entries, "late-snapshot", "what is committed is on a quorum's disks"),
        (_change_upon_an_uncommitted_one, "membership-twice", "one change at a time"),
        (
            _change_before_an_entry_of_its_term,
            "membership-two-leaders",
            "a change follows an entry of its leader's term",
        ),
        (
            _truncation_keeps_the_configuration,
            "membership-two-leaders",
            "a member acts by the last configuration in its log",
        ),
        (_joint_configuration_left_too_early, "membership-behind-an-entry", "leader completeness"),
        (_committed_without_the_outgoing_voters, "membership-two-leaders", "leader completeness"),
        (_own_vote_counts_before_it_is_durable, "sole", "a leader's vote is on its disk"),
        (_pre_vote_of_any_term, "stale-pre-votes", "a quorum's pre-votes precede a campaign"),
        (_report_of_a_death_skips_the_pre_vote, "peer-down", "a quorum's pre-votes precede a campaign"),
        (_report_of_a_death_frees_the_vote, "peer-down-at-first", "election safety"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_its_scope_finds_a_mutant(
    mutant: Callable[[pytest.MonkeyPatch], None], scope: str, promise: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)
    explored = explore(SCOPES[scope])
    assert explored.verdict.promise == promise
    assert len(explored.verdict.story) <= 13, "\n".join(explored.lines)


@pytest.mark.parametrize(
    "name", ["short-append", "membership-twice", "sole", "stale-pre-votes", "recovering-votes"]
)
def test_the_true_core_keeps_every_promise_there(name: str) -> None:
    assert explore(SCOPES[name]).verdict.ok
