"""What a client core says, as records of a history. One recorder serves one client through all its sessions."""

from collections.abc import Callable
from typing import Any, Final

from coord.api.commands import Reply
from coord.api.errors import CoordError, Gap
from coord.api.events import DELETED, Change, Event
from coord.client.core import NEVER, Core
from coord.client.core.claims import OwnClaim
from coord.client.core.lease import SAFE_SHARE
from coord.client.core.request import Request
from coord.client.core.watching import Watching
from coord.jepsen_like.history import (
    ClaimHeld,
    ClaimOver,
    Note,
    Operation,
    Record,
    SessionOpened,
    SessionOver,
    SessionProof,
    WatchOpened,
    WatchOver,
    WatchTold,
)
from coord.jepsen_like.workloads.clock import Clock
from coord.jepsen_like.workloads.waiting import Call
from coord.jepsen_like.workloads.workload import Process, Watched

WRITE: Final = "write"


class Held:
    """A watch, as the core has it and as the process has it."""

    __slots__ = ("asked_from", "number", "watched", "watching")

    def __init__(self, watched: Watched, watching: Watching) -> None:
        self.watched = watched
        self.watching = watching
        self.asked_from = watching.next_revision
        """What the opening that is under way asked for."""
        self.number = 0
        """The core's, of the last opening that was recorded."""


class Recorder:
    def __init__(self, me: Process, record: Callable[[Record], None], clock: Clock) -> None:
        self._me = me
        self._record = record
        self._clock = clock
        self._safe_until = NEVER
        self.connection = 0
        """The present one, as its caller numbers it."""
        self.member = 0

    def core_begins(self) -> None:
        """What follows is said by another core, of another session."""
        self._safe_until = NEVER
        self._me.session = 0

    # --- requests ---

    def operation(
        self, core: Core, call: Call, request: Request | None, error: CoordError | None, now_ns: int
    ) -> None:
        """``call`` has ended; ``request`` is ``None`` if the library did not even take it."""
        reply: Reply | None = None if request is None else request.reply
        is_write = call.mode == WRITE
        outcome = "ok" if error is None else str(error.outcome) if is_write else "refused"
        is_known = outcome != "unknown"
        call.operation = Operation(
            process=self._me.number,
            connection=0 if reply is None else self.connection,
            member=0 if reply is None else self.member,
            session=core.session,
            request=request.id if request is not None and is_write else 0,
            op=call.op,
            mode=call.mode,
            at_least=call.at_least,
            called_ns=call.called_ns,
            returned_ns=now_ns if is_known else None,
            outcome=outcome,
            error="" if error is None else error.slug,
            revision=reply[2] if reply is not None and is_known else None,
            index=reply[3] if reply is not None and is_known else None,
            result=request.result() if request is not None and error is None else None,
        )
        self._record(call.operation)

    # --- the session ---

    def session(self, core: Core, now_ns: int) -> None:
        """Look whether the session was opened, or proven to live."""
        me = self._me
        me.revision = max(me.revision, core.revision)
        if core.session and core.session != me.session:
            me.session = core.session
            timeout_ms = round(core.session_timeout * 1000)
            self._record(SessionOpened(me.number, core.session, timeout_ms, now_ns))
        if core.safe_until != self._safe_until:
            self._safe_until = core.safe_until
            asked_at = core.safe_until - SAFE_SHARE * core.session_timeout
            called_ns = self._clock.not_after_ns(asked_at)
            until_ns = self._clock.not_after_ns(core.safe_until)
            self._record(SessionProof(me.number, core.session, self.connection, called_ns, now_ns, until_ns))

    def session_over(self, core: Core, by: str, now_ns: int) -> None:
        if core.session:
            self._record(SessionOver(self._me.number, core.session, by, now_ns))

    # --- watches ---

    def watch_opened(self, held: Held, now_ns: int) -> None:
        """Look whether ``held`` was opened, or opened again."""
        watching = held.watching
        if not watching.opened:
            held.asked_from = watching.next_revision
        elif watching.number != held.number and watching.told is not None:
            held.number = watching.number
            held.watched.told = watching.told
            self._record(
                WatchOpened(
                    process=self._me.number,
                    connection=self.connection,
                    watch=held.watched.number,
                    path=held.watched.path,
                    scope=held.watched.scope,
                    from_revision=held.asked_from,
                    revision=watching.told,
                    at_ns=now_ns,
                    session=self._me.session,
                )
            )

    def watch_told(self, held: Held, now_ns: int) -> None:
        """Take what the core has for ``held``: one record for each revision."""
        watching, watched = held.watching, held.watched
        while watching.buffer:
            revision = watching.buffer[0].revision
            changes: list[Change] = []
            while watching.buffer and watching.buffer[0].revision == revision:
                changes.append(_change(watching.take()))
            told = WatchTold(
                self._me.number, self.connection, watched.number, revision, tuple(changes), now_ns
            )
            watched.told = revision
            watched.news.append(told)
            self._record(told)

    def claims_told(self, held: Held, now_ns: int) -> None:
        """As :meth:`watch_told`, of what the library itself is about to take."""
        revisions: dict[int, list[Change]] = {}
        for event in held.watching.buffer:
            revisions.setdefault(event.revision, []).append(_change(event))
        for revision, changes in revisions.items():
            self._record(
                WatchTold(
                    self._me.number, self.connection, held.watched.number, revision, tuple(changes), now_ns
                )
            )

    def watch_over(self, watched: Watched, error: CoordError | None, now_ns: int) -> None:
        """``None``: its process has given it up."""
        if watched.over is not None:
            return
        watched.over = "" if error is None else error.slug
        if isinstance(error, Gap):
            first = error.details.get("first_revision", 0)
            watched.first_revision = first if isinstance(first, int) else 0
        self._record(
            WatchOver(
                self._me.number, self.connection, watched.number, watched.over, watched.first_revision, now_ns
            )
        )

    # --- claims ---

    def claim_held(self, claim: OwnClaim, now_ns: int) -> None:
        me = self._me
        self._record(ClaimHeld(me.number, me.session, claim.number, claim.path, claim.token, now_ns))

    def claim_over(self, number: int, by: str, now_ns: int) -> None:
        self._record(ClaimOver(self._me.number, self._me.session, number, by, now_ns))

    # --- notes ---

    def note(self, what: str, facts: dict[str, Any], now_ns: int) -> None:
        self._record(Note(self._me.number, what, facts, now_ns))


def _change(event: Event) -> Change:
    """Of a claim's change with the claim's number; a request's is left out, as checkers do not need it: 0."""
    number = event.request if event.kind > DELETED else 0
    return (
        int(event.kind), event.path, event.value, event.version, event.session, number, int(event.reason)
    )  # fmt: skip
