"""How plain threads use what is made for tasks: it runs in the thread of their client
(:mod:`coord.client.blocking`).

Nothing is done twice: each recipe in this folder holds the async one over the async client within, and hands it
over.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Generic, TypeVar

import anyio

from coord.client import InvalidRequest, SessionEnded
from coord.client.blocking import Client
from coord.client.blocking.portal import Portal, Stay
from coord.recipes.scope import Lost

T = TypeVar("T")


class Bridge(Portal):
    """From a blocking client, if it is one, to the async one in its thread."""

    def __init__(self, client: Client) -> None:
        if not isinstance(client, Client):
            raise InvalidRequest(
                f"this recipe is for a client of coord.client.blocking, not for {type(client).__module__}."
                f"{type(client).__name__}; for that of coord.client there is the same in coord.recipes"
            )
        super().__init__(client)


class Inside(Generic[T]):
    """A stay in a block of an async recipe, for as long as a plain thread's block lasts.

    That cannot be cancelled. When the async block ends by itself ``lost`` is set, and its error is raised by what
    is called next, and at the end of the block.
    """

    def __init__(
        self,
        bridge: Bridge,
        make: Callable[[], AbstractAsyncContextManager[T]],
        what: str,
        *,
        stands: bool = False,
    ) -> None:
        """``stands``: what is done in the block stands on it, and is to hear that its client was closed meanwhile."""
        self._bridge = bridge
        self._make = make
        self._what = what
        self._stands = stands
        self._stay: Stay[T] | None = None
        self._entered = False
        self._leaving = False
        self.lost = threading.Event()

    def enter(self, deadline: float | None) -> T:
        # Said before there is a wait: of two threads that enter it at a time the second would take the first one's stay
        # from it, and nobody would ever leave that.
        if self._entered:
            raise InvalidRequest(f"{self._what} is entered once; make another one")
        self._entered = True
        try:
            self._stay = self._bridge.enter(self._make, self._until_the_end, deadline)
        except BaseException:
            self._entered = False  # who did not get in may try again
            raise
        return self.value

    @property
    def value(self) -> T:
        if self._stay is None or self._stay.value is None:
            raise InvalidRequest(f"{self._what} is not open: enter its block")
        return self._stay.value

    def leave(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Raises what the async block has ended with by itself, unless the thread's block raises something else."""
        self._leaving = True
        if self._stay is None:
            return
        self._bridge.leave(self._stay)
        error = self._stay.error
        if error is None and self._stands and self._stay.closed:
            # What the thread has done since then was not covered.
            error = Lost(f"{self._what} is lost: its client was closed in the block")
        if error is not None and (exc is None or isinstance(exc, Lost | SessionEnded)):
            raise error

    async def _until_the_end(self, value: T) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            if not self._leaving:
                self.lost.set()
