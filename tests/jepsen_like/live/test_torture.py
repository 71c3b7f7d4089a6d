"""Real members under real faults: a short run is fine, and one with a planted lie is not."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from typer.testing import CliRunner

from coord.api.errors import Conflict
from coord.api.results import Znode
from coord.cli.app import build
from coord.cli.exits import FAILED, UNAVAILABLE, USAGE
from coord.client import Client
from coord.jepsen_like.history import Committed, Digest, Fault, Leader, Operation, Record, load
from coord.jepsen_like.live.arena import Arena
from coord.jepsen_like.live.cluster import Cluster, NotUp
from coord.jepsen_like.live.nemeses.io_errors import IoErrors
from coord.jepsen_like.live.observer import Observer
from coord.jepsen_like.live.process import MemberProcess
from coord.jepsen_like.live.run import torture
from coord.jepsen_like.live.settings import DEFAULT_NEMESES, Settings
from coord.jepsen_like.workloads.workload import Process
from tests import processes

APP = build()

pytestmark = pytest.mark.processes


def test_a_short_run_with_kills_pauses_and_partitions_is_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(IoErrors, "possible", lambda self: "no such library")
    nemeses = (*DEFAULT_NEMESES, "io-sync")
    # This seed draws no claims, whose last looks take twelve seconds and more, and draws a fault of each kind.
    settings = Settings(workload="mixed", nemeses=nemeses, seconds=7, seed=1, rate=150, out=tmp_path / "out")
    report = torture(settings, say=said.append)
    assert report.ok, report.violations
    assert report.operations["ok"] > 100
    assert sum(report.faults.values()) >= 2
    assert report.skipped == {"io-sync": "no such library"}
    records = load((tmp_path / "out" / "history.jsonl").read_text().splitlines())
    for kind in (Operation, Fault, Leader, Committed, Digest):
        assert any(isinstance(each, kind) for each in records), f"no {kind.__name__} was recorded"
    assert "process 1" in (tmp_path / "out" / "timeline.html").read_text()
    assert not list((tmp_path / "out").glob("cluster/member-*/")), (
        "the members' folders are gone after a good run"
    )
    assert any("kill -9" in line or "SIGSTOP" in line or "{" in line for line in said)


@pytest.mark.parametrize(
    ("workload", "nemesis"), [("register", "kill"), ("append", "partition"), ("ephemerals", "pause")]
)
def test_a_short_matrix(workload: str, nemesis: str, tmp_path: Path) -> None:
    settings = Settings(
        workload=workload, nemeses=(nemesis,), seconds=3, calm_s=1.5, seed=1, rate=150, out=tmp_path
    )
    report = torture(settings)
    assert report.ok, report.violations
    assert report.operations["ok"] > 10  # some seconds, most of them spent pausing
    assert sum(report.faults.values()) >= 1


class Liar:
    """Tells one reader another value than it was given."""

    def __init__(self) -> None:
        self.lied = 0

    def __call__(self, record: Record) -> Record:
        if self.lied or not isinstance(record, Operation) or not isinstance(record.result, Znode):
            return record
        self.lied += 1
        return replace(record, result=replace(record.result, value=b"never written"))


def test_a_planted_lie_is_found(tmp_path: Path) -> None:
    liar = Liar()
    settings = Settings(
        workload="register", nemeses=("pause-one",), seconds=3, calm_s=1, seed=1, out=tmp_path
    )
    report = torture(settings, falsify=liar)
    assert liar.lied == 1
    assert not report.ok
    assert any("never written" in str(violation) for violation in report.violations), report.violations
    assert "broken promises" in (tmp_path / "timeline.html").read_text()
    assert list(tmp_path.glob("cluster/member-1/")), "evidence stays"


class MyCounter:
    """A person's own workload, with a plain client."""

    name = "my-counter"
    checks = ()

    async def setup(self, client: Client, me: Process) -> None:
        await client.create("/counter", b"0")

    async def process(self, client: Client, me: Process) -> None:
        while True:
            znode = await client.get("/counter")
            try:
                await client.set("/counter", b"%d" % (int(znode.value) + 1), version=znode.stat.version)
            except Conflict:
                await trio.sleep(me.dice.random() / 50)  # somebody was faster

    async def finish(self, client: Client, me: Process) -> None:
        await client.get("/counter")


def test_a_workload_of_coroutines_is_recorded(tmp_path: Path) -> None:
    settings = Settings(
        workload="mine", nemeses=("kill-leader",), seconds=4, seed=2, clients=3, calm_s=1, out=tmp_path
    )
    report = torture(settings, workload=MyCounter())
    assert report.ok, report.violations
    records = load((tmp_path / "history.jsonl").read_text().splitlines())
    operations = [each for each in records if isinstance(each, Operation)]
    last = operations[-1].result
    assert isinstance(last, Znode)
    increments = [
        each for each in operations if each.mode == "write" and each.outcome == "ok" and each.process > 0
    ]
    unknown = [each for each in operations if each.outcome == "unknown"]
    assert len(increments) <= int(last.value) <= len(increments) + len(unknown)
    assert {each.process for each in operations} >= {0, 1, 2, 3}


def test_a_named_cluster_is_visited_and_left_clean(tmp_path: Path) -> None:
    runner = CliRunner()
    with processes.Cluster(tmp_path, 1) as cluster:
        arguments = ["torture", "--workload", "register", "--seconds", "2", "--seed", "3"]
        arguments += ["--cluster", cluster.endpoints[0], "--out", str(tmp_path / "out")]
        refused = runner.invoke(APP, arguments)
        assert refused.exit_code == USAGE
        fine = runner.invoke(APP, [*arguments, "--i-know-this-writes-to-my-cluster"])
        assert fine.exit_code == 0, fine.output
        assert "no promise was broken" in fine.output
        listing = runner.invoke(APP, ["ls", "/coord-torture", "--endpoints", cluster.endpoints[0]])
        assert listing.exit_code == 0, listing.output
        assert "run-" not in listing.output
    records = load((tmp_path / "out" / "history.jsonl").read_text().splitlines())
    paths = [each.op.path for each in records if isinstance(each, Operation) and hasattr(each.op, "path")]
    assert paths
    assert not any("coord-torture" in path for path in paths)


def test_exit_codes_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = CliRunner()
    out = ["--out", str(tmp_path)]
    assert runner.invoke(APP, ["torture", "--workload", "nonsense", *out]).exit_code == USAGE
    assert runner.invoke(APP, ["torture", "--nemesis", "flood", *out]).exit_code == USAGE

    def never_up(*arguments: Any, **named: Any) -> None:
        raise NotUp("nobody home")

    monkeypatch.setattr("coord.jepsen_like.live.run.torture", never_up)
    assert runner.invoke(APP, ["torture", *out]).exit_code == UNAVAILABLE
    assert UNAVAILABLE == 5
    assert FAILED == 1
    listing = runner.invoke(APP, ["torture", "--list"])
    assert listing.exit_code == 0
    for word in ("register", "kill-loop", "partition-bridge", "possible"):
        assert word in listing.output


# --- processes ---


def state_of(pid: int) -> str:
    """As the kernel says: R, S, T (stopped), Z (gone, not collected yet) …"""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


async def until_stopped(pid: int, wanted: bool) -> None:
    """A signal takes effect when its process next runs."""
    with trio.fail_after(10):
        while (state_of(pid) == "T") != wanted:
            await trio.sleep(0.01)


async def test_members_are_paused_resumed_killed_and_started_again(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 1, Random(1))
    await cluster.open()
    async with trio.open_nursery() as nursery:
        await nursery.start(cluster.run)
        await cluster.wait_up()
        process = cluster.processes[1]
        pid = process.pid
        process.pause()
        assert process.paused
        await until_stopped(pid, True)
        process.resume()
        await until_stopped(pid, False)
        process.pause()
        await cluster.kill(1)  # also when it is paused
        assert not process.running
        assert cluster.deaths == [], "it did not end by itself"
        cluster.start(1)
        await cluster.wait_up()
        os.kill(process.pid, signal.SIGKILL)  # as if it had died
        before = process.starts_count
        with trio.fail_after(30):
            await process.started_after(before)
        await cluster.wait_up()
        assert [(death.code, death.allowed) for death in cluster.deaths] == [(-9, False)]
        last = process.pid
        nursery.cancel_scope.cancel()
    assert not os.path.exists(f"/proc/{last}") or state_of(last) == "Z", "nobody is left behind"


async def test_a_member_that_refuses_its_folder_gets_an_empty_one_and_is_restored(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 3, Random(1))
    await cluster.open()
    said: list[str] = []
    records: list[Record] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(cluster.run)
        await cluster.wait_up()
        observer = Observer({member: cluster.address(member) for member in cluster.members}, records.append)
        nursery.start_soon(observer.run)
        arena = Arena(cluster, observer, said.append)
        with trio.fail_after(20):
            while not observer.leader:
                await trio.sleep(0.05)
        await cluster.kill(2)
        (cluster.data(2) / "identity").write_bytes(bytes(8_192))
        await arena.restore(2)
        assert said == ["member 2 refuses its folder; it gets an empty one"]
        status = await observer.ask(2)
        assert status is not None
        assert status["role"] in ("follower", "leader")
        assert all(death.allowed for death in cluster.deaths), "it was right to refuse"
        nursery.cancel_scope.cancel()
    assert any(isinstance(each, Leader) for each in records)


async def test_a_member_that_never_serves_is_told_with_its_last_words(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 1, Random(1), config="[no_such_table]\nx = 1")
    await cluster.open()

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(cluster.run)
            await cluster.wait_up()

    with pytest.raises(ExceptionGroup) as caught:
        await run()
    [error] = caught.value.exceptions
    assert "no such setting" in str(error)


def test_said_of_a_member_that_never_started(tmp_path: Path) -> None:
    assert MemberProcess(1, [], tmp_path / "none.log", {}).said() == ""
