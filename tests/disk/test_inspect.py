"""Looking into a folder tells what is there and changes nothing, not even when it is damaged or in use."""

from coord.disk.inspect import inspect_folder, inspect_snapshots, inspect_wal
from coord.disk.names import segment_name, snapshot_name
from coord.raft.types import HardState
from tests.disk.helpers import Appender, end_of, entries, formed, meta, take_snapshot
from tests.disk.memory import MemoryFileSystem


def a_folder() -> MemoryFileSystem:
    fs = MemoryFileSystem()
    storage = formed(fs)
    append = Appender(storage)
    append(entries(1, 9), HardState(1, 2))
    append(entries(10, 11))
    take_snapshot(storage, meta(4))
    fs.log.clear()
    return fs  # and it is in use


def test_every_record_has_a_row_and_all_bytes_are_told() -> None:
    fs = a_folder()
    rows = list(inspect_wal(fs))
    assert [row.problem for row in rows] == [""] * len(rows)
    assert [row.index for row in rows if row.kind == "entry"] == [*range(1, 12)]
    assert [row.kind for row in rows if row.file == segment_name(2)] == [
        "segment start",
        "hard state",
        "hard state",
        "entry",
        "entry",
    ]
    assert [(row.term, row.vote) for row in rows if row.kind == "hard state"][-1] == (1, 2)
    files = fs.files()
    for number in (1, 2):
        told = sum(row.length for row in rows if row.file == segment_name(number))
        assert told == end_of(files, number)
        assert not any(files[segment_name(number)][told:])  # zeros that were written ahead are no row
    assert fs.log == []


def test_damage_is_a_row_with_a_problem_and_the_rest_is_still_told() -> None:
    fs = a_folder()
    rows = list(inspect_wal(fs))
    bad = next(row for row in rows if row.index == 5)
    fs.nodes[bad.file].cache[bad.offset + 70] ^= 1
    before = fs.files()
    after = list(inspect_wal(fs))
    problems = [row for row in after if row.problem]
    assert [(row.offset, row.length) for row in problems] == [(bad.offset, bad.length)]
    assert "checksum" in problems[0].problem
    assert [row.index for row in after if row.kind == "entry"] == [1, 2, 3, 4, *range(6, 12)]
    assert fs.files() == before
    assert fs.log == []


def test_a_record_that_follows_nothing_is_told() -> None:
    fs = a_folder()
    data = fs.files()[segment_name(2)]
    rows = [row for row in inspect_wal(fs) if row.file == segment_name(2)]
    last_entry = rows[-1]
    other = a_folder()
    storage_bytes = bytearray(data)
    # Another history of the same member: the same place, another record before it.
    storage_bytes[last_entry.offset + 52 : last_entry.offset + 56] = b"abcd"
    other.nodes[segment_name(2)].cache[:] = storage_bytes
    assert any(row.problem for row in inspect_wal(other))


def test_a_snapshot_has_a_row_with_its_digest_or_its_problem() -> None:
    fs = a_folder()
    (row,) = inspect_snapshots(fs)
    assert (row.file, row.meta, row.sections, row.content_bytes) == (snapshot_name(4), meta(4), 2, 6)
    assert (row.problem, len(row.digest)) == ("", 64)
    fs.nodes[snapshot_name(4)].cache[-50] ^= 1
    (row,) = inspect_snapshots(fs)
    assert row.problem
    assert row.digest == ""


def test_the_folders_owner_is_told() -> None:
    fs = a_folder()
    row = inspect_folder(fs)
    assert row.problem == ""
    assert row.state is not None
    assert (row.state.identity.member_id, row.state.newest_segment) == (1, 2)
    assert inspect_folder(MemoryFileSystem()).state is None
    assert "not a data folder" in inspect_folder(MemoryFileSystem()).problem


def test_a_file_that_goes_away_meanwhile_is_told() -> None:
    fs = a_folder()
    rows = inspect_wal(fs)
    next(rows)
    del fs.nodes[segment_name(2)]
    assert [row.problem for row in rows if row.file == segment_name(2)] != [""]
    names = fs.names
    fs.names = lambda: [*names(), snapshot_name(8)]  # type: ignore[method-assign]
    assert ["gone" in row.problem for row in inspect_snapshots(fs)] == [False, True]
