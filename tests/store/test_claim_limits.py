"""Bounds of claims: each has a default, and a named outcome; and what travels in a snapshot."""

from typing import Any

import pytest

from coord.api.errors import LimitExceeded
from coord.api.ops import (
    Claim,
    ClaimFirst,
    Claims,
    ClaimSettings,
    Create,
    Delete,
    Fence,
    Kind,
    Multi,
    Release,
)
from coord.api.paths import PATH_MAX_BYTES
from coord.limits import (
    CHANGES_MAX,
    CLIENT_FRAME_MAX_BYTES,
    GRANTS_MAX,
    LABEL_BYTES_MAX,
    SERVER_FRAME_MAX_BYTES,
    MemberLimits,
    StoreLimits,
)
from coord.store.snapshot import CLAIM_PATHS, CLAIMS, FENCES, HEAD, StoreSnapshot
from coord.wire.cbor import dumps, loads
from coord.wire.client_frames import EventGroup
from coord.wire.event_frames import encode_events, encode_group
from tests.store.machine import Machine, loaded, picture, reloaded, sections_of


def bounded(machine: Machine, op: Any, limit: str, maximum: int, session: int | None = None) -> None:
    error = machine.refused(op, session)
    assert isinstance(error, LimitExceeded), error
    assert {key: error.details[key] for key in ("limit", "maximum")} == {"limit": limit, "maximum": maximum}


def test_claims_of_a_session() -> None:
    machine = Machine(StoreLimits(claims_per_session=3))
    for name in "abcde":
        machine.do(Create(f"/{name}"))
    machine.do(Claim("/a"))
    machine.do(Claim("/a", wait=True))
    assert len(machine.do(ClaimFirst("/", count=9))[1]) == 1
    for op in (Claim("/e"), Claim("/a", wait=True), ClaimFirst("/", wait=True)):
        bounded(machine, op, "claims_per_session", 3)
    machine.do(Claim("/e"), machine.open())
    machine.do(Release(1))
    machine.do(Claim("/d"))


def test_claims_in_all() -> None:
    machine = Machine(StoreLimits(claims=2))
    for name in "abc":
        machine.do(Create(f"/{name}"))
    machine.do(Claim("/a"))
    assert len(machine.do(ClaimFirst("/", count=9))[1]) == 1
    bounded(machine, Claim("/c"), "claims", 2, machine.open())


def test_waiters_at_a_znode() -> None:
    machine = Machine(StoreLimits(waiters_per_znode=2))
    machine.do(Create("/a"))
    for _ in range(3):
        machine.do(Claim("/a", wait=True))
    bounded(machine, Claim("/a", wait=True), "waiters_per_znode", 2)
    for _ in range(2):
        machine.do(ClaimFirst("/a", wait=True))
    bounded(machine, ClaimFirst("/a", wait=True), "waiters_per_znode", 2)
    machine.do(Release(1))
    machine.do(Claim("/a", wait=True))


def test_labels() -> None:
    machine = Machine(StoreLimits(label_bytes=2))
    machine.do(Create("/a"))
    machine.do(Claim("/a", label=b"xx"))
    for op in (Claim("/a", wait=True, label=b"xxx"), ClaimFirst("/", label=b"xxx")):
        bounded(machine, op, "label_bytes", 2)


def test_the_claims_of_what_is_deleted_count() -> None:
    machine = Machine(StoreLimits(changes_per_request=4))
    machine.do(Create("/a/b", parents=True))
    for _ in range(3):
        machine.do(Claim("/a/b", wait=True))
    machine.do(ClaimFirst("/a/b", wait=True))
    bounded(machine, Delete("/a/b"), "changes_per_request", 4)
    machine.do(Release(3))
    bounded(machine, Delete("/a", subtree=True), "changes_per_request", 4)
    bounded(machine, Multi(then=(Create("/x"), Delete("/a/b"))), "changes_per_request", 4)
    machine.do(Delete("/a/b"))


def test_values_that_claim_first_reads() -> None:
    machine = Machine(StoreLimits(multi_reply_bytes=10))
    for name in "abc":
        machine.do(Create(f"/{name}", b"x" * 6))
    assert [row[1] for row in machine.do(ClaimFirst("/", count=9, values=True))[1]] == ["a"]
    assert [row[1] for row in machine.do(ClaimFirst("/", count=9))[1]] == ["b", "c"]


def test_a_page_of_claims_ends_at_its_bytes() -> None:
    machine = Machine(member_limits=MemberLimits(list_page_bytes=350))
    machine.do(Create("/a"))
    for _ in range(5):
        machine.do(Claim("/a", wait=True, label=b"x" * 50))
    rows, more, _ = machine.read(Claims("/"))
    assert ([row[0] for row in rows], more) == ([1, 2], True)
    assert len(machine.read(Claims("/", after=2))[0]) == 2


# --- one revision must fit into one frame ----------------------------------------------------------------------------


def test_the_bounds_fit_together() -> None:
    limits = StoreLimits()
    assert limits.ephemerals_per_session + 2 * limits.claims_per_session + GRANTS_MAX <= CHANGES_MAX
    change_bytes = PATH_MAX_BYTES + 64
    most = (
        CHANGES_MAX * change_bytes + GRANTS_MAX * (change_bytes + limits.label_bytes) + CLIENT_FRAME_MAX_BYTES
    )
    assert most < SERVER_FRAME_MAX_BYTES
    assert most + GRANTS_MAX * (LABEL_BYTES_MAX - limits.label_bytes) < SERVER_FRAME_MAX_BYTES


def test_the_end_of_the_largest_session_fits_into_a_frame() -> None:
    """All its ephemerals, all its claims, each with a container, and as many who wait as one revision grants."""
    limits = StoreLimits()
    machine = Machine()
    machine.now_ms += 1
    busy = machine.open()
    deep = "/" + "x" * (PATH_MAX_BYTES - 10)
    label = b"l" * limits.label_bytes
    for at in range(0, limits.ephemerals_per_session, 2_000):
        parts = tuple(Create(f"{deep}{number:07d}", kind=Kind.EPHEMERAL) for number in range(at, at + 2_000))
        machine.do(Multi(then=parts), busy)
    for at in range(0, limits.claims_per_session, 1_024):
        claims = tuple(Claim(f"{deep}c{number:06d}", create=True) for number in range(at, at + 1_024))
        machine.do(Multi(then=claims), busy)
    others = [machine.open() for _ in range(2)]
    paths = sorted(machine.store.claims.held)[: GRANTS_MAX + 100]
    for number, path in enumerate(paths):
        machine.do(Claim(path, wait=True, label=label), others[number % 2])
    before = machine.store.revision
    machine.expire(busy)
    (revision, rest) = machine.store.history.since(before + 1)
    assert len(rest[3]) == 100
    assert len(revision[3]) <= CHANGES_MAX
    kinds = [change[0] for change in revision[3]]
    left = limits.claims_per_session - len(paths)
    assert (kinds.count(5), kinds.count(4)) == (limits.claims_per_session, GRANTS_MAX)
    assert kinds.count(3) == limits.ephemerals_per_session + left
    frame = encode_events(
        [encode_group(EventGroup(revision[0], revision[2], [(change, [2**31]) for change in revision[3]]))]
    )
    assert len(frame) < SERVER_FRAME_MAX_BYTES


# --- snapshots -------------------------------------------------------------------------------------------------------


def full_of_claims() -> Machine:
    """Held and waiting, shared and not, for any child, with settings, a delay, fences."""
    machine = Machine()
    for path in ("/a", "/b", "/q", "/q/1"):
        machine.do(Create(path))
    other = machine.open()
    machine.do(ClaimSettings("/a", 2, 100))
    machine.do(ClaimSettings("/b", 1, 50))
    machine.do(Claim("/b"), other)
    for flags in ({}, {}, {"shared": True}, {"units": 2}, {"label": b"x"}):
        machine.do(Claim("/a", wait=True, **flags))
    machine.do(Claim("/c/d", create=True, parents=True), machine.open())
    machine.do(ClaimFirst("/q"))
    machine.do(ClaimFirst("/q", wait=True))
    machine.do(Claim("/b", wait=True))
    machine.do(Fence("/f/g", "/c"))
    machine.do(Fence("/f", "/a"))
    machine.store.incarnation = 4
    machine.expire(other)
    assert machine.store.claims.delays
    return machine


def test_a_snapshot_of_a_store_loaded_is_that_store() -> None:
    machine = full_of_claims()
    copy = reloaded(machine.store)
    assert picture(copy) == picture(machine.store)
    index = machine.store.applied_index + 1
    for store in (copy, machine.store):
        store.apply(index, machine.now_ms + 200, machine.wall_ms, [(3, [machine.session])])
    assert picture(copy) == picture(machine.store)
    assert machine.store.revision > 12


def test_sections_of_equal_stores_are_equal() -> None:
    """Whatever a multi did and took back, and in whichever order it came."""
    machine = full_of_claims()
    copy = reloaded(machine.store)
    machine.refused(Multi(then=(*(Release(number, force=True) for number in (2, 5)), Delete("/nowhere"))))
    claims = [
        [
            section
            for section in map(loads, sections_of(StoreSnapshot(store)))
            if section[0] in (CLAIMS, CLAIM_PATHS)
        ]
        for store in (copy, machine.store)
    ]
    assert claims[0] == claims[1]


SPOILT: list[tuple[str, int, Any]] = [
    ("a later version", HEAD, lambda rows: rows[0].update(version=4)),
    ("an older version", HEAD, lambda rows: rows[0].update(version=2)),
    ("no number of znodes", HEAD, lambda rows: rows[0].pop("znodes")),
    ("no incarnation", HEAD, lambda rows: rows[0].pop("incarnation")),
    ("another number of claims", HEAD, lambda rows: rows[0].update(claims=1)),
    ("another number of unsettled", HEAD, lambda rows: rows[0].update(unsettled=1)),
    ("a number to come", HEAD, lambda rows: rows[0].update(next_claim=2)),
    ("one claim twice", CLAIMS, lambda rows: rows.append(rows[0])),
    ("a session that is not there", CLAIMS, lambda rows: rows[0].__setitem__(2, 77)),
    ("a znode that is not there", CLAIMS, lambda rows: rows[0].__setitem__(1, "/nowhere")),
    ("a field too many", CLAIMS, lambda rows: rows[0].append(1)),
    ("a path that is none", CLAIMS, lambda rows: rows[0].__setitem__(1, 5)),
    ("a path of a fence that is none", FENCES, lambda rows: rows[0].__setitem__(0, 5)),
    ("a token to come", CLAIMS, lambda rows: rows[0].__setitem__(7, 10**6)),
    ("another flag", CLAIMS, lambda rows: rows[0].__setitem__(4, 4)),
    ("who shares beside who does not", CLAIMS, lambda rows: rows[0].__setitem__(4, 1)),
    ("who waits for any child, and holds", CLAIMS, lambda rows: rows[0].__setitem__(4, 2)),
    ("no units", CLAIMS, lambda rows: rows[0].__setitem__(3, 0)),
    ("a capacity that is none", CLAIM_PATHS, lambda rows: rows[0].__setitem__(1, "1")),
    ("settings without a znode", CLAIM_PATHS, lambda rows: rows[0].__setitem__(0, "/nowhere")),
]


@pytest.mark.parametrize(("kind", "spoil"), [each[1:] for each in SPOILT], ids=[each[0] for each in SPOILT])
def test_what_does_not_add_up_is_refused(kind: int, spoil: Any) -> None:
    sections = [loads(section) for section in sections_of(StoreSnapshot(full_of_claims().store))]
    spoil(next(section[1] for section in sections if section[0] == kind))
    with pytest.raises(ValueError):
        loaded([dumps(section) for section in sections])
