"""Running one command's coroutine: a client, its errors as one line and an exit code."""

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import typer

from coord.api.errors import CoordError, DeadlineExceeded, Disconnected, Unavailable
from coord.cli.asking import ask_members, diagnosis
from coord.cli.exits import FAILED, INTERRUPTED, OK, exit_code, first_error
from coord.cli.options import endpoints_or_default, says_deadline
from coord.client import Client, connect

CONNECT_DEADLINE_S = 10.0
"""For what goes on for long, once it has begun: locks, workers."""
DEADLINE_S = 5.0
"""For connecting, and for each call, of a command that asks once. An election takes a tenth of that."""
DIAGNOSIS_DEADLINE_S = 1.0


def run(command: Callable[[Client], Awaitable[Any]], endpoints: str | None, *, session: bool = False) -> None:
    """Run ``command`` with a client. ``session``: it writes; without one nothing is left behind in the cluster.

    A person waits: a call that has no answer after ``DEADLINE_S`` (or after what the address says, as
    ``coord://host:4711?deadline=60``) is given up, and the members are asked, each for itself, what is wrong.
    """
    where = endpoints_or_default(endpoints)
    deadline = None if says_deadline(where) else DEADLINE_S

    async def main() -> None:
        try:
            async with connect(
                where, session=session, name="coord (command line)", deadline=deadline
            ) as client:
                await command(client)
        except (DeadlineExceeded, Disconnected, Unavailable) as error:
            typer.echo(f"coord: {error.message}", err=True)
            for line in diagnosis(await ask_members(where, DIAGNOSIS_DEADLINE_S)):
                typer.echo(line, err=True)
            raise typer.Exit(exit_code(error)) from None

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
