"""The commands against a real member, as a person or a script would use them."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from coord.cli.app import build
from coord.cli.exits import CONFLICT, NOT_FOUND, STORAGE, UNAVAILABLE, USAGE
from tests.processes import Cluster, Member, free_ports

APP = build()

pytestmark = pytest.mark.processes

Coord = Callable[..., Any]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    [port] = free_ports(1)
    member = Member(["--data", str(tmp_path_factory.mktemp("cli") / "data"), "--listen", f"127.0.0.1:{port}"])
    member.start().wait_serving()
    yield f"127.0.0.1:{port}"
    assert member.stop() == 0
    assert "Traceback" not in member.stderr


@pytest.fixture
def coord(endpoint: str) -> Coord:
    def run(*arguments: str, code: int = 0, input: bytes | None = None) -> Any:
        result = CliRunner().invoke(APP, list(arguments), input=input, env={"COORD_ENDPOINTS": endpoint})
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == code, result.output
        return result

    return run


def test_create_get_set_delete(coord: Coord) -> None:
    assert "created /a/b" in coord("create", "/a/b", "one", "--parents").stdout
    assert coord("get", "/a/b").stdout == "one\n"
    assert coord("get", "/a/b", "--raw").stdout == "one"
    assert "version 1" in coord("set", "/a/b", "two").stdout
    assert "version 2" in coord("set", "/a/b", "--file", "-", "--version", "1", input=b"\xff\x00").stdout
    assert coord("get", "/a/b", "--raw").stdout_bytes == b"\xff\x00"
    assert json.loads(coord("get", "/a/b", "--json").stdout)["value_base64"] == "/wA="
    assert "deleted 2 znodes" in coord("delete", "/a", "--subtree").stdout


def test_exit_codes_tell_apart(coord: Coord, tmp_path: Path) -> None:
    coord("create", "/codes", "x")
    assert "there is no znode '/none'" in coord("get", "/none", code=NOT_FOUND).stderr
    assert "at version 0" in coord("set", "/codes", "y", "--version", "9", code=CONFLICT).stderr
    coord("create", "/codes", code=CONFLICT)
    coord("create", "/codes/child")
    coord("delete", "/codes", code=CONFLICT)
    assert "is not a path" in coord("get", "codes", code=USAGE).stderr
    coord("set", "/codes", code=USAGE)
    coord("set", "/codes", "x", "--file", str(tmp_path / "none"), code=USAGE)
    coord("create", "/x", "--ephemeral", "--container", code=USAGE)
    coord("watch", "/codes", "--children", "--subtree", code=USAGE)
    assert "not text in UTF-8" in coord("get", "/\udcff", code=USAGE).stderr
    coord("stat", "/none", code=NOT_FOUND)
    coord("wal", str(tmp_path / "none"), code=STORAGE)
    [port] = free_ports(1)
    assert "127.0.0.1" in coord("status", "--endpoints", f"127.0.0.1:{port}", code=UNAVAILABLE).output
    coord("bench", "set", "--endpoints", "a:b", code=USAGE)
    assert "not a port" in coord("status", "--endpoints", "127.0.0.1:x", code=USAGE).stderr


def test_listings(coord: Coord) -> None:
    coord("create", "/list/a", "1", "--parents")
    coord("create", "/list/b/c", "2", "--parents")
    coord("create", "/list/n-", "--sequential")
    assert coord("ls", "/list").stdout.split() == ["a", "b", "n-0000000000"]
    assert coord("ls", "-R", "/list").stdout.split() == [
        "/list/a",
        "/list/b",
        "/list/n-0000000000",
        "/list/b/c",
    ]
    lines = coord("ls", "-l", "/list").stdout.splitlines()
    assert lines[0].split() == ["name", "kind", "version", "bytes", "children", "owner", "modified"]
    assert lines[1].split()[:5] == ["a", "persistent", "0", "1", "0"]
    rows = [json.loads(line) for line in coord("ls", "--json", "/list").stdout.splitlines()]
    assert [row["path"] for row in rows] == ["/list/a", "/list/b", "/list/n-0000000000"]
    assert coord("tree", "/list", "--values").stdout.splitlines() == [
        "/list",
        "├── a = 1",
        "├── b",
        "│   └── c = 2",
        "└── n-0000000000",
    ]


def test_a_tree_for_programs(coord: Coord) -> None:
    coord("create", "/forest/a/b", "1", "--parents")
    coord("create", "/forest/c", "2")
    tree = json.loads(coord("tree", "/forest", "--values", "--json").stdout)
    a, c = tree["children"]
    assert (tree["path"], a["path"], c["path"], c["value"]) == ("/forest", "/forest/a", "/forest/c", "2")
    assert [row["path"] for row in a["children"]] == ["/forest/a/b"]
    assert (c["children"], c["stat"]["data_length"]) == ([], 1)
    shallow = json.loads(coord("tree", "/forest", "--depth", "1", "--json").stdout)
    assert "children" not in shallow["children"][0]
    assert shallow["children"][0]["stat"]["child_count"] == 1


def test_where_nothing_can_be_written_or_shown(endpoint: str, coord: Coord) -> None:
    coord("create", "/shown/ä☃", "1", "--parents")

    def run(*arguments: str, stdout: Any = subprocess.PIPE) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "coord", *arguments, "-e", endpoint]
        environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
        return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, env=environment)

    done = run("tree", "/shown")
    assert (done.returncode, done.stdout) == (0, "/shown\n\\u2514\\u2500\\u2500 ä\\u2603\n".encode("latin-1"))
    with open("/dev/full", "wb") as full:
        for arguments in (("get", "/shown"), ("ls", "/shown"), ("log",)):
            done = run(*arguments, stdout=full)
            assert (done.returncode, done.stderr) == (1, b"coord: cannot write: No space left on device\n")


def test_watch_and_log_tell_what_happened(coord: Coord) -> None:
    created = json.loads(coord("create", "/seen/x", "1", "--parents", "--json").stdout)
    coord("set", "/seen/x", "2")
    coord("delete", "/seen/x")
    events = coord(
        "watch", "/seen", "--subtree", "--from-revision", str(created["revision"]), "--count", "4", "--json"
    ).stdout
    assert [(row["kind"], row["path"], row["value"]) for row in map(json.loads, events.splitlines())] == [
        ("created", "/seen", ""),
        ("created", "/seen/x", "1"),
        ("set", "/seen/x", "2"),
        ("deleted", "/seen/x", None),
    ]
    entries = [json.loads(line) for line in coord("log", "/seen", "--json").stdout.splitlines()]
    assert [entry["kind"] for entry in entries] == ["created", "created", "set", "deleted"]
    assert all(entry["reason"] == "request" and entry["session"] > 0 for entry in entries)
    assert "deleted" in coord("log", "/seen").stdout


def test_a_ttl_goes_and_the_log_says_why(coord: Coord) -> None:
    revision = json.loads(coord("create", "/brief", "--ttl-ms", "50", "--json").stdout)["revision"]
    events = coord("watch", "/brief", "--from-revision", str(revision), "--count", "2", "--json").stdout
    assert [json.loads(line)["reason"] for line in events.splitlines()] == ["request", "ttl"]


def test_status_and_sessions(coord: Coord, endpoint: str) -> None:
    [row] = json.loads(coord("status", "--json").stdout)
    assert (row["role"], row["member"], row["address"]) == ("leader", 1, endpoint)
    assert "leader" in coord("status").stdout
    coord("sessions")
    assert all(json.loads(line)["session"] for line in coord("sessions", "--json").stdout.splitlines())


def test_bench_measures(coord: Coord) -> None:
    for work in ("set", "create", "get", "mixed", "cas"):
        small = ("--connections", "2", "--in-flight", "4", "--seconds", "0.3")
        result = json.loads(coord("bench", work, *small, "--json").stdout)
        assert result["done"] > 0
        assert result["errors"] == {}
        assert result["p50_ms"] <= result["p99_ms"] <= result["p999_ms"]
    for read in ("at-least", "local"):
        assert "rate/s" in coord("bench", "get", "--read", read, "--seconds", "0.3").stdout


def test_a_cluster_and_its_folders(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        env = {"COORD_ENDPOINTS": cluster.endpoints[2]}
        runner = CliRunner()
        assert runner.invoke(APP, ["create", "/x", "y"], env=env).exit_code == 0
        # One endpoint is enough: each member knows the others.
        rows = json.loads(runner.invoke(APP, ["status", "--json"], env=env).stdout)
        assert sorted(row["role"] for row in rows) == ["follower", "follower", "leader"]
        cluster.members[0].kill()
        assert (
            runner.invoke(APP, ["get", "/x"], env={"COORD_ENDPOINTS": ",".join(cluster.endpoints)}).stdout
            == "y\n"
        )
        shown = runner.invoke(APP, ["status"], env=env)
        assert "unreachable" in shown.stdout
        folder = str(cluster.folders[0])
        lines = runner.invoke(APP, ["wal", folder, "--json"])
        assert lines.exit_code == 0, lines.output
        kinds = [json.loads(line)["kind"] for line in lines.stdout.splitlines()]
        assert "entry" in kinds
        assert re.search(r"cluster [0-9a-f]{32}", runner.invoke(APP, ["wal", folder, "-n", "2"]).stdout)
        assert runner.invoke(APP, ["snapshot", folder]).exit_code == 0


def test_help_of_every_command() -> None:
    runner = CliRunner()
    shown = runner.invoke(APP, ["--help"]).stdout
    for command in APP.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__
        assert name in shown
        assert runner.invoke(APP, [name, "--help"]).exit_code == 0
