"""Claims and fences, as a client is asked for them. A part of :class:`coord.client.client.Client`."""

from collections.abc import Callable, Iterable
from typing import Any, cast

import anyio

from coord.api.errors import CoordError, DeadlineExceeded
from coord.api.ops import (
    Claim,
    ClaimFirst,
    ClaimInfo,
    ClaimSettings,
    Fence,
    Get,
    HoldBack,
    Lane,
    Release,
    RotateTokenKeys,
    Row,
    SetLanes,
    WatchScope,
)
from coord.api.ops import Claims as ListClaims
from coord.api.results import ClaimFacts, ClaimPage, Released, Rotated
from coord.api.tokens import Token
from coord.client.calls import Calls, typed
from coord.client.core.arguments import PAGE, delay_ms, hold_back_ms, lanes_of
from coord.client.core.claims import OwnClaim
from coord.client.grant import Grant
from coord.client.waiting import Waiter


class Claiming(Calls):
    """How a client claims znodes, looks at claims, and fences what they protect."""

    async def claim(
        self,
        path: str,
        *,
        wait: bool = True,
        shared: bool = False,
        units: int = 1,
        label: bytes = b"",
        create: bool = True,
        capacity: int = 0,
        deadline: float | None = None,
    ) -> Grant:
        """Claim a znode, and wait until it is granted: first come, first served, in one request.

        ``shared``: together with others who share it, and with nobody else. ``units``: of its capacity (1, unless
        :meth:`claim_settings` said otherwise). ``label``: for people who look. ``create`` makes the znode, and what is
        missing above it, if it is not there; all that goes again once nobody claims it. ``capacity``: what the znode's
        is believed to be: a znode that this creates has it, and where it is another the claim is refused with a
        :class:`~coord.api.errors.Conflict`, so that a lock does not share what somebody made a semaphore; 0: whatever
        it is.

        Raises :class:`~coord.api.errors.Claimed` (refused) with ``wait=False`` when it can't be had at once, and
        :class:`~coord.api.errors.DeadlineExceeded` when it was not granted in time: ``refused`` when it was known to
        wait, or was not sent yet; ``unknown`` when no member had answered. If it is granted all the same, as that was
        already on its way, it is given back at once: others may see it held for a moment, and this client never has
        it. *Cancellation* likewise.
        """
        op = Claim(path, bool(wait), bool(shared), units, label, bool(create), bool(create), capacity).row()
        ends_at, answer, revision = await self._ask(op, deadline)
        number, token, _, incarnation, lost, *_ = answer
        whole = path if self._space is None else self._space.outside(path)
        claim = self._link.claims.known(number, whole, token, revision, lost)
        await self._granted(claim, ends_at)
        return self._grant(claim, incarnation)

    async def claim_first(
        self,
        parent: str,
        count: int = 1,
        *,
        wait: bool = True,
        values: bool = False,
        waits: Callable[[], object] | None = None,
        label: bytes = b"",
        deadline: float | None = None,
    ) -> list[Grant]:
        """Claim up to ``count`` children that nobody claims, in the order of their names, in one request. Those that
        are held back are passed over, and those whose lanes have no room.

        With ``wait`` and no such child: wait for one, first come, first served; else the list may be empty.
        ``values`` reads their values with them (``Grant.value``). ``waits`` is called, in the event loop's thread, when
        it is known that it has to wait. Raises as :meth:`claim` does.
        """
        op = ClaimFirst(parent, count, bool(wait), bool(values), label).row()
        ends_at, (waiting, found, incarnation, *_), revision = await self._ask(op, deadline)
        known = self._link.claims.known
        above = parent if self._space is None else self._space.outside(parent)
        if not waiting:
            return [
                self._grant(
                    known(number, f"{above.rstrip('/')}/{name}", revision, revision, lost), incarnation, value
                )
                for number, name, value, lost, *_ in found
            ]
        claim = known(waiting, above, 0, revision)
        if waits is not None and not claim.token:
            try:
                waits()
            except BaseException:
                self._withdraw(claim)
                raise
        await self._granted(claim, ends_at)
        grant = self._grant(claim, incarnation)
        if values:
            try:
                # As it was when it was granted, or later: the member that has told of that has got so far. A round
                # among the members would cost each task that is waited for a millisecond.
                row = await self._read_row(
                    Get(grant.path).row(), claim.token, False, self._link.left(ends_at)
                )
            except BaseException:
                self._withdraw(claim)
                raise
            grant.value = row[4][0]
        return [grant]

    async def release(self, number: int, *, force: bool = False, deadline: float | None = None) -> Released:
        """Give a claim of this session up by its number, held or waiting; with ``force`` another session's, too.

        Raises :class:`~coord.api.errors.NotHeld` (refused) when there is no such claim.
        """
        return cast(Released, await self._write(Release(number, 0, bool(force)).row(), deadline))

    async def claim_settings(
        self, path: str, *, capacity: int = 1, lock_delay: float = 0.0, deadline: float | None = None
    ) -> None:
        """How many units of ``path`` can be held at a time, and for how many seconds after the *expiry* of a holder's
        session nobody is granted it: for resources that can't check tokens. They go with the znode, which must exist.
        """
        lock_delay_ms = delay_ms(lock_delay, "a lock_delay")
        await self._write(ClaimSettings(path, capacity, lock_delay_ms).row(), deadline)

    async def hold_back(self, path: str, delay: float | None, *, deadline: float | None = None) -> None:
        """Grant no claim of ``path`` for ``delay`` seconds of cluster time, which stands still while the cluster has no
        leader; ``None``: until it is said otherwise; 0: the holding back is over. Who holds it goes on, and who waits,
        waits. At a parent it holds back :meth:`claim_first` there, too: a queue that is paused. It goes with the
        znode, which must exist, and says nothing about how long that lives.
        """
        await self._write(HoldBack(path, hold_back_ms(delay)).row(), deadline)

    async def lanes(self, path: str, lanes: Iterable[Lane], *, deadline: float | None = None) -> None:
        """Limits that ``path`` shares with all znodes which have a lane of the same name, wherever in the cluster: a
        claim is granted only while each has room (see :class:`~coord.api.ops.Lane`). At most 4; none takes them away.
        They go with the znode, which must exist. Where some share much and others little, name the widest shared one
        first: that decides only what it costs.
        """
        await self._write(SetLanes(path, lanes_of(lanes)).row(), deadline)

    async def fence(self, path: str, claim: str | None, *, deadline: float | None = None) -> None:
        """From now on only who presents the current token of the claim at ``claim`` writes at ``path`` and below
        (see :meth:`coord.client.Client.fenced`); anybody else is refused with :class:`~coord.api.errors.StaleToken`.
        ``None`` takes the fence away.
        """
        await self._write(Fence(path, claim).row(), deadline)

    async def claims(
        self,
        path: str = "/",
        *,
        subtree: bool = True,
        session: int | None = None,
        after: int | None = None,
        limit: int = PAGE,
        at_least: int | None = None,
        local: bool = False,
        deadline: float | None = None,
    ) -> ClaimPage:
        """One page of the claims at ``path`` (and below), held and waiting, by number; the next one is ``after`` the
        last number here. ``session``: only its.
        """
        scope = WatchScope.SUBTREE if subtree else WatchScope.ZNODE
        op = ListClaims(path, scope, session, after, limit)
        return cast(ClaimPage, await self._read(op.row(), at_least, local, deadline))

    async def claim_info(
        self, path: str, *, at_least: int | None = None, local: bool = False, deadline: float | None = None
    ) -> ClaimFacts:
        """What holds for claims at ``path``: capacity, lock delay, how many hold and wait, how many were lost, whether
        it is held back, lanes, fences; and how many of its children are free, held, held back, blocked.
        """
        return cast(ClaimFacts, await self._read(ClaimInfo(path).row(), at_least, local, deadline))

    async def rotate_token_keys(self, *, revoke: str | None = None, deadline: float | None = None) -> Rotated:
        """Have every member make a new key for signing tokens; it is used a minute after it has come into the tree
        (``/coord/token-keys``). Former keys stay there until no token that they signed can be believed any more.
        ``revoke``: the name of a key that goes at once, and whose tokens are refused by whoever has heard of it.
        """
        return cast(Rotated, await self._write(RotateTokenKeys(revoke).row(), deadline))

    # --- inside ---

    async def _ask(self, op: Row, deadline: float | None) -> tuple[float, Any, int]:
        """When the time is over; the answer's result and its revision."""
        link = self._link
        ends_at = link.deadline(self._seconds(deadline))
        if self._space is not None:
            op = self._space.op(op)
        claims = link.claims
        waiter = link.waiter()
        while not claims.begin(waiter):
            link.settle()
            if not await self._rung(waiter, ends_at):
                raise DeadlineExceeded(
                    "the deadline passed before the members told of claims", outcome="refused"
                )
            waiter = link.waiter()
        waiter = link.waiter()
        asked = claims.ask(op, waiter)
        link.settle()
        request = asked.request
        try:
            in_time = await self._rung(waiter, ends_at)
            if in_time and request is not None:
                row = request.row()
                return ends_at, row[4], row[2]
        except CoordError as error:
            raise error if self._space is None else self._space.error(error) from None
        except BaseException:
            self._forsake(asked.forsake)
            raise
        self._forsake(asked.forsake)
        # One that was sent may be granted, for as long as its giving back is on its way: others could see it held.
        raise DeadlineExceeded(
            "the deadline passed before a member had answered; if it is granted it is given back at once",
            outcome="unknown" if request is not None and request.sendings else "refused",
        )

    async def _granted(self, claim: OwnClaim, ends_at: float) -> None:
        """Wait until it is. Whoever leaves without it leaves nothing behind."""
        in_time = True
        try:
            while in_time and not claim.token and claim.over is None:
                waiter = self._link.waiter()
                claim.bells[waiter] = None
                try:
                    in_time = await self._rung(waiter, ends_at)
                finally:
                    claim.bells.pop(waiter, None)
        except BaseException:
            self._withdraw(claim)
            raise
        if claim.over is not None:
            raise claim.over.anew()
        if not claim.token:
            self._withdraw(claim)
            raise DeadlineExceeded(
                f"{claim.path} was not granted before the deadline, and is not waited for any more",
                outcome="refused",
            )

    async def _rung(self, waiter: Waiter, ends_at: float) -> bool:
        """Wait for ``waiter``. False: not in time."""
        with anyio.move_on_after(self._link.left(ends_at)):
            await waiter.wait()
            return True
        return False

    def _withdraw(self, claim: OwnClaim) -> None:
        self._forsake(lambda: self._link.claims.release(claim.number))

    def _forsake(self, leave: Callable[[], object]) -> None:
        try:
            leave()
        except CoordError:
            return  # the session is over, and its claims with it
        self._link.settle()

    def _grant(self, claim: OwnClaim, incarnation: int, value: bytes | None = None) -> Grant:
        return typed(
            Grant, self._link, self._link.claims, claim, Token(incarnation, claim.token), self._space, value
        )
