"""Committed entries become state, events and replies."""

from typing import Final

from coord.api.checks import check
from coord.api.commands import END_SESSION, OPEN_SESSION, PUT_TOKEN_KEY, REQUESTS, Command, Reply
from coord.api.errors import OK, LimitExceeded, SessionEnded, from_code
from coord.api.events import Reason
from coord.raft.types import ENTRY_COMMANDS, Entry
from coord.replica import signing
from coord.replica.serving import attach
from coord.replica.state import ReplicaState, close, forget, made_progress, reply
from coord.replica.watches import MATCHES_MAX
from coord.store.sessions import reply_weight
from coord.store.store import Answer
from coord.store.work import CHANGE
from coord.wire.entries import decode_entry, encode_command

LOT_BYTES: Final = 1024 * 1024
"""Of log that is applied before its answers are given. A member that starts is told at once that all of its log is
committed: what hundreds of thousands of requests, their answers and events need meanwhile would be memory that it never
gives back."""

LOT_SHARE: Final = 8
"""Of a step's work, where there are watches, so small a share is applied before events are told. What telling takes
counts, too, and is known only then: one revision may concern many clients, and each of them is told."""

_ENDED: Final = {
    Reason.SESSION_ENDED: "the client ended it",
    Reason.SESSION_EXPIRED: "nothing was heard of its client for its timeout",
}


def commit(state: ReplicaState, entries: list[Entry]) -> None:
    """``entries`` are committed, and will be applied: now, or in the next steps."""
    state.committed += entries
    apply_committed(state)
    # Counted only when some are left: mostly none are. (Those that went took their bytes off already.)
    state.committed_bytes = (
        state.committed_bytes + sum([len(entry.data) for entry in entries]) if state.committed else 0
    )


def apply_committed(state: ReplicaState) -> None:
    """Apply what is committed, lot by lot, and tell what came of each, until this step has done its share.

    What is left is for the next steps. A leader proposes nothing meanwhile (leading.py). A follower that applies more
    slowly than the cluster commits would have more left each time: so the more it is, the larger is the share, until
    hardly anything else is done, and what comes has to wait.
    """
    settings = state.settings
    until = settings.step_work_us * (1 + state.committed_bytes // settings.uncommitted_bytes)
    work = state.store.work
    lot = until // LOT_SHARE + 1 if state.watches else until
    while state.committed and work.done < until:
        _apply_lot(state, work.done + lot)


def begin_snapshot(state: ReplicaState) -> None:
    """Of all that is applied. Not within an entry: a start goes on with the entry after its snapshot."""
    maker, store = state.snapshot_maker, state.store
    meta = state.raft.snapshot_meta(store.applied_index)
    maker.begin(store, meta)
    state.outputs.snapshot_begun = meta


def _apply_lot(state: ReplicaState, until: int) -> None:
    """Apply until ``until``; then tell: events first, then replies, so that no reply shows what no event has told."""
    store, committed, maker = state.store, state.committed, state.snapshot_maker
    answered: list[tuple[Command, Answer, bool]] = []
    lot_bytes = 0
    while committed and lot_bytes < LOT_BYTES and store.work.done < until:
        entry = committed[0]
        requests = 0
        if entry.kind == ENTRY_COMMANDS and entry.data:
            underway = store.underway or store.begin(entry.index, *decode_entry(entry.data))
            answered += store.go_on(until)
            if store.underway is not None:
                break
            requests = sum([len(command[3]) for command in underway.commands if command[0] == REQUESTS])
        else:
            store.skip(entry.index)
        committed.popleft()
        size = len(entry.data)
        lot_bytes += size
        state.committed_bytes -= size
        maker.applied(entry.index, size, requests)
        if maker.due:
            begin_snapshot(state)
    _tell_events(state)
    for command, answer, whole in answered:
        kind = command[0]
        if kind == REQUESTS:
            _answer_requests(state, command, answer, whole)
        elif kind == OPEN_SESSION:
            _answer_opened(state, command, answer)
        elif kind == PUT_TOKEN_KEY:
            _, member, _, _, generation, _ = command
            signing.applied(state, member, generation)
        elif kind == END_SESSION:
            _answer_ended(state, command, answer)
    for session, reason in store.take_ended():
        if state.leases is not None:
            state.leases.ended(session)
        client = state.connections.get(state.attached.get(session, -1))
        if client is not None:
            close(state, client, SessionEnded(f"session {session} has ended: {_ENDED[reason]}"))


def _tell_events(state: ReplicaState) -> None:
    connections, dirty = state.connections, state.dirty
    fresh = state.store.take_fresh()
    if not state.watches:
        return  # also without a look at each revision: most of what is applied concerns no watch here
    for revision in fresh:
        groups = state.watches.groups(revision)
        state.store.work.done += CHANGE * len(revision[3]) * (1 + len(groups))
        for connection, group in groups.items():
            dirty[connection] = None
            if group is not None:
                connections[connection].event(group)
            else:
                close(state, connections[connection], _too_many_events(revision[0]))


def _too_many_events(revision: int) -> LimitExceeded:
    return LimitExceeded(
        f"the changes of revision {revision} concern this connection's watches more than {MATCHES_MAX} times: watch a "
        "subtree once, rather than each path in it, or the same path, many times",
        {"limit": "events_per_revision", "maximum": MATCHES_MAX},
    )


def _answer_requests(state: ReplicaState, command: Command, answer: Answer, whole: bool) -> None:
    """``whole``: these are the answers to the last of its requests; else more will come."""
    _, session, _, requests = command
    check(isinstance(answer, list), "requests are answered one by one", session)
    if not whole:
        state.proposals.applied_in_part()
    elif requests and state.proposals.applied((REQUESTS, session), requests[-1][0], requests[0][0]):
        made_progress(state)
    client = state.connections.get(state.attached.get(session, -1))
    if client is not None and isinstance(answer, list):
        for row in answer:
            client.reply(row, reply_weight(row) if type(row[4]) is tuple else 0)
        state.dirty[client.id] = None
        maximum = state.settings.limits.outbox_bytes
        if client.queued_bytes > maximum:
            # Here, and not when it does not leave: thousands of small multis may read a large value each, and their
            # answers, all of them put into frames first, would be more than this member has memory.
            what = (
                f"what its multis have read comes to {client.queued_bytes} bytes at once; at most {maximum}"
            )
            details = {"limit": "outbox_bytes", "maximum": maximum}
            client.give_up(LimitExceeded(f"{what} (limit outbox_bytes): ask for less at a time", details))
            forget(state, client)


def _answer_opened(state: ReplicaState, command: Command, answer: Answer) -> None:
    _, member, boot, number, *_ = command
    row = _row(answer)
    session, opened = row[0], row[1] == OK
    if opened and state.leases is not None:
        state.leases.opened(session)
    if member != state.who.member or boot != state.who.boot:
        return  # another member's, or asked for by an earlier life of this one
    if not state.proposals.applied((OPEN_SESSION, number), 0):
        return  # it is in the log twice, and this is the second time
    made_progress(state)
    state.opening_since_ms.pop(number, None)
    client = state.connections.get(state.opening.pop(number, -1))
    if client is not None and client.closing:
        client = None  # told goodbye in this very step: a welcome after it would attach the session to nobody
    if client is not None and not opened:
        close(state, client, from_code(row[1], row[4], row[5]))
    elif client is not None:
        attach(state, client, session, row[4], client.secret)
    elif opened:
        # Its client has gone.
        state.proposals.add((END_SESSION, session), 0, encode_command((END_SESSION, session, 0)))


def _answer_ended(state: ReplicaState, command: Command, answer: Answer) -> None:
    _, session, request = command
    if state.proposals.applied((END_SESSION, session), request):
        made_progress(state)
    client = state.connections.get(state.attached.get(session, -1))
    if client is not None and request:
        reply(state, client, _row(answer))


def _row(answer: Answer) -> Reply:
    check(isinstance(answer, tuple), "this command has one reply", answer)
    return answer if isinstance(answer, tuple) else ()
