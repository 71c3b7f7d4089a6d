"""The witness: exact after a process's death, at worst silent after a power cut, and never a liar.

What it finds is tried in test_damage.py and, with a power cut at every operation, in test_crash.py.
"""

import pytest

from coord.disk.errors import StorageError
from coord.disk.inspect import inspect_wal
from coord.disk.names import WITNESS_NAME, segment_name, segment_numbers
from coord.disk.record import owner_digest, start_block_bytes
from coord.disk.settings import StorageSettings
from coord.disk.witness import FILE_BYTES, NOTHING, SLOT_BYTES, Witnessed, read_witness
from coord.raft.types import Entry, HardState
from tests.disk.helpers import CLUSTER, Appender, end_of, entries, entry, formed, meta, reopen, take_snapshot
from tests.disk.life import live
from tests.disk.memory import (
    MemoryFileSystem,
    PowerCut,
    all_but_the_witness,
    drop_all,
    keep_all,
    names_and_sizes,
    torn,
)

OWNER = owner_digest(bytes(range(16)), CLUSTER, 1)
TINY = StorageSettings(segment_bytes=1200, hard_state_padding_bytes=0)
NOTE_BYTES = 28


def a_log() -> tuple[list[dict[str, bytes]], list[Witnessed]]:
    """The folder, and the end of what is acknowledged, after each of twelve batches over two segments."""
    fs = MemoryFileSystem()
    append = Appender(formed(fs, TINY))
    moments, ends = [], []
    for index in range(1, 13):
        append((entry(index),), HardState(index, 1) if index % 4 == 0 else None)
        moments.append(fs.files())
        newest = segment_numbers(fs.names())[-1]
        ends.append(Witnessed(newest, end_of(moments[-1], newest)))
    assert ends[-1].segment == 2
    return moments, ends


MOMENTS, ENDS = a_log()
FILES, END = MOMENTS[-1], ENDS[-1]
LOG: list[Entry] = [*entries(1, 12)]
LAST = segment_name(END.segment)


def cut(files: dict[str, bytes], length: int) -> dict[str, bytes]:
    return {**files, LAST: files[LAST][:length]}


def test_of_a_process_that_died_it_is_exact_whatever_it_did() -> None:
    fs = MemoryFileSystem()
    for step in live(fs):
        numbers = segment_numbers(fs.names())
        if numbers:
            end = Witnessed(numbers[-1], end_of(fs.files(), numbers[-1]))
            assert read_witness(fs, OWNER) == end, f"before {step.name}"
    assert len(fs.files()[WITNESS_NAME]) == FILE_BYTES


def test_the_file_is_durable_in_full_size_before_the_first_batch() -> None:
    fs = MemoryFileSystem()
    formed(fs)
    after = fs.power_cut(drop_all)
    assert after.files()[WITNESS_NAME] == bytes(FILE_BYTES)
    for missing in (None, b"", b"x" * 700):
        files = {name: data for name, data in after.files().items() if name != WITNESS_NAME}
        fs = MemoryFileSystem(files if missing is None else {**files, WITNESS_NAME: missing})
        reopen(fs)
        assert len(fs.power_cut(drop_all).files()[WITNESS_NAME]) == FILE_BYTES
        assert read_witness(fs, OWNER).segment == 1


def test_what_was_read_at_opening_is_witnessed_too() -> None:
    """It is promised to others at once, so it counts as acknowledged, though it was not before."""
    fs = MemoryFileSystem(MOMENTS[-2] | {LAST: FILES[LAST]})
    _, recovered = reopen(fs, TINY)
    assert recovered.entries == LOG
    assert read_witness(fs, OWNER) == END
    _, after = reopen(MemoryFileSystem(cut(fs.files(), ENDS[-2].end)), TINY)
    assert after.damage is not None


def test_what_it_proves_is_not_written_again_and_what_it_does_not_is() -> None:
    fs = MemoryFileSystem(FILES)
    reopen(fs, TINY)
    assert f"write {LAST}" not in fs.log
    fs = MemoryFileSystem({**FILES, WITNESS_NAME: MOMENTS[-2][WITNESS_NAME]})
    reopen(fs, TINY)
    assert f"write {LAST}" in fs.log


@pytest.mark.parametrize("moment", range(len(MOMENTS)))
def test_a_stale_witness_proves_less_and_nothing_false(moment: int) -> None:
    files = {**FILES, WITNESS_NAME: MOMENTS[moment][WITNESS_NAME]}
    said = ENDS[moment]
    _, recovered = reopen(MemoryFileSystem(files), TINY)
    assert (recovered.entries, recovered.damage, recovered.cut_bytes) == (LOG, None, 0)
    for length in {*range(start_block_bytes(0), END.end, 9), *(end.end for end in ENDS[-4:-1]), said.end - 1}:
        _, recovered = reopen(MemoryFileSystem(cut(files, length)), TINY)
        noticed = said.segment == END.segment and length < said.end
        assert (recovered.damage is not None) == noticed, length


def test_no_flipped_bit_and_no_length_of_it_makes_it_lie() -> None:
    data = FILES[WITNESS_NAME]
    spoilt = [data[:length] for length in range(0, len(data), 3)]
    for begin in (0, SLOT_BYTES):
        for bit in range(begin * 8, (begin + NOTE_BYTES) * 8):
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << bit % 8
            spoilt.append(bytes(changed))
    seen = set()
    for bad in spoilt:
        fs = MemoryFileSystem({**FILES, WITNESS_NAME: bad})
        seen.add(read_witness(fs, OWNER))
        _, recovered = reopen(fs, TINY)
        assert (recovered.entries, recovered.damage, recovered.cut_bytes) == (LOG, None, 0)
    assert seen == {NOTHING, ENDS[-2], END}


def test_a_note_that_tears_leaves_the_one_before_it() -> None:
    """Each note, also the first one after the folder was opened again, goes where the older one is."""
    for moment in range(1, len(MOMENTS)):
        fs = MemoryFileSystem(MOMENTS[moment])
        for reopened in (False, True):
            if reopened:
                reopen(fs, TINY)
            before = MOMENTS[moment - 1][WITNESS_NAME] if not reopened else MOMENTS[moment][WITNESS_NAME]
            after = fs.files()[WITNESS_NAME]
            written = {at // SLOT_BYTES for at in range(FILE_BYTES) if before[at] != after[at]}
            if ENDS[moment].segment == ENDS[moment - 1].segment:  # a roll is a note, too
                assert len(written) == 1, moment
                half = bytearray(after)
                at = written.pop() * SLOT_BYTES
                half[at : at + NOTE_BYTES] = b"\xee" * NOTE_BYTES
                left = read_witness(MemoryFileSystem({WITNESS_NAME: bytes(half)}), OWNER)
                assert left == ENDS[moment if reopened else moment - 1]


@pytest.mark.parametrize("how", ["another member's", "a former folder's", "a bad sector"])
def test_one_that_is_not_ours_or_cannot_be_read_is_no_evidence(how: str) -> None:
    other = MemoryFileSystem()
    if how == "a former folder's":
        other.fresh_bytes = lambda count: bytes(count)  # type: ignore[method-assign]
    appender = Appender(formed(other, TINY))
    for index in range(1, 60):
        appender((entry(index),))
    foreign = other.files()[WITNESS_NAME]
    if how == "another member's":
        leader = owner_digest(bytes(range(16)), CLUSTER, 2)
        assert read_witness(other, leader) == NOTHING
        foreign = bytes(8) + foreign[8:]
        foreign = foreign[:SLOT_BYTES] + bytes(8) + foreign[SLOT_BYTES + 8 :]
    fs = MemoryFileSystem({**FILES, WITNESS_NAME: FILES[WITNESS_NAME] if "sector" in how else foreign})
    if how == "a bad sector":
        fs.bad_sectors[WITNESS_NAME] = [(0, FILE_BYTES)]
    assert read_witness(fs, OWNER) == NOTHING
    _, recovered = reopen(fs, TINY)
    assert (recovered.entries, recovered.damage) == (LOG, None)


def test_a_missing_segment_is_missed_also_with_an_identity_from_a_backup() -> None:
    files = {name: data for name, data in FILES.items() if name != LAST}
    backup = {**files, "identity": MOMENTS[0]["identity"]}
    for case in (files, backup):
        fs = MemoryFileSystem(case)
        _, recovered = reopen(fs, TINY)
        assert recovered.damage is not None
        assert recovered.damage.file == LAST
        # Its number is not used again: the witness may go on telling of it.
        assert segment_numbers(fs.names()) == [1, 3]
    # And one that is there is not taken for one that was never finished, though it holds no batch.
    roll = next(at for at, end in enumerate(ENDS) if end.segment == END.segment)
    old = {**MOMENTS[roll], "identity": MOMENTS[0]["identity"]}
    start = {**old, LAST: old[LAST][: start_block_bytes(0)]}
    _, recovered = reopen(MemoryFileSystem(start), TINY)
    assert recovered.damage is not None


@pytest.mark.parametrize("length", [ENDS[-2].end, ENDS[-3].end + 9, 100])
def test_a_power_cut_at_any_operation_of_opening_a_damaged_folder_hides_nothing(length: int) -> None:
    """And once it is healed, the old witness, which a power cut may bring back, does no harm."""
    files = cut(FILES, length)
    _, expected = reopen(MemoryFileSystem(files), TINY)
    assert expected.damage is not None
    for cut_at in range(1, 60):
        fs = MemoryFileSystem(files)
        fs.cut_at = cut_at
        try:
            reopen(fs, TINY)
            ended = True
        except PowerCut:
            ended = False
        for choice in (keep_all, drop_all, names_and_sizes, all_but_the_witness, torn(cut_at)):
            after = fs.power_cut(choice)
            storage, recovered = reopen(after, TINY)
            assert recovered.damage is not None, cut_at
            assert recovered.entries == expected.entries, cut_at
            Appender(storage)((entry(len(recovered.entries) + 1, 20),), HardState(20, 0))
            storage.end_recovering()
            healed = MemoryFileSystem({**after.files(), WITNESS_NAME: FILES[WITNESS_NAME]})
            for folder in (after.power_cut(drop_all), healed):
                _, again = reopen(folder, TINY)
                assert again.damage is None, (cut_at, again.damage)
                assert again.entries == [*expected.entries, entry(len(expected.entries) + 1, 20)], cut_at
        if ended:
            return
    pytest.fail("opening never ended")


def test_a_snapshot_that_covers_the_lost_end_does_not_hide_the_loss() -> None:
    """What was acknowledged may include a vote, and that is in no snapshot."""
    fs = MemoryFileSystem(FILES)
    storage, _ = reopen(fs, TINY)
    take_snapshot(storage, meta(12, 1))
    _, recovered = reopen(MemoryFileSystem(cut(fs.files(), ENDS[-2].end)), TINY)
    assert recovered.damage is not None


def test_a_note_that_cannot_be_written_is_final() -> None:
    fs = MemoryFileSystem()
    append = Appender(formed(fs, TINY))
    append((entry(1),))
    fs.fail = lambda operation, name: (
        OSError(5, "no") if (operation, name) == ("write", WITNESS_NAME) else None
    )
    for _ in range(2):
        with pytest.raises(StorageError, match="noting what was synced"):
            append((entry(2),))


def test_looking_in_tells_what_is_missing() -> None:
    assert [row.problem for row in inspect_wal(MemoryFileSystem(FILES)) if row.problem] == []
    rows = list(inspect_wal(MemoryFileSystem(cut(FILES, ENDS[-2].end))))
    bad = [row for row in rows if row.problem]
    assert [(row.file, row.offset, row.length) for row in bad] == [
        (LAST, ENDS[-2].end, END.end - ENDS[-2].end)
    ]
    assert "once synced" in bad[0].problem
    gone = {name: data for name, data in FILES.items() if name != LAST}
    assert [row.file for row in inspect_wal(MemoryFileSystem(gone)) if row.problem] == [LAST]
