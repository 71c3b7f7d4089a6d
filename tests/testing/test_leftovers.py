"""A cluster is a guest in its process: it leaves nothing behind, and touches nothing that is the process's own."""

import gc
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from coord.disk.errors import DiskFull
from coord.disk.storage import Storage
from coord.testing import cluster
from tests.rawclient import RawClient, close_all


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The check itself: whatever a test here does."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gc.collect()
    threads, descriptors = set(threading.enumerate()), os.listdir("/proc/self/fd")
    yield
    close_all()
    assert set(threading.enumerate()) == threads
    gc.collect()  # what is closed only by this is told of by a ResourceWarning, which is an error here
    assert os.listdir("/proc/self/fd") == descriptors
    assert list(tmp_path.iterdir()) == []


def connected(endpoint: str, session: int = 10_000) -> RawClient:
    client = RawClient(int(endpoint.rpartition(":")[2]))
    if session:
        client.hello(session)
    return client


def test_after_all_that_can_happen() -> None:
    with cluster(3) as made:
        for endpoint in made.endpoints:
            connected(endpoint)
            connected(endpoint, session=0)  # never says hello
        made.cut_off(1)
        for _ in range(2):
            connected(made.endpoints[0], session=0)
        made.kill(2)
        made.pause(3)
        connected(made.endpoints[2], session=0)
        made.pause(1)
        made.restart(2)
        made.pause(2)


def test_after_a_stop_with_clients() -> None:
    with cluster(1) as made:
        client = connected(made.endpoints[0])
    assert "stopping" in client.goodbye().message


def test_after_a_start_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Storage.set_cluster_id

    def fail(self: Storage, cluster_id: bytes) -> None:
        if self.identity.member_id == 2:
            raise DiskFull("no space for member 2")
        real(self, cluster_id)

    monkeypatch.setattr(Storage, "set_cluster_id", fail)
    with pytest.raises(DiskFull, match="no space for member 2"), cluster(3):
        pass


def test_after_a_start_that_waits_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DiskFull("no space for member 3")

    real = Storage.lock
    monkeypatch.setattr(
        Storage,
        "lock",
        lambda fs, *, member_id, **rest: (real if member_id != 3 else fail)(fs, member_id=member_id, **rest),
    )
    with pytest.raises(DiskFull, match="no space for member 3") as caught, cluster(3):
        pass
    assert caught.value.__context__ is None  # that it was waited for is not what went wrong


def test_after_a_test_that_fails() -> None:
    def main() -> None:
        with cluster(3) as made:
            made.pause(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        main()


def test_data_in_a_folder_of_ones_own_stays(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with cluster(1, folder=Path(folder)) as made:
            assert made.member().data == Path(folder) / "member-1"
        assert (Path(folder) / "member-1").is_dir()


def test_the_process_is_left_alone() -> None:
    def of_the_process() -> list[object]:
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
        return [
            *handlers,
            gc.isenabled(),
            gc.get_freeze_count(),
            gc.get_threshold(),
            sys.getswitchinterval(),
            resource.getrlimit(resource.RLIMIT_NOFILE),
            os.getcwd(),
        ]

    before = of_the_process()
    with cluster(3) as made:
        made.restart(1)
        assert of_the_process() == before
    assert of_the_process() == before


def test_a_process_can_end_without_leaving_the_block(tmp_path: Path) -> None:
    code = """if True:
        import logging, sys
        from coord.testing import cluster
        logging.basicConfig(stream=sys.stdout)
        block = cluster(3)
        block.__enter__().pause(1)
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "member 1 stops" in done.stdout
