"""A picture of the core for people and metrics: frozen, made on request, never on the hot path."""

from typing import NamedTuple

from coord.raft.types import Configuration


class PeerStatus(NamedTuple):
    """What a leader believes of one peer."""

    peer: int
    state: str
    """``probe``, ``replicate`` or ``snapshot``."""
    match_index: int
    next_index: int
    inflight_appends: int
    active: bool
    """Heard from since the last check of the quorum."""
    recovering: bool


class RaftStatus(NamedTuple):
    """One member's view of consensus. ``snapshot_index <= commit_index <= last_index``."""

    member_id: int
    role: str
    """``follower``, ``pre_candidate``, ``candidate`` or ``leader``."""
    term: int
    vote: int
    leader: int
    commit_index: int
    first_index: int
    last_index: int
    persisted_index: int
    snapshot_index: int
    configuration: Configuration
    recovering: bool
    installing: bool
    transferring_to: int
    peers: tuple[PeerStatus, ...]
    """Only a leader has peers."""
