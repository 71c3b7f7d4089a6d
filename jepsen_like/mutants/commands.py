"""``python -m coord.jepsen_like mutants``: the table of seeded bugs, and who finds each."""

import json
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Annotated, Final

import typer

from coord.jepsen_like.mutants.hunt import FinderFailed, Hunt, Hunted
from coord.jepsen_like.mutants.mutant import FRESH_FROM, Malformed, Mutant, all_mutants, record_finder
from coord.jepsen_like.mutants.tree import ROOT, DoesNotApply, apply_patch

_NAME_WIDTH: Final = 46


def mutants(
    names: Annotated[list[str] | None, typer.Argument(help="Only those whose names begin so.")] = None,
    sample: Annotated[int, typer.Option(min=0, help="So many of them, drawn; 0: all.")] = 0,
    seed: Annotated[int, typer.Option(help="Of that draw.")] = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only those that a test or a first seed finds in seconds.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    minutes_each: Annotated[
        float, typer.Option(min=0.01, help="Of one processor; then it has survived.")
    ] = 5.0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Search: pass over the recorded seeds.")] = False,
    fresh_from: Annotated[int, typer.Option(help="The first of the seeds to be searched.")] = FRESH_FROM,
    record: Annotated[bool, typer.Option("--record", help="Write what found each into its patch.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Plant each seeded bug in a copy of the tree, and see it found. Ends with 1 if one survives.

    Ends with 2 when a patch is malformed, or does not apply any more.
    """
    try:
        chosen = all_mutants(names or ())
        if quick:
            chosen = [each for each in chosen if each.finder.is_quick]
        if sample and sample < len(chosen):
            chosen = sorted(Random(seed).sample(chosen, sample), key=lambda mutant: mutant.name)
        for each in chosen:
            apply_patch(each.path, ROOT, only_check=True)
    except KeyError as error:
        raise typer.BadParameter(f"no mutant's name begins with {error}", param_hint="NAMES") from None
    except (Malformed, DoesNotApply) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    survivors, found_s = [], []
    try:
        for hunted in _hunt_all(chosen, jobs, minutes_each * 60, fresh, fresh_from):
            typer.echo(json.dumps(hunted.row()) if as_json else _line(hunted))
            if hunted.finder is None:
                survivors.append(hunted.mutant.name)
                continue
            found_s.append(hunted.cpu_s)
            if record and hunted.finder != hunted.mutant.finder:
                record_finder(hunted.mutant, hunted.finder)
    except FinderFailed as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    if not as_json:
        middle = sorted(found_s)[len(found_s) // 2] if found_s else 0.0
        typer.echo(
            f"{len(found_s)} of {len(chosen)} found, half of them within {middle:.1f} s of one processor"
        )
        if survivors:
            typer.echo(f"survived: {', '.join(survivors)}")
    raise typer.Exit(1 if survivors else 0)


def _hunt_all(
    chosen: list[Mutant], jobs: int, limit_s: float, fresh: bool, fresh_from: int
) -> Iterator[Hunted]:
    """In the order of their names, each as soon as it and those before it are done."""
    with tempfile.TemporaryDirectory(prefix="coord-mutants-") as scratch, ThreadPoolExecutor(jobs) as pool:
        hunt = Hunt(ROOT, Path(scratch), limit_s)
        running = [pool.submit(hunt.hunt, mutant, fresh=fresh, fresh_from=fresh_from) for mutant in chosen]
        try:
            for each in running:
                yield each.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _line(hunted: Hunted) -> str:
    name = hunted.mutant.name.ljust(_NAME_WIDTH)
    if hunted.finder is None:
        void = f" (found, and in the clean tree too: {hunted.void[0]})" if hunted.void else ""
        return f"{name} {hunted.cpu_s:6.1f} s  SURVIVED{void}"
    return f"{name} {hunted.cpu_s:6.1f} s  {str(hunted.finder).ljust(28)} {hunted.what[:90]}"
