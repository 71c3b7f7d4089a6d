"""``python -m coord.jepsen_like scope``: explore the named scopes."""

import json
from typing import Annotated

import typer

from coord.jepsen_like.scope.running import explore
from coord.jepsen_like.scope.scopes import LARGE_SCOPES, SCOPES


def scope(
    name: Annotated[list[str] | None, typer.Option(help="Only these; may be repeated.")] = None,
    limit: Annotated[int | None, typer.Option(help="Give a scope up after this many states.")] = None,
    large: Annotated[bool, typer.Option(help="The larger bounds, for `make torture`.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Try everything that can happen within small bounds, with the real Raft core and replica."""
    known = LARGE_SCOPES if large else SCOPES
    unknown = [each for each in name or () if each not in known]
    if unknown:
        raise typer.BadParameter(
            f"no scope {unknown[0]!r}; there are {', '.join(known)}", param_hint="--name"
        )
    failed = False
    for each in name or known:
        explored = explore(known[each], limit)
        failed = failed or not explored.verdict.ok
        if as_json:
            typer.echo(json.dumps(explored.facts()))
        else:
            typer.echo("\n".join([explored.summary(), *explored.lines]))
    if failed:
        raise typer.Exit(1)


app = typer.Typer()
app.command()(scope)

if __name__ == "__main__":
    app()
