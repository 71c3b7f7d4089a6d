"""``coord worker`` as real processes: signals, crashes, stops, reloads."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import anyio
import pytest

from coord.cli.exits import USAGE
from coord.client import Client, connect
from coord.recipes import membership
from coord.recipes.queue import App, Queue
from coord.testing import Cluster, cluster

pytestmark = pytest.mark.processes

HANG_S = 60.0

TASKS = """
import os, time
import anyio
from coord.client import Create
from coord.recipes.queue import App, Retry, context

app = App("work")

@app.task(retry=Retry(times=20, backoff=0.05))
async def effect(n: int, nap: float = 0.0) -> int:
    # In one piece: others write there, too, and some are killed.
    os.write(1, f"begins {n} {os.getpid()}\\n".encode())
    await anyio.sleep(nap)
    context().once(Create(f"/effects/{n}-{context().attempt}"))
    return n

@app.task
def version() -> str:
    return "VERSION"
"""


@pytest.fixture(scope="module")
def member() -> Iterator[Cluster]:
    with cluster(1) as made:
        yield made


class Coord:
    """One ``coord worker``; stdout of it and its children, line by line, and stderr."""

    def __init__(self, folder: Path, endpoint: str, *arguments: str) -> None:
        root = Path(__file__).resolve().parent.parent.parent
        self.process = subprocess.Popen(
            [sys.executable, "-m", "coord", "worker", "--endpoints", endpoint, *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(root)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.out: list[str] = []
        self.err: list[str] = []
        self._news = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for each in self._readers:
            each.start()

    def _read(self, stream: Any, lines: list[str]) -> None:
        with stream:
            for line in stream:
                with self._news:
                    lines.append(line.rstrip())
                    self._news.notify_all()

    def wait_line(self, text: str, number: int = 1, *, err: bool = False) -> str:
        """The n-th line with ``text`` in it."""
        lines = self.err if err else self.out

        def found() -> list[str]:
            return [line for line in lines if text in line]

        with self._news:
            assert self._news.wait_for(lambda: len(found()) >= number, HANG_S), (text, self.out, self.err)
        return found()[number - 1]

    def begun(self, number: int = 1) -> int:
        """The process id of whoever began the n-th attempt."""
        return int(self.wait_line("begins", number).split()[2])

    def end(self) -> int:
        code = self.process.wait(HANG_S)
        for each in self._readers:
            each.join(HANG_S)
        return code

    def __enter__(self) -> "Coord":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.terminate()
        try:
            self.process.wait(HANG_S)
        finally:
            self.process.kill()
            self.end()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop_cli.py").write_text(TASKS)
    return tmp_path


app = App("work")


@app.task
async def effect(n: int, nap: float = 0.0) -> int:
    raise AssertionError("it is run elsewhere")


@app.task
def version() -> str:
    raise AssertionError("it is run elsewhere")


def run(member: Cluster, work: Any) -> Any:
    """In a client of its own, as a program that enqueues."""
    found: list[Any] = []

    async def main() -> None:
        async with connect(member.endpoints, session_timeout=30, deadline=HANG_S) as client:
            for path in ("/effects", "/tasks"):
                if await client.exists(path) is None:
                    await client.create(path)
            found.append(await work(client, Queue(client, app)))

    anyio.run(main)
    return found[0]


def cleared(member: Cluster) -> None:
    async def work(client: Client, queue: Queue) -> None:
        for path in ("/effects", "/tasks"):
            await client.delete(path, subtree=True)

    run(member, work)


def test_what_cannot_be_loaded_is_said_once_and_is_an_exit_code(folder: Path, member: Cluster) -> None:
    (folder / "broken_cli.py").write_text("import not_there_at_all\n")
    with Coord(folder, member.endpoints[0], "broken_cli:app", "--processes", "3") as coord:
        assert coord.end() == USAGE
        assert [line[:40] for line in coord.err if "coord: " in line] == [
            "coord: module 'broken_cli' can't be impo"
        ]
        assert sum("Traceback" in line for line in coord.err) == 1
        assert not any("coord/recipes" in line or "importlib" in line for line in coord.err), coord.err
    (folder / "syntax_cli.py").write_text("def f(:\n")
    with Coord(folder, member.endpoints[0], "syntax_cli:app") as coord:
        assert coord.end() == USAGE
        assert any("def f(:" in line for line in coord.err)
        assert not any("coord/recipes" in line or "importlib" in line for line in coord.err), coord.err


def test_workers_that_are_killed_or_stopped_lose_nothing_and_nothing_happens_twice(
    folder: Path, member: Cluster
) -> None:
    async def work(client: Client, queue: Queue) -> list[int]:
        options = ("--processes", "3", "--concurrency", "4", "--session-timeout", "1", "--grace", "20")
        with Coord(folder, member.endpoints[0], "shop_cli:app", *options) as coord:
            async with membership.observe(client, app.layout.workers) as workers:
                await workers.wait_size(3, deadline=HANG_S)
            tasks = await queue.enqueue_many([effect.call(n, 0.1) for n in range(60)])
            begun = await anyio.to_thread.run_sync(lambda: [coord.begun(n) for n in range(1, 20)])
            first, other, *_ = dict.fromkeys(begun)
            os.kill(first, signal.SIGKILL)
            os.kill(other, signal.SIGSTOP)  # for longer than its session lives
            await anyio.sleep(2.5)
            os.kill(other, signal.SIGCONT)
            results = [await task.result(deadline=HANG_S) for task in tasks]
            coord.process.terminate()
            assert await anyio.to_thread.run_sync(coord.end) == 0
            assert any("another one follows" in line for line in coord.err)
            assert any("connecting anew" in line for line in coord.err)
        names = await client.children("/effects")
        assert Counter(int(name.split("-")[0]) for name in names) == Counter(range(60))
        runs = Counter(int(line.split()[1]) for line in coord.out)
        assert max(runs.values()) > 1  # the kill and the stop did meet some
        return results

    assert run(member, work) == list(range(60))
    cleared(member)


def test_sigterm_finishes_a_second_one_hands_back(folder: Path, member: Cluster) -> None:
    async def enqueue(client: Client, queue: Queue) -> None:
        await queue.enqueue_many([effect.call(n, 1.0 if n == 0 else 60) for n in range(2)])

    run(member, enqueue)
    with Coord(folder, member.endpoints[0], "shop_cli:app") as coord:
        coord.begun(2)
        coord.process.terminate()
        coord.wait_line("stops; 2 tasks run", err=True)
        coord.process.send_signal(signal.SIGINT)  # the second
        assert coord.end() == 0

    async def look(client: Client, queue: Queue) -> int:
        folder = app.layout.queue("default").folder("-")
        assert not (await client.claims("/")).claims
        return len(await client.children(folder))

    assert run(member, look) == 2
    with Coord(folder, member.endpoints[0], "shop_cli:app", "--drain", "--grace", "0") as coord:
        coord.begun(2)
    cleared(member)


def test_a_reload_takes_new_code_and_keeps_the_old_where_that_is_broken(
    folder: Path, member: Cluster
) -> None:
    async def ask(client: Client, queue: Queue) -> str:
        return await (await queue.enqueue(version.call())).result(deadline=HANG_S)

    with Coord(folder, member.endpoints[0], "shop_cli:app", "--log-level", "warning") as coord:
        assert run(member, ask) == "VERSION"
        path = folder / "shop_cli.py"
        path.write_text("this is no python\n")
        coord.process.send_signal(signal.SIGHUP)
        coord.wait_line("the reload has failed", err=True)
        assert run(member, ask) == "VERSION"
        path.write_text(TASKS.replace("VERSION", "a newer one"))
        coord.process.send_signal(signal.SIGHUP)
        ends_at = monotonic() + HANG_S
        while run(member, ask) != "a newer one":
            assert monotonic() < ends_at
            sleep(0.05)
    cleared(member)


def test_workers_whose_supervisor_is_killed_end(folder: Path, member: Cluster) -> None:
    async def enqueue(client: Client, queue: Queue) -> None:
        await queue.enqueue(effect.call(1, 0.2))

    run(member, enqueue)
    with Coord(folder, member.endpoints[0], "shop_cli:app") as coord:
        worker = coord.begun()
        coord.process.kill()
        ends_at = monotonic() + HANG_S
        while Path(f"/proc/{worker}").exists():
            assert monotonic() < ends_at
            sleep(0.02)

    async def look(client: Client, queue: Queue) -> list[str]:
        return await client.children("/effects")

    assert run(member, look) == ["1-1"]  # it has finished what it ran
    cleared(member)
