"""The smaller parts: costs, rows back to ops, another root, pacing, configuration, totals, names."""

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from coord.api import ops
from coord.api.ops import Compare, Create, Delete, Exists, Get, Kind, List, Multi, Op, Operator, Set, Target
from coord.api.results import Created, MultiResult, Written
from coord.jepsen_like.history import Committed, Fault, Record, WatchOpened, WatchTold, load
from coord.jepsen_like.live.availability import costs, longest_gap_ms
from coord.jepsen_like.live.below import Below
from coord.jepsen_like.live.cluster import Cluster
from coord.jepsen_like.live.find import find_workload
from coord.jepsen_like.live.links import CLIENTS
from coord.jepsen_like.live.matrix import add_totals, matrix
from coord.jepsen_like.live.operations import op_from_row
from coord.jepsen_like.live.pacing import paced
from coord.jepsen_like.live.report import Report
from coord.jepsen_like.live.scribe import Scribe
from coord.jepsen_like.live.settings import Settings
from coord.jepsen_like.live.verdict import Findings, verdict
from coord.jepsen_like.workloads.register import Register
from coord.jepsen_like.workloads.workload import Pause, Script, Together, Watch, Watched
from coord.server.config import load_config
from tests.jepsen_like.live.histories import MS, history, operation

# --- what faults cost ---


def test_a_fault_costs_until_something_asked_after_it_is_done() -> None:
    records: list[Record] = [
        operation(1, took_ms=60),  # asked before the fault, told after it: proves nothing
        Fault("pause-all", "begin", (1, 2, 3), "all", 20 * MS),
        operation(3, outcome="unknown"),
        Fault("pause-all", "end", (1, 2, 3), "all", 50 * MS),
        operation(8, took_ms=20),
    ]
    [cost] = costs(records)
    assert (cost.lasted_ms, cost.recovered_ms, cost.after_end_ms) == (30, 80, 20)
    assert longest_gap_ms(records) == 30


def test_equal_faults_are_told_apart() -> None:
    faults = [
        Fault("kill-one", phase, (1,), "kill", at * MS)
        for phase, at in (("begin", 1), ("end", 2), ("begin", 5), ("end", 9))
    ]
    assert [cost.lasted_ms for cost in costs([*faults, operation(100)])] == [1, 4]


def test_nothing_ever_again_is_no_number() -> None:
    [cost] = costs([operation(1), Fault("kill-all", "once", (1,), "all", 900 * MS)])
    assert cost.recovered_ms is None


# --- rows back to ops ---


@pytest.mark.parametrize(
    "op",
    [
        Create("/a", b"x", Kind.TTL, True, False, 500),
        Create("/a/b", parents=True),
        Set("/a", b"", 3, None, True, False),
        Set("/a", b"", None, 9, False, True),
        Delete("/a", 1, 2, True),
        Get("/a", 4, 5),
        Exists("/a"),
        List("/", True, False, 7, "b"),
        List("/", False, True),
        Multi(
            (
                Compare(Target.VERSION, "/a", Operator.LESS, 3),
                Compare(Target.EXISTS, "/b", Operator.EQUAL, True),
            ),
            (Set("/a", b"1"), Get("/b")),
            (Delete("/c"),),
        ),
        ops.Claim("/a", True, True, 2, b"me", True, True),
        ops.ClaimFirst("/a", 3, True, True, b"me"),
        ops.Release(7, 8, True),
        ops.ClaimSettings("/a", 2, 1_000),
        ops.Fence("/a", None),
        ops.FencedWrite(((1, 5),), Multi((), (ops.Claim("/a"), Set("/b", b"")))),
        ops.Claims("/a", ops.WatchScope.ZNODE, 3, 4, 5),
        ops.ClaimInfo("/a"),
    ],
)
def test_a_row_is_its_op_again(op: Op) -> None:
    assert op_from_row(op.row()) == op


def test_what_looks_at_the_service_is_no_op_of_a_history() -> None:
    assert op_from_row([ops.STATUS]) is None


# --- another root ---


def test_below_another_root_the_workload_sees_its_own() -> None:
    below = Below("/top/run-1")
    seen: list[Any] = []
    watched = Watched(1, "/top/run-1/a", "subtree")

    def script() -> Script:
        seen.append((yield Together((Create("/a"), Multi((), (Set("/b", b""),), ())))))
        seen.append((yield Watch("/")))

    real = below.script(script())
    asked: Any = next(real)
    assert asked == Together((Create("/top/run-1/a"), Multi((), (Set("/top/run-1/b", b""),), ())))
    result = MultiResult(True, (Created("/top/run-1/a", 3), Written(1, 3)), 3)
    told = [replace(operation(1), op=asked.asks[0], result=result)]
    assert real.send(told) == Watch("/top/run-1")
    [outcome] = seen[0]
    assert outcome.op == Create("/a")
    assert outcome.result == MultiResult(True, (Created("/a", 3), Written(1, 3)), 3)
    with pytest.raises(StopIteration):
        real.send(watched)
    assert seen[1] is watched


def test_records_are_written_as_if_the_path_were_the_root() -> None:
    below = Below("/top/run-1")
    opened = below.record(WatchOpened(1, 1, 1, "/top/run-1", "subtree", None, 8, 1))
    assert isinstance(opened, WatchOpened)
    assert opened.path == "/"
    change = (1, "/top/run-1/x", b"/top/run-1", 0, 5, 6, 0)
    record = below.record(WatchTold(1, 1, 1, 9, (change,), 1))
    assert isinstance(record, WatchTold)
    assert record.changes == ((1, "/x", b"/top/run-1", 0, 5, 6, 0),), "paths, not values"


# --- pacing ---


def test_pacing_pauses_before_what_is_asked_only() -> None:
    def script() -> Script:
        for number in range(500):
            assert (yield Get("/a")) == number
            yield Pause(3)

    paces, number, steps = [], 0, []
    running = paced(script(), 50.0, Random(1))
    outcome: object = None
    try:
        while True:
            step = running.send(outcome)
            steps.append(type(step).__name__)
            outcome = None
            if isinstance(step, Get):
                outcome, number = number, number + 1
            elif steps[-2:-1] != ["Get"] and isinstance(step, Pause):
                paces.append(step.ms)
    except StopIteration:
        pass
    assert steps[:6] == ["Pause", "Get", "Pause", "Pause", "Get", "Pause"]
    assert 15 < sum(paces) / len(paces) < 25, "50 a second are 20 ms each"


# --- the cluster's configuration ---


async def test_each_member_reaches_the_others_through_its_own_links(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 3, Random(1), config="[timing]\nelection_ms = 400")
    await cluster.open()
    seen: dict[tuple[int, int], int] = {}
    for member in cluster.members:
        config = load_config(tmp_path / f"member-{member}.toml", {})
        assert config.timing.election_ms == 400
        assert config.data == cluster.data(member)
        assert str(config.listen) == cluster.address(member)
        for each in config.members:
            assert str(each.client) == cluster.endpoints[each.id]
            seen[member, each.id] = each.peer.port
        assert config.peer_listen.port == seen[member, member]
    for (source, target), port in seen.items():
        if source != target:
            assert cluster.links[source, target].port == port
            assert cluster.links[source, target].to_port == seen[target, target]
        assert cluster.links[CLIENTS, target].to_port == cluster.client_ports[target]
    assert len(set(seen.values())) == 9, "no two links share a port"
    await cluster.links.close()


# --- what stays of a run ---


def test_the_history_is_written_while_it_happens_and_lies_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    lie = Committed(9, 9, (), 0)
    with Scribe(path, lambda record: lie if isinstance(record, Fault) else record) as scribe:
        for record in history(5):
            scribe.write(record)
    assert load(path.read_text().splitlines()) == scribe.records
    assert scribe.records.count(lie) == 2


def test_a_run_in_which_nothing_was_answered_is_not_fine(tmp_path: Path) -> None:
    report = verdict(Settings(out=tmp_path), [operation(1, outcome="unknown")], (), Findings())
    assert not report.ok
    assert "nothing was tested" in str(report.violations[0])
    assert (tmp_path / "timeline.html").exists()
    assert (tmp_path / "report.json").exists()


def test_totals_add_up(tmp_path: Path) -> None:
    findings = Findings(faults={"kill-one": 2})
    report = verdict(Settings(out=tmp_path, seconds=5), [operation(1)], (), findings)
    for _ in range(3):
        totals = add_totals(tmp_path / "totals.json", report)
    assert totals["runs"] == 3
    assert totals["seconds"] == 15
    assert totals["faults"] == {"kill-one": 6}
    assert totals["operations"] == {"ok": 3}


def test_the_matrix_goes_through_all_pairs_and_on_with_other_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, tuple[str, ...], int]] = []

    def fake(settings: Settings, **rest: Any) -> Report:
        settings.out.mkdir(parents=True)
        ran.append((settings.workload, settings.nemeses, settings.seed))
        findings = Findings()
        if settings.nemeses == ("pause",) and settings.seed == 6:
            findings.broken("example", "a lie")
        created = replace(operation(1), op=Create("/a"), result=Created("/a", 1))
        return verdict(settings, [created], (), findings)

    monkeypatch.setattr("coord.jepsen_like.live.matrix.torture", fake)
    base = Settings(seed=5, out=tmp_path)
    assert len(matrix(base, ["register", "append"], ["kill", "pause"])) == 4
    assert ran == [(w, (n,), 5) for w in ("register", "append") for n in ("kill", "pause")]
    again = Settings(seed=6, out=tmp_path)
    cells = matrix(again, ["register"], ["kill", "pause"], for_s=0.2)
    assert {cell.seed for cell in cells} >= {6, 7}
    assert [(cell.nemesis, cell.seed) for cell in cells if not cell.report.ok] == [("pause", 6)]
    totals = json.loads((tmp_path / "totals.json").read_text())
    assert (totals["runs"], totals["broken"]) == (4 + len(cells), 1)


# --- names ---


def test_workloads_by_name_and_from_a_module() -> None:
    assert find_workload("register", 1).name == "register"
    ours = find_workload("coord.jepsen_like.workloads.register:Register", 1)
    assert isinstance(ours, Register)
    for bad in ("registre", "no_such_module:X", "coord.jepsen_like.workloads.register:Nobody"):
        with pytest.raises(ValueError, match=r"there is no"):
            find_workload(bad, 1)


def test_the_line_that_runs_it_again_names_everything() -> None:
    line = Settings(workload="append", nemeses=(), seed=9, members=5).command()
    assert line.startswith("coord torture --workload append --nemesis none --members 5")
    assert "--seed 9" in line
