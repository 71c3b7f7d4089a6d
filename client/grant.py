"""What a claim gives: a znode held by this client, for as long as it can be sure of that."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

import anyio

from coord.api.errors import CoordError, NotHeld, SessionEnded
from coord.api.signed import SignedToken
from coord.api.tokens import Token
from coord.client.calls import typed
from coord.client.core.arguments import milliseconds
from coord.client.core.claims import OwnClaim, OwnClaims
from coord.client.core.namespace import Namespace
from coord.client.core.request import NEVER, Request
from coord.client.kept import GRANT, KeptHere
from coord.client.link import Link
from coord.limits import TOKEN_TTL_MAX_MS


class Grant(KeptHere):
    """A claim that is held: ``async with await client.claim("/locks/a") as grant: …``, or :meth:`release` it.

    It is certain while ``held``: the service grants it to nobody else before this client knows, by its own clock,
    that it may have lost it. Who cannot look before each step (a request that is on its way may come late, a process
    may be stopped between the look and the step) hands ``token`` to the resource, which refuses lower ones; the
    service itself does so below a fence (``client.fence``, ``client.fenced``).
    """

    _instead = GRANT

    def __init__(
        self,
        link: Link,
        claims: OwnClaims,
        claim: OwnClaim,
        token: Token,
        space: Namespace | None,
        value: bytes | None = None,
    ) -> None:
        self._link = link
        self._claims = claims
        self._claim = claim
        self._space = space
        self.path = claim.path if space is None else space.surely_inside(claim.path)
        """The znode's."""
        self.token = token
        """The fencing token: of one path each later grant has a greater one."""
        self.value = value
        """The znode's when it was claimed, where that was asked for."""

    def __repr__(self) -> str:
        return f"<Grant of {self.path} {self.token}{'' if self.held else ', over'}>"

    @property
    def number(self) -> int:
        """The claim's, by which the service knows it."""
        return self._claim.number

    @property
    def lost_before(self) -> int:
        """How many claims of the znode were lost before, since it was created: their session ended or expired while
        they were held, or somebody else released them by force. (Those that were released are not among them.)
        """
        return self._claim.lost

    @property
    def held(self) -> bool:
        """Whether it is certain that nobody else is granted it now: not any more once it is being given up. Any thread
        may ask.
        """
        return self.remaining() > 0

    @property
    def over(self) -> CoordError | None:
        """Why it is over, once that was heard; ``None`` before. Any thread may ask."""
        return self._claim.over

    def remaining(self) -> float:
        """Seconds for which it is certain, whatever happens to the connection; 0: it may be over, or is.

        (Not if somebody forces it to be released, or deletes the znode: that is told as soon as it is heard.)
        """
        claim = self._claim
        return 0.0 if claim.over is not None or claim.given_up else self._link.remaining()

    def check(self) -> None:
        """Raise :class:`~coord.api.errors.NotHeld` or :class:`~coord.api.errors.SessionEnded` unless it is ``held``."""
        over = self._claim.over
        if over is not None:
            raise over.anew()
        if self._link.remaining() <= 0:
            raise SessionEnded(
                f"nothing was heard of the members for the session's timeout: the claim of {self.path} may be over"
            )
        if self._claim.given_up:
            raise NotHeld(f"the claim of {self.path} is being given up")

    async def wait_over(self) -> CoordError:
        """Wait until it is over; returns why: :class:`~coord.api.errors.NotHeld` or
        :class:`~coord.api.errors.SessionEnded`. *Cancellation* leaves nothing behind.
        """
        self._link.check_home()
        claim = self._claim
        while claim.over is None:
            waiter = self._link.waiter()
            claim.bells[waiter] = None
            try:
                await waiter.wait()
            finally:
                claim.bells.pop(waiter, None)
        return claim.over

    async def release(self, *, deadline: float = NEVER) -> None:
        """Give it up; the next in line has it then. Done when the service has answered; one that is over already is
        no error. Raises as any write does.
        """
        await self._give_up(0, deadline)

    async def sign(self, *, ttl: float | None = None, deadline: float = NEVER) -> SignedToken:
        """The token with the service's signature, as a text that can be verified without asking the service: it is of
        this path, and of this session. ``ttl``: for how many seconds from now, by wall clocks, at most 900; ``None``:
        the session's timeout, or those, if it is longer.

        A signature says where a token is from, not that it is the latest: the resource still refuses tokens below the
        greatest that it has seen. Its path is the one in the whole tree, also in a namespace. Each call asks anew: it
        was held at some moment during the call. Raises :class:`~coord.api.errors.NotHeld` (refused) when it is not.
        """
        self.check()
        ttl_ms = 0 if ttl is None else max(milliseconds(ttl, "a ttl", TOKEN_TTL_MAX_MS / 1000), 1)
        waiter = self._link.waiter()
        request = self._claims.sign(self.number, ttl_ms, waiter, self._link.deadline(deadline))
        row = await self._link.finished(request, Request.row)
        return typed(SignedToken.parse, row[4])

    def release_nowait(self) -> None:
        """Give it up, and do not wait for the answer: for code that must not wait. It is sent, and applied, in any
        case while the session lives. One that is over already is no error.

        What this client asks for at once after it (a claim, to stand in line again) is sent together with it.
        """
        claim = self._claim
        if claim.over is not None:
            return
        self._link.check_home()
        try:
            claim.give_up_by(self._claims.release(claim.number))
        except CoordError:
            return  # the session is over, and its claims with it
        self._link.settle()

    async def hand_over(self, to: int, *, deadline: float = NEVER) -> None:
        """Give it up in favour of a claim that waits for it, by its number, in one step and out of order.

        Raises :class:`~coord.api.errors.NotHeld` (refused) when it is not held any more, and
        :class:`~coord.api.errors.Conflict` (refused) when that claim does not wait here; it is held on then.
        """
        self.check()
        await self._give_up(to, deadline)

    async def _give_up(self, to: int, seconds: float) -> None:
        ends_at = self._link.deadline(seconds)
        if self._claim.over is not None:
            return
        waiter = self._link.waiter()
        request = self._claims.release(self._claim.number, to, waiter, ends_at)
        self._claim.give_up_by(request)
        try:
            await self._link.finished(request, Request.row)
        except NotHeld:
            if to:
                raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release it, also when the block was cancelled; what remains undone by the deadline ends with the session."""
        with anyio.CancelScope(shield=True):
            try:
                await self.release(deadline=RELEASE_SECONDS)
            except CoordError:
                if self._claim.over is None and self._link.remaining() > 0:
                    raise


def on_over(grant: Grant, heard: Callable[[], None]) -> Callable[[], None]:
    """Have ``heard()`` called in the event loop, soon after the end of ``grant`` was heard; that may have been before.
    Returns a function that ends this. For blocks, which need no task to look out then.
    """
    bell = _Over(grant._link, grant._claim, heard)
    grant._claim.bells[bell] = None
    bell.set()
    return bell.end


class _Over:
    """Rings when it is over, and at no other change.

    One turn late: 1. A write in the block is done, and the claim is lost just after it. 2. The news of both come
    together. 3. Were the block cancelled first, what it wrote would have been done, and nobody been told.
    """

    __slots__ = ("_claim", "_heard", "_link")

    def __init__(self, link: Link, claim: OwnClaim, heard: Callable[[], None]) -> None:
        self._link = link
        self._claim = claim
        self._heard: Callable[[], None] | None = heard

    def set(self) -> None:
        if self._claim.over is not None:
            self._link.soon(self._ring)

    def end(self) -> None:
        self._claim.bells.pop(self, None)
        self._heard = None

    def _ring(self) -> None:
        if self._heard is not None:
            self._heard()


RELEASE_SECONDS = 1.0
"""For a release at the end of a block to be confirmed. It is sent, and applied, in any case while the session lives."""
