"""Where members are: how it is written down, and in which order they are tried. Sans IO; dice are handed in."""

from collections.abc import Iterable
from ipaddress import IPv6Address
from random import Random
from typing import Final, NamedTuple

from coord.api.errors import InvalidRequest

DEFAULT_ENDPOINTS: Final = "127.0.0.1:4711"
ENDPOINTS_VARIABLE: Final = "COORD_ENDPOINTS"

PAUSE_FIRST_SECONDS: Final = 0.05
PAUSE_MAX_SECONDS: Final = 1.0
"""Between rounds of trying every endpoint; doubled from the first to the last, times a die in [0.5, 1)."""


class Endpoint(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_endpoints(text: str | Iterable[str]) -> list[Endpoint]:
    """``"host:port,[v6]:port"``, or several of these. Raises :class:`InvalidRequest` (refused)."""
    parts = [text] if isinstance(text, str) else list(text)
    found = [parse_endpoint(each) for part in parts for each in part.split(",") if each.strip()]
    if not found:
        raise InvalidRequest(f"no endpoints; write them as {DEFAULT_ENDPOINTS}, with commas between them")
    return list(dict.fromkeys(found))


def parse_endpoint(text: str) -> Endpoint:
    """``host:port`` or ``[v6]:port``. Raises :class:`InvalidRequest` (refused) that says what is wrong."""
    wanted = text.strip()
    host, colon, port = wanted.rpartition(":")
    if not colon or not host:
        raise InvalidRequest(f"{text!r} is not an endpoint: write host:port, as in {DEFAULT_ENDPOINTS}")
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        raise InvalidRequest(f"{text!r} is not an endpoint: {port!r} is not a port from 1 to 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            IPv6Address(host)
        except ValueError as error:
            raise InvalidRequest(f"{text!r} is not an endpoint: {error}") from error
    elif ":" in host:
        raise InvalidRequest(f"{text!r} is not an endpoint: write an IPv6 address as [{host}]:{port}")
    elif not host.isprintable() or any(each in host for each in " []/@"):
        raise InvalidRequest(f"{text!r} is not an endpoint: {host!r} is not a host's name")
    return Endpoint(host, int(port))


class Route:
    """The order of tries: every endpoint once, in random order and at once; then a pause, and again.

    The user's endpoints stay, whatever members say of each other: theirs may be addresses that only they can
    reach. One that was just lost is tried last in its round.
    """

    def __init__(self, endpoints: Iterable[Endpoint], dice: Random, discover: bool = True) -> None:
        self._given = list(dict.fromkeys(endpoints))
        self._learned: list[Endpoint] = []
        self._discover = discover
        self._dice = dice
        self._round: list[Endpoint] = self._shuffled(())
        self._pause = 0.0

    def __str__(self) -> str:
        return ",".join(str(each) for each in self._known())

    def next(self) -> tuple[Endpoint, float]:
        """Whom to try, after how many seconds."""
        wait = 0.0
        if not self._round:
            self._round = self._shuffled(())
            self._pause = min(max(2 * self._pause, PAUSE_FIRST_SECONDS), PAUSE_MAX_SECONDS)
            wait = self._pause * (0.5 + self._dice.random() / 2)
        return self._round.pop(0), wait

    def learned(self, addresses: Iterable[str]) -> None:
        """A member said where all members are. What cannot be an address is passed over."""
        if not self._discover:
            return
        found = []
        for address in addresses:
            try:
                found.append(parse_endpoint(address))
            except InvalidRequest:
                continue  # a member that does not say where it is
        self._learned = found

    def lost(self, endpoint: Endpoint, lasted_seconds: float) -> None:
        """A connection that had worked is gone: a new round at once, that endpoint last in it.

        Unless it was a short one: a member that says welcome and then cuts counts as one that failed, lest the
        client run in circles without a pause.
        """
        if lasted_seconds >= PAUSE_MAX_SECONDS:
            self._round = self._shuffled((endpoint,))
            self._pause = 0.0

    def _known(self) -> list[Endpoint]:
        return list(dict.fromkeys([*self._given, *self._learned]))

    def _shuffled(self, last: tuple[Endpoint, ...]) -> list[Endpoint]:
        first = [each for each in self._known() if each not in last]
        self._dice.shuffle(first)
        return [*first, *last]
