"""Snapshots: round trips, sending and receiving, refusal of what was not sent, trims."""

import hashlib

import pytest

from coord.api.checks import InvariantViolation
from coord.disk.errors import SnapshotDamaged, SnapshotGone, SnapshotRefused
from coord.disk.names import UNFINISHED_SUFFIX, snapshot_indexes, snapshot_name
from coord.disk.snapshot import SnapshotWriter
from coord.disk.storage import Storage
from coord.raft.types import Configuration, HardState
from tests.disk.helpers import Appender, content, entries, formed, meta, reopen, take_snapshot
from tests.disk.memory import MemoryFileSystem, drop_all

JOINT = Configuration((1, 2, 5), (1, 2, 3), (4, 2**31 - 1), (3,))


def everything(storage: Storage, index: int) -> list[bytes]:
    """What a leader sends."""
    sections: list[bytes] = []
    last = False
    while not last:
        section, last = storage.read_section(index, len(sections))
        sections.append(section)
    return sections


def leftovers(fs: MemoryFileSystem) -> list[str]:
    return [name for name in fs.names() if name.endswith(UNFINISHED_SUFFIX)]


@pytest.mark.parametrize("sections", [[], [b""], [b"a", b"", b"c" * 4096]])
def test_a_snapshot_is_read_back_section_by_section(sections: list[bytes]) -> None:
    fs = MemoryFileSystem()
    take_snapshot(formed(fs), meta(7, 3, JOINT), sections)
    storage, recovered = reopen(fs.power_cut(drop_all))
    assert recovered.snapshot == storage.snapshot == meta(7, 3, JOINT)
    assert content(storage, 7) == sections
    assert everything(storage, 7)[:-1] == sections


@pytest.mark.parametrize("sections", [[], [b""], [b"a", b"", b"c" * 4096]])
def test_a_snapshot_travels_from_member_to_member(sections: list[bytes]) -> None:
    leader = formed(MemoryFileSystem())
    take_snapshot(leader, meta(7, 3, JOINT), sections)
    fs = MemoryFileSystem()
    follower, _ = Storage.open(fs, member_id=2, create=True)
    follower.set_cluster_id(b"x" * 16)
    writer = follower.receive_snapshot(meta(7, 3, JOINT))
    for section in everything(leader, 7):
        writer.add(section)
    before = follower.snapshot
    assert before is None  # nobody sees it before it is durable
    writer.commit()
    assert follower.snapshot == meta(7, 3, JOINT)
    assert content(follower, 7) == sections
    assert everything(follower, 7) == everything(leader, 7)  # who can send it on


@pytest.mark.parametrize(
    "how", ["flipped", "missing", "swapped", "twice", "no digest", "nothing", "other meta"]
)
def test_a_received_snapshot_that_was_not_sent_so_is_refused(how: str) -> None:
    leader = formed(MemoryFileSystem())
    take_snapshot(leader, meta(7), [b"one", b"two"])
    one, two, digest = everything(leader, 7)
    sections = {
        "flipped": [one, b"twp", digest],
        "missing": [one, digest],
        "swapped": [two, one, digest],
        "twice": [one, one, two, digest],
        "no digest": [one, two],
        "nothing": [],
        "other meta": [one, two, digest],
    }[how]
    fs = MemoryFileSystem()
    follower = formed(fs)
    writer = follower.receive_snapshot(meta(7, 2) if how == "other meta" else meta(7))
    for section in sections:
        writer.add(section)
    with pytest.raises(SnapshotRefused, match="sent again"):
        writer.commit()
    assert follower.snapshot is None
    assert leftovers(fs) == []
    take_snapshot(follower, meta(7))  # and the member goes on


def test_an_abandoned_snapshot_leaves_nothing() -> None:
    fs = MemoryFileSystem()
    storage = formed(fs)
    writer = storage.begin_snapshot(meta(7))
    writer.add(b"one")
    assert len(leftovers(fs)) == 1
    writer.abandon()
    writer.abandon()
    assert leftovers(fs) == []
    with pytest.raises(InvariantViolation):
        writer.add(b"two")
    with pytest.raises(InvariantViolation):
        writer.commit()


def test_two_snapshots_may_be_written_at_once_and_the_higher_is_the_newest() -> None:
    storage = formed(MemoryFileSystem())
    own, received = storage.begin_snapshot(meta(7)), storage.begin_snapshot(meta(9))
    own.add(b"own")
    received.add(b"received")
    received.commit()
    own.add(b"more")
    own.commit()
    assert storage.snapshot == meta(9)
    assert content(storage, 7) == [b"own", b"more"]


def test_a_snapshot_is_synced_then_renamed_then_its_directory_synced() -> None:
    fs = MemoryFileSystem()
    storage = formed(fs)
    before = len(fs.log)
    take_snapshot(storage, meta(7))
    what = [operation.split()[0] for operation in fs.log[before:]]
    assert what[-3:] == ["sync", "rename", "sync_directory"]
    assert what.count("write") == len(what) - 4


def test_leftovers_are_removed_at_opening() -> None:
    fs = MemoryFileSystem()
    storage = formed(fs)
    storage.begin_snapshot(meta(7)).add(b"half")
    assert leftovers(fs)
    _, recovered = reopen(fs)
    assert leftovers(fs) == []
    assert recovered.snapshot is None


def test_a_trim_keeps_the_newest_and_those_being_sent() -> None:
    fs = MemoryFileSystem()
    storage = formed(fs)
    Appender(storage)(entries(1, 9))
    for index in (3, 5, 7, 9):
        take_snapshot(storage, meta(index))
    storage.trim(9, 9, keep_snapshots=[5])
    assert snapshot_indexes(fs.names()) == [5, 9]
    assert content(storage, 5) == [b"one", b"two"]
    with pytest.raises(SnapshotGone, match="newest"):
        storage.read_section(7, 0)
    storage.trim(9, 9)
    assert snapshot_indexes(fs.names()) == [9]


def test_a_section_that_went_bad_is_told_when_it_is_read() -> None:
    fs = MemoryFileSystem()
    storage = formed(fs)
    take_snapshot(storage, meta(7), [b"x" * 1000, b"y" * 1000])
    fs.nodes[snapshot_name(7)].cache[1500] ^= 1
    assert storage.read_section(7, 0) == (b"x" * 1000, False)
    with pytest.raises(SnapshotDamaged, match="Section 1"):
        storage.read_section(7, 1)
    with pytest.raises(SnapshotDamaged):
        content(storage, 7)
    fs.bad_sectors[snapshot_name(7)] = [(0, 5000)]
    with pytest.raises(SnapshotDamaged, match="cannot be read"):
        storage.read_section(7, 0)


def test_a_stale_section_with_right_checksums_is_found_by_the_digest() -> None:
    """The disk kept one section of an earlier snapshot at the same index and place."""
    both = []
    for word in (b"this", b"that"):
        fs = MemoryFileSystem()
        take_snapshot(formed(fs), meta(7), [word, b"same"])
        both.append(fs.files())
    name = snapshot_name(7)
    this, that = both[0][name], both[1][name]
    end = this.index(b"this") + 4
    mixed = that[:end] + this[end:]
    assert mixed not in (this, that)
    _, recovered = reopen(MemoryFileSystem({**both[0], name: mixed}))
    assert recovered.snapshot is None
    assert any("digest" in note for note in recovered.notes)


def test_a_snapshot_from_another_folder_is_not_taken_for_ours() -> None:
    fs, other = MemoryFileSystem(), MemoryFileSystem()
    formed(fs)
    stranger, _ = Storage.open(other, member_id=2, create=True)
    stranger.set_cluster_id(b"y" * 16)
    take_snapshot(stranger, meta(7))
    name = snapshot_name(7)
    _, recovered = reopen(MemoryFileSystem({**fs.files(), name: other.files()[name]}))
    assert recovered.snapshot is None
    assert any("another folder" in note for note in recovered.notes)


def test_a_damaged_snapshot_is_set_aside_until_a_new_one_is_durable() -> None:
    fs = MemoryFileSystem()
    storage = formed(fs)
    Appender(storage)(entries(1, 9), HardState(1, 1))
    take_snapshot(storage, meta(7))
    fs.nodes[snapshot_name(7)].cache[40] ^= 1
    storage, recovered = reopen(fs)
    assert (recovered.damage, recovered.snapshot) == (None, None)  # the log reaches back to the beginning
    assert recovered.entries == [*entries(1, 9)]
    assert f"damaged-{snapshot_name(7)}" in fs.names()
    take_snapshot(storage, meta(8))
    storage.trim(8, 8)
    assert f"damaged-{snapshot_name(7)}" not in fs.names()


def test_the_digest_is_over_meta_and_content_only() -> None:
    """It crosses the wire, so it is part of the protocol: fixed here."""
    storage = formed(MemoryFileSystem())
    take_snapshot(storage, meta(7, 3), [b"one", b""])
    words = b"".join(number.to_bytes(4, "little") for number in (3, 1, 2, 3, 0, 0, 0))
    expected = hashlib.sha256(
        (7).to_bytes(8, "little")
        + (3).to_bytes(8, "little")
        + words
        + (3).to_bytes(8, "little")
        + b"one"
        + (0).to_bytes(8, "little")
    )
    assert storage.read_section(7, 2) == (expected.digest(), True)


def test_a_section_above_its_limit_is_refused() -> None:
    writer: SnapshotWriter = formed(MemoryFileSystem()).begin_snapshot(meta(7))
    with pytest.raises(InvariantViolation, match="limit"):
        writer.add(bytes(4097))
