"""``python -m coord.jepsen_like scope``: explore the named scopes."""

import json
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from typing import Annotated, Any

import typer

from coord.jepsen_like.scope.running import explore
from coord.jepsen_like.scope.scopes import LARGE_LIMIT, LARGE_SCOPES, SCOPES


def scope(
    name: Annotated[list[str] | None, typer.Option(help="Only these; may be repeated.")] = None,
    limit: Annotated[
        int | None, typer.Option(help="Give a scope up after this many states; large ones, after 2 million.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
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
    if large and limit is None:
        limit = LARGE_LIMIT
    failed = False
    with ProcessPoolExecutor(jobs) as pool:
        for facts, told in pool.map(_explore, name or known, repeat(limit), repeat(large)):
            # Of a large scope nobody claims that it is complete.
            failed = failed or bool(facts["promise"]) or not (facts["complete"] or large)
            typer.echo(json.dumps(facts) if as_json else told)
    if failed:
        raise typer.Exit(1)


def _explore(name: str, limit: int | None, large: bool) -> tuple[dict[str, Any], str]:
    """What was found, for programs and for people."""
    explored = explore((LARGE_SCOPES if large else SCOPES)[name], limit)
    return explored.facts(), "\n".join([explored.summary(), *explored.lines])


app = typer.Typer()
app.command()(scope)

if __name__ == "__main__":
    app()
