"""``python -m race.growth``: what becomes of coord's rates as the work grows, one thing at a time.

Nothing is to get worse than it has to: by logarithms, where something is sorted, and not by scans. Writes the figures
(``--out``, JSON) as it goes, and at the end a picture, ``docs/performance/growth.svg``.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from race.clusters import Cluster, Coord, Unmet
from race.loads import SLACK_S, Work, run
from race.sessions import allow_files, held

HERE = Path(__file__).resolve().parent

IN_FLIGHT = (1, 4, 16, 64, 256)
VALUE_BYTES = (0, 100, 1_000, 4_000, 16_000, 64_000)
ZNODES = (1_000, 10_000, 100_000, 1_000_000)
WATCHES = (1, 100, 1_000, 10_000)
SESSIONS = (10, 100, 1_000, 10_000)
CHILDREN = (100, 1_000, 10_000, 100_000)
SETS = (1_000, 10_000, 100_000, 1_000_000)
SECONDS = ", seconds"
"""The end of a name whose values are no rates."""

Points = dict[str, dict[str, list[tuple[float, float]]]]
"""What grows -> work -> (how large, rate a second)."""


def many_children(cluster: Cluster, count: int, seconds: float) -> dict[str, float]:
    """The rates of creates below a parent that has so many, and of listing pages of them."""
    shape = ["--count", str(count), "--seconds", str(seconds), "--endpoints", ",".join(cluster.endpoints)]
    ended = subprocess.run(
        [sys.executable, "-m", "race.children", *shape],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(HERE.parent)},
        timeout=SLACK_S + count / 500,
        check=False,
    )
    if ended.returncode:
        raise Unmet(f"{count} children of one parent: {ended.stderr.strip()[-300:]}")
    found: dict[str, float] = json.loads(ended.stdout)
    return found


def restart_s(cluster: Cluster) -> float:
    """A follower is killed, and started again: until it serves."""
    follower = cluster.follower()
    cluster.kill(follower)
    return cluster.restart(follower)


class Curves:
    """The points so far, which are saved as they come."""

    def __init__(self, build: Path, out: Path) -> None:
        self.points: Points = {}
        self._build = build
        self._out = out

    def run(self, what: str, size: float, cluster: Cluster, *works: Work) -> None:
        for work in works:
            self.note(what, size, work.op, run(cluster, work, self._build).rate_per_second)

    def note(self, what: str, size: float, curve: str, value: float) -> None:
        self.points.setdefault(what, {}).setdefault(curve, []).append((size, value))
        print(f"  {what} {size:,.0f}: {curve} {value:,.1f}", file=sys.stderr, flush=True)
        self._out.write_text(json.dumps(self.points, indent=1))


def measure(folder: Path, seconds: float, largest: float, out: Path) -> None:
    """``largest``: nothing grows beyond that, so that a short run shows that everything runs."""
    build = folder / "build"
    curves = Curves(build, out)
    both = [Work("set", seconds=seconds), Work("get", seconds=seconds)]

    def upto(sizes: tuple[int, ...]) -> list[int]:
        return [size for size in sizes if size <= largest] or [sizes[0]]

    with Coord(folder) as cluster:
        for in_flight in IN_FLIGHT:
            works = [Work(op, 8, in_flight, seconds=seconds) for op in ("set", "get")]
            curves.run("requests in flight", 8 * in_flight, cluster, *works)
        for value_bytes in upto(VALUE_BYTES):
            works = [Work(op, 8, 64, value_bytes, seconds=seconds) for op in ("set", "get")]
            curves.run("bytes of a value", max(value_bytes, 1), cluster, *works)
    with Coord(folder) as cluster:
        for watches in upto(WATCHES):
            with held(cluster, min(watches, 100), max(watches // 100, 1), build):
                curves.run("idle watches", watches, cluster, *both)
        for sessions in upto(SESSIONS):
            allow_files(sessions)
            with held(cluster, sessions, 0, build):
                curves.run("idle sessions", sessions, cluster, *both)
    with Coord(folder) as cluster:
        for children in upto(CHILDREN):
            for op, rate in many_children(cluster, children, seconds).items():
                curves.note("children of a parent", children, op, rate)
    with Coord(folder) as cluster:
        there = 0
        for znodes in upto(ZNODES):
            run(cluster, Work("create", count=znodes - there), build)
            there = znodes
            curves.run("znodes", znodes, cluster, *both, Work("create", seconds=1.0))
            curves.note(f"znodes{SECONDS}", znodes, "restart", restart_s(cluster))
    with Coord(folder) as cluster:
        there = 0
        for sets in upto(SETS):
            run(cluster, Work("set", count=sets - there), build)
            there = sets
            curves.run("sets so far (log)", sets, cluster, Work("set", seconds=1.0))
            curves.note(f"sets so far (log){SECONDS}", sets, "restart", restart_s(cluster))


def draw(points: Points, picture: Path) -> None:
    """One after the other, in two rows."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "coord"
    from matplotlib import pyplot

    columns = (len(points) + 1) // 2
    figure, grid = pyplot.subplots(2, columns, figsize=(3.2 * columns, 6.4), squeeze=False)
    many = list(grid.flat)
    for axes, (what, works) in zip(many, points.items(), strict=False):
        for work, line in works.items():
            axes.plot([size for size, _ in line], [value for _, value in line], marker="o", label=work)
        axes.set_xscale("log")
        if not what.endswith(SECONDS):
            axes.set_yscale("log")
            axes.set_ylabel("a second")
        axes.set_ylim(bottom=0 if what.endswith(SECONDS) else None)
        axes.set_xlabel(what)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    for axes in many[len(points) :]:
        axes.set_visible(False)
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
    parser.add_argument(
        "--largest", type=float, default=1e6, help="of what grows; 1000: does everything run?"
    )
    parser.add_argument("--folder", type=Path, default=HERE.parent / "race-data")
    parser.add_argument("--out", type=Path, default=HERE.parent / "growth.json")
    parser.add_argument("--picture", type=Path, default=HERE.parent.parent / "docs/performance/growth.svg")
    parser.add_argument("--draw-only", action="store_true", help="draw again what is in --out")
    arguments = parser.parse_args()
    if not arguments.draw_only:
        measure(arguments.folder.absolute(), arguments.seconds, arguments.largest, arguments.out)
    draw(json.loads(arguments.out.read_text()), arguments.picture)


if __name__ == "__main__":
    main()
