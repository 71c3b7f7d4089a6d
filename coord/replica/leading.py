"""What only a leader does besides Raft: it keeps the sessions' leases and the cluster's time, and ends what is due.

An expiry that has been decided and a keepalive that comes just after it. The keepalive must not be
answered as if the session went on: the client would hold on to what it no longer has. So, from the moment
an expiry is proposed, every read round is granted at an index not below the expiry's: the member that
asked applies the expiry before it answers anybody.
"""

from coord.api.commands import EXPIRE_SESSIONS, SET_LIMITS
from coord.limits import StoreLimits, limit_names
from coord.replica.leases import Leases
from coord.replica.state import ReplicaState
from coord.wire.entries import encode_command, encode_entry

LEASE_STEP_TICKS = 5
"""A tick that comes later than this many of its kind counts as this many; see leases.py."""


def begin(state: ReplicaState) -> None:
    """This member leads a new term: every session's time starts afresh."""
    step_max_ms = LEASE_STEP_TICKS * state.settings.tick_ms
    state.leases = Leases(state.store.sessions, state.now_ms, step_max_ms)
    state.limits_proposed = False
    state.sweep_index = state.expire_index = 0


def end(state: ReplicaState) -> None:
    """This member leads no more; whoever waits for a read of it asks the next leader."""
    state.leases = None
    state.contexts.clear()


def cluster_time_ms(state: ReplicaState) -> int:
    """Only a leader's waking time moves it."""
    waking_ms = 0 if state.leases is None else state.leases.waking_ms
    return max(state.cluster_time_base_ms + waking_ms, state.store.time_ms)


def tick(state: ReplicaState) -> None:
    """Say whose lots were not taken; now and then end silent sessions, let the due fall, and see that the limits in
    force are the configured ones."""
    leases, raft, store = state.leases, state.raft, state.store
    if leases is None:
        return
    # 1. All members start again; one leads before it has applied its log. 2. The log takes the store hours on, or days.
    # 3. Were time counted from where this reign began, it would stand still for so long, and nothing would fall due.
    state.cluster_time_base_ms = max(state.cluster_time_base_ms, store.time_ms - leases.waking_ms)
    state.outputs.messages += state.proposals.take_refused(raft.commit_index)
    if state.ticks % state.settings.lease_ticks or raft.term_at(raft.commit_index) != raft.term:
        return  # not before an entry of this term is committed: until then this member knows less than it has
    overdue: list[int] = []
    if leases.may_be_overdue:
        overdue = leases.take_overdue({session.id: session.timeout_ms for session in store.sessions.values()})
    if overdue:
        index = _propose(state, [encode_command((EXPIRE_SESSIONS, overdue))])
        state.expire_index = index or state.expire_index
        if index is None:
            # Handing over leadership, which may yet fail: then they are looked at again.
            leases.spare(overdue)
    if store.limits != state.settings.store_limits and not state.limits_proposed:
        wanted = {name: getattr(state.settings.store_limits, name) for name in limit_names(StoreLimits)}
        state.limits_proposed = _propose(state, [encode_command((SET_LIMITS, wanted))]) is not None
    _propose_due(state)


def has_more(state: ReplicaState) -> bool:
    """More claims were freed at once than one revision may grant: on with it at once, and not at the next tick."""
    return (
        bool(state.store.claims.unsettled)
        and state.leads
        and not state.committed
        and state.sweep_index <= state.store.applied_index
    )


def _propose_due(state: ReplicaState) -> None:
    """If the store has something to do by itself, give it an entry without commands: its time is what it brings."""
    store = state.store
    next_due_ms = store.next_due_ms
    if (
        next_due_ms is not None
        and next_due_ms <= cluster_time_ms(state)
        and state.sweep_index <= store.applied_index
    ):
        state.sweep_index = _propose(state, []) or state.sweep_index


def propose_gathered(state: ReplicaState) -> None:
    """Put into the log what has gathered, unless it is better to wait for more (:func:`_waits_for_more`)."""
    proposals, raft = state.proposals, state.raft
    proposals.gather_own()
    if state.committed:
        # It is behind already, and would be further behind: a read that is asked for now is granted at what is
        # committed now, and waits until all of that is applied.
        return
    if has_more(state) and not proposals.gathered:
        _propose_due(state)
    if not proposals.gathered or _waits_for_more(state):
        return
    if raft.uncommitted_bytes >= state.settings.uncommitted_bytes:
        return
    for commands in proposals.take_gathered():
        if _propose(state, commands) is None:
            # Handing over leadership. They wait here: what is this member's own goes to the next leader then.
            for command in commands:
                proposals.gather(command)
    if not proposals.gathered:
        state.proposed_ms = state.now_ms
        proposals.proposed(raft.last_index)


def _waits_for_more(state: ReplicaState) -> bool:
    """Group commit: while the last entry is on its way, the next one gathers (Nagle's algorithm, RFC 896).

    Its own sync would have to wait for the one under way, and so would its followers'; one larger entry costs all of
    them fewer steps, and where they share processors that is what the others wait for. An entry that a quorum has
    without us ends the wait, so a slow disk here holds up nobody; and what is long on its way, to members far away or
    to slow disks, is followed by the next.
    """
    raft = state.raft
    if raft.last_index <= raft.commit_index:
        return False
    return (
        raft.last_index > raft.persisted_index or state.now_ms < state.proposed_ms + state.settings.alone_ms
    )


def _propose(state: ReplicaState, commands: list[bytes]) -> int | None:
    return state.raft.propose(encode_entry(cluster_time_ms(state), state.wall_ms, commands))
