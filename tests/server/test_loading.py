"""From a folder to a store: loaded while it is checked, and what is damaged is never half of what is served."""

import gc
import logging
from pathlib import Path

import pytest

from coord.api.ops import Create
from coord.disk.names import snapshot_name
from coord.disk.storage import Storage
from coord.raft.types import Configuration, SnapshotMeta
from coord.server.causes import Stopped
from coord.server.config import Config
from coord.server.loading import lock_folder, open_folder, open_storage
from coord.store.snapshot import StoreSnapshot
from coord.store.store import Store
from coord.wire.sections import encode_section
from tests.store.machine import Machine, picture

LOG = logging.getLogger("test")


def saved(machine: Machine) -> tuple[int, list[bytes]]:
    """A snapshot of it as it is: its index, and its sections."""
    snapshot = StoreSnapshot(machine.store, 200)
    sections = []
    while (section := snapshot.next_section()) is not None:
        sections.append(encode_section(*section))
    snapshot.close()
    return snapshot.applied_index, sections


def folder_with(tmp_path: Path, *snapshots: tuple[int, list[bytes]]) -> Config:
    """A folder with these snapshots, and all of the log (which has nothing in it)."""
    config = Config(data=tmp_path / "data")
    filesystem = open_folder(config)
    storage, _ = Storage.open(filesystem, member_id=1, create=True)
    storage.set_cluster_id(b"c" * 16)
    for index, sections in snapshots:
        writer = storage.begin_snapshot(SnapshotMeta(index, 0, Configuration((1,))))
        for section in sections:
            writer.add(section)
        writer.commit()
    storage.close()
    filesystem.close()
    return config


def load(config: Config) -> Store | None:
    filesystem = open_folder(config)
    try:
        storage, _, store = open_storage(config, lock_folder(config, filesystem), LOG)
        storage.close()
        return store
    finally:
        filesystem.close()


def two_states(tmp_path: Path) -> tuple[Config, dict[str, object], Path]:
    """A folder with two snapshots, what the older one is of, and the file of the newer."""
    machine = Machine()
    for number in range(10):
        machine.do(Create(f"/before-{number}", b"x" * 100))
    older, before = saved(machine), picture(machine.store)
    for number in range(10):
        machine.do(Create(f"/later-{number}", b"x" * 100))
    newer = saved(machine)
    assert len(newer[1]) > 5
    return folder_with(tmp_path, older, newer), before, tmp_path / "data" / snapshot_name(newer[0])


def test_the_newest_is_loaded(tmp_path: Path) -> None:
    config, _, _ = two_states(tmp_path)
    store = load(config)
    assert store is not None
    assert "/later-9" in store.tree.znodes


@pytest.mark.parametrize("from_end", [5, 200, 1500])
def test_of_a_damaged_one_nothing_is_left(tmp_path: Path, from_end: int) -> None:
    """Some of it has been loaded when the damage shows."""
    config, before, newest = two_states(tmp_path)
    data = bytearray(newest.read_bytes())
    data[-from_end] ^= 1
    newest.write_bytes(data)
    store = load(config)
    assert store is not None
    assert picture(store) == before


def test_what_is_sound_and_makes_no_sense_stops_the_member(tmp_path: Path) -> None:
    index, sections = saved(Machine())
    sections[1] = b"\xff no CBOR"
    config = folder_with(tmp_path, (index, sections))
    with pytest.raises(Stopped, match=f"snapshot {index} passes its checksums but cannot be loaded"):
        load(config)
    with pytest.raises(Stopped, match="passes its checksums"):
        load(config)  # also a second time: the lock was let go, and nothing changed


def test_what_makes_no_sense_and_is_damaged_later_is_damaged(tmp_path: Path) -> None:
    """Not the coder's fault, but the disk's: there is an older one."""
    machine = Machine()
    older, before = saved(machine), picture(machine.store)
    machine.do(Create("/later"))
    index, sections = saved(machine)
    config = folder_with(tmp_path, older, (index, [sections[0], b"\xff no CBOR", *sections[1:]]))
    newest = tmp_path / "data" / snapshot_name(index)
    data = bytearray(newest.read_bytes())
    data[-10] ^= 1
    newest.write_bytes(data)
    store = load(config)
    assert store is not None
    assert picture(store) == before


def test_no_snapshot_is_no_store(tmp_path: Path) -> None:
    assert load(folder_with(tmp_path)) is None


def test_the_collector_is_left_as_it_was(tmp_path: Path) -> None:
    config, _, _ = two_states(tmp_path)
    assert gc.isenabled()
    load(config)
    assert gc.isenabled()
