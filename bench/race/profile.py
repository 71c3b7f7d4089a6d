"""Where the time of a request goes, and that of a restart: ``python -m race.profile``.

coord alone: three members on this machine, looked at by py-spy (of ``.[bench]``; it must be allowed to look into other
processes: root, or ``kernel.yama.ptrace_scope=0``) while a load runs, one member after the other, since sampling takes
time, too. A sample counts for the file of its innermost frame, so for a system call that is the file which makes it.
Waiting counts for nothing. Prints tables in Markdown.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from race.clusters import Cluster, Coord, Unmet, cpu_s
from race.loads import HERE, SLACK_S, Work, figures, run, start
from race.works import MILLION

LOADS = (
    Work("set", 1, 1, at="leader"),
    Work("handoffs", 8, 1),
    Work("set", 8, 64),
)
RESTART = "restart"
WARM_S = 2.0
SAMPLES_PER_S = 250
RESTART_SAMPLES_PER_S = 100
SHOWN = 14
"""So many files of each process; what the others have is one line."""

Places = Counter[str]
"""File -> samples."""


def spy() -> str:
    found = shutil.which(
        "py-spy", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    if found is None:
        raise Unmet("no py-spy here (pip install py-spy)")
    return found


def places(raw: str) -> Places:
    """What py-spy's raw form says: ``outer (file:line);inner (file:line) samples``."""
    found: Places = Counter()
    for line in raw.splitlines():
        stack, _, samples = line.rpartition(" ")
        innermost = stack.rpartition(";")[2]
        found[innermost.rpartition("(")[2].rstrip(")").partition(":")[0] or innermost] += int(samples)
    return found


def sampled(pid: int, seconds: float) -> Places:
    """Where process ``pid`` is, when it is not waiting."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "raw"
        command = [spy(), "record", "--pid", str(pid), "--rate", str(SAMPLES_PER_S), "--nonblocking"]
        command += ["--duration", str(max(round(seconds), 1)), "--format", "raw", "--output", str(out)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if not out.exists():
            raise Unmet(f"py-spy failed: {(ended.stderr or ended.stdout).strip()[-300:]}")
        return places(out.read_text())


@contextmanager
def loaded(cluster: Cluster, work: Work, build: Path, done: list[float]) -> Iterator[int]:
    """A load runs, and is warm; gives its process. Its rate and p50 are put into ``done``."""
    environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
    load = subprocess.Popen(
        start(cluster, work, build),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        time.sleep(WARM_S)
        yield load.pid
        out, err = load.communicate(timeout=SLACK_S)
    finally:
        load.kill()
    if not out.strip():
        raise Unmet(f"{work.title}: the load failed: {err.strip()[-300:]}")
    row = figures(json.loads(out.strip().splitlines()[-1]))
    done += [row.rate_per_second, row.p50_ms]


def profile(cluster: Cluster, work: Work, build: Path, seconds: float) -> str:
    """The table of a load."""
    of = {"the leader": cluster.leader(), "a follower": cluster.follower()}
    pids = {name: cluster.members[number].pid for name, number in of.items()}
    timed = Work(work.op, work.connections, work.in_flight, seconds=WARM_S + seconds * 3 + 2, at=work.at)
    done: list[float] = []
    found: dict[str, Places] = {}
    used: dict[str, float] = {}
    with loaded(cluster, timed, build, done) as load:
        pids["the load"] = load
        before, began = {name: cpu_s(pid) for name, pid in pids.items()}, time.monotonic()
        for name, pid in pids.items():
            found[name] = sampled(pid, seconds)
        passed = time.monotonic() - began
        used = {name: (cpu_s(pid) - before[name]) / passed for name, pid in pids.items()}
    rate, p50_ms = done
    per_request = {name: cpu / rate * 1e6 for name, cpu in used.items()}
    title = f"{work.title}: {rate:,.0f}/s, p50 {p50_ms:.2f} ms, while it is looked at"
    return table(title, "µs of CPU each", found, per_request)


def restart(cluster: Coord, build: Path, million: Work) -> str:
    """The table of a follower's start after ``kill -9``, with ``million`` loaded."""
    run(cluster, million, build)
    follower = cluster.follower()
    cluster.kill(follower)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "raw"
        command = [
            spy(),
            "record",
            "--rate",
            str(RESTART_SAMPLES_PER_S),
            "--format",
            "raw",
            "--output",
            str(out),
        ]
        spying = subprocess.Popen([*command, "--", *cluster.command(follower)], stderr=subprocess.DEVNULL)
        cluster.members[follower] = spying
        cluster.wait_serving(follower)
        took = time.monotonic() - began
        spying.send_signal(signal.SIGINT)  # py-spy writes what it has, and ends the member
        spying.wait()
        found = places(out.read_text())
    cpu = sum(found.values()) / RESTART_SAMPLES_PER_S
    title = f"{RESTART} with {million.count:,} znodes: {took:.1f} s, while it is looked at"
    return table(title, "s", {"a follower": found}, {"a follower": cpu})


def table(title: str, unit: str, found: dict[str, Places], whole: dict[str, float]) -> str:
    """A line for each file: what it has of ``whole`` in each process."""
    shares = {
        name: {file: count / max(sum(each.values()), 1) * whole[name] for file, count in each.items()}
        for name, each in found.items()
    }
    totals: Counter[str] = Counter()
    for each in shares.values():
        totals.update(each)
    files = [file for file, _ in totals.most_common(SHOWN)]
    lines = [f"| {title}; {unit} | {' | '.join(found)} |", "|---" * (len(found) + 1) + "|"]
    lines.append(f"| **all** | {' | '.join(f'**{number(whole[name])}**' for name in found)} |")
    lines += [
        f"| `{file}` | {' | '.join(number(shares[name].get(file, 0)) for name in found)} |" for file in files
    ]
    rest = {
        name: sum(share for file, share in each.items() if file not in files) for name, each in shares.items()
    }
    lines.append(f"| others | {' | '.join(number(rest[name]) for name in found)} |")
    return "\n".join(lines)


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m race.profile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="for which each process is looked at")
    parser.add_argument("--only", action="append", help="loads whose title has this in it; also: restart")
    parser.add_argument("--znodes", type=int, default=MILLION.count, help="that are there at the restart")
    parser.add_argument("--folder", type=Path, default=HERE.parent / "race-data", help="the members' data")
    arguments = parser.parse_args()
    titles = [*(work.title for work in LOADS), RESTART]
    only: list[str] = arguments.only or titles
    wanted = [title for title in titles if any(part in title for part in only)]
    build: Path = arguments.folder / "build"
    try:
        cluster = Coord(arguments.folder.absolute())
        with cluster:
            for work in LOADS:
                if work.title in wanted:
                    print(profile(cluster, work, build, arguments.seconds), end="\n\n", flush=True)
            if RESTART in wanted:
                million = Work("create", 8, 64, count=arguments.znodes)
                print(restart(cluster, build, million), flush=True)
    except Unmet as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
