"""Where members are: how it is written down, and in which order they are tried. Sans IO; dice are handed in."""

from collections.abc import Iterable, MutableSequence
from ipaddress import IPv6Address, ip_address
from typing import Any, Final, NamedTuple, Protocol

from coord.api.errors import InvalidRequest

DEFAULT_PORT: Final = 4711
DEFAULT_ENDPOINTS: Final = f"127.0.0.1:{DEFAULT_PORT}"
ENDPOINTS_VARIABLE: Final = "COORD_ENDPOINTS"

PAUSE_FIRST_SECONDS: Final = 0.05
PAUSE_MAX_SECONDS: Final = 1.0
"""Between rounds of trying every endpoint; doubled from the first to the last, times a die in [0.5, 1)."""


class Dice(Protocol):
    """What a :class:`random.Random` can do."""

    def random(self) -> float: ...

    def shuffle(self, x: MutableSequence[Any], /) -> None: ...


class Endpoint(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_endpoints(text: str | Iterable[str]) -> list[Endpoint]:
    """``"host:port,host,[v6]:port"``, or several of these. Raises :class:`InvalidRequest` (refused)."""
    parts = [text] if isinstance(text, str) else _texts(text)
    found = [parse_endpoint(each) for part in parts for each in part.split(",") if each.strip()]
    if not found:
        raise InvalidRequest(f"no endpoints; write them as {DEFAULT_ENDPOINTS}, with commas between them")
    return list(dict.fromkeys(found))


def parse_endpoint(text: str, default_port: int | None = DEFAULT_PORT) -> Endpoint:
    """``host:port`` or ``[v6]:port``; ``default_port`` is for where none is written, ``None``: one must be.

    Raises :class:`InvalidRequest` (refused) that says what is wrong.
    """
    wanted = text.strip()
    bracket = wanted.rfind("]")
    host, colon, port = wanted, "", ""
    if wanted.rfind(":") > bracket:
        host, colon, port = wanted.rpartition(":")
    if not host:
        raise InvalidRequest(f"{text!r} is not an endpoint: write host:port, as in {DEFAULT_ENDPOINTS}")
    if colon and not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        raise InvalidRequest(f"{text!r} is not an endpoint: {port!r} is not a port from 1 to 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            IPv6Address(host)
        except ValueError as error:
            raise InvalidRequest(f"{text!r} is not an endpoint: {error}") from error
    elif ":" in host:  # "::1:5" could be two things
        raise InvalidRequest(f"{text!r} is not an endpoint: write an IPv6 address as [::1]:{DEFAULT_PORT}")
    elif not host.isprintable() or any(each in host for each in " []/@?"):
        raise InvalidRequest(f"{text!r} is not an endpoint: {host!r} is not a host's name")
    if port:
        return Endpoint(host, int(port))
    if default_port is None:
        raise InvalidRequest(f"{text!r} is not an endpoint: it has no port")
    return Endpoint(host, default_port)


def _texts(parts: object) -> list[str]:
    if isinstance(parts, bytes) or not isinstance(parts, Iterable):
        raise InvalidRequest(f"endpoints are text, or a list of texts; not {parts!r:.40}")
    texts = list(parts)
    for each in texts:
        if not isinstance(each, str):
            raise InvalidRequest(f"an endpoint is text, as {DEFAULT_ENDPOINTS}; not {each!r:.40}")
    return texts


class Route:
    """The order of tries: every endpoint once, in random order and at once; then a pause, and again.

    The user's endpoints stay, whatever members say of each other: theirs may be addresses that only they can
    reach. One that was just lost is tried last in its round.

    A name may stand for several addresses, and each of them for a member: whoever resolved it says so by
    :meth:`resolved`, and each address has a turn of its own, in the place of the name. Names are resolved anew
    in each round: where members come and go, it is the name service that knows.
    """

    def __init__(self, endpoints: Iterable[Endpoint], dice: Dice, discover: bool = True) -> None:
        self._given = list(dict.fromkeys(endpoints))
        self._learned: list[Endpoint] = []
        self._discover = discover
        self._dice = dice
        self._lost: Endpoint | None = None
        self._tried: dict[Endpoint, None] = {}
        """In this round: an address that two names share has one turn."""
        self._round: list[Endpoint] = []
        self._begin_round()
        self._pause = 0.0

    def __str__(self) -> str:
        return ",".join(str(each) for each in self._known())

    def next(self) -> tuple[Endpoint, float]:
        """Whom to try, after how many seconds."""
        wait = 0.0
        if not self._round:
            self._lost = None
            self._begin_round()
            self._pause = min(max(2 * self._pause, PAUSE_FIRST_SECONDS), PAUSE_MAX_SECONDS)
            wait = self._pause * (0.5 + self._dice.random() / 2)
        endpoint = self._round.pop(0)
        self._tried[endpoint] = None
        return endpoint, wait

    def resolved(self, addresses: Iterable[str], port: int) -> None:
        """The name that :meth:`next` has just said stands for these: they come next."""
        found = [Endpoint(address, port) for address in dict.fromkeys(addresses)]
        new = [each for each in found if each not in self._tried and each not in self._round]
        self._dice.shuffle(new)
        if self._lost in new:
            new.remove(self._lost)
            self._round.append(self._lost)
        self._round[:0] = new

    def learned(self, addresses: Iterable[str]) -> None:
        """A member said where all members are. What cannot be an address is passed over."""
        if not self._discover:
            return
        found = []
        for address in addresses:
            try:
                found.append(parse_endpoint(address, None))
            except InvalidRequest:
                continue  # a member that does not say where it is
        self._learned = found

    def lost(self, endpoint: Endpoint, lasted_seconds: float) -> None:
        """A connection that had worked is gone: a new round at once, that endpoint last in it.

        Unless it was a short one: a member that says welcome and then cuts counts as one that failed, lest the
        client run in circles without a pause.
        """
        if lasted_seconds >= PAUSE_MAX_SECONDS:
            self._lost = endpoint
            self._begin_round()
            self._pause = 0.0

    def _known(self) -> list[Endpoint]:
        return list(dict.fromkeys([*self._given, *self._learned]))

    def _begin_round(self) -> None:
        self._tried.clear()
        known = self._known()
        self._round = [each for each in known if each != self._lost]
        self._dice.shuffle(self._round)
        if self._lost in known:
            self._round.append(self._lost)


def is_name(host: str) -> bool:
    """A name that is to be resolved, and no address."""
    try:
        ip_address(host)
    except ValueError:
        return True
    return False
