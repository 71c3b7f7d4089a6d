"""Failing writes and syncs: told, final, and nothing acknowledged lost. Short writes: continued."""

import errno
from collections.abc import Callable
from dataclasses import replace

import pytest

from coord.disk.errors import DiskFull, SyncFailed
from coord.disk.names import segment_name, segment_numbers
from coord.disk.settings import StorageSettings
from coord.raft.types import HardState, Persist
from tests.disk.helpers import SMALL, Appender, content, entries, entry, formed, meta, reopen, take_snapshot
from tests.disk.life import SCRIPT, live_until, view
from tests.disk.memory import MemoryFileSystem, drop_all, keep_all


def once(operation: str, code: int) -> Callable[[str, str], OSError | None]:
    """Fail the next such operation, and only that."""
    left = [OSError(code, "as the test wants")]

    def fail(what: str, _name: str) -> OSError | None:
        return left.pop() if what == operation and left else None

    return fail


@pytest.mark.parametrize("operation", ["sync", "write"])
def test_a_failed_sync_or_write_is_final(operation: str) -> None:
    fs = MemoryFileSystem()
    storage = formed(fs)
    append = Appender(storage)
    append(entries(1, 3), HardState(1, 1))
    take_snapshot(storage, meta(2))
    fs.fail = once(operation, errno.EIO)
    with pytest.raises(SyncFailed, match="must stop"):
        storage.append(Persist(2, None, entries(4, 5)))
    before = len(fs.log)
    for use in (
        lambda: storage.append(Persist(2, None, entries(4, 5))),
        lambda: storage.append(Persist(3, None, entries(4, 5))),
        lambda: storage.trim(2, 3),
        lambda: storage.reset_log(meta(2)),
        lambda: storage.set_fields({}),
        storage.end_recovering,
        lambda: storage.begin_snapshot(meta(3)),
    ):
        with pytest.raises(SyncFailed, match="first failure was"):
            use()
    assert len(fs.log) == before  # the disk is not touched again
    storage.close()
    _, recovered = reopen(fs.power_cut(drop_all))
    assert (recovered.snapshot, recovered.entries) == (meta(2), [*entries(3, 3)])


def test_after_a_failed_sync_the_next_start_does_not_believe_the_cache() -> None:
    """The kernel keeps the pages and marks them clean: they read well, and the next sync writes nothing."""
    fs = MemoryFileSystem()
    append = Appender(formed(fs, StorageSettings()))
    append(entries(1, 3), HardState(1, 1))
    fs.fail = once("sync", errno.EIO)
    with pytest.raises(SyncFailed):
        append(entries(4, 5))
    _, recovered = reopen(fs.power_cut(keep_all))
    assert (recovered.entries, recovered.damage) == ([*entries(1, 3)], None)
    _, recovered = reopen(fs)  # same machine, same page cache
    assert recovered.entries == [*entries(1, 5)]
    _, after = reopen(fs.power_cut(drop_all))
    assert after.entries == recovered.entries  # what it told is on the disk


def test_a_failed_sync_while_opening_refuses_to_open() -> None:
    fs = MemoryFileSystem()
    append = Appender(formed(fs))
    append(entries(1, 3))
    fs.fail = once("sync", errno.EIO)
    with pytest.raises(SyncFailed):
        reopen(fs)
    assert not fs.locked
    assert reopen(fs)[1].entries == [*entries(1, 3)]


@pytest.mark.parametrize("longest", [1, 7, 511, 4096])
def test_short_writes_are_continued(longest: int) -> None:
    fs = MemoryFileSystem()
    fs.longest_write = longest
    storage = formed(fs)
    append = Appender(storage)
    append((entry(1, 1, b"x" * 1500), *entries(2, 9)), HardState(1, 2))
    take_snapshot(storage, meta(3), [b"y" * 1000])
    storage, recovered = reopen(fs.power_cut(drop_all))
    assert recovered.entries == [*entries(4, 9)]
    assert content(storage, 3) == [b"y" * 1000]


def test_a_disk_that_fills_up_anywhere_loses_nothing_acknowledged() -> None:
    """Each possible size of the disk: told as DiskFull, and once there is space the folder is as it was."""
    told = 0
    for capacity in range(0, 16_000, 97):
        fs = MemoryFileSystem()
        fs.capacity_bytes = capacity
        step, error = live_until(fs, DiskFull)
        if error is not None:
            told += 1
            assert "No space left" in str(error)
            assert "Nothing acknowledged was lost" in str(error)
        if step is None:
            continue
        for after in (fs, fs.power_cut(drop_all)):
            after.capacity_bytes = None  # space was freed
            _, recovered = reopen(after)
            assert recovered.damage is None, capacity
            assert view(recovered) in [model.view() for model in step.outcomes], (capacity, step.name)
    assert told > 50


def test_a_full_disk_is_final_for_the_log_even_when_there_is_space_again() -> None:
    """What of the batch was written is unknown; only reading the folder anew tells."""
    fs = MemoryFileSystem()
    append = Appender(formed(fs, replace(SMALL, zeros_ahead_bytes=0)))
    append(entries(1, 3))
    room = 64 + len(entry(4).data) + 17  # and the next header's first bytes, of which the last is not zero
    fs.capacity_bytes = fs.used_bytes() + room
    with pytest.raises(DiskFull, match="start the member again"):
        append(entries(4, 5))
    fs.capacity_bytes = None
    with pytest.raises(SyncFailed, match="No space left"):
        append(entries(4, 5))
    _, recovered = reopen(fs)
    assert recovered.entries == [*entries(1, 4)]  # the one that fitted
    assert recovered.cut_bytes == 17


def test_a_full_disk_stops_a_snapshot_and_not_the_log() -> None:
    fs = MemoryFileSystem()
    storage = formed(fs)
    append = Appender(storage)
    append(entries(1, 3))
    fs.capacity_bytes = fs.used_bytes() + 1500
    writer = storage.begin_snapshot(meta(2))
    with pytest.raises(DiskFull):
        writer.add(b"x" * 4000)
    writer.abandon()
    append(entries(4, 5))
    fs.capacity_bytes = None
    take_snapshot(storage, meta(2))
    _, recovered = reopen(fs)
    assert (recovered.snapshot, recovered.entries) == (meta(2), [*entries(3, 5)])


@pytest.mark.parametrize("operation", ["sync", "rename", "sync_directory"])
def test_a_snapshot_that_cannot_be_made_durable_is_not_there(operation: str) -> None:
    fs = MemoryFileSystem()
    storage = formed(fs)
    append = Appender(storage)
    append(entries(1, 3))
    writer = storage.begin_snapshot(meta(2))
    fs.fail = once(operation, errno.EIO)
    with pytest.raises(SyncFailed):
        writer.commit()
    writer.abandon()
    assert storage.snapshot is None
    with pytest.raises(SyncFailed):  # fatal to the process, wherever it happens
        append(entries(4, 4))
    _, recovered = reopen(fs.power_cut(drop_all))
    assert recovered.entries == [*entries(1, 3)]


def test_a_failed_roll_leaves_a_folder_that_opens() -> None:
    """The new segment was created, its identity not yet noted: it is removed, whatever is in it."""
    for operation, code in (("create", errno.ENOSPC), ("sync_directory", errno.EIO), ("rename", errno.EIO)):
        fs = MemoryFileSystem()
        append = Appender(formed(fs))
        append((entry(1, 1, b"x" * SMALL.segment_bytes),))
        fs.fail = once(operation, code)
        with pytest.raises((DiskFull, SyncFailed)):
            append(entries(2, 3))
        _, recovered = reopen(fs)
        assert recovered.damage is None
        assert [one.index for one in recovered.entries] == [1]
        assert segment_name(1) in fs.names()
        append = Appender(reopen(fs)[0])
        append(entries(2, 3))
        assert [one.index for one in reopen(fs.power_cut(drop_all))[1].entries] == [1, 2, 3]
        assert len(segment_numbers(fs.names())) == 2


def test_the_script_covers_what_it_says() -> None:
    names = " ".join(step.name for step in SCRIPT)
    for what in ("form", "append", "snapshot", "receive", "trim", "reset"):
        assert what in names
