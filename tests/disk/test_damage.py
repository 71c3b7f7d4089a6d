"""Every single-bit flip and every truncation of a small folder: right, or told, never silently different.

Tries: damage is never mistaken for a torn tail, nor the reverse (promise 7). Exhaustive over a log of 30
records in two segments; opening the folder for real, with its repairs, is tried on each 63rd bit.
"""

import pytest

from coord.disk.errors import DamagedFolder, StorageError
from coord.disk.identity import decode, load
from coord.disk.names import WITNESS_NAME, segment_name, segment_numbers, snapshot_name
from coord.disk.record import KIND_ENTRY, Encoder, owner_digest
from coord.disk.recovery import read_log
from coord.disk.settings import StorageSettings
from coord.raft.types import Entry, HardState
from tests.disk.helpers import (
    CLUSTER,
    Appender,
    Taken,
    content,
    end_of,
    entries,
    entry,
    formed,
    meta,
    reopen,
    take_snapshot,
)
from tests.disk.memory import MemoryFileSystem, drop_all

# No padding: that a whole bad sector does not cost the vote is tried in test_hard_state.py.
TINY = StorageSettings(segment_bytes=1200, hard_state_padding_bytes=0, section_limit_bytes=4096)
EACH_ROLLS = StorageSettings(segment_bytes=1, hard_state_padding_bytes=0)
FIRST, LAST = segment_name(1), segment_name(2)

Log = tuple[Entry, ...]


class Folder:
    """A small folder of acknowledged records, with what its log was after each of them.

    ``witnessed`` False: its witness is lost, as it may be by a power cut.
    """

    def __init__(self, *, witnessed: bool = True) -> None:
        fs = MemoryFileSystem()
        storage = formed(fs, TINY)
        append = Appender(storage)
        self.history: list[Log] = [()]
        self.last_batch_at = 0
        batches: list[tuple[Log, HardState | None]] = [
            ((), HardState(1, 2)),
            (entries(1, 5), None),
            (entries(4, 6, 2), HardState(2, 1)),
            (entries(7, 8, 2), None),
            (entries(9, 9, 2), None),
            ((), HardState(3, 3)),
            (entries(8, 12, 3), None),
            ((entry(13, 4), Entry(14, 4, 1, b"")), HardState(4, 1)),
        ]
        log: Log = ()
        for batch, hard_state in batches:
            self.last_batch_at = end_of(fs.files(), segment_numbers(fs.names())[-1])
            append(batch, hard_state)
            for one in batch:
                log = (*log[: one.index - 1], one)
                self.history.append(log)
        self.log = log
        self.hard_state = HardState(4, 1)
        self.files = fs.files()
        if not witnessed:
            del self.files[WITNESS_NAME]
        assert [name for name in self.files if name.startswith("wal")] == [FIRST, LAST]
        assert self.last_batch_at < len(self.files[LAST])


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize(("name", "witnessed"), [(FIRST, True), (LAST, True), (LAST, False)])
def test_no_bit_flip_in_the_log_goes_unnoticed(name: str, witnessed: bool) -> None:
    folder = Folder(witnessed=witnessed)
    data = folder.files[name]
    fs = MemoryFileSystem(folder.files)
    loaded = load(fs)
    assert loaded is not None
    damaged = cut = repaired = 0
    # Before the last batch, the witness adds nothing to what that batch itself is evidence of.
    bits = range(len(data) * 8) if witnessed else range(folder.last_batch_at * 8, len(data) * 8, 3)
    for bit in bits:
        told = f"bit {bit} of {name}"
        fs.nodes[name].cache[:] = flipped(data, bit)
        scan = read_log(fs, loaded[0], 0)
        log = tuple(scan.entries)
        assert log in folder.history, told  # never a different record
        assert scan.hard_state == folder.hard_state, told  # and never a forgotten vote
        if scan.damage is not None:
            damaged += 1
            assert scan.damage.file == name, told
            assert scan.damage.offset <= bit // 8, told
        elif scan.cut_bytes:
            cut += 1
            assert not witnessed, told
            assert folder.last_batch_at <= bit // 8, told
            assert log in folder.history[-3:], told
        else:
            repaired += bool(scan.repairs)
            assert log == folder.log, told
            assert scan.repairs, told  # all bits matter
    assert damaged + cut > 100
    assert repaired
    assert bool(cut) == (not witnessed)


@pytest.mark.parametrize("witnessed", [False, True])
def test_a_folder_with_a_flipped_bit_opens_and_stays_true(witnessed: bool) -> None:
    folder = Folder(witnessed=witnessed)
    for name in (FIRST, LAST):
        data = folder.files[name]
        for bit in range(0, len(data) * 8, 63):
            told = f"bit {bit} of {name}"
            fs = MemoryFileSystem({**folder.files, name: flipped(data, bit)})
            _, first = reopen(fs, TINY)
            storage, again = reopen(fs, TINY)
            assert again.entries == first.entries, told
            assert again.hard_state == first.hard_state == folder.hard_state, told
            assert tuple(again.entries) in folder.history, told
            assert (again.damage is None) == (first.damage is None), told  # damage outlives a restart
            if first.damage is None:
                assert first.cut_bytes or tuple(first.entries) == folder.log, told
                continue
            # The peers restore it: appends work, and what they wrote outlives the next restart too.
            follows = len(first.entries) + 1
            Appender(storage)((entry(follows, 9),), HardState(9, 0))
            storage.end_recovering()
            _, healed = reopen(fs, TINY)
            assert healed.damage is None, told
            assert healed.entries == [*first.entries, entry(follows, 9)], told
            assert healed.hard_state == HardState(9, 0), told


@pytest.mark.parametrize("witnessed", [False, True])
def test_no_truncation_of_the_log_invents_or_hides(witnessed: bool) -> None:
    folder = Folder(witnessed=witnessed)
    for name in (FIRST, LAST):
        data = folder.files[name]
        for length in range(len(data)):
            told = f"{name} cut to {length} bytes"
            fs = MemoryFileSystem({**folder.files, name: data[:length]})
            loaded = load(fs)
            assert loaded is not None
            recovered = read_log(fs, loaded[0], 0)
            assert tuple(recovered.entries) in folder.history, told
            # Without a witness the newest segment may lose its end unnoticed, as after a crash; never its beginning,
            # with the vote. With it: whole batches or parts, nothing is lost unnoticed.
            told_anyway = name == FIRST or length < 64 + 44 + 64
            assert (recovered.damage is not None) == (witnessed or told_anyway), told
            if recovered.damage is None:
                assert recovered.hard_state.term >= 2, told  # the segment's own start says so
            elif name == LAST:
                assert recovered.damage.file == LAST, told
                assert recovered.damage.offset <= length, told


def test_a_member_that_lost_its_acknowledged_end_is_healed_at_any_length() -> None:
    folder = Folder()
    data = folder.files[LAST]
    for length in range(0, len(data), 7):
        told = f"cut to {length} bytes"
        fs = MemoryFileSystem({**folder.files, LAST: data[:length]})
        _, first = reopen(fs, TINY)
        assert first.damage is not None, told
        storage, again = reopen(fs, TINY)
        assert again.damage is not None, told
        assert (again.entries, again.hard_state) == (first.entries, first.hard_state), told
        assert tuple(again.entries) in folder.history, told
        # The peers restore it, and the witness of the segment that was cut says nothing any more.
        Appender(storage)((entry(len(first.entries) + 1, 9),), HardState(9, 0))
        storage.end_recovering()
        _, healed = reopen(fs, TINY)
        assert (healed.damage, healed.cut_bytes) == (None, 0), told
        assert healed.entries == [*first.entries, entry(len(first.entries) + 1, 9)], told


def test_a_hole_is_noticed_by_the_batch_that_follows_it() -> None:
    """What follows it swears that it was synced; no witness is needed."""
    folder = Folder(witnessed=False)
    data = folder.files[LAST]
    noticed = 0
    for begin in range(300, folder.last_batch_at - 16, 16):
        holed = data[:begin] + bytes(16) + data[begin + 16 :]
        _, recovered = reopen(MemoryFileSystem({**folder.files, LAST: holed}), TINY)
        whole = tuple(recovered.entries) == folder.log  # it was in one copy of term and vote
        assert (recovered.damage is None) == whole, begin
        noticed += not whole
    assert noticed > 9


@pytest.mark.parametrize("name", [FIRST, LAST, "both"])
def test_a_missing_segment_is_damage(name: str) -> None:
    folder = Folder()
    gone = {FIRST, LAST} if name == "both" else {name}
    files = {kept: data for kept, data in folder.files.items() if kept not in gone}
    fs = MemoryFileSystem(files)
    _, recovered = reopen(fs, TINY)
    assert recovered.damage is not None
    assert tuple(recovered.entries) in folder.history
    _, again = reopen(fs, TINY)
    assert again.damage is not None
    assert again.entries == recovered.entries


def snapshot_folder(*, trimmed: bool) -> tuple[dict[str, bytes], list[Entry]]:
    fs = MemoryFileSystem()
    storage = formed(fs, TINY)
    append = Appender(storage)
    append(entries(1, 8), HardState(1, 2))
    take_snapshot(storage, meta(3))
    append(entries(9, 18))
    append(entries(19, 22))
    take_snapshot(storage, meta(19), [b"one" * 9, b"", b"three"])
    if trimmed:
        storage.trim(19, 19)
        assert FIRST not in fs.names()
    return fs.files(), list(entries(1, 22))


@pytest.mark.parametrize("trimmed", [False, True])
def test_no_bit_flip_in_a_snapshot_goes_unnoticed(trimmed: bool) -> None:
    files, log = snapshot_folder(trimmed=trimmed)
    index = 19
    name = snapshot_name(index)
    _, sound = reopen(MemoryFileSystem(files), TINY)
    assert sound.snapshot is not None
    assert (sound.snapshot.index, sound.entries) == (index, log[index:])
    stride = 1 if trimmed else 31
    for bit in range(0, len(files[name]) * 8, stride):
        told = f"bit {bit} of {name}"
        fs = MemoryFileSystem({**files, name: flipped(files[name], bit)})
        taken = Taken()
        _, recovered = reopen(fs, TINY, take=taken.begin)
        assert any(name in note for note in recovered.notes), told
        if trimmed:
            # The log below it is gone, and so is what it stood for: only the peers have it.
            assert recovered.damage is not None, told
            assert (recovered.snapshot, recovered.entries) == (None, []), told
            assert recovered.damage.last_index_seen == 22, told
            assert recovered.hard_state == HardState(1, 2), told
        else:
            # The one before still joins the log: nothing is lost.
            assert recovered.damage is None, told
            assert recovered.snapshot == meta(3), told
            assert (taken.tried[-1], taken.sections) == (meta(3), [b"one", b"two"]), told
            assert recovered.entries == log[3:], told


@pytest.mark.parametrize("trimmed", [False, True])
def test_no_truncation_of_a_snapshot_goes_unnoticed(trimmed: bool) -> None:
    files, _ = snapshot_folder(trimmed=trimmed)
    name = snapshot_name(19)
    for length in range(len(files[name])):
        fs = MemoryFileSystem({**files, name: files[name][:length]})
        _, recovered = reopen(fs, TINY)
        assert (recovered.damage is not None) == trimmed, length
        assert any(name in note for note in recovered.notes), length


def test_a_missing_snapshot_is_damage() -> None:
    files, _ = snapshot_folder(trimmed=True)
    del files[snapshot_name(19)]
    fs = MemoryFileSystem(files)
    storage, recovered = reopen(fs, TINY)
    assert recovered.damage is not None
    assert "missing" in recovered.damage.what
    assert recovered.damage.file.startswith("snapshot-")
    # The leader sends one, the log begins anew, and all is well again.
    leader, _ = reopen(MemoryFileSystem(snapshot_folder(trimmed=True)[0]), TINY)
    writer = storage.receive_snapshot(meta(19))
    last, number = False, 0
    while not last:
        section, last = leader.read_section(19, number)
        writer.add(section)
        number += 1
    writer.commit()
    storage.reset_log(meta(19))
    Appender(storage)(entries(20, 22))
    storage.end_recovering()
    storage, healed = reopen(fs, TINY)
    assert healed.damage is None
    assert (healed.snapshot, healed.entries) == (meta(19), list(entries(20, 22)))
    assert content(storage, 19) == [b"one" * 9, b"", b"three"]


def covered_folder() -> dict[str, bytes]:
    """Segment i + 1 holds entry i of [1, 6]; the snapshot stands for [1, 4], and the process died before the trim."""
    fs = MemoryFileSystem()
    storage = formed(fs, EACH_ROLLS)
    append = Appender(storage)
    for index in range(1, 7):
        append((entry(index),))
    take_snapshot(storage, meta(4))
    return fs.files()


@pytest.mark.parametrize("how", ["sound", "flipped", "cut", "gone"])
def test_segments_that_the_snapshot_covers_go_whatever_is_wrong_in_them_and_that_is_said(how: str) -> None:
    """A rotten file that nobody would ever read again stays nobody's trap: it goes, and its name is told."""
    files = covered_folder()
    rotten = segment_name(3)
    data = files.pop(rotten)
    if how != "gone":
        files[rotten] = {"sound": data, "flipped": flipped(data, 700), "cut": data[:-9]}[how]
    fs = MemoryFileSystem(files)
    _, recovered = reopen(fs, EACH_ROLLS)
    assert (recovered.damage, recovered.notes) == (None, ())
    assert (recovered.snapshot, recovered.entries) == (meta(4), list(entries(5, 6)))
    assert [name for name in fs.names() if name.startswith("wal")] == [segment_name(6), segment_name(7)]
    assert f"{segment_name(1)} to {segment_name(5)}: the snapshot at 4 covers" in recovered.covered
    _, again = reopen(fs.power_cut(drop_all), EACH_ROLLS)
    assert (again.damage, again.entries) == (None, list(entries(5, 6)))
    _, after = reopen(fs, EACH_ROLLS)
    assert (after.damage, after.covered, after.entries) == (None, "", list(entries(5, 6)))


def test_nothing_is_removed_while_there_is_damage() -> None:
    """What lies below may be all that is left to say what this member once promised."""
    files = covered_folder()
    files[segment_name(6)] = flipped(files[segment_name(6)], 700)
    fs = MemoryFileSystem(files)
    for _ in range(2):  # and none after a restart, before the peers have restored it
        _, recovered = reopen(fs, EACH_ROLLS)
        assert recovered.damage is not None
        assert recovered.covered == ""
        assert {segment_name(each) for each in range(1, 8)} <= set(fs.names())


def test_one_damaged_copy_of_the_identity_is_mended() -> None:
    folder = Folder()
    data = folder.files["identity"]
    sound, whole = decode(data, "here")
    assert whole
    used = [at for at in range(len(data)) if at < len(data) - 4096 or at >= 4096]
    for at in used:
        for bit in range(at * 8, at * 8 + 8):
            state, whole = decode(flipped(data, bit), "here")
            assert state == sound
            assert not whole
    fs = MemoryFileSystem({**folder.files, "identity": flipped(data, 8 * 30)})
    _, recovered = reopen(fs, TINY)
    assert any("identity" in note for note in recovered.notes)
    assert tuple(recovered.entries) == folder.log
    assert fs.files()["identity"] == data


def test_an_identity_of_which_no_copy_is_left_is_refused() -> None:
    folder = Folder()
    data = folder.files["identity"]
    bad = flipped(flipped(data, 8 * 30), 8 * (4096 + 30))
    for files in ({**folder.files, "identity": bad}, {**folder.files, "identity": b""}):
        with pytest.raises(DamagedFolder, match="join again"):
            reopen(MemoryFileSystem(files), TINY)
    without = {name: data for name, data in folder.files.items() if name != "identity"}
    with pytest.raises(DamagedFolder, match="missing"):
        reopen(MemoryFileSystem(without), TINY, create=True)


def test_a_bad_sector_is_a_bad_record_and_not_the_end() -> None:
    folder = Folder()
    fs = MemoryFileSystem(folder.files)
    fs.bad_sectors[FIRST] = [(512, 1024)]
    # A piece of 4 KiB is what is given up; so make the file's other end lie beyond it.
    _, recovered = reopen(fs, TINY)
    assert recovered.damage is not None
    assert recovered.damage.file == FIRST
    assert recovered.hard_state == folder.hard_state


def another_history() -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Two folders that differ in one batch, not in any length: both are what a disk may once have held."""
    both = []
    for word in (b"this", b"that"):
        fs = MemoryFileSystem()
        append = Appender(formed(fs, TINY))
        append((entry(1, 1, word),))
        append((entry(2, 1),))
        append((entry(3, 1),))
        both.append(fs.files())
    return both[0], both[1]


def test_a_stale_record_of_another_history_is_not_taken() -> None:
    """Its checksums are right, and its place; only what it follows is not what is there."""
    this, that = another_history()
    data, stale, end = this[FIRST], that[FIRST], end_of(this, 1)
    assert (len(data), end) == (len(stale), end_of(that, 1))
    last = end - 64 - len(entry(3, 1).data)
    assert data[last:] != stale[last:]
    del this[WITNESS_NAME]
    _, recovered = reopen(MemoryFileSystem({**this, FIRST: data[:last] + stale[last:]}), TINY)
    assert recovered.entries == [entry(1, 1, b"this"), entry(2, 1)]
    assert recovered.cut_bytes == end - last
    second = data.index(entry(2, 1).data) - 64
    mixed = data[:second] + stale[second:last] + data[last:]
    _, recovered = reopen(MemoryFileSystem({**this, FIRST: mixed}), TINY)
    assert recovered.damage is not None
    assert recovered.entries == [entry(1, 1, b"this")]


@pytest.mark.parametrize("wrong", ["owner", "segment", "offset"])
def test_what_only_looks_like_a_record_is_no_evidence(wrong: str) -> None:
    """A client who knows the format, and guesses the place, writes it; or the disk misdirected one of ours.
    Then the batch with it is torn."""
    fs = MemoryFileSystem()
    append = Appender(formed(fs, TINY))
    append(entries(1, 2))
    witness_before = fs.files()[WITNESS_NAME]
    at = end_of(fs.files(), 1) + 64
    owner = b"not ours" if wrong == "owner" else owner_digest(bytes(range(16)), CLUSTER, 1)
    forged = Encoder(owner, 2 if wrong == "segment" else 1, at + 1 if wrong == "offset" else at, 0, 2**31)
    forged.add(KIND_ENTRY, 0, 3, 1, 0, b"")
    append((entry(3, 1, forged.data() + b"end"),))
    data = fs.files()[FIRST]
    assert data[at:].startswith(forged.data())
    torn = {**fs.files(), FIRST: flipped(data, end_of(fs.files(), 1) * 8 - 1), WITNESS_NAME: witness_before}
    _, recovered = reopen(MemoryFileSystem(torn), TINY)
    assert recovered.damage is None
    assert recovered.entries == [*entries(1, 2)]
    assert recovered.cut_bytes == 64 + 64 + 3


@pytest.mark.parametrize("how", ["moved within the segment", "from the other segment", "zeros", "repeated"])
def test_records_in_the_wrong_place_are_damage(how: str) -> None:
    folder = Folder()
    data = folder.files[LAST]
    first = folder.files[FIRST]
    changed = {
        "moved within the segment": data[:320] + data[400:480] + data[400:],
        "from the other segment": data[:300] + first[300:500] + data[500:],
        "zeros": data[:300] + bytes(64) + data[364:],
        "repeated": data[:400] + data[320:400] + data[480:],
    }[how]
    assert len(changed) == len(data)
    assert changed != data
    try:
        _, recovered = reopen(MemoryFileSystem({**folder.files, LAST: changed}), TINY)
    except StorageError as error:
        pytest.fail(str(error))
    assert recovered.damage is not None
    assert tuple(recovered.entries) in folder.history
