"""Znodes and history of a snapshot as columns: all names, all values, all versions, and so on.

Most of what a row for each would say, its neighbours say too: the parent, the times, zeros. A column says it once. So
a section is written and loaded in well under half the time; and the loaded neighbours share those objects, as they did
in the store that was saved.

Of znodes the columns are: the names, joined by ``/``; the different parents (the root's is ``""``, and so are its
parent and its own name); of each znode which parent is its own; the values; and the twelve numbers in the znode's
order. Of revisions: the first one's number, and how many there are; of each the index, the time and how many changes;
of all these changes the kind, the paths, joined by NUL, the values, version, session, request and reason.

A column of numbers is one of

    n                   all are this number
    [[n, …], places]    at most 256 different ones, and for each znode, as a byte, which of them it has
    bytes               eight for each znode, little-endian, signed

A znode's ``modified_revision``, ``children_revision`` and ``modified_ms`` are written as what they exceed creation's
by: mostly 0, for all. (Only the last may be below 0: a wall clock can go back.)
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from operator import sub
from struct import pack, unpack
from typing import Any, Final, NamedTuple

from coord.api.events import Change, Revision
from coord.store.znode import ZNODE_FIELDS, Znode

_NUMBERS: Final = ZNODE_FIELDS - 1
_REVISION_COLUMNS: Final = 12
_SINCE: Final = ((1, 0), (2, 0), (7, 6))
"""Among the numbers: which is written as what it exceeds which by."""
_OWNER, _TTL_MS = 5, 9
_DISTINCT_MAX: Final = 256
_NUMBER_BYTES: Final = 8


class Unpacked(NamedTuple):
    """The znodes of one section. ``names``, ``parent_of``, ``paths`` and ``znodes`` have one item for each."""

    names: list[str]
    parents: list[str]
    """Without repetitions."""
    parent_of: Sequence[int]
    """Places in ``parents``."""
    paths: list[str]
    znodes: list[Znode]
    data_bytes: int
    """Values and paths."""
    notable: bool
    """Whether any is an ephemeral or a TTL znode."""


def pack_znodes(paths: Sequence[str], znodes: Sequence[Znode]) -> list[Any]:
    """The columns of at least one znode."""
    names, parents, parent_of = _pack_paths(paths)
    values, *numbers = zip(*znodes, strict=True)
    for later, earlier in _SINCE:
        same = numbers[later] == numbers[earlier]
        numbers[later] = (0,) * len(paths) if same else tuple(map(sub, numbers[later], numbers[earlier]))
    return [names, parents, parent_of, values, *[_pack(column) for column in numbers]]


def _pack_paths(paths: Sequence[str]) -> tuple[str, list[str], int | list[Any] | bytes]:
    """The names, the parents, and which of them is whose."""
    start = paths[0][: paths[0].rindex("/") + 1]
    # A tenth of the time, where all have one parent: no NUL is left if all begin as the first does, and no more
    # slashes than there are places between names if none of them goes deeper.
    joined = "\0".join(paths)[len(start) :].replace("\0" + start, "/")
    if "\0" not in joined and joined.count("/") == len(paths) - 1:
        return joined, [start[:-1]], 0
    above, _, names = zip(*[path.rpartition("/") for path in paths], strict=True)
    places = {parent: place for place, parent in enumerate(dict.fromkeys(above))}
    return "/".join(names), list(places), _pack(tuple([places[each] for each in above]))


def unpack_znodes(columns: Sequence[Any]) -> Unpacked:
    """Total: raises ``ValueError`` for anything that is not columns as :func:`pack_znodes` makes them."""
    if len(columns) != 4 + _NUMBERS:
        raise ValueError("a section of znodes has another number of columns")
    joined, parents, packed_parent_of, values, *packed = columns
    if type(joined) is not str or not _all(parents, str) or not _all(values, bytes):
        raise ValueError("a column is missing, or of another type")
    names = joined.split("/")
    count = len(names)
    if len(values) != count or len(set(parents)) != len(parents):
        raise ValueError("a column is longer than others, or a parent is there twice")
    parent_of = _unpack(packed_parent_of, count)
    if not 0 <= min(parent_of) <= max(parent_of) < len(parents):
        raise ValueError("a znode's parent is missing")
    starts = [f"{parent}/" for parent in parents]
    if len(parents) == 1:
        [start] = starts
        paths = [start + name for name in names]
    else:
        paths = [starts[place] + name for place, name in zip(parent_of, names, strict=True)]
    numbers = [_unpack(column, count) for column in packed]
    for later, earlier in _SINCE:
        if packed[later] == 0:
            numbers[later] = numbers[earlier]
        else:
            since = zip(numbers[earlier], numbers[later], strict=True)
            numbers[later] = [moment + more if more else moment for moment, more in since]
    return Unpacked(
        names,
        parents,
        parent_of,
        paths,
        list(zip(values, *numbers, strict=True)),
        sum(map(len, values)) + sum(map(len, paths)),
        any(numbers[_OWNER]) or any(numbers[_TTL_MS]),
    )


def pack_revisions(revisions: Sequence[Revision]) -> list[Any]:
    """The columns of at least one revision; they follow each other, and each has changes."""
    numbers, indexes, wall_ms, changes = zip(*revisions, strict=True)
    counts = tuple(map(len, changes))
    columns = zip(*[change for each in changes for change in each], strict=True)
    kinds, paths, values, versions, sessions, requests, reasons = columns
    return [
        numbers[0],
        len(numbers),
        *[_pack(column) for column in (indexes, wall_ms, counts, kinds)],
        "\0".join(paths),
        values,
        *[_pack(column) for column in (versions, sessions, requests, reasons)],
    ]


def unpack_revisions(columns: Sequence[Any]) -> list[Revision]:
    """Total: raises ``ValueError`` for anything that is not columns as :func:`pack_revisions` makes them."""
    if len(columns) != _REVISION_COLUMNS:
        raise ValueError("a section of history has another number of columns")
    first, length, indexes, wall_ms, counts, kinds, joined, values, *others = columns
    if type(first) is not int or type(joined) is not str or not _all(values, bytes, type(None)):
        raise ValueError("a column is missing, or of another type")
    paths = joined.split("\0")
    if type(length) is not int or not 0 < length <= len(paths) or len(values) != len(paths):
        raise ValueError("a column is longer than others")
    kinds, *numbers = [_unpack(column, len(paths)) for column in (kinds, *others)]
    changes: list[Change] = list(zip(kinds, paths, values, *numbers, strict=True))
    sizes = _unpack(counts, length)
    if min(sizes) < 1 or sum(sizes) != len(changes):
        raise ValueError("a revision has more or fewer changes than there are")
    lots: list[tuple[Change, ...]]
    if counts == 1:
        lots = list(zip(changes, strict=True))
    else:
        lots = [tuple(changes[begin:end]) for begin, end in pairwise(accumulate(sizes, initial=0))]
    revisions = range(first, first + length)
    return list(zip(revisions, _unpack(indexes, length), _unpack(wall_ms, length), lots, strict=True))


def _pack(numbers: Sequence[int]) -> int | list[Any] | bytes:
    first = numbers[0]
    if numbers.count(first) == len(numbers):
        return first
    distinct = list(dict.fromkeys(numbers))
    if len(distinct) > _DISTINCT_MAX:
        return pack(f"<{len(numbers)}q", *numbers)
    place_of = {number: place for place, number in enumerate(distinct)}
    return [distinct, bytes([place_of[number] for number in numbers])]


def _unpack(column: Any, count: int) -> Sequence[int]:
    if type(column) is int:
        return [column] * count
    if type(column) is bytes and len(column) == _NUMBER_BYTES * count:
        return unpack(f"<{count}q", column)
    if type(column) is list and len(column) == 2:
        distinct, places = column
        if (
            _all(distinct, int)
            and type(places) is bytes
            and len(places) == count
            and max(places) < len(distinct)
        ):
            return [distinct[place] for place in places]
    raise ValueError("a column of numbers is not one")


def _all(items: Any, *kinds: type[Any]) -> bool:
    """Whether it is a list of these only, and of one at least. (A bool is no int here.)"""
    return type(items) is list and bool(items) and set(map(type, items)) <= {*kinds}
