"""The benchmark's own arithmetic: a ratio that is wrong is worse than none."""

import json
import math
import resource
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parent.parent / "bench"


@pytest.fixture
def race(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCH))
    import race.__main__
    import race.handoffs
    import race.loads
    import race.profile
    import race.report
    import race.sessions
    import race.works

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


def test_who_is_asked(race: Any) -> None:
    cluster = object.__new__(race.loads.Coord)
    cluster.leader = lambda: 2
    work = race.loads.Work("set", 1, 1)
    assert race.loads.asked(cluster, work) == ["127.0.0.1:14711", "127.0.0.1:14712", "127.0.0.1:14713"]
    at_the_leader, at_a_follower = (race.loads.Work("set", 1, 1, at=at) for at in ("leader", "follower"))
    assert race.loads.asked(cluster, at_the_leader) == ["127.0.0.1:14713"]
    assert race.loads.asked(cluster, at_a_follower) == ["127.0.0.1:14711"]
    assert at_a_follower.title == "set 1x1, at a follower"


def test_who_has_which_read(race: Any) -> None:
    work = race.loads.Work("get", read="linearizable")
    kinds = race.loads.ZooKeeper, race.loads.Coord
    zookeeper, coord = (object.__new__(kind) for kind in kinds)
    assert not race.loads.can(zookeeper, work)
    assert race.loads.can(coord, work)
    assert race.loads.can(zookeeper, race.loads.Work("get", read="local"))
    assert not race.loads.can(zookeeper, race.loads.Work("get", read="at-least"))


def test_where_less_is_better_the_better_peer_has_less(race: Any) -> None:
    results = {
        "failover": {
            "coord": [{"longest_gap_ms": 400.0}, {"longest_gap_ms": 800.0}],
            "zookeeper": [{"longest_gap_ms": 1000.0}, {"longest_gap_ms": 3000.0}],
            "etcd": [{"longest_gap_ms": 2000.0}, {"longest_gap_ms": 2000.0}],
        }
    }
    peers = dict.fromkeys(("zookeeper", "etcd"), "failover")
    assert race.report._ratio(results, "failover", peers, "longest_gap_ms") == 0.4


def test_the_page_of_a_run_that_was_cut_short(
    race: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Some works have two rounds, some one, some are missing, and what only coord has is told."""
    results = {
        "set 8x64": {"coord": [row(30), row(40)], "zookeeper": [row(10)]},
        "handoffs-python 8x1": {"coord": [row(500)], "zookeeper": [row(100)]},
        "million": {
            "coord": [{"half_load_p999_ms": 12.34, "restart_s": 3.0}],
            "etcd": [{"restart_s": 6.0, "resident_mb": 700.0}],
        },
        "sessions": {"coord": [{"kb_per_session": 20.5}]},
    }
    page = tmp_path / "page.md"
    monkeypatch.setattr(race.report, "_draw", lambda *_: [])  # matplotlib is not there for tests
    race.report.write_report(facts(results), page)
    text = page.read_text()
    assert "; 1 to 2 rounds, each" in text
    assert "| **500** 1.00 / 2.0 | **100** 1.00 / 2.0 | - | 5.0 | 10.0 |" in text
    assert "| p99.9 of these, ms (aim: below 50) | 12.3 | - | - |  |  |" in text
    assert (
        "| a follower killed and started again: seconds until it serves | 3.0 | - | 6.0 | 0.50 | at most 1 |"
        in text
    )
    assert "| memory of a member for each session, KB | 20.5 | - | - |" in text


def test_what_is_aimed_at_is_run_first(race: Any) -> None:
    works = race.works
    run = (*works.REQUESTS, *works.WATCHES, *works.HANDOFFS)
    assert works.BEST_RATIOS.keys() | works.COMPARED <= {work.title for work in run}
    assert {*works.FIRST, *works.REST} == {*works.REQUESTS}
    assert not {*works.FIRST} & {*works.REST}
    titles = [title for title, _ in _race(race).parts(first=True)]
    assert "set 8x64" in titles[0]
    assert titles[1:-1] == ["failover", "million", "sessions"]
    assert [title for title, _ in _race(race).parts(first=False)] == [titles[0], "failover", titles[-1]]
    assert [title for title, _ in _race(race, only=["million"]).parts(first=False)] == []


def test_what_fails_is_told_and_the_rest_goes_on(
    race: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = _race(race, tmp_path / "race.json", rounds=1, only=["failover", "sessions"])
    monkeypatch.setitem(race.__main__.CLUSTERS, "coord", _Pretended)
    monkeypatch.setattr(found, "failover", _unmet(race, "the load did not survive"))
    monkeypatch.setattr(found, "sessions", lambda cluster: found.note("sessions", cluster, {"open_s": 1.0}))
    found.run()
    assert found.skipped == {"coord: failover": "the load did not survive"}
    assert found.results == {"sessions": {"coord": [{"open_s": 1.0}]}}
    assert json.loads(found.arguments.out.read_text())["results"] == found.results


def test_nothing_new_is_begun_when_the_minutes_are_over(race: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(race.__main__.CLUSTERS, "coord", _unmet(race, "it was begun"))
    late = _race(race, minutes=-1.0)
    late.run()
    assert late.skipped == {"what is missing below": "the run was limited to -1 minutes"}


def test_too_few_open_files_are_told(race: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 12_000))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: given.append(limits))
    race.sessions.allow_files(10_000)
    assert given == [(10_200, 12_000)]
    with pytest.raises(race.clusters.Unmet, match="ulimit -Hn is 12000"):
        race.sessions.allow_files(12_000)


def test_the_figures_of_hand_overs(race: Any) -> None:
    found = race.handoffs.row([0.001] * 98 + [0.5, 0.003], 10.0)
    assert (found["done"], found["rate_per_second"]) == (100, 10.0)
    assert (found["p50_ms"], found["p99_ms"]) == (1.0, 500.0)
    assert race.loads.figures(found).errors == 0


def test_only_systems_with_a_library_for_python_hand_over_in_it(race: Any) -> None:
    work = race.loads.Work(race.loads.PYTHON_HANDOFFS)
    kinds = (race.loads.Coord, race.loads.ZooKeeper, race.clusters.Etcd)
    assert [race.loads.can(object.__new__(kind), work) for kind in kinds] == [True, True, False]


class _Pretended:
    name, durability = "coord", "none"

    def __init__(self, folder: Path) -> None:
        pass

    def __enter__(self) -> "_Pretended":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def version(self) -> str:
        return "0"


def _unmet(race: Any, why: str) -> Any:
    def fail(_: object) -> None:
        raise race.clusters.Unmet(why)

    return fail


def _race(race: Any, out: Path = Path("/nowhere"), **given: Any) -> Any:
    usual = {"rounds": 2, "seconds": 1.0, "only": None, "minutes": math.inf, "systems": "coord"}
    return race.__main__.Race(Namespace(**(usual | given), folder=out.parent, out=out))


def test_a_sample_counts_for_the_file_of_its_innermost_frame(race: Any) -> None:
    raw = "main (coord/a.py:1);step (coord/b.py:20) 3\nmain (coord/a.py:1);<lambda> (c.py:7) 2\nmain (coord/a.py:9) 1\n"
    assert race.profile.places(raw) == {"coord/b.py": 3, "c.py": 2, "coord/a.py": 1}


def test_a_profile_tells_what_each_process_spends_on_a_request(race: Any) -> None:
    found = {"the leader": {"a.py": 30, "b.py": 10}, "a follower": {"b.py": 1}}
    made = race.profile.table("sets", "µs", found, {"the leader": 20.0, "a follower": 0.5})
    assert "| **all** | **20** | **0.5** |" in made
    assert "| `a.py` | 15 | 0.0 |" in made
    assert "| `b.py` | 5.0 | 0.5 |" in made
    assert "| others | 0.0 | 0.0 |" in made
