"""The same small tasks through kazoo's ``LockingQueue`` on ZooKeeper: ``bench/tasks.py`` runs this.

An entry is taken with a lock, and consumed when its work is done: what dies with it in its hands leaves it to others,
which is the least that a queue of tasks needs. A worker is a process; as those of ``tasks_peers.py``, it writes a byte
for each task, or when it began.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from tasks_peers import LATENCIES, moment, shares, small, until

SLOWER: Final = 40
"""It is given so many times fewer."""
QUEUE: Final = "/bench-tasks"


def work(hosts: str) -> None:
    """One worker, until it is ended."""
    from kazoo.client import KazooClient

    client = KazooClient(hosts, timeout=30.0)
    client.start(timeout=60.0)
    queue = client.LockingQueue(QUEUE)
    while True:
        if queue.get() == b"moment":
            moment()
        else:
            small(0)
        queue.consume()


def measured(tasks: int, workers: int) -> dict[str, Any]:
    """Rate and latencies, or why not."""
    from race.clusters import Unmet, ZooKeeper

    try:
        from kazoo.client import KazooClient
    except ImportError:
        return {"skipped": "there is no kazoo: pip install kazoo"}
    with tempfile.TemporaryDirectory(prefix="coord-tasks-") as folder:
        done = Path(folder) / "done"
        done.touch()
        os.environ["BENCH_DONE"] = str(done)
        try:
            cluster = ZooKeeper(Path(folder))
        except Unmet as error:
            return {"skipped": str(error)}
        with cluster:
            hosts = ",".join(cluster.endpoints)
            client = KazooClient(hosts, timeout=30.0)
            client.start(timeout=60.0)
            running = [subprocess.Popen([sys.executable, __file__, hosts]) for _ in range(workers)]
            try:
                return _measure(client.LockingQueue(QUEUE), tasks // SLOWER, workers, done)
            finally:
                for each in running:
                    each.kill()
                    each.wait()
                client.stop()
                client.close()


def _measure(queue: Any, tasks: int, workers: int, done: Path) -> dict[str, Any]:
    queue.put_all([b"small"] * workers * 10)  # until all are there
    until(lambda: done.stat().st_size >= workers * 10)
    latencies = []
    for _ in range(LATENCIES):
        time.sleep(0.02)
        size, began = done.stat().st_size, time.monotonic_ns()
        queue.put(b"moment")
        until(lambda size=size: done.stat().st_size >= size + 20)
        latencies.append((int(done.read_bytes()[-20:]) - began) / 1e6)
    size, start = done.stat().st_size, time.monotonic()
    queue.put_all([b"small"] * tasks)
    until(lambda: done.stat().st_size >= size + tasks)
    rate = tasks / (time.monotonic() - start)
    return {"per_second": round(rate), "latency_ms": shares(latencies), "tasks": tasks}


if __name__ == "__main__":
    work(sys.argv[1])
