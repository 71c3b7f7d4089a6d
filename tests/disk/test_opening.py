"""Whose folder it is: each way of opening the wrong one is refused, with help, and changes nothing."""

import json
import struct
from zlib import crc32

import pytest

from coord.disk.errors import (
    CannotOpen,
    DamagedFolder,
    FolderInUse,
    NewerFormat,
    StorageError,
    WrongCluster,
    WrongMember,
)
from coord.disk.names import segment_name, snapshot_name
from coord.disk.storage import Storage
from tests.disk.helpers import CLUSTER, Appender, entries, formed, meta, reopen, take_snapshot
from tests.disk.memory import MemoryFileSystem, drop_all, keep_all


def a_folder(member_id: int = 1, cluster: bytes = CLUSTER) -> MemoryFileSystem:
    fs = MemoryFileSystem()
    storage, _ = Storage.open(fs, member_id=member_id, create=True)
    storage.set_cluster_id(cluster)
    Appender(storage)(entries(1, 3))
    take_snapshot(storage, meta(2))
    storage.close()
    return fs


def refused(fs: MemoryFileSystem, error: type[StorageError], says: str, **how: object) -> None:
    """Opening raises ``error``, saying ``says``; nothing changed, and the lock is free again."""
    before = fs.files()
    with pytest.raises(error, match=says) as caught:
        Storage.open(fs, **{"member_id": 1, **how})  # type: ignore[arg-type]
    assert len(str(caught.value)) > 60, "an error reads like help"
    assert fs.files() == before
    assert not fs.locked


def test_a_new_folder_is_created_only_when_asked() -> None:
    fs = MemoryFileSystem()
    refused(fs, CannotOpen, "not a data folder")
    storage, recovered = Storage.open(fs, member_id=4, create=True)
    assert (recovered.identity.member_id, recovered.identity.formed) == (4, False)
    storage.close()
    _, again = Storage.open(fs, member_id=None)
    assert again.identity == recovered.identity


def test_a_folder_in_use_is_refused_until_it_is_closed() -> None:
    fs = MemoryFileSystem()
    storage = formed(fs)
    with pytest.raises(FolderInUse, match="running already"):
        Storage.open(fs, member_id=1)
    storage.close()
    Storage.open(fs, member_id=1)[0].close()


def test_another_members_folder_is_refused() -> None:
    refused(a_folder(), WrongMember, "belongs to member 1.*configured as 2", member_id=2)


def test_another_clusters_folder_is_refused() -> None:
    refused(a_folder(), WrongCluster, CLUSTER.hex(), cluster_id=b"z" * 16)
    fs = a_folder()
    storage, _ = Storage.open(fs, member_id=1, cluster_id=CLUSTER)
    with pytest.raises(WrongCluster, match="empty folder"):
        storage.set_cluster_id(b"z" * 16)
    storage.set_cluster_id(CLUSTER)  # the same again is harmless


def test_a_segment_of_another_member_or_cluster_is_refused() -> None:
    name = segment_name(1)
    ours = a_folder()
    for other, error in ((a_folder(2), WrongMember), (a_folder(1, b"z" * 16), WrongCluster)):
        refused(
            MemoryFileSystem({**ours.files(), name: other.files()[name]}), error, "copied here|belongs to"
        )


def test_a_segment_of_the_same_members_former_folder_is_damage() -> None:
    name = segment_name(1)
    former = MemoryFileSystem()
    former.fresh_bytes = lambda count: bytes(count)  # type: ignore[method-assign]
    storage = formed(former)
    Appender(storage)(entries(1, 2))
    fs = MemoryFileSystem({**a_folder().files(), name: former.files()[name]})
    _, recovered = reopen(fs)
    assert recovered.damage is not None
    assert "another folder" in recovered.damage.what
    assert recovered.entries == []


def newer_identity(data: bytes) -> bytes:
    length = struct.unpack_from("<I", data, 12)[0]
    front = data[:8] + struct.pack("<II", 2, length)
    copy = front + struct.pack("<I", crc32(front + data[20 : 20 + length])) + data[20 : 20 + length]
    return copy.ljust(4096, b"\0") + copy


def newer_record(data: bytes) -> bytes:
    front = data[:4] + b"\x02" + data[5:60]
    return front + struct.pack("<I", crc32(front)) + data[64:]


def newer_snapshot(data: bytes) -> bytes:
    length = struct.unpack_from("<I", data, 36)[0]
    front = data[:8] + struct.pack("<I", 2) + data[12 : 40 + length]
    return front + struct.pack("<I", crc32(front)) + data[len(front) + 4 :]


@pytest.mark.parametrize(
    ("name", "newer"),
    [
        ("identity", newer_identity),
        (segment_name(1), newer_record),
        (snapshot_name(2), newer_snapshot),
    ],
)
def test_a_newer_format_is_refused_politely(name: str, newer: object) -> None:
    fs = a_folder()
    assert callable(newer)
    changed = MemoryFileSystem({**fs.files(), name: newer(fs.files()[name])})
    if name == segment_name(1):
        changed.remove(snapshot_name(2))
    refused(changed, NewerFormat, "version 2.*reads version 1|version 2 .*this coord")


def test_an_identity_made_by_hand_is_refused_whatever_it_says() -> None:
    contents: list[object] = [{}, [], {"member_id": "1"}, {"member_id": 0, "newest_segment": 0}, None, 7]
    for content in contents:
        text = json.dumps(content).encode()
        front = b"coord-id" + struct.pack("<II", 1, len(text))
        data = front + struct.pack("<I", crc32(front + text)) + text
        refused(MemoryFileSystem({"identity": data}), DamagedFolder, "Both copies")


def test_records_in_a_folder_that_never_joined_a_cluster_are_refused() -> None:
    unformed = MemoryFileSystem()
    Storage.open(unformed, member_id=1, create=True)
    fs = MemoryFileSystem({**a_folder().files(), "identity": unformed.files()["identity"]})
    refused(fs, DamagedFolder, "never joined")


def test_a_formation_that_a_crash_cut_short_begins_again() -> None:
    fs = MemoryFileSystem()
    storage, _ = Storage.open(fs, member_id=1, create=True)
    fs.fail = lambda operation, name: (
        OSError(5, "no") if (operation, name) == ("rename", "identity") else None
    )
    with pytest.raises(StorageError):
        storage.set_cluster_id(CLUSTER)
    cut = fs.power_cut(keep_all)
    assert segment_name(1) in cut.names()
    storage, recovered = reopen(cut)
    assert not recovered.identity.formed
    assert segment_name(1) not in cut.names()
    storage.set_cluster_id(b"z" * 16)
    Appender(storage)(entries(1, 3))
    _, recovered = reopen(cut.power_cut(drop_all))
    assert recovered.identity.cluster_id == b"z" * 16
    assert recovered.entries == [*entries(1, 3)]


def test_fields_and_recovering_are_durable() -> None:
    fs = MemoryFileSystem()
    storage, _ = reopen(fs, create=True)
    storage.set_fields({"peers": "a,b", "since": 3})
    storage.begin_recovering("This folder was empty although the member is in the cluster.")
    storage.set_cluster_id(CLUSTER)
    storage, recovered = reopen(fs.power_cut(drop_all))
    assert recovered.identity.fields == {"peers": "a,b", "since": 3}
    assert recovered.damage is not None
    assert "was empty" in recovered.damage.what
    storage.end_recovering()
    _, recovered = reopen(fs)
    assert recovered.damage is not None  # ``storage`` wrote to what the power cut left, not to this
    assert storage.identity.fields == {"peers": "a,b", "since": 3}


def test_an_identity_put_back_from_a_backup_loses_no_record() -> None:
    """Its ``newest_segment`` is behind; batches in later segments are the evidence that they count."""
    fs = MemoryFileSystem()
    storage = formed(fs)
    append = Appender(storage)
    backup = fs.files()["identity"]
    for index in range(1, 60):
        append(entries(index, index))
    fs = MemoryFileSystem({**fs.files(), "identity": backup})
    _, recovered = reopen(fs)
    assert recovered.damage is None
    assert recovered.entries == [*entries(1, 59)]
