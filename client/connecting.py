"""``connect``: a client for the length of a block."""

import os
import socket
from collections.abc import Iterable
from random import Random
from types import TracebackType
from typing import Final

import anyio
import anyio.abc

from coord.api.errors import InvalidRequest, Unavailable
from coord.client.client import Client, milliseconds
from coord.client.core import Core, State
from coord.client.endpoints import DEFAULT_ENDPOINTS, ENDPOINTS_VARIABLE, Route, parse_endpoints
from coord.client.link import Link
from coord.client.settings import CoreSettings

CLOSE_SECONDS: Final = 1.0
"""For the end of the session to be confirmed, when the block is left. Beyond: it ends by its timeout."""
NAME_MAX: Final = 128
"""Characters; the protocol's bound."""


def connect(
    endpoints: str | Iterable[str] | None = None,
    *,
    session_timeout: float = 10.0,
    name: str | None = None,
    session: bool = True,
    deadline: float = 30.0,
    discover: bool = True,
) -> "Connecting":
    """A client: ``async with connect("10.0.0.1:4711,10.0.0.2:4711") as client: …``

    ``endpoints``: some members, as ``host:port`` or ``[v6]:port``, with commas or in a list; the others are learned
    from them. Without: ``$COORD_ENDPOINTS``, or 127.0.0.1:4711. ``session_timeout``: seconds of silence after which
    the service ends the session (it may grant more, or less). ``name``: for people who look at
    sessions. ``session=False``: a client that only reads and watches. ``deadline``: seconds, for
    the connecting and, unless it says otherwise, for every call. ``discover=False``: only ever these endpoints.

    Raises :class:`~coord.api.errors.InvalidRequest` (refused) for arguments that cannot be; entering the block raises
    :class:`~coord.api.errors.Unavailable` (refused) when no member has answered in time. Leaving it ends the session:
    its ephemerals go at once.
    """
    if endpoints is None:
        endpoints = os.environ.get(ENDPOINTS_VARIABLE) or DEFAULT_ENDPOINTS
    if name is None:
        name = f"{socket.gethostname()[:100]}/{os.getpid()}"
    if not isinstance(name, str) or len(name) > NAME_MAX or not name.isprintable():
        raise InvalidRequest(f"a client's name is printable text of at most {NAME_MAX} characters")
    settings = CoreSettings(
        name=name,
        session=session,
        session_timeout_ms=max(milliseconds(session_timeout, "a session_timeout"), 1),
    )
    # The dice only spread clients over members and over time; nothing is decided by them.
    route = Route(parse_endpoints(endpoints), Random(), discover)
    return Connecting(settings, route, deadline)


class Connecting:
    """What :func:`connect` returns, to be entered once."""

    def __init__(self, settings: CoreSettings, route: Route, deadline: float) -> None:
        self._settings = settings
        self._route = route
        self._deadline = deadline
        self._tasks: anyio.abc.TaskGroup | None = None
        self._link: Link | None = None

    async def __aenter__(self) -> Client:
        if self._link is not None:
            raise InvalidRequest("a client is entered once; make another one with connect")
        link = self._link = Link(Core(self._settings), self._route)
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        try:
            self._tasks.start_soon(link.run)
            with anyio.move_on_after(self._deadline):
                await link.begun()
            core = link.core
            if core.failure is not None:
                raise core.failure
            if core.state is State.CONNECTING:
                raise Unavailable(
                    f"no member at {self._route} said welcome in {self._deadline:g} s; the last try: "
                    f"{core.last_error or 'no answer yet'}"
                )
        except BaseException:
            await self._stop()
            raise
        return Client(link, self._deadline)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._link is not None:
                with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                    await self._end_session(self._link)
        finally:
            await self._stop()

    async def _end_session(self, link: Link) -> None:
        core = link.core
        if core.session and core.state is State.CONNECTED:
            await link.finished(core.end_session(context=anyio.Event()))

    async def _stop(self) -> None:
        """Close the core and end the tasks. The group is left without the block's exception, which goes its own way:
        in a group's hands it would come out wrapped in an exception group.
        """
        if self._link is None or self._tasks is None:
            return
        await self._link.stop()
        await self._tasks.__aexit__(None, None, None)
