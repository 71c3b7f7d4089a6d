"""The commands, put together."""

import typer

from coord import __version__
from coord.cli.bench import bench
from coord.cli.dev import dev
from coord.cli.inspecting import snapshot, wal
from coord.cli.looking import log, sessions, status, watch
from coord.cli.serve import serve
from coord.cli.torture import torture
from coord.cli.tree import create, delete, get, ls, set_, stat, tree

app = typer.Typer(
    name="coord",
    help="A coordination service: a replicated tree with sessions, watches and linearizable compare-and-set.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

MEMBERS, TREE, LOOKING, OFFLINE = "Members", "The tree", "The service", "A data folder, offline"

app.command(rich_help_panel=MEMBERS)(serve)
app.command(rich_help_panel=MEMBERS)(dev)
app.command(rich_help_panel=TREE)(get)
app.command("set", rich_help_panel=TREE)(set_)
for command in (create, delete, stat, ls, tree):
    app.command(rich_help_panel=TREE)(command)
for look in (watch, log, status, sessions, bench, torture):
    app.command(rich_help_panel=LOOKING)(look)
for inspector in (wal, snapshot):
    app.command(rich_help_panel=OFFLINE)(inspector)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"coord {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """A coordination service: a replicated tree with sessions, watches and linearizable compare-and-set."""


def main() -> None:
    """The ``coord`` command."""
    app()
