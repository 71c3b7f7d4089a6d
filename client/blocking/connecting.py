"""``connect``, for plain threads: a client for the length of a block, or until it is closed."""

import warnings
import weakref
from collections.abc import Iterable
from types import TracebackType

from coord.api.errors import InvalidRequest
from coord.client.blocking.client import Client
from coord.client.blocking.loop import Loop
from coord.client.connecting import Connecting as AsyncConnecting
from coord.client.connecting import connect as connect_async


def connect(
    endpoints: str | Iterable[str] | None = None,
    *,
    namespace: str | None = None,
    session_timeout: float | None = None,
    name: str | None = None,
    session: bool | None = None,
    deadline: float | None = None,
    discover: bool | None = None,
    at_least: int | str | None = None,
) -> "Connecting":
    """A client: ``with connect("10.0.0.1:4711,10.0.0.2:4711") as client: …``. Or without a block, for what has no good
    place for one: ``client = connect(…).open()``, and ``client.close()`` in the end.

    The arguments are those of :func:`coord.client.connect`, and so is what is raised. Any number of threads may use the
    client at the same time. A client that nobody closes is closed when the interpreter ends.
    """
    return Connecting(
        connect_async(
            endpoints,
            namespace=namespace,
            session_timeout=session_timeout,
            name=name,
            session=session,
            deadline=deadline,
            discover=discover,
            at_least=at_least,
        )
    )


class Connecting:
    """What :func:`connect` returns, to be entered or opened once."""

    def __init__(self, connecting: AsyncConnecting) -> None:
        self._made_at = connecting._made_at
        self._loop = Loop(connecting)
        self._opened = False

    def open(self) -> Client:
        """Connect now. Whoever calls this closes the client: ``client.close()``."""
        if self._opened:
            raise InvalidRequest("a client is opened once; make another one with connect")
        self._opened = True
        # Each view of the client holds this object, and its thread does not.
        forgotten = weakref.finalize(self, _forgotten, self._loop, self._made_at)
        forgotten.atexit = False
        try:
            return Client(self, self._loop, self._loop.open())
        except BaseException:  # Ctrl-C, too: whatever has begun, nobody has a client to close
            self._loop.stop()
            forgotten.detach()
            raise

    def __enter__(self) -> Client:
        return self.open()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.close()


def _forgotten(loop: Loop, made_at: str) -> None:
    """Nobody is left who could close it. Called by the collector, in whatever thread: it must not wait."""
    if loop.running:
        loop.stop()
        warnings.warn(
            f"a blocking client, made at {made_at}, was never closed: leave its block, or call its close()",
            ResourceWarning,
            stacklevel=2,
        )
