"""Who is there: :mod:`coord.recipes.membership`, for plain threads.

*What it guarantees.* As there; but the block of a thread cannot be cancelled. When the membership is lost
``me.lost`` (a ``threading.Event``) is set, the next call of ``me`` raises :class:`~coord.recipes.scope.Lost`, and
so does the end of the block.

*What it does not.* Stop a thread that does not look. And since the client has a thread of its own, the session
lives on when yours hangs: nothing is told of that without a pulse.

*What to do about that.* Look at ``me.lost`` (or wait for it) in loops that run for long. Join with ``pulse=10``,
and call ``me.pulse()`` from the thread that does the work.

::

    from coord.client.blocking import connect
    from coord.recipes.blocking import membership

    with connect() as client:
        with membership.join(client, "/workers", "w1", {"zone": "a"}, pulse=10) as me:
            with me.changes() as changes:
                with membership.join(client, "/workers", "w2"):
                    me.wait_size(2)
                for change in changes:
                    print(change.what.value, change.member.name)
                    if change.why is not None:
                        break
                # → joined w2
                # → left w2
            me.pulse()
            print(me.lost.is_set(), me.stale_for)  # → False 0.0
"""

import threading
from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from time import monotonic
from types import TracebackType
from typing import Any, Self, TypeVar

from coord.client import Cache, Event
from coord.client.blocking import Client
from coord.recipes.blocking.bridge import Bridge, Inside
from coord.recipes.group import Group as AsyncGroup
from coord.recipes.members import Change, Fold, Member, What, Why
from coord.recipes.membership import Membership as AsyncMembership
from coord.recipes.membership import join as join_async
from coord.recipes.membership import observe as observe_async
from coord.recipes.scope import Lost

__all__ = ["Change", "Changes", "Group", "Lost", "Member", "Membership", "What", "Why", "join", "observe"]

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
    """Be a member of the group at ``path``, for the length of a block: ``with membership.join(…) as me: …``

    The arguments are those of :func:`coord.recipes.membership.join`, and so is what is raised.
    """
    bridge = Bridge(client)
    make = partial(
        join_async, bridge.client, path, name, attributes, pulse=pulse, wait=wait, deadline=deadline
    )
    return Membership(client, bridge.look(make), deadline)


def observe(client: Client, path: str, *, deadline: float | None = None) -> "Group":
    """Look at the group at ``path`` without being in it: ``with membership.observe(client, path) as group: …``"""
    return Group(client, observe_async(Bridge(client).client, path, deadline=deadline), deadline)


class Group:
    """The members of a group, as a cache keeps them up. Looking at them costs no round trip, and never waits."""

    def __init__(self, client: Client, group: AsyncGroup, deadline: float | None) -> None:
        self._client = client
        self._bridge = Bridge(client)
        self._group = group
        self._deadline = deadline
        mine = isinstance(group, AsyncMembership)
        what = "a membership" if mine else "a group"
        self._inside: Inside[AsyncGroup] = Inside(self._bridge, lambda: group, what, stands=mine)

    @property
    def path(self) -> str:
        return self._group.path

    @property
    def roster(self) -> tuple[Member, ...]:
        """All members, by name."""
        return self._group.roster

    def get(self, name: str) -> Member | None:
        """The member of that name, if there is one."""
        return self._group.get(name)

    @property
    def stale_for(self) -> float:
        """For how many seconds the roster has not been kept up, as the connection is away; 0.0 while it is."""
        return self._group.stale_for

    def wait_size(self, size: int, *, deadline: float | None = None) -> tuple[Member, ...]:
        """Wait until there are ``size`` members, or more; returns the roster."""
        return self._bridge.run(partial(self._group.wait_size, size, deadline=deadline), deadline)

    def wait_for(self, condition: Callable[[tuple[Member, ...]], T], *, deadline: float | None = None) -> T:
        """Wait until ``condition(roster)`` is true, and return what it returned. It is called now and after
        changes, in the client's own thread, and should be short; of changes in quick succession it may see the last
        only.
        """
        return self._bridge.run(partial(self._group.wait_for, condition, deadline=deadline), deadline)

    def changes(self) -> "Changes":
        """Every change from now on: ``with group.changes() as changes: for change in changes: …``"""
        return Changes(self._client, self._group.path, self._group._open_cache)

    def __enter__(self) -> Self:
        self._inside.enter(self._deadline)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._inside.leave(exc_type, exc, traceback)


class Membership(Group):
    """One's own place in a group, and the group. What :func:`join` returns."""

    _group: AsyncMembership

    def __init__(self, client: Client, me: AsyncMembership, deadline: float | None) -> None:
        super().__init__(client, me, deadline)
        self.name = me.name

    @property
    def lost(self) -> threading.Event:
        """Set when this is no member any more, other than by the end of its block."""
        return self._inside.lost

    @property
    def failure(self) -> Lost | None:
        """Why this is no member any more; ``None`` while it is one."""
        return self._group.failure

    def update(self, attributes: Mapping[str, Any], *, deadline: float | None = None) -> None:
        """Have these attributes instead. Raises :class:`Lost` when it is no member any more."""
        self._bridge.run(partial(self._group.update, attributes, deadline=deadline), deadline)

    @property
    def attributes(self) -> Mapping[str, Any]:
        """As they were last set here."""
        return self._group.attributes

    def pulse(self) -> None:
        """Say that the work goes on. Returns at once, and may be called as often as one likes. Raises :class:`Lost`
        when it is no member any more.
        """
        if self._group._pulse_is_due():
            self._bridge.hand(self._group._pulsed.set)


class Changes:
    """What :meth:`Group.changes` returns. To be taken from by one thread."""

    def __init__(self, client: Client, path: str, cache: Cache) -> None:
        self._client = client
        self._event: Event | None = None
        """Taken, and not told yet."""
        begin = Bridge(client).look(lambda: (Fold(path, cache), cache.revision))
        self._fold, revision = begin
        self._watch = client.watch(path, "subtree", revision + 1)

    @property
    def roster(self) -> tuple[Member, ...]:
        """As of the last change that was told; before any, as it was when the block began."""
        return self._fold.roster

    def next(self, timeout: float | None = None) -> Change:
        """The next change; waits for it for ``timeout`` seconds, or for as long as it takes.

        Raises :class:`~coord.client.DeadlineExceeded` (refused: no change is lost) when none came in time.
        """
        ends_at = inf if timeout is None else monotonic() + timeout
        while True:
            if self._event is None:
                left = max(ends_at - monotonic(), 0.0)
                self._event = self._watch.next(None if left == inf else left)
            change = self._told(max(ends_at - monotonic(), 0.0))
            if change is not None:
                return change

    def __enter__(self) -> Self:
        self._watch.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._watch.__exit__(exc_type, exc, traceback)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change:
        while True:
            if self._event is None:
                self._event = next(self._watch)
            change = self._told(inf)
            if change is not None:
                return change

    def _told(self, seconds: float) -> Change | None:
        if self._event is None:
            return None
        stat = (
            self._client.exists(self._event.path, deadline=seconds) if self._fold.asks(self._event) else None
        )
        event, self._event = self._event, None
        return self._fold.apply(event, stat)
