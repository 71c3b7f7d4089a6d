"""What the files of a data folder are called. Numbers are padded so that sorting names sorts by number."""

import re

IDENTITY_NAME = "identity"
LOCK_NAME = "lock"
WITNESS_NAME = "synced"
UNFINISHED_SUFFIX = ".tmp"
DAMAGED_PREFIX = "damaged-"

_SEGMENT = re.compile(r"wal-(\d{10})\.log")
_SNAPSHOT = re.compile(r"snapshot-(\d{20})\.snap")


def segment_name(number: int) -> str:
    return f"wal-{number:010d}.log"


def snapshot_name(index: int) -> str:
    return f"snapshot-{index:020d}.snap"


def segment_numbers(names: list[str]) -> list[int]:
    """The numbers of all segments among ``names``, ascending."""
    return sorted(int(found[1]) for name in names if (found := _SEGMENT.fullmatch(name)))


def snapshot_indexes(names: list[str]) -> list[int]:
    """The indexes of all finished snapshots among ``names``, ascending."""
    return sorted(int(found[1]) for name in names if (found := _SNAPSHOT.fullmatch(name)))


def unfinished(names: list[str]) -> list[str]:
    """What a crash left half written: never renamed, so never acknowledged."""
    return [name for name in names if name.endswith(UNFINISHED_SUFFIX)]
