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
    code, _, errors = run("--seeds", "1")
    assert code == 1
    assert "python -m coord.jepsen_like sim --seed 0 --set safety_ms=300" in errors


def test_a_setting_that_there_is_not_is_refused() -> None:
    done = CliRunner().invoke(app, ["sim", "--seed", "1", "--set", "colour=red"])
    assert done.exit_code == 2
