"""The commands, put together: as few as needed, for each brings along what it imports."""

import sys
from importlib import import_module
from typing import Final

import typer

from coord import __version__

MEMBERS, TREE, CLAIMS = "Members", "The tree", "Claims: locks and elections"
QUEUE = "Tasks"
LOOKING, OFFLINE = "The service", "A data folder, offline"

COMMANDS: Final = {
    "serve": ("serve", "serve", MEMBERS),
    "dev": ("dev", "dev", MEMBERS),
    "get": ("tree", "get", TREE),
    "set": ("tree", "set_", TREE),
    "create": ("tree", "create", TREE),
    "delete": ("tree", "delete", TREE),
    "stat": ("tree", "stat", TREE),
    "ls": ("tree", "ls", TREE),
    "tree": ("tree", "tree", TREE),
    "lock": ("holding", "lock", CLAIMS),
    "elect": ("holding", "elect", CLAIMS),
    "claims": ("claiming", "claims", CLAIMS),
    "why": ("claiming", "why", CLAIMS),
    "fence": ("claiming", "fence", CLAIMS),
    "token-keys": ("token_keys", "token_keys", CLAIMS),
    "worker": ("worker", "worker", QUEUE),
    "queue": ("queue", "queue", QUEUE),
    "watch": ("looking", "watch", LOOKING),
    "log": ("looking", "log", LOOKING),
    "status": ("looking", "status", LOOKING),
    "sessions": ("looking", "sessions", LOOKING),
    "bench": ("bench", "bench", LOOKING),
    "torture": ("torture", "torture", LOOKING),
    "wal": ("inspecting", "wal", OFFLINE),
    "snapshot": ("inspecting", "snapshot", OFFLINE),
}
"""Command -> (file in this room, function, where the help shows it)."""


def build(only: str = "") -> typer.Typer:
    """The application: with all commands, or with the one called ``only`` (a member starts a third sooner so)."""
    app = typer.Typer(
        name="coord",
        help="A coordination service: a replicated tree with sessions, watches and linearizable compare-and-set.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    app.callback()(options)
    for name in [only] if only in COMMANDS else COMMANDS:
        file, function, panel = COMMANDS[name]
        command = getattr(import_module(f"coord.cli.{file}"), function)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, rich_help_panel=panel)
        else:
            app.command(name, rich_help_panel=panel)(command)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"coord {__version__}")
        raise typer.Exit


def options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """A coordination service: a replicated tree with sessions, watches and linearizable compare-and-set."""


def main() -> None:
    """The ``coord`` command."""
    build(sys.argv[1] if len(sys.argv) > 1 else "")()
