"""Claims for the length of a block, which is cancelled when it can no longer be sure of them. Locks, semaphores and
elections are made of it; by itself it is no recipe.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Final

import anyio

from coord.client import Client, CoordError, Grant, InvalidRequest
from coord.recipes.scope import Scope

RELEASE_SECONDS: Final = 1.0
"""For a release to be confirmed. It is sent and applied in any case, while the session lives; else that ends it."""


class HeldAll:
    """``async with HeldAll(client, "the locks /a and /b", claim) as grants: …``, once.

    The block is cancelled, and :class:`~coord.recipes.scope.Lost` raised where it was entered, as soon as one of the
    claims may be over: by the client's own clock, which comes before the service grants it to anybody else; or
    because somebody took it away by force or deleted its znode, which is told when it has happened. What is still
    held is given back when the block ends, in whatever way.
    """

    def __init__(self, client: Client, what: str, claim: Callable[[], Awaitable[Sequence[Grant]]]) -> None:
        self._scope = Scope(client, what)
        self._claim = claim
        self._grants: Sequence[Grant] = ()

    async def begin(self) -> Sequence[Grant]:
        """Claim, and enter the block."""
        grants = self._grants = await self._claim()
        try:
            await self._scope.begin()
        except BaseException:
            await release_all(grants)
            raise
        for grant in grants:
            self._scope.start(partial(_look_out, grant))
        return grants

    async def __aenter__(self) -> Sequence[Grant]:
        return await self.begin()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        try:
            for grant in self._grants:
                # The tasks that look out may have had no turn since: what the block did last was not covered then.
                if not grant.held:
                    self._lose(grant)
            return await self._scope.end(exc_type, exc, traceback)
        finally:
            await release_all(self._grants)

    def _lose(self, grant: Grant) -> None:
        try:
            grant.check()
        except CoordError as error:
            self._scope.lose(error)


class Held(HeldAll):
    """The same for one claim: ``async with Held(client, "the lock /a", claim) as grant: …``."""

    def __init__(self, client: Client, what: str, claim: Callable[[], Awaitable[Grant]]) -> None:
        async def one() -> list[Grant]:
            return [await claim()]

        super().__init__(client, what, one)

    async def __aenter__(self) -> Grant:  # type: ignore[override]
        [grant] = await self.begin()
        return grant


async def release_all(grants: Sequence[Grant]) -> None:
    """Give them back, the last first. *Cancellation:* shielded; it takes ``RELEASE_SECONDS`` each at most."""
    with anyio.CancelScope(shield=True):
        for grant in reversed(grants):
            try:
                await grant.release(deadline=RELEASE_SECONDS)
            except CoordError:
                continue  # over, or soon: it was sent, or the session has ended


async def _look_out(grant: Grant) -> None:
    raise await grant.wait_over()


class Entered:
    """Which task has entered a lock by ``async with lock``, and how often."""

    def __init__(self, what: str, reentrant: bool = False) -> None:
        self._what = what
        self._reentrant = bool(reentrant)
        self._by_task: dict[int, list[tuple[Held | None, Grant]]] = {}
        """What each has entered and not left, the innermost last; ``None``: again, and an outer block has it."""

    async def enter(self, hold: Callable[[], Held]) -> Grant:
        mine = self._by_task.get(anyio.get_current_task().id)
        if mine:
            if not self._reentrant:
                raise InvalidRequest(
                    f"this task holds {self._what} already, and would wait for itself for ever; with reentrant=True "
                    "it may enter again"
                )
            grant = mine[-1][1]
            grant.check()
            mine.append((None, grant))
            return grant
        held = hold()
        grant = await held.__aenter__()
        self._by_task[anyio.get_current_task().id] = [(held, grant)]
        return grant

    async def leave(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        task = anyio.get_current_task().id
        mine = self._by_task.get(task)
        if not mine:
            raise InvalidRequest(f"{self._what} is left by the task that has entered it")
        held, _ = mine.pop()
        if held is None:
            return False
        del self._by_task[task]
        return await held.__aexit__(exc_type, exc, traceback)
