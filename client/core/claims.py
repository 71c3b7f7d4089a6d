"""The claims of this client's session, as the service tells them. Sans IO: it drives a core, and is told by it.

What a claim has become is told by one watch of the scope CLAIMS, opened before the first claim is asked for: the
service tells it exactly what happens to this session's claims, in order, exactly once, on whichever member, and
*before any reply that shows it*. So when a claim's answer is here, its grant was told already if it was granted at
once; and a claim of which nothing is known by then is over by then.

Where the members' history no longer reaches back (``Gap``) the watch is opened anew and the claims are listed, page by
page: a claim is as its row says unless something later was told of it, and one without a row is over.

**A caller who goes away while his claim is on its way.** 1. A task claims; the request is sent. 2. It is cancelled.
3. The claim is made, and granted sooner or later: to nobody. So its answer is awaited by what is left here
(:class:`Asked`), and given back. The same for one that waits: it is released by its number, held by then or not.
"""

from typing import Any, Final, Protocol

from coord.api.errors import OK, CoordError, Gap, NotHeld, SessionEnded
from coord.api.events import ChangeKind, Event, Reason
from coord.api.ops import CLAIM, CLAIM_FIRST, ReadMode, Release, Row, SignToken, WatchScope
from coord.api.ops import Claims as ListClaims
from coord.client.core.conversation import OVER
from coord.client.core.engine import Core
from coord.client.core.request import NEVER, Request
from coord.client.core.watching import Watching

_WHY: Final = {
    Reason.FORCED: "another session released it",
    Reason.ZNODE_DELETED: "its znode was deleted",
    Reason.TRANSFERRED: "it was handed on",
    Reason.SESSION_ENDED: "the session has ended",
    Reason.SESSION_EXPIRED: "the session has expired",
}


class Bell(Protocol):
    """Somebody who wants to hear."""

    def set(self) -> None: ...


class _Nobody:
    def set(self) -> None:
        """Whatever came of it."""


class OwnClaim:
    """One claim. It waits while ``token`` is 0; it is over once ``over`` is set, and stays so."""

    __slots__ = ("bells", "leaving", "lost", "number", "over", "path", "token", "told")

    def __init__(self, number: int, path: str) -> None:
        self.number = number
        self.path = path
        """The whole one; of a claim that waits for any child, the parent's until it is granted one."""
        self.token = 0
        """The revision of its grant."""
        self.lost = 0
        """Once it is held: how many claims of the znode were lost before."""
        self.told = 0
        """The revision of the last that was told of it."""
        self.over: CoordError | None = None
        self.leaving: Request | None = None
        """What gives it up, by the will of who has it."""
        self.bells: dict[Bell, None] = {}
        """Rung at each change."""

    @property
    def given_up(self) -> bool:
        """It may be somebody else's by now: 1. its giving up is sent. 2. It is applied, and the next in line is told
        so, at another member. 3. Only then the news of its end comes here.
        """
        leaving = self.leaving
        if leaving is None:
            return False
        if leaving.error is not None:
            return leaving.error.outcome != "refused"
        return not leaving.done or leaving.reply is not None or leaving.sendings > 0

    def give_up_by(self, request: Request) -> None:
        """``request`` gives it up, if none before did."""
        if not self.given_up:
            self.leaving = request

    def ring(self) -> None:
        for bell in list(self.bells):
            bell.set()


class Asked:
    """The context of a claim's request: its caller, as long as there is one."""

    __slots__ = ("_claims", "caller", "request")

    def __init__(self, claims: "OwnClaims", caller: Bell) -> None:
        self._claims = claims
        self.caller: Bell | None = caller
        self.request: Request | None = None

    def set(self) -> None:
        if self.caller is not None:
            self.caller.set()
        elif self.request is not None:
            self._claims.give_back(self.request)

    def forsake(self) -> None:
        """The caller waits no more. What was not sent yet never is; what comes of the rest is given back."""
        self.caller = None
        request = self.request
        if request is None:
            return
        if request.done:
            self._claims.give_back(request)
        elif not request.sendings:
            self._claims.abandon(request)


class OwnClaims:
    """All claims of one session, by number, from their making to their end."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._all: dict[int, OwnClaim] = {}
        self._watching: Watching | None = None
        self._openers: dict[Bell, None] = {}
        """Who waits for the watch to be open."""
        self._listed: dict[int, int] = {}
        """While claims are listed: number -> revision of the page."""
        self._page: Request | None = None
        self._lists = False
        """After a gap, until the listing is whole: what is not known of here may be there all the same."""

    def __len__(self) -> int:
        return len(self._all)

    def begin(self, caller: Bell) -> bool:
        """Whether claims are told of already; else ``caller`` is rung when they are, or when they never will be.

        Raises :class:`CoordError` (refused) when they can't be.
        """
        if self._watching is None:
            self._watching = self._core.watch("/", WatchScope.CLAIMS, None, NEVER, self)
        error = self._watching.error
        if error is not None:
            raise error.anew()
        if self._watching.opening.done:
            return True
        self._openers[caller] = None
        return False

    def ask(self, op: Row, caller: Bell) -> Asked:
        """Send a claim. Its deadline is the caller's business: what comes of it must be known."""
        asked = Asked(self, caller)
        asked.request = self._core.write(op, NEVER, asked)
        return asked

    def known(self, number: int, path: str, token: int, revision: int, lost: int = 0) -> OwnClaim:
        """The claim that an answer is about: ``(number, token, lost)`` at ``revision``."""
        claim = self._all.get(number)
        if claim is not None:
            return claim
        claim = OwnClaim(number, path)
        claim.token, claim.told, claim.lost = token, revision, lost
        if self._lists:
            self._all[number] = claim  # the listing will tell
        else:
            claim.over = _over(Reason.OTHER)
        return claim

    def release(
        self, number: int, to: int = 0, caller: Bell | None = None, deadline: float = NEVER
    ) -> Request:
        """Give a claim up. Raises :class:`CoordError` (refused) when the client is over."""
        return self._core.write(Release(number, to).row(), deadline, caller or _Nobody())

    def sign(self, number: int, ttl_ms: int, caller: Bell, deadline: float) -> Request:
        """Have the token of a held claim signed. Raises :class:`CoordError` (refused) when the client is over."""
        return self._core.read(SignToken(number, ttl_ms).row(), ReadMode.LINEARIZABLE, 0, deadline, caller)

    def abandon(self, request: Request) -> None:
        self._core.abandon(request)

    def give_back(self, request: Request) -> None:
        """Nobody is left who wants what ``request`` claimed."""
        row = request.reply
        if row is None or row[1] != OK:
            return
        code, result = request.op[0], row[4]
        numbers: list[int] = []
        if code == CLAIM:
            numbers = [result[0]]
        elif code == CLAIM_FIRST:
            numbers = [result[0], *[number for number, *_ in result[1]]]
        for number in numbers:
            if number and self._core.state not in OVER:
                self.release(number)

    # --- what is told ---

    def set(self) -> None:
        """There is news."""
        watching = self._watching
        if watching is None:
            return
        while watching.buffer:
            self._tell(watching.take())
        if watching.paused:
            self._core.taken(watching)
        error = watching.error
        if error is None:
            if watching.opening.done:
                self._opened()
        elif isinstance(error, Gap) and self._core.state not in OVER:
            self._begin_anew()
        else:
            self._end(error)
        if self._page is not None and self._page.done:
            page, self._page = self._page, None
            self._take_page(page)

    def _opened(self) -> None:
        openers, self._openers = self._openers, {}
        for bell in openers:
            bell.set()
        if self._lists and self._page is None and not self._listed:
            self._ask_page(None)

    def _tell(self, event: Event) -> None:
        number, kind = event.request, event.kind
        claim = self._all.get(number)
        if claim is None:
            claim = self._all[number] = OwnClaim(number, event.path)
        claim.told = event.revision
        if kind == ChangeKind.CLAIMED:
            claim.path, claim.token, claim.lost = event.path, event.revision, event.version
        elif kind in (ChangeKind.RELEASED, ChangeKind.WITHDRAWN):
            claim.over = _over(event.reason)
            del self._all[number]
        claim.ring()

    def _end(self, error: CoordError) -> None:
        """Nothing is told any more: nothing is sure any more."""
        self._lists = False
        over = error if isinstance(error, SessionEnded) else NotHeld(f"the claim is over: {error.message}")
        for claim in list(self._all.values()):
            claim.over = over
            claim.ring()
        self._all.clear()
        self._opened()

    # --- after a gap ---

    def _begin_anew(self) -> None:
        self._lists, self._page = True, None
        self._listed.clear()
        self._watching = self._core.watch("/", WatchScope.CLAIMS, None, NEVER, self)

    def _ask_page(self, after: int | None) -> None:
        op = ListClaims("/", WatchScope.SUBTREE, self._core.session, after).row()
        self._page = self._core.read(op, ReadMode.LINEARIZABLE, 0, NEVER, self)

    def _take_page(self, page: Request) -> None:
        if page.error is not None:
            self._end(page.error)
            return
        row: Any = page.row()
        revision, (rows, more, *_) = row[2], row[4]
        for each in rows:
            number, path, token, lost = each[0], each[1], each[4], each[10]
            claim = self._all.get(number)
            if claim is None:
                claim = self._all[number] = OwnClaim(number, path)
            if claim.told < revision:
                claim.path, claim.token, claim.told, claim.lost = path, token, revision, lost
                claim.ring()
            self._listed[number] = revision
        if more:
            self._ask_page(rows[-1][0])
            return
        self._lists = False
        for number, claim in list(self._all.items()):
            # Numbers grow: what was made after this page was read has been told since, and is later than the page.
            if number not in self._listed and claim.told <= revision:
                claim.over = _over(Reason.OTHER)
                del self._all[number]
                claim.ring()
        self._listed.clear()


def _over(reason: Reason) -> CoordError:
    why = _WHY.get(reason)
    message = f"the claim is over: {why}" if why else "the claim is over"
    if reason == Reason.SESSION_EXPIRED:
        # It may be heard before the connection says so. Whoever waited is to connect again, not to ask again.
        return SessionEnded(message, outcome="refused")
    return NotHeld(message)
