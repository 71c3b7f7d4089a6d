"""From plain threads to the async client within: for what is made for tasks and is to serve threads, too.

Recipes are made so: each is written once, for tasks, and a thread has it done in the thread of its client::

    class Counter:                                     # for tasks
        def __init__(self, client: coord.client.Client, path: str) -> None: ...
        async def add(self, amount: int) -> int: ...

    portal = Portal(client)                            # a client of coord.client.blocking
    counter = Counter(portal.client, "/counter")
    counter_is_at = portal.run(lambda: counter.add(3), deadline=5)
"""

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import anyio

from coord.api.errors import InvalidRequest
from coord.client.blocking.calls import Calls
from coord.client.blocking.waited import Stay
from coord.client.client import Client as AsyncClient
from coord.client.kept import CLIENT, KeptHere

__all__ = ["Portal", "Stay"]

T = TypeVar("T")


class Portal(KeptHere):
    """To the thread of one blocking client. While anybody has it the client counts as held."""

    _instead = CLIENT

    def __init__(self, client: Calls) -> None:
        """``client``: a :class:`coord.client.blocking.Client`."""
        if not isinstance(client, Calls):
            raise InvalidRequest(
                f"a portal is to a client of coord.client.blocking, not to {type(client).__module__}."
                f"{type(client).__name__}"
            )
        self._owner = client._owner  # see Calls
        self._loop = client._loop
        self.client: AsyncClient = client._client
        """The async client within. Its methods are for what runs in its thread; its facts (``state``, ``deadline``,
        ``remaining()``, ``revision``) may be asked for in any."""

    def seconds(self, deadline: float | None) -> float:
        """``deadline``, or the client's own."""
        return self.client.deadline if deadline is None else deadline

    @property
    def forked(self) -> bool:
        """This is a forked child: the client, and its thread, are the parent's."""
        return self._loop.forked

    # --- in any other thread. Ctrl-C while it waits gives up what it waits for. ---

    def run(
        self,
        work: Callable[[], Awaitable[T]],
        deadline: float | None = None,
        *,
        effect: bool = False,
        unwanted: Callable[[T], object] | None = None,
    ) -> T:
        """What ``await work()`` returns, or raises, in the client's thread. It minds its deadline by itself:
        ``deadline`` is for the case that the thread does not run, and then
        :class:`~coord.api.errors.DeadlineExceeded` is raised a second later: unknown, if it has an ``effect``, else
        refused. Given up, it is cancelled, and what came of it all the same goes to ``unwanted``, in the client's
        thread.
        """
        return self._loop.run(work, self.seconds(deadline), effect, unwanted)

    def look(self, function: Callable[[], T]) -> T:
        """What ``function``, which does not wait, returns or raises in the client's thread: all of one moment."""
        return self._loop.look(function)

    def hand(self, function: Callable[[], object]) -> None:
        """Have ``function``, which neither waits nor raises, called in the client's thread, soon. Does not wait."""
        self._loop.check_process()
        self._loop.hand(function)

    def enter(
        self,
        make: Callable[[], AbstractAsyncContextManager[T]],
        inside: Callable[[T], Awaitable[None]],
        deadline: float | None = None,
    ) -> Stay[T]:
        """Enter what ``make`` makes, and run ``inside`` in it until :meth:`leave`; its value is ``stay.value``, and
        what it ended with by itself ``stay.error``.
        """
        return self._loop.enter(make, inside, self.seconds(deadline))

    def leave(self, stay: Stay[T]) -> None:
        """Once it returns, ``inside`` has ended, and what was entered is left. Raises
        :class:`~coord.api.errors.DeadlineExceeded` (unknown) when the client's thread does not get to it.
        """
        self._loop.leave(stay)

    def check_thread(self) -> None:
        """Raise :class:`~coord.api.errors.InvalidRequest` in the client's own thread, where waiting would be for
        itself, and in a forked child, which has no such thread.
        """
        self._loop.check_thread()

    # --- in the client's thread ---

    def spawn(self, work: Callable[[anyio.CancelScope], Coroutine[Any, Any, None]]) -> anyio.CancelScope:
        """Begin a task, which is given the scope that is returned and enters it. It must not raise. It is cancelled
        when the client is closed; :class:`~coord.api.errors.Disconnected` (refused) when that has happened.
        """
        return self._loop._spawn(work)
