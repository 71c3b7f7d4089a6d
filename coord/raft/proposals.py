"""How a leader's own entries come into its log."""

from coord.raft.configuration import encode_configuration
from coord.raft.membership_log import adopt_configuration
from coord.raft.state import RaftState
from coord.raft.types import ENTRY_COMMANDS, ENTRY_CONFIGURATION, Configuration, Entry


def append_commands(state: RaftState, data: bytes) -> int:
    """Append an entry of commands (empty: a no-op) and return its index. Leader only."""
    index = state.log.last_index + 1
    state.log.append(Entry(index, state.term, ENTRY_COMMANDS, data))
    state.uncommitted_bytes += len(data)
    return index


def append_configuration(state: RaftState, configuration: Configuration) -> int:
    """Append a configuration, which acts from now on, and return its index. Leader only."""
    index = state.log.last_index + 1
    data = encode_configuration(configuration)
    state.log.append(Entry(index, state.term, ENTRY_CONFIGURATION, data))
    state.uncommitted_bytes += len(data)
    adopt_configuration(state, index, configuration)
    return index
