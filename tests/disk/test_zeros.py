"""Zeros written ahead of the log's end: most syncs find the file as long as it was, and no promise is weaker for it.

That a power cut at any operation loses nothing, with zeros ahead as without, is tried in test_crash.py.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from coord.disk.errors import DiskFull
from coord.disk.inspect import inspect_wal
from coord.disk.names import WITNESS_NAME, segment_name, segment_numbers
from coord.disk.settings import KIB, StorageSettings
from coord.disk.wal import zeros_behind
from coord.raft.types import HardState
from tests.disk.helpers import ROOMY, SMALL, Appender, end_of, entries, entry, formed, reopen
from tests.disk.life import SCRIPT, live
from tests.disk.memory import MemoryFileSystem, drop_all

ROOM = StorageSettings(segment_bytes=8 * KIB, hard_state_padding_bytes=0)
NONE_AHEAD = replace(ROOM, zeros_ahead_bytes=0)
NAME = segment_name(1)
LOG = [*entries(1, 11), *entries(12, 13, 2)]
"""What :func:`a_log` leaves; eleven of them are there before its last batch."""


def a_log(settings: StorageSettings = ROOM) -> tuple[MemoryFileSystem, MemoryFileSystem]:
    """Some batches over zeros, with zeros behind them; the folder before the last of them, and after it."""
    fs = MemoryFileSystem()
    append = Appender(formed(fs, settings))
    append(entries(1, 2), HardState(1, 2))
    for index in range(3, 12):
        append((entry(index),))
    before = MemoryFileSystem(fs.files())
    append(entries(12, 13, 2), HardState(2, 3))
    return before, fs


def with_log(fs: MemoryFileSystem, data: bytes, *, witnessed: bool) -> MemoryFileSystem:
    files = {**fs.files(), NAME: data}
    if not witnessed:
        del files[WITNESS_NAME]
    return MemoryFileSystem(files)


def grown(fs: MemoryFileSystem, append: Appender, first: int, last: int) -> Iterator[int]:
    """The size of the newest segment after each batch of one entry that made it longer."""
    size = len(fs.files()[NAME])
    for index in range(first, last + 1):
        append((entry(index),))
        if len(fs.files()[NAME]) != size:
            size = len(fs.files()[NAME])
            yield size


def test_few_batches_make_the_file_longer() -> None:
    settings = StorageSettings(zeros_ahead_bytes=64 * KIB)
    fs = MemoryFileSystem()
    append = Appender(formed(fs, settings))
    sizes = list(grown(fs, append, 1, 4000))  # 340 KiB
    assert len(sizes) < 10
    assert sizes[0] < 32 * KIB  # little is written for a log that may stay small
    # And no more than what is set, for one that has grown.
    assert 60 * KIB < sizes[-1] - sizes[-2] <= 65 * KIB
    fs = MemoryFileSystem()
    append = Appender(formed(fs, replace(settings, zeros_ahead_bytes=0)))
    assert len(list(grown(fs, append, 1, 50))) == 50


def test_zeros_end_where_the_segment_does() -> None:
    fs = MemoryFileSystem()
    append = Appender(formed(fs, ROOM))
    sizes: dict[str, set[int]] = {}
    for index in range(1, 300):
        append((entry(index),))
        newest = segment_name(segment_numbers(fs.names())[-1])
        sizes.setdefault(newest, set()).add(len(fs.files()[newest]))
    *closed, _ = segment_numbers(fs.names())
    assert len(closed) > 2
    assert max(len(each) for each in sizes.values()) < 12  # each segment has its own
    for number in closed:
        data = fs.files()[segment_name(number)]
        assert len(data) == end_of(fs.files(), number) <= ROOM.segment_bytes + 64 + 20


def test_a_batch_that_would_use_them_up_is_not_followed_by_zeros() -> None:
    settings = StorageSettings()
    ahead = settings.zeros_ahead_bytes
    assert zeros_behind(10 * ahead, 10 * ahead + 200, settings) == ahead
    assert zeros_behind(10 * ahead, 10 * ahead + ahead, settings) == 0
    assert zeros_behind(1200, 1600, settings) == 1600
    assert zeros_behind(1200, 1601, settings) == 0
    assert zeros_behind(settings.segment_bytes - 300, settings.segment_bytes - 100, settings) == 0
    assert zeros_behind(settings.segment_bytes, settings.segment_bytes + 9, settings) == 0


@pytest.mark.parametrize("witnessed", [True, False])
def test_zeros_are_a_clean_end(witnessed: bool) -> None:
    _, fs = a_log()
    end = end_of(fs.files(), 1)
    assert len(fs.files()[NAME]) > end + 500
    for length in (len(fs.files()[NAME]), end + 513, end + 1, end):
        after = with_log(fs, fs.files()[NAME][:length], witnessed=witnessed)
        storage, recovered = reopen(after, ROOM)
        assert (recovered.entries, recovered.hard_state) == (LOG, HardState(2, 3))
        assert (recovered.damage, recovered.cut_bytes, recovered.notes) == (None, 0, ())
        assert (
            len(after.files()[NAME]) == end
        )  # nobody knows whether the zeros were synced: they are written anew
        Appender(storage)((entry(14, 2),))
        assert len(after.files()[NAME]) > end + 500
        _, again = reopen(after.power_cut(drop_all), ROOM)
        assert (again.entries, again.cut_bytes) == ([*recovered.entries, entry(14, 2)], 0)


def test_any_sectors_of_a_batch_lost_over_zeros_are_a_tear_or_damage_if_witnessed() -> None:
    before, fs = a_log()
    begin, end = end_of(before.files(), 1), end_of(fs.files(), 1)
    old, new = before.files()[NAME], fs.files()[NAME]
    assert len(old) == len(new)  # it went over zeros
    whole = clean = torn = 0
    for lost_from in range(begin, end + 1):
        for lost_to in {lost_from, (lost_from + end) // 2, end}:
            data = new[:lost_from] + old[lost_from:lost_to] + new[lost_to:]
            told = f"[{lost_from}, {lost_to}) of a batch in [{begin}, {end}) is lost"
            _, recovered = reopen(with_log(before, data, witnessed=True), ROOM)
            assert recovered.damage is None, told
            assert recovered.entries == LOG[: len(recovered.entries)], told
            assert len(recovered.entries) >= 11, told
            assert recovered.hard_state in (HardState(1, 2), HardState(2, 3)), told
            assert recovered.cut_bytes <= end - begin, told
            if data[begin:] == old[begin:]:
                clean += 1
                assert (recovered.entries, recovered.cut_bytes, recovered.notes) == (LOG[:11], 0, ()), told
            torn += bool(recovered.cut_bytes)
            # The same once it was synced, and the witness says so: nothing of it may be cut.
            _, recovered = reopen(with_log(fs, data, witnessed=True), ROOM)
            complete = recovered.entries == LOG and recovered.hard_state == HardState(2, 3)
            assert (recovered.damage is None) == complete, told
            whole += complete
    assert clean
    assert torn > 100
    assert 0 < whole < 300


@pytest.mark.parametrize("witnessed", [True, False])
def test_damage_in_the_zeros_costs_nothing(witnessed: bool) -> None:
    _, fs = a_log()
    data, end = fs.files()[NAME], end_of(fs.files(), 1)
    for bit in range(end * 8, len(data) * 8, 61):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        after = with_log(fs, bytes(changed), witnessed=witnessed)
        storage, recovered = reopen(after, ROOM)
        assert recovered.damage is None, bit
        assert recovered.entries == LOG, bit
        assert recovered.hard_state == HardState(2, 3), bit
        assert recovered.cut_bytes == bit // 8 + 1 - end, bit  # it is told, and gone
        Appender(storage)((entry(14, 2),))
        _, again = reopen(after, ROOM)
        assert (len(again.entries), again.cut_bytes, again.damage) == (14, 0, None), bit


def test_zeros_in_place_of_what_was_synced_are_damage() -> None:
    """Behind them lies what swears to it; or, for the last batch, the witness does."""
    before, fs = a_log()
    begin, end = end_of(before.files(), 1), end_of(fs.files(), 1)
    data = fs.files()[NAME]
    start = end_of(formed_only().files(), 1)
    for at in range(start, begin - 64, 16):
        _, recovered = reopen(with_log(fs, data[:at] + bytes(64) + data[at + 64 :], witnessed=False), ROOM)
        assert recovered.damage is not None or recovered.entries == LOG, at
    for at in range(start, end):
        emptied = data[:at].ljust(len(data), b"\0")
        if emptied == data:
            continue  # the record's last bytes are zeros
        after = with_log(fs, emptied, witnessed=True)
        bad = [row for row in inspect_wal(after) if row.problem]
        assert bad, at
        assert max(row.offset + row.length for row in bad) == end, at
        _, recovered = reopen(after, ROOM)
        assert recovered.damage is not None, at
        assert (
            recovered.damage.offset <= at + 64
        )  # a second copy of term and vote, without a body, is restored


def formed_only() -> MemoryFileSystem:
    fs = MemoryFileSystem()
    formed(fs, ROOM)
    return fs


def test_a_second_copy_of_term_and_vote_that_was_lost_over_zeros_is_restored() -> None:
    """Found as one copy, told as the vote, and lost with the next bad sector: that must not be."""
    fs = MemoryFileSystem()
    append = Appender(formed(fs, SMALL))
    append(entries(1, 2))
    fs = MemoryFileSystem(fs.files())
    begin = end_of(fs.files(), 1)
    files = fs.files()
    roomy = {**files, NAME: files[NAME].ljust(4096, b"\0")}
    other = MemoryFileSystem(roomy)
    storage, _ = reopen(other, SMALL)
    Appender(storage)((), HardState(4, 2))
    data = other.files()[NAME]
    first = data[: begin + 64 + 512]
    torn = MemoryFileSystem({**files, NAME: first.ljust(4096, b"\0")})
    _, recovered = reopen(torn, SMALL)
    assert (recovered.hard_state, recovered.damage) == (HardState(4, 2), None)
    assert torn.files()[NAME][begin:] == data[begin : begin + 2 * (64 + 512)]


def test_a_full_disk_is_met_only_where_the_zeros_end() -> None:
    fs = MemoryFileSystem()
    append = Appender(formed(fs, ROOM))
    append(entries(1, 9))
    append(entries(10, 10))
    fs.capacity_bytes = fs.used_bytes()
    end = end_of(fs.files(), 1)
    done = 10

    def append_more() -> None:
        nonlocal done
        while True:
            append((entry(done + 1),))
            done += 1

    with pytest.raises(DiskFull, match="Nothing acknowledged was lost"):
        append_more()
    assert done > 15
    assert end_of(fs.files(), 1) > end + 500
    fs.capacity_bytes = None
    _, recovered = reopen(fs.power_cut(drop_all), ROOM)
    assert recovered.entries == [*entries(1, done)]
    assert recovered.damage is None


def test_zeros_that_do_not_fit_on_the_disk_are_a_full_disk() -> None:
    """Told a little early; what was acknowledged is there, and goes on once there is space."""
    fs = MemoryFileSystem()
    append = Appender(formed(fs, ROOM))
    append((entry(1),))
    fs.capacity_bytes = fs.used_bytes() + 150
    with pytest.raises(DiskFull):
        append((entry(2),))
    fs.capacity_bytes = None
    storage, recovered = reopen(fs, ROOM)
    assert (recovered.entries, recovered.damage) == ([*entries(1, 2)], None)
    Appender(storage)((entry(3),))


@pytest.mark.parametrize(("wrote", "reads"), [(NONE_AHEAD, ROOM), (ROOM, NONE_AHEAD)])
def test_a_folder_with_zeros_and_one_without_are_one_format(
    wrote: StorageSettings, reads: StorageSettings
) -> None:
    """A former version's folder opens, and goes on; and so does ours where none are wanted."""
    _, fs = a_log(wrote)
    storage, recovered = reopen(fs, reads)
    assert (recovered.damage, recovered.cut_bytes, recovered.notes) == (None, 0, ())
    Appender(storage)((entry(14, 2),))
    _, again = reopen(fs.power_cut(drop_all), wrote)
    assert again.entries == [*recovered.entries, entry(14, 2)]


def test_the_life_that_crashes_are_tried_on_writes_over_zeros() -> None:
    """In test_crash.py, with these very settings."""
    fs = MemoryFileSystem()
    sizes: list[int] = []
    over = longer = 0
    for _ in live(fs, settings=ROOMY):
        numbers = segment_numbers(fs.names())
        sizes.append(len(fs.files()[segment_name(numbers[-1])]) if numbers else 0)
    appends = [at for at, step in enumerate(SCRIPT[:-1]) if step.name.startswith("append")]
    for at in appends:
        over += sizes[at] == sizes[at + 1]
        longer += sizes[at] < sizes[at + 1]
    assert over > 7
    assert longer > 4
