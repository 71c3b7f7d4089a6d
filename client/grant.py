"""What a claim gives: a znode held by this client, for as long as it can be sure of that."""

from types import TracebackType
from typing import Self

import anyio

from coord.api.errors import CoordError, NotHeld, SessionEnded
from coord.api.tokens import Token
from coord.client.claims import OwnClaim, OwnClaims
from coord.client.link import Link
from coord.client.namespace import Namespace
from coord.client.request import NEVER


class Grant:
    """A claim that is held: ``async with await client.claim("/locks/a") as grant: …``, or :meth:`release` it.

    It is certain while ``held``: the service grants it to nobody else before this client knows, by its own clock,
    that it may have lost it. Who cannot look before each step (a request that is on its way may come late, a process
    may be stopped between the look and the step) hands ``token`` to the resource, which refuses lower ones; the
    service itself does so below a fence (``client.fence``, ``client.fenced``).
    """

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
    def held(self) -> bool:
        """Whether it is certain that nobody else is granted it now. Any thread may ask."""
        return self._claim.over is None and self._link.remaining() > 0

    def remaining(self) -> float:
        """Seconds for which it is certain, whatever happens to the connection; 0: it may be over, or is.

        (Not if somebody forces it to be released, or deletes the znode: that is told as soon as it is heard.)
        """
        return 0.0 if self._claim.over is not None else self._link.remaining()

    def check(self) -> None:
        """Raise :class:`~coord.api.errors.NotHeld` or :class:`~coord.api.errors.SessionEnded` unless it is ``held``."""
        over = self._claim.over
        if over is not None:
            raise over.anew()
        if self._link.remaining() <= 0:
            raise SessionEnded(
                f"nothing was heard of the members for the session's timeout: the claim of {self.path} may be over"
            )

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
        await self._link.finished(request)
        try:
            request.row()
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
                if self.held:
                    raise


RELEASE_SECONDS = 1.0
"""For a release at the end of a block to be confirmed. It is sent, and applied, in any case while the session lives."""
