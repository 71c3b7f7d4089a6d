"""Histories: what clients did and were told, what the cluster did, what was done to it. What all checkers judge.

A history is a list of records in the order in which they came about, and a file of them is JSON lines: each line one
record, ``{"record": "operation", …}``, with the fields below. A simulation and a run against real processes write the
same records, so one checker judges both, and yours can too.

Times are nanoseconds of one monotonic clock for the whole history (``_ns``); in a simulation the simulated one.
An operation's record stands where its outcome was known, a watch's where it was told: for one ``connection``
the order of the file is the order in which its client was told things.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from enum import IntEnum
from typing import Any, ClassVar, Final, TypeAlias

from coord.api import ops, results, tokens
from coord.api.events import Change

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Run:
    """The first record: what was run, and what a checker must know of how."""

    record: ClassVar[str] = "run"
    workload: str
    seed: int
    members: int
    notes: dict[str, Any] = field(default_factory=dict)
    """For people and for checkers of one workload: settings, versions, the line that replays it."""
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Operation:
    """One request of one client, from its call to its outcome.

    ``outcome`` is ``ok``, ``refused`` (it did not happen, ``error`` says why) or ``unknown`` (it may have happened, or
    may yet: ``returned_ns``, ``revision`` and ``index`` are then ``None``).
    """

    record: ClassVar[str] = "operation"
    process: int
    """The client. One process may have several operations under way, unless its workload says otherwise."""
    connection: int
    """Unique in the history; 0 for an outcome that no member told."""
    member: int
    """That answered; 0 if none did."""
    session: int
    request: int
    """The write's id in its session; 0 for a read."""
    op: ops.Op
    mode: str
    """``write``, or a read's ``linearizable``, ``at_least`` or ``local``."""
    at_least: int
    """The revision that an ``at_least`` read asked for, else 0."""
    called_ns: int
    returned_ns: int | None
    outcome: str
    error: str
    """The error's slug (``coord.api.errors``); empty when ``ok``."""
    revision: int | None
    """Of the store after a write, or when a read was served. In this order they took effect."""
    index: int | None
    """Of the log entry that held a write, or the last one applied when a read was served."""
    result: results.Result


@dataclass(frozen=True, slots=True)
class SessionOpened:
    record: ClassVar[str] = "session_opened"
    process: int
    session: int
    timeout_ms: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class SessionProof:
    """The client asked at ``called_ns`` (a keepalive, or a hello that resumed it) and was answered: the session lived,
    and will for its timeout from ``called_ns`` on."""

    record: ClassVar[str] = "session_proof"
    process: int
    session: int
    connection: int
    called_ns: int
    returned_ns: int
    until_ns: int = 0
    """Until then its client is sure of the session now, by its own clock and its own reckoning; 0: it did not say."""


@dataclass(frozen=True, slots=True)
class SessionOver:
    """The client learned, or concluded by its own clock (``by`` ``client``), or asked (``by`` ``request``) that the
    session has ended; ``by`` ``member``: it was told."""

    record: ClassVar[str] = "session_over"
    process: int
    session: int
    by: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class WatchOpened:
    """``watch`` is unique in the history, and reopened under the same number after a reconnect: one more record, with
    the other connection. ``revision``: the store's then; everything after it, or from ``from_revision``, is told."""

    record: ClassVar[str] = "watch_opened"
    process: int
    connection: int
    watch: int
    path: str
    scope: str
    """``znode``, ``children`` or ``subtree``, with ``+claims`` where claims' changes are told, too; or ``claims``:
    those of ``session``."""
    from_revision: int | None
    revision: int
    at_ns: int
    session: int = 0


@dataclass(frozen=True, slots=True)
class WatchTold:
    """One delivery: events of one revision, all that concern the watch, as it came."""

    record: ClassVar[str] = "watch_told"
    process: int
    connection: int
    watch: int
    revision: int
    changes: tuple[Change, ...]
    at_ns: int


@dataclass(frozen=True, slots=True)
class WatchOver:
    """``error``: a slug; ``gap`` with ``first_revision``, for history no longer reached back; empty: given up."""

    record: ClassVar[str] = "watch_over"
    process: int
    connection: int
    watch: int
    error: str
    first_revision: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class ClaimHeld:
    """The client library says that its process holds a claim: from here until the :class:`ClaimOver` of the same claim,
    or until the session is over for the client, or it is no longer sure of it (``SessionProof.until_ns``)."""

    record: ClassVar[str] = "claim_held"
    process: int
    session: int
    claim: int
    """Its number."""
    path: str
    token: int
    """The revision of the grant."""
    at_ns: int


@dataclass(frozen=True, slots=True)
class ClaimOver:
    """``by`` ``member``: the client was told; ``request``: it is about to ask for the end of it; ``client``: it gives
    up its session."""

    record: ClassVar[str] = "claim_over"
    process: int
    session: int
    claim: int
    by: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Committed:
    """A revision of the store, as the members applied it: the log of what happened, which is the oracle."""

    record: ClassVar[str] = "committed"
    revision: int
    index: int
    changes: tuple[Change, ...]
    at_ns: int
    """When the first member applied it; 0 if that is not known (a real cluster)."""


@dataclass(frozen=True, slots=True)
class Digest:
    """What one member holds after applying ``revision``: equal revisions, equal digests."""

    record: ClassVar[str] = "digest"
    member: int
    revision: int
    digest: str
    at_ns: int
    index: int = 0
    """Of the last log entry applied, where the digest is of more than the tree (sessions and their replies change
    without a revision): then digests are equal where both are. 0: it is of the tree alone."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something was done to the cluster. ``phase`` is ``begin``, ``end`` or ``once``."""

    record: ClassVar[str] = "fault"
    fault: str
    phase: str
    members: tuple[int, ...]
    what: str
    """For people."""
    at_ns: int


@dataclass(frozen=True, slots=True)
class Leader:
    """``member`` leads ``term``; 0: nobody is known to lead."""

    record: ClassVar[str] = "leader"
    member: int
    term: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class Note:
    """What a workload has to say to its own checker: plain JSON values."""

    record: ClassVar[str] = "note"
    process: int
    what: str
    facts: dict[str, Any]
    at_ns: int


Record: TypeAlias = (
    Run
    | Operation
    | SessionOpened
    | SessionProof
    | SessionOver
    | WatchOpened
    | WatchTold
    | WatchOver
    | ClaimHeld
    | ClaimOver
    | Committed
    | Digest
    | Fault
    | Leader
    | Note
)

_RECORDS: Final[dict[str, type[Any]]] = {
    each.record: each
    for each in (
        Run, Operation, SessionOpened, SessionProof, SessionOver, WatchOpened, WatchTold, WatchOver,
        ClaimHeld, ClaimOver, Committed, Digest, Fault, Leader, Note,
    )
}  # fmt: skip

_VALUES: Final[dict[str, type[Any]]] = {
    each.__name__: each
    for each in (
        ops.Create, ops.Set, ops.Delete, ops.Get, ops.Exists, ops.List, ops.Compare, ops.Multi,
        results.Created, results.Written, results.Deleted, results.Znode, results.Child, results.Page,
        results.MultiResult, results.Stat,
        ops.Claim, ops.ClaimFirst, ops.Release, ops.ClaimSettings, ops.Fence, ops.FencedWrite, ops.Claims,
        ops.ClaimInfo, ops.HoldBack, ops.Lane, ops.SetLanes, results.ChildrenFacts,
        tokens.Token, results.Claiming, results.ClaimedFirst, results.ClaimedChild, results.Released, results.ClaimRow,
        results.ClaimPage, results.ClaimFacts,
    )
}  # fmt: skip
"""What may stand inside an operation: ``{"Set": {"path": "/a", "value": {"text": "1"}}}``; defaults are left out."""

_ENUMS: Final[dict[str, type[IntEnum]]] = {
    "kind": ops.Kind,
    "target": ops.Target,
    "operator": ops.Operator,
    "scope": ops.WatchScope,
}
"""The fields of these values that hold one; it is written by its name."""


def dump(records: Iterable[Record]) -> Iterator[str]:
    """JSON lines, without their line ends. Bytes are text where they are UTF-8, else ``{"base64": …}``."""
    for each in records:
        yield json.dumps({"record": each.record, **_fields(each)}, separators=(",", ":"), ensure_ascii=False)


def load(lines: Iterable[str]) -> list[Record]:
    """What :func:`dump` wrote. Raises :class:`ValueError` that names the line and what is wrong with it."""
    records: list[Record] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            kind = _RECORDS[row.pop("record")]
            records.append(kind(**{name: _load(value) for name, value in row.items()}))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"line {number} is no record of a history: {error!r}") from error
    if records and isinstance(records[0], Run) and records[0].version != VERSION:
        raise ValueError(f"a history of version {records[0].version}; this reads version {VERSION}")
    return records


def of(kind: type[Any], records: Sequence[Record]) -> list[Any]:
    """The records of one kind, in their order."""
    return [each for each in records if type(each) is kind]


def _fields(value: Any) -> dict[str, Any]:
    return {each.name: _dump(getattr(value, each.name)) for each in fields(value)}


def _dump(value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            return {"text": value.decode()}
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, IntEnum):
        return value.name.lower()
    if isinstance(value, results.Stat):
        return {"Stat": {name: _dump(each) for name, each in value._asdict().items()}}
    if isinstance(value, tuple | list):
        # Names are for fields. A change's numbers stay numbers, also where the store put an enum.
        return [int(each) if isinstance(each, IntEnum) else _dump(each) for each in value]
    if isinstance(value, dict):
        return {str(key): _dump(each) for key, each in value.items()}
    if is_dataclass(value):
        inner = {
            each.name: _dump(getattr(value, each.name))
            for each in fields(value)
            if getattr(value, each.name) != each.default
        }
        return {type(value).__name__: inner}
    return value


def _load(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_load(each) for each in value)
    if isinstance(value, dict):
        if len(value) == 1:
            [(key, inner)] = value.items()
            if key == "text" and isinstance(inner, str):
                return inner.encode()
            if key == "base64" and isinstance(inner, str):
                return base64.b64decode(inner)
            if key in _VALUES and isinstance(inner, dict):
                return _VALUES[key](**{each: _field(each, part) for each, part in inner.items()})
        return {key: _load(each) for key, each in value.items()}
    return value


def _field(name: str, value: Any) -> Any:
    enum = _ENUMS.get(name)
    return _load(value) if enum is None else enum[value.upper()]
