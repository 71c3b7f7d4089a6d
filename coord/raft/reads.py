"""Linearizable reads without the log: ReadIndex (thesis §6.4).

A read may be served from the state as of the leader's commit index, if this member was still the leader at
some moment after the read arrived. It was, if a quorum answers a heartbeat that was sent after the read arrived.

Two traps:

- A heartbeat's answer proves leadership only from when that heartbeat was *sent*. So each has a number that is never
  used twice in a term, reads wait for the answer to a number that was given out after they came, and answers from
  other terms are ignored. (A paused member whose answers were all buffered would otherwise confirm reads that came
  long after another leader was elected.)
- A new leader's commit index may lie below what its predecessor committed and told clients, until it has committed
  an entry of its own term. Reads wait for that.

There are no lease reads: they would trade a round of heartbeats for trust in clocks.
"""

from coord.raft.messages import Heartbeat
from coord.raft.persistence import send
from coord.raft.quorum import greatest_reached
from coord.raft.roles import Role
from coord.raft.state import RaftState, ReadRound


def read_index(state: RaftState, context: int) -> bool:
    """Take a read, to be answered in ``outputs.reads`` or ``outputs.reads_refused``; False when not the leader."""
    if state.role is not Role.LEADER:
        return False
    state.reads_waiting.append(context)
    return True


def begin_round(state: RaftState) -> None:
    """Send a beat to every peer if one is due or reads wait for one; all those reads share it. Leader only."""
    reads_can_start = bool(state.reads_waiting) and state.commit_index >= state.term_start_index
    if not reads_can_start and not state.beat_due:
        return
    state.beat_due = False
    state.round += 1
    if reads_can_start:
        state.read_rounds.append(ReadRound(state.round, state.commit_index, state.reads_waiting))
        state.reads_waiting = []
    commit = state.commit_index
    beat = Heartbeat(state.term, commit, state.log.term_at(commit) or 0, state.round)
    for progress in state.peers:
        send(state, progress.peer, beat)
        progress.commit_sent = commit
    if state.read_rounds:
        confirm_reads(state)  # a sole voter needs nobody's answer


def confirm_reads(state: RaftState) -> None:
    """Answer the reads whose round a quorum has answered. The leader answers its own beats as they are made."""
    state.answered_rounds[state.member_id] = state.round
    confirmed = greatest_reached(state.configuration, state.answered_rounds)
    rounds = state.read_rounds
    while rounds and rounds[0].round <= confirmed:
        _, index, contexts = rounds.popleft()
        state.outputs.reads.extend([(context, index) for context in contexts])
