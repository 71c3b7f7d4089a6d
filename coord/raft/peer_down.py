"""A report that another member's process is gone: its followers need not wait for their patience to end.

The shell says so when the connections of a peer have ended and its host, which lives, refuses a new one. That is
nearly always true of a process that was killed or has stopped, and comes within a millisecond; silence is certain
after an election timeout only. It is no part of Raft as the thesis has it, and may be wrong: a report is a hint.

What it does: a follower of that very member no longer defends it, so it answers those who ask for pre-votes, and asks
for some itself after a few ticks: at its turn, by the ids of the voters, two ticks apart. For if two ask in the same
moment, each grants the other's pre-vote, votes for itself, and nobody wins. A turn that fails (the other has not heard
of the death yet, say) is followed by a few more, after short timeouts drawn by dice; then patience is as always.

Only the asking is hasty. Who grants a pre-vote leaves the turn to the other, and who has spent a term on a campaign
waits as long for its outcome as ever. Else, where a sync takes longer than a turn:

1. Member 2 campaigns; its vote is on its way to the disk.
2. Member 3 has its turn, asks for the next term, and is granted it. It campaigns; its vote is on its way to the disk.
3. Member 2 has another turn.

Why it is safe when it is wrong. Terms, votes and logs are untouched. That a leader that is heard is defended, and that
patience is long, are for quiet alone: either could be 0 for a member at any time, and is, for one that just started.
Whoever wins has the votes of a quorum, cast once in a term and durably, each after a look at the logs (thesis §3.4,
§3.6.1); and a read is granted by a quorum that answered a beat of this term after the read came (reads.py): who has
voted in a later term answers none of these. Nothing anywhere trusts that a leader which is defended is the only one.

Why it does not disturb a healthy cluster. Pre-votes stand between the report and any term. The stories:

- *One follower is told wrongly.* It asks; the others hear the leader, and refuse. The leader's next word makes it a
  follower with all its patience (:func:`~coord.raft.terms.be_patient`). It costs messages.
- *A quorum is told wrongly at once.* One of them is elected, by votes as ever: one election, and no more, as the
  report was about the former leader, and who follows another is not moved by it.
- *The leader is back within milliseconds,* with its log and its vote, as a follower of the same term. It votes like
  any; if it is alone in having an entry that is committed nowhere, that may be lost, as by any death.
- *The report is late:* its subject is long followed by nobody, and nothing happens. If the subject has been elected
  anew meanwhile, it is the first story.
- *The leader's last words come after the report* (the shell delivers the words first, a network may not): it is
  followed again, and now dies in silence, to be missed by the timeout.
- *To a candidate,* it is no news: it follows nobody. *To a leader,* it says only that appends may be lost, which
  it learns in another way (``peer_unreachable``).
- *To a learner,* or a member that is recovering or about to install a snapshot: it does not campaign when its turn
  comes, as ever (``election.may_campaign``). It ceases to defend the leader, so that others' pre-votes find it as they
  would after the timeout.
"""

from typing import Final

from coord.raft.configuration import is_voter, members_of
from coord.raft.roles import Role
from coord.raft.state import RaftState

TURN_TICKS: Final = 2
"""Between two members' turns: long enough for the first to have asked for votes, usually."""

SHORT_TIMEOUTS: Final = 4
"""So many timeouts after the turn are short."""


def peer_down(state: RaftState, peer: int) -> None:
    """The process of ``peer`` is said to be gone; see the module. Only who follows it is moved."""
    if state.role is not Role.FOLLOWER or state.leader != peer:
        return
    state.leader = 0
    state.short_timeouts = SHORT_TIMEOUTS
    turn_ticks = 1 + TURN_TICKS * _place(state, peer)
    state.election_timeout = min(state.election_timeout, state.election_elapsed + turn_ticks)


def _place(state: RaftState, peer: int) -> int:
    """Of this member, among those that could take over: 0 is first."""
    configuration, own = state.configuration, state.member_id
    return sum(
        [each < own for each in members_of(configuration) if each != peer and is_voter(configuration, each)]
    )
