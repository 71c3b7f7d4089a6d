"""``make bench``: coord, ZooKeeper and etcd in turn, in several rounds, so that the machine's moods hit all alike.

Writes ``--out`` (JSON, all figures of all rounds) as it goes, and at the end the page ``docs/PERFORMANCE.md`` with its
pictures.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from race.clusters import CLUSTERS, MEMBERS, Cluster, Unmet
from race.loads import Figures, Work, can, figures, run, start
from race.report import write_report
from race.works import FAILOVER, KILL_AFTER_S, MILLION, QUICK_MILLION, REQUESTS, WATCHES

HERE = Path(__file__).resolve().parent


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Race:
    """The figures so far: ``results[work][system]`` is a list with one row for each round."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.build: Path = arguments.folder / "build"
        self.results: dict[str, dict[str, list[dict[str, float]]]] = {}
        self.systems: dict[str, dict[str, str]] = {}
        self.skipped: dict[str, str] = {}

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

    def round(self, name: str) -> None:
        """One round of one system; a fresh cluster for the requests and watches, for the failover, for the million."""
        folder = self.arguments.folder
        works = [work for work in (*REQUESTS, *WATCHES) if self.wanted(work.title)]
        if works:
            with CLUSTERS[name](folder) as cluster:
                self.systems[name] = {"version": cluster.version(), "durability": cluster.durability}
                for work in works:
                    if can(cluster, work):
                        self.measure(cluster, work)
        if self.wanted("failover"):
            with CLUSTERS[name](folder) as cluster:
                self.note(
                    "failover", cluster, {"longest_gap_ms": failover(cluster, self.build).longest_gap_ms}
                )
        if self.wanted("million") and not self.results.get("million", {}).get(name):
            with CLUSTERS[name](folder) as cluster:
                self.million(cluster)

    def measure(self, cluster: Cluster, work: Work) -> None:
        timed = replace(work, seconds=self.arguments.seconds)
        try:
            self.note(work.title, cluster, run(cluster, timed, self.build).as_dict())
        except Unmet as error:
            say(f"  {error}")
            self.skipped[f"{cluster.name}: {work.title}"] = str(error)

    def million(self, cluster: Cluster) -> None:
        """Load it, look at the memory, kill a follower and see how long it takes to serve again."""
        before = cluster.resident_mb()
        work = QUICK_MILLION if self.arguments.quick else MILLION
        loaded = run(cluster, work, self.build)
        follower = next(number for number in range(MEMBERS) if number != cluster.leader())
        resident = cluster.resident_mb()
        cluster.kill(follower)
        seconds = cluster.restart(follower)
        row = {"creates_per_second": loaded.rate_per_second, "p999_ms": loaded.p999_ms}
        row |= {"resident_mb": sum(resident) / MEMBERS, "empty_mb": sum(before) / MEMBERS}
        row |= {"restart_s": seconds, "resident_after_mb": cluster.resident_mb()[follower]}
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
        help="works whose title has this in it; may be repeated. Also: failover, million",
    )
    parser.add_argument(
        "--quick", action="store_true", help="a million is 20 000: to see that everything runs"
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
        absent: set[str] = set()
        for number in range(1, arguments.rounds + 1):
            say(f"round {number} of {arguments.rounds}")
            for name in arguments.systems.split(","):
                try:
                    if name not in absent:
                        race.round(name)
                except Unmet as error:
                    say(f"  {name} is left out: {error}")
                    race.skipped[name] = str(error)
                    absent.add(name)
        race.save()
    write_report(json.loads(arguments.out.read_text()), arguments.page)
    say(f"written: {arguments.page}")


if __name__ == "__main__":
    main()
