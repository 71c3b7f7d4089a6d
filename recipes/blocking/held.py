"""Claims for the length of a block of a plain thread. Locks, semaphores and elections are made of it; by itself it is
no recipe. See :mod:`coord.recipes.held`.

A thread's block cannot be cancelled, so it has to look: ``grant.lost`` is set as soon as the claim may be over,
``grant.check()`` raises from then on, and the end of the block raises :class:`~coord.recipes.scope.Lost`. What keeps a
thread out that does not look is the token.
"""

import threading
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from threading import get_ident
from types import TracebackType

from coord.client import Grant as AsyncGrant
from coord.client import InvalidRequest
from coord.client.blocking import Client, Grant
from coord.recipes.blocking.bridge import Bridge, Inside
from coord.recipes.held import Held as AsyncHeld
from coord.recipes.held import HeldAll as AsyncHeldAll


class HeldGrant(Grant):
    """A grant that is held by a block."""

    def __init__(self, client: Client, grant: AsyncGrant, lost: threading.Event) -> None:
        super().__init__(client._owner, client._loop, grant)
        self.lost = lost
        """Set as soon as it may be over, other than by the end of its block."""


class Held:
    """``with lock.hold(deadline=5) as grant: …``, once."""

    def __init__(
        self, client: Client, what: str, hold: Callable[[], AsyncHeld], deadline: float | None
    ) -> None:
        self._client = client
        self._deadline = patience(deadline)
        self._inside: Inside[AsyncGrant] = Inside(Bridge(client), hold, what)

    def __enter__(self) -> HeldGrant:
        return HeldGrant(self._client, self._inside.enter(self._deadline), self._inside.lost)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._inside.leave(exc_type, exc, traceback)


class HeldAll:
    """The same for several claims: when one of them is lost, all are."""

    def __init__(
        self, client: Client, what: str, hold: Callable[[], AsyncHeldAll], deadline: float | None
    ) -> None:
        self._client = client
        self._deadline = patience(deadline)
        self._inside: Inside[Sequence[AsyncGrant]] = Inside(Bridge(client), hold, what)

    def __enter__(self) -> Sequence[HeldGrant]:
        lost = self._inside.lost
        return [HeldGrant(self._client, grant, lost) for grant in self._inside.enter(self._deadline)]

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._inside.leave(exc_type, exc, traceback)


def patience(deadline: float | None) -> float | None:
    """How long the client's thread may take. A ``deadline`` of 0 is about the holder, not about the answer."""
    return None if deadline == 0 else deadline


class Entered:
    """Which thread has entered a lock by ``with lock``, and how often."""

    def __init__(self, what: str, reentrant: bool = False) -> None:
        self._what = what
        self._reentrant = bool(reentrant)
        self._by_thread: dict[int, list[tuple[Held | None, HeldGrant]]] = {}
        """What each has entered and not left, the innermost last; ``None``: again, and an outer block has it. A thread
        touches its own only."""

    def enter(self, hold: Callable[[], Held]) -> HeldGrant:
        mine = self._by_thread.get(get_ident())
        if mine:
            if not self._reentrant:
                raise InvalidRequest(
                    f"this thread holds {self._what} already, and would wait for itself for ever; with reentrant=True "
                    "it may enter again"
                )
            grant = mine[-1][1]
            grant.check()
            mine.append((None, grant))
            return grant
        held = hold()
        grant = held.__enter__()
        self._by_thread[get_ident()] = [(held, grant)]
        return grant

    def leave(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        mine = self._by_thread.get(get_ident())
        if not mine:
            raise InvalidRequest(f"{self._what} is left by the thread that has entered it")
        held, _ = mine.pop()
        if held is not None:
            del self._by_thread[get_ident()]
            held.__exit__(exc_type, exc, traceback)


class Claims:
    """How grants without a block come from the client's thread: what Ctrl-C meets on its way is given back."""

    def __init__(self, client: Client) -> None:
        self.bridge = Bridge(client)
        self.client = client

    def grant(
        self, work: Callable[..., Awaitable[AsyncGrant | None]], *arguments: int, deadline: float | None
    ) -> Grant:
        found = self.grant_or_none(work, *arguments, deadline=deadline)
        if found is None:
            raise RuntimeError("a claim without a grant")
        return found

    def grant_or_none(
        self, work: Callable[..., Awaitable[AsyncGrant | None]], *arguments: int, deadline: float | None
    ) -> Grant | None:
        found = self.bridge.loop.run(
            partial(work, *arguments, deadline=deadline),
            self.bridge.seconds(patience(deadline)),
            unwanted=self._withdraw,
        )
        return None if found is None else self.wrapped(found)

    def wrapped(self, grant: AsyncGrant) -> Grant:
        return Grant(self.client._owner, self.client._loop, grant)

    def _withdraw(self, grant: AsyncGrant | None) -> None:
        if grant is not None:
            self.client._withdraw(grant)
