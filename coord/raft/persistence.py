"""Between memory and disk: what goes into a batch, and what may be said once a batch is synced.

"Servers must persist term, vote and log before responding" (thesis §3.8) is kept here and nowhere else:

- votes (a grant, and a candidate's own with the requests that rest on it) are *held* with the number of the
  batch that they need, and released, or dropped, when it is synced;
- acknowledgements are not held at all: they are computed when something became durable, from what is true
  then.

Why a held message is dropped when the term moved on, rather than sent late: it could only confuse. An
acknowledgement shows what a late word can do. Were acks held, and released unexamined:

1. Follower F takes entry 7/1 from A, leader of term 1, and hands it to its disk; the ack is held.
2. B becomes leader of term 2; its log has no entry 7. F truncates 7/1, takes 7/2.
3. F's disk syncs the batch of step 1. F tells A, who has not heard of B, that it has everything through 7.
4. A counts itself and F: a majority, and 7/1 is committed. Nobody but A has it; term 2 commits 7/2.
"""

from coord.raft.messages import Message
from coord.raft.state import HeldMessage, RaftState
from coord.raft.types import HardState, Persist


def take_batch(state: RaftState) -> Persist | None:
    """Everything that the disk was not given yet, as one batch; None if there is nothing."""
    hard_state: HardState | None = None
    handed = state.handed_hard_state
    if handed.term != state.term or handed.vote != state.vote:
        hard_state = HardState(state.term, state.vote)
    elif state.log.handed_index == state.log.last_index:
        return None
    state.batch_number = number = state.batch_number + 1
    if hard_state is not None:
        state.handed_hard_state = hard_state
        state.batches_hard_state.append((number, hard_state))
    return Persist(number, hard_state, state.log.hand_out(number))


def batch_synced(state: RaftState, number: int) -> None:
    """Batch ``number`` is on disk. What was held for it is released by the caller: :func:`release_held`."""
    state.log.batch_synced(number)
    waiting = state.batches_hard_state
    if waiting and waiting[0][0] == number:
        state.durable_hard_state = waiting.popleft()[1]


def everything_is_durable(state: RaftState) -> bool:
    """Whether nothing that this member knows could be lost by a crash now."""
    durable = state.durable_hard_state
    return (
        durable.term == state.term
        and durable.vote == state.vote
        and state.log.persisted_index == state.log.last_index
        and not state.log.batches_under_way
    )


def send(state: RaftState, to: int, message: Message) -> None:
    """Let ``message`` leave with the next outputs: it promises nothing that is not on disk."""
    state.outputs.messages.append((to, message))


def send_when_durable(state: RaftState, to: int, message: Message) -> None:
    """Hold ``message`` until all that is known now is on disk: hard state and log alike."""
    if everything_is_durable(state):
        send(state, to, message)
        return
    state.held.append(HeldMessage(number_of_next_batch(state), to, message))


def number_of_next_batch(state: RaftState) -> int:
    """The batch that will bring everything known now to the disk, if it is not there already.

    If the disk was given everything, that is the last one handed out.
    """
    handed = state.handed_hard_state
    nothing_new = (
        handed.term == state.term
        and handed.vote == state.vote
        and state.log.handed_index == state.log.last_index
    )
    return state.batch_number if nothing_new else state.batch_number + 1


def release_held(state: RaftState, number: int) -> list[Message]:
    """Send what waited for batch ``number`` or an earlier one, except what was said in a term that is over.

    Returns what this member said to itself: a candidate's own vote, which counts when it is durable and not before.
    """
    to_itself: list[Message] = []
    held = state.held
    while held and held[0].number <= number:
        _, to, message = held.popleft()
        if message.term != state.term:
            continue
        if to == state.member_id:
            to_itself.append(message)
        else:
            send(state, to, message)
    return to_itself
