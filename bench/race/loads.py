"""Drive each system with the quickest load there is for it: the same work, and one form of figures.

coord: ``coord bench``, frames written by hand. ZooKeeper: the asynchronous calls of its Java client
(``peers/Load.java``). etcd: its Go client (``peers/load.go``). Watches, and a load that must survive the loss of a
member, go through ``fanout.py`` and ``steady.py`` for coord; hand-overs of a lock through ``handoffs.py``, and those
that a program in Python sees through ``../handovers.py``, by coord's client library and by kazoo.
"""

import importlib.util
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
PYTHON_HANDOFFS = "handoffs-python"
WATCH_BY_HAND = "watch-one-by-hand"
"""ZooKeeper's frames are written by hand, too: what its servers can do, whatever its client can."""


@dataclass(frozen=True)
class Work:
    """What to ask for. ``count``: so many requests, however long it takes (0: ``seconds``). ``at``: the only member
    that is asked, "leader" or "follower"; else connections are spread over all three.
    """

    op: str
    connections: int = 8
    in_flight: int = 64
    value_bytes: int = 100
    read: str = "linearizable"
    seconds: float = 4.0
    count: int = 0
    failover: bool = False
    at: str = ""

    @property
    def title(self) -> str:
        read = f" ({self.read})" if self.op == "get" else ""
        size = "" if self.value_bytes == 100 else f", {self.value_bytes} B"
        at = f", at {'the leader' if self.at == 'leader' else 'a follower'}" if self.at else ""
        return f"{self.op}{read} {self.connections}x{self.in_flight}{size}{at}"


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
    """Whether the system has this work: only coord reads at least a revision, ZooKeeper not linearizably, and etcd has
    no client of its own in Python.
    """
    if work.op in (PYTHON_HANDOFFS, WATCH_BY_HAND):
        return isinstance(cluster, Coord | ZooKeeper)
    if work.op != "get" or isinstance(cluster, Coord):
        return True
    return work.read == "local" if isinstance(cluster, ZooKeeper) else work.read in ("local", "linearizable")


def run(cluster: Cluster, work: Work, build: Path) -> Figures:
    """Load ``cluster``; programs that must be compiled first are put into ``build``."""
    limit = SLACK_S + work.seconds * 2 + work.count / 500
    return _ended(f"{cluster.name}: {work.title}", start(cluster, work, build), limit)


def paced(cluster: Coord, rate: float, seconds: float) -> Figures:
    """Sets at a given rate. ``longest_gap_ms`` is the greatest latency."""
    shape = ["--rate", str(rate), "--seconds", str(seconds), "--endpoints", ",".join(cluster.endpoints)]
    limit = SLACK_S + seconds * 2
    return _ended("coord: sets at half load", [sys.executable, "-m", "race.paced", *shape], limit)


def _ended(what: str, command: list[str], limit_s: float) -> Figures:
    environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=limit_s, env=environment, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Unmet(f"{what} did not end within {limit_s:.0f} s") from error
    lines = ended.stdout.strip().splitlines()
    if not lines or not lines[-1].startswith("{"):
        raise Unmet(f"{what} failed: {(ended.stderr or ended.stdout).strip()[-400:]}")
    found = figures(json.loads(lines[-1]))
    if not found.done:
        raise Unmet(f"{what}: no request was answered while it was looked at, and {found.errors} failed")
    return found


def figures(row: dict[str, object]) -> Figures:
    errors = row["errors"]
    return Figures(
        **{name: float(str(row[name] or 0)) for name in ("rate_per_second", "p50_ms", "p99_ms", "p999_ms")},
        done=int(str(row["done"])),
        errors=sum(errors.values()) if isinstance(errors, dict) else int(str(errors)),
        longest_gap_ms=float(str(row.get("longest_gap_ms", 0))),
    )


def asked(cluster: Cluster, work: Work) -> list[str]:
    """The endpoints of the members that are asked."""
    if not work.at:
        return cluster.endpoints
    return [cluster.endpoints[cluster.leader() if work.at == "leader" else cluster.follower()]]


def start(cluster: Cluster, work: Work, build: Path) -> list[str]:
    """The command of a load."""
    endpoints = ",".join(asked(cluster, work))
    if work.op == PYTHON_HANDOFFS:
        return _handovers(cluster, work, endpoints)
    if work.op == WATCH_BY_HAND or (isinstance(cluster, Coord) and work.op.startswith("watch")):
        return _fanout(cluster, work, endpoints)
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
        if work.op == "handoffs":
            shape = ["--connections", str(work.connections), "--seconds", str(work.seconds)]
            return [sys.executable, "-m", "race.handoffs", *shape, "--endpoints", endpoints]
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
    return [go_program(build), *arguments]


def _handovers(cluster: Cluster, work: Work, endpoints: str) -> list[str]:
    kind = "coord" if isinstance(cluster, Coord) else "kazoo"
    if kind == "kazoo" and importlib.util.find_spec("kazoo") is None:
        raise Unmet("no kazoo here (pip install kazoo)")
    shape = ["--contenders", str(work.connections), "--seconds", str(work.seconds), "--json"]
    program = str(HERE.parent / "handovers.py")
    return [sys.executable, program, "--client", kind, "--endpoints", endpoints, *shape]


def _fanout(cluster: Cluster, work: Work, endpoints: str) -> list[str]:
    op = "watch-one" if work.op == WATCH_BY_HAND else work.op
    return [
        *(sys.executable, "-m", "race.fanout", cluster.name, op, "--endpoints", endpoints),
        *("--connections", str(work.connections), "--in-flight", str(work.in_flight)),
        *("--seconds", str(work.seconds), "--value-bytes", str(work.value_bytes)),
    ]


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


def go_program(build: Path) -> str:
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
