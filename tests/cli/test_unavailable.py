"""Nobody answers, or nobody listens: what a command says when there is no quorum, and when its reader has gone."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from coord.cli import running
from coord.cli.app import build
from coord.cli.asking import diagnosis
from coord.cli.exits import FAILED, UNAVAILABLE
from coord.cli.inspecting import wal
from coord.cli.options import says_deadline
from coord.cli.printing import print_table
from coord.cli.running import DEADLINE_S, run_plain
from coord.testing import cluster

APP = build()


def row(
    member: int, role: str = "follower", leader: int = 0, term: int = 4, **rest: object
) -> dict[str, object]:
    return {
        "member": member, "role": role, "leader": leader, "term": term, "commit_index": 9, "voters": [1, 2, 3], **rest
    }  # fmt: skip


def test_a_cluster_of_which_nobody_answers() -> None:
    headline, *lines = diagnosis({"a:1": "connection refused", "bb:1": "timed out"})
    assert headline.startswith("no member answers")
    assert lines == ["  a:1   connection refused", "  bb:1  timed out"]


def test_no_quorum_is_told_with_what_each_says() -> None:
    assert diagnosis({"a:1": "gone", "b:1": row(2, "pre_candidate"), "c:1": "gone"}) == [
        "no quorum is to be seen: 1 of 3 voting members answers here, and it takes 2",
        "  a:1  gone",
        "  b:1  member 2 in term 4 (pre_candidate): knows no leader",
        "  c:1  gone",
    ]


def test_a_learner_and_a_member_that_lags_in_membership_do_not_count() -> None:
    """Member 9 is no voter; member 2 has not heard yet that there are five."""
    found = {
        "a": row(1, voters=[1, 2, 3, 4, 5], term=5),
        "b": row(2, voters=[1, 2, 3]),
        "i": row(9, leader=1),
    }
    headline, *lines = diagnosis(found)
    assert "2 of 5 voting members answer here, and it takes 3" in headline
    assert lines[2] == "  i  member 9 in term 4 (follower): follows member 1"


def test_a_majority_without_a_leader() -> None:
    headline, *_ = diagnosis({"a": row(1), "b": row(2, "candidate"), "c": "gone"})
    assert headline.startswith("there is no leader: 2 of 3 voting members answer here")


def test_where_all_is_well_nothing_is_said() -> None:
    """A wait that was given up because what it waited for did not come, say."""
    assert diagnosis({"a": row(1, "leader"), "b": row(2, leader=1), "c": "gone"}) == []


def test_a_command_without_a_quorum_gives_up_soon_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "DEADLINE_S", 0.4)
    with cluster(3) as made:
        for member in (1, 2):
            made.kill(member)
        environment = {"COORD_ENDPOINTS": ",".join(made.endpoints)}
        for command in (["get", "/x"], ["set", "/x", "y"]):
            ended = CliRunner().invoke(APP, command, env=environment)
            assert ended.exit_code == UNAVAILABLE, ended.output
            first, headline, *lines = ended.stderr.splitlines()
            assert first.startswith("coord: ")
            assert headline.startswith("no quorum is to be seen: 1 of 3")
            assert sum("connection refused" in line for line in lines) == 2
            assert re.search(rf"{made.endpoints[2]}  member 3 in term \d+ ", ended.stderr)


def test_the_deadline_of_an_address_counts() -> None:
    assert DEADLINE_S <= 5
    assert says_deadline("coord://a:4711,b/app?session=no&deadline=60")
    for address in ("a:4711", "coord://a:4711", "coord://a/deadline?name=x"):
        assert not says_deadline(address)
    ended = CliRunner().invoke(APP, ["get", "/x", "-e", "coord://127.0.0.1:1?deadline=0.05"])
    assert ended.exit_code == UNAVAILABLE
    assert "in 0.05 s" in ended.stderr


@contextmanager
def nobody_reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Standard output is a pipe whose reader has ended, as in `coord status | true`."""
    reading, writing = os.pipe()
    os.close(reading)
    with monkeypatch.context() as patch, suppress(BrokenPipeError), open(writing, "w") as pipe:
        patch.setattr("sys.stdout", pipe)
        yield


def test_a_reader_that_has_gone_is_no_failure_of_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        print_table(("column",), [("cell",)])
        pytest.fail("it was written")

    with nobody_reads(monkeypatch):
        run_plain(main)  # without an exit code, and not by the SystemExit(1) of rich's own


def test_nor_of_the_commands_on_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with nobody_reads(monkeypatch), pytest.raises(typer.Exit) as ended:
        wal(tmp_path, as_json=False)
    assert ended.value.exit_code == FAILED  # since this folder is none: the code still tells of that
