"""Arbitrary bytes as any file of a folder: a named error or a clean result, never anything else."""

import struct
from collections.abc import Iterator
from zlib import crc32

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coord.disk.errors import StorageError
from coord.disk.inspect import inspect_folder, inspect_snapshots, inspect_wal
from coord.disk.names import segment_name, snapshot_name
from coord.disk.record import FIELDS_BYTES, HEADER_BYTES, MAGIC, owner_digest
from coord.disk.storage import Storage
from coord.raft.types import HardState
from tests.disk.helpers import CLUSTER, SMALL, Appender, entries, formed, meta, take_snapshot
from tests.disk.memory import MemoryFileSystem

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def folder() -> dict[str, bytes]:
    fs = MemoryFileSystem()
    storage = formed(fs)
    append = Appender(storage)
    append(entries(1, 9), HardState(1, 2))
    append(entries(10, 12))
    take_snapshot(storage, meta(4))
    return fs.files()


FILES = folder()
OWNER = owner_digest(bytes(range(16)), CLUSTER, 1)


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """Headers whose checksums are right and whose fields are anything, some of them where they belong."""
    data = b""
    chain = 0
    for _ in range(draw(st.integers(0, 6))):
        body = draw(st.binary(max_size=80))
        fields = struct.pack(
            "<4sBBH8sIIIIQQIII",
            MAGIC,
            draw(st.sampled_from([0, 1, 1, 1, 1, 1, 2])),
            draw(st.integers(0, 6)),
            draw(st.integers(0, 3)),
            OWNER,
            draw(st.sampled_from([0, 1, 2, 2, 2, 3])),
            draw(st.sampled_from([len(data), len(data), 0, 2**32 - 1])),
            draw(st.sampled_from([len(body), len(body), 0, 2**32 - 1])),
            draw(st.integers(0, 2**32 - 1) | st.just(0)),
            draw(st.integers(0, 2**64 - 1) | st.integers(0, 15)),
            draw(st.integers(0, 2**64 - 1) | st.integers(0, 4)),
            draw(st.integers(0, 2**32 - 1)),
            draw(st.just(chain) | st.integers(0, 2**32 - 1)),
            draw(st.just(crc32(body)) | st.just(0)),
        )
        assert len(fields) == FIELDS_BYTES == HEADER_BYTES - 4
        chain = crc32(fields)
        data += fields + struct.pack("<I", chain) + body
    return data


def patches(original: bytes) -> Iterator[st.SearchStrategy[bytes]]:
    """Anything; the original with a stretch replaced; the original's beginning with anything after it."""
    yield st.binary(max_size=300)
    ends = st.integers(0, len(original))
    yield st.builds(
        lambda at, piece, end: original[:at] + piece + original[end:], ends, st.binary(max_size=99), ends
    )
    yield st.builds(lambda at, piece: original[:at] + piece, ends, records())
    yield records()


def check_open(files: dict[str, bytes]) -> None:
    """Opening, twice, and looking on: an answer or one of our errors."""
    fs = MemoryFileSystem(files)
    rows = [inspect_folder(fs), *inspect_wal(fs), *inspect_snapshots(fs)]
    assert len(repr(rows)) < 2_000_000
    assert fs.files() == files  # looking changes nothing
    try:
        storage, recovered = Storage.open(fs, member_id=None, settings=SMALL)
    except StorageError:
        return
    first = recovered.entries[:1]
    if first:
        base = 0 if recovered.snapshot is None else recovered.snapshot.index
        assert [one.index for one in recovered.entries] == [
            *range(base + 1, base + 1 + len(recovered.entries))
        ]
    storage.close()
    again, second = Storage.open(fs, member_id=None, settings=SMALL)
    assert (second.entries, second.snapshot, second.hard_state, second.damage is None) == (
        recovered.entries,
        recovered.snapshot,
        recovered.hard_state,
        recovered.damage is None,
    )
    again.close()


@QUICK
@given(st.one_of(*patches(FILES[segment_name(1)])))
def test_any_bytes_as_an_older_segment(data: bytes) -> None:
    check_open({**FILES, segment_name(1): data})


@QUICK
@given(st.one_of(*patches(FILES[segment_name(2)])))
def test_any_bytes_as_the_newest_segment(data: bytes) -> None:
    check_open({**FILES, segment_name(2): data})


@QUICK
@given(st.one_of(*patches(FILES[segment_name(2)])))
def test_any_bytes_as_an_unknown_segment(data: bytes) -> None:
    check_open({**FILES, segment_name(3): data})


@QUICK
@given(st.one_of(*patches(FILES[snapshot_name(4)])))
def test_any_bytes_as_a_snapshot(data: bytes) -> None:
    check_open({**FILES, snapshot_name(4): data})
    check_open({**FILES, snapshot_name(9): data})


@QUICK
@given(st.one_of(*patches(FILES["identity"])))
def test_any_bytes_as_the_identity(data: bytes) -> None:
    check_open({**FILES, "identity": data})
    check_open({"identity": data})


@QUICK
@given(st.dictionaries(st.sampled_from([*FILES, "lock", "notes.txt", "wal-1.log", "x.tmp"]), st.binary()))
def test_any_bytes_as_any_files(files: dict[str, bytes]) -> None:
    check_open(files)
