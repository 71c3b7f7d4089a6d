"""How the calls of threads reach the core: as those of tasks do (:mod:`coord.client.calls`), by way of the client's
thread. A part of :class:`coord.client.blocking.Client`.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from coord.api.ops import Row
from coord.api.results import Result
from coord.client.blocking.loop import Loop
from coord.client.client import Client as AsyncClient
from coord.client.core.arguments import freshness
from coord.client.core.request import WRITE

T = TypeVar("T")


class Calls:
    """One client's way to its core, or a view's."""

    def __init__(self, owner: object, loop: Loop, client: AsyncClient) -> None:
        self._owner = owner
        """Is never looked at. Whatever can use the client holds it, and its thread does not: so when it goes, nobody is
        left who could close the client.
        """
        self._loop = loop
        self._client = client

    def _write(self, op: Row, deadline: float | None) -> Result:
        client = self._client
        op = client._outgoing(op)
        return client._result(self._loop.request(op, WRITE, 0, client._seconds(deadline)))

    def _read(self, op: Row, at_least: int | None, local: bool, deadline: float | None) -> Result:
        client = self._client
        mode, revision = freshness(at_least, local, client._floor.revision)
        if client._space is not None:
            op = client._space.op(op)
        return client._result(self._loop.request(op, mode, revision, client._seconds(deadline)))

    def _run(self, work: Callable[[], Awaitable[T]], deadline: float | None) -> T:
        return self._loop.run(work, self._client._seconds(deadline))
