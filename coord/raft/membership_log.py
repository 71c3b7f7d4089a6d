"""Which configuration acts: always the last one in the log, committed or not (thesis §4.1).

That it acts before it is committed is what makes the joint quorums overlap; that it may be truncated is why the
former ones are kept: they act again.
"""

from coord.raft.configuration import decode_configuration, is_voter, members_of
from coord.raft.progress import Progress
from coord.raft.roles import Role
from coord.raft.state import ConfigurationAt, RaftState
from coord.raft.types import ENTRY_CONFIGURATION, Configuration, Entry, SnapshotMeta


def scan_configurations(state: RaftState, entries: tuple[Entry, ...] | list[Entry]) -> None:
    """At start: find the configurations in the log that was read from disk."""
    for entry in entries:
        if entry.kind == ENTRY_CONFIGURATION:
            adopt_configuration(state, entry.index, decode_configuration(entry.data))


def adopt_configuration(state: RaftState, index: int, configuration: Configuration) -> None:
    """The entry at ``index``, the last of the log, is a configuration: it acts from now on."""
    state.configurations.append(ConfigurationAt(index, configuration))
    _act_on_last(state)


def configurations_truncated_from(state: RaftState, index: int) -> None:
    """The log lost ``index`` and all after it: if configurations went with it, the former one returns."""
    configurations = state.configurations
    if configurations[-1].log_index < index:
        return
    while configurations[-1].log_index >= index:
        configurations.pop()
    _act_on_last(state)


def configurations_compacted_to(state: RaftState, index: int) -> None:
    """Only the newest of those at or below ``index`` is still of interest."""
    configurations = state.configurations
    while len(configurations) > 1 and configurations[1].log_index <= index:
        configurations.pop(0)


def configurations_restarted_at(state: RaftState, meta: SnapshotMeta) -> None:
    """The log was replaced by a snapshot."""
    state.configurations = [ConfigurationAt(meta.index, meta.configuration)]
    _act_on_last(state)


def configuration_at(state: RaftState, index: int) -> Configuration:
    """The configuration that acts at ``index``, which is at or above the newest snapshot's index."""
    for at in reversed(state.configurations):
        if at.log_index <= index:
            return at.configuration
    return state.configurations[0].configuration


def _act_on_last(state: RaftState) -> None:
    state.configuration_index, state.configuration = state.configurations[-1]
    if state.role is Role.LEADER:
        set_peers(state)


def set_peers(state: RaftState) -> None:
    """Make the leader's books fit the configuration: who is new starts from nothing, who left is forgotten.

    Forgotten wholly: one that leaves and comes back may come back with an empty disk.
    """
    next_index = state.log.last_index + 1
    former = state.progress
    state.progress = {}
    for member in members_of(state.configuration):
        if member == state.member_id:
            continue
        progress = former.get(member)
        if progress is None:
            progress = Progress(member, next_index)
            state.acknowledged.pop(member, None)
            state.answered_rounds.pop(member, None)
            # Given the benefit of the doubt until the next check of the quorum: it had no chance to be heard yet.
            state.heard_from[member] = True
        state.progress[member] = progress
    for member in former:
        if member not in state.progress:
            state.acknowledged.pop(member, None)
            state.answered_rounds.pop(member, None)
            state.heard_from.pop(member, None)
    state.peers = tuple(state.progress.values())
    if state.transfer_to and not is_voter(state.configuration, state.transfer_to):
        state.transfer_to = 0
