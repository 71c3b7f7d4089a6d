"""Small tasks through the queue: ``python bench/tasks.py --tasks 20000 --workers 4``, beside RQ, Celery and kazoo's.

*Throughput*: all tasks are enqueued, in batches, while the workers run; the clock stops when the last has completed.
(By two tasks of one program, so that one enqueues while the other waits for its answer.) *Latency*: from the call
that enqueues one task, at idle workers, until its function begins, in another process; both by the machine's
monotonic clock. Results are not kept, in none of the systems, unless ``--results`` says so.

Starts three members of its own, in a temporary folder, and as many worker processes as it is told; RQ and Celery on
one Redis, the package ``redis-server`` (which, as it is by default, syncs nothing), with as many processes, and
kazoo's ``LockingQueue`` on ZooKeeper. What is not installed is left out, and said. (It is not called queue.py, for
all scripts in this folder would take that for the standard library's.)
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Any

import anyio
import tasks_kazoo
import tasks_peers

from coord.client import Client, connect
from coord.recipes import membership
from coord.recipes.queue import App, Queue

HERE = Path(__file__).resolve().parent
SESSION_S = 30.0
START_S = 60.0
LATENCIES = 200

app = App("bench")


@app.task(keep=0)
async def small(number: int) -> int:
    return number


@app.task
async def kept(number: int) -> int:
    return number


@app.task
async def moment() -> int:
    """When it began."""
    return time.monotonic_ns()


# --- coord
# -----------------------------------------------------------------------------------------------------------


@contextmanager
def processes(commands: list[list[str]], cwd: Path | None = None) -> Iterator[list[int]]:
    """Run them for the length of the block; their ids."""
    running = [subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=cwd) for command in commands]
    try:
        yield [each.pid for each in running]
    finally:
        for each in running:
            each.send_signal(signal.SIGTERM)
        for each in running:
            each.wait()


@contextmanager
def members() -> Iterator[tuple[str, list[int]]]:
    """Three, with their data in a temporary folder: where they are, and their process ids."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(6)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    spec = ",".join(f"{n + 1}=127.0.0.1:{ports[n]}/127.0.0.1:{ports[n + 3]}" for n in range(3))
    with tempfile.TemporaryDirectory(prefix="coord-tasks-") as folder:

        def data(n: int) -> list[str]:
            return ["--data", str(Path(folder) / str(n))]

        commands = [
            [
                sys.executable,
                "-m",
                "coord",
                "serve",
                "--member",
                str(n),
                "--members",
                spec,
                "--quiet",
                *data(n),
            ]
            for n in (1, 2, 3)
        ]
        with processes(commands) as pids:
            yield ",".join(f"127.0.0.1:{port}" for port in ports[:3]), pids


async def coord(endpoints: str, arguments: argparse.Namespace, pids: list[int]) -> dict[str, Any]:
    worker = [sys.executable, "-m", "coord", "worker", "tasks:app", "--endpoints", endpoints]
    worker += ["--processes", str(arguments.workers), "--concurrency", str(arguments.concurrency)]
    worker += ["--session-timeout", str(SESSION_S), "--log-level", "warning", "--backend", arguments.backend]
    async with connect(endpoints, session_timeout=SESSION_S, deadline=START_S) as client:
        await client.create(app.layout.root, parents=True)
        with processes([worker], HERE) as [supervisor]:
            async with membership.observe(client, app.layout.workers) as group:
                await group.wait_size(arguments.workers, deadline=START_S)
            children = children_of(supervisor)
            latencies = await coord_latencies(client)
            before = cpu_s(pids), cpu_s(children), time.process_time()
            rate = await coord_rate(client, arguments)
            after = cpu_s(pids), cpu_s(children), time.process_time()
            spent = [round((b - a) / arguments.tasks * 1e6) for a, b in zip(before, after, strict=True)]
            return {
                "per_second": round(rate),
                "latency_ms": tasks_peers.shares(latencies),
                "cpu_us_per_task": dict(zip(("members", "workers", "enqueuer"), spent, strict=True)),
            }


async def coord_rate(client: Client, arguments: argparse.Namespace) -> float:
    queue, task = Queue(client, app), kept if arguments.results else small
    folder = app.layout.queue("default").folder("-")
    began = time.monotonic()
    batches = iter(range(0, arguments.tasks, 1000))

    async def enqueue() -> None:
        for first in batches:
            await queue.enqueue_many([task.call(n) for n in range(first, min(first + 1000, arguments.tasks))])

    async with anyio.create_task_group() as tasks:
        for _ in range(arguments.enqueuers):
            tasks.start_soon(enqueue)
    if arguments.verbose:
        print(f"enqueued at {arguments.tasks / (time.monotonic() - began):.0f}/s", file=sys.stderr)
    while (stat := await client.exists(folder)) is not None and stat.child_count:
        await anyio.sleep(0.02)
    return float(arguments.tasks / (time.monotonic() - began))


async def coord_latencies(client: Client) -> list[float]:
    queue = Queue(client, app)
    found = []
    for _ in range(LATENCIES):
        began = time.monotonic_ns()
        task = await queue.enqueue(moment.call())
        found.append((await task.result(deadline=inf) - began) / 1e6)
    return found


# --- measuring
# -------------------------------------------------------------------------------------------------------


def children_of(pid: int) -> list[int]:
    # Of all its threads: trio starts processes in one that is not the first.
    return [
        int(each)
        for path in Path(f"/proc/{pid}/task").glob("*/children")
        for each in path.read_text().split()
    ]


def cpu_s(pids: list[int]) -> float:
    """Of all of them: seconds of CPU so far."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=4, help="processes")
    parser.add_argument("--concurrency", type=int, default=100, help="tasks at a time, in each process")
    parser.add_argument(
        "--enqueuers", type=int, default=2, help="tasks that enqueue, of coord's; the others' block"
    )
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    parser.add_argument("--results", action="store_true", help="results are kept")
    parser.add_argument(
        "--only", action="append", choices=("coord", "rq", "celery", "kazoo"), help="of the systems"
    )
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what it has started ends with it
    found: dict[str, Any] = {}
    only = arguments.only or ["coord", "rq", "celery", "kazoo"]
    if "coord" in only:
        with members() as (endpoints, pids):
            found["coord"] = anyio.run(coord, endpoints, arguments, pids)
    for name in ("rq", "celery"):
        if name in only:
            found[name] = tasks_peers.measured(name, arguments.tasks, arguments.workers, arguments.results)
    if "kazoo" in only:
        found["kazoo"] = tasks_kazoo.measured(arguments.tasks, arguments.workers)
    if arguments.json:
        print(json.dumps(found))
        return
    for name, row in found.items():
        print(name, json.dumps(row))


if __name__ == "__main__":
    main()
