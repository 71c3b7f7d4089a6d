"""Partitions spread over the members of a group, as ``coord.recipes.partitioning`` does it.

Each process is a member while its session lives; it lists the members, reckons its share by the recipe's own
``share_of``, claims what falls to it, gives up what does not any more, and writes below the fence of each partition
that it owns. Tries to have a partition with two owners, by tokens: members come, leave, expire, move and stand still;
some write once more to what they have given up. ``claims``, ``exclusion`` and ``fences`` judge that, of all
``coord.jepsen_like.checkers``; here it is judged that members who see the same group reckon one owner for each
partition, and shares that differ by one at most, and that the tokens seen in each partition grow.
"""

from collections.abc import Generator, Sequence
from functools import partial
from random import Random
from typing import Any

from coord.api.ops import Claim, Create, Delete, Fence, FencedWrite, Get, Kind, List, Release, Set
from coord.api.results import Claiming, Page
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Note, Record
from coord.jepsen_like.workloads.fences import QUIET_MS, check_tokens_grow
from coord.jepsen_like.workloads.parts import insist, think
from coord.jepsen_like.workloads.workload import (
    AwaitGrant,
    Check,
    EndSession,
    MoveAway,
    Pause,
    Process,
    Say,
    Script,
    Step,
)
from coord.recipes.partitioning import share_of

ROOT = "/shards"
MEMBERS = f"{ROOT}/members"
PARTITIONS = f"{ROOT}/partitions"
DATA = f"{ROOT}/data"
COUNTS = (1, 3, 5)
PROMISE = "one owner is reckoned"


def register(number: int) -> str:
    return f"{DATA}/{number}/register"


def check_shares(records: Sequence[Record]) -> list[Violation]:
    """Of members that have listed the same names: no partition falls to two, none to nobody, and shares differ by one
    at most.
    """
    seen: dict[tuple[str, ...], dict[str, tuple[list[int], int]]] = {}
    count = 0
    found: list[Violation] = []
    for place, each in enumerate(records):
        if isinstance(each, Note) and each.what == "share":
            count, name, numbers = each.facts["of"], each.facts["name"], each.facts["numbers"]
            names = tuple(each.facts["names"])
            before = seen.setdefault(names, {}).setdefault(name, (numbers, place))
            if before[0] != numbers:
                what = f"{name} reckons {numbers} of {list(names)} to be its own, after {before[0]}"
                found.append(Violation(PROMISE, what, (before[1], place)))
    for names, shares in seen.items():
        owner: dict[int, int] = {}
        least = count // len(names)
        for name, (numbers, place) in shares.items():
            if not least <= len(numbers) <= least + 1:
                what = f"{name} is to have {len(numbers)} of {count} partitions, among {len(names)} members"
                found.append(Violation(PROMISE, what, (place,)))
            for number in numbers:
                if owner.setdefault(number, place) != place:
                    what = f"partition {number} falls to two of {list(names)}"
                    found.append(Violation(PROMISE, what, (owner[number], place)))
        if len(shares) == len(names) and len(owner) < count:
            missing = sorted(set(range(count)) - owner.keys())
            places = tuple(place for _, place in shares.values())
            found.append(Violation(PROMISE, f"partitions {missing} fall to none of {list(names)}", places))
    return found


class Shards:
    name = "shards"
    checks: tuple[Check, ...] = (
        check_shares,
        *(partial(check_tokens_grow, register=register(number)) for number in range(max(COUNTS))),
    )

    def __init__(self, dice: Random) -> None:
        self._count = dice.choice(COUNTS)
        self._work_ms = dice.choice((5, 30, 200))
        self._patience_ms = dice.choice((10, 200, 1_000))
        self._rough = dice.choice((0.02, 0.1))
        self._late = dice.choice((0.1, 0.4))

    def setup(self) -> Script:
        for path in (ROOT, MEMBERS, PARTITIONS, DATA):
            yield from insist(Create(path), "exists")
        for number in range(self._count):
            yield from insist(Create(f"{PARTITIONS}/{number}"), "exists")
            yield from insist(Create(f"{DATA}/{number}"), "exists")
            yield from insist(Fence(f"{DATA}/{number}", f"{PARTITIONS}/{number}"), "stale_token")

    def process(self, me: Process) -> Script:
        if not me.has_session:
            while True:
                yield Get(register(me.dice.randrange(self._count)))
                yield think(me, self._work_ms)
        while True:
            yield from self._be_a_member(me, f"m{me.number}")
            yield think(me, self._work_ms)

    def finish(self, me: Process) -> Script:
        yield Pause(QUIET_MS)
        for number in range(self._count):
            yield from insist(Get(register(number)), "not_found")

    def _be_a_member(self, me: Process, name: str) -> Script:
        """Until the session ends, or it leaves."""
        joined = yield Create(f"{MEMBERS}/{name}", me.fresh(), Kind.EPHEMERAL)
        if joined.outcome != "ok":
            return  # a former self is there, until its session has ended
        session = me.session
        claims: dict[int, int] = {}
        """Partition -> the number of its claim, held or waiting."""
        tokens: dict[int, int] = {}
        while me.session == session:
            listed = yield List(MEMBERS)
            if not isinstance(listed.result, Page):
                continue
            names = [child.name for child in listed.result.children]
            if name not in names:
                break
            wanted = share_of(name, names, self._count)
            yield Say("share", {"name": name, "names": names, "numbers": wanted, "of": self._count})
            for number in [each for each in claims if each not in wanted]:
                yield from self._give_up(me, number, claims.pop(number), tokens.pop(number, 0))
            for number in [each for each in wanted if each not in claims]:
                done = yield Claim(f"{PARTITIONS}/{number}", wait=True, label=me.fresh(), create=True)
                if isinstance(done.result, Claiming):
                    claims[number] = done.result.number
            yield from self._work(me, claims, tokens)
            if me.dice.random() < self._rough:
                yield me.dice.choice((EndSession(), MoveAway(), Delete(f"{MEMBERS}/{name}")))
        for number, claim in claims.items():
            yield from self._give_up(me, number, claim, tokens.get(number, 0))

    def _work(
        self, me: Process, claims: dict[int, int], tokens: dict[int, int]
    ) -> Generator[Step, Any, None]:
        for number, claim in list(claims.items()):
            if number not in tokens:
                granted = yield AwaitGrant(claim, me.dice.randint(0, self._patience_ms))
                if granted is None:
                    del claims[number]  # lost: it is claimed again, if it still falls to us
                    continue
                if not granted.token:
                    continue  # its former owner has it still
                tokens[number] = granted.token
            write = yield self._write(me, number, tokens[number])
            if write.error == "stale_token":
                del claims[number], tokens[number]
            yield think(me, self._work_ms)

    def _give_up(self, me: Process, number: int, claim: int, token: int) -> Script:
        yield Release(claim)
        if token and me.dice.random() < self._late:
            yield self._write(me, number, token)  # by a part of it that has not heard

    def _write(self, me: Process, number: int, token: int) -> FencedWrite:
        return FencedWrite(((1, token),), Set(register(number), b"%d %s" % (token, me.fresh()), create=True))
