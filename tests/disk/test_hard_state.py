"""Term and vote survive any one bad sector, wherever it lies, and any tear of themselves."""

import pytest

from coord.disk.names import segment_name
from coord.disk.settings import StorageSettings
from coord.raft.types import HardState
from tests.disk.helpers import Appender, end_of, entries, formed, reopen
from tests.disk.memory import MemoryFileSystem

NAME = segment_name(1)


@pytest.mark.parametrize("sector_bytes", [512, 4096])
@pytest.mark.parametrize("ahead", [0, 1, 7])
@pytest.mark.parametrize("behind", [0, 1])
def test_no_bad_sector_forgets_a_vote(sector_bytes: int, ahead: int, behind: int) -> None:
    settings = StorageSettings(hard_state_padding_bytes=sector_bytes)
    fs = MemoryFileSystem()
    append = Appender(formed(fs, settings))
    append(entries(1, 2), HardState(1, 1))
    if ahead:
        append(tuple(entries(3, 2 + ahead)))
    begin = end_of(fs.files(), 1)
    append((), HardState(2, 3))
    end = end_of(fs.files(), 1)
    if behind:
        append(entries(3 + ahead, 3 + ahead, 2))
    files = fs.files()
    data = files[NAME]
    first, last = begin // sector_bytes, (end - 1) // sector_bytes
    for sector in range(first, last + 1):
        bad = bytearray(data)
        piece = slice(sector * sector_bytes, min((sector + 1) * sector_bytes, len(data)))
        bad[piece] = b"\xff" * len(bad[piece])
        _, recovered = reopen(MemoryFileSystem({**files, NAME: bytes(bad)}), settings)
        assert recovered.hard_state == HardState(2, 3), sector
        if begin <= piece.start and piece.stop <= end:
            assert recovered.damage is None, sector


def test_a_restored_copy_is_written_back() -> None:
    settings = StorageSettings(hard_state_padding_bytes=512)
    fs = MemoryFileSystem()
    append = Appender(formed(fs, settings))
    begin = end_of(fs.files(), 1)
    append((), HardState(2, 3))
    append(entries(1, 3, 2))
    files = fs.files()
    records = files[NAME][: end_of(files, 1)]
    for at in (begin, begin + 30, begin + 100, begin + 64 + 512, begin + 64 + 512 + 100):
        bad = bytearray(files[NAME])
        bad[at] ^= 255
        damaged = MemoryFileSystem({**files, NAME: bytes(bad)})
        _, recovered = reopen(damaged, settings)
        assert recovered.hard_state == HardState(2, 3)
        assert recovered.entries == [*entries(1, 3, 2)]
        assert any("restored" in note for note in recovered.notes)
        assert damaged.files()[NAME] == records
        _, again = reopen(damaged, settings)
        assert again.notes == ()


def test_when_both_copies_are_gone_the_term_is_kept_and_the_vote_not_given_again() -> None:
    settings = StorageSettings(hard_state_padding_bytes=0)
    fs = MemoryFileSystem()
    append = Appender(formed(fs, settings))
    begin = end_of(fs.files(), 1)
    append((), HardState(5, 3))
    append(entries(1, 2, 5))
    bad = bytearray(fs.files()[NAME])
    bad[begin : begin + 128] = bytes(128)
    _, recovered = reopen(MemoryFileSystem({**fs.files(), NAME: bytes(bad)}), settings)
    assert recovered.damage is not None  # so it votes for nobody until its peers have restored it
    assert recovered.hard_state == HardState(5, 0)
    assert recovered.damage.last_index_seen == 2
