"""``python -m coord.jepsen_like sim``: many seeds with totals, or one with its trace hash."""

import json
import time
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Final

import typer

from coord.jepsen_like.history import dump
from coord.jepsen_like.sim.batch import Outcome, Totals, run_many
from coord.jepsen_like.sim.kinds import RECIPES_FROM
from coord.jepsen_like.sim.marks import missing
from coord.jepsen_like.sim.run import Verdict, simulate
from coord.jepsen_like.sim.shrink import shrink
from coord.jepsen_like.sim.totals import add_to_totals, read_totals, version
from coord.jepsen_like.sim.world import World, differences, draw, override

PROGRESS_S: Final = 10.0
SHRINK_TRIES: Final = 60


def sim(
    seeds: Annotated[int | None, typer.Option(min=1, help="How many seeds.")] = None,
    first: Annotated[int, typer.Option("--from", help="The first of them.")] = RECIPES_FROM,
    seed: Annotated[
        int | None, typer.Option(help="Just this one, with its verdict and its trace hash.")
    ] = None,
    minutes: Annotated[
        float, typer.Option(min=0, help="End after so long; without --seeds: go on for so long.")
    ] = 0.0,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value: something of the world otherwise than drawn."),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Not the world that the seed draws, but the default one.")
    ] = False,
    history: Annotated[Path | None, typer.Option(help="With --seed: write the history to this file.")] = None,
    trace: Annotated[
        Path | None, typer.Option(help="With --seed: write the trace to this file, to be read.")
    ] = None,
    shrinking: Annotated[bool, typer.Option("--shrink", help="With --seed: make what fails small.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    totals: Annotated[
        Path | None, typer.Option(help="Without --seed: add up what was simulated in this JSON file.")
    ] = None,
) -> None:
    """Simulate clusters under faults. Ends with 1 if a promise was broken."""
    changes = _settings(settings or [])
    if seed is not None:
        world = override(World() if plain else draw(seed), changes)
        ok = _one(seed, world, replay_line(seed, changes, plain), history, trace, shrinking, as_json)
    else:
        numbers: Iterable[int] = range(first, first + seeds) if seeds else count(first)
        if not seeds and not minutes:
            numbers = range(first, first + 100)
        end_s = time.monotonic() + minutes * 60 if minutes else float("inf")
        ok = _many(numbers, changes, jobs, end_s, as_json, _readable(totals))
    raise typer.Exit(0 if ok else 1)


def replay_line(seed: int, changes: dict[str, str], plain: bool = False) -> str:
    """What replays ``seed``, on any machine with this version."""
    sets = "".join(f" --set {quote(f'{name}={value}')}" for name, value in changes.items())
    return f"python -m coord.jepsen_like sim --seed {seed}{' --plain' if plain else ''}{sets}"


def _settings(texts: list[str]) -> dict[str, str]:
    changes = dict(text.partition("=")[::2] for text in texts)
    try:
        override(World(), changes)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--set") from error
    return changes


def _readable(file: Path | None) -> Path | None:
    """``file``, once it is known that totals can be added to it: now, rather than after an hour of work."""
    try:
        if file is not None:
            read_totals(file)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error), param_hint="--totals") from error
    return file


def _many(
    numbers: Iterable[int],
    changes: dict[str, str],
    jobs: int,
    end_s: float,
    as_json: bool,
    file: Path | None,
) -> bool:
    totals = Totals()
    told_s = time.monotonic()
    try:
        for outcome in run_many(numbers, changes, jobs, end_s):
            totals.add(outcome)
            if not outcome.ok:
                _tell_failure(outcome, changes)
            if time.monotonic() - told_s >= PROGRESS_S:
                told_s = time.monotonic()
                typer.echo(_summary(totals), err=True)
    finally:  # also of a run that somebody ends by hand
        if file is not None and totals.seeds:
            add_to_totals(file, totals, version(), lambda outcome: replay_line(outcome.seed, changes))
    if as_json:
        typer.echo(json.dumps(totals.row()))
    else:
        typer.echo(_summary(totals))
        typer.echo("reached: " + ", ".join(f"{name} {n}" for name, n in sorted(totals.marks.items())))
        unreached = missing(totals.marks)
        if unreached:
            typer.echo("not reached: " + ", ".join(unreached))
    return not totals.failed


def _tell_failure(outcome: Outcome, changes: dict[str, str]) -> None:
    for violation in outcome.violations[:3]:
        typer.echo(f"seed {outcome.seed}: {violation}", err=True)
    typer.echo(f"    {replay_line(outcome.seed, changes)}", err=True)


def _summary(totals: Totals) -> str:
    row = totals.row()
    return (
        f"{row['seeds']} seeds, {row['simulated_hours']} simulated hours ({row['speed']} for one of the processor), "
        f"{row['faults']} faults ({row['faults_per_simulated_hour']:.0f} an hour), "
        f"{row['operations']} operations checked ({row['operations_per_simulated_second']} a second), "
        f"{len(totals.failed)} failed"
    )


def _one(
    seed: int,
    world: World,
    replay: str,
    history: Path | None,
    trace: Path | None,
    shrinking: bool,
    as_json: bool,
) -> bool:
    if trace is None:
        verdict = simulate(seed, world)
    else:
        with trace.open("w", encoding="utf-8") as file:
            verdict = simulate(seed, world, tell=lambda line: print(line, file=file))
    if history is not None:
        with history.open("w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in dump(verdict.history))
    if as_json:
        typer.echo(json.dumps(_row(verdict, replay)))
        return verdict.ok
    typer.echo(f"world: {world}")
    faults = ", ".join(f"{name} {n}" for name, n in verdict.faults.items())
    typer.echo(f"faults: {faults or 'none'}")
    typer.echo(f"{verdict.simulated_ms / 1000:.1f} simulated seconds, {verdict.operations} operations")
    for violation in verdict.violations:
        typer.echo(f"broken: {violation}")
    if not verdict.ok and shrinking:
        _shrink(seed, world)
    typer.echo("verdict: " + ("ok" if verdict.ok else "BROKEN; " + replay))
    typer.echo(f"trace: {verdict.trace_hash}")
    return verdict.ok


def _row(verdict: Verdict, replay: str) -> dict[str, Any]:
    return {
        "seed": verdict.seed,
        "ok": verdict.ok,
        "violations": [str(each) for each in verdict.violations],
        "trace": verdict.trace_hash,
        "simulated_ms": verdict.simulated_ms,
        "operations": verdict.operations,
        "faults": verdict.faults,
        "marks": verdict.marks,
        "world": {name: repr(value) for name, value in differences(verdict.world).items()},
        "replay": replay,
    }


def _shrink(seed: int, world: World) -> None:
    shrunk = shrink(seed, world, SHRINK_TRIES, lambda text: typer.echo(f"  {text}", err=True))
    if shrunk is not None:
        changes = {name: repr(value) for name, value in differences(shrunk.world).items()}
        typer.echo(f"shrunk: {replay_line(seed, changes, plain=True)}")
        for violation in shrunk.verdict.violations[:3]:
            typer.echo(f"broken: {violation}")
