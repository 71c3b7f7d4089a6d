"""One member and its folder: restarts, and everything an operator can get wrong."""

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from coord.api.errors import Unavailable
from coord.api.ops import Get, Set
from coord.cli.exits import FAILED, STORAGE, USAGE
from coord.disk.inspect import inspect_wal
from coord.disk.real import RealFileSystem
from tests.processes import Cluster, Member, free_ports
from tests.rawclient import RawClient, close_all

pytestmark = pytest.mark.processes


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    close_all()


def single(folder: Path, port: int, *extra: str) -> Member:
    return Member(["--data", str(folder / "data"), "--listen", f"127.0.0.1:{port}", *extra])


def fill(port: int, count: int = 20, first: int = 0) -> None:
    client = RawClient(port)
    client.hello()
    for number in range(first, first + count):
        [reply] = client.write(Set(f"/k{number}", b"v" * 300, create=True).row())
        assert reply[1] == 0
    client.close()


def read(port: int, path: str, mode: int = 0) -> object:
    client = RawClient(port)
    client.hello(0)
    [reply] = client.read(Get(path).row(), mode=mode)
    client.close()
    return reply[4][0] if reply[1] == 0 else reply[1]


def newest_segment(data: Path) -> Path:
    return max(data.glob("wal-*"), key=lambda path: path.name)


def test_a_restart_finds_everything_again(tmp_path: Path) -> None:
    [port] = free_ports(1)
    member = single(tmp_path, port).start().wait_serving()
    fill(port)
    assert member.stop() == 0
    member.start().wait_serving()
    assert read(port, "/k19") == b"v" * 300
    member.kill()
    member.start().wait_serving()
    assert read(port, "/k0") == b"v" * 300
    assert member.stop() == 0
    assert "Traceback" not in member.stderr


def test_ctrl_c_stops_cleanly(tmp_path: Path) -> None:
    [port] = free_ports(1)
    member = single(tmp_path, port).start().wait_serving()
    client = RawClient(port)
    client.hello()
    member.signal(signal.SIGINT)
    assert "stopping" in client.goodbye().message
    assert member.wait() == 0
    assert "Traceback" not in member.stderr


def test_a_port_in_use(tmp_path: Path) -> None:
    [port] = free_ports(1)
    member = single(tmp_path, port).start().wait_serving()
    other = Member(["--data", str(tmp_path / "other"), "--listen", f"127.0.0.1:{port}"]).start()
    assert other.wait() == USAGE
    assert "the port is in use" in other.stderr
    assert not (tmp_path / "other").exists()
    member.kill()


def test_a_folder_in_use(tmp_path: Path) -> None:
    first, second = free_ports(2)
    member = single(tmp_path, first).start().wait_serving()
    other = single(tmp_path, second).start()
    assert other.wait() == STORAGE
    assert "in use" in other.stderr.lower() or "another process" in other.stderr.lower()
    member.kill()


def test_a_folder_of_another_member(tmp_path: Path) -> None:
    [port] = free_ports(1)
    single(tmp_path, port).start().wait_serving().kill()
    other = single(tmp_path, port, "--member", "2").start()
    assert other.wait() == STORAGE
    assert "member 1" in other.stderr
    assert "Traceback" not in other.stderr


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    [port] = free_ports(1)
    (tmp_path / "data").write_text("x")
    member = single(tmp_path, port).start()
    assert member.wait() == STORAGE
    assert "Traceback" not in member.stderr


def test_beyond_loopback_is_refused_without_a_word(tmp_path: Path) -> None:
    member = Member(["--data", str(tmp_path / "data"), "--listen", "0.0.0.0:0"]).start()
    assert member.wait() == USAGE
    assert "--insecure" in member.stderr


def test_a_torn_tail_is_cut_and_told(tmp_path: Path) -> None:
    [port] = free_ports(1)
    member = single(tmp_path, port).start().wait_serving()
    fill(port)
    member.kill()
    segment = newest_segment(tmp_path / "data")
    *_, last = inspect_wal(RealFileSystem(tmp_path / "data"))
    end = last.offset + last.length
    with segment.open("r+b") as file:  # part of a record, of which nobody was told, over the zeros ahead
        file.seek(end)
        file.write(segment.read_bytes()[end - 200 : end - 100])
    member.start().wait_serving()
    assert "torn tail" in member.stderr
    assert read(port, "/k19") == b"v" * 300
    member.kill()


def test_damage_stops_a_lone_member_with_advice(tmp_path: Path) -> None:
    [port] = free_ports(1)
    member = single(tmp_path, port).start().wait_serving()
    fill(port)
    member.kill()
    flip(tmp_path / "data")
    member.start()
    assert member.wait() == FAILED
    assert "backup" in member.stderr
    assert "Traceback" not in member.stderr


def flip(data: Path) -> None:
    """One bit of an entry in the middle of the log, which was acknowledged long ago."""
    entries = [row for row in inspect_wal(RealFileSystem(data)) if row.kind == "entry" and row.length > 300]
    row = entries[len(entries) // 2]
    with (data / row.file).open("r+b") as file:
        file.seek(row.offset + row.length - 20)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 0x10]))


@pytest.mark.parametrize("harm", ["flip", "cut", "wipe"])
def test_a_damaged_member_is_restored_by_its_peers(tmp_path: Path, harm: str) -> None:
    with Cluster(tmp_path) as cluster:
        fill(cluster.client_ports[0])
        victim, data = cluster.members[1], cluster.folders[1]
        victim.kill()
        if harm == "flip":
            flip(data)
        elif harm == "cut":
            segment = newest_segment(data)
            os.truncate(segment, len(segment.read_bytes().rstrip(b"\0")) // 2)  # zeros were written ahead
        else:
            shutil.rmtree(data)
        fill(cluster.client_ports[0], first=20)
        victim.start().wait_serving()
        assert "recovering" in victim.stderr
        victim.wait_for("recovered")  # until then it serves, but there is no quorum without both others
        # What it had, and what it missed; and it counts again: with one of the others gone there is a quorum.
        assert read(cluster.client_ports[1], "/k39") == b"v" * 300
        assert read(cluster.client_ports[1], "/k5") == b"v" * 300
        cluster.members[2].kill()
        fill(cluster.client_ports[1], first=40)
        assert read(cluster.client_ports[1], "/k59") == b"v" * 300


def test_a_folder_of_another_cluster_is_refused_by_the_members(tmp_path: Path) -> None:
    with Cluster(tmp_path / "a") as stranger:
        fill(stranger.client_ports[0])
    with Cluster(tmp_path / "b") as cluster:
        fill(cluster.client_ports[0])
        victim = cluster.members[2]
        victim.kill()
        shutil.rmtree(cluster.folders[2])
        shutil.copytree(stranger.folders[2], cluster.folders[2])
        victim.start()
        assert "data folder of another cluster" in victim.wait_for("refuses this member")
        fill(cluster.client_ports[0], first=20)
        assert read(cluster.client_ports[0], "/k39") == b"v" * 300


def test_without_a_quorum_local_reads_go_on_and_others_say_why(tmp_path: Path) -> None:
    with Cluster(tmp_path, config="[limits]\nread_wait_ms = 500\n") as cluster:
        fill(cluster.client_ports[0])
        read(cluster.client_ports[0], "/k1")
        cluster.members[1].kill()
        cluster.members[2].kill()
        assert read(cluster.client_ports[0], "/k1", mode=2) == b"v" * 300
        assert read(cluster.client_ports[0], "/k1") == Unavailable.code


def test_the_first_start_says_whom_it_waits_for(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    with contextlib.closing(cluster):
        cluster.members[0].start()
        cluster.members[0].wait_for("waiting for 2, 3")
        goodbye = RawClient(cluster.client_ports[0]).goodbye()
        assert goodbye.code == Unavailable.code
        assert "waits for 2, 3" in goodbye.message
        cluster.members[1].start()
        cluster.members[0].wait_for("waiting for 3")
        cluster.members[2].start()
        for member in cluster.members:
            member.wait_serving()
        fill(cluster.client_ports[2])
