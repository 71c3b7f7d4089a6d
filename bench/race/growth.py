"""``python -m race.growth``: what becomes of coord's rates as the work grows, one thing at a time.

Nothing is to get worse than it has to: by logarithms, where something is sorted, and not by scans. Writes the figures
(``--out``, JSON) and a picture, ``docs/performance/growth.svg``.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from race.clusters import Cluster, Coord, Unmet
from race.loads import Work, run

HERE = Path(__file__).resolve().parent

IN_FLIGHT = (1, 4, 16, 64, 256)
VALUE_BYTES = (0, 100, 1_000, 4_000, 16_000, 64_000)
ZNODES = (1_000, 10_000, 100_000, 1_000_000)
WATCHES = (1, 100, 1_000, 10_000)
SESSIONS = (10, 100, 1_000, 10_000)

Points = dict[str, dict[str, list[tuple[float, float]]]]
"""What grows -> work -> (how large, rate a second)."""


@contextmanager
def held(cluster: Cluster, connections: int, watches: int) -> Iterator[None]:
    """So many idle sessions, each with so many idle watches."""
    endpoints = ",".join(cluster.endpoints)
    shape = ["--connections", str(connections), "--in-flight", str(watches), "--endpoints", endpoints]
    holder = subprocess.Popen(
        [sys.executable, "-m", "race.holding", *shape],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(HERE.parent)},
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    if holder.stdout.readline() != b"held\n":
        raise Unmet(f"{connections} sessions with {watches} watches each could not be opened")
    try:
        yield
    finally:
        holder.stdin.close()
        holder.wait()


def measure(folder: Path, seconds: float, znodes_max: int) -> Points:
    points: Points = {}
    build = folder / "build"

    def note(what: str, size: float, cluster: Cluster, *works: Work) -> None:
        for work in works:
            rate = run(cluster, work, build).rate_per_second
            points.setdefault(what, {}).setdefault(work.op, []).append((size, rate))
            print(f"  {what} {size:,.0f}: {work.title} {rate:,.0f}/s", file=sys.stderr, flush=True)

    both = [Work("set", seconds=seconds), Work("get", seconds=seconds)]
    with Coord(folder) as cluster:
        for in_flight in IN_FLIGHT:
            works = [Work(op, 8, in_flight, seconds=seconds) for op in ("set", "get")]
            note("requests in flight", 8 * in_flight, cluster, *works)
        for value_bytes in VALUE_BYTES:
            works = [Work(op, 8, 64, value_bytes, seconds=seconds) for op in ("set", "get")]
            note("bytes of a value", max(value_bytes, 1), cluster, *works)
    with Coord(folder) as cluster:
        for watches in WATCHES:
            with held(cluster, min(watches, 100), max(watches // 100, 1)):
                note("idle watches", watches, cluster, *both)
        for sessions in SESSIONS:
            with held(cluster, sessions, 0):
                note("idle sessions", sessions, cluster, *both)
    with Coord(folder) as cluster:
        there = 0
        for znodes in [each for each in ZNODES if each <= znodes_max]:
            run(cluster, Work("create", count=znodes - there), build)
            there = znodes
            note("znodes", znodes, cluster, *both, Work("create", seconds=1.0))
    return points


def draw(points: Points, picture: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "coord"
    from matplotlib import pyplot

    figure, many = pyplot.subplots(1, len(points), figsize=(3.2 * len(points), 3.2), sharey=True)
    for axes, (what, works) in zip(many, points.items(), strict=True):
        for work, line in works.items():
            axes.plot([size for size, _ in line], [rate for _, rate in line], marker="o", label=work)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(what)
        axes.grid(alpha=0.3)
    many[0].set_ylabel("requests a second")
    many[0].legend(frameon=False)
    figure.tight_layout()
    picture.parent.mkdir(exist_ok=True)
    figure.savefig(picture, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m race.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="of each work")
    parser.add_argument("--znodes", type=int, default=ZNODES[-1], help="at most")
    parser.add_argument("--folder", type=Path, default=HERE.parent / "race-data")
    parser.add_argument("--out", type=Path, default=HERE.parent / "growth.json")
    parser.add_argument("--picture", type=Path, default=HERE.parent.parent / "docs/performance/growth.svg")
    arguments = parser.parse_args()
    points = measure(arguments.folder.absolute(), arguments.seconds, arguments.znodes)
    arguments.out.write_text(json.dumps(points, indent=1))
    draw(points, arguments.picture)


if __name__ == "__main__":
    main()
