"""The store as a sequence of sections, taken while it goes on changing; and back.

Znodes, of which there may be millions, come from a walk through the tree, a section at a time, whenever the
caller likes (``walk.py``): no pause grows with their number, at the beginning, at the end or between. Of all
else, of which there is less, lists are copied at the beginning.

Rejected: a list of the paths, copied at the beginning (15 to 50 ms for a million), a fork (copy-on-write doubles the
memory as reference counts are touched, and forking a threaded process is a gamble), and a persistent tree (log-many
allocations for each write).
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from coord.api.checks import InvariantViolation, check
from coord.api.events import Revision
from coord.limits import MemberLimits, StoreLimits, limit_names
from coord.store.claims import DEFAULT, FIRST, SHARED, Claim, Claims
from coord.store.columns import pack_revisions, pack_znodes, unpack_revisions, unpack_znodes
from coord.store.sessions import Session, weight
from coord.store.store import Store
from coord.store.walk import Walk

HEAD, SESSIONS, HISTORY, ZNODES, CLAIMS, CLAIM_PATHS, FENCES = 1, 2, 3, 4, 5, 6, 7
HELD_BACK, LANES, RATES, LOST = 8, 9, 10, 11
SNAPSHOT_VERSION: Final = 3
"""No other is read: no older one is in use."""

_COUNTS: Final = ("sessions", "znodes", "claims", "unsettled")
"""Of the head: how many there must be in the end."""

Section = tuple[int, list[Any]]
"""``(kind, rows)``; of znodes and history, columns instead (columns.py)."""


class StoreSnapshot:
    """Iterates over the sections of ``store`` as it was when this was made. One at a time for each store."""

    def __init__(self, store: Store, section_bytes: int = 256 * 1024) -> None:
        check(store.tree.keep is None, "one snapshot at a time")
        self.applied_index = store.applied_index
        self.revision = store.revision
        self._tree = store.tree
        self._znodes = Walk(store.tree, store.revision)
        store.tree.keep = self._znodes.keep
        self._section_bytes = section_bytes
        head = {
            "version": SNAPSHOT_VERSION,
            "applied_index": store.applied_index,
            "revision": store.revision,
            "time_ms": store.time_ms,
            "next_session": store.next_session,
            "openers": [[member, *last] for member, last in store.openers.items()],
            "limits": {name: getattr(store.limits, name) for name in limit_names(StoreLimits)},
            "sessions": len(store.sessions),
            "znodes": len(store.tree.znodes),
            "incarnation": store.incarnation,
            "next_claim": store.claims.next_claim,
            "claims": len(store.claims.by_number),
            "unsettled": len(store.claims.unsettled),
        }
        sessions = [_session_row(session) for session in store.sessions.values()]
        claims = list(store.claims.by_number.values())  # they are immutable: copying the list is all it takes
        claim_paths = _claim_path_rows(store.claims)
        by_path: dict[int, list[Any]] = {
            FENCES: list(store.fences.by_path.items()),
            HELD_BACK: list(store.claims.held_back.items()),
            LANES: list(store.claims.lanes.of.items()),
            RATES: list(store.claims.lanes.paid_ms.items()),
            LOST: list(store.claims.lost.items()),
        }
        self._sections = self._walk(head, sessions, store.history.since(0), claims, claim_paths, by_path)

    def next_section(self) -> Section | None:
        """The next section, ``None`` after the last. Each costs about the same."""
        return next(self._sections, None)

    def close(self) -> None:
        """Let go of the tree; needed after the last section, or when giving up."""
        if self._tree.keep == self._znodes.keep:
            self._tree.keep = None

    def _walk(
        self,
        head: dict[str, Any],
        sessions: list[list[Any]],
        history: list[Revision],
        claims: list[Claim],
        claim_paths: list[tuple[str, int, int, int, bool]],
        by_path: dict[int, list[Any]],
    ) -> Iterator[Section]:
        yield HEAD, [head]
        for rows in _in_lots(sessions, self._section_bytes, _session_weight):
            yield SESSIONS, rows
        for rows in _in_lots(history, self._section_bytes, _revision_weight):
            yield HISTORY, pack_revisions(rows)
        history.clear()  # now, while the store has most of it: at the end it would be the last to let go of all
        for lot in self._znodes.lots(self._section_bytes):
            yield ZNODES, pack_znodes(*lot)
        claims.sort()  # by number: sections of equal stores are equal
        for claim_rows in _in_lots(claims, self._section_bytes, _claim_weight):
            yield CLAIMS, claim_rows
        for path_rows in _in_lots(claim_paths, self._section_bytes, _path_weight):
            yield CLAIM_PATHS, path_rows
        for kind, pairs in by_path.items():
            for pair_rows in _in_lots(pairs, self._section_bytes, _pair_weight):
                yield kind, pair_rows


class StoreLoader:
    """Builds a store from sections, in order. Anything that does not add up raises ``ValueError``."""

    def __init__(self, limits: MemberLimits) -> None:
        self._store = Store(limits)
        self._store.candidates.loading = True
        self._head: dict[str, Any] | None = None
        self._below: dict[str, list[str]] = {}
        """Names of children, by parent, in the order in which they came."""

    def add(self, kind: int, rows: Sequence[Any]) -> None:
        """Take one section."""
        try:
            if kind == HEAD:
                self._load_head(rows[0])
            elif self._head is None:
                raise ValueError("a snapshot begins with its head")
            elif kind == ZNODES:
                self._store.tree.restore(unpack_znodes(rows), self._below)
            elif kind == SESSIONS:
                self._load_sessions(rows)
            elif kind == CLAIMS:
                self._load_claims(rows)
            elif kind == CLAIM_PATHS:
                self._load_claim_paths(rows)
            elif kind == FENCES:
                for path, claim in rows:
                    _check_types((path, claim), "ss")
                    self._store.fences.put(path, claim)
            elif kind in (HELD_BACK, LANES, RATES, LOST):
                self._load_pairs(kind, rows)
            elif kind == HISTORY:
                self._store.history.extend(unpack_revisions(rows))
            else:
                raise ValueError(f"a section of the unknown kind {kind}")
        except (TypeError, KeyError, IndexError, AttributeError, InvariantViolation) as error:
            raise ValueError(f"a malformed section of kind {kind}: {error!r}") from error

    def finish(self) -> Store:
        """The store, after the last section."""
        store, head = self._store, self._head
        if (
            head is None
            or len(store.tree.znodes) != head["znodes"]
            or len(store.sessions) != head["sessions"]
        ):
            raise ValueError("the snapshot ends before its end: znodes or sessions are missing")
        store.tree.restored(self._below)
        if any(owner not in store.sessions for owner in store.tree.ephemerals):
            raise ValueError("the snapshot has an ephemeral without its session")
        claims = store.claims
        if len(claims.by_number) != head["claims"] or len(claims.unsettled) != head["unsettled"]:
            raise ValueError("the snapshot ends before its end: claims are missing")
        if any(owner not in store.sessions for owner in claims.by_session):
            raise ValueError("the snapshot has a claim without its session")
        if any(
            path not in store.tree.znodes
            for table in (
                *(claims.held, claims.waiting, claims.first, claims.settings),
                *(claims.held_back, claims.lanes.of, claims.lost),
            )
            for path in table
        ):
            raise ValueError("the snapshot has a claim without its znode")
        if not len(store.history):
            store.history.first_revision = store.revision + 1
        if store.history.last_revision != store.revision:
            raise ValueError("the snapshot's history does not end at its revision")
        store.candidates.rebuild()
        return store

    def _load_head(self, head: dict[str, Any]) -> None:
        if head["version"] != SNAPSHOT_VERSION:
            raise ValueError(
                f"it is of version {head['version']!r:.20}, and this coord reads version {SNAPSHOT_VERSION}. Start the "
                "member with the coord that wrote the folder, or a newer one"
            )
        _check_types([head[name] for name in _COUNTS], "n" * len(_COUNTS))
        store = self._store
        store.applied_index = head["applied_index"]
        store.revision = head["revision"]
        store.time_ms = store.claims.lanes.now_ms = head["time_ms"]
        store.next_session = head["next_session"]
        store.openers = {member: (boot, number) for member, boot, number in head["openers"]}
        store.set_limits(head["limits"])
        store.incarnation = head["incarnation"]
        store.claims.next_claim = head["next_claim"]
        self._head = head

    def _load_sessions(self, rows: Sequence[Any]) -> None:
        for number, timeout_ms, digest, principal, client, opened_ms, origin, confirmed, replies in rows:
            member, boot, opening = origin
            session = Session(
                number, timeout_ms, digest, principal, client, opened_ms, (member, boot, opening)
            )
            session.confirmed = confirmed
            for reply in replies:
                session.restore(tuple(reply))
            self._store.restore_session(session)

    def _load_claims(self, rows: Sequence[Any]) -> None:
        claims = self._store.claims
        for row in rows:
            _check_types(row, "nsnnnbnn")
            claim: Claim = tuple(row)
            number, _, _, units, flags, _, _, token = claim
            if not 0 < number < claims.next_claim or number in claims.by_number or not units:
                raise ValueError("a claim's number or units are not possible")
            if flags & ~(SHARED | FIRST) or (flags & FIRST and token) or token > self._store.revision:
                raise ValueError("a claim's flags or token are not possible")
            claims.put(number, claim)

    def _load_claim_paths(self, rows: Sequence[Any]) -> None:
        claims = self._store.claims
        for row in rows:
            _check_types(row[:4], "snnn")
            path, capacity, lock_delay_ms, until_ms, unsettled = row
            claims.configure(path, (capacity, lock_delay_ms))
            if until_ms:
                claims.delay(path, until_ms)
            if unsettled:
                claims.unsettled[path] = None

    def _load_pairs(self, kind: int, rows: Sequence[Any]) -> None:
        claims = self._store.claims
        for row in rows:
            _check_types(row[:1], "s")
            key, said = row
            if kind == LANES:
                for lane in said:
                    _check_types(lane, "snnn")
                claims.set_lanes(key, tuple([tuple(lane) for lane in said]))
                continue
            _check_types([said], "n")
            if kind == HELD_BACK:
                claims.hold_back(key, said)
            elif kind == RATES:
                claims.pay(key, said)
            else:
                claims.lose(key, said)


_TYPES: Final[dict[str, type[Any]]] = {"n": int, "s": str, "b": bytes}


def _check_types(row: Sequence[Any], types: str) -> None:
    """Raise ``ValueError`` unless the fields of ``row`` are of these types, numbers not below 0."""
    if len(row) != len(types) or any(
        type(field) is not _TYPES[each] or (each == "n" and field < 0)
        for field, each in zip(row, types, strict=True)
    ):
        raise ValueError("a field is missing, or of another type")


def _claim_path_rows(claims: Claims) -> list[tuple[str, int, int, int, bool]]:
    """``(path, capacity, lock_delay_ms, delayed until or 0, unsettled)``: first the unsettled ones, in their order."""
    paths = dict.fromkeys((*claims.unsettled, *sorted(claims.settings)))
    return [
        (
            path,
            *claims.settings.get(path, DEFAULT),
            claims.delays.get(path, 0),
            path in claims.unsettled,
        )
        for path in paths
    ]


def _claim_weight(claim: Claim) -> int:
    return 60 + len(claim[1]) + len(claim[5])


def _path_weight(row: tuple[Any, ...]) -> int:
    return 40 + len(row[0])


def _pair_weight(row: tuple[str, Any]) -> int:
    return 20 + len(row[0]) + weight(row[1])


def _session_row(session: Session) -> list[Any]:
    return [
        session.id,
        session.timeout_ms,
        session.secret_digest,
        session.principal,
        session.client,
        session.opened_ms,
        list(session.origin),
        session.confirmed,
        list(session.replies.values()),
    ]


def _session_weight(row: list[Any]) -> int:
    return 200 + 40 * len(row[8]) + weight(row[8])


def _revision_weight(revision: Revision) -> int:
    return sum(20 + len(path) + len(value or b"") for _, path, value, *_ in revision[3])


def _in_lots(rows: Sequence[Any], lot_bytes: int, weight: Any) -> Iterator[list[Any]]:
    """``rows`` in lists of about ``lot_bytes``; none for no rows."""
    lot: list[Any] = []
    size = 0
    for row in rows:
        lot.append(row)
        size += weight(row)
        if size >= lot_bytes:
            yield lot
            lot, size = [], 0
    if lot:
        yield lot
