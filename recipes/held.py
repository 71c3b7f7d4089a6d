"""Claims for the length of a block, which is cancelled when it can no longer be sure of them. Locks, semaphores and
elections are made of it; by itself it is no recipe.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Generic, Protocol, TypeVar

import anyio

from coord.client import Client, CoordError, Grant, InvalidRequest
from coord.client.grant import RELEASE_SECONDS, on_over
from coord.recipes.scope import Losable


class HeldAll:
    """``async with HeldAll(client, "the locks /a and /b", claim) as grants: …``, once.

    The block is cancelled, and :class:`~coord.recipes.scope.Lost` raised where it was entered, as soon as one of the
    claims may be over: by the client's own clock, which comes before the service grants it to anybody else; or
    because somebody took it away by force or deleted its znode, which is told when it has happened. What is still
    held is given back when the block ends, in whatever way; with ``release_nowait`` nobody waits for the
    service's answer to that.
    """

    def __init__(
        self,
        client: Client,
        what: str,
        claim: Callable[[], Awaitable[Sequence[Grant]]],
        release_nowait: bool = False,
    ) -> None:
        self._client = client
        self._scope = Losable(client, what)
        self._claim = claim
        self._release_nowait = release_nowait
        self._deaf: Sequence[Callable[[], None]] = ()
        """Called when the block ends: what becomes of the grants is no business of its any more."""
        self._grants: Sequence[Grant] = ()
        self._what = what
        self._entered = False

    async def begin(self) -> Sequence[Grant]:
        """Claim, and enter the block."""
        # Said before there is a wait: of two tasks that enter it at a time the second would take the first one's grants
        # from it, and nobody would ever release them.
        if self._entered:
            raise InvalidRequest(f"this block of {self._what} is entered once; make another one")
        self._entered = True
        try:
            grants = self._grants = await self._claim()
        except BaseException:
            self._entered = False  # who did not get in may try again
            raise
        self._scope.enter()
        # The session's end is the end of its claims.
        self._deaf = [on_over(grant, partial(self._lose, grant)) for grant in grants]
        return grants

    async def __aenter__(self) -> Sequence[Grant]:
        return await self.begin()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        for deaf in self._deaf:
            deaf()
        try:
            for grant in self._grants:
                # By the clock, too: nobody may have looked at it since, and what the block did last was not covered.
                if grant.over is not None or self._client.remaining() <= 0:
                    self._lose(grant)
            return await self._scope.conclude(exc, self._scope.leave(exc_type, exc, traceback))
        finally:
            if self._release_nowait:
                # No checkpoint either: the sender would have its turn there, and what is asked for next would go in a
                # frame, and an entry of the log, of its own.
                release_all_nowait(self._grants)
            else:
                await release_all(self._grants)

    def check(self) -> None:
        """Raise what one of the claims is over by."""
        for grant in self._grants:
            grant.check()

    def _lose(self, grant: Grant) -> None:
        try:
            grant.check()
        except CoordError as error:
            self._scope.lose(error)


class Held(HeldAll):
    """The same for one claim: ``async with Held(client, "the lock /a", claim) as grant: …``."""

    def __init__(
        self, client: Client, what: str, claim: Callable[[], Awaitable[Grant]], release_nowait: bool = False
    ) -> None:
        async def one() -> list[Grant]:
            return [await claim()]

        super().__init__(client, what, one, release_nowait)

    async def __aenter__(self) -> Grant:  # type: ignore[override]
        [grant] = await self.begin()
        return grant


async def release_all(grants: Sequence[Grant]) -> None:
    """Give them back, the last first. *Cancellation:* shielded; it takes ``RELEASE_SECONDS`` each at most."""
    with anyio.CancelScope(shield=True):
        left = list(grants)
        while left:
            try:
                await left.pop().release(deadline=RELEASE_SECONDS)
            except CoordError:
                continue  # over, or soon: it was sent, or the session has ended
            except BaseException:
                # asyncio's own Task.cancel() goes through any shield. Each is sent at least, or the rest would be held
                # for as long as the session lives.
                release_all_nowait(left)
                raise


def release_all_nowait(grants: Sequence[Grant]) -> None:
    """Have them given back, the last first."""
    for grant in reversed(grants):
        grant.release_nowait()


T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Block(Protocol[T_co]):
    """What :class:`Held` and :class:`HeldAll` are to :class:`Entered`."""

    async def __aenter__(self) -> T_co: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool: ...

    def check(self) -> None: ...


class Entered(Generic[T]):
    """Which task has entered a lock by ``async with lock``, and how often."""

    def __init__(self, what: str, reentrant: bool = False) -> None:
        self._what = what
        self._reentrant = bool(reentrant)
        self._by_task: dict[int, _Stack[T]] = {}

    async def enter(self, hold: Callable[[], Block[T]]) -> T:
        task = anyio.get_current_task().id
        mine = self._by_task.get(task)
        if mine is not None:
            if not self._reentrant:
                raise InvalidRequest(
                    f"this task holds {self._what} already, and would wait for itself for ever (a lock that is made "
                    "with reentrant=True may be entered again)"
                )
            mine.block.check()
            mine.depth += 1
            return mine.value
        block = hold()
        value = await block.__aenter__()
        self._by_task[task] = _Stack(block, value)
        return value

    async def leave(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        task = anyio.get_current_task().id
        mine = self._by_task.get(task)
        if mine is None:
            raise InvalidRequest(f"{self._what} is left by the task that has entered it")
        mine.depth -= 1
        if mine.depth:
            return False
        del self._by_task[task]
        return await mine.block.__aexit__(exc_type, exc, traceback)


class _Stack(Generic[T]):
    """One task's blocks within one another, of which the outermost holds what all of them have."""

    def __init__(self, block: Block[T], value: T) -> None:
        self.block = block
        self.value = value
        self.depth = 1
