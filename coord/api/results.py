"""Results: what an op answers, as typed values; their rows are what travels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from coord.api.ops import CREATE, DELETE, EXISTS, GET, LIST, MULTI, SET, Kind, Row


@dataclass(frozen=True, slots=True)
class Stat:
    """A znode's facts. Revisions are the store's, versions count from 0, times are wall clock for people."""

    created_revision: int
    modified_revision: int
    children_revision: int
    """Of the last child created or deleted; ``created_revision`` before any."""
    version: int
    """Sets since the create."""
    children_version: int
    """Creates and deletes of children."""
    owner: int
    """The session of an ephemeral; 0 for others."""
    created_ms: int
    modified_ms: int
    data_length: int
    child_count: int
    kind: Kind
    ttl_ms: int

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> "Stat":
        """From the twelve numbers of the protocol, in the order of the fields above."""
        numbers = [*row[:10], Kind(row[10]), row[11]]
        return cls(*numbers)


@dataclass(frozen=True, slots=True)
class Created:
    """A create's answer: the path (with its sequence number, if asked for) and the revision of it."""

    path: str
    revision: int


@dataclass(frozen=True, slots=True)
class Written:
    """A set's answer: the znode's new version, and the revision of it."""

    version: int
    revision: int


@dataclass(frozen=True, slots=True)
class Deleted:
    """A delete's answer: how many znodes went, and the revision of it."""

    count: int
    revision: int


@dataclass(frozen=True, slots=True)
class Znode:
    """A get's answer. ``revision`` is the store's when it was read, for ``at_least`` elsewhere."""

    path: str
    value: bytes
    stat: Stat
    revision: int


@dataclass(frozen=True, slots=True)
class Child:
    """One entry of a listing; ``value`` and ``stat`` only where asked for."""

    name: str
    value: bytes | None
    stat: Stat | None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing; ``more`` says that names remain after the last one here."""

    children: tuple[Child, ...]
    more: bool
    revision: int


@dataclass(frozen=True, slots=True)
class MultiResult:
    """``succeeded`` says which branch ran; ``results`` has one result for each of its ops."""

    succeeded: bool
    results: "tuple[Result, ...]"
    revision: int


Result = Created | Written | Deleted | Znode | Page | MultiResult | Stat | None


def result_from_row(op: Row, row: Any, revision: int) -> Result:
    """The typed result of ``op`` (its row) from the result row of a reply at ``revision``."""
    code = op[0]
    if code == SET:
        return Written(row, revision)
    if code == GET:
        return Znode(op[1], row[0], Stat.from_row(row[1]), revision)
    if code == CREATE:
        return Created(row, revision)
    if code == DELETE:
        return Deleted(row, revision)
    if code == EXISTS:
        return None if row is None else Stat.from_row(row)
    if code == LIST:
        children = tuple(
            Child(name, value, None if stat is None else Stat.from_row(stat)) for name, value, stat in row[0]
        )
        return Page(children, row[1], revision)
    if code == MULTI:
        branch = op[2] if row[0] else op[3]
        return MultiResult(
            row[0],
            tuple(
                result_from_row(each, result, revision) for each, result in zip(branch, row[1], strict=True)
            ),
            revision,
        )
    raise ValueError(f"no op has the code {code}")
