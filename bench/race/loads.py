"""Drive each system with the quickest load there is for it: the same work, and one form of figures.

coord: ``coord bench``, frames written by hand. ZooKeeper: the asynchronous calls of its Java client
(``peers/Load.java``). etcd: its Go client (``peers/load.go``). Watches, and a load that must survive the loss of a
member, go through ``fanout.py`` and ``steady.py`` for coord.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from race.clusters import Cluster, Coord, Unmet, ZooKeeper

HERE = Path(__file__).resolve().parent
GO_PATH = "/usr/share/gocode"
"""Where Debian has the sources of etcd's client."""
SLACK_S = 180.0


@dataclass(frozen=True)
class Work:
    """What to ask for. ``count``: so many requests, however long it takes (0: ``seconds``)."""

    op: str
    connections: int = 8
    in_flight: int = 64
    value_bytes: int = 100
    read: str = "linearizable"
    seconds: float = 4.0
    count: int = 0
    failover: bool = False

    @property
    def title(self) -> str:
        read = f" ({self.read})" if self.op == "get" else ""
        size = "" if self.value_bytes == 100 else f", {self.value_bytes} B"
        return f"{self.op}{read} {self.connections}x{self.in_flight}{size}"


@dataclass(frozen=True)
class Figures:
    """What came of it. Latencies in milliseconds."""

    rate_per_second: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    done: int
    errors: int
    longest_gap_ms: float = 0.0

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def can(cluster: Cluster, work: Work) -> bool:
    """Whether the system has this work: only coord reads at least a revision, and ZooKeeper not linearizably."""
    if work.op != "get" or isinstance(cluster, Coord):
        return True
    return work.read == "local" if isinstance(cluster, ZooKeeper) else work.read in ("local", "linearizable")


def run(cluster: Cluster, work: Work, build: Path) -> Figures:
    """Load ``cluster``; programs that must be compiled first are put into ``build``."""
    command = start(cluster, work, build)
    environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
    limit = SLACK_S + work.seconds * 2 + work.count / 500
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=limit, env=environment, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Unmet(f"{cluster.name}: {work.title} did not end within {limit:.0f} s") from error
    lines = ended.stdout.strip().splitlines()
    if not lines or not lines[-1].startswith("{"):
        raise Unmet(f"{cluster.name}: {work.title} failed: {(ended.stderr or ended.stdout).strip()[-400:]}")
    return figures(json.loads(lines[-1]))


def figures(row: dict[str, object]) -> Figures:
    errors = row["errors"]
    return Figures(
        **{name: float(str(row[name] or 0)) for name in ("rate_per_second", "p50_ms", "p99_ms", "p999_ms")},
        done=int(str(row["done"])),
        errors=sum(errors.values()) if isinstance(errors, dict) else int(str(errors)),
        longest_gap_ms=float(str(row.get("longest_gap_ms", 0))),
    )


def start(cluster: Cluster, work: Work, build: Path) -> list[str]:
    """The command of a load."""
    endpoints = ",".join(cluster.endpoints)
    if isinstance(cluster, Coord):
        shape = ["--connections", str(work.connections), "--in-flight", str(work.in_flight)]
        shape += [
            "--seconds",
            str(work.seconds),
            "--value-bytes",
            str(work.value_bytes),
            "--endpoints",
            endpoints,
        ]
        if work.op.startswith("watch"):
            return [sys.executable, "-m", "race.fanout", work.op, *shape]
        if work.failover:
            return [sys.executable, "-m", "race.steady", *shape]
        count = ["--count", str(work.count)] if work.count else []
        return [
            sys.executable,
            "-m",
            "coord",
            "bench",
            work.op,
            *shape,
            *count,
            "--read",
            work.read,
            "--json",
        ]
    op = (
        "get-local"
        if work.op == "get" and work.read == "local" and not isinstance(cluster, ZooKeeper)
        else work.op
    )
    numbers = (
        work.connections,
        work.in_flight,
        work.seconds,
        work.value_bytes,
        work.count,
        int(work.failover),
    )
    arguments = [endpoints, op, *map(str, numbers)]
    if isinstance(cluster, ZooKeeper):
        return [*_java(build), *arguments]
    return [_go(build), *arguments]


def _java(build: Path) -> list[str]:
    source, made = HERE / "peers/Load.java", build / "Load.class"
    classpath = ZooKeeper.classpath()
    if not made.exists() or made.stat().st_mtime < source.stat().st_mtime:
        if shutil.which("javac") is None:
            raise Unmet("no javac here (Debian: default-jdk-headless)")
        build.mkdir(parents=True, exist_ok=True)
        subprocess.run(["javac", "-cp", classpath, "-d", str(build), str(source)], check=True)
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=off"
    return ["java", quiet, "-cp", f"{classpath}:{build}", "Load"]


def _go(build: Path) -> str:
    source, made = HERE / "peers/load.go", build / "load"
    if not made.exists() or made.stat().st_mtime < source.stat().st_mtime:
        if shutil.which("go") is None:
            raise Unmet("no Go here (Debian: golang-go, golang-etcd-server-dev)")
        folder = build / "go"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder / "main.go")
        environment = os.environ | {"GO111MODULE": "off", "GOPATH": GO_PATH, "GOFLAGS": ""}
        subprocess.run(["go", "build", "-o", str(made), "."], cwd=folder, env=environment, check=True)
    return str(made)
