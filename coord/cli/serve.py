"""``coord serve``: one member, in the foreground."""

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from coord.api.checks import InvariantViolation
from coord.cli.exits import FAILED, STORAGE, USAGE


def serve(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="A TOML file; flags override it.")
    ] = None,
    member: Annotated[int | None, typer.Option(help="This member's id.", show_default="1")] = None,
    data: Annotated[Path | None, typer.Option(help="The data folder.", show_default="./coord-data")] = None,
    listen: Annotated[
        str | None, typer.Option(help="Where clients connect, HOST:PORT.", show_default="127.0.0.1:4711")
    ] = None,
    peer_listen: Annotated[
        str | None, typer.Option(help="Where the other members connect.", show_default="the client port + 10")
    ] = None,
    members: Annotated[
        str | None,
        typer.Option(
            help="All members: 1=HOST:PORT,2=HOST:PORT,… (clients' addresses; /HOST:PORT adds the members' own)."
        ),
    ] = None,
    insecure: Annotated[
        bool | None,
        typer.Option("--insecure", help="Serve without TLS beyond loopback, on a network you trust."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings.")] = False,
) -> None:
    """Run one member. Without arguments: a cluster of one, its data in ./coord-data, on 127.0.0.1:4711."""
    # Here, not above: they are half of what there is to import, and the other commands answer without them.
    from coord.disk.errors import StorageError
    from coord.server.causes import Stopped
    from coord.server.config import ConfigError, load_config, parse_members
    from coord.server.process import serve as serve_member

    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING if quiet else logging.INFO,
        format="%(asctime)s %(levelname)-7s %(message)s",
    )
    try:
        overrides: dict[str, Any] = {
            "member": member,
            "data": data,
            "listen": listen,
            "peer_listen": peer_listen,
            "members": parse_members(members) if members else None,
            "insecure": insecure,
        }
        serve_member(load_config(config, overrides))
    except ConfigError as error:
        _fail(str(error), USAGE)
    except StorageError as error:
        _fail(str(error), STORAGE)
    except Stopped as error:
        _fail(str(error), FAILED)
    except Exception as error:  # whatever it is, its operator is told what it means
        what = (
            "an invariant does not hold"
            if isinstance(error, InvariantViolation)
            else "an error nobody expected"
        )
        logging.getLogger("coord").critical(
            f"a bug in coord: {what}. The member stops rather than go on; its data is as it was "
            "last synced. Please report what follows",
            exc_info=True,
        )
        raise typer.Exit(FAILED) from None


def _fail(text: str, code: int) -> None:
    typer.echo(f"coord serve: {text}", err=True)
    raise typer.Exit(code) from None
