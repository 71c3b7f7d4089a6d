"""The commands, put together."""

import typer

from coord.cli.dev import dev
from coord.cli.serve import serve

app = typer.Typer(
    name="coord",
    help="A coordination service: a replicated tree with sessions, watches and linearizable compare-and-set.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(serve)
app.command()(dev)


def main() -> None:
    """The ``coord`` command."""
    app()
