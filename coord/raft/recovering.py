"""A member whose disk lost some of what it may have promised, or all (an empty disk under an old name).

It may have voted, and does not know for whom; it may have acknowledged entries that it no longer has. Until
that can do no more harm it grants no votes, does not campaign, and marks its answers as *recovering*: they
move the flow of entries, and count neither for commitment, nor for reads, nor for the leader's check of its
quorum.

How it ends: it asks the leader for a target, with a nonce that is new at every start. The leader appends a
no-op *after* it got the request, and answers with its index, N. When the member has everything through N on
disk, verified against that leader's log, and committed by it, it is whole: in the same term T, and once its
vote in T is on disk too, spent on that leader unless it was spent before.

Why that is enough. Let Q be the quorum that committed N. The recovering member F did not count, so F is not
in Q. All of Q took N in term T, after F lost its memory.

- *Entries F acknowledged to leaders of terms before T, and in T before the loss.* If committed, the leader of
  T has them (leader completeness: all votes for T were cast with memory intact), below N. So now F has them.
- *Entries F acknowledged to a leader of a term later than T.* That leader was elected before the loss by a
  quorum, which shares a member with Q. That member voted in the later term, so it could not take N in term T
  afterwards. So there was no such leader.
- *Votes F gave in terms before T*: F's term is T now; it never votes there again.
- *A vote F gave in T*: it went to the leader of T, or to one who lost. F's vote in T is spent before it may
  vote.
- *Votes F gave in terms after T.* That candidate, C, had left T before the loss, so it does not have N. To
  win it needs a member of Q, all of which have N: they refuse (or voted for it before N: then they would not
  have taken N in T). So C never wins, and it does not matter if F votes again in that term.

Why a fresh entry, and not just "the leader's last index when it first hears from F, once that is committed":

1. A leads term 1 and is cut off; its log ends at 5, all of it committed long ago.
2. B is elected in term 2 with F's vote. B and F commit 6/2.
3. F's disk is replaced. F starts with nothing, and the first to reach it is A, still of the belief that it
   leads.
4. A's last index is 5, committed, of A's own term. F has it in a moment, and would be whole again, in term 1.
5. A and F are two of three. They commit 6/1. There are two committed entries at 6.

And why the nonce: a target that was sent before the loss, and was late, would be too low in just the same
way.

The nonce comes from the seed, so the shell must give another seed at every start; and it must remember on
disk that this member is recovering until ``recovering`` reads False. That a cluster of which a majority is
recovering elects nobody is not a flaw: nobody can tell what was promised. An operator has to decide then.
"""

from coord.raft.messages import RecoveryRequest, RecoveryTarget
from coord.raft.persistence import send
from coord.raft.proposals import append_commands
from coord.raft.state import RaftState


def ask_for_target(state: RaftState) -> None:
    """At each heartbeat, until the leader of this term has answered."""
    if state.recovery_target == 0:
        send(state, state.leader, RecoveryRequest(state.term, state.nonce))


def handle_recovery_request(state: RaftState, sender: int, message: RecoveryRequest) -> None:
    """The leader: append a no-op for this request, once however often it is repeated."""
    progress = state.progress.get(sender)
    if progress is None or state.transfer_to:
        return
    progress.reachable = True
    if progress.recovery_nonce != message.nonce:
        progress.recovery_nonce = message.nonce
        progress.recovery_target = append_commands(state, b"")
    send(state, sender, RecoveryTarget(state.term, message.nonce, progress.recovery_target))


def handle_recovery_target(state: RaftState, sender: int, message: RecoveryTarget) -> None:
    if state.recovering and message.nonce == state.nonce:
        state.recovery_target = message.target_index


def try_to_end(state: RaftState) -> None:
    """Be a full member again if all conditions hold; the last, that the vote is on disk, takes one more sync."""
    target = state.recovery_target
    if (
        target == 0
        or state.leader == 0
        or state.commit_index < target
        or state.verified_index < target
        or state.log.persisted_index < target
    ):
        return
    if state.vote == 0:
        state.vote = state.leader
    durable = state.durable_hard_state
    if durable.term == state.term and durable.vote == state.vote:
        state.recovering = False
        state.recovery_target = 0
        state.ack_due = True  # what it acknowledged so far did not count; this does
