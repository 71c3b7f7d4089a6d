"""A lock: :mod:`coord.recipes.lock`, for plain threads.

*What it guarantees.* As there; but the block of a thread cannot be cancelled. When the lock may be lost
``grant.lost`` (a ``threading.Event``) is set, before the service can grant it to somebody else because this client was
silent; ``grant.check()`` raises from then on, and so does the end of the block (:class:`~coord.recipes.scope.Lost`).

*What it does not.* Stop a thread that does not look. And since the client has a thread of its own, the lock stays held
when yours hangs.

*What to do about that.* Look at ``grant.lost`` in loops that run for long, or wait on it; call ``grant.check()`` before
what must not be done twice; and hand ``grant.token`` to the resource in any case, as it is said there.

::

    from coord.client.blocking import connect
    from coord.recipes.blocking.lock import Lock

    with connect() as client:
        lock = Lock(client, "/locks/report")
        with lock as grant:
            print(grant.held, grant.lost.is_set())  # → True False
            print(lock.try_acquire())  # → None
            grant.check()
        with lock.hold(deadline=5) as grant:  # DeadlineExceeded (refused) when it takes longer
            client.fenced(grant).set("/report", b"done", create=True)
"""

from functools import partial
from types import TracebackType

from coord.client.blocking import Client, Grant
from coord.recipes.blocking.bridge import Bridge
from coord.recipes.blocking.held import Claims, Entered, Held, HeldGrant
from coord.recipes.lock import Lock as AsyncLock


class Lock:
    """``Lock(client, "/locks/a")``, for any number of threads: each ``with`` is a claim of its own.

    ``reentrant``: a thread that holds it may enter again, and holds it until it has left as often. ``label``: for
    people who look at who holds it (``coord claims``). ``release_nowait``: who leaves a block does not wait for the
    service's answer (:class:`coord.recipes.lock.Lock` says what that means); the client's thread sends it.
    """

    _within: type[AsyncLock] = AsyncLock

    def __init__(
        self,
        client: Client,
        path: str,
        *,
        reentrant: bool = False,
        label: bytes = b"",
        release_nowait: bool = False,
    ) -> None:
        self._lock = self._within(Bridge(client).client, path, label=label, release_nowait=release_nowait)
        self._client = client
        self._claims = Claims(client)
        self._what = f"{self._within._what} {path}"
        self._entered: Entered[HeldGrant] = Entered(self._what, reentrant)
        self.path = self._lock.path

    def hold(self, *, deadline: float | None = None) -> Held:
        """It for the length of a block: ``with lock.hold(deadline=5) as grant: …``; see :meth:`acquire`."""
        return Held(self._client, self._what, partial(self._lock.hold, deadline=deadline), deadline)

    def acquire(self, *, deadline: float | None = None) -> Grant:
        """Wait for it, without a block: whoever calls this releases the grant, and looks at ``grant.held``.

        ``deadline``: seconds to wait; 0: have it only if it is free. :class:`~coord.client.DeadlineExceeded`
        (refused) when it was not granted in time.
        """
        return self._claims.grant(self._lock.acquire, deadline=deadline)

    def try_acquire(self, *, deadline: float | None = None) -> Grant | None:
        """It, if it is free; else ``None``, without waiting for its holder. ``deadline``: for the service's
        answer.
        """
        return self._claims.grant_or_none(self._lock.try_acquire, deadline=deadline)

    def __enter__(self) -> HeldGrant:
        return self._entered.enter(self.hold)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._entered.leave(exc_type, exc, traceback)
