"""The same on a real folder, so that the memory cannot lie about what ``os`` does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coord.disk.errors import CannotOpen, FolderInUse
from coord.disk.inspect import inspect_wal
from coord.disk.names import segment_name
from coord.disk.real import RealFileSystem
from coord.disk.settings import StorageSettings
from coord.disk.storage import Storage
from coord.raft.types import HardState
from tests.disk.helpers import CLUSTER, ROOMY, SMALL, Appender, content, entries, meta, take_snapshot
from tests.disk.life import SCRIPT, view


def opened(root: Path, settings: StorageSettings = SMALL) -> Storage:
    storage, _ = Storage.open(RealFileSystem(root, create=True), member_id=1, create=True, settings=settings)
    return storage


@pytest.mark.parametrize("settings", [SMALL, ROOMY], ids=["segments that are soon full", "zeros ahead"])
def test_the_scripted_life_on_a_real_disk(tmp_path: Path, settings: StorageSettings) -> None:
    root = tmp_path / "data"
    storage = opened(root, settings)
    appender = Appender(storage)
    for step in SCRIPT:
        step.do(storage, appender)
        if step.name.startswith("trim"):
            storage.close()
            storage, recovered = Storage.open(RealFileSystem(root), member_id=1, settings=settings)
            appender = Appender(storage)
            assert view(recovered) == step.outcomes[-1].view()
    storage.close()
    storage, recovered = Storage.open(RealFileSystem(root), member_id=1, settings=settings)
    assert view(recovered) == SCRIPT[-1].outcomes[-1].view()
    assert (recovered.damage, recovered.notes) == (None, ())
    assert storage.statistics().free_bytes > 0
    storage.close()


def test_a_folder_is_locked_against_other_processes_and_freed_by_death(tmp_path: Path) -> None:
    root = tmp_path / "data"
    opened(root).close()
    program = (
        "import sys\n"
        "from coord.disk.real import RealFileSystem\n"
        "from coord.disk.storage import Storage\n"
        "storage, _ = Storage.open(RealFileSystem(sys.argv[1]), member_id=1)\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(FolderInUse, match=f"held by process {process.pid}"):
            opened(root)
        process.kill()
        process.wait()
    opened(root).close()


def test_looking_in_does_not_lock_nor_change(tmp_path: Path) -> None:
    root = tmp_path / "data"
    storage = opened(root)
    storage.set_cluster_id(CLUSTER)
    Appender(storage)(entries(1, 3), HardState(1, 1))
    before = {path.name: path.read_bytes() for path in root.iterdir()}
    looking = RealFileSystem(root)
    assert [row.index for row in inspect_wal(looking) if row.kind == "entry"] == [1, 2, 3]
    looking.close()
    assert {path.name: path.read_bytes() for path in root.iterdir()} == before
    storage.close()


def test_a_folder_that_is_none_is_refused_with_help(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    for root, create in ((tmp_path / "missing", False), (file, True), (tmp_path / "a" / "b", True)):
        with pytest.raises(CannotOpen, match="Check that the data folder exists"):
            RealFileSystem(root, create=create)


def test_everything_is_private_and_descriptors_do_not_leak(tmp_path: Path) -> None:
    root = tmp_path / "data"

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0

    before = descriptors()
    for _ in range(3):
        fs = RealFileSystem(root, create=True)
        storage, _ = Storage.open(fs, member_id=1, create=True, settings=SMALL)
        storage.set_cluster_id(CLUSTER)
        take_snapshot(storage, meta(1))
        content(storage, 1)
        storage.begin_snapshot(meta(2)).abandon()
        storage.close()
        fs.close()
    assert descriptors() == before
    assert {path.stat().st_mode & 0o077 for path in (root, *root.iterdir())} == {0}


def test_a_short_read_of_a_real_file_is_the_files_end(tmp_path: Path) -> None:
    root = tmp_path / "data"
    fs = RealFileSystem(root, create=True)
    file = fs.create(segment_name(1))
    assert file.write_at(3, b"abc") == 3
    assert file.read_at(0, 100) == b"\0\0\0abc"
    assert file.size() == 6
    file.truncate(4)
    file.sync()
    assert fs.open(segment_name(1)).read_at(2, 9) == b"\0a"
    with pytest.raises(FileExistsError):
        fs.create(segment_name(1))
    with pytest.raises(FileNotFoundError):
        fs.open("none")
    file.close()
    file.close()
    fs.close()
