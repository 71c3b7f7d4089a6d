"""Changes of claims in a history: another's doing than a request's, and no watch is told of them that has not asked."""

from coord.api.ops import Create, Delete, Kind
from coord.api.results import Created, Deleted
from coord.jepsen_like.checkers import judge
from coord.jepsen_like.history import Record, SessionOver, WatchOpened, WatchTold
from tests.jepsen_like.checkers.test_others import MS, OPENED, did, gone, made

CLAIMED, RELEASED = 4, 5

GOOD: list[Record] = [
    *OPENED,
    WatchOpened(9, 9, 1, "/", "subtree", 1, 0, 5),
    # Number 2 of session 1 is a claim here, not its second request.
    made(1, (1, "/e", b"", 0, 1, 1, 0), (CLAIMED, "/e", b"", 0, 1, 2, 0), at_ns=10),
    made(2, (CLAIMED, "/l", b"", 0, 1, 3, 0), at_ns=15),
    made(3, (1, "/f", b"", 0, 1, 2, 0), (CLAIMED, "/f", b"", 0, 1, 4, 0), at_ns=20),
    did(Create("/e", kind=Kind.EPHEMERAL), 1, Created("/e", 1), request=1, called=6, returned=30),
    did(Create("/f"), 3, Created("/f", 3), request=2, called=6, returned=40),
    made(4, (3, "/f", None, 0, 7, 1, 0), (RELEASED, "/f", None, 3, 1, 4, 6), at_ns=50),
    did(Delete("/f"), 4, Deleted(1, 4), session=7, request=1, called=45, returned=60),
    made(5, (RELEASED, "/e", None, 1, 1, 2, 6), (3, "/e", None, 0, 1, 0, 2), (RELEASED, "/l", None, 2, 1, 3, 2),
        at_ns=2_000 * MS),
    SessionOver(1, 1, "member", 2_001 * MS),
    WatchTold(9, 9, 1, 1, ((1, "/e", b"", 0, 1, 1, 0),), 2_002 * MS),
    WatchTold(9, 9, 1, 3, ((1, "/f", b"", 0, 1, 2, 0),), 2_002 * MS),
    WatchTold(9, 9, 1, 4, ((3, "/f", None, 0, 7, 1, 0),), 2_002 * MS),
    WatchTold(9, 9, 1, 5, ((3, "/e", None, 0, 1, 0, 2),), 2_002 * MS),
]  # fmt: skip


def test_claims_are_no_violations() -> None:
    assert judge(GOOD) == []


def test_what_is_wrong_beside_them_is_seen() -> None:
    """The session's end leaves its ephemeral, and releases its claim."""
    spoilt = [gone(5, at_ms=2_000) if getattr(each, "revision", 0) == 5 else each for each in GOOD]
    assert judge(spoilt) != []
