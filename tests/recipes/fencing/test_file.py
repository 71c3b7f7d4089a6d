"""The file guard, and what it stands on: crashes at every step, order of syncs, locks, damage."""

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from coord.client import DeadlineExceeded, InvalidRequest
from coord.recipes.fencing import DamagedGuard, FileGuard, FileHolds, FileObjects, StaleToken, Token, durable
from coord.recipes.fencing.durable import TokenFile

CRASHING = """
import fcntl, json, os, signal, sys
from pathlib import Path
from coord.recipes.fencing import FileGuard, Token

folder, when, first = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "first"
steps = 0

def counted(name, function, crash_at):
    def call(*arguments, **more):
        global steps
        steps += 1
        here = steps == crash_at
        if here and when == "within" and name == "write":
            function(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
        if here and when != "after":
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return function(*arguments, **more)
        finally:
            if here:
                os.kill(os.getpid(), signal.SIGKILL)
    return call

ends = []
while not ends or ends[-1]:
    path = folder / str(len(ends)) / "data"
    path.parent.mkdir()
    guard = FileGuard(path)
    if not first:
        guard.replace(Token(1, 6), b"old")
    child = os.fork()
    if child == 0:
        for name in ("open", "write", "fsync", "rename", "mkdir", "fchmod", "close"):
            setattr(os, name, counted(name, getattr(os, name), len(ends) + 1))
        fcntl.flock = counted("flock", fcntl.flock, len(ends) + 1)
        guard.replace(Token(1, 7), b"new" * 1000)
        os._exit(0)
    ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(ends))
"""
"""Processes that replace a file with token 1-7, the n-th killed before, within or after its n-th system call.

Each has a folder named by n - 1. The last is one that there were too few system calls for: it comes to its end.
"""


@pytest.mark.processes
@pytest.mark.parametrize("when", ["before", "within", "after"])
@pytest.mark.parametrize("first", [True, False], ids=["first-write", "later-write"])
def test_a_crash_at_every_step(tmp_path: Path, when: str, first: bool) -> None:
    arguments = [str(tmp_path), when, "first" if first else "later"]
    done = subprocess.run(
        [sys.executable, "-c", CRASHING, *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    *killed, last = json.loads(done.stdout)
    assert set(killed) == {-9}
    assert last == 0
    old, former = (None, None) if first else (b"old", Token(1, 6))
    new = b"new" * 1000
    states = []
    for step in range(len(killed)):
        guard = FileGuard(tmp_path / str(step) / "data", deadline=1.0)
        held, greatest = guard.read(), guard.greatest()
        states.append((held, greatest))
        if greatest == Token(1, 7):
            with pytest.raises(StaleToken):
                guard.replace(Token(1, 6), b"stale")
            assert guard.read() == held
        guard.replace(Token(1, 7), b"again")  # what the crash has left does not stand in the way
        assert guard.read() == b"again"
    # Whole, in this order, and never the content without its token:
    assert list(dict.fromkeys(states)) == [(old, former), (old, Token(1, 7)), (new, Token(1, 7))]
    assert len(killed) > 20
    assert FileGuard(tmp_path / str(len(killed)) / "data").read() == new


def test_everything_is_synced_before_what_depends_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill loses nothing that was written; a power failure does. So the order of syncs and renames is looked at."""
    story: list[str] = []
    names: dict[int, str] = {}
    real_open, real_fsync, real_rename = os.open, os.fsync, os.rename

    def opening(path: Any, *more: Any, **others: Any) -> int:
        descriptor = real_open(path, *more, **others)
        names[descriptor] = os.path.relpath(path, tmp_path)
        return descriptor

    def renaming(source: Any, target: Any) -> None:
        story.append(f"rename {os.path.relpath(source, tmp_path)} {os.path.relpath(target, tmp_path)}")
        real_rename(source, target)

    def syncing(descriptor: int) -> None:
        story.append(f"sync {names[descriptor]}")
        real_fsync(descriptor)

    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setattr(os, "rename", renaming)
    monkeypatch.setattr(os, "fsync", syncing)
    guard = FileGuard(tmp_path / "data")
    guard.replace(Token(1, 7), b"one")
    content = ["sync data.fence/content.new", "rename data.fence/content.new data", "sync ."]
    assert story == [
        "sync .",  # the folder is there
        "sync data.fence/greatest.new",
        "rename data.fence/greatest.new data.fence/greatest",
        "sync data.fence",
        *content,
    ]
    story.clear()
    guard.replace(Token(1, 7), b"two")
    assert story == content


def test_a_refusal_changes_nothing(tmp_path: Path) -> None:
    guard = FileGuard(tmp_path / "data")
    assert (guard.read(), guard.greatest()) == (None, None)
    guard.replace(Token(1, 7), b"new")
    before = sorted(each.name for each in tmp_path.rglob("*"))
    with pytest.raises(StaleToken) as caught:
        guard.replace(Token(1, 5), b"old")
    assert caught.value.name == str(tmp_path / "data")
    assert (guard.read(), guard.greatest()) == (b"new", Token(1, 7))
    assert (
        sorted(each.name for each in tmp_path.rglob("*"))
        == before
        == ["data", "data.fence", "greatest", "lock", "turn"]
    )


def test_permissions_stay_and_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"old")
    (tmp_path / "data").chmod(0o640)
    (tmp_path / "link").symlink_to(tmp_path / "data")
    FileGuard(tmp_path / "link").replace(Token(1, 7), b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "data").read_bytes() == b"new"
    assert (tmp_path / "data").stat().st_mode & 0o7777 == 0o640
    with pytest.raises(StaleToken):
        FileGuard(tmp_path / "data").replace(Token(1, 6), b"stale")  # the same file by its other name


@pytest.mark.parametrize("found", [b"", b"seven", b"1-7\n1-8\n", b"\xff", b"1-0"])
def test_damage_is_told_and_nothing_is_written(tmp_path: Path, found: bytes) -> None:
    guard = FileGuard(tmp_path / "data")
    guard.replace(Token(1, 7), b"kept")
    (tmp_path / "data.fence" / "greatest").write_bytes(found)
    with pytest.raises(DamagedGuard, match="should hold the greatest fencing token") as caught:
        guard.replace(Token(1, 9), b"lost")
    assert caught.value.outcome == "refused"
    assert guard.read() == b"kept"


def test_a_lock_that_is_held_is_waited_for_no_longer_than_the_deadline(tmp_path: Path) -> None:
    guard = FileGuard(tmp_path / "data", deadline=0.05)
    with TokenFile(tmp_path / "data.fence").locked(1.0):
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded, match="a holder that is paused") as caught:
            guard.replace(Token(1, 7), b"never")
        assert time.monotonic() - began >= 0.05
    assert caught.value.outcome == "refused"
    assert (guard.read(), guard.greatest()) == (None, None)
    guard.replace(Token(1, 7), b"now")


def test_a_lock_that_is_let_go_is_taken(tmp_path: Path) -> None:
    guard = FileGuard(tmp_path / "data", deadline=30)
    writing = threading.Thread(target=guard.replace, args=(Token(1, 7), b"now"))
    with TokenFile(tmp_path / "data.fence").locked(1.0):
        writing.start()
        writing.join(0.05)
        assert writing.is_alive()
        assert guard.read() is None
    writing.join(30)
    assert guard.read() == b"now"


def kept(path: Path) -> bool:
    """Whether somebody has the lock."""
    try:
        with durable.locked(path, 0.0):
            return False
    except DeadlineExceeded:
        return True


def test_who_writes_and_writes_does_not_overtake_who_waits(tmp_path: Path) -> None:
    """1. The old holder has the lock, and its successor asks for it, now and then. 2. The old one lets go of it. 3. It
    asks for it again, at once, and must not have it.
    """
    lock = TokenFile(tmp_path / "data.fence")
    end = threading.Event()

    def wait() -> None:
        with lock.locked(30.0):
            assert end.wait(30)

    waiting = threading.Thread(target=wait)
    with lock.locked(1.0):
        waiting.start()
        while not kept(tmp_path / "data.fence" / "turn"):
            time.sleep(0.001)
        time.sleep(0.1)  # so that it asks at its slowest
    try:
        with pytest.raises(DeadlineExceeded), lock.locked(0.0):
            pytest.fail("it has overtaken")
    finally:
        end.set()
        waiting.join(30)


@pytest.mark.processes
def test_a_child_that_was_forked_meanwhile_does_not_keep_the_lock(tmp_path: Path) -> None:
    """It has the descriptor, too; and a lock goes with the last of a descriptor's copies, unless it is said."""
    code = """
import os, sys, time
from pathlib import Path
from coord.recipes.fencing import FileGuard, Token
from coord.recipes.fencing.durable import TokenFile
folder = Path(sys.argv[1])
with TokenFile(folder / "data.fence").locked(1.0):
    child = os.fork()
    if child == 0:
        sys.stdin.read()
        os._exit(0)
FileGuard(folder / "data", deadline=1.0).replace(Token(1, 7), b"new")
"""
    done = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE)
    try:
        assert done.wait(60) == 0
        assert (tmp_path / "data").read_bytes() == b"new"
    finally:
        done.communicate(timeout=60)


def test_an_error_of_the_disk_comes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = FileGuard(tmp_path / "data")
    guard.replace(Token(1, 6), b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            guard.replace(Token(1, 7), b"new")
    assert (guard.read(), guard.greatest()) == (b"old", Token(1, 6))
    guard.replace(Token(1, 7), b"new")  # the lock was let go of
    assert guard.read() == b"new"


def test_a_short_write_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data)[:3]))
    guard = FileGuard(tmp_path / "data")
    guard.replace(Token(1, 7), b"a long one")
    assert (guard.read(), guard.greatest()) == (b"a long one", Token(1, 7))


@pytest.mark.parametrize("deadline", [-1, float("inf"), float("nan"), "1", True, None])
def test_deadlines_that_are_none(tmp_path: Path, deadline: Any) -> None:
    for make in (FileGuard, FileHolds, FileObjects):
        with pytest.raises(InvalidRequest, match="a deadline is a number of seconds"):
            make(tmp_path / "x", deadline=deadline)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="is a folder"):
        FileGuard(tmp_path)


def test_what_is_not_bytes_is_refused_before_anything_is_remembered(tmp_path: Path) -> None:
    guard = FileGuard(tmp_path / "data")
    with pytest.raises(TypeError):
        guard.replace(Token(1, 7), "text")  # type: ignore[arg-type]
    assert guard.greatest() is None


def test_a_lock_is_of_the_file_and_between_threads_too(tmp_path: Path) -> None:
    with durable.locked(tmp_path / "lock", 1.0):
        descriptor = os.open(tmp_path / "lock", os.O_RDWR)
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(descriptor)
    assert json.dumps(durable.plain_name("a")) != json.dumps(durable.plain_name("A"))
