"""Where a cluster is, as it is written down: endpoints, or a URL that says more. Sans IO.

    10.0.0.1:4711,10.0.0.2:4711               coord.internal               [::1]:4711
    coord://10.0.0.1,10.0.0.2/app?session_timeout=5&deadline=10&name=worker

The path of a URL is the namespace; its options are the arguments of :func:`~coord.client.connect` that have
the same names, which win where both are there. One line of configuration is often all that an operator can
reach: hence the options.

Scheme and hosts are of either case; the namespace and the options' names are as they are written, with %20 and the like
for what a URL cannot have. There is no fragment.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from coord.api.errors import InvalidRequest
from coord.api.paths import ROOT, check_path
from coord.client.core.causality import parse_revision
from coord.client.core.endpoints import Endpoint, parse_endpoints

EXAMPLE: Final = "coord://host:4711,host:4711/namespace?session_timeout=10"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a cluster is, and how this client wants to be there: the defaults, where nothing was said."""

    endpoints: list[Endpoint]
    namespace: str = ROOT
    session_timeout: float = 10.0
    """Seconds."""
    deadline: float = 30.0
    """Seconds."""
    name: str | None = None
    session: bool = True
    discover: bool = True
    at_least: int = 0

    def but(self, **said: Any) -> "Address":
        """With what is not ``None`` in ``said``."""
        return replace(self, **{name: value for name, value in said.items() if value is not None})


def parse_address(text: str | Iterable[str]) -> Address:
    """From endpoints (:func:`~coord.client.core.endpoints.parse_endpoints`), or from one URL.

    Raises :class:`InvalidRequest` (refused) that says what is wrong.
    """
    if not isinstance(text, str) or "://" not in text:
        return Address(parse_endpoints(text))
    scheme, _, rest = text.strip().partition("://")
    if scheme.lower() != "coord":  # schemes are of either case, in any URL
        raise InvalidRequest(f"{text!r:.80} is no address of coord: write it as {EXAMPLE}")
    if "#" in rest:
        raise InvalidRequest("an address of coord has no fragment: write %23 for a # in a path or an option")
    rest, _, query = rest.partition("?")
    hosts, slash, path = rest.partition("/")
    if "@" in hosts:  # not repeated in the message: what stands before it may be a password
        raise InvalidRequest(f"an address of coord has no user in it: write it as {EXAMPLE}")
    return Address(parse_endpoints(hosts), _namespace(slash + path), **_options(query))


def _namespace(path: str) -> str:
    return check_path(unquote(path).rstrip("/") or ROOT)


def _options(query: str) -> dict[str, Any]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise InvalidRequest(
            f"the options of an address are name=value, with & between; not {query!r:.80}"
        ) from error
    options: dict[str, Any] = {}
    for name, value in pairs:
        read = _OPTIONS.get(name)
        if read is None:
            raise InvalidRequest(f"an address has no option {name!r:.40}; there are {', '.join(_OPTIONS)}")
        if name in options:
            raise InvalidRequest(f"an address has its option {name} twice")
        try:
            options[name] = read(value)
        except ValueError as error:
            raise InvalidRequest(f"{name}={value!r:.40} in an address: {error}") from error
    return options


def _yes_or_no(value: str) -> bool:
    try:
        return _BOOLEANS[value.lower()]
    except KeyError:
        raise ValueError("write true or false") from None


_BOOLEANS: Final[Mapping[str, bool]] = {"true": True, "1": True, "false": False, "0": False}

_OPTIONS: Final[Mapping[str, Callable[[str], Any]]] = {
    "session_timeout": float,
    "deadline": float,
    "name": str,
    "session": _yes_or_no,
    "discover": _yes_or_no,
    "at_least": parse_revision,
}
