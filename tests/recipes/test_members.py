"""Members as data: records, and events folded into changes."""

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.client import Cache, Cached, ChangeKind, Event, InvalidRequest, Kind, Reason, Stat
from coord.recipes.members import Fold, Member, Roster, What, Why, member_of, record

CREATED, SET, DELETED = ChangeKind.CREATED, ChangeKind.SET, ChangeKind.DELETED


class Copy:
    """What a cache shows."""

    def __init__(self, znodes: dict[str, bytes]) -> None:
        self.znodes = {path: Cached(path, value, 0, 5, 5, 0) for path, value in znodes.items()}
        self.revision = 5

    def get(self, path: str) -> Cached | None:
        return self.znodes.get(path)

    def children(self, path: str) -> list[str]:
        above = path if path.endswith("/") else path + "/"
        return sorted({each[len(above) :].split("/")[0] for each in self.znodes if each.startswith(above)})

    def __contains__(self, path: object) -> bool:
        return path in self.znodes


def shown(znodes: dict[str, bytes]) -> Cache:
    return cast(Cache, Copy(znodes))


def event(
    kind: ChangeKind,
    path: str,
    value: bytes | None = None,
    session: int = 0,
    reason: Reason = Reason.REQUEST,
    revision: int = 6,
) -> Event:
    return Event(kind, path, revision, value, 0, session, reason, 0)


def of(session: int, pulse: float | None = None) -> bytes:
    return record("id", session, 1, pulse, {})


@pytest.mark.parametrize(
    ("reason", "session", "why"),
    [
        (Reason.REQUEST, 17, Why.SAID_SO),
        (Reason.REQUEST, 18, Why.REMOVED),
        (Reason.SESSION_ENDED, 0, Why.SAID_SO),
        (Reason.SESSION_EXPIRED, 0, Why.EXPIRED),
        (Reason.RELISTED, 0, Why.UNKNOWN),
        (Reason.OTHER, 0, Why.UNKNOWN),
    ],
)
def test_why_one_is_gone(reason: Reason, session: int, why: Why) -> None:
    for path in ("/w", "/"):
        above = path.rstrip("/")
        fold = Fold(path, shown({f"{above}/a": of(17)}))
        change = fold.apply(event(DELETED, f"{above}/a", None, session, reason))
        assert change is not None
        assert (change.what, change.why, change.member.session) == (What.LEFT, why, 17)
        assert fold.roster == ()


def test_a_gap_that_one_left_and_came_back_in() -> None:
    fold = Fold("/w", shown({"/w/a": of(17)}))
    told = [
        fold.apply(event(DELETED, "/w/a", None, 0, Reason.RELISTED)),
        fold.apply(event(CREATED, "/w/a", of(18), 0, Reason.RELISTED)),
    ]
    assert [(each.what, each.member.session) for each in told if each] == [(What.LEFT, 17), (What.JOINED, 18)]


def test_when_one_joined_is_asked_after_a_gap() -> None:
    def stat(created_revision: int) -> Stat:
        return Stat(created_revision, 9, 9, 0, 0, 0, 0, 0, 0, 0, Kind.EPHEMERAL, 0)

    fold = Fold("/w", shown({}))
    relisted = event(CREATED, "/w/a", of(1), 0, Reason.RELISTED, 9)
    assert fold.asks(relisted)
    for found, joined in ((stat(7), 7), (None, 9), (stat(12), 9)):
        change = fold.apply(relisted, found)
        assert change is not None
        assert change.member.joined_revision == joined
    for other in (
        event(CREATED, "/w/a", of(1)),
        event(SET, "/w/a", of(1), 0, Reason.RELISTED),
        event(CREATED, "/w/.pulse", b"", 0, Reason.RELISTED),
        event(CREATED, "/w/.pulse/a", b"", 0, Reason.RELISTED),
        event(CREATED, "/w", b"", 0, Reason.RELISTED),
    ):
        assert not fold.asks(other)


def test_what_is_not_about_members_is_passed_over() -> None:
    fold = Fold("/w", shown({"/w/a": of(1)}))
    for path in ("/w", "/wx", "/w/.pulse", "/w/a/b", "/w/.pulse/a", "/w/.pulse/nobody"):
        assert fold.apply(event(CREATED, path, b"")) is None
        assert fold.apply(event(SET, path, b"")) is None
        assert fold.apply(event(DELETED, path)) is None
    assert fold.apply(event(DELETED, "/w/b")) is None
    assert fold.apply(event(ChangeKind.CLAIMED, "/w/a")) is None
    assert [each.name for each in fold.roster] == ["a"]


def test_a_pulse_that_stops_and_begins_again() -> None:
    beat = "/w/.pulse/a"
    fold = Fold("/w", shown({"/w/a": of(1, 2.0), beat: b""}))
    assert [each.stuck for each in fold.roster] == [False]
    steps = [
        (event(SET, "/w/a", of(1, 2.0)), What.UPDATED),
        (event(SET, beat, b""), None),
        (event(DELETED, beat, None, 0, Reason.TTL), What.STUCK),
        (event(SET, "/w/a", of(1, 2.0)), What.UPDATED),
        (event(CREATED, beat, b""), What.WORKING),
        (event(DELETED, "/w/a", None, 1), What.LEFT),
        (event(DELETED, beat, None, 0, Reason.TTL), None),
        # Its pulse comes first, in the same revision.
        (event(CREATED, beat, b""), None),
        (event(CREATED, "/w/a", of(2, 2.0)), What.JOINED),
    ]
    for each, what in steps:
        change = fold.apply(each)
        assert (change and change.what) == what
        if what is What.UPDATED:  # other attributes are no pulse, and end none
            assert fold.roster[0].stuck == (each is not steps[0][0])
    assert [each.stuck for each in fold.roster] == [False]


def test_a_roster_reads_again_only_what_has_changed() -> None:
    copy = Copy({"/w/a": of(1), "/w/b": of(2, 1.0), "/w/.pulse/b": b""})
    roster = Roster("/w")
    first = roster.read(cast(Cache, copy))
    assert roster.read(cast(Cache, copy)) is first
    copy.revision = 6  # something else has changed
    assert roster.read(cast(Cache, copy)) is first
    copy.znodes.update(Copy({"/w/a": of(3)}).znodes)
    copy.revision = 7
    second = roster.read(cast(Cache, copy))
    assert second[1] is first[1]
    assert (second[0].session, second[1].stuck) == (3, False)
    del copy.znodes["/w/.pulse/b"]
    copy.revision = 8
    assert [each.stuck for each in roster.read(cast(Cache, copy))] == [False, True]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=4), st.none() | st.floats(0.1, 100))
def test_a_record_and_back(attributes: dict[str, object], pulse: float | None) -> None:
    member = member_of("a", record("id", 3, 4, pulse, attributes), 9, True)
    assert member == Member("a", attributes, 4, 3, 9, pulse, pulse is not None)


@given(st.binary() | JSON.map(lambda each: repr(each).replace("'", '"').encode("utf-8", "surrogatepass")))
def test_whatever_stands_there_is_a_member(value: bytes) -> None:
    assert member_of("a", value, 1, True).name == "a"


def test_attributes_with_half_a_character() -> None:
    with pytest.raises(InvalidRequest, match="JSON"):
        record("id", 1, 1, None, {"x": "\ud800"})
