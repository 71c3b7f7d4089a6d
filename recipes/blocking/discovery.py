"""Where services are: :mod:`coord.recipes.discovery`, for plain threads.

*What it guarantees, what it does not, what to do about that*: as there, and in
:mod:`coord.recipes.blocking.membership`. Any number of threads may pick from one service.

::

    from coord.client.blocking import connect
    from coord.recipes.blocking import discovery
    from coord.recipes.discovery import Endpoint

    with connect() as client:
        with discovery.register(client, "/services", "api", Endpoint("10.0.0.1", 8080)) as me:
            with discovery.discover(client, "/services", "api") as service:
                print(service.pick().address)  # → 10.0.0.1:8080
                me.drain()
                print(service.wait_for(lambda endpoints: not endpoints))  # → True
"""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar

from coord.client.blocking import Client
from coord.recipes.blocking import membership
from coord.recipes.blocking.bridge import Bridge
from coord.recipes.blocking.membership import Changes, Group, Membership
from coord.recipes.discovery import Endpoint, Endpoints, Picking, endpoint_of, everyone, fit, group_path
from coord.recipes.discovery import Registration as AsyncRegistration
from coord.recipes.discovery import register as register_async

__all__ = ["Endpoint", "Registration", "Service", "discover", "endpoint_of", "register"]

T = TypeVar("T")


def register(
    client: Client,
    path: str,
    service: str,
    endpoint: Endpoint,
    name: str | None = None,
    *,
    pulse: float | None = None,
    wait: bool = False,
    deadline: float | None = None,
) -> "Registration":
    """Have ``endpoint`` be one of ``service``'s, for the length of a block: ``with discovery.register(…) as me: …``

    ``path`` is where services are, for all of them the same. The rest as for :func:`coord.recipes.membership.join`.
    """
    bridge = Bridge(client)
    given = (bridge.client, path, service, endpoint, name)
    me = bridge.look(partial(register_async, *given, pulse=pulse, wait=wait, deadline=deadline))
    return Registration(client, me, deadline)


def discover(
    client: Client, path: str, service: str, *, dice: Random | None = None, deadline: float | None = None
) -> "Service":
    """The endpoints of ``service``, kept up for the length of a block: ``with discovery.discover(…) as service: …``

    ``dice``: of :meth:`Service.pick_random`, and of where round robin begins.
    """
    group = membership.observe(client, group_path(path, service), deadline=deadline)
    return Service(group, service, dice or Random())


class Registration(Membership):
    """An endpoint that is registered; a member of the group of its service, with all that those can."""

    _group: AsyncRegistration

    def update(self, attributes: Mapping[str, Any], *, deadline: float | None = None) -> None:
        """Have this metadata instead. Where the endpoint is, and whether it drains, stays. Raises :class:`Lost` when it
        is registered no more.
        """
        super().update(attributes, deadline=deadline)

    def drain(self, *, deadline: float | None = None) -> None:
        """Be picked no more, and stay registered: those who were connected before are still served."""
        self._bridge.run(partial(self._group.drain, deadline=deadline), deadline)


class Service:
    """The endpoints of a service. What :func:`discover` returns."""

    def __init__(self, group: Group, service: str, dice: Random) -> None:
        self._group = group
        self._picking = Picking(service, dice)
        self._known = Endpoints()

    @property
    def everyone(self) -> tuple[Endpoint, ...]:
        """All that are registered, by name, also those that are draining or stuck."""
        return everyone(self._group.roster)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Those that can be picked, by name."""
        return self._known.fit(self._group.roster)

    @property
    def stale_for(self) -> float:
        """For how many seconds the endpoints have not been kept up, as the connection is away; 0.0 while they are."""
        return self._group.stale_for

    def changes(self) -> Changes:
        """Every change from now on; the endpoint of a member is ``endpoint_of(change.member)``."""
        return self._group.changes()

    def pick(self, *, avoid: Collection[Endpoint] = ()) -> Endpoint:
        """The next one, in turn; those to ``avoid`` only if there is no other. Raises
        :class:`~coord.client.Unavailable` (refused) if there is none at all.
        """
        return self._picking.round_robin(self.endpoints, avoid)

    def pick_random(self, *, avoid: Collection[Endpoint] = ()) -> Endpoint:
        """Any. As :meth:`pick`."""
        return self._picking.random(self.endpoints, avoid)

    def pick_for(self, key: str, *, avoid: Collection[Endpoint] = ()) -> Endpoint:
        """The one that is responsible for ``key`` (:mod:`coord.recipes.hashing`). As :meth:`pick`."""
        return self._picking.by_key(key, self.endpoints, avoid)

    def wait_for(self, condition: Callable[[tuple[Endpoint, ...]], T], *, deadline: float | None = None) -> T:
        """Wait until ``condition(endpoints)``, of those that can be picked, is true; returns what it returned. It
        is called in the client's own thread.
        """
        return self._group.wait_for(lambda roster: condition(fit(roster)), deadline=deadline)

    def __enter__(self) -> Self:
        self._group.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._group.__exit__(exc_type, exc, traceback)
