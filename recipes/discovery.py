"""Where services are: register an endpoint, and pick one of those that are registered.

*What it guarantees.* What :mod:`coord.recipes.membership` does, of which this is a use: an endpoint is registered
for the length of a block, and no longer than the session of who registered it. Picking costs no round trip, and
never waits. :meth:`Service.pick_for` sends the same key to the same endpoint from every process that sees the same
ones, and when one comes or goes only the keys move that must.

*What it does not.* An endpoint that is picked may be dead already, for up to its session's timeout, and one that
registers may not listen yet. Nothing here opens a connection, or knows how loaded anybody is.

*What to do about that.* Register after your server listens. When a call to one fails, pick another:
``pick(avoid=[it])``. Before you stop, :meth:`Registration.drain`, and go on serving for as long as your longest
request takes: those who pick do not pick it any more, and those who are connected can see it. Give a ``pulse`` if
it can hang (:mod:`coord.recipes.membership`): one that is stuck is not picked.

::

    from coord.recipes import discovery
    from coord.recipes.discovery import Endpoint

    api = Endpoint("10.0.0.1", 8080, {"zone": "a"})
    async with discovery.register(client, "/services", "api", api) as me:
        async with discovery.discover(client, "/services", "api") as service:
            endpoint = service.pick()
            print(endpoint.address, endpoint.metadata)  # → 10.0.0.1:8080 {'zone': 'a'}
            print(service.pick_for("user-17") == service.pick_random() == endpoint)  # → True
            await me.drain()
            await service.wait_for(lambda endpoints: not endpoints)
            print([each.draining for each in service.everyone])  # → [True]
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from coord.client import Client, InvalidRequest, Unavailable
from coord.recipes.arguments import below, checked_name, checked_path
from coord.recipes.group import Changes, Group
from coord.recipes.hashing import owner
from coord.recipes.members import Member
from coord.recipes.membership import Membership

PORT_MAX: Final = 65_535

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service can be reached. ``name`` and ``draining`` are known of one that is registered."""

    host: str
    port: int
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What JSON can say: a zone, a version, a path."""
    name: str = ""
    draining: bool = False

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


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
    """Have ``endpoint`` be one of ``service``'s, for the length of a block: ``async with discovery.register(…) as
    me: …``

    ``path`` is where services are, for all of them the same. The rest as for :func:`coord.recipes.membership.join`.
    """
    found = replace(checked(endpoint), draining=False)
    return Registration(client, group_path(path, service), name, found, pulse, wait, deadline)


def discover(
    client: Client, path: str, service: str, *, dice: Random | None = None, deadline: float | None = None
) -> "Service":
    """The endpoints of ``service``, kept up for the length of a block: ``async with discovery.discover(…) as
    service: …``

    ``dice``: of :meth:`Service.pick_random`, and of where round robin begins.
    """
    return Service(Group(client, group_path(path, service), deadline), service, dice or Random())


class Registration(Membership):
    """An endpoint that is registered; a member of the group of its service, with all that those can."""

    def __init__(
        self,
        client: Client,
        path: str,
        name: str | None,
        endpoint: Endpoint,
        pulse: float | None,
        wait: bool,
        deadline: float | None,
    ) -> None:
        super().__init__(client, path, name, attributes_of(endpoint), pulse, wait, deadline)
        self._endpoint = endpoint

    async def update(self, attributes: Mapping[str, Any], *, deadline: float | None = None) -> None:
        """Have this metadata instead. Where the endpoint is, and whether it drains, stays. Raises :class:`Lost` when it
        is registered no more.
        """
        await self._say(checked(replace(self._endpoint, metadata=attributes)), deadline)

    async def drain(self, *, deadline: float | None = None) -> None:
        """Be picked no more, and stay registered: those who were connected before are still served."""
        await self._say(replace(self._endpoint, draining=True), deadline)

    async def _say(self, endpoint: Endpoint, deadline: float | None) -> None:
        await super().update(attributes_of(endpoint), deadline=deadline)
        self._endpoint = endpoint


class Picking:
    """Which of the endpoints. Pure but for its memory of the round, and the dice."""

    def __init__(self, service: str, dice: Random) -> None:
        self._service = service
        self._dice = dice
        self._last = ""
        """The name that was picked last: the round goes on behind it, whoever came or went meanwhile."""
        self._begun = False

    def round_robin(self, endpoints: Collection[Endpoint], avoid: Collection[Endpoint]) -> Endpoint:
        found = self._left(endpoints, avoid)
        if not self._begun:
            # Were it always the first: a thousand clients that start together would all begin with the same one.
            self._begun = True
            chosen = self._dice.choice(found)
        else:
            chosen = next((each for each in found if each.name > self._last), found[0])
        self._last = chosen.name
        return chosen

    def random(self, endpoints: Collection[Endpoint], avoid: Collection[Endpoint]) -> Endpoint:
        return self._dice.choice(self._left(endpoints, avoid))

    def by_key(self, key: str, endpoints: Collection[Endpoint], avoid: Collection[Endpoint]) -> Endpoint:
        by_name = {each.name: each for each in self._left(endpoints, avoid)}
        return by_name[owner(key, by_name)]

    def _left(self, endpoints: Collection[Endpoint], avoid: Collection[Endpoint]) -> list[Endpoint]:
        """By name. Those to be avoided only if there is nobody else: one that failed once is better than none."""
        if not endpoints:
            raise Unavailable(
                f"no endpoint of {self._service!r:.60} can be picked: none is registered, or all are draining"
            )
        if not isinstance(avoid, Collection) or not all(isinstance(each, Endpoint) for each in avoid):
            raise InvalidRequest(
                f"endpoints to avoid are a collection of them, as in avoid=[it]; not {avoid!r:.80}"
            )
        names = {each.name for each in avoid}
        return [each for each in endpoints if each.name not in names] or list(endpoints)


class Endpoints:
    """Those of a roster, worked out once for as long as it is the same."""

    def __init__(self) -> None:
        self._of: tuple[tuple[Member, ...], tuple[Endpoint, ...]] = ((), ())

    def fit(self, roster: tuple[Member, ...]) -> tuple[Endpoint, ...]:
        """Those that can be picked."""
        known, found = self._of
        if known is not roster:
            found = fit(roster)
            self._of = (roster, found)
        return found


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

    async def wait_for(
        self, condition: Callable[[tuple[Endpoint, ...]], T], *, deadline: float | None = None
    ) -> T:
        """Wait until ``condition(endpoints)``, of those that can be picked, is true; returns what it returned."""
        return await self._group.wait_for(lambda roster: condition(fit(roster)), deadline=deadline)

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._group.__aexit__(exc_type, exc, traceback)


# --- endpoints as members -----------------------------------------------------------------------


def endpoint_of(member: Member) -> Endpoint | None:
    """The endpoint that a member is; ``None`` for one that is none."""
    host, port = member.attributes.get("host"), member.attributes.get("port")
    metadata = member.attributes.get("metadata")
    if not isinstance(host, str) or not isinstance(port, int):
        return None
    draining = member.attributes.get("draining") is True
    return Endpoint(host, port, metadata if isinstance(metadata, dict) else {}, member.name, draining)


def everyone(roster: tuple[Member, ...]) -> tuple[Endpoint, ...]:
    found = (endpoint_of(member) for member in roster)
    return tuple(endpoint for endpoint in found if endpoint is not None)


def fit(roster: tuple[Member, ...]) -> tuple[Endpoint, ...]:
    """Those that can be picked."""
    return tuple(
        each for each in everyone(tuple(member for member in roster if not member.stuck)) if not each.draining
    )


def attributes_of(endpoint: Endpoint) -> Mapping[str, Any]:
    return {
        "host": endpoint.host,
        "port": endpoint.port,
        "metadata": dict(endpoint.metadata),
        "draining": endpoint.draining,
    }


def group_path(path: str, service: str) -> str:
    return below(checked_path(path, "where services are"), checked_name(service, "a service's name"))


def checked(endpoint: Endpoint) -> Endpoint:
    if not isinstance(endpoint, Endpoint):
        raise InvalidRequest(f"what is registered is an Endpoint('10.0.0.1', 8080), not {endpoint!r:.60}")
    port = endpoint.port
    if not isinstance(endpoint.host, str) or not endpoint.host:
        raise InvalidRequest(f"an endpoint's host is a name or an address, not {endpoint.host!r:.60}")
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port <= PORT_MAX:
        raise InvalidRequest(f"an endpoint's port is a whole number from 1 to {PORT_MAX}, not {port!r:.60}")
    if not isinstance(endpoint.metadata, Mapping):
        raise InvalidRequest(
            f"an endpoint's metadata is a mapping of names to values, not {endpoint.metadata!r:.60}"
        )
    return endpoint
