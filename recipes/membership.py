"""Who is there: join a group, look at its members, hear of every change.

*What it guarantees.* A member is in the roster from when its ``async with`` begins until it ends, and no longer
than its session. The block is cancelled, and raises :class:`~coord.recipes.scope.Lost`, as soon as the client
itself can no longer be sure of its session: *before* anybody else can see it gone. Two members never have the same
name at a time. :meth:`Group.changes` tells every change, once, in order, and of one that is gone why: it said so,
it was silent for its session's timeout, or somebody removed it.

*What it does not.* A roster is of the past: who is in it may have died a moment ago (up to its session's timeout),
and others may still see somebody who is out. A session shows that a *process* lives, not that its work goes on: a
loop that is stuck keeps its session, most surely under :mod:`coord.recipes.blocking`, whose client has a thread of
its own.

*What to do about that.* For what must never be done by two, a claim with its fencing token, not a roster. For work
that may be stuck, a *pulse*: join with ``pulse=10`` and call :meth:`Membership.pulse` from the loop that does the
work, once for each piece. It costs nothing to call; a few times in ten seconds one is sent. When there is none for
ten seconds the service itself says so, to all at the same revision: :attr:`Member.stuck`, and a change ``STUCK``.
So one that is gone (``LEFT``, and why) and one that hangs are told apart, and no clock but the service's is asked.

A membership that is lost is lost: nothing joins again by itself, since the work was cancelled with it. To begin
anew, enter another block (with another client, if the session has ended).

::

    from coord.recipes import membership
    from coord.recipes.membership import What

    async with membership.join(client, "/workers", "w1", {"zone": "a"}) as me:
        print([(member.name, member.attributes) for member in me.roster])  # → [('w1', {'zone': 'a'})]
        async with me.changes() as changes:
            async with membership.join(client, "/workers", "w2") as other:
                await me.wait_size(2)
                await other.update({"zone": "b"})
            async for change in changes:
                print(change.what.value, change.member.name, change.why and change.why.value)
                if change.what is What.LEFT:
                    break
        # → joined w2 None
        # → updated w2 None
        # → left w2 said so
"""

import os
import re
import socket
from collections.abc import Mapping
from functools import partial
from math import inf, isfinite
from secrets import token_hex
from time import time
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import anyio

from coord.client import (
    Client,
    CoordError,
    Create,
    Delete,
    Exists,
    InvalidRequest,
    Kind,
    NotFound,
    Set,
    when,
)
from coord.recipes.arguments import (
    Deadline,
    below,
    checked_client,
    checked_name,
    wait_for,
)
from coord.recipes.group import Changes, Group
from coord.recipes.members import Change, Member, What, Why, pulse_path, record
from coord.recipes.scope import Lost, Scope, log, undo

__all__ = ["Change", "Changes", "Group", "Lost", "Member", "Membership", "What", "Why", "join", "observe"]

PULSE_SHARE: Final = 3
"""A pulse is sent so often within its time, if the work goes on."""

T = TypeVar("T")


def join(
    client: Client,
    path: str,
    name: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    *,
    pulse: float | None = None,
    wait: bool = False,
    deadline: float | None = None,
) -> "Membership":
    """Be a member of the group at ``path``, for the length of a block: ``async with membership.join(…) as me: …``

    ``name``: one that nobody has there (``None``: a new one, of this host and process). If somebody has it,
    :class:`~coord.client.Exists` (refused) is raised; with ``wait`` it waits until he is gone: a program that was
    killed and started again finds its own former self, until that session has expired. ``attributes``: what JSON
    can say. ``pulse``: seconds; see above. ``deadline``: for getting in.
    """
    return Membership(client, path, name, {} if attributes is None else attributes, pulse, wait, deadline)


def observe(client: Client, path: str, *, deadline: float | None = None) -> "Group":
    """Look at the group at ``path`` without being in it: ``async with membership.observe(…) as group: …``"""
    return Group(client, path, deadline)


class Membership(Group):
    """One's own place in a group, and the group. What :func:`join` returns."""

    def __init__(
        self,
        client: Client,
        path: str,
        name: str | None,
        attributes: Mapping[str, Any],
        pulse: float | None,
        wait: bool,
        deadline: float | None,
    ) -> None:
        super().__init__(checked_client(client), path, deadline)
        self.name = new_name() if name is None else checked_name(name, "a member's name")
        self._pulse = checked_pulse(pulse)
        self._wait_for_name = bool(wait)
        self._identity = token_hex(8)
        self._since_ms = round(time() * 1000)
        self._joined_revision = 0
        self._left = False
        self._value = self._record(attributes)
        self._attributes = dict(attributes)
        self._pulsed = anyio.Event()
        self._scope = Scope(client, f"the membership of {self.name!r:.60} in {self._path!r:.60}")

    @property
    def failure(self) -> Lost | None:
        """Why this is no member any more; ``None`` while it is one."""
        return self._scope.lost

    async def update(self, attributes: Mapping[str, Any], *, deadline: float | None = None) -> None:
        """Have these attributes instead. Raises :class:`Lost` when it is no member any more."""
        self._check()
        value = self._record(attributes)
        result = await self._client.multi(
            [when.created_revision(self._me) == self._joined_revision],
            then=[Set(self._me, value)],
            deadline=deadline,
        )
        if not result.succeeded:
            self._scope.lose(self._removed())
        self._scope.check()
        self._attributes = dict(attributes)

    @property
    def attributes(self) -> Mapping[str, Any]:
        """As they were last set here."""
        return self._attributes

    def pulse(self) -> None:
        """Say that the work goes on. Returns at once, and may be called as often as one likes. Raises :class:`Lost`
        when it is no member any more.
        """
        if self._pulse_is_due():
            self._pulsed.set()

    # --- inside ---

    async def __aenter__(self) -> Self:
        due = Deadline(self._client, self._deadline)
        await self._open(due)
        try:
            await self._join(due)
        except BaseException:
            try:
                await self._withdraw()
            finally:
                await self._stack.aclose()
            raise
        await self._scope.begin()
        self._scope.start(self._wait_removed)
        if self._pulse is not None:
            self._scope.start(self._send_pulses)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._left = True
        try:
            return await self._scope.end(exc_type, exc, traceback)
        finally:
            try:
                await self._withdraw()
            finally:
                await self._stack.aclose()

    async def _join(self, due: Deadline) -> None:
        path = self._me
        multi = partial(self._client.multi, then=[Create(path, self._value, Kind.EPHEMERAL, parents=True)])
        if self._pulse is not None:
            # Somebody of this name may have left one, which is not to end while this one goes on.
            beat = self._beat
            multi = partial(
                self._client.multi,
                [when.missing(beat)],
                [self._new_pulse, Create(path, self._value, Kind.EPHEMERAL)],
                [Delete(beat), self._new_pulse, Create(path, self._value, Kind.EPHEMERAL)],
            )
        while True:
            try:
                result = await multi(deadline=due.left)
            except Exists as error:
                if not self._wait_for_name:
                    raise Exists(
                        f"there is a member {self.name!r:.60} in {self._path!r:.60} already. If that is a former self "
                        "of this program, whose session has not expired yet: join with wait=True",
                        error.details,
                    ) from None
                message = f"the name {self.name!r:.60} in {self._path!r:.60} was not free in time"
                await wait_for(self._open_cache, lambda: path not in self._open_cache, due, message)
            else:
                self._joined_revision = result.revision
                await self._open_cache.wait_revision(result.revision, deadline=due.left)
                return

    async def _withdraw(self) -> None:
        """Leave; or see to it that a create that may still happen does not last."""
        await undo(self._client, self._leave)

    async def _leave(self) -> None:
        joined = self._joined_revision
        # Its value has the identity of this very joining, until the first update; and there is none before it is known
        # to have joined.
        mine = when.created_revision(self._me) == joined if joined else when.value(self._me) == self._value
        await self._client.multi([mine], then=[Delete(self._me)], deadline=inf)
        if self._pulse is not None:
            left = [when.missing(self._me), when.exists(self._beat)]
            await self._client.multi(left, then=[Delete(self._beat)], deadline=inf)

    async def _wait_removed(self) -> None:
        path, cache = self._me, self._open_cache

        def removed() -> bool:
            entry = cache.get(path)
            return entry is None or entry.created_revision != self._joined_revision

        await cache.wait_for(removed, deadline=inf)
        raise self._removed()

    async def _send_pulses(self) -> None:
        set_it = Set(self._beat, b"")
        seconds = self._pulse or inf
        while True:
            await self._pulsed.wait()
            self._pulsed = anyio.Event()
            try:
                await self._client.multi([when.exists(self._beat)], [set_it], [self._new_pulse], deadline=inf)
            except CoordError as error:
                # The session's end is told elsewhere. Else the next one may have more luck.
                log.warning("a pulse of %s in %s was not sent: %s", self.name, self._path, error)
            await anyio.sleep(seconds / PULSE_SHARE)  # pulses that are given meanwhile are one

    def _pulse_is_due(self) -> bool:
        self._check()
        if self._pulse is None:
            raise InvalidRequest("this member gives no pulse; join with pulse=10 (seconds) for that")
        return not self._pulsed.is_set()

    def _check(self) -> None:
        self._scope.check()
        if not self._joined_revision:
            raise InvalidRequest("this is no member yet: enter its block")
        if self._left:
            raise InvalidRequest("this is no member any more: its block has ended; join anew")

    def _removed(self) -> CoordError:
        return NotFound("it was deleted, by somebody else or with its session", {"path": self._me})

    def _record(self, attributes: Mapping[str, Any]) -> bytes:
        return record(self._identity, self._client.session_id, self._since_ms, self._pulse, attributes)

    @property
    def _me(self) -> str:
        return below(self._path, self.name)

    @property
    def _beat(self) -> str:
        return pulse_path(self._path, self.name)

    @property
    def _new_pulse(self) -> Create:
        return Create(self._beat, b"", Kind.TTL, parents=True, ttl_ms=round((self._pulse or 0) * 1000))


def new_name() -> str:
    """One that nobody else has; it says where it is from."""
    host = re.sub(r"[^\w.-]", "-", socket.gethostname()).lstrip(".")[:60]
    return f"{host}-{os.getpid()}-{token_hex(4)}"


def checked_pulse(seconds: float | None) -> float | None:
    if seconds is None:
        return None
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not (isfinite(seconds) and seconds > 0)
    ):
        raise InvalidRequest(f"a pulse is a number of seconds above 0, not {seconds!r:.40}")
    return float(seconds)
