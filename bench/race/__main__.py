"""``make bench``: coord, ZooKeeper and etcd in turn, in several rounds, so that the machine's moods hit all alike.

Writes ``--out`` (JSON, all figures of all rounds) as it goes, and at the end, after Ctrl-C too, the page
``docs/PERFORMANCE.md`` with its pictures.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from race.clusters import CLUSTERS, MEMBERS, Cluster, Coord, Unmet
from race.loads import Figures, Work, can, figures, paced, run, start
from race.report import write_report
from race.sessions import allow_files, many_sessions
from race.works import (
    FAILOVER,
    FIRST,
    HALF_LOAD_S,
    HANDOFFS,
    KILL_AFTER_S,
    MILLION,
    QUICK_HALF_LOAD_S,
    QUICK_MILLION,
    QUICK_SESSIONS,
    REST,
    SESSIONS,
    WARM_UP,
    WATCHES,
)

HERE = Path(__file__).resolve().parent


MISSING = "what is missing below"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


Part = tuple[str, Callable[[Cluster], None]]
"""What it is called, and what is done with a cluster."""


class Race:
    """The figures so far: ``results[work][system]`` is a list with one row for each round."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.build: Path = arguments.folder / "build"
        self.results: dict[str, dict[str, list[dict[str, float]]]] = {}
        self.systems: dict[str, dict[str, str]] = {}
        self.skipped: dict[str, str] = {}
        self.absent: set[str] = set()
        self.until: float = time.monotonic() + arguments.minutes * 60

    def note(self, title: str, cluster: Cluster, row: dict[str, float]) -> None:
        self.results.setdefault(title, {}).setdefault(cluster.name, []).append(row)
        shown = ", ".join(f"{name} {value:,.1f}" for name, value in row.items() if value)
        say(f"  {cluster.name:9}  {title:28}  {shown}")
        self.save()

    def save(self) -> None:
        facts: dict[str, Any] = {"machine": machine(), "systems": self.systems, "skipped": self.skipped}
        facts |= {"rounds": self.arguments.rounds, "seconds": self.arguments.seconds, "results": self.results}
        aside = self.arguments.out.with_suffix(".new")
        aside.write_text(json.dumps(facts, indent=1, ensure_ascii=False))
        aside.replace(self.arguments.out)

    def wanted(self, title: str) -> bool:
        return not self.arguments.only or any(part in title for part in self.arguments.only)

    def run(self) -> None:
        """Round by round, part by part, each system in turn; a fresh cluster for each part."""
        for number in range(1, self.arguments.rounds + 1):
            say(f"round {number} of {self.arguments.rounds}")
            for part in self.parts(first=number == 1):
                for name in self.arguments.systems.split(","):
                    if name not in self.absent and not self.is_late():
                        self.part(part, name)
        if self.is_late():
            self.skipped[MISSING] = f"the run was limited to {self.arguments.minutes:g} minutes"

    def parts(self, first: bool) -> list[Part]:
        """What is told first comes first; what takes long only in the first round."""
        found = [self.works((*FIRST, *WATCHES, *HANDOFFS)), ("failover", self.failover)]
        if first:
            found += [("million", self.million), ("sessions", self.sessions)]
        found.append(self.works(REST))
        return [(title, body) for title, body in found if title and self.wanted(title)]

    def works(self, works: Iterable[Work]) -> Part:
        wanted = [work for work in works if self.wanted(work.title)]

        def body(cluster: Cluster) -> None:
            self.warm_up(cluster)
            for work in wanted:
                if can(cluster, work) and not self.is_late():
                    self.measure(cluster, work)

        return ", ".join(work.title for work in wanted), body

    def part(self, part: Part, name: str) -> None:
        title, body = part
        began = time.monotonic()
        try:
            cluster = CLUSTERS[name](self.arguments.folder)
        except Unmet as error:
            say(f"  {name} is left out: {error}")
            self.skipped[name] = str(error)
            self.absent.add(name)
            return
        try:
            with cluster:
                self.systems[name] = {"version": cluster.version(), "durability": cluster.durability}
                body(cluster)
        except Unmet as error:
            say(f"  {error}")
            self.skipped[f"{name}: {title}"] = str(error)
        say(f"  {name:9}  {time.monotonic() - began:.0f} s")

    def is_late(self) -> bool:
        return time.monotonic() > self.until

    def warm_up(self, cluster: Cluster) -> None:
        """Each system alike. Members of ZooKeeper are compiled as they run, and a young follower may stand still for
        some seconds: one request at a time found nobody who answered."""
        run(cluster, replace(WARM_UP, seconds=min(self.arguments.seconds, WARM_UP.seconds)), self.build)

    def measure(self, cluster: Cluster, work: Work) -> None:
        timed = replace(work, seconds=self.arguments.seconds)
        try:
            self.note(work.title, cluster, run(cluster, timed, self.build).as_dict())
        except Unmet as error:
            say(f"  {error}")
            self.skipped[f"{cluster.name}: {work.title}"] = str(error)

    def failover(self, cluster: Cluster) -> None:
        self.note("failover", cluster, {"longest_gap_ms": failover(cluster, self.build).longest_gap_ms})

    def sessions(self, cluster: Cluster) -> None:
        count = QUICK_SESSIONS if self.arguments.quick else SESSIONS
        allow_files(count)
        self.note("sessions", cluster, many_sessions(cluster, count, self.arguments.seconds, self.build))

    def million(self, cluster: Cluster) -> None:
        """Load it, look at the memory, load it further, kill a follower and see how long it takes to serve again."""
        before = cluster.resident_mb()
        loaded = run(cluster, QUICK_MILLION if self.arguments.quick else MILLION, self.build)
        row = {"creates_per_second": loaded.rate_per_second, "p999_ms": loaded.p999_ms}
        row |= {"resident_mb": sum(cluster.resident_mb()) / MEMBERS, "empty_mb": sum(before) / MEMBERS}
        try:
            sets = run(cluster, Work("set", seconds=self.arguments.seconds), self.build)
            row["sets_per_second"] = sets.rate_per_second
            if isinstance(cluster, Coord):  # only its load can be paced
                seconds = QUICK_HALF_LOAD_S if self.arguments.quick else HALF_LOAD_S
                half = paced(cluster, sets.rate_per_second / 2, seconds)
                row |= {"half_load_p99_ms": half.p99_ms, "half_load_p999_ms": half.p999_ms}
                row |= {"half_load_per_second": half.rate_per_second, "half_load_max_ms": half.longest_gap_ms}
            follower = cluster.follower()
            cluster.kill(follower)
            row["restart_s"] = cluster.restart(follower)
            row["resident_after_mb"] = cluster.resident_mb()[follower]
        finally:  # the loading took minutes: what is known by now is told
            self.note("million", cluster, row)


def failover(cluster: Cluster, build: Path) -> Figures:
    """Kill the leader while clients write; what they saw of it."""
    command = start(cluster, FAILOVER, build)
    environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
    load = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    leader = cluster.leader()
    timer = threading.Timer(KILL_AFTER_S, cluster.kill, [leader])
    timer.start()
    try:
        out, err = load.communicate(timeout=90)
    finally:
        load.kill()
        timer.join()
    lines = out.strip().splitlines()
    if not lines:
        raise Unmet(f"{cluster.name}: the load did not survive the leader: {err.strip()[-300:]}")
    return figures(json.loads(lines[-1]))


def machine() -> dict[str, str]:
    cpu = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = Path("/proc/meminfo").read_text().split()[1]
    return {
        "cpu": f"{os.cpu_count()} x {cpu}",
        "memory": f"{int(memory) / 1e6:.0f} GB",
        "system": f"{platform.system()} {platform.release()}",
        "date": time.strftime("%Y-%m-%d"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m race", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each work")
    parser.add_argument(
        "--systems", default="coord,zookeeper,etcd", help="in this order, with commas between"
    )
    parser.add_argument(
        "--only",
        action="append",
        help="works whose title has this in it; may be repeated. Also: failover, million, sessions",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=math.inf,
        help="after so many nothing new is begun, and the page is written",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a million is 20 000, and 10 000 sessions are 500: to see that everything runs",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=HERE.parent / "race-data",
        help="the clusters' data: on the disk to be measured",
    )
    parser.add_argument("--out", type=Path, default=HERE.parent / "race.json")
    parser.add_argument("--page", type=Path, default=HERE.parent.parent / "docs/PERFORMANCE.md")
    parser.add_argument("--report-only", action="store_true", help="write the page again from --out")
    arguments = parser.parse_args()
    arguments.folder = arguments.folder.absolute()
    if not arguments.report_only:
        unknown = [name for name in arguments.systems.split(",") if name not in CLUSTERS]
        if unknown:
            parser.error(f"no system {unknown[0]!r}; there are {', '.join(CLUSTERS)}")
        race = Race(arguments)
        try:
            race.run()
        except KeyboardInterrupt:
            say("interrupted: the page tells what there is")
            race.skipped[MISSING] = "the run was interrupted"
        race.save()
    write_report(json.loads(arguments.out.read_text()), arguments.page)
    say(f"written: {arguments.page}")


if __name__ == "__main__":
    main()
