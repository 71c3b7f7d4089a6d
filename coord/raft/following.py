"""The follower's side of replication: taking entries, learning what is committed, and acknowledging.

An acknowledgement says "through here, equal to your log, and on my disk". It is never stored up: when
something became durable, :func:`acknowledge` computes it from what is true then, for the leader of the term
that is then. (persistence.py tells what a stored one could do.)
"""

from coord.api.checks import check
from coord.raft.commitment import commit_to
from coord.raft.configuration import decode_configuration
from coord.raft.membership_log import adopt_configuration, configurations_truncated_from
from coord.raft.messages import Append, AppendRefused, AppendReply, Commit, Heartbeat, HeartbeatReply
from coord.raft.persistence import send
from coord.raft.recovering import ask_for_target
from coord.raft.state import RaftState
from coord.raft.types import ENTRY_CONFIGURATION, Configuration, Entry


def handle_append(state: RaftState, sender: int, message: Append) -> None:
    """Take the entries that fit. The log is only truncated at an entry that *differs*, never at one that matches:

    1. The leader sends entries 5 and 6 in two appends; the follower takes, and acknowledges, both.
    2. The network repeats the first. To cut the log after 5 would undo what was acknowledged, perhaps committed.
    """
    if _is_installing(state):
        return  # the log is about to be replaced; the leader asks again
    log = state.log
    previous_index = message.previous_index
    entries = message.entries
    last_index = previous_index + len(entries)
    if previous_index < state.commit_index:
        # What is committed here is in every later leader's log, so it matches without a look; it may be compacted.
        entries = entries[state.commit_index - previous_index :]
        previous_index = state.commit_index
        last_index = max(last_index, previous_index)
    elif log.term_at(previous_index) != message.previous_term:
        hint_index, hint_term = log.last_not_above_term(previous_index, message.previous_term)
        refusal = AppendRefused(state.term, message.previous_index, hint_index, hint_term, state.recovering)
        send(state, sender, refusal)
        return
    configurations = _examine(previous_index, message, entries)
    if configurations is None:
        return  # no leader makes such a message
    if entries:
        _take_entries(state, entries, configurations)
    if last_index > state.verified_index:
        state.verified_index = last_index
    if message.commit > state.commit_index:
        commit_to(state, max(state.commit_index, min(message.commit, last_index)))
    if last_index <= log.persisted_index:
        state.ack_due = True  # nothing new to wait for: a probe, or a repetition whose answer was lost


def _examine(
    previous_index: int, message: Append, entries: tuple[Entry, ...]
) -> dict[int, Configuration] | None:
    """The configurations among ``entries`` by index; None if indexes, terms or configurations are impossible."""
    configurations: dict[int, Configuration] = {}
    index = previous_index
    term = 0
    for entry in entries:
        index += 1
        if entry.index != index or not term <= entry.term <= message.term:
            return None
        term = entry.term
        if entry.kind == ENTRY_CONFIGURATION:
            try:
                configurations[index] = decode_configuration(entry.data)
            except ValueError:
                return None
    return configurations


def _take_entries(
    state: RaftState, entries: tuple[Entry, ...], configurations: dict[int, Configuration]
) -> None:
    log = state.log
    for entry in entries:
        index = entry.index
        if index <= log.last_index:
            if log.term_at(index) == entry.term:
                continue
            check(
                index > state.commit_index, "what is committed is never truncated", index, state.commit_index
            )
            check(
                index > state.verified_index,
                "a leader's log only grows in its term",
                index,
                state.verified_index,
            )
            log.truncate_from(index)
            configurations_truncated_from(state, index)
        log.append(entry)
        if index in configurations:
            adopt_configuration(state, index, configurations[index])


def handle_heartbeat(state: RaftState, sender: int, message: Heartbeat) -> None:
    """Answered at once: it says that this member's term is this one *now*, and that promises nothing for later."""
    _learn_commit(state, message.commit, message.commit_term)
    send(state, sender, HeartbeatReply(state.term, message.round, state.recovering))
    if state.recovering:
        ask_for_target(state)


def handle_commit(state: RaftState, sender: int, message: Commit) -> None:
    _learn_commit(state, message.commit, message.commit_term)


def _learn_commit(state: RaftState, commit: int, commit_term: int) -> None:
    """Commit through ``commit`` if this log has that very entry: then it has all before it, too.

    The bound cannot be "as far as my log goes": what is beyond the last entry that was verified may be what some
    deposed leader left here.
    """
    if commit > state.commit_index and state.log.term_at(commit) == commit_term and not _is_installing(state):
        commit_to(state, commit)
        if commit > state.verified_index:
            state.verified_index = commit


def own_log_persisted(state: RaftState) -> None:
    """A batch was synced: if more of what the leader verified is durable now, it shall know."""
    if min(state.verified_index, state.log.persisted_index) > state.acked_index:
        state.ack_due = True


def acknowledge(state: RaftState) -> None:
    """Say what is durable, if that is due. One message, however many appends.

    Waits for the term to be durable too: an acknowledgement is a promise not to follow an earlier leader.
    """
    if not state.ack_due or state.durable_hard_state.term != state.term or _is_installing(state):
        return
    state.ack_due = False
    state.acked_index = min(state.verified_index, state.log.persisted_index)
    send(state, state.leader, AppendReply(state.term, state.acked_index, state.recovering))


def _is_installing(state: RaftState) -> bool:
    return state.incoming is not None and state.incoming.installing
