"""Between replicas, above Raft: commands passed on, reads asked for, and who was heard from."""

from coord.raft.messages import Message
from coord.replica.clients import touch
from coord.replica.formation import ESTABLISHED, FORMED
from coord.replica.state import ReplicaState
from coord.wire.client_frames import Hello, Keepalive, ResumeSession
from coord.wire.peer_frames import (
    FormationProbe,
    FormationReply,
    Forward,
    ForwardRefused,
    PeerMessage,
    ReadGranted,
    ReadRefused,
    ReadRequest,
)


def receive_messages(state: ReplicaState, peer: int, received: list[PeerMessage]) -> None:
    """Messages of one peer, in their order."""
    for message in received:
        if isinstance(message, Forward):
            _receive_forward(state, peer, message)
        elif isinstance(message, ForwardRefused):
            state.proposals.begin_anew(message)
        elif isinstance(message, ReadRequest):
            _receive_read_request(state, peer, message)
        elif isinstance(message, ReadGranted):
            state.rounds.granted(message.read, message.index)
        elif isinstance(message, ReadRefused):
            state.rounds.refused(message.read)
        elif isinstance(message, FormationProbe):
            raft = state.raft
            # Recovering means: somebody told this member of an established cluster. That must not be forgotten while it
            # has nothing of it yet: should all the others lose their disks now, they would begin anew without a word.
            formed = (
                FORMED if raft.term == 0 and raft.last_index == 0 and not raft.recovering else ESTABLISHED
            )
            state.outputs.messages.append((peer, FormationReply(message.nonce, formed, state.who.cluster)))
        elif isinstance(message, FormationReply):
            pass  # the answer to a question from before this member was formed
        else:
            raft_message: Message = message
            state.raft.step(peer, raft_message)


def pass_on(state: ReplicaState) -> None:
    """A follower's: give the leader what this member's clients want written."""
    if state.leader:
        touched = tuple(state.touched)
        lots = state.proposals.take_lots(touched)
        if lots:
            state.touched.clear()
            state.outputs.messages += [(state.leader, lot) for lot in lots]


def ask_round(state: ReplicaState) -> None:
    """Ask where reads may be served, if some wait and nothing has been asked yet."""
    rounds = state.rounds
    if not state.leader or not rounds.wanted:
        return
    number, reads = rounds.ask()
    if state.leads:
        state.next_context += 1
        state.contexts[state.next_context] = (state.who.member, number)
        if not state.raft.read_index(state.next_context):
            del state.contexts[state.next_context]
            rounds.give_up(number)
        return
    # A keepalive's answer says that the leader has heard of the session: so the round itself must carry it, also
    # when it was told before in a message that may be lost.
    touched = dict(state.touched)
    state.touched.clear()
    for waiting in reads:
        if isinstance(waiting.frame, Keepalive):
            client = state.connections.get(waiting.connection)
            if client is not None and client.session:
                touched[client.session] = None
        elif isinstance(waiting.frame, Hello) and isinstance(waiting.frame.session, ResumeSession):
            touched[waiting.frame.session.session] = None
    state.outputs.messages.append((state.leader, ReadRequest(number, tuple(touched))))


def _receive_forward(state: ReplicaState, peer: int, forward: Forward) -> None:
    proposals = state.proposals
    if not state.leads:
        return  # its sender hears who leads, and begins a new stream
    if proposals.gathered_bytes >= state.settings.uncommitted_bytes or not proposals.receive(peer, forward):
        proposals.refuse(peer, forward, state.raft.last_index)
        return
    for session in forward.touched:
        touch(state, session)


def _receive_read_request(state: ReplicaState, peer: int, request: ReadRequest) -> None:
    if not state.leads:
        state.outputs.messages.append((peer, ReadRefused(request.read)))
        return
    for session in request.touched:
        touch(state, session)
    state.next_context += 1
    state.contexts[state.next_context] = (peer, request.read)
    if not state.raft.read_index(state.next_context):
        del state.contexts[state.next_context]
        state.outputs.messages.append((peer, ReadRefused(request.read)))
