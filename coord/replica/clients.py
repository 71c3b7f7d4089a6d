"""What clients say: each kind of frame, and what becomes of it."""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final

from coord.api.commands import END_SESSION, OPEN_SESSION, REQUESTS
from coord.api.errors import (
    Disconnected,
    LimitExceeded,
    Overloaded,
    ProtocolError,
    SessionRequired,
    WrongCluster,
)
from coord.api.ops import ReadMode, WatchScope
from coord.replica.connections import Connection
from coord.replica.reads import Waiting
from coord.replica.serving import serve, welcome
from coord.replica.state import ReplicaState, close, forget, refuse, reply
from coord.store.expecting import expected_work
from coord.wire.client_frames import (
    ClientFrame,
    EndSession,
    Hello,
    Keepalive,
    NewSession,
    Reads,
    RefusedFrame,
    Unwatch,
    Watch,
    Writes,
)
from coord.wire.entries import encode_command


def connected(state: ReplicaState, connection: int, secret: bytes, principal: str) -> None:
    if len(state.connections) >= state.settings.limits.connections:
        rejected = Connection(connection, secret, principal)
        state.connections[connection] = rejected
        maximum = state.settings.limits.connections
        close(
            state,
            rejected,
            Overloaded(f"at most {maximum} clients at this member (limit connections); try another"),
        )
        return
    state.connections[connection] = Connection(connection, secret, principal)


def lost(state: ReplicaState, connection: int) -> None:
    """The connection is gone; its session has its timeout to come back."""
    gone = state.connections.pop(connection, None)
    if gone is not None:
        forget(state, gone)
        state.dirty.pop(connection, None)


def backlog(state: ReplicaState, connection: int, full: bool) -> None:
    """The client has much (or, again, little) to take in."""
    client = state.connections.get(connection)
    if client is None or client.closing:
        return
    client.full = full
    if not full:
        resume_deferred(state, client)


def resume_deferred(state: ReplicaState, client: Connection) -> None:
    """Reads that were put off are due again, in the next step."""
    state.due += client.deferred
    client.deferred = []


def received(state: ReplicaState, connection: int, frame: ClientFrame) -> None:
    """A frame of a client, decoded and valid in itself."""
    client = state.connections.get(connection)
    if client is None or client.closing:
        return
    if not client.welcomed:
        if not isinstance(frame, Hello):
            close(
                state,
                client,
                ProtocolError("the first frame is a hello, and nothing follows it before the welcome"),
            )
        elif client.greeted:
            close(state, client, ProtocolError("a second hello on one connection"))
        else:
            _hello(state, client, frame)
        return
    if client.session:
        touch(state, client.session)
    _HANDLERS[type(frame)](state, client, frame)


def touch(state: ReplicaState, session: int) -> None:
    """``session`` was heard from."""
    if state.leases is not None:
        state.leases.touch(session)
    else:
        state.touched[session] = None


def expire_greetings(state: ReplicaState, before_ms: int) -> None:
    """Sessions that no quorum has opened in time: their clients may try another member."""
    for number, since_ms in list(state.opening_since_ms.items()):
        if since_ms >= before_ms:
            break  # in order of their coming
        del state.opening_since_ms[number]
        client = state.connections.get(state.opening.pop(number, -1))
        if client is not None:
            close(state, client, Disconnected("no quorum opened the session in time; try another member"))


def _hello(state: ReplicaState, client: Connection, hello: Hello) -> None:
    client.greeted = True
    if hello.cluster is not None and hello.cluster != state.who.cluster:
        close(
            state,
            client,
            WrongCluster(f"this member is of cluster {state.who.cluster.hex()}, not {hello.cluster.hex()}"),
        )
        return
    wanted = hello.session
    if wanted is None:
        welcome(state, client, 0)
    elif isinstance(wanted, NewSession):
        state.openings = number = state.openings + 1
        state.opening[number] = client.id
        state.opening_since_ms[number] = state.now_ms
        digest = sha256(client.secret).digest()
        who = state.who
        command = (
            OPEN_SESSION, who.member, who.boot, number, wanted.timeout_ms, digest, client.principal, hello.client,
        )  # fmt: skip
        state.proposals.add((OPEN_SESSION, number), 0, encode_command(command))
    else:
        # This member may lag: only a linearizable look says whether the session still lives. The round also
        # tells the leader that the session was heard from.
        touch(state, wanted.session)
        state.rounds.add(Waiting(client.id, hello, state.now_ms))


def _hello_again(state: ReplicaState, client: Connection, frame: Any) -> None:
    close(state, client, ProtocolError("a second hello on one connection"))


def _writes(state: ReplicaState, client: Connection, frame: Writes) -> None:
    for request, error in frame.refused:
        refuse(state, client, request, error)
    if not frame.requests:
        return
    if not client.session:
        error = SessionRequired("this connection has no session, and writes need one: they are retried by it")
        for request, _ in frame.requests:
            refuse(state, client, request, error)
        return
    limits, proposals = state.settings.limits, state.proposals
    if proposals.pending_count >= limits.pending_commands or (
        proposals.pending_bytes + len(frame.body) > limits.pending_bytes
    ):
        # Not a refusal of this frame alone: the next might be taken, when there is room again. The interleaving: frame
        # 1 (x = 1) is refused, frame 2 (x = 2) is taken, the connection breaks before the client hears of either; it
        # sends both again, and x ends as 1. So nothing that comes after it on this connection may be taken.
        what = "this member has too much on its way into the log (limit pending_bytes); try another, or later"
        close(state, client, Overloaded(what))
        return
    command = encode_command((REQUESTS, client.session, frame.body))
    store = state.store
    work = expected_work(frame.requests, store.tree, store.limits, state.settings.transit_work_us)
    first, last = frame.requests[0][0], frame.requests[-1][0]
    proposals.add((REQUESTS, client.session), last, command, first, work)


def _reads(state: ReplicaState, client: Connection, frame: Reads) -> None:
    for request, error in frame.refused:
        refuse(state, client, request, error)
    if not frame.requests:
        return
    waiting = Waiting(client.id, frame, state.now_ms)
    if frame.mode == ReadMode.LOCAL:
        state.due.append(waiting)
    elif state.waiting_reads >= state.settings.limits.waiting_reads:
        error = Overloaded("too many reads are waiting at this member (limit waiting_reads); try again later")
        for request, _ in frame.requests:
            refuse(state, client, request, error)
    elif frame.mode == ReadMode.AT_LEAST:
        if frame.at_least <= state.store.revision:
            state.due.append(waiting)
        else:
            state.waits.add(waiting)
    else:
        state.rounds.add(waiting)


def _watch(state: ReplicaState, client: Connection, frame: Watch) -> None:
    maximum = state.settings.limits.watches_per_connection
    if state.watches.get(client.id, frame.watch) is not None or frame.watch in client.opening:
        close(state, client, ProtocolError(f"watch number {frame.watch} is open already on this connection"))
    elif client.watch_count >= maximum:
        error = LimitExceeded(
            f"at most {maximum} watches on one connection (limit watches_per_connection)",
            {"limit": "watches_per_connection", "maximum": maximum},
        )
        refuse(state, client, frame.request, error)
    elif frame.scope == WatchScope.CLAIMS and not client.session:
        nobody = SessionRequired("this connection has no session, and so no claims to watch")
        refuse(state, client, frame.request, nobody)
    else:
        client.watch_count += 1
        waiting = Waiting(client.id, frame, state.now_ms)
        client.opening[frame.watch] = frame.request
        if frame.from_revision is None:
            state.rounds.add(waiting)  # from now: after everything that was acknowledged before it was asked
        else:
            serve(state, waiting)


def _unwatch(state: ReplicaState, client: Connection, frame: Unwatch) -> None:
    watcher = state.watches.get(client.id, frame.watch)
    if watcher is not None:
        if not watcher.live:
            client.replay_ended()
        state.watches.remove(watcher)
        client.watch_count -= 1
    elif client.opening.pop(frame.watch, None) is not None:
        client.watch_count -= 1  # it waits for its round, and will be told that it was closed
    # Closing what is not open is no error: it may have ended by itself while this was on its way.
    reply(state, client, (frame.request, 0, state.store.revision, state.store.applied_index, None))


def _refused(state: ReplicaState, client: Connection, frame: RefusedFrame) -> None:
    refuse(state, client, frame.request, frame.error)


def _keepalive(state: ReplicaState, client: Connection, frame: Keepalive) -> None:
    if client.session:
        # A round, so that the answer says: the leader, confirmed to be one, has heard of this session.
        state.rounds.add(Waiting(client.id, frame, state.now_ms))
    else:
        reply(state, client, (frame.request, 0, state.store.revision, state.store.applied_index, None))


def _end_session(state: ReplicaState, client: Connection, frame: EndSession) -> None:
    if not client.session:
        refuse(state, client, frame.request, SessionRequired("this connection has no session to end"))
        return
    command = encode_command((END_SESSION, client.session, frame.request))
    state.proposals.add((END_SESSION, client.session), frame.request, command)


_HANDLERS: Final[Mapping[type[Any], Callable[[ReplicaState, Connection, Any], None]]] = {
    Hello: _hello_again,
    Writes: _writes,
    RefusedFrame: _refused,
    Reads: _reads,
    Watch: _watch,
    Unwatch: _unwatch,
    Keepalive: _keepalive,
    EndSession: _end_session,
}
