"""The benchmark's own arithmetic: a ratio that is wrong is worse than none."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parent.parent / "bench"


@pytest.fixture
def race(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCH))
    import race.loads
    import race.report

    yield race
    for name in [name for name in sys.modules if name.split(".")[0] == "race"]:
        del sys.modules[name]


def row(rate: float) -> dict[str, float]:
    return {"rate_per_second": rate, "p50_ms": 1.0, "p99_ms": 2.0, "p999_ms": 3.0}


def facts(results: dict[str, Any]) -> dict[str, Any]:
    machine = {"cpu": "2 of them", "memory": "8 GB", "system": "an OS", "date": "a day"}
    return {"machine": machine, "systems": {}, "skipped": {}, "rounds": 2, "seconds": 4, "results": results}


def test_a_ratio_is_made_within_a_round(race: Any) -> None:
    """A round in which the machine was twice as slow says the same as the others."""
    results = {
        "set 8x64": {
            "coord": [row(30_000), row(15_000)],
            "zookeeper": [row(10_000), row(5_000)],
            "etcd": [row(9_000), row(4_000)],
        }
    }
    assert race.report._ratio(results, "set 8x64", race.report._peers("set 8x64")) == 3.0


def test_the_better_peer_counts(race: Any) -> None:
    results = {"create 8x64": {"coord": [row(100)], "zookeeper": [row(10)], "etcd": [row(50)]}}
    assert race.report._ratio(results, "create 8x64", race.report._peers("create 8x64")) == 2.0


def test_a_linearizable_read_is_compared_with_zookeepers_stale_one(race: Any) -> None:
    results = {
        "get (linearizable) 8x64": {"coord": [row(80)], "etcd": [row(8)]},
        "get (local) 8x64": {"coord": [row(100)], "zookeeper": [row(40)], "etcd": [row(9)]},
    }
    title = "get (linearizable) 8x64"
    assert race.report._ratio(results, title, race.report._peers(title)) == 2.0


def test_the_page_keeps_what_was_written_by_hand(race: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    begin, end = race.report.BEGIN, race.report.END
    page.write_text(f"# By hand\n\n{begin}\nold figures\n{end}\n\nAlso by hand.\n")
    results = {"failover": {"coord": [{"longest_gap_ms": 400.0}], "etcd": [{"longest_gap_ms": 2000.0}]}}
    race.report.write_report(json.loads(json.dumps(facts(results))), page)
    text = page.read_text()
    assert text.startswith("# By hand\n")
    assert text.endswith("\n\nAlso by hand.\n")
    assert "old figures" not in text
    assert "| longest gap, ms | 400 | - | 2,000 |" in text


def test_who_has_which_read(race: Any) -> None:
    work = race.loads.Work("get", read="linearizable")
    kinds = race.loads.ZooKeeper, race.loads.Coord
    zookeeper, coord = (object.__new__(kind) for kind in kinds)
    assert not race.loads.can(zookeeper, work)
    assert race.loads.can(coord, work)
    assert race.loads.can(zookeeper, race.loads.Work("get", read="local"))
    assert not race.loads.can(zookeeper, race.loads.Work("get", read="at-least"))
