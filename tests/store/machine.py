"""A store, driven by hand: entries with one command each, indexes and ids counted, time only when told."""

from collections.abc import Sequence
from typing import Any

from coord.api.commands import (
    END_SESSION,
    EXPIRE_SESSIONS,
    OPEN_SESSION,
    REQUESTS,
    SET_LIMITS,
    Command,
    Reply,
)
from coord.api.errors import OK, CoordError, from_code
from coord.api.events import UNTIL_TOLD, Revision
from coord.api.ops import Op
from coord.api.paths import ROOT, is_reserved, join, name, parent
from coord.limits import MemberLimits, StoreLimits, limit_names
from coord.store.claims import DEFAULT, FIRST, SHARED
from coord.store.granting import next_in_line
from coord.store.lanes import Pool
from coord.store.snapshot import StoreLoader, StoreSnapshot
from coord.store.store import Answer, Store
from coord.store.znode import EPHEMERAL
from coord.wire.cbor import dumps, loads


class Machine:
    """``do(op)`` applies one op of ``session`` 1 and returns its result, or raises the error of its reply."""

    def __init__(self, limits: StoreLimits | None = None, member_limits: MemberLimits | None = None) -> None:
        self.member_limits = member_limits or MemberLimits()
        self.store = Store(self.member_limits)
        self.now_ms = 1_000
        self.wall_ms = 1_700_000_000_000
        self.next_request = 1
        self.openings = 0
        self.apply(
            (SET_LIMITS, {each: getattr(limits, each) for each in limit_names(StoreLimits)} if limits else {})
        )
        self.session = self.open()

    def apply(self, *commands: Command) -> list[Answer]:
        """One entry."""
        # Through the codec, as in life: lists for tuples.
        plain = [tuple(loads(dumps(command))) for command in commands]
        return self.store.apply(self.store.applied_index + 1, self.now_ms, self.wall_ms, plain)

    def open(self, timeout_ms: int = 5_000) -> int:
        reply = self.open_reply(timeout_ms)
        assert reply[1] == OK, reply
        return int(reply[0])

    def open_reply(self, timeout_ms: int = 5_000) -> Reply:
        self.openings += 1
        (reply,) = self.apply((OPEN_SESSION, 1, 77, self.openings, timeout_ms, b"d" * 32, "", "me"))
        assert isinstance(reply, tuple)
        return reply

    def end(self, session: int) -> None:
        self.apply((END_SESSION, session, 0))

    def expire(self, *sessions: int) -> None:
        self.apply((EXPIRE_SESSIONS, list(sessions)))

    def pass_time(self, ms: int) -> None:
        """Cluster time goes on; an entry without commands says so."""
        self.now_ms += ms
        self.apply()

    def requests(
        self, ops: Sequence[tuple[int, Op]], session: int | None = None, confirmed: int = 0
    ) -> list[Reply]:
        """One frame of writes."""
        rows = [[request, op.row()] for request, op in ops]
        (replies,) = self.apply((REQUESTS, session or self.session, confirmed, rows))
        assert isinstance(replies, list)
        return replies

    def reply(self, op: Op, session: int | None = None) -> Reply:
        request = self.next_request
        self.next_request += 1
        (reply,) = self.requests([(request, op)], session)
        assert reply[0] == request
        return reply

    def do(self, op: Op, session: int | None = None) -> Any:
        reply = self.reply(op, session)
        if reply[1] != OK:
            raise from_code(reply[1], reply[4], reply[5])
        return reply[4]

    def refused(self, op: Op, session: int | None = None) -> CoordError:
        """The error of an op that must be refused, and must have changed nothing."""
        before = picture(self.store)
        reply = self.reply(op, session)
        assert reply[1] != OK
        error = from_code(reply[1], reply[4], reply[5])
        assert error.outcome == "refused"
        assert error.message
        after = picture(self.store)
        for part in ("tree", "revision", "history", "ephemerals", "data_bytes", "claims", "fences"):
            assert before[part] == after[part], part
        return error

    def read(self, op: Op) -> Any:
        return self.store.read(op.row(), self.member_limits)

    def paths(self) -> list[str]:
        return sorted(self.store.tree.znodes)

    def changes(self) -> list[Revision]:
        """The history."""
        return self.store.history.since(0)


def plain(value: Any) -> Any:
    """With lists and tuples alike: what went through CBOR has lists."""
    if isinstance(value, list | tuple):
        return tuple(plain(each) for each in value)
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return value


def picture(store: Store) -> dict[str, Any]:
    """All of the replicated state, comparable; and the derived tables are checked against it."""
    check_derived(store)
    return {
        "tree": dict(store.tree.znodes),
        "data_bytes": store.tree.data_bytes,
        "ephemerals": {session: sorted(paths) for session, paths in store.tree.ephemerals.items()},
        "sessions": {
            each.id: (
                each.timeout_ms, each.secret_digest, each.principal, each.client, each.opened_ms,
                each.confirmed, plain(each.replies), list(each.replies), each.reply_bytes,
            )
            for each in store.sessions.values()
        },
        "history": plain(store.history.since(0)),
        "first_revision": store.history.first_revision,
        "revision": store.revision,
        "applied_index": store.applied_index,
        "time_ms": store.time_ms,
        "next_session": store.next_session,
        "limits": store.limits,
        "incarnation": store.incarnation,
        "claims": store.claims.state(),
        "fences": dict(store.fences.by_path),
    }  # fmt: skip


def check_derived(store: Store) -> None:
    """The tree's tables say what its znodes say."""
    tree = store.tree
    children: dict[str, list[str]] = {}
    owned: dict[int, list[str]] = {}
    size = 0
    for path, znode in tree.znodes.items():
        size += len(znode[0])
        if path != ROOT:
            size += len(path)
            assert parent(path) in tree.znodes, path
            children.setdefault(parent(path), []).append(name(path))
        if znode[6]:
            owned.setdefault(znode[6], []).append(path)
    for path in tree.znodes:
        assert list(tree.children(path)) == sorted(children.get(path, [])), path
        assert tree.child_count(path) == len(children.get(path, []))
    assert {session: sorted(paths) for session, paths in tree.ephemerals.items()} == {
        session: sorted(paths) for session, paths in owned.items()
    }
    assert all(session in store.sessions for session in tree.ephemerals)
    assert tree.data_bytes == size
    assert sorted(tree._ttl_paths) == sorted(path for path, znode in tree.znodes.items() if znode[10])
    looked_at_ms: dict[str, int] = {}
    for at_ms, path in tree._ttl_heap:
        looked_at_ms[path] = min(at_ms, looked_at_ms.get(path, at_ms))
    for path, znode in tree.znodes.items():
        if znode[10] and not tree.child_count(path) and not store.claims.claimed(path):
            assert looked_at_ms[path] <= znode[11], path
    assert tree.undo is None
    history = store.history.since(0)
    assert [each[0] for each in history] == list(range(store.history.first_revision, store.revision + 1))
    assert all(join(parent(path), name(path)) == path for path in tree.znodes if path != ROOT)
    check_claims(store)


def check_claims(store: Store) -> None:
    """The tables of claims say what the claims say, and nobody waits who could be granted."""
    claims, znodes = store.claims, store.tree.znodes
    held: dict[str, dict[int, int]] = {}
    used: dict[str, int] = {}
    waiting: dict[str, list[int]] = {}
    first: dict[str, list[int]] = {}
    by_session: dict[int, list[int]] = {}
    for number, claim in sorted(claims.by_number.items()):
        each, path, session, units, flags, _, _, token = claim
        assert each == number < claims.next_claim
        assert session in store.sessions
        assert path in znodes
        assert znodes[path][9] != EPHEMERAL
        assert token <= store.revision
        by_session.setdefault(session, []).append(number)
        if token:
            assert not flags & FIRST
            held.setdefault(path, {})[number] = token
            used[path] = used.get(path, 0) + (-1 if flags & SHARED else units)
        else:
            (first if flags & FIRST else waiting).setdefault(path, []).append(number)
    assert {session: sorted(numbers) for session, numbers in claims.by_session.items()} == by_session
    assert claims.held == held
    assert claims.used == used
    assert claims.waiting == waiting
    assert claims.first == first
    assert claims.undo is None
    for path, settings in claims.settings.items():
        assert path in znodes
        assert settings != DEFAULT
    for path, until_ms in claims.delays.items():
        assert until_ms > store.time_ms
        assert path in claims.settings
        assert (until_ms, path) in claims._delay_heap
    for path, until_ms in claims.held_back.items():
        assert path in znodes
        assert until_ms > store.time_ms
        assert until_ms == UNTIL_TOLD or (until_ms, path) in claims._delay_heap
    check_lanes(store)
    check_candidates(store)
    bound: dict[str, list[str]] = {}
    for path, claim_path in sorted(store.fences.by_path.items()):
        bound.setdefault(claim_path, []).append(path)
    assert {claim_path: sorted(paths) for claim_path, paths in store.fences.by_claim.items()} == bound
    assert store.fences.undo is None
    draft = store._draft
    assert not draft.changes
    assert not draft.freed
    assert not draft.tokens
    for path in znodes:
        if path not in claims.unsettled:
            assert next_in_line(draft, path) is None, path


def check_lanes(store: Store) -> None:
    claims, lanes = store.claims, store.claims.lanes
    assert lanes.now_ms == store.time_ms
    held: dict[str, int] = {}
    for path, those in lanes.of.items():
        assert path in store.tree.znodes
        assert those
        for lane in those:
            if path in claims.held:
                held[lane[0]] = held.get(lane[0], 0) + len(claims.held[path])
    assert lanes.held == held
    for lane_name, paid_ms in lanes.paid_ms.items():
        assert paid_ms > store.time_ms
        assert lanes._wakes[lane_name] <= paid_ms
    assert all((at_ms, lane_name) in lanes._heap for lane_name, at_ms in lanes._wakes.items())
    for views in lanes._views.values():
        for lane, view in views.items():
            assert view.pools
            assert view.open == lanes.has_room(lane)


def check_candidates(store: Store) -> None:
    """What is found without a search is what a search finds."""
    claims, znodes, candidates = store.claims, store.tree.znodes, store.candidates
    assert set(claims.first) <= set(candidates._parents)
    for above, children in candidates._parents.items():
        free: dict[str, tuple[Any, ...]] = {}
        counts = [0, 0, 0]
        for child in store.tree.children(above):
            path = join(above, child)
            if path in claims.held:
                counts[0] += 1
            elif path in claims.delays or path in claims.held_back:
                counts[1] += 1
            elif path in claims.waiting:
                counts[2] += 1
            elif znodes[path][9] != EPHEMERAL and not is_reserved(path):
                free[child] = claims.lanes.of.get(path, ())
        assert pooled(children.free) == free, above
        assert children.counts[1:4] == counts
        having_room = [child for child in free if claims.lanes.full(join(above, child)) is None]
        assert children.free.first == min(having_room, default=None)
        assert children.free.blocked() == len(free) - len(having_room)
        if above in claims.first and above not in claims.held_back and above not in claims.unsettled:
            assert all(join(above, child) in claims.unsettled for child in having_room), (above, having_room)
    queue: dict[str, tuple[Any, ...]] = {}
    for path, lanes in claims.lanes.of.items():
        if path in claims.waiting and not claims.is_paused(path):
            claim = claims.by_number[claims.waiting[path][0]]
            if claims.fits(path, claim[3], claim[4] & SHARED):
                queue[f"{claim[0]:019d}"] = lanes
    assert pooled(candidates.queue) == queue
    if not claims.unsettled:
        assert candidates.queue.first is None


def pooled(pool: Pool) -> dict[str, tuple[Any, ...]]:
    """The keys in a pool and all within, with the lanes that lead to them from there."""
    found: dict[str, tuple[Any, ...]] = dict.fromkeys(pool.keys, ())
    heads = []
    for lane, within in (pool._pools or {}).items():
        assert within.size
        found.update({key: (lane, *lanes) for key, lanes in pooled(within).items()})
        assert within.view is not None
        if within.view.open and within.first is not None:
            heads.append(within.first)
    assert list(pool._heads or ()) == sorted(heads)
    assert pool.size == len(found)
    return found


def sections_of(snapshot: StoreSnapshot) -> list[bytes]:
    """All sections, as bytes."""
    sections = []
    while (section := snapshot.next_section()) is not None:
        sections.append(dumps(list(section)))
    snapshot.close()
    return sections


def loaded(sections: Sequence[bytes], limits: MemberLimits | None = None) -> Store:
    loader = StoreLoader(limits or MemberLimits())
    for section in sections:
        loader.add(*loads(section))
    return loader.finish()


def reloaded(store: Store, section_bytes: int = 500) -> Store:
    return loaded(sections_of(StoreSnapshot(store, section_bytes)))
