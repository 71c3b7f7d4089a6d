"""Elections: pre-vote, vote, and what a new leader does first (thesis §3.4, §9.6; check-quorum is in
leading.py).

Who may disturb whom:

- A member asks for pre-votes before it spends a term. One that was cut off comes back with the term it left
  with.
- A member that heard from a leader less than ``election_ticks`` ago answers no candidate (the thesis's remedy
  for members that were removed and do not know it, §4.2.3), and does not even take over the candidate's term;
  unless the leader itself asked for the election (``forced``); or its process is said to be gone (peer_down.py).
- A member that is not a voter in its own configuration does not campaign (but see :func:`may_campaign`). It does
  vote when asked: it may have been made a voter by entries that it has not received, and without its vote those
  might never be committed.

Why a candidate's requests wait for the disk like its vote does:

1. Candidate C, log through 10, asks for votes in term 5 before entry 10 is on its disk. The requests are
   slow.
2. C crashes, and restarts with its log through 9 and no memory of term 5. It campaigns in term 5 again.
3. B, whose log reaches 10 too, gets the first request, and grants it. It would not have granted the second
   one.
4. C wins term 5 with B's vote and a log through 9. If 10 was committed, it is lost.
"""

from coord.api.checks import check
from coord.raft.configuration import is_voter, members_of
from coord.raft.membership_log import set_peers
from coord.raft.messages import PreVote, PreVoteReply, TimeoutNow, Vote, VoteReply
from coord.raft.persistence import send, send_when_durable
from coord.raft.proposals import append_commands
from coord.raft.quorum import cannot_win, has_quorum
from coord.raft.roles import Role
from coord.raft.state import RaftState
from coord.raft.terms import be_patient, become_follower, draw_timeout, enter_term


def tick_election(state: RaftState) -> None:
    """One tick of a member that does not lead: campaign when patience ends."""
    state.election_elapsed += 1
    if state.election_elapsed >= state.election_timeout:
        if may_campaign(state):
            _ask_for_pre_votes(state)
        else:
            _lose_patience_quietly(state)
    elif (
        state.role is Role.FOLLOWER
        and state.configuration.voters == (state.member_id,)
        and may_campaign(state)
    ):
        _ask_for_pre_votes(state)  # nobody else could lead: waiting would be for nothing


def may_campaign(state: RaftState) -> bool:
    """A voter, not recovering, and not about to replace its log by a snapshot.

    Also one that the last configuration of its log leaves out, as long as it does not know that one to be committed
    (thesis §4.2.2). It may be the only one that can be elected:

    1. Members 1 and 2 are to become 2 alone. Leader 1 commits the joint configuration, appends the final one, and
       restarts before that reaches 2.
    2. Member 2 goes by the joint configuration, so it needs 1's vote, and does not get it: 1's log is longer.
    3. Member 1 needs 2's vote only, and would get it; then it leads until the final configuration is committed.
    """
    if state.recovering or (state.incoming is not None and state.incoming.installing):
        return False
    if is_voter(state.configuration, state.member_id):
        return True
    return (
        state.configuration_index > state.commit_index
        and len(state.configurations) > 1
        and is_voter(state.configurations[-2].configuration, state.member_id)
    )


def hears_a_leader(state: RaftState) -> bool:
    """Whether this member defends a leader: it is one, or heard from one less than ``election_ticks`` ago."""
    if state.role is Role.LEADER:
        return True
    return state.leader != 0 and state.election_elapsed < state.settings.election_ticks


def _lose_patience_quietly(state: RaftState) -> None:
    state.leader = 0
    state.election_elapsed = 0
    draw_timeout(state)


def _ask_for_pre_votes(state: RaftState) -> None:
    _become_candidate(state, Role.PRE_CANDIDATE)
    state.votes = {state.member_id: True}  # promises nothing, so it need not be durable
    if has_quorum(state.configuration, state.votes):
        campaign(state, forced=False)
        return
    request = PreVote(state.term + 1, state.log.last_index, state.log.last_term)
    for member in members_of(state.configuration):
        if member != state.member_id and is_voter(state.configuration, member):
            send(state, member, request)


def campaign(state: RaftState, forced: bool) -> None:
    """Spend a term: vote for oneself and ask the others, both once it is on disk."""
    enter_term(state, state.term + 1)
    state.vote = state.member_id
    state.short_timeouts = 0  # what a term was spent on has its time, on slow disks too (peer_down.py)
    _become_candidate(state, Role.CANDIDATE)
    request = Vote(state.term, state.log.last_index, state.log.last_term, forced)
    for member in members_of(state.configuration):
        if member != state.member_id and is_voter(state.configuration, member):
            send_when_durable(state, member, request)
    send_when_durable(state, state.member_id, VoteReply(state.term, True))


def _become_candidate(state: RaftState, role: Role) -> None:
    check(state.role is not Role.LEADER, "a leader does not campaign", state.term)
    state.role = role
    state.leader = 0
    state.votes = {}
    state.election_elapsed = 0
    draw_timeout(state)


def _log_is_up_to_date(state: RaftState, last_index: int, last_term: int) -> bool:
    """Whether a log that ends so holds all that is committed, as far as this member can know (thesis §3.6.1).

    The later last term wins; only between equal terms does length count.
    """
    return (last_term, last_index) >= (state.log.last_term, state.log.last_index)


def handle_pre_vote(state: RaftState, sender: int, message: PreVote) -> None:
    granted = (
        message.term > state.term
        and not state.recovering
        and not hears_a_leader(state)
        and _log_is_up_to_date(state, message.last_index, message.last_term)
    )
    if granted and state.short_timeouts:
        be_patient(state)  # it is the other's turn now
    # A refusal tells our term: a candidate that is behind could ask for ever for terms that are over.
    send(state, sender, PreVoteReply(message.term if granted else state.term, granted))


def handle_pre_vote_reply(state: RaftState, sender: int, message: PreVoteReply) -> None:
    if message.granted:
        if state.role is Role.PRE_CANDIDATE and message.term == state.term + 1:
            state.votes[sender] = True
            if has_quorum(state.configuration, state.votes):
                campaign(state, forced=False)
    elif message.term > state.term:
        become_follower(state, message.term, 0)
    elif state.role is Role.PRE_CANDIDATE:
        state.votes.setdefault(sender, False)
        if cannot_win(state.configuration, state.votes):
            become_follower(state, state.term, 0)


def handle_vote(state: RaftState, sender: int, message: Vote) -> None:
    """A request of this very term: the router settled the term, and whether to listen at all."""
    free_to_grant = state.vote == sender or (state.vote == 0 and state.leader == 0)
    if (
        not free_to_grant
        or state.recovering
        or state.role is Role.LEADER
        or not _log_is_up_to_date(state, message.last_index, message.last_term)
    ):
        send(state, sender, VoteReply(state.term, False))
        return
    state.vote = sender
    be_patient(state)
    # Not before it is on disk: a vote that a restart forgets is given twice, and one term gets two leaders.
    send_when_durable(state, sender, VoteReply(state.term, True))


def handle_vote_reply(state: RaftState, sender: int, message: VoteReply) -> None:
    """Also this member's own vote, from itself, when that became durable."""
    if state.role is not Role.CANDIDATE:
        return
    state.votes.setdefault(sender, message.granted)
    if has_quorum(state.configuration, state.votes):
        _become_leader(state)
    elif cannot_win(state.configuration, state.votes):
        become_follower(state, state.term, 0)


def handle_timeout_now(state: RaftState, sender: int, message: TimeoutNow) -> None:
    """The leader hands over: campaign at once, without pre-vote (the others do hear a leader)."""
    if may_campaign(state):
        campaign(state, forced=True)


def _become_leader(state: RaftState) -> None:
    """Lead ``term``: new books on everybody, and a no-op, for only an entry of this term can be committed by counting.

    That no-op is also what commits the entries of former terms, and what opens reads and membership changes.
    """
    check(state.vote == state.member_id, "a leader voted for itself", state.term, state.vote)
    check(state.durable_hard_state.term == state.term, "a leader's vote is on its disk", state.term)
    state.role = Role.LEADER
    state.leader = state.member_id
    state.votes = {}
    state.incoming = None
    state.election_elapsed = 0
    state.heartbeat_elapsed = 0
    state.round = 0
    state.acknowledged = {state.member_id: state.log.persisted_index}
    state.answered_rounds = {}
    state.progress = {}
    set_peers(state)
    state.heard_from = {}  # elected, so a quorum is there; it shall be heard again within one timeout
    undelivered = (
        state.log.slice(state.delivered_index + 1, state.log.last_index) if _has_undelivered(state) else []
    )
    state.uncommitted_bytes = sum([len(entry.data) for entry in undelivered])
    state.term_start_index = append_commands(state, b"")


def _has_undelivered(state: RaftState) -> bool:
    return state.delivered_index < state.log.last_index
