"""An entry that is applied in parts is the entry that is applied at once: same answers, same state."""

import random
from typing import Any

import pytest

from coord.api.commands import END_SESSION, EXPIRE_SESSIONS, OPEN_SESSION, REQUESTS, SET_LIMITS, Command
from coord.api.errors import OK, ReplyForgotten
from coord.api.ops import (
    Claim,
    ClaimFirst,
    Create,
    Delete,
    Get,
    HoldBack,
    Kind,
    List,
    Multi,
    Op,
    Release,
    Set,
)
from coord.limits import StoreLimits, limit_names
from coord.store.store import Store
from coord.store.work import NO_END
from tests.store.machine import Machine, picture, plain

PATHS = ("/a", "/b", "/c", "/d/x", "/d/y")


def some_op(dice: random.Random) -> Op:
    path = dice.choice(PATHS)
    ops: list[Op] = [
        Set(path, b"%d" % dice.randrange(99), create=True, parents=True),
        Create("/d/e-", b"", Kind.EPHEMERAL, sequential=True, parents=True),
        Create("/d/t-", b"", Kind.TTL, ttl_ms=20, sequential=True, parents=True),
        Delete(dice.choice(("/d", "/a")), subtree=True),
        Multi((), (Set("/a", b"1"), List("/d"), Get("/nowhere"))),
        Multi((), (Set("/a", b"2", create=True), List("/"), Get("/a"))),
        Claim(path, wait=dice.random() < 0.7, create=True, parents=True),
        ClaimFirst("/d", 2, wait=True),
        Release(dice.randrange(1, 40), force=True),
        HoldBack("/d/x", dice.choice((0, 30))),
    ]
    return dice.choice(ops)


class Play:
    """Random entries of several commands of several sessions, with retries and ends among them."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.time_ms = 1_000
        self.openings = 0
        self.next_request: dict[int, int] = {}

    def command(self) -> Command:
        dice = self.dice
        if not self.next_request or dice.random() < 0.1:
            self.openings += 1
            self.next_request[self.openings] = 1
            return (OPEN_SESSION, 1, 7, self.openings, 5_000, b"d" * 32, "", "me")
        session = dice.choice(list(self.next_request))
        if dice.random() < 0.06:
            return (END_SESSION, session, 0)
        if dice.random() < 0.06:
            return (EXPIRE_SESSIONS, dice.sample(list(self.next_request), min(3, len(self.next_request))))
        first = max(self.next_request[session] - dice.choice((0, 0, 3)), 1)
        rows = [[first + place, some_op(dice).row()] for place in range(dice.randint(1, 6))]
        if dice.random() < 0.3:
            rows.append([first, rows[0][1]])  # the same once more, within its frame
        self.next_request[session] = max(self.next_request[session], first + 6)
        return (REQUESTS, session, max(first - dice.choice((1, 8)), 0), rows)

    def entry(self) -> tuple[int, int, list[Command]]:
        self.time_ms += self.dice.choice((0, 5, 50))
        return self.time_ms, self.time_ms, [self.command() for _ in range(self.dice.randint(0, 5))]


def in_parts(
    store: Store, index: int, entry: tuple[int, int, list[Command]], dice: random.Random
) -> list[Any]:
    """The answers, those of one command together."""
    store.begin(index, *entry)
    told: list[tuple[Command, Any, bool]] = []
    while store.underway is not None:
        assert store.applied_index == index - 1
        assert store.history.last_revision == store.revision
        told += store.go_on(store.work.done + dice.choice((1, 20, 60)))
    answers: list[Any] = []
    place = 0
    for command in entry[2]:
        if command[0] != REQUESTS:
            answers.append(told[place][1])
            place += 1
            continue
        rows: list[Any] = []
        while len(rows) < len(command[3]):
            part, replies, whole = told[place]
            assert part is command
            rows += replies
            assert whole == (len(rows) == len(command[3]))
            place += 1
        assert [row[0] for row in rows] == [request for request, _ in command[3]]
        answers.append(rows)
    assert place == len(told)
    return answers


@pytest.mark.parametrize("seed", range(12))
def test_wherever_it_is_cut_it_is_the_same(seed: int) -> None:
    play, dice = Play(seed), random.Random(seed)
    limits = StoreLimits(replies_per_session=4, reply_bytes_per_session=200)
    at_once, cut = Store(), Store()
    wanted = {each: getattr(limits, each) for each in limit_names(StoreLimits)}
    for store in (at_once, cut):
        store.apply(1, 0, 0, [(SET_LIMITS, wanted)])
    parts = 0
    for index in range(2, 80):
        entry = play.entry()
        answers = at_once.apply(index, *entry)
        before = cut.work.done
        assert plain(in_parts(cut, index, entry, dice)) == plain(answers)
        parts += cut.work.done - before
        assert plain(cut.take_fresh()) == plain(at_once.take_fresh())
        assert cut.take_ended() == at_once.take_ended()
    assert picture(cut) == picture(at_once)
    assert cut.work.done == at_once.work.done  # the same way to the same state


def test_a_frame_forgets_at_its_end_wherever_it_is_cut() -> None:
    """1. A frame of three, of which the session may remember one; the first comes again at the end of it. 2. It is
    known there still, on who applied the frame at once; so it must be on who did not.
    """
    machine = Machine(StoreLimits(replies_per_session=1))
    store = machine.store
    rows = [
        (1, Create("/a").row()),
        (2, Set("/a", b"2").row()),
        (3, Set("/a", b"3").row()),
        (1, Create("/a").row()),
    ]
    store.begin(store.applied_index + 1, 0, 0, [(REQUESTS, machine.session, 0, rows)])
    replies: list[Any] = []
    while store.underway is not None:
        for _, answer, _ in store.go_on(store.work.done + 1):
            replies += answer  # type: ignore[arg-type]
    assert [(reply[0], reply[1]) for reply in replies] == [(1, OK), (2, OK), (3, OK), (1, OK)]
    again = machine.requests([(2, Set("/a", b"2"))])
    assert again[0][1] == ReplyForgotten.code


def test_one_entry_after_another() -> None:
    machine = Machine()
    store = machine.store
    rows = [(number, Set("/a", b"", create=True).row()) for number in (1, 2)]
    store.begin(store.applied_index + 1, 0, 0, [(REQUESTS, machine.session, 0, rows)])
    store.go_on(1)
    assert store.revision == 1
    for wrong in (lambda: store.skip(99), lambda: store.begin(99, 0, 0, [])):
        with pytest.raises(Exception, match="each whole"):
            wrong()
    store.go_on(NO_END)
    store.skip(99)


def test_what_is_counted_grows_with_what_is_asked_for() -> None:
    machine = Machine()
    for number in range(300):
        machine.do(Create(f"/p/{number}", b"x", parents=True))
        machine.do(Claim(f"/p/{number}"))
    work = machine.store.work

    def takes(op: Op, reads: bool = True) -> int:
        before = work.done
        (machine.read if reads else machine.reply)(op)
        return work.done - before

    assert takes(Get("/p/1")) < 20
    assert 300 < takes(List("/p")) < takes(List("/p", values=True)) < 5_000
    assert takes(List("/p", limit=10)) < 50
    assert takes(Set("/p/1", b"y"), reads=False) < 50
    assert takes(ClaimFirst("/p", 1), reads=False) > 300  # all are held: looked at once
    # Refused, and work all the same.
    assert takes(Multi((), (*[Set("/p/1", b"z")] * 100, Get("/nowhere"))), reads=False) > 500
    assert takes(Delete("/p", subtree=True), reads=False) > 300 * 5
