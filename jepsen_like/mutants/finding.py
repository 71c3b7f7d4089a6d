"""Runs one finder against the tree it is started in: ``python -m coord.jepsen_like.mutants.finding TREE SECONDS …``.

A process of its own, as the modules of one tree must not meet those of another. It says on one line of JSON what came
of it, and the kernel ends it when it has used so many seconds of a processor.
"""

import contextlib
import gc
import io
import json
import resource
import sys
import time
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import coord
from coord.jepsen_like.mutants.mutant import Finder, finder_of


@dataclass(slots=True)
class Finding:
    """``what`` is empty when nothing was found."""

    what: str = ""
    seed: int | None = None
    tried: int = 0
    """Seeds."""
    cpu_s: float = 0.0
    out_of_time: bool = False
    tree: str = ""
    """From where coord was imported: the proof that it was the right one."""


def find(finder: Finder) -> Finding:
    if finder.kind == "sim":
        return _simulate(finder)
    if finder.kind == "scope":
        return _explore(finder.target)
    return _test(finder.target)


def _simulate(finder: Finder) -> Finding:
    from coord.jepsen_like.sim.run import simulate
    from coord.jepsen_like.sim.world import draw, override

    gc.disable()
    seeds = count(finder.first) if finder.last is None else range(finder.first, finder.last + 1)
    tried = 0
    for seed in seeds:
        verdict = simulate(seed, override(draw(seed), dict(finder.settings)))
        tried += 1
        if not verdict.ok:
            return Finding(str(verdict.violations[0]), seed, tried)
        del verdict
        gc.collect()
    return Finding(tried=tried)


def _explore(name: str) -> Finding:
    from coord.jepsen_like.scope.running import explore
    from coord.jepsen_like.scope.scopes import SCOPES

    verdict = explore(SCOPES[name]).verdict
    if verdict.promise:
        return Finding(f"{verdict.promise}: {verdict.what}")
    return Finding("" if verdict.complete else "the scope is no longer complete")


def _test(name: str) -> Finding:
    import pytest

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        ended = pytest.main([name, "-x", "-p", "no:cacheprovider", "--no-header", "--tb=line"])
    if ended == pytest.ExitCode.OK:
        return Finding()
    if ended != pytest.ExitCode.TESTS_FAILED:
        raise RuntimeError(f"pytest could not run {name} ({ended!r}):\n{said.getvalue()}")
    lines = [line for line in said.getvalue().splitlines() if line.startswith(("FAILED", "ERROR", "E "))]
    return Finding(lines[-1] if lines else f"{name} fails")


def main() -> None:
    tree, seconds, text = sys.argv[1:]
    # An editable install elsewhere would be imported just as readily, and no mutant would ever be found, or each.
    imported = str(Path(coord.__file__).resolve().parents[1])
    if imported != str(Path(tree).resolve()):
        raise SystemExit(
            f"coord was imported from {imported}, not from {tree}: nothing that is found would count"
        )
    limit = int(float(seconds)) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
    finding = find(finder_of(text))
    finding.cpu_s, finding.tree = round(time.process_time(), 1), imported
    print(json.dumps(asdict(finding)), flush=True)


if __name__ == "__main__":
    main()
