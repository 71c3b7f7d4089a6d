"""Options that commands share."""

import os
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import parse_qsl

import typer

from coord.api.errors import InvalidRequest
from coord.api.tokens import Token
from coord.client.core.address import parse_address

DEFAULT_ENDPOINTS = "127.0.0.1:4711,127.0.0.1:4712,127.0.0.1:4713"

EndpointsOption = Annotated[
    str | None,
    typer.Option(
        "--endpoints",
        "-e",
        help="Members to connect to, HOST:PORT,… (or coord://HOST:PORT,…?deadline=SECONDS)",
        show_default="$COORD_ENDPOINTS, or 127.0.0.1:4711 to 4713",
    ),
]
TokenOption = Annotated[
    list[str] | None,
    typer.Option(
        "--token",
        envvar=["COORD_FENCING_TOKENS", "COORD_FENCING_TOKEN"],
        help="Write as the holder with this fencing token, such as 1-4711: below a fence it must be the current one, "
        "elsewhere it changes nothing. Below `coord lock` and `coord elect` it is in the environment, and need not be "
        "given. Of several claims: once for each.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON, for programs.")]


def endpoints_or_default(endpoints: str | None) -> str:
    """What was given, else the environment's, else a cluster on this machine."""
    return endpoints or os.environ.get("COORD_ENDPOINTS") or DEFAULT_ENDPOINTS


def says_deadline(address: str) -> bool:
    """Whether it is a URL with that option, which then counts."""
    return "://" in address and "deadline" in dict(parse_qsl(address.partition("?")[2]))


def split_endpoints(endpoints: str | None) -> list[str]:
    """A list of ``host:port``, from all that a client can be given. Raises :class:`typer.BadParameter`."""
    try:
        return [str(each) for each in parse_address(endpoints_or_default(endpoints)).endpoints]
    except InvalidRequest as error:
        raise typer.BadParameter(error.message) from None


def tokens(given: Sequence[str] | None) -> list[Token]:
    """What is presented to fences. Raises :class:`typer.BadParameter`."""
    try:
        return [Token.parse(each) for each in given or ()]
    except InvalidRequest as error:
        raise typer.BadParameter(
            f"{error.message} (in --token, or in $COORD_FENCING_TOKENS or $COORD_FENCING_TOKEN)"
        ) from None
