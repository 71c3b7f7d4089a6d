"""One member's picture of itself, for ``coord status``."""

from typing import Any

from coord.replica.state import ReplicaState


def status_row(state: ReplicaState) -> dict[str, Any]:
    """Plain data, keys in the words of the design; a peer's lag is in entries, ``None`` unless this leads."""
    raft, store = state.raft.status(), state.store
    claims, waiting = store.claims, store.claims.waiting_count
    return {
        "member": state.who.member,
        "cluster": state.who.cluster.hex(),
        "role": "recovering" if raft.recovering else raft.role,
        "term": raft.term,
        "leader": raft.leader,
        "commit_index": raft.commit_index,
        "applied_index": store.applied_index,
        "first_index": raft.first_index,
        "last_index": raft.last_index,
        "persisted_index": raft.persisted_index,
        "snapshot_index": raft.snapshot_index,
        "revision": store.revision,
        "history_first_revision": store.history.first_revision,
        "cluster_time_ms": store.time_ms,
        "znodes": len(store.tree.znodes),
        "data_bytes": store.tree.data_bytes,
        "sessions": len(store.sessions),
        "connections": len(state.connections),
        "watches": len(state.watches),
        "claims_held": len(claims.by_number) - waiting,
        "claims_waiting": waiting,
        "claims_waiting_for_lanes": store.candidates.queue.size,
        "claims_granted": claims.granted,
        "held_back": len(claims.held_back),
        "pending_commands": state.proposals.pending_count,
        "waiting_reads": state.waiting_reads,
        "voters": list(raft.configuration.voters),
        "learners": list(raft.configuration.learners),
        "addresses": sorted(state.who.addresses.items()),
        "peers": [
            {
                "member": peer.peer,
                "state": "recovering" if peer.recovering else peer.state,
                "match_index": peer.match_index,
                "lag": raft.last_index - peer.match_index,
                "active": peer.active,
            }
            for peer in raft.peers
        ],
    }
