"""Serving what needed a fresh enough state, now that this replica has it."""

from hashlib import sha256
from hmac import compare_digest
from typing import Any

from coord.api.errors import (
    OK,
    CoordError,
    Disconnected,
    Gap,
    InvalidRequest,
    SessionEnded,
    Unavailable,
)
from coord.api.ops import GET, SIGN_TOKEN, STATUS, ReadMode
from coord.replica.connections import Connection, result_bytes
from coord.replica.reads import Waiting
from coord.replica.signing import check_signable, sign_token, usable_key
from coord.replica.state import ReplicaState, close, refuse, reply
from coord.replica.status import status_row
from coord.replica.watches import Watcher, replay_group
from coord.store.work import NO_END, SIGNATURE, VALUE_BYTES
from coord.wire.client_frames import (
    Hello,
    Reads,
    ResumeSession,
    Watch,
    Welcome,
    encode_watch_ended,
    encode_welcome,
)
from coord.wire.event_frames import encode_group

STEP_BYTES = 1024 * 1024
"""Of values that one client is sent in one step. One large read may go over it, not one after another."""

TURN_SHARE = 8
"""Of what a step reads for clients, so small a share is one's turn, while others wait for theirs."""

REPLAY_BYTES = 1024 * 1024
"""Of past events that one watch is sent at a time."""

REPLAY_CHANGES = 20_000
"""Past changes that are looked at in one step, for all watches that are told the past together: some 10 ms."""


def serve_in_turn(state: ReplicaState, due: list[Waiting]) -> None:
    """Serve ``due``, and whoever waits for a turn, until this step has done its share; the rest is for the next."""
    turns, work, share = state.turns, state.store.work, state.settings.step_work_us
    until = work.done + share
    served = 0
    if not turns.count:  # nobody waits: these need no turns, if all of them can be served now
        for waiting in due:
            if work.done >= until:
                break
            served += 1
            serve(state, waiting, until)
    for waiting in due[served:]:
        # What is no read of the tree is quickly done: nobody's keepalive waits behind what it has asked for.
        if isinstance(waiting.frame, Reads):
            turns.add(waiting.connection, waiting)
        else:
            serve(state, waiting)
    while turns.count and work.done < until:
        serve(state, turns.take(), min(until, work.done + share // TURN_SHARE + 1))


def serve(state: ReplicaState, waiting: Waiting, until: int = NO_END) -> None:
    """Do what a client waited for, at the state that is applied now. Of reads, so many as are done before ``until``."""
    client = state.connections.get(waiting.connection)
    if client is None or client.closing:
        return
    frame = waiting.frame
    if isinstance(frame, Reads):
        _read(state, client, waiting, frame, until)
    elif isinstance(frame, Watch):
        _open_watch(state, client, frame)
    elif isinstance(frame, Hello):
        _resume(state, client, frame)
    else:
        reply(state, client, (frame.request, OK, state.store.revision, state.store.applied_index, None))


def expire(state: ReplicaState, waiting: Waiting) -> None:
    """A client waited for too long."""
    client = state.connections.get(waiting.connection)
    if client is None or client.closing:
        return
    frame = waiting.frame
    if isinstance(frame, Reads):
        if frame.mode == ReadMode.AT_LEAST:
            what = f"revision {frame.at_least} did not come in time: this member is at {state.store.revision}"
        else:
            what = "no quorum confirmed a leader in time; a local read needs none"
        for request, _ in frame.requests:
            refuse(state, client, request, Unavailable(what))
    elif isinstance(frame, Hello):
        close(state, client, Disconnected("no quorum confirmed the session in time; try another member"))
    else:
        if isinstance(frame, Watch) and client.opening.pop(frame.watch, None) is not None:
            client.watch_count -= 1
        refuse(state, client, frame.request, Unavailable("no quorum confirmed a leader in time"))


def expire_unsigned(state: ReplicaState, waiting: Waiting) -> None:
    """A client waited for too long for this member's key to come into the tree."""
    client = state.connections.get(waiting.connection)
    frame = waiting.frame
    if client is not None and not client.closing and isinstance(frame, Reads):
        for request, _ in frame.requests:
            refuse(
                state, client, request, Unavailable("this member's key did not come into the tree in time")
            )


def welcome(
    state: ReplicaState, client: Connection, session: int, timeout_ms: int = 0, secret: bytes = b""
) -> None:
    """The handshake is done."""
    client.welcomed = True
    client.session = session
    members = sorted(state.who.addresses.items())
    client.send(
        encode_welcome(
            Welcome(
                session,
                secret,
                timeout_ms,
                state.store.revision,
                state.who.member,
                state.who.cluster,
                members,
            )
        )
    )
    state.dirty[client.id] = None


def attach(state: ReplicaState, client: Connection, session: int, timeout_ms: int, secret: bytes) -> None:
    """``session`` is at this connection from now on; at another one of this member no longer."""
    before = state.connections.get(state.attached.get(session, -1))
    if before is not None and before is not client:
        close(state, before, Disconnected("the session was attached by a newer connection"))
    state.attached[session] = client.id
    welcome(state, client, session, timeout_ms, secret)


def replay(state: ReplicaState) -> None:
    """Tell watches that are behind more of the past; those that have caught up go live.

    A connection that is full gets no more for now: the past waits in the history, which may outrun it (a gap). And all
    of them together get so much in one step, in turn: thousands of watches that come back at once must not keep those
    waiting who ask for something else.
    """
    replaying = state.watches.replaying
    left = REPLAY_CHANGES
    for key, watcher in list(replaying.items()):
        client = state.connections[watcher.connection]
        if client.full:
            continue
        if left <= 0:
            return
        left -= 1 + _replay_some(state, client, watcher, left)
        if key in replaying:  # behind those that had no turn
            replaying[key] = replaying.pop(key)


def _replay_some(state: ReplicaState, client: Connection, watcher: Watcher, changes_max: int) -> int:
    """Returns how many changes were looked at: all of one revision, so it may be more than ``changes_max``."""
    history = state.store.history
    if watcher.next_revision < history.first_revision:
        _end_by_gap(state, client, watcher)
        return 0
    size = looked_at = 0
    for revision in history.since(watcher.next_revision, state.settings.replay_revisions):
        group = replay_group(watcher, revision)
        watcher.next_revision = revision[0] + 1
        looked_at += len(revision[3])
        if group is not None:
            client.event(encode_group(group))
            state.dirty[client.id] = None
            size += sum(len(change[2] or b"") + len(change[1]) for change, _ in group.events)
        if size > REPLAY_BYTES or looked_at >= changes_max:
            break
    if watcher.next_revision > state.store.revision:
        state.watches.make_live(watcher)
        client.replay_ended()
        state.dirty[client.id] = None
    return looked_at


def end_watches_by_gap(state: ReplicaState, from_revision: int) -> None:
    """The store has leapt (a snapshot): live watches were told everything below ``from_revision``."""
    for watcher in list(state.watches):
        if watcher.live:
            client = state.connections[watcher.connection]
            watcher.next_revision = max(watcher.next_revision, from_revision)
            state.watches.make_replaying(watcher)
            client.replaying += 1


def _end_by_gap(state: ReplicaState, client: Connection, watcher: Watcher) -> None:
    state.watches.remove(watcher)
    client.watch_count -= 1
    client.send(encode_watch_ended(watcher.number, _gap(state, watcher.next_revision)))
    client.replay_ended()
    state.dirty[client.id] = None


def _gap(state: ReplicaState, from_revision: int) -> Gap:
    first = state.store.history.first_revision
    return Gap(
        f"the history reaches back to revision {first}, not to {from_revision}: list again, and watch from there",
        {"first_revision": first, "revision": state.store.revision},
    )


def _read(state: ReplicaState, client: Connection, waiting: Waiting, frame: Reads, until: int) -> None:
    """Serve a frame of reads, one of them at least; what the client cannot take in now is put off, and what comes after
    ``until`` waits for its turn: both are served at a later state.
    """
    store, limits = state.store, state.settings.limits
    work = store.work
    revision, index = store.revision, store.applied_index
    state.dirty[client.id] = None
    for position, (request, op) in enumerate(frame.requests):
        if client.full or client.queued_bytes > STEP_BYTES:
            client.deferred.append(waiting._replace(frame=_rest(frame, position)))
            return
        if work.done >= until and position:
            state.turns.put_back(client.id, waiting._replace(frame=_rest(frame, position)))
            return
        try:
            result: Any
            if op[0] == STATUS:
                result = status_row(state)
            elif op[0] == SIGN_TOKEN:
                check_signable(state, client, frame)
                signer = usable_key(state)
                if signer is None:
                    state.token_keys.waiting.append(waiting._replace(frame=_rest(frame, position)))
                    return
                work.done += SIGNATURE
                result = sign_token(state, client, signer, op)
            else:
                result = store.read(op, limits)
        except CoordError as error:
            refuse(state, client, request, error)
        else:
            size = len(result[0]) if op[0] == GET else result_bytes(result)
            work.done += size // VALUE_BYTES
            client.reply((request, OK, revision, index, result), size)


def _rest(frame: Reads, position: int) -> Reads:
    return frame._replace(requests=frame.requests[position:])


def _open_watch(state: ReplicaState, client: Connection, frame: Watch) -> None:
    if client.opening.get(frame.watch) != frame.request:
        refuse(
            state, client, frame.request, InvalidRequest(f"watch {frame.watch} was closed before it was open")
        )
        return
    del client.opening[frame.watch]
    revision = state.store.revision
    first = revision + 1 if frame.from_revision is None else frame.from_revision
    if first < state.store.history.first_revision:
        client.watch_count -= 1
        refuse(state, client, frame.request, _gap(state, first))
        return
    watcher = Watcher(client.id, frame.watch, frame.path, frame.scope, first, client.session)
    state.watches.add(watcher)
    # The reply goes ahead of the watch's past. Its revision is the one before the first that the watch tells of: it
    # shows nothing that the events would have to come before.
    client.reply_at_once((frame.request, OK, first - 1, state.store.applied_index, None))
    state.dirty[client.id] = None
    client.replaying += 1
    if first > state.store.revision:
        _replay_some(state, client, watcher, 0)  # nothing has passed yet: it is live from here
    # Else the end of this step tells it the past, in its turn: a thousand may be opened by one frame.


def _resume(state: ReplicaState, client: Connection, hello: Hello) -> None:
    wanted = hello.session
    if not isinstance(wanted, ResumeSession):
        return
    session = state.store.sessions.get(wanted.session)
    if session is None:
        what = "has ended" if state.store.session_was(wanted.session) else "was never opened in this cluster"
        close(state, client, SessionEnded(f"session {wanted.session} {what}"))
    elif not compare_digest(session.secret_digest, sha256(wanted.secret).digest()):
        close(state, client, SessionEnded(f"that is not the secret of session {wanted.session}"))
    elif session.principal != client.principal:
        close(state, client, SessionEnded(f"session {wanted.session} is another principal's"))
    else:
        attach(state, client, session.id, session.timeout_ms, b"")
