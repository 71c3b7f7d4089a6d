"""Running one command's coroutine: a client, its errors as one line and an exit code."""

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import typer

from coord.api.errors import CoordError
from coord.cli.exits import FAILED, INTERRUPTED, OK, exit_code, first_error
from coord.cli.options import endpoints_or_default
from coord.client import Client, connect

CONNECT_DEADLINE_S = 10.0
"""For a person at a terminal: a cluster that is up answers far sooner."""


def run(command: Callable[[Client], Awaitable[Any]], endpoints: str | None, *, session: bool = False) -> None:
    """Run ``command`` with a client. ``session``: it writes; without one nothing is left behind in the cluster."""

    async def main() -> None:
        async with connect(
            endpoints_or_default(endpoints),
            session=session,
            name="coord (command line)",
            deadline=CONNECT_DEADLINE_S,
        ) as client:
            await command(client)

    run_plain(main)


def run_plain(main: Callable[[], Awaitable[None]]) -> None:
    """Run ``main``; a :class:`CoordError` of it becomes a line and an exit code, Ctrl-C an end without a word."""
    code = OK
    try:
        anyio.run(main, backend="trio")
        sys.stdout.flush()  # here, where what goes wrong is told in a line
    except* CoordError as group:
        error = first_error(group)
        typer.echo(f"coord: {error.message}", err=True)
        code = exit_code(error)
    except* KeyboardInterrupt:
        code = INTERRUPTED
    except* BrokenPipeError:
        pass  # `coord … | head`: the reader has what it wanted
    except* OSError as writing:  # all that concerns members is a CoordError
        typer.echo(f"coord: cannot write: {first_error(writing).message}", err=True)
        code = FAILED
    # Not within the blocks: what they raise comes out of them in a group of its own, before Python 3.11.4.
    if code:
        raise typer.Exit(code)
