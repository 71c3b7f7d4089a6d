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
from typing import Generic, Protocol, TypeVar

from coord.client import Grant as AsyncGrant
from coord.client import InvalidRequest
from coord.client.blocking import Client, Grant
from coord.client.blocking.portal import Portal
from coord.recipes.blocking.bridge import Bridge, Inside
from coord.recipes.held import Held as AsyncHeld
from coord.recipes.held import HeldAll as AsyncHeldAll


class HeldGrant(Grant):
    """A grant that is held by a block."""

    def __init__(self, portal: Portal, grant: AsyncGrant, lost: threading.Event) -> None:
        super().__init__(portal, grant)
        self.lost = lost
        """Set as soon as it may be over, other than by the end of its block."""


class Held:
    """``with lock.hold(deadline=5) as grant: …``, once."""

    def __init__(
        self, client: Client, what: str, hold: Callable[[], AsyncHeld], deadline: float | None
    ) -> None:
        self._bridge = Bridge(client)
        self._deadline = patience(deadline)
        self._inside: Inside[AsyncGrant] = Inside(self._bridge, hold, what, stands=True)
        self._grant: HeldGrant | None = None

    def __enter__(self) -> HeldGrant:
        self._grant = HeldGrant(self._bridge, self._inside.enter(self._deadline), self._inside.lost)
        return self._grant

    def check(self) -> None:
        """Raise what the claim is over by."""
        if self._grant is not None:
            self._grant.check()

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
        self._bridge = Bridge(client)
        self._deadline = patience(deadline)
        self._inside: Inside[Sequence[AsyncGrant]] = Inside(self._bridge, hold, what, stands=True)
        self._grants: Sequence[HeldGrant] = ()

    def __enter__(self) -> Sequence[HeldGrant]:
        lost = self._inside.lost
        self._grants = [HeldGrant(self._bridge, grant, lost) for grant in self._inside.enter(self._deadline)]
        return self._grants

    def check(self) -> None:
        """Raise what one of the claims is over by."""
        for grant in self._grants:
            grant.check()

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


T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Block(Protocol[T_co]):
    """What :class:`Held` and :class:`HeldAll` are to :class:`Entered`."""

    def __enter__(self) -> T_co: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def check(self) -> None: ...


class Entered(Generic[T]):
    """Which thread has entered a lock by ``with lock``, and how often."""

    def __init__(self, what: str, reentrant: bool = False) -> None:
        self._what = what
        self._reentrant = bool(reentrant)
        self._by_thread: dict[int, _Stack[T]] = {}
        """A thread touches its own only."""

    def enter(self, hold: Callable[[], Block[T]]) -> T:
        mine = self._by_thread.get(get_ident())
        if mine is not None:
            if not self._reentrant:
                raise InvalidRequest(
                    f"this thread holds {self._what} already, and would wait for itself for ever (a lock that is made "
                    "with reentrant=True may be entered again)"
                )
            mine.block.check()
            mine.depth += 1
            return mine.value
        block = hold()
        value = block.__enter__()
        self._by_thread[get_ident()] = _Stack(block, value)
        return value

    def leave(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        mine = self._by_thread.get(get_ident())
        if mine is None:
            raise InvalidRequest(f"{self._what} is left by the thread that has entered it")
        mine.depth -= 1
        if not mine.depth:
            del self._by_thread[get_ident()]
            mine.block.__exit__(exc_type, exc, traceback)


class _Stack(Generic[T]):
    """One thread's blocks within one another, of which the outermost holds what all of them have."""

    def __init__(self, block: Block[T], value: T) -> None:
        self.block = block
        self.value = value
        self.depth = 1


class Claims:
    """How grants without a block come from the client's thread: what Ctrl-C meets on its way is given back."""

    def __init__(self, client: Client) -> None:
        self.bridge = Bridge(client)

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
        found = self.bridge.run(
            partial(work, *arguments, deadline=deadline), patience(deadline), unwanted=_give_back
        )
        return None if found is None else Grant(self.bridge, found)


def _give_back(grant: AsyncGrant | None) -> None:
    if grant is not None:
        grant.release_nowait()
