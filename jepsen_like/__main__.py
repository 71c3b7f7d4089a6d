"""``python -m coord.jepsen_like``: the rooms' commands in one place."""

from pathlib import Path
from typing import Annotated

import typer

from coord.jepsen_like.checkers import check_file
from coord.jepsen_like.live.commands import live
from coord.jepsen_like.mutants.commands import mutants
from coord.jepsen_like.scope.cli import scope
from coord.jepsen_like.sim.commands import sim

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="How coord earns trust; see jepsen_like/README.md."
)
app.command()(sim)
app.command()(scope)
app.command()(live)
app.command()(mutants)


@app.command()
def check(file: Annotated[Path, typer.Argument(help="A history: JSON lines.")]) -> None:
    """Judge a history. Ends with 1 if a promise was broken, with 2 if the file is no history."""
    try:
        violations = check_file(file)
    except (OSError, ValueError) as error:
        typer.echo(f"{file}: {error}", err=True)
        raise typer.Exit(2) from None
    for violation in violations:
        typer.echo(f"broken: {violation}")
    typer.echo(f"{file}: {len(violations)} broken promises" if violations else f"{file}: all promises kept")
    raise typer.Exit(1 if violations else 0)


if __name__ == "__main__":
    app()
