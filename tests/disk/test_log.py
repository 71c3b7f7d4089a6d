"""The log in good health: round trips, rolls, truncation, trims, and what it refuses to write."""

import pytest

from coord.api.checks import InvariantViolation
from coord.disk.names import segment_name, segment_numbers
from coord.disk.record import HEADER_BYTES, search, start_block_bytes
from coord.disk.settings import StorageSettings
from coord.raft.types import Entry, HardState, Persist
from tests.disk.helpers import (
    CLUSTER,
    SMALL,
    Appender,
    end_of,
    entries,
    entry,
    formed,
    meta,
    reopen,
    take_snapshot,
)
from tests.disk.memory import MemoryFileSystem, drop_all


def test_what_was_appended_is_read_back_field_by_field() -> None:
    fs = MemoryFileSystem()
    append = Appender(formed(fs))
    batch = (
        Entry(1, 1, 0, b""),
        Entry(2, 1, 1, bytes(range(256))),
        Entry(3, 2**63, 65535, b"\xc0\x0d\x57\xa1" * 3),
        Entry(4, 2**63, 0, b"x" * 100_000),
    )
    append(batch, HardState(2**63, 2**31 - 1))
    _, recovered = reopen(fs)
    assert recovered.entries == list(batch)
    assert recovered.hard_state == HardState(2**63, 2**31 - 1)
    assert (recovered.damage, recovered.cut_bytes, recovered.notes) == (None, 0, ())
    assert recovered.identity.cluster_id == CLUSTER


def test_an_append_is_one_write_and_one_sync_and_then_a_note_that_is_not_synced() -> None:
    fs = MemoryFileSystem()
    append = Appender(formed(fs))
    before = len(fs.log)
    append(entries(1, 20), HardState(1, 1))
    name = segment_name(1)
    assert fs.log[before:] == [f"write {name}", f"sync {name}", "write synced"]


def test_the_later_entry_wins() -> None:
    fs = MemoryFileSystem()
    append = Appender(formed(fs))
    append(entries(1, 9))
    append(entries(4, 5, 2), HardState(2, 0))
    _, recovered = reopen(fs)
    assert recovered.entries == [*entries(1, 3), *entries(4, 5, 2)]


def test_superseded_entries_stay_away_over_rolls_and_trims() -> None:
    fs = MemoryFileSystem()
    storage = formed(fs, StorageSettings(segment_bytes=1, hard_state_padding_bytes=0))  # each batch rolls
    append = Appender(storage)
    append(entries(1, 9))
    append(entries(5, 5, 2), HardState(2, 0))
    append(entries(6, 6, 2))
    take_snapshot(storage, meta(5, 2))
    # Segment 2, with [1, 9], is not wholly below 6: were a later one deleted before it, 7-9 would rise again.
    storage.trim(5, 6)
    assert segment_numbers(fs.names()) == [2, 3, 4]
    _, recovered = reopen(fs)
    assert recovered.entries == [*entries(6, 6, 2)]


def test_a_roll_carries_the_hard_state_and_continues_the_chain() -> None:
    fs = MemoryFileSystem()
    storage = formed(fs, SMALL)
    append = Appender(storage)
    append((), HardState(7, 2))
    for index in range(1, 80):
        append((entry(index, 7),))
    take_snapshot(storage, meta(78, 7))
    storage.trim(78, 79)
    assert len(segment_numbers(fs.names())) == 1
    assert segment_name(1) not in fs.names()
    _, recovered = reopen(fs.power_cut(drop_all))
    assert recovered.hard_state == HardState(7, 2)
    assert recovered.entries == [entry(79, 7)]


def test_a_trim_keeps_what_the_caller_wants_and_all_above() -> None:
    fs = MemoryFileSystem()
    storage = formed(fs, StorageSettings(segment_bytes=1, hard_state_padding_bytes=0))
    append = Appender(storage)
    for index in range(1, 7):
        append((entry(index),))  # entry i is in segment i + 1
    take_snapshot(storage, meta(4))
    storage.trim(4, 3)
    assert segment_numbers(fs.names()) == [4, 5, 6, 7]


def test_each_batch_swears_to_the_one_before_it_and_not_to_itself() -> None:
    fs = MemoryFileSystem()
    append = Appender(formed(fs))
    start = start_block_bytes(SMALL.hard_state_padding_bytes)
    append(entries(1, 2))
    end = end_of(fs.files(), 1)
    append(entries(3, 4))
    headers = list(search(fs.files()[segment_name(1)], 0, None, 1))
    assert [header.synced_through for header in headers] == [0, 0, 0, start, start, end, end]


def test_a_reset_forgets_the_log_and_keeps_the_vote() -> None:
    fs = MemoryFileSystem()
    storage = formed(fs)
    append = Appender(storage)
    append(entries(1, 9), HardState(3, 2))
    take_snapshot(storage, meta(100, 3))
    storage.reset_log(meta(100, 3))
    assert segment_numbers(fs.names()) == [2]
    append(entries(101, 102, 3))
    _, recovered = reopen(fs.power_cut(drop_all))
    assert (recovered.snapshot, recovered.entries) == (meta(100, 3), [*entries(101, 102, 3)])
    assert recovered.hard_state == HardState(3, 2)


@pytest.mark.parametrize("case", ["shorter", "conflicting", "fitting"])
def test_a_received_snapshot_replaces_a_log_that_it_does_not_fit(case: str) -> None:
    """The crash came between the snapshot and the log's reset, or no reset was needed."""
    fs = MemoryFileSystem()
    storage = formed(fs)
    append = Appender(storage)
    append(entries(1, 9))
    what = {"shorter": meta(20, 1), "conflicting": meta(5, 2), "fitting": meta(5, 1)}[case]
    take_snapshot(storage, what)
    storage, recovered = reopen(fs)
    assert recovered.damage is None
    assert recovered.snapshot == what
    assert recovered.entries == ([*entries(6, 9)] if case == "fitting" else [])
    next_index = what.index + len(recovered.entries) + 1
    Appender(storage)((entry(next_index, 3),))
    _, again = reopen(fs)
    assert again.entries == [*recovered.entries, entry(next_index, 3)]


def test_a_batch_larger_than_a_segment_stays_whole() -> None:
    fs = MemoryFileSystem()
    append = Appender(formed(fs))
    large = tuple(entry(index, 1, b"x" * 1000) for index in range(1, 30))
    append(large)
    append(entries(30, 31))
    _, recovered = reopen(fs)
    assert recovered.entries == [*large, *entries(30, 31)]
    assert segment_numbers(fs.names()) == [1, 2]


def test_writing_nonsense_is_refused_before_it_reaches_the_disk() -> None:
    fs = MemoryFileSystem()
    storage = formed(fs, StorageSettings())
    append = Appender(storage)
    append(entries(1, 3), HardState(2, 1))
    before = fs.files()
    for wrong in (
        Persist(1, None, entries(4, 4)),  # a number twice
        Persist(0, None, entries(4, 4)),
        Persist(2, None, entries(5, 5)),  # a gap
        Persist(2, None, (entry(4), entry(6))),
        Persist(2, None, (entry(4, 2), entry(5, 1))),  # a term that goes back
        Persist(2, HardState(1, 1), ()),
        Persist(2, None, ()),
        Persist(2, None, entries(0, 1)),
    ):
        with pytest.raises(InvariantViolation):
            storage.append(wrong)
    assert fs.files() == before
    storage.append(Persist(5, None, entries(4, 4)))  # batches 2 to 5, joined


def test_before_the_cluster_id_is_known_there_is_no_log() -> None:
    fs = MemoryFileSystem()
    storage, recovered = reopen(fs, create=True)
    assert not recovered.identity.formed
    for use in (
        lambda: storage.append(Persist(1, None, entries(1, 1))),
        lambda: storage.begin_snapshot(meta(1)),
    ):
        with pytest.raises(InvariantViolation, match="before the cluster id"):
            use()
    assert segment_numbers(fs.names()) == []


def test_trims_and_resets_need_a_durable_snapshot() -> None:
    fs = MemoryFileSystem()
    storage = formed(fs)
    Appender(storage)(entries(1, 9))
    with pytest.raises(InvariantViolation):
        storage.trim(5, 5)
    writer = storage.begin_snapshot(meta(5))
    with pytest.raises(InvariantViolation):
        storage.trim(5, 5)
    with pytest.raises(InvariantViolation):
        storage.reset_log(meta(5))
    writer.commit()
    with pytest.raises(InvariantViolation):
        storage.trim(5, 7)  # entry 6 is in no snapshot
    storage.trim(5, 6)


def test_a_header_has_64_bytes_and_a_segment_begins_with_what_it_says() -> None:
    assert HEADER_BYTES == 64
    fs = MemoryFileSystem()
    formed(fs)
    assert len(fs.files()[segment_name(1)]) == start_block_bytes(SMALL.hard_state_padding_bytes)


def test_statistics_count_segments_and_snapshots() -> None:
    fs = MemoryFileSystem()
    storage = formed(fs)
    append = Appender(storage)
    append(entries(1, 50))
    append(entries(51, 52))
    take_snapshot(storage, meta(50))
    statistics = storage.statistics()
    assert statistics.wal_segments == 2
    assert statistics.wal_bytes > 2048
    assert statistics.snapshot_index == 50
    assert statistics.snapshot_bytes == sum(
        len(data) for name, data in fs.files().items() if name.startswith("snapshot")
    )
    assert statistics.free_bytes == 2**40
