"""Results: what an op answers, as typed values; their rows are what travels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from coord.api.ops import (
    CLAIM,
    CLAIM_FIRST,
    CLAIM_INFO,
    CLAIM_SETTINGS,
    CLAIMS,
    CREATE,
    DELETE,
    EXISTS,
    FENCE,
    FENCED_WRITE,
    GET,
    HOLD_BACK,
    LANES,
    LIST,
    MULTI,
    RELEASE,
    ROTATE_TOKEN_KEYS,
    SET,
    SIGN_TOKEN,
    Kind,
    Lane,
    Row,
)
from coord.api.signed import SignedToken
from coord.api.tokens import Token

_KINDS: Final = {int(kind): kind for kind in Kind}
_OTHER_KIND: Final = Kind.OTHER
_tuple: Final = tuple.__new__


class Stat(NamedTuple):
    """A znode's facts. Revisions are the store's, versions count from 0, times are wall clock for people.

    A tuple, for speed: one comes with every read, and a dataclass of twelve fields takes five times as long to make.
    """

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
        return _tuple(cls, (*row[:10], _KINDS.get(row[10], _OTHER_KIND), row[11]))


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


@dataclass(frozen=True, slots=True)
class Claiming:
    """A claim's answer: held, with its token, or waiting for others."""

    number: int
    token: Token | None
    """``None`` while it waits."""
    before: int
    """How many claims wait before it; 0 when it is held."""
    lost: int
    """How many claims of the znode were lost so far, as in :class:`ClaimFacts`."""
    revision: int


@dataclass(frozen=True, slots=True)
class ClaimedChild:
    number: int
    name: str
    value: bytes | None
    """Only where asked for."""
    lost: int
    """How many claims of the znode were lost so far, as in :class:`ClaimFacts`."""


@dataclass(frozen=True, slots=True)
class ClaimedFirst:
    """The children that were claimed, all with ``token``; or the number of the claim that waits for one."""

    waiting: int
    """0: it does not wait."""
    children: tuple[ClaimedChild, ...]
    token: Token
    revision: int


@dataclass(frozen=True, slots=True)
class Released:
    """A release's answer: the token that the claim had; ``None``: it was waiting."""

    token: int | None
    """Its revision."""
    revision: int


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """One claim, as a listing tells it."""

    number: int
    path: str
    session: int
    client: str
    """What the session's client calls itself."""
    token: Token | None
    """``None`` while it waits."""
    units: int
    shared: bool
    label: bytes
    since_ms: int
    """Wall clock, for people: since when it is held, or waits."""
    before: int
    """How many claims wait before it."""
    lost: int
    """How many claims of the znode were lost so far, as in :class:`ClaimFacts`."""


@dataclass(frozen=True, slots=True)
class ClaimPage:
    """One page of claims, by number; ``more`` says that some remain after the last one here."""

    claims: tuple[ClaimRow, ...]
    more: bool
    incarnation: int
    revision: int


@dataclass(frozen=True, slots=True)
class ChildrenFacts:
    """Of the children of a znode, how many …"""

    free: int
    """… a ``claim_first`` could claim now, or would could all lanes be used at once."""
    held: int
    held_back: int
    """… are not held, and held back or in a lock delay."""
    blocked: int
    """… would be free, had their lanes room."""


@dataclass(frozen=True, slots=True)
class ClaimFacts:
    """What holds for claims at a path."""

    capacity: int
    lock_delay_ms: int
    delay_left_ms: int
    """Of a lock delay that runs; 0: none does."""
    holders: int
    waiters: int
    fenced_by: tuple[str, ...]
    """The claim paths whose tokens a write at this path must present, nearest fence first."""
    fences: tuple[str, ...]
    """The subtrees that are fenced by the claim at this path; the first 20."""
    incarnation: int
    lost: int
    """How many claims were lost here since the znode was created: their session ended or expired while they were held,
    or another session released them by force."""
    held_back: bool
    held_back_ms: int | None
    """For how many ms of cluster time it will be; ``None``: until it is said otherwise. 0 if it is not held back."""
    lanes: tuple[Lane, ...]
    children: ChildrenFacts
    revision: int


@dataclass(frozen=True, slots=True)
class Rotated:
    """New keys for signing tokens were asked for."""

    generation: int
    """That they are of: how often they were asked for."""
    revision: int


Result = (
    Created
    | Written
    | Deleted
    | Znode
    | Page
    | MultiResult
    | Stat
    | Claiming
    | ClaimedFirst
    | Released
    | ClaimPage
    | ClaimFacts
    | SignedToken
    | Rotated
    | None
)


def result_from_row(op: Row, row: Any, revision: int) -> Result:
    """The typed result of ``op`` (its row) from the result row of a reply at ``revision``.

    Fields after those that are known are passed over: a later member may have more to say.
    """
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
            Child(name, value, None if stat is None else Stat.from_row(stat))
            for name, value, stat, *_ in row[0]
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
    if code == FENCED_WRITE:
        return result_from_row(op[2], row, revision)
    if code in (CLAIM_SETTINGS, HOLD_BACK, LANES, FENCE):
        return None
    return _claim_result(code, row, revision)


def _claim_result(code: int, row: Any, revision: int) -> Result:
    if code == CLAIM:
        number, token, before, incarnation, lost, *_ = row
        return Claiming(number, Token(incarnation, token) if token else None, before, lost, revision)
    if code == CLAIM_FIRST:
        waiting, claimed, incarnation, *_ = row
        children = tuple(ClaimedChild(*each[:4]) for each in claimed)
        return ClaimedFirst(waiting, children, Token(incarnation, revision), revision)
    if code == RELEASE:
        return Released(row or None, revision)
    if code == CLAIMS:
        found, more, incarnation, *_ = row
        return ClaimPage(
            tuple(
                ClaimRow(
                    number, path, session, client, Token(incarnation, token) if token else None, *rest[:6]
                )
                for number, path, session, client, token, *rest in found
            ),
            more,
            incarnation,
            revision,
        )
    if code == CLAIM_INFO:
        capacity, delay_ms, left_ms, holders, waiters, fenced_by, fences, incarnation, lost, *rest = row
        held_back_ms, lanes, children, *_ = rest
        return ClaimFacts(
            capacity,
            delay_ms,
            left_ms,
            holders,
            waiters,
            tuple(fenced_by),
            tuple(fences),
            incarnation,
            lost,
            held_back_ms != 0,
            held_back_ms,
            tuple(Lane(*lane[:4]) for lane in lanes),
            ChildrenFacts(*children[:4]),
            revision,
        )
    if code == SIGN_TOKEN:
        return SignedToken.parse(row)
    if code == ROTATE_TOKEN_KEYS:
        return Rotated(row, revision)
    raise ValueError(f"no op has the code {code}")
