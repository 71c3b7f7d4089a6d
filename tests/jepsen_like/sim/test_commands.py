"""``python -m coord.jepsen_like sim``: what it says, and how it ends."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coord.jepsen_like.__main__ import app
from coord.jepsen_like.history import Run, load
from coord.raft import quorum

QUICK = ["--set", "safety_ms=300", "--set", "clients=1", "--set", "voters=3", "--set", "learners=0"]


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["sim", *arguments, *QUICK])
    return done.exit_code, done.stdout, done.stderr


def test_one_seed_ends_with_its_verdict_and_its_trace(tmp_path: Path) -> None:
    code, out, _ = run("--seed", "3", "--history", str(tmp_path / "h"), "--trace", str(tmp_path / "t"))
    assert code == 0
    verdict, trace = out.splitlines()[-2:]
    assert verdict == "verdict: ok"
    assert trace.startswith("trace: ")
    assert len(bytes.fromhex(trace.removeprefix("trace: "))) == 16
    history = load((tmp_path / "h").read_text().splitlines())
    assert isinstance(history[0], Run)
    assert history[0].seed == 3
    assert (tmp_path / "t").read_text().count("\n") > 100


def test_many_seeds_end_with_totals() -> None:
    code, out, _ = run("--seeds", "2", "--from", "5", "--json")
    assert code == 0
    totals = json.loads(out)
    assert totals["seeds"] == 2
    assert totals["failed_seeds"] == []
    assert totals["operations"] > 0


def test_a_broken_promise_ends_with_1_and_a_line_that_replays_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quorum, "majority", lambda count: max(1, count // 2))
    code, _, errors = run("--seeds", "1", "--from", "0")
    assert code == 1
    assert "python -m coord.jepsen_like sim --seed 0 --set safety_ms=300" in errors


def test_totals_are_added_up_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "new" / "folder" / "totals.json"
    assert run("--seeds", "2", "--from", "5", "--totals", str(file))[0] == 0
    first = json.loads(file.read_text())
    assert (first["runs"], first["seeds"], first["failed"]) == (1, 2, [])
    assert list(first["seeds_by_version"].values()) == [2]
    assert first["marks"]["election_won"] > 0
    with monkeypatch.context() as patch:
        patch.setattr(quorum, "majority", lambda count: max(1, count // 2))
        assert run("--seeds", "1", "--from", "0", "--totals", str(file))[0] == 1
    both = json.loads(file.read_text())
    assert (both["runs"], both["seeds"]) == (2, 3)
    for name in ("simulated_ms", "operations", "cpu_s"):
        assert both[name] > first[name]
    assert both["faults"] == sum(both["faults_by_kind"].values())
    hours = both["simulated_ms"] / 3_600_000
    assert both["faults_per_simulated_hour"] == pytest.approx(both["faults"] / hours, abs=0.1)
    assert both["operations_per_simulated_second"] == pytest.approx(
        both["operations"] / hours / 3600, abs=0.1
    )
    (failed,) = both["failed"]
    assert failed["seed"] == 0
    assert failed["violations"]
    assert failed["replay"].startswith("python -m coord.jepsen_like sim --seed 0 --set safety_ms=300")
    assert [each.name for each in file.parent.iterdir()] == [file.name]  # nothing left aside


def test_totals_are_kept_when_writing_them_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "totals.json"
    assert run("--seeds", "1", "--from", "0", "--totals", str(file))[0] == 0
    before = file.read_text()

    def torn(path: Path, text: str, encoding: str) -> None:
        with path.open("w", encoding=encoding) as torn_file:
            torn_file.write(text[:10])
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_text", torn)
    assert run("--seeds", "1", "--from", "0", "--totals", str(file))[0] == 1
    assert file.read_text() == before
    assert [each.name for each in tmp_path.iterdir()] == [file.name]


def test_a_file_that_holds_no_totals_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "totals.json"
    file.write_text('{"seeds": 3}')
    assert run("--seeds", "1", "--from", "0", "--totals", str(file))[0] == 2
    assert file.read_text() == '{"seeds": 3}'


def test_a_setting_that_there_is_not_is_refused() -> None:
    done = CliRunner().invoke(app, ["sim", "--seed", "1", "--set", "colour=red"])
    assert done.exit_code == 2
