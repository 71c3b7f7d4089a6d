"""Hand-overs of one contended lock: ``python bench/handovers.py --contenders 1000 --seconds 20``.

So many clients, each with a session and a connection of its own, spread over some processes; each enters the lock's
block, leaves it as soon as it has it, and stands in line again. A hand-over takes from the end of one's block, in one
process, until the next holder's task goes on, in another: both by the machine's monotonic clock.

Who leaves does not wait for the answer (``release_nowait=True``), and so gives up and stands in line again by one
request; ``--confirm``: each waits for it, as the default is. ``--client kazoo`` is the same on ZooKeeper
(``--endpoints`` are its), with kazoo's lock, which always waits.

Without ``--endpoints`` it starts three members of its own, in a temporary folder, and tells their memory, too.
*Packets* are what contenders' sockets received with something in them, for each hand-over: where a release wakes all
who wait (a herd) there are as many as contenders. *Quarters* are medians of the run's four quarters: they should not
differ.
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
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from itertools import pairwise
from math import inf
from pathlib import Path
from struct import unpack_from
from typing import Any

import anyio
import handovers_kazoo

from coord.client import Client, connect
from coord.recipes.lock import Lock

PATH = "/bench/handovers"
SESSION_S = 30.0
START_S = 60.0
DATA_SEGMENTS_IN = 152
"""Where Linux has ``tcpi_data_segs_in`` in what TCP_INFO gives."""


# --- a process of contenders -----------------------------------------------------------------------------------------


async def contend(
    client: Client, confirm: bool, ends_at: float, seen: list[tuple[int, float, float]]
) -> None:
    lock, clock = Lock(client, PATH, release_nowait=not confirm), time.monotonic
    while True:
        async with lock.hold(deadline=inf) as grant:
            granted = clock()
            if granted >= ends_at:
                return
            seen.append((grant.token.revision, granted, clock()))


async def work(endpoints: str, confirm: bool, contenders: int) -> None:
    """Says ``ready``; begins when it is told until when; says what it has seen."""
    async with AsyncExitStack() as stack:
        clients: list[Client] = []
        for _ in range(contenders):
            connecting = connect(endpoints, session_timeout=SESSION_S, deadline=START_S, name="handovers")
            clients.append(await stack.enter_async_context(connecting))
        print("ready", flush=True)
        ends_at = float(await anyio.to_thread.run_sync(sys.stdin.readline))
        before, used = packets(), time.process_time()
        seen: list[tuple[int, float, float]] = []
        with anyio.CancelScope() as scope:
            scope.deadline = anyio.current_time() + ends_at - time.monotonic()
            async with anyio.create_task_group() as tasks:
                for client in clients:
                    tasks.start_soon(contend, client, confirm, ends_at, seen)
        used = time.process_time() - used
        print(json.dumps({"seen": seen, "packets": packets() - before, "cpu_s": used}), flush=True)


def packets() -> int:
    """What the sockets of this process have received."""
    total = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as copy:
                facts = copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        except OSError:
            continue  # no socket, or not of this sort
        total += unpack_from("=I", facts, DATA_SEGMENTS_IN)[0] if len(facts) >= DATA_SEGMENTS_IN + 4 else 0
    return total


# --- members ---------------------------------------------------------------------------------------------------------


@contextmanager
def members() -> Iterator[tuple[str, list[int]]]:
    """Three, with their data in a temporary folder: where they are, and their process ids."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(6)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    spec = ",".join(
        f"{number + 1}=127.0.0.1:{ports[number]}/127.0.0.1:{ports[number + 3]}" for number in range(3)
    )
    running: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="coord-handovers-") as folder:
        try:
            for number in (1, 2, 3):
                command = [sys.executable, "-m", "coord", "serve", "--member", str(number), "--members", spec]
                command += ["--data", str(Path(folder) / str(number)), "--quiet"]
                running.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))
            yield ",".join(f"127.0.0.1:{port}" for port in ports[:3]), [each.pid for each in running]
        finally:
            for member in running:
                member.send_signal(signal.SIGTERM)
            for member in running:
                member.wait()


async def lead(endpoints: str) -> None:
    """Wait until there is a leader."""
    async with connect(endpoints, session=False, deadline=START_S) as client:
        await client.exists("/")


def memory_mb(pids: list[int]) -> list[float]:
    """What members have in memory."""
    found = []
    for pid in pids:
        [line] = [
            each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmRSS")
        ]
        found.append(round(int(line.split()[1]) / 1024, 1))
    return found


def cpu_s(pids: list[int]) -> float:
    """What members have used."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


# --- the measurement -------------------------------------------------------------------------------------------------


def measure(
    kind: str,
    endpoints: str,
    confirm: bool,
    contenders: int,
    processes: int,
    seconds: float,
    pids: list[int],
) -> dict[str, Any]:
    if kind == "coord":
        anyio.run(lead, endpoints)
    before = memory_mb(pids)
    workers = []
    for number in range(processes):
        part = contenders // processes + (number < contenders % processes)
        command = [sys.executable, __file__, "--client", kind]
        command += ["--endpoints", endpoints, "--work", str(part), *["--confirm"] * confirm]
        workers.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    found: list[dict[str, Any]] = []
    try:
        for each in workers:
            assert each.stdout is not None
            if each.stdout.readline() != "ready\n":
                raise SystemExit("a process of contenders could not connect")
        began_at = time.monotonic()
        for each in workers:
            assert each.stdin is not None
            each.stdin.write(f"{began_at + seconds}\n")
            each.stdin.flush()
        used = cpu_s(pids)
        time.sleep(seconds * 0.9)
        during, used = memory_mb(pids), (cpu_s(pids) - used) / 0.9
        found = [json.loads(each.communicate()[0]) for each in workers]
    finally:
        for each in workers:
            each.kill()
            each.wait()
    seen = sorted(tuple(one) for each in found for one in each["seen"])
    return {
        "contenders": contenders,
        "seconds": seconds,
        **handed_over([(granted, released) for _, granted, released in seen]),
        "packets": round(sum(each["packets"] for each in found) / max(len(seen), 1), 2),
        "contenders_cpu_ms": round(sum(each["cpu_s"] for each in found) * 1000 / max(len(seen), 1), 2),
        "members_cpu_ms": round(used * 1000 / max(len(seen), 1), 2),
        "memory_mb": {"before": before, "during": during},
    }


def handed_over(times: list[tuple[float, float]]) -> dict[str, Any]:
    """``(granted, released)`` of each holder, in the order of their tokens."""
    took = [(later[0] - former[1]) * 1000 for former, later in pairwise(times)]
    if len(took) < 4:
        raise SystemExit(f"{len(times)} hand-overs: too few to tell anything")
    overlaps = sum(later[0] < former[1] for former, later in pairwise(times))
    if overlaps:
        raise SystemExit(f"{overlaps} holders had the lock before the one before them gave it up")
    quarter = len(took) // 4
    return {
        "done": len(took),
        "errors": 0,
        "rate_per_second": round(len(took) / (times[-1][0] - times[0][0]), 1),
        "p50_ms": round(share(took, 0.5), 2),
        "p99_ms": round(share(took, 0.99), 2),
        "p999_ms": round(share(took, 0.999), 2),
        "max_ms": round(max(took), 2),
        "quarters_p50_ms": [round(share(took[n * quarter : (n + 1) * quarter], 0.5), 2) for n in range(4)],
    }


def share(values: list[float], part: float) -> float:
    return sorted(values)[min(int(len(values) * part), len(values) - 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--endpoints", help="members that run already (else three are started)")
    parser.add_argument("--client", choices=("coord", "kazoo"), default="coord")
    parser.add_argument("--confirm", action="store_true", help="wait for the answer when a block is left")
    parser.add_argument("--contenders", type=int, default=8)
    parser.add_argument("--processes", type=int, default=4, help="that the contenders are spread over")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work is not None:
        if given.client == "kazoo":
            handovers_kazoo.work(given.endpoints, given.work)
        else:
            anyio.run(work, given.endpoints, given.confirm, given.work)
        return
    if given.client == "kazoo" and not given.endpoints:
        parser.error("kazoo's contenders want --endpoints of ZooKeeper")
    if given.contenders < 2 or given.processes < 1 or given.seconds <= 0:
        parser.error("it takes two contenders, a process, and some time")
    tell = partial(
        measure,
        given.client,
        confirm=given.confirm,
        contenders=given.contenders,
        processes=min(given.processes, given.contenders),
    )
    if given.endpoints:
        found = tell(given.endpoints, seconds=given.seconds, pids=[])
    else:
        with members() as (endpoints, pids):
            found = tell(endpoints, seconds=given.seconds, pids=pids)
    if given.json:
        print(json.dumps(found))
        return
    print(
        "{contenders} contenders: {rate_per_second:.0f} hand-overs/s, p50 {p50_ms} ms, p99 {p99_ms} ms".format(
            **found
        )
    )
    print("quarters of the run, p50: {} ms".format(", ".join(map(str, found["quarters_p50_ms"]))))
    print(
        "for each: {packets} packets to contenders, {contenders_cpu_ms} ms of CPU of theirs".format(**found),
        end="",
    )
    print(", {members_cpu_ms} ms of members'".format(**found) if found["members_cpu_ms"] else "")
    for when, memory in found["memory_mb"].items():
        if memory:
            print(f"members' memory {when}: {', '.join(map(str, memory))} MB")


if __name__ == "__main__":
    main()
