"""Options that commands share."""

import os
from typing import Annotated

import typer

DEFAULT_ENDPOINTS = "127.0.0.1:4711,127.0.0.1:4712,127.0.0.1:4713"

EndpointsOption = Annotated[
    str | None,
    typer.Option(
        "--endpoints",
        "-e",
        help="Members to connect to, HOST:PORT,…  [default: $COORD_ENDPOINTS, or 127.0.0.1:4711 to 4713]",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON, for programs.")]


def endpoints_or_default(endpoints: str | None) -> str:
    """What was given, else the environment's, else a cluster on this machine."""
    return endpoints or os.environ.get("COORD_ENDPOINTS") or DEFAULT_ENDPOINTS


def split_endpoints(endpoints: str | None) -> list[str]:
    """A list of ``host:port``. Raises :class:`typer.BadParameter`."""
    found = [each.strip() for each in endpoints_or_default(endpoints).split(",") if each.strip()]
    for each in found:
        host, _, port = each.rpartition(":")
        if not host or not port.isdigit():
            raise typer.BadParameter(f"{each!r} is not HOST:PORT")
    return found
