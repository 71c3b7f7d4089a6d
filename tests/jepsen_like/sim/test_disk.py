"""The simulated disk: what survives what."""

import errno
from random import Random

import pytest

from coord.jepsen_like.sim.disk import SECTOR_BYTES, CutShort, SimDisk


def make(seed: int = 1) -> SimDisk:
    return SimDisk("/disk", Random(seed), lambda operation, name, data: None)


def content(disk: SimDisk, name: str) -> bytes:
    return disk.open(name).read_at(0, 1 << 20)


def with_file(disk: SimDisk, synced: bytes) -> None:
    file = disk.create("a")
    file.write_at(0, synced)
    file.sync()
    disk.sync_directory()


@pytest.mark.parametrize("seed", range(50))
def test_what_was_synced_survives_a_power_cut_and_of_the_rest_any_sectors(seed: int) -> None:
    disk = make(seed)
    with_file(disk, b"x" * 100)
    disk.open("a", writable=True).write_at(100, b"y" * 3_000)
    disk.power_cut()
    found = content(disk, "a")
    assert found[:100] == b"x" * 100
    assert set(found[100:]) <= set(b"y\0")


def test_power_cuts_tear_keep_and_drop() -> None:
    seen = set()
    for seed in range(200):
        disk = make(seed)
        with_file(disk, b"")
        disk.open("a", writable=True).write_at(0, b"y" * (4 * SECTOR_BYTES))
        disk.power_cut()
        found = content(disk, "a")
        if found == b"y" * (4 * SECTOR_BYTES):
            seen.add("kept")
        elif b"y" not in found:
            seen.add("dropped")
        else:
            seen.add("torn")
    assert seen == {"kept", "dropped", "torn"}


def test_a_name_is_durable_only_with_its_folder() -> None:
    there = 0
    for seed in range(50):
        disk = make(seed)
        disk.create("a").sync()
        disk.power_cut()
        there += "a" in disk.names()
    assert 0 < there < 50


@pytest.mark.parametrize("seed", range(50))
def test_with_its_folder_exactly_the_names_that_are_there_are_durable(seed: int) -> None:
    """Whatever was done to them before, in whatever order, a file that bad sectors took among them."""
    disk, dice = make(seed), Random(f"names {seed}")
    for _ in range(60):
        known, fresh = disk.names(), f"file-{dice.randrange(8)}"
        action = dice.choice(("create", "create", "rename", "rename", "remove", "lose", "sync", "power"))
        if action == "create" and fresh not in known:
            disk.create(fresh)
        elif action == "rename" and known:
            disk.rename(dice.choice(known), fresh)
        elif action == "remove" and known:
            disk.remove(dice.choice(known))
        elif action == "lose" and known:
            disk.lose(dice.choice(known))
        elif action == "power":
            disk.power_cut()
        elif action == "sync":
            disk.sync_directory()
            there = dict(disk.nodes)
            disk.power_cut()
            assert disk.nodes == there  # the same files under the same names


def test_a_killed_process_leaves_the_page_cache() -> None:
    disk = make()
    disk.create("a").write_at(0, b"unsynced")
    disk.process_ended()
    assert content(disk, "a") == b"unsynced"


def test_a_failed_sync_is_not_made_good_by_the_next_one() -> None:
    disk = make()
    with_file(disk, b"old")
    file = disk.open("a", writable=True)
    file.write_at(0, b"new")
    disk.failing_syncs = 1
    with pytest.raises(OSError) as failed:
        file.sync()
    assert failed.value.errno == errno.EIO
    file.sync()  # says yes, and writes nothing: the pages are clean
    assert content(disk, "a") == b"new"
    disk.power_cut()
    assert content(disk, "a") == b"old"


def test_a_full_disk_takes_what_fits_and_then_nothing() -> None:
    disk = make()
    disk.capacity_bytes = 10
    file = disk.create("a")
    assert file.write_at(0, b"x" * 16) == 10
    with pytest.raises(OSError) as full:
        file.write_at(10, b"x")
    assert full.value.errno == errno.ENOSPC


def test_a_process_may_end_before_any_of_its_operations() -> None:
    disk = make()
    disk.cut_after = 2
    file = disk.create("a")
    with pytest.raises(CutShort):
        file.write_at(0, b"x")
    assert content(disk, "a") == b""
