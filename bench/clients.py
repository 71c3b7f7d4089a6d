"""What one program can do with one client: ``python bench/clients.py --endpoints 127.0.0.1:4711 --face asyncio``.

``--in-flight`` callers (tasks, or threads for the blocking face) share one client, and each calls again as soon as
it is answered. Printed: the rate, the latencies, and how much CPU this process spent on each call, which
says more than the rate where members and load share a machine. Writes to ``/bench`` and leaves it there.

``--face kazoo`` is the same on ZooKeeper (``--endpoints`` are its), by kazoo's asynchronous calls; ``kazoo-threads``
by its usual ones. Run them beside ours, on the same machine, in the same minutes.
"""

import argparse
import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial

import anyio

import coord.client

PATH = "/bench"
FACES = ("trio", "asyncio", "blocking", "kazoo", "kazoo-threads")


class Tally:
    """What has been measured: latencies of the calls that ended between ``begin`` and ``end``."""

    def __init__(self, warm_up: float, seconds: float) -> None:
        self.begin = time.perf_counter() + warm_up
        self.end = self.begin + seconds
        self.seconds: list[float] = []
        self.cpu = 0.0

    def report(self, face: str, op: str, in_flight: int) -> str:
        self.seconds.sort()
        count = len(self.seconds)
        if not count:
            return f"{face} {op}: nothing was answered"
        rate = count / (self.end - self.begin)
        middle, late = (self.seconds[int(count * share)] * 1000 for share in (0.5, 0.99))
        return (
            f"{face:13} {op} x{in_flight}: {rate:8.0f}/s   p50 {middle:6.2f} ms   p99 {late:6.2f} ms   "
            f"{self.cpu / count * 1e6:6.1f} µs of CPU per call"
        )


async def _call_again(call: Callable[[], Awaitable[object]], tally: Tally) -> None:
    clock, took = time.perf_counter, tally.seconds.append
    began = clock()
    while began < tally.end:
        await call()
        now = clock()
        if began >= tally.begin:
            took(now - began)
        began = now


async def _measure_cpu(tally: Tally) -> None:
    await anyio.sleep(tally.begin - time.perf_counter())
    began = time.process_time()
    await anyio.sleep(tally.end - time.perf_counter())
    tally.cpu = time.process_time() - began


async def run_tasks(arguments: argparse.Namespace) -> Tally:
    """The async face, under the backend that this runs on."""
    async with coord.client.connect(arguments.endpoints) as client:
        value = bytes(arguments.value_bytes)
        await client.set(PATH, value, create=True, parents=True)
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "set": partial(client.set, PATH, value),
            "get": partial(client.get, PATH),
        }
        tally = Tally(arguments.warm_up, arguments.seconds)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_measure_cpu, tally)
            for _ in range(arguments.in_flight):
                tasks.start_soon(_call_again, calls[arguments.op], tally)
        return tally


def run_threads(arguments: argparse.Namespace) -> Tally:
    """The blocking face."""
    import coord.client.blocking as blocking  # not for those who measure the others

    with blocking.connect(arguments.endpoints) as client:
        value = bytes(arguments.value_bytes)
        client.set(PATH, value, create=True, parents=True)
        calls: dict[str, Callable[[], object]] = {
            "set": partial(client.set, PATH, value),
            "get": partial(client.get, PATH),
        }
        return drive_threads(calls[arguments.op], arguments)


def drive_threads(call: Callable[[], object], arguments: argparse.Namespace) -> Tally:
    """``--in-flight`` threads, that call again as soon as they are answered."""
    tally = Tally(arguments.warm_up, arguments.seconds)

    def call_again() -> None:
        clock, took = time.perf_counter, tally.seconds.append
        began = clock()
        while began < tally.end:
            call()
            now = clock()
            if began >= tally.begin:
                took(now - began)
            began = now

    threads = [threading.Thread(target=call_again) for _ in range(arguments.in_flight)]
    for thread in threads:
        thread.start()
    time.sleep(max(tally.begin - time.perf_counter(), 0))
    cpu = time.process_time()
    time.sleep(max(tally.end - time.perf_counter(), 0))
    tally.cpu = time.process_time() - cpu
    for thread in threads:
        thread.join()
    return tally


def run_kazoo(arguments: argparse.Namespace) -> Tally:
    from kazoo.client import KazooClient  # only here: pip install kazoo

    client = KazooClient(arguments.endpoints, timeout=30)
    client.start(timeout=30)
    value = bytes(arguments.value_bytes)
    client.ensure_path(PATH)
    tally = Tally(arguments.warm_up, arguments.seconds)
    free = threading.Semaphore(arguments.in_flight)

    def ask() -> None:
        began = time.perf_counter()

        def answered(_: object) -> None:
            now = time.perf_counter()
            if tally.begin <= began < tally.end:
                tally.seconds.append(now - began)
            free.release()

        asked = client.set_async(PATH, value) if arguments.op == "set" else client.get_async(PATH)
        asked.rawlink(answered)

    cpu = None
    while (now := time.perf_counter()) < tally.end:
        free.acquire()
        if cpu is None and now >= tally.begin:
            cpu = time.process_time()
        ask()
    tally.cpu = time.process_time() - (cpu or 0.0)
    client.stop()
    return tally


def run_kazoo_threads(arguments: argparse.Namespace) -> Tally:
    from kazoo.client import KazooClient

    client = KazooClient(arguments.endpoints, timeout=30)
    client.start(timeout=30)
    value = bytes(arguments.value_bytes)
    client.ensure_path(PATH)
    calls = {"set": partial(client.set, PATH, value), "get": partial(client.get, PATH)}
    tally = drive_threads(calls[arguments.op], arguments)
    client.stop()
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--endpoints", help="as for connect; without: $COORD_ENDPOINTS, or 127.0.0.1:4711")
    parser.add_argument("--face", choices=FACES, default="asyncio")
    parser.add_argument("--op", choices=("set", "get"), default="set")
    parser.add_argument("--in-flight", type=int, default=512, help="callers at the same time")
    parser.add_argument("--seconds", type=float, default=5.0, help="measured, after the warm-up")
    parser.add_argument("--warm-up", type=float, default=1.0)
    parser.add_argument("--value-bytes", type=int, default=100)
    arguments = parser.parse_args()
    if arguments.face.startswith("kazoo"):
        tally = run_kazoo(arguments) if arguments.face == "kazoo" else run_kazoo_threads(arguments)
    elif arguments.face == "blocking":
        tally = run_threads(arguments)
    elif arguments.face == "trio":
        tally = anyio.run(run_tasks, arguments, backend="trio")
    else:
        tally = asyncio.run(run_tasks(arguments))
    print(tally.report(arguments.face, arguments.op, arguments.in_flight))


if __name__ == "__main__":
    main()
