"""``python -m coord.jepsen_like live``: the matrix, for ``make torture``."""

from pathlib import Path
from typing import Annotated

import typer

from coord.cli.exits import FAILED, OK, UNAVAILABLE
from coord.jepsen_like.live.cluster import NotUp
from coord.jepsen_like.live.find import LIVE_WORKLOADS
from coord.jepsen_like.live.matrix import matrix
from coord.jepsen_like.live.nemeses import FAMILIES
from coord.jepsen_like.live.settings import Settings


def live(
    workloads: Annotated[str, typer.Option(help="Names, with commas; all: every one.")] = "all",
    nemeses: Annotated[str, typer.Option(help="Names or families, with commas; all: every family.")] = "all",
    seconds: Annotated[float, typer.Option(min=1, help="Of faults, for each pair.")] = 20.0,
    minutes: Annotated[float, typer.Option(min=0, help="Go on for so long; 0: each pair once.")] = 0.0,
    members: Annotated[int, typer.Option(min=1, max=9)] = 3,
    rate: Annotated[float, typer.Option(min=1, help="Requests a second.")] = 200.0,
    clients: Annotated[int, typer.Option(min=1, max=200)] = 6,
    seed: Annotated[int, typer.Option(help="The first; each round takes the next.")] = 1,
    out: Annotated[Path, typer.Option(help="Gets a folder for each run, and totals.json.")] = Path(
        "coord-torture"
    ),
) -> None:
    """Torture real clusters: every workload under every nemesis. Ends with 1 if a promise was broken."""
    chosen = list(LIVE_WORKLOADS) if workloads == "all" else workloads.split(",")
    faults = list(FAMILIES) if nemeses == "all" else nemeses.split(",")
    base = Settings(members=members, seconds=seconds, rate=rate, clients=clients, seed=seed, out=out)
    try:
        cells = matrix(base, chosen, faults, for_s=minutes * 60, say=lambda text: typer.echo(text, err=True))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    except NotUp as error:
        typer.echo(f"the cluster never came up: {error}", err=True)
        raise typer.Exit(UNAVAILABLE) from None
    broken = [cell for cell in cells if not cell.report.ok]
    for cell in broken:
        typer.echo(
            f"{cell.workload} under {cell.nemesis}, seed {cell.seed}: {cell.report.settings.command()}"
        )
        for violation in cell.report.violations[:3]:
            typer.echo(f"  {violation}")
    operations = sum(sum(cell.report.operations.values()) for cell in cells)
    faults_count = sum(sum(cell.report.faults.values()) for cell in cells)
    typer.echo(
        f"{len(cells)} runs, {operations} operations, {faults_count} faults, {len(broken)} with broken promises"
    )
    raise typer.Exit(FAILED if broken else OK)
