"""A snapshot is taken while it is checked: in order, once, and that is worth something only if all of it was sound."""

import threading

import pytest

from coord.disk import snapshot_format
from coord.disk.names import snapshot_name
from coord.disk.settings import StorageSettings
from tests.disk.helpers import Appender, Taken, entries, formed, meta, reopen, take_snapshot
from tests.disk.memory import MemoryFileSystem

LARGE = StorageSettings(section_limit_bytes=64 * 1024)
SECTIONS = [bytes([number]) * (1000 * number) for number in range(1, 30)]


@pytest.fixture(params=["by itself", "aside"], autouse=True)
def hashed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a thread that hashes, or without."""
    if request.param == "aside":
        monkeypatch.setattr(snapshot_format, "_LOT_BYTES", 5000)


def two_snapshots() -> dict[str, bytes]:
    """At 3 and at 7, and all of the log."""
    fs = MemoryFileSystem()
    storage = formed(fs, LARGE)
    Appender(storage)(entries(1, 9))
    take_snapshot(storage, meta(3), [b"older", *SECTIONS[:20]])
    take_snapshot(storage, meta(7), SECTIONS)
    return fs.files()


def test_all_sections_in_order() -> None:
    taken = Taken()
    _, recovered = reopen(MemoryFileSystem(two_snapshots()), LARGE, take=taken.begin)
    assert recovered.snapshot == meta(7)
    assert taken.tried == [meta(7)]
    assert taken.sections == SECTIONS
    assert recovered.entries == list(entries(8, 9))


def test_nothing_without_a_snapshot() -> None:
    fs = MemoryFileSystem()
    Appender(formed(fs))(entries(1, 2))
    taken = Taken()
    reopen(fs, take=taken.begin)
    assert taken.tried == []


@pytest.mark.parametrize("place", [0.001, 0.4, 0.99, 1.0])
def test_damage_gives_the_one_before(place: float) -> None:
    """Whatever was taken of the damaged one: 0.001 is in its header, 1.0 in its trailer."""
    files = two_snapshots()
    name = snapshot_name(7)
    data = bytearray(files[name])
    data[int(place * (len(data) - 1))] ^= 1
    taken = Taken()
    _, recovered = reopen(MemoryFileSystem({**files, name: bytes(data)}), LARGE, take=taken.begin)
    assert recovered.snapshot == meta(3)
    assert taken.tried[-1] == meta(3)
    assert taken.sections == [b"older", *SECTIONS[:20]]
    assert recovered.damage is None
    assert recovered.entries == list(entries(4, 9))
    assert any(name in note for note in recovered.notes)


@pytest.mark.parametrize("stale", [0, 14, 28])
def test_a_stale_section_gives_the_one_before(stale: int) -> None:
    """All checksums are right, and only the digest of all says that one section is of another time."""
    files = two_snapshots()
    fs = MemoryFileSystem()
    other = formed(fs, LARGE)
    changed = bytes([100]) * len(SECTIONS[stale])
    take_snapshot(other, meta(7), [*SECTIONS[:stale], changed, *SECTIONS[stale + 1 :]])
    name = snapshot_name(7)
    this, that = files[name], fs.files()[name]
    begin = this.index(SECTIONS[stale]) - snapshot_format.SECTION_HEADER_BYTES
    end = begin + snapshot_format.SECTION_HEADER_BYTES + len(changed)
    mixed = this[:begin] + that[begin:end] + this[end:]
    assert mixed not in (this, that)
    taken = Taken()
    _, recovered = reopen(MemoryFileSystem({**files, name: mixed}), LARGE, take=taken.begin)
    assert recovered.snapshot == meta(3)
    assert taken.tried == [meta(7), meta(3)]
    assert taken.sections == [b"older", *SECTIONS[:20]]
    assert any("digest" in note for note in recovered.notes)


def test_what_the_taker_raises_comes_out_and_the_folder_is_free() -> None:
    fs = MemoryFileSystem(two_snapshots())
    threads = threading.active_count()

    def add(section: bytes) -> None:
        if section == SECTIONS[20]:
            raise MemoryError("no room for it")

    with pytest.raises(MemoryError, match="no room for it"):
        reopen(fs, LARGE, take=lambda _: add)
    assert not fs.locked
    assert threading.active_count() == threads
    assert reopen(fs, LARGE)[1].snapshot == meta(7)
