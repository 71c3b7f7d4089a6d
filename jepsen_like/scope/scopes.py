"""The named scopes. Their bounds are the claim: everything within them was tried."""

from dataclasses import replace
from typing import Final

from coord.jepsen_like.scope.bounds import CoreScope
from coord.jepsen_like.scope.leases import LeaseScope
from coord.jepsen_like.scope.model import Action
from coord.raft.types import Configuration

_SETTLE: Final = (0, Action("settle"))


def _led(elected_by: str = "campaign") -> tuple[tuple[int, Action], ...]:
    """Member 1 leads term 1, and its no-op is committed and known to be, everywhere."""
    return ((1, Action(elected_by)), _SETTLE, (1, Action("beat")), _SETTLE)


CRASH: Final = CoreScope(
    name="crash",
    about="A leader, one entry, a second term, and a crash of anybody at any moment, with slow disks.",
    opening=_led(),
    terms=2,
    counts={"propose": 1, "restart": 1},
    only={"restart": (1, 2)},  # 2 and 3 are in the same place here
)

ELECTION: Final = CoreScope(
    name="election",
    about="A cluster that was just formed: two terms, anybody campaigns, slow disks, one crash.",
    terms=2,
    counts={"restart": 1},
    only={"restart": (1,)},  # all are in the same place here
)

PRE_VOTE: Final = CoreScope(
    name="pre-vote",
    about="As members really campaign: ticks, patience, pre-votes, leaders that are defended.",
    opening=_led("time out"),
    terms=2,
    pre_votes=True,
    slow_disks=False,
    counts={"propose": 1},
)

STALE_PRE_VOTES: Final = replace(
    PRE_VOTE,
    name="stale-pre-votes",
    about="Three terms, so that what was said for the second comes to who campaigns for the third.",
    terms=3,
    counts={},
    only={"campaign": (2, 3)},
)

PEER_DOWN: Final = replace(
    PRE_VOTE,
    name="peer-down",
    about="A follower is told that its leader's process is gone, at any moment, rightly or wrongly.",
    counts={"peer down": 1, "propose": 1},
)

PEER_DOWN_AT_FIRST: Final = replace(
    PEER_DOWN,
    name="peer-down-at-first",
    about="The same in the first term of a cluster: two ask for votes, and one of them beats before its entry comes.",
    opening=(),
    terms=1,
    counts={"peer down": 1, "beat": 1},
    only={"campaign": (1, 2), "beat": (1,), "peer down": (3,)},  # all are in the same place here
)

SOLE: Final = CoreScope(
    name="sole",
    about="A cluster of one, which hears nothing but its disk: three terms, an entry, a crash.",
    voters=(1,),
    terms=3,
    counts={"propose": 1, "restart": 1},
)

FIGURE_8: Final = CoreScope(
    name="figure-8",
    about="An entry of an older term on a majority: three terms after the one that left it on one disk.",
    opening=((1, Action("campaign")), _SETTLE, (1, Action("propose", b"older"))),
    terms=4,
    slow_disks=False,
    split_appends=True,
)

SHORT_APPEND: Final = CoreScope(
    name="short-append",
    about="Appends without the entries, to a member that has another entry there; what they say is committed is later.",
    opening=(*_led(), (1, Action("propose", b"on 1 alone"))),
    terms=2,
    slow_disks=False,
    counts={"beat": 1},
    only={"beat": (2,), "campaign": (2,)},
)

MEMBERSHIP: Final = CoreScope(
    name="membership",
    about="{1 2 3} becomes {1 4} jointly, with a change of leader; quorums of the two can be disjoint.",
    opening=_led(),
    outside=(4,),
    terms=2,
    slow_disks=False,
    targets=(Configuration((1, 4)),),
    counts={"configure": 1},
)

MEMBERSHIP_TWICE: Final = replace(
    MEMBERSHIP,
    name="membership-twice",
    about="{1 2 3} becomes {1 4}, and {1 2 3} again, by one leader.",
    terms=1,
    targets=(Configuration((1, 4)), Configuration((1, 2, 3))),
    counts={"configure": 2},
)

MEMBERSHIP_BEHIND_AN_ENTRY: Final = replace(
    MEMBERSHIP,
    name="membership-behind-an-entry",
    about="As membership, by leader 1, with an entry under way before the change, which may be committed without it.",
    opening=(*_led(), (1, Action("propose", b"before"))),
    keeps_opening_messages=True,
    only={"campaign": (2,), "configure": (1,)},
)

MEMBERSHIP_TWO_LEADERS: Final = replace(
    MEMBERSHIP,
    name="membership-two-leaders",
    about="Leader 1 begins a change, leader 2 the same or another; what the first began may be truncated.",
    targets=(Configuration((1, 4)), Configuration((2, 4))),
    counts={"configure": 2},
    only={"campaign": (2,)},
)

SNAPSHOT: Final = CoreScope(
    name="snapshot",
    about="Member 3 lags, the leader's log no longer reaches it, a snapshot goes there; a crash, and another leader.",
    opening=(
        *_led(),
        (1, Action("propose", b"while 3 is away")),
        (0, Action("settle", (1, 2))),
    ),
    terms=2,
    counts={"snapshot": 1, "restart": 1, "beat": 1},
    only={"snapshot": (1,), "restart": (3,), "campaign": (1, 2)},
)

LATE_SNAPSHOT: Final = CoreScope(
    name="late-snapshot",
    about="A snapshot goes to a member that meanwhile gets, and acknowledges, its last entry and one more by appends.",
    opening=(
        *_led(),
        (1, Action("propose", b"in the snapshot")),
        (1, Action("propose", b"after it")),
        (2, Action("hear", 1)),  # the first of the two appends
        (1, Action("hear", 2)),
        (1, Action("snapshot")),
    ),
    keeps_opening_messages=True,
    terms=2,
    slow_disks=False,
    counts={"beat": 1},
    only={"beat": (1,), "campaign": (2,)},
)

READ_INDEX: Final = CoreScope(
    name="read-index",
    about="A read, a write, two leaders, and answers that come as late as they like.",
    opening=_led(),
    terms=2,
    slow_disks=False,
    keeps_opening_messages=True,  # late answers to older beats
    counts={"read": 1, "propose": 1},
    only={"campaign": (2,)},
)

RECOVERING: Final = CoreScope(
    name="recovering",
    about="A member loses its disk, or the end of its log and its vote, and comes back by the recovering protocol.",
    opening=_led(),
    terms=2,
    slow_disks=False,
    counts={"lose": 1, "beat": 1},
    only={"lose": (2,), "campaign": (3,)},
)

RECOVERING_VOTES: Final = CoreScope(
    name="recovering-votes",
    about="A member that is one of the two that have a committed entry loses its disk; anybody campaigns.",
    opening=(*_led(), (1, Action("propose", b"while 3 is away")), (0, Action("settle", (1, 2)))),
    terms=2,
    counts={"lose": 1},
    only={"lose": (2,)},
)

CORE_SCOPES: Final = (
    # The largest first: processes that share them end at about the same time.
    FIGURE_8,
    RECOVERING,
    ELECTION,
    CRASH,
    PRE_VOTE,
    STALE_PRE_VOTES,
    PEER_DOWN,
    PEER_DOWN_AT_FIRST,
    SOLE,
    SHORT_APPEND,
    MEMBERSHIP,
    MEMBERSHIP_TWICE,
    MEMBERSHIP_BEHIND_AN_ENTRY,
    MEMBERSHIP_TWO_LEADERS,
    SNAPSHOT,
    LATE_SNAPSHOT,
    READ_INDEX,
    RECOVERING_VOTES,
)

LEASES: Final = LeaseScope(
    name="leases",
    about="A session at a follower: two keepalives against its expiry.",
    terms=1,
    moments=2,
    keepalives=2,
    client_at=2,
)

LEASES_OF_TWO_LEADERS: Final = LeaseScope(
    name="leases-two-leaders",
    about="The same with one keepalive, and another leader.",
    terms=2,
    moments=2,
    keepalives=1,
    client_at=2,
    rounds=1,
    campaigners=(3,),
)

SCOPES: Final[dict[str, CoreScope | LeaseScope]] = {
    scope.name: scope for scope in (*CORE_SCOPES, LEASES, LEASES_OF_TWO_LEADERS)
}
"""All of these are complete within CI's time."""

LARGE_SCOPES: Final[dict[str, CoreScope | LeaseScope]] = {
    scope.name: scope
    for scope in (
        replace(CRASH, name="crash-twice", counts={"propose": 1, "restart": 2}, only={}),
        replace(CRASH, name="crash-three-terms", terms=3),
        replace(ELECTION, name="election-entry", counts={"propose": 1, "restart": 1}),
        replace(PRE_VOTE, name="pre-vote-slow-disks", slow_disks=True, counts={"propose": 1, "restart": 1}),
        replace(FIGURE_8, name="figure-8-restart", counts={"restart": 1}),
        replace(MEMBERSHIP, name="membership-crash", slow_disks=True, counts={"configure": 1, "restart": 1}),
        replace(SNAPSHOT, name="snapshot-beats", beats=True, only={"snapshot": (1,), "restart": (1, 3)}),
        replace(READ_INDEX, name="read-index-twice", counts={"read": 2, "propose": 1, "beat": 1}, only={}),
        replace(RECOVERING, name="recovering-anybody", counts={"lose": 1, "propose": 1, "beat": 2}, only={}),
        replace(STALE_PRE_VOTES, name="stale-pre-votes-anybody", only={}),
        replace(SHORT_APPEND, name="short-append-anybody", beats=True, counts={}, only={}),
        replace(MEMBERSHIP_TWO_LEADERS, name="membership-three-terms", terms=3, only={"campaign": (1, 2)}),
        replace(LATE_SNAPSHOT, name="late-snapshot-crash", counts={"beat": 1, "restart": 1}),
        replace(RECOVERING_VOTES, name="recovering-votes-beats", beats=True),
        replace(LEASES, name="leases-long", terms=2, moments=3),
    )
}
"""For as long as there is time: most would need hours and many gigabytes to be complete."""

LARGE_LIMIT: Final = 2_000_000
"""States of a large scope when nothing else is asked for: about a gigabyte, and some minutes."""
