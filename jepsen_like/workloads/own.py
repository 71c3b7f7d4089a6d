"""The claims of one client, through the real client library's half of them,
:class:`~coord.client.core.claims.OwnClaims`.

Driven as the library's own link does it: what its watch has is handed on before any reply; a claim is asked for once
that watch is open; who waits no longer for the answer forsakes it, and what comes of it is given back. What is
recorded is what a user of the library would be told: which claims it holds, from when on, and until when.
"""

from typing import Final

from coord.api.errors import CoordError, DeadlineExceeded
from coord.api.ops import Claim, ClaimFirst, Multi, Op, Release
from coord.api.results import ClaimedFirst, Claiming, MultiResult, Result
from coord.client.core import Core
from coord.client.core.claims import Asked, OwnClaim, OwnClaims
from coord.client.core.request import NEVER, Request
from coord.jepsen_like.workloads.recorder import Held, Recorder
from coord.jepsen_like.workloads.waiting import Call, ForGrant
from coord.jepsen_like.workloads.workload import Watched

SCOPE: Final = "claims"


class Own:
    """Of one session."""

    def __init__(self, core: Core, recorder: Recorder) -> None:
        self._core = core
        self._recorder = recorder
        self._library = OwnClaims(core)
        self._known: dict[int, OwnClaim] = {}
        """Claims that the process has been told the number of, while they are not over for it."""
        self._held: dict[int, None] = {}
        """Of these, those that it was told it holds."""
        self._asked: dict[Asked, tuple[Call, float]] = {}
        """Claims that are under way, with the times at which their callers leave."""
        self._queued: list[tuple[Call, float]] = []
        """Until the watch is open."""
        self.watch: Held | None = None
        self._begun = False

    # --- for the process ---

    def wait(self, number: int, until_ns: int) -> ForGrant:
        return ForGrant(lambda: self._known.get(number), until_ns)

    def ask(self, call: Call, deadline: float) -> None:
        """Raises :class:`CoordError` (refused) for what the library does not even take."""
        self._begun = self._library.begin(_NOBODY) or self._begun
        if self._begun:
            self._send(call, deadline)
        else:
            self._queued.append((call, deadline))

    def about_to_end(self, op: Op, now_ns: int) -> None:
        """The process is about to ask for ``op``: what that may end it does not hold any more."""
        for each in (*op.then, *op.otherwise) if isinstance(op, Multi) else (op,):
            if isinstance(each, Release):
                self._drop(each.number, now_ns, "request")

    def end(self, by: str, now_ns: int) -> None:
        """The session is over for the process, or will be."""
        for number in list(self._known):
            self._drop(number, now_ns, by)

    # --- for whoever drives the core ---

    @property
    def next_at(self) -> float:
        """When somebody leaves; ``NEVER``: nobody does."""
        return min([at for _, at in (*self._asked.values(), *self._queued)], default=NEVER)

    def is_due(self, now: float) -> bool:
        return bool(self._asked or self._queued) and self.next_at <= now

    def leave(self, now: float) -> list[tuple[Call, Request | None, CoordError]]:
        """The calls whose deadline has passed."""
        late: list[tuple[Call, Request | None, CoordError]] = []
        for asked, (call, deadline) in list(self._asked.items()):
            if deadline <= now:
                del self._asked[asked]
                late.append((call, asked.request, _too_late("unknown")))
                asked.forsake()
        for call, deadline in list(self._queued):
            if deadline <= now:
                self._queued.remove((call, deadline))
                late.append((call, None, _too_late("refused")))
        return late

    def give_up(self) -> list[tuple[Call, Request | None, CoordError]]:
        """All that is under way: nobody will hear of it."""
        late: list[tuple[Call, Request | None, CoordError]] = [
            (call, asked.request, _too_late("unknown")) for asked, (call, _) in self._asked.items()
        ]
        late += [(call, None, _too_late("refused")) for call, _ in self._queued]
        self._asked.clear()
        self._queued.clear()
        return late

    def begin_watch(self, watched: Watched) -> None:
        """The library has opened a watch, or opened it anew."""
        watching = self._library._watching  # seen, and left to the library
        assert watching is not None
        self.watch = Held(watched, watching)

    @property
    def has_new_watch(self) -> bool:
        watching = self._library._watching
        return watching is not None and (self.watch is None or self.watch.watching is not watching)

    def opened(self) -> list[tuple[Call, CoordError]]:
        """Send what waited for the watch, if it is open; what could not be sent."""
        if self._begun or not self._queued:
            return []
        failed: list[tuple[Call, CoordError]] = []
        try:
            if not self._library.begin(_NOBODY):
                return []
        except CoordError as error:
            failed = [(call, error) for call, _ in self._queued]
            self._queued.clear()
            return failed
        self._begun = True
        queued, self._queued = self._queued, []
        for call, deadline in queued:
            try:
                self._send(call, deadline)
            except CoordError as error:
                failed.append((call, error))
        return failed

    def news(self) -> None:
        """The watch, or a listing, has some."""
        self._library.set()

    def completed(self, asked: Asked) -> Call | None:
        """A claim was answered: whose it was, if somebody still waits."""
        found = self._asked.pop(asked, None)
        asked.set()
        return None if found is None else found[0]

    def answered(self, op: Op, result: Result, revision: int) -> None:
        """Learn the numbers of the claims in an answer."""
        known = self._library.known
        if isinstance(result, MultiResult) and isinstance(op, Multi):
            for each, one in zip(op.then if result.succeeded else op.otherwise, result.results, strict=True):
                self.answered(each, one, revision)
        elif isinstance(result, Claiming) and isinstance(op, Claim):
            token = result.token.revision if result.token else 0
            self._know(known(result.number, op.path, token, revision))
        elif isinstance(result, ClaimedFirst) and isinstance(op, ClaimFirst):
            if result.waiting:
                self._know(known(result.waiting, op.parent, 0, revision))
            for child in result.children:
                path = f"{op.parent.rstrip('/')}/{child.name}"
                self._know(known(child.number, path, revision, revision))

    def look(self, now_ns: int) -> None:
        """Record what has changed of what the process holds."""
        for number, claim in list(self._known.items()):
            if claim.over is not None:
                self._drop(number, now_ns, "member")
            elif claim.token and number not in self._held:
                self._held[number] = None
                self._recorder.claim_held(claim, now_ns)

    # --- inside ---

    def _send(self, call: Call, deadline: float) -> None:
        if isinstance(call.op, Multi):  # the library has no way to give these back
            self._core.write(call.op.row(), deadline, call)
        else:
            self._asked[self._library.ask(call.op.row(), call)] = (call, deadline)

    def _know(self, claim: OwnClaim) -> None:
        if claim.over is None:
            self._known[claim.number] = claim

    def _drop(self, number: int, now_ns: int, by: str) -> None:
        self._known.pop(number, None)
        if number in self._held:
            del self._held[number]
            self._recorder.claim_over(number, by, now_ns)


class _Nobody:
    def set(self) -> None:
        """Whoever drives the core looks by itself."""


_NOBODY: Final = _Nobody()


def claims_something(op: Op) -> bool:
    """Whether the library must be told of claims before ``op`` is sent."""
    if isinstance(op, Multi):
        return any(isinstance(each, Claim) for each in (*op.then, *op.otherwise))
    return isinstance(op, Claim | ClaimFirst)


def _too_late(outcome: str) -> CoordError:
    error = DeadlineExceeded("the deadline passed before a member had answered")
    error.outcome = "refused" if outcome == "refused" else "unknown"
    return error
