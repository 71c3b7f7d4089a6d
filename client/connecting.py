"""``connect``: a client for the length of a block."""

import os
import socket
from collections.abc import Iterable
from random import Random
from types import TracebackType
from typing import Final
from weakref import ref

import anyio
import anyio.abc

from coord.api.errors import InvalidRequest, Unavailable
from coord.client.client import Client
from coord.client.core import Core, State
from coord.client.core.address import parse_address
from coord.client.core.arguments import milliseconds
from coord.client.core.causality import AT_LEAST_VARIABLE, Floor, parse_revision
from coord.client.core.endpoints import DEFAULT_ENDPOINTS, ENDPOINTS_VARIABLE, Route
from coord.client.core.namespace import Namespace, below
from coord.client.core.request import itself
from coord.client.core.settings import CoreSettings
from coord.client.dialling import Dial, dial_tcp
from coord.client.holding import Hold, caller
from coord.client.link import Link

CLOSE_SECONDS: Final = 1.0
"""For the end of the session to be confirmed, when the block is left. Beyond: it ends by its timeout."""
NAME_MAX: Final = 128
"""Characters; the protocol's bound."""


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
    """A client: ``async with connect("10.0.0.1:4711,10.0.0.2:4711") as client: …``

    ``endpoints``: some members; the others are learned from them. Each is a ``host``, a ``host:port`` or a
    ``[v6]:port`` (the port is 4711 where none is written), with commas between or in a list. A name that
    stands for several addresses is as good as all of them written out; it is looked up again whenever a
    connection is looked for. Or a URL,
    ``coord://host:port,host:port/namespace?session_timeout=5&deadline=10``, whose options are the arguments
    here, by their names; an argument wins over an option. Without endpoints: ``$COORD_ENDPOINTS``, any of
    these, or 127.0.0.1:4711.

    ``namespace``: a path that is ``/`` for this client (:meth:`Client.namespace`). ``session_timeout``: seconds of
    silence after which the service ends the session (10; the service may grant more, or less). ``name``: for people who
    look at sessions. ``session=False``: a client that only reads and watches. ``deadline``: seconds (30), for the
    connecting and, unless it says otherwise, for every call. ``discover=False``: only ever these endpoints.
    ``at_least``: a revision that every read shows, as :meth:`Client.see`; also taken from ``$COORD_AT_LEAST``.

    Raises :class:`~coord.api.errors.InvalidRequest` (refused) for arguments that cannot be; entering the block raises
    :class:`~coord.api.errors.Unavailable` (refused) when no member has answered in time, and says what each has done.
    Leaving it ends the session: its ephemerals go at once.
    """
    if endpoints is None:
        endpoints = os.environ.get(ENDPOINTS_VARIABLE) or DEFAULT_ENDPOINTS
    address = parse_address(endpoints).but(
        namespace=namespace,
        session_timeout=session_timeout,
        deadline=deadline,
        name=name,
        session=session,
        discover=discover,
    )
    # Each of these was handed on by somebody, and all of them are to be seen.
    floor = Floor(address.at_least)
    floor.see(parse_revision(os.environ.get(AT_LEAST_VARIABLE) or 0, f"${AT_LEAST_VARIABLE}"))
    floor.see(0 if at_least is None else at_least)
    settings = CoreSettings(
        name=_checked_name(address.name) or f"{socket.gethostname()[:100]}/{os.getpid()}",
        session=_yes_or_no(address.session, "session"),
        session_timeout_ms=max(milliseconds(address.session_timeout, "a session_timeout"), 1),
    )
    # The dice only spread clients over members and over time; nothing is decided by them.
    route = Route(address.endpoints, Random(), _yes_or_no(address.discover, "discover"))
    space = below(None, address.namespace)
    return Connecting(settings, route, _checked_deadline(address.deadline), space, floor, caller())


class Connecting:
    """What :func:`connect` returns, to be entered once."""

    def __init__(
        self,
        settings: CoreSettings,
        route: Route,
        deadline: float,
        space: Namespace | None,
        floor: Floor,
        made_at: str,
    ) -> None:
        self._settings = settings
        self._route = route
        self._deadline = deadline
        self._space = space
        self._floor = floor
        self._made_at = made_at
        self.dial: Dial = dial_tcp
        """How members are reached. ``coord.testing`` puts another way in its place."""
        self._tasks: anyio.abc.TaskGroup | None = None
        self._link: Link | None = None
        self._hold: Hold | None = None

    async def __aenter__(self) -> Client:
        if self._link is not None:
            raise InvalidRequest("a client is entered once; make another one with connect")
        link = self._link = Link(Core(self._settings), self._route, self.dial)
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
                    f"no member at {self._route} said welcome in {self._deadline:g} s: {link.trouble}"
                )
        except BaseException:
            await self._stop()
            raise
        self._hold = Hold(link, self._made_at)
        link.hold = ref(self._hold)
        return Client(link, self._deadline, self._space, self._floor)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._hold is not None:
            self._hold.released = True
        if self._link is None or self._link.forked:
            return  # a forked child: what is here is the parent's, and is left alone
        try:
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await self._end_session(self._link)
        finally:
            await self._stop()

    async def _end_session(self, link: Link) -> None:
        core = link.core
        if core.session and core.state is State.ATTACHED:
            await link.finished(core.end_session(context=link.waiter(), close=True), itself)

    async def _stop(self) -> None:
        """Close the core and end the tasks. The group is left without the block's exception, which goes its own way:
        in a group's hands it would come out wrapped in an exception group.
        """
        if self._link is None or self._tasks is None:
            return
        await self._link.stop()
        await self._tasks.__aexit__(None, None, None)


def _yes_or_no(value: bool, what: str) -> bool:
    # Not by truth: the text "false" is true.
    if not isinstance(value, bool):
        raise InvalidRequest(f"{what} is True or False, not {value!r:.40}")
    return value


def _checked_name(name: str | None) -> str:
    if name is None:
        return ""
    if not isinstance(name, str) or len(name) > NAME_MAX or not name.isprintable():
        raise InvalidRequest(f"a client's name is printable text of at most {NAME_MAX} characters")
    return name


def _checked_deadline(deadline: float) -> float:
    if isinstance(deadline, bool) or not isinstance(deadline, int | float) or not deadline > 0:
        raise InvalidRequest(f"a deadline is a number of seconds above 0 (inf: none), not {deadline!r:.40}")
    return deadline
