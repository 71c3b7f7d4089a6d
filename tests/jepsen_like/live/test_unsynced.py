"""The disk that forgets: never what was synced, now and then all else. Mounted too, where that is possible."""

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from coord.jepsen_like.live.nemeses.unsynced import PowerCut
from coord.jepsen_like.live.unsynced_disk import SECTOR_BYTES, Disk, File


def test_what_was_synced_stays_and_the_rest_may_go_sector_by_sector() -> None:
    seen: set[bytes] = set()
    for seed in range(200):
        file = File()
        file.write(0, b"a" * 2 * SECTOR_BYTES)
        file.sync()
        file.write(SECTOR_BYTES // 2, b"b" * SECTOR_BYTES)
        file.lose(Random(seed))
        assert len(file.data) == 2 * SECTOR_BYTES
        assert file.data[: SECTOR_BYTES // 2] == b"a" * (SECTOR_BYTES // 2), "not written since"
        halves = bytes(file.data[SECTOR_BYTES - 1 : SECTOR_BYTES + 1])
        assert set(halves) <= set(b"ab")
        seen.add(halves)
    assert seen == {b"aa", b"ab", b"ba", b"bb"}


def test_a_file_may_lose_its_new_end_or_keep_a_hole_there() -> None:
    sizes: set[int] = set()
    tails: set[bytes] = set()
    for seed in range(200):
        file = File()
        file.write(0, b"a" * 700)
        file.sync()
        file.write(700, b"b" * 1_000)
        file.lose(Random(seed))
        assert file.data[:700] == b"a" * 700
        sizes.add(len(file.data))
        tails.add(bytes(file.data[1_024:1_500:475]))
    assert sizes == {700, 1_700}
    assert {b"", b"bb", b"\0\0"} <= tails


def test_a_truncation_that_was_not_synced_may_come_undone() -> None:
    sizes = set()
    for seed in range(100):
        file = File()
        file.write(0, b"a" * 3_000)
        file.sync()
        file.truncate(100)
        file.lose(Random(seed))
        sizes.add(len(file.data))
        assert file.data[:100] == b"a" * 100
        assert set(file.data[100:]) <= {0, ord("a")}
    assert sizes == {100, 3_000}


def test_syncing_twice_forgets_nothing() -> None:
    file = File()
    for number in range(50):
        file.write(number * 100, bytes([number + 1]) * 100)
        file.sync()
    file.lose(Random(1))
    assert bytes(file.data) == b"".join(bytes([number + 1]) * 100 for number in range(50))


def test_a_sector_written_twice_goes_back_to_what_was_synced_not_to_what_lay_between() -> None:
    seen = set()
    for seed in range(50):
        file = File()
        file.write(0, b"a" * 100)
        file.sync()
        file.write(0, b"b" * 100)
        file.write(0, b"c" * 100)
        file.lose(Random(seed))
        seen.add(bytes(file.data[:1]))
    assert seen == {b"a", b"c"}


def test_names_are_the_folders_to_sync() -> None:
    outcomes = set()
    for seed in range(50):
        disk = Disk()
        disk.files[disk.create(b"old")].sync()
        disk.sync_names()
        disk.rename(b"old", b"new")
        disk.create(b"other")
        disk.lose(Random(seed))
        outcomes.add(tuple(sorted(disk.names)))
        assert set(disk.names.values()) == set(disk.files)
    assert outcomes == {(b"old",), (b"new", b"other")}


@pytest.mark.processes
def test_mounted_it_is_a_file_system(tmp_path: Path) -> None:
    reason = PowerCut().possible()
    if reason is not None:
        pytest.skip(reason)
    command = [sys.executable, "-m", "coord.jepsen_like.live.unsynced_fuse", str(tmp_path)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin is not None
    assert server.stdout is not None
    line = server.stdout.readline()
    if line != "mounted\n":
        server.communicate()
        pytest.skip("mounting is not allowed here")
    try:
        file = os.open(tmp_path / "a", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.pwrite(file, b"kept" * 300_000, 0)
        os.fdatasync(file)
        folder = os.open(tmp_path, os.O_RDONLY)
        os.rename(tmp_path / "a", tmp_path / "b")
        os.fsync(folder)
        os.pwrite(file, b"gone", 4_096)
        assert os.pread(file, 4, 4_096) == b"gone"
        os.ftruncate(file, 1_000_000)
        os.close(file)
        os.close(folder)
        for seed in range(20):  # some seed takes it
            server.stdin.write(f"{seed}\n")
            server.stdin.flush()
            assert "unsynced sectors" in server.stdout.readline()
        assert os.listdir(tmp_path) == ["b"]
        data = (tmp_path / "b").read_bytes()
        assert data[:4_096] == b"kept" * 1_024
        with pytest.raises(FileNotFoundError):
            os.stat(tmp_path / "a")
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)
        server.communicate(timeout=10)
