"""The replicated state machine: the same commands in the same order make the same store, everywhere.

Nothing here knows of logs, members, connections or clocks: an entry's index, cluster time and wall
clock come with it. What a command does depends on the replicated state only; even the limits that
decide it are part of that state.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from coord.api.checks import check
from coord.api.commands import (
    END_SESSION,
    EXPIRE_SESSIONS,
    OPEN_SESSION,
    PUT_TOKEN_KEY,
    REQUESTS,
    SET_LIMITS,
    Command,
    Reply,
)
from coord.api.errors import OK, CoordError, LimitExceeded, ReplyForgotten, SessionEnded
from coord.api.events import Reason, Revision
from coord.api.ops import CLAIM_FIRST, FENCED_WRITE, LOG, MULTI, SESSIONS, Row
from coord.limits import MemberLimits, StoreLimits, limit_names
from coord.store.candidates import Candidates
from coord.store.claim_reads import CLAIM_READERS
from coord.store.claiming import end_claims
from coord.store.claims import Claims
from coord.store.draft import Draft
from coord.store.fences import Fences
from coord.store.granting import free, settle
from coord.store.history import History, within
from coord.store.multi import HANDLERS
from coord.store.reads import READERS
from coord.store.sessions import Origin, Session, reply_weight
from coord.store.token_keys import put_token_key
from coord.store.tree import Tree
from coord.store.underway import Underway
from coord.store.work import CHANGE, NO_END, REQUEST, SESSIONS_LOOKED_AT, STAT_ROW, Work
from coord.store.writes import leave_container, limit_exceeded, remove

TTL_SWEEP: Final = 1_000
"""TTL znodes deleted by one entry at most: one revision, and a short apply. The next entry goes on."""

_READING: Final = (MULTI, FENCED_WRITE, CLAIM_FIRST)
"""Those that go through the log and may read: by op code."""

Answer = list[Reply] | Reply | None
"""To a command: replies to REQUESTS, one reply (without a request's id) to the others that have one."""


class Store:
    """The tree, the sessions, the history, at ``applied_index``, and with a part of the entry ``underway``, if any.

    Invariants: ``revision`` grows by one with each request, session end or sweep that changed anything,
    and with nothing else; ``time_ms`` never goes back; every ephemeral's owner is a session that is there.
    """

    __slots__ = (
        "_by_origin",
        "_draft",
        "applied_index",
        "claims",
        "ended",
        "fences",
        "fresh",
        "history",
        "limits",
        "next_session",
        "openers",
        "revision",
        "sessions",
        "time_ms",
        "tree",
        "underway",
        "work",
    )

    def __init__(self, history_limits: MemberLimits | None = None) -> None:
        bounds = history_limits or MemberLimits()
        self.work = Work()
        self.tree = Tree(self.work)
        self.claims = Claims(self.work)
        self.fences = Fences()
        self.sessions: dict[int, Session] = {}
        self.history = History(bounds.history_revisions, bounds.history_bytes)
        self.limits = StoreLimits()
        self.revision = 0
        self.applied_index = 0
        """Of the last entry that was applied whole."""
        self.underway: Underway | None = None
        """The next one, of which a part is applied."""
        self.time_ms = 0
        """Cluster time: advances only with the leaders' monotonic clocks, and only through the log."""
        self.next_session = 1
        self.openers: dict[int, tuple[int, int]] = {}
        """Of each member: the boot and number of the last session that it opened."""
        self._by_origin: dict[Origin, int] = {}
        self.fresh: list[Revision] = []
        """Revisions made since the caller last took them: what watches are told."""
        self.ended: list[tuple[int, Reason]] = []
        """Sessions that ended since the caller last took them."""
        self._draft = Draft(self.tree, self.claims, self.fences, self.limits)

    def apply(self, index: int, time_ms: int, wall_ms: int, commands: Sequence[Command]) -> list[Answer]:
        """Apply one entry; answer each command, in order."""
        self.begin(index, time_ms, wall_ms, commands)
        return [answer for _, answer, _ in self.go_on(NO_END)]

    def begin(self, index: int, time_ms: int, wall_ms: int, commands: Sequence[Command]) -> Underway:
        """The next entry is to be applied: :meth:`go_on` until it is no longer ``underway``."""
        self._check_next(index)
        self.time_ms = max(self.time_ms, time_ms)
        draft = self._draft
        draft.index = index
        draft.time_ms = self.time_ms
        draft.wall_ms = wall_ms
        self.underway = Underway(index, commands)
        return self.underway

    def go_on(self, until: int) -> list[tuple[Command, Answer, bool]]:
        """Apply what is left of the entry, or one request of it and more until ``work.done`` has come to ``until``.

        Each command with its answer, in order, and whether it is through. Of one that was cut off, these are the
        replies to some of its requests; the next ones come with the next call. What each request does, and its answer,
        do not depend on where that is.
        """
        entry, work = self.underway, self.work
        if entry is None:
            return []
        answered: list[tuple[Command, Answer, bool]] = []
        not_taken = len(self.fresh)
        if not (entry.command or entry.request):
            self._go_on_with_rates()  # it begins
        commands = entry.commands
        last = len(commands)
        while entry.command < last:
            command = commands[entry.command]
            kind = command[0]
            if kind == REQUESTS:
                answered.append(self._requests(entry, command, until))
            elif kind == EXPIRE_SESSIONS:
                if self._expire(entry, command[1], until):
                    answered.append((command, None, True))
            else:
                answered.append((command, self._do(command), True))
                entry.next_command()
            if work.done >= until:
                break
        if entry.command == last:
            self._sweep()
            self.applied_index, self.underway = entry.index, None
        self.history.extend(self.fresh[not_taken:])
        return answered

    def _do(self, command: Command) -> Answer:
        """A command that is no longer than a request is."""
        kind = command[0]
        if kind == OPEN_SESSION:
            return self._open_session(command)
        if kind == END_SESSION:
            return self._end_by_request(command[1], command[2])
        if kind == PUT_TOKEN_KEY:
            self._put_token_key(command)
        else:
            check(kind == SET_LIMITS, "a command's kind is known", kind)
            self.set_limits(command[1])
        return None

    def skip(self, index: int) -> None:
        """An entry that is not for the store (a new leader's no-op, a configuration)."""
        self._check_next(index)
        self.applied_index = index

    def _check_next(self, index: int) -> None:
        check(
            self.underway is None and index > self.applied_index,
            "entries are applied in order, each whole",
            index,
            self.applied_index,
        )

    def read(self, op: Row, limits: MemberLimits) -> Any:
        """The result row of a reading op, or raise a :class:`CoordError` (refused)."""
        code = op[0]
        self.work.done += REQUEST
        reader = READERS.get(code)
        if reader is not None:
            return reader(self.tree, op, limits.list_page_bytes)
        if code == LOG:
            _, first, limit = op
            newest = first is None
            if newest:
                first = max(self.history.last_revision - limit + 1, 0)
            found = self.history.since(first, limit)
            # All of the history may be more than a frame to a client can hold.
            page = within(found, limits.list_page_bytes, newest)
            self.work.done += CHANGE * sum([len(revision[3]) for revision in page])
            return (self.history.first_revision, page)
        if code == SESSIONS:
            return self._list_sessions(op, limits.list_page_bytes)
        check(code in CLAIM_READERS, "a read's op is known", code)
        return CLAIM_READERS[code](self, op, limits.list_page_bytes)

    def take_fresh(self) -> list[Revision]:
        fresh, self.fresh = self.fresh, []
        return fresh

    def take_ended(self) -> list[tuple[int, Reason]]:
        ended, self.ended = self.ended, []
        return ended

    def set_limits(self, wanted: Mapping[str, int]) -> None:
        """A name that is not known here is a newer leader's: ignored, as it decides nothing in this code."""
        known = limit_names(StoreLimits)
        values = {name: value for name, value in wanted.items() if name in known}
        self.limits = self._draft.limits = replace(self.limits, **values)

    @property
    def candidates(self) -> Candidates:
        return self._draft.candidates

    @property
    def incarnation(self) -> int:
        """The life of the cluster between restores from backups: 1, so far. A token is ``(incarnation, revision)``."""
        return self._draft.incarnation

    @incarnation.setter
    def incarnation(self, incarnation: int) -> None:
        self._draft.incarnation = incarnation

    @property
    def next_due_ms(self) -> int | None:
        """The cluster time at which an entry, also one without commands, has something to do; ``None``: at none."""
        if self.claims.unsettled:
            return self.time_ms
        due_ms = [each for each in (self.tree.next_due_ms, self.claims.next_due_ms) if each is not None]
        return min(due_ms, default=None)

    def session_was(self, session: int) -> bool:
        """Whether ``session`` was ever opened (in this store's past)."""
        return 0 < session < self.next_session

    def _requests(self, entry: Underway, command: Command, until: int) -> tuple[Command, list[Reply], bool]:
        _, session_id, confirmed, requests = command
        draft, index, work = self._draft, entry.index, self.work
        session = self.sessions.get(session_id)
        if session is None:
            gone = SessionEnded(
                f"session {session_id} has ended; this sending of the request was not applied"
            )
            entry.next_command()
            return command, [_refusal(request, gone, self.revision, index) for request, _ in requests], True
        begin = entry.request
        if not begin:
            session.confirm(confirmed)
        draft.session = session_id
        replies: list[Reply] = []
        changes, kept = draft.changes, session.replies
        read_bytes, read_max_bytes = entry.read_bytes, self.limits.reply_bytes_per_session
        for request, op in requests[begin:] if begin else requests:
            if request in kept:
                replies.append(kept[request])  # a retry: the first answer, and nothing else happens
                continue
            if request <= session.confirmed:
                replies.append(_refusal(request, _forgotten(request), self.revision, index))
                continue
            draft.request = request
            draft.revision = self.revision + 1
            reply: Reply
            try:
                if read_bytes > read_max_bytes and op[0] in _READING:
                    # A frame of thousands of small multis, each with listings, would be minutes and gigabytes here, on
                    # every replica; and their replies are more than the session may remember anyway.
                    what = "bytes read by one frame of writes; ask for less at a time"
                    raise limit_exceeded("reply_bytes_per_session", read_max_bytes, what)
                result = HANDLERS[op[0]](draft, op)
            except CoordError as error:
                check(not changes, "a refused op changed nothing", op[0])
                reply = _refusal(request, error, self.revision, index)
            else:
                if changes:
                    self._commit(draft)
                reply = (request, OK, self.revision, index, result)
                if type(result) is tuple:
                    weight = reply_weight(reply)
                    session.reply_bytes += weight
                    read_bytes += weight
            kept[request] = reply
            replies.append(reply)
            work.done += REQUEST
            if work.done >= until and begin + len(replies) < len(requests):
                # Not trimmed yet. What a session forgets is forgotten at a frame's end, on all replicas: 1. A request
                # comes a second time in the same frame. 2. One replica stops in between, and has forgotten the answer.
                entry.request, entry.read_bytes = begin + len(replies), read_bytes
                return command, replies, False
        session.trim(self.limits)
        entry.next_command()
        return command, replies, True

    def _expire(self, entry: Underway, sessions: Sequence[int], until: int) -> bool:
        """Whether that is all of them."""
        for session in sessions[entry.request :]:
            entry.request += 1
            if session in self.sessions:
                self._end(session, Reason.SESSION_EXPIRED)
                if self.work.done >= until:
                    break
        if entry.request < len(sessions):
            return False
        entry.next_command()
        return True

    def _commit(self, draft: Draft) -> None:
        """Make the draft's changes the next revision; with them, those are granted who waited for what has freed."""
        if draft.freed or self.claims.unsettled or draft.candidates.due:
            settle(draft)
        if not draft.changes:
            return
        self.revision = draft.revision
        self.fresh.append((draft.revision, draft.index, draft.wall_ms, tuple(draft.changes)))
        draft.changes.clear()

    def _open_session(self, command: Command) -> Reply:
        """Answer: ``(session, OK, revision, index, granted timeout in ms)``; to a repetition the same, or that the
        session has ended.

        A member's openings come in the order of their numbers, for it passes them on in streams without holes
        (``coord/replica/proposals.py``). So one that is not past the last was applied before. Were each repetition
        another session, an overloaded cluster would drown in sessions that nobody asked for and all must be ended.
        """
        _, member, boot, number, timeout_ms, secret_digest, principal, client = command
        draft = self._draft
        origin = (member, boot, number)
        last_boot, last_number = self.openers.get(member, (0, 0))
        # By its origin, too: what an earlier life of the member passed on may come late, and between two of this one.
        if (boot == last_boot and number <= last_number) or origin in self._by_origin:
            return self._opened_before(origin)
        self.openers[member] = (boot, number)
        limits = self.limits
        if len(self.sessions) >= limits.sessions:
            full = LimitExceeded(
                f"at most {limits.sessions} sessions (limit sessions)",
                {"limit": "sessions", "maximum": limits.sessions},
            )
            return _refusal(0, full, self.revision, draft.index)
        granted_ms = min(max(timeout_ms, limits.session_timeout_min_ms), limits.session_timeout_max_ms)
        session = Session(
            self.next_session, granted_ms, secret_digest, principal, client, draft.wall_ms, origin
        )
        self.next_session += 1
        self.sessions[session.id] = session
        self._by_origin[origin] = session.id
        return (session.id, OK, self.revision, draft.index, granted_ms)

    def _opened_before(self, origin: Origin) -> Reply:
        session = self.sessions.get(self._by_origin.get(origin, 0))
        if session is None:
            return _refusal(0, SessionEnded("the session has ended"), self.revision, self._draft.index)
        return (session.id, OK, self.revision, self._draft.index, session.timeout_ms)

    def restore_session(self, session: Session) -> None:
        """Put back a session that a snapshot kept."""
        self.sessions[session.id] = session
        self._by_origin[session.origin] = session.id

    def _end_by_request(self, session_id: int, request: int) -> Reply:
        """Ending twice is as good as once: the retry of an end finds no session, and that is its answer."""
        if session_id in self.sessions:
            self._end(session_id, Reason.SESSION_ENDED)
        return (request, OK, self.revision, self._draft.index, None)

    def _end(self, session_id: int, reason: Reason) -> None:
        """The session, its ephemerals and its claims go, all in one revision: nobody sees half of it."""
        del self._by_origin[self.sessions.pop(session_id).origin]
        self.ended.append((session_id, reason))
        owned = self.tree.ephemerals.get(session_id, {})
        if not owned and session_id not in self.claims.by_session:
            return
        draft = self._draft
        draft.session, draft.request, draft.revision = session_id, 0, self.revision + 1
        for path in sorted(owned):  # in an order that does not depend on how this replica came to its tree
            remove(draft, path, int(reason))
        check(session_id not in self.tree.ephemerals, "an ended session owns nothing", session_id)
        if session_id in self.claims.by_session:
            end_claims(draft, session_id, int(reason))
            check(session_id not in self.claims.by_session, "an ended session claims nothing", session_id)
        self._commit(draft)

    def _put_token_key(self, command: Command) -> None:
        draft = self._draft
        draft.session = draft.request = 0
        draft.revision = self.revision + 1
        put_token_key(draft, command)
        if draft.changes:
            self._commit(draft)

    def _go_on_with_rates(self) -> None:
        """Before the commands: who waits for a rate that has room again is granted it before those who come now.

        Granting goes on whether a rate is looked at or not: each replica has looks of its own. 1. One member was asked
        for claim_info of a parent, and looks at a rate when its children have room; others when it is paid off. 2. At
        the first of these times some are left over from the last entry. 3. The one grants on now, in a revision of its
        own; the others would do so in the revision of the first command.
        """
        self.claims.lanes.advance(self.time_ms)
        self._grant_on()

    def _grant_on(self) -> None:
        """Grant what can be, of no session's doing: one revision, if there is anything."""
        draft = self._draft
        draft.session = draft.request = 0
        draft.revision = self.revision + 1
        self._commit(draft)

    def _sweep(self) -> None:
        """Delete the TTL znodes that are due: one revision. Grant what is due: another."""
        due = self.tree.due(self.time_ms, self.claims.claimed)
        draft, claims = self._draft, self.claims
        draft.session = draft.request = 0
        if due:
            draft.revision = self.revision + 1
            for path in due[:TTL_SWEEP]:
                remove(draft, path, int(Reason.TTL))
            self._commit(draft)
        # Not just while a delay runs: one that was ended early has its time, too, and must be forgotten then.
        if claims.next_due_ms is not None:
            draft.revision = self.revision + 1
            for path in claims.take_over(self.time_ms):
                free(draft, path)
                znode = self.tree.znodes.get(path)
                if znode is not None:  # else it was a container, and its last child went just now
                    leave_container(draft, path, znode)
        self._grant_on()

    def _list_sessions(self, op: Row, page_bytes: int) -> Any:
        """``([(id, timeout_ms, principal, client, opened_ms, ephemerals, how many), …], more)``, by id.

        Of the ephemerals, the first 20 paths. A page ends at its limit, or when its text reaches ``page_bytes``.
        """
        _, after, limit = op
        found = sorted(session for session in self.sessions if session > (after or 0))
        self.work.done += len(self.sessions) // SESSIONS_LOOKED_AT + STAT_ROW * min(len(found), limit)
        page: list[tuple[Any, ...]] = []
        size = 0
        for session_id in found[:limit]:
            session = self.sessions[session_id]
            owned = self.tree.ephemerals.get(session_id, {})
            paths = [path for path, _ in zip(owned, range(20), strict=False)]
            size += 100 + sum([len(path) for path in paths])
            if size > page_bytes and page:
                return (page, True)
            page.append(
                (
                    session_id,
                    session.timeout_ms,
                    session.principal,
                    session.client,
                    session.opened_ms,
                    paths,
                    len(owned),
                )
            )
        return (page, len(found) > limit)


def _forgotten(request: int) -> ReplyForgotten:
    return ReplyForgotten(f"request {request} was answered before, and its reply is no longer kept")


def _refusal(request: int, error: CoordError, revision: int, index: int) -> Reply:
    return (request, error.code, revision, index, error.message, dict(error.details))
