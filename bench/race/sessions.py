"""Ten thousand sessions that do nothing but live: what they cost, and what becomes of a load beside them.

Each has a connection of its own, as if it were a program of its own, and is kept alive every ten seconds. (etcd's word
for a session is a lease.)
"""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from race.clusters import MEMBERS, Cluster, Etcd, Unmet
from race.loads import Work, go_program, run

HERE = Path(__file__).resolve().parent
IDLE_S = 10.0
SETTLE_S = 3.0
SPARE_FILES = 200


@contextmanager
def held(cluster: Cluster, connections: int, watches: int, build: Path) -> Iterator[float]:
    """So many idle sessions, each with so many idle watches; how many seconds it took to open them."""
    endpoints = ",".join(cluster.endpoints)
    if isinstance(cluster, Etcd):
        command = [go_program(build), endpoints, "hold", str(connections), "1", "0", "0", "0", "0"]
    else:
        shape = ["--connections", str(connections), "--in-flight", str(watches), "--endpoints", endpoints]
        command = [sys.executable, "-m", "race.holding", cluster.name, *shape]
    began = time.monotonic()
    holder = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(HERE.parent)},
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        if holder.stdout.readline() != b"held\n":
            raise Unmet(f"{cluster.name}: {connections} sessions could not be opened")
        yield time.monotonic() - began
        if holder.poll() is not None:
            raise Unmet(f"{cluster.name}: the {connections} sessions did not live until the end")
    finally:
        holder.stdin.close()
        holder.kill()
        holder.wait()


def allow_files(wanted: int) -> None:
    """Sessions are sockets: let this process, and those that it starts, have as many. Raises :class:`Unmet`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise Unmet(f"{wanted} sessions need {needed} open files in a process; ulimit -Hn is {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def many_sessions(cluster: Cluster, count: int, seconds: float, build: Path) -> dict[str, float]:
    """The figures of ``set 8x64`` beside them; members' memory for each, and CPU while nobody asks for anything."""
    work = Work("set", 8, 64, seconds=seconds)
    # First: a JVM that has compiled nothing yet is not what is to be measured.
    alone = run(cluster, work, build)
    empty_mb, empty_cpu = sum(cluster.resident_mb()), _cpu_per_second(cluster, IDLE_S / 2)
    with held(cluster, count, 0, build) as open_s:
        time.sleep(SETTLE_S)
        idle_cpu = _cpu_per_second(cluster, IDLE_S)
        kb = (sum(cluster.resident_mb()) - empty_mb) * 1000 / count
        row = run(cluster, work, build).as_dict()
    # Every member knows of every session, and has a third of the connections.
    row |= {"alone_per_second": alone.rate_per_second, "open_s": open_s, "kb_per_session": kb / MEMBERS}
    return row | {"cpu_s_per_s": idle_cpu, "empty_cpu_s_per_s": empty_cpu}


def _cpu_per_second(cluster: Cluster, seconds: float) -> float:
    began, used = time.monotonic(), cluster.cpu_s()
    time.sleep(seconds)
    return (cluster.cpu_s() - used) / (time.monotonic() - began)
