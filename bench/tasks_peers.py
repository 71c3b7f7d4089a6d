"""The same small tasks through RQ and Celery, each on one Redis: ``bench/tasks.py`` runs them.

A task writes a byte, or when it began, at the end of a file: that is how both are counted, at the price of one write.
(So what is counted has run; coord's has also been confirmed.)
"""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
DONE, REDIS, PEER = "BENCH_DONE", "BENCH_REDIS", "BENCH_PEER"
LATENCIES: Final = 100
WAIT_S: Final = 120.0
SLOWER: Final = {"rq": 20, "celery": 1}
"""RQ forks for each task: it is given so many times fewer."""


def small(number: int) -> None:
    _tell(b".")


def moment() -> None:
    _tell(b"%020d" % time.monotonic_ns())


def _tell(data: bytes) -> None:
    file = os.open(os.environ[DONE], os.O_WRONLY | os.O_APPEND)
    os.write(file, data)
    os.close(file)


def celery_app() -> Any:
    from celery import Celery

    made = Celery("bench", broker=os.environ[REDIS])
    made.task(name="small", ignore_result=True)(small)
    made.task(name="moment", ignore_result=True)(moment)
    return made


if os.environ.get(PEER) == "celery":  # RQ forks for each task, and would import it each time
    app = celery_app()


def measured(name: str, tasks: int, workers: int, results: bool) -> dict[str, Any]:
    """Rate and latencies, or why not."""
    server = shutil.which("redis-server")
    if server is None:
        return {"skipped": "there is no redis-server: apt install redis-server"}
    if importlib.util.find_spec(name) is None:
        return {"skipped": f"there is no {name}: pip install {name} redis"}
    if results:
        return {"skipped": "results are measured of coord only"}
    with (
        tempfile.TemporaryDirectory(prefix="coord-tasks-") as folder,
        socket.create_server(("127.0.0.1", 0)) as free,
    ):
        port = free.getsockname()[1]
        done = Path(folder) / "done"
        done.touch()
        free.close()
        os.environ.update({DONE: str(done), REDIS: f"redis://127.0.0.1:{port}/0", PEER: name})
        with _process([server, "--port", str(port), "--dir", folder], folder):
            until(lambda: _answers(port))
            return _measure(name, tasks // SLOWER[name], workers, done, folder)


def _measure(name: str, tasks: int, workers: int, done: Path, folder: str) -> dict[str, Any]:
    enqueue = _rq() if name == "rq" else _celery()
    if name == "rq":
        commands = [
            [sys.executable, "-m", "rq.cli", "worker", "--url", os.environ[REDIS], "--quiet"]
        ] * workers
    else:
        command = [
            sys.executable,
            "-m",
            "celery",
            "--app",
            "tasks_peers",
            "worker",
            "--concurrency",
            str(workers),
        ]
        commands = [[*command, "--loglevel", "ERROR", "--without-gossip", "--without-mingle"]]
    running = [_process(command, folder) for command in commands]
    for each in running:
        each.__enter__()
    try:
        enqueue("small", workers * 10)  # until all are there
        until(lambda: done.stat().st_size >= workers * 10)
        latencies = []
        for _ in range(LATENCIES):
            time.sleep(0.02)
            size, began = done.stat().st_size, time.monotonic_ns()
            enqueue("moment", 1)
            until(lambda size=size: done.stat().st_size >= size + 20)
            latencies.append((int(done.read_bytes()[-20:]) - began) / 1e6)
        size, start = done.stat().st_size, time.monotonic()
        enqueue("small", tasks)
        until(lambda: done.stat().st_size >= size + tasks)
        rate = tasks / (time.monotonic() - start)
    finally:
        for each in running:
            each.__exit__(None, None, None)
    return {"per_second": round(rate), "latency_ms": shares(latencies), "tasks": tasks}


def _rq() -> Any:
    import redis
    import rq

    queue = rq.Queue(connection=redis.Redis.from_url(os.environ[REDIS]))

    def enqueue(name: str, count: int) -> None:
        for first in range(0, count, 200):
            args: list[tuple[int, ...]] = [
                (n,) if name == "small" else () for n in range(min(200, count - first))
            ]
            queue.enqueue_many(
                [rq.Queue.prepare_data(f"tasks_peers.{name}", args=each, result_ttl=0) for each in args]
            )

    return enqueue


def _celery() -> Any:
    made = celery_app()

    def enqueue(name: str, count: int) -> None:
        task = made.tasks[name]
        with made.producer_pool.acquire(block=True) as producer:
            for n in range(count):
                task.apply_async((n,) if name == "small" else (), producer=producer)

    return enqueue


def _python_path() -> list[str]:
    return [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]


@contextmanager
def _process(command: list[str], folder: str) -> Iterator[None]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *_python_path()])}
    log = (Path(folder) / "log").open("ab")
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=folder
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def until(condition: Any) -> None:
    ends_at = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > ends_at:
            raise SystemExit("bench: a peer does not answer in time")
        time.sleep(0.0005)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
    except OSError:
        return False
    return True


def shares(values: list[float]) -> dict[str, float]:
    values = sorted(values)
    return {name: round(values[int(len(values) * part)], 2) for name, part in (("p50", 0.5), ("p99", 0.99))}
