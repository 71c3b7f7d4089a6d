"""``coord torture``: a workload with faults against a throw-away cluster, judged; see ``jepsen_like/live``."""

import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coord.cli.exits import FAILED, INTERRUPTED, UNAVAILABLE, USAGE
from coord.cli.options import JsonOption

if TYPE_CHECKING:
    from coord.jepsen_like.live.report import Report

VIOLATIONS_SHOWN = 10


def torture(
    workload: Annotated[
        str, typer.Option(help="What clients do: a name (see --list), or MODULE:NAME of your own.")
    ] = "mixed",
    nemesis: Annotated[
        str | None,
        typer.Option(
            help="Faults: names or families with commas, all, none.", show_default="kill,pause,partition"
        ),
    ] = None,
    members: Annotated[int, typer.Option(min=1, max=9)] = 3,
    seconds: Annotated[float, typer.Option(min=1, max=7 * 86_400, help="Of faults.")] = 60.0,
    rate: Annotated[float, typer.Option(min=0.1, help="Requests a second, of all clients together.")] = 200.0,
    clients: Annotated[int, typer.Option(min=1, max=1_000)] = 6,
    seed: Annotated[
        int | None, typer.Option(help="Draws clients and faults.", show_default="a new one")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Gets history, timeline, report.", show_default="./coord-torture/WORKLOAD-SEED"),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="A running cluster instead, HOST:PORT,…: the workload below a path of its own, no faults."
        ),
    ] = None,
    consent: Annotated[
        bool, typer.Option("--i-know-this-writes-to-my-cluster", help="Without it --cluster is refused.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="List workloads and nemeses, and end.")] = False,
    keep_data: Annotated[bool, typer.Option("--keep-data", help="Keep the members' folders.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Torture a throw-away cluster on this machine, and judge what its clients were told."""
    # Here, not above: it is much to import, and the other commands answer without it.
    from coord.jepsen_like.live.cluster import NotUp
    from coord.jepsen_like.live.run import torture as run
    from coord.jepsen_like.live.settings import DEFAULT_NEMESES, Settings

    if list_:
        _list()
        return
    if cluster and not consent:
        _fail("--cluster writes to a running cluster; say --i-know-this-writes-to-my-cluster, too", USAGE)
    wanted = (() if cluster else DEFAULT_NEMESES) if nemesis is None else _names(nemesis)
    if seed is None:
        seed = random.SystemRandom().randrange(1_000_000)
    settings = Settings(
        workload=workload,
        nemeses=wanted,
        members=members,
        seconds=seconds,
        rate=rate,
        clients=clients,
        seed=seed,
        out=out or Path("coord-torture") / f"{workload.replace(':', '-')}-{seed}",
        cluster=tuple(_names(cluster or "")),
        keep_data=keep_data,
    )
    typer.echo(f"seed {seed}", err=True)
    try:
        report = run(settings, say=lambda text: typer.echo(text, err=True))
    except ValueError as error:
        _fail(str(error), USAGE)
    except NotUp as error:
        _fail(f"the cluster never came up: {error}", UNAVAILABLE)
    except KeyboardInterrupt:
        _fail(f"interrupted; what was recorded until then is in {settings.out}/history.jsonl", INTERRUPTED)
    if as_json:
        typer.echo(report.to_json())
    else:
        _show(report)
    if not report.ok:
        raise typer.Exit(FAILED)


def _show(report: "Report") -> None:
    total = sum(report.operations.values())
    counts = ", ".join(f"{number} {outcome}" for outcome, number in report.operations.items())
    typer.echo(f"{total} operations ({counts}), {report.terms_count} terms with a leader")
    typer.echo("faults: " + (", ".join(f"{each} {count}" for each, count in report.faults.items()) or "none"))
    for name, reason in report.skipped.items():
        typer.echo(f"skipped: {name}: {reason}")
    recovered = [cost.recovered_ms for cost in report.costs if cost.recovered_ms is not None]
    if recovered:
        typer.echo(
            f"after a fault began something was done again within {max(recovered):.0f} ms; the longest time without an "
            f"acknowledged write: {report.longest_gap_ms:.0f} ms"
        )
    for note in report.notes:
        typer.echo(f"note: {note}")
    if report.ok:
        typer.secho("no promise was broken", fg=typer.colors.GREEN)
    else:
        typer.secho(f"{len(report.violations)} BROKEN PROMISES", fg=typer.colors.RED, bold=True)
    for violation in report.violations[:VIOLATIONS_SHOWN]:
        typer.echo(f"  {violation}")
    if len(report.violations) > VIOLATIONS_SHOWN:
        typer.echo(f"  … and {len(report.violations) - VIOLATIONS_SHOWN} more")
    typer.echo(f"history:  {report.history}\ntimeline: {report.timeline}")
    typer.echo(f"seed {report.settings.seed}; again: {report.settings.command()}")


def _list() -> None:
    from coord.jepsen_like.live.find import LIVE_WORKLOADS
    from coord.jepsen_like.live.nemeses import FAMILIES, NEMESES

    typer.echo("workloads: " + ", ".join(LIVE_WORKLOADS))
    typer.echo("nemeses:")
    for family in FAMILIES:
        typer.echo(f"  {family}")
        for nemesis in NEMESES.values():
            if nemesis.family == family:
                reason = nemesis.possible()
                typer.echo(
                    f"    {nemesis.name:<20} {'possible' if reason is None else f'not here: {reason}'}"
                )


def _names(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip() and each.strip() != "none")


def _fail(text: str, code: int) -> Any:
    print(f"coord torture: {text}", file=sys.stderr)
    raise typer.Exit(code) from None
