"""Random commands about claims and fences: the store against the model, and against a copy that a snapshot made."""

import random
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coord.api.commands import END_SESSION, EXPIRE_SESSIONS, OPEN_SESSION, REQUESTS, Command
from coord.api.events import CLAIMED, DELETED, QUEUED, RELEASED, WITHDRAWN, Reason
from coord.api.ops import (
    Claim,
    ClaimFirst,
    ClaimSettings,
    Compare,
    Create,
    Delete,
    Fence,
    FencedWrite,
    HoldBack,
    Kind,
    Lane,
    Multi,
    Operator,
    Release,
    Set,
    SetLanes,
    Target,
)
from coord.api.paths import parent
from coord.store import granting
from coord.store.claims import FIRST, SHARED
from tests.store.claims_model import ClaimsModel
from tests.store.machine import Machine, check_claims, plain
from tests.store.model import same_as
from tests.store.test_model import Copy
from tests.store.test_model import compare as compare_trees

SEEDS = 30

PATHS = ("/a", "/q", "/q/1", "/q/2", "/q/2/x", "/d", "/")


def some_claim(dice: random.Random, wait: bool = True) -> Claim:
    return Claim(
        dice.choice(PATHS),
        wait and dice.random() < 0.7,
        dice.random() < 0.3,
        dice.choice((1, 1, 1, 2, 3)),
        dice.choice((b"", b"me")),
        dice.random() < 0.4,
        dice.random() < 0.5,
        dice.choice((0, 0, 0, 0, 0, 1, 2)),
    )


def some_release(dice: random.Random, model: ClaimsModel) -> Release:
    number = dice.choice([each["number"] for each in model.claims] or [1])
    to = 0
    if dice.random() < 0.3:
        mine = next((each for each in model.claims if each["number"] == number), None)
        waiters = [each["number"] for each in model.claims if not mine or each["path"] == mine["path"]]
        to = dice.choice(waiters or [2])
    return Release(number, to, dice.random() < 0.5)


def some_lanes(dice: random.Random, path: str) -> SetLanes:
    names = dice.sample(("x", "y", "z"), dice.choice((0, 1, 1, 2)))
    return SetLanes(
        path,
        tuple(
            Lane(name, dice.choice((0, 1, 1, 2)), dice.choice((0, 0, 10, 25)), dice.choice((1, 1, 2)))
            for name in names
        ),
    )


def some_part(dice: random.Random, model: ClaimsModel) -> Any:
    """What may stand in a multi."""
    path = dice.choice(PATHS)
    pick = dice.random()
    if pick < 0.3:
        return some_claim(dice, wait=False)
    if pick < 0.5:
        return some_release(dice, model)
    if pick < 0.6:
        return ClaimSettings(path, dice.choice((1, 2, 3)), dice.choice((0, 0, 20)))
    if pick < 0.63:
        return Fence(path, dice.choice((None, *PATHS)))
    if pick < 0.69:
        return HoldBack(path, dice.choice((0, 0, 5, 20, 20, 60, None)))
    if pick < 0.75:
        return some_lanes(dice, path)
    if pick < 0.8:
        return Set(path, b"v", create=dice.random() < 0.3)
    if pick < 0.88:
        return Delete(path, subtree=dice.random() < 0.6, missing_ok=dice.random() < 0.3)
    kind = dice.choice((Kind.PERSISTENT, Kind.CONTAINER, Kind.CONTAINER, Kind.EPHEMERAL, Kind.TTL))
    ttl_ms = dice.choice((20, 50)) if kind is Kind.TTL else 0
    return Create(path, b"", kind, dice.random() < 0.1, dice.random() < 0.5, ttl_ms)


def some_op(dice: random.Random, model: ClaimsModel) -> Any:
    pick = dice.random()
    if pick < 0.35:
        return some_claim(dice)
    if pick < 0.5:
        return ClaimFirst(
            dice.choice(("/q", "/q", "/")), dice.choice((1, 1, 3)), dice.random() < 0.7, dice.random() < 0.3
        )
    op = some_part(dice, model)
    if pick < 0.65:
        compare = [
            Compare(
                dice.choice(list(Target)[-3:]),
                dice.choice(PATHS),
                dice.choice(list(Operator)),
                dice.randrange(4),
            )
            for _ in range(dice.choice((0, 0, 1)))
        ]
        parts = tuple(some_part(dice, model) for _ in range(dice.choice((1, 2, 3, 4))))
        if dice.random() < 0.3:
            parts = (*parts, Multi((), tuple(some_part(dice, model) for _ in range(dice.choice((1, 2))))))
        op = Multi(tuple(compare), parts, (op,))
    if isinstance(op, Create | Set | Delete | Multi | Fence) and (model.fences or dice.random() < 0.1):
        known = [(1, each["token"]) for each in model.claims if each["token"]]
        if dice.random() < 0.8:
            presented = dice.sample(known, min(len(known), dice.choice((1, 2, 4))))
            if dice.random() < 0.2:
                presented.append((dice.choice((1, 2)), dice.randrange(model.revision + 2)))
            op = FencedWrite(tuple(presented), op)
    return op


KINDS = {CLAIMED: "claimed", RELEASED: "released", QUEUED: "queued", WITHDRAWN: "withdrawn"}
KIND_NUMBERS = {word: kind for kind, word in KINDS.items()}
WHYS = {
    Reason.REQUEST: ("", "released"),
    Reason.SESSION_ENDED: ("ended",),
    Reason.SESSION_EXPIRED: ("expired",),
    Reason.FORCED: ("forced",),
    Reason.ZNODE_DELETED: ("deleted",),
    Reason.TRANSFERRED: ("handed on",),
}


class Play:
    """The store and the model, told the same things."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.machine, self.model = Machine(), ClaimsModel()
        self.copy = Copy(self.machine)
        self.model.open()
        self.model.pass_time(self.machine.now_ms)
        self.next_request = {self.machine.session: 1}

    def open(self) -> None:
        machine = self.machine
        machine.openings += 1
        opening: list[Command] = [(OPEN_SESSION, 1, 77, machine.openings, 5_000, b"d" * 32, "", "me")]
        self.copy.entry(opening, opened := machine.apply(*opening))
        session = self.model.open()
        self.model.sweep()
        assert opened[0] is not None
        assert opened[0][0] == session
        self.next_request[session] = 1

    def step(self) -> None:
        dice, machine, model = self.dice, self.machine, self.model
        if dice.random() < 0.15 and len(self.next_request) < 12:
            self.open()
        advance_ms = dice.choice((0, 0, 5, 15))
        machine.now_ms += advance_ms
        model.pass_time(advance_ms)
        model.begin()
        told = list(model.told)
        before = machine.store.revision
        session = dice.choice(list(self.next_request))
        expected: tuple[Any, ...] | None = None
        op: Any = None
        model.told = []
        if dice.random() < 0.04:
            expires = dice.random() < 0.6
            command: Command = (EXPIRE_SESSIONS, [session]) if expires else (END_SESSION, session, 1)
            model.end_as(session, expires)
        else:
            op = some_op(dice, model)
            request = self.next_request[session]
            self.next_request[session] = request + 1
            command = (REQUESTS, session, 0, [[request, op.row()]])
            expected = model.request(session, request, op)
        told += model.told
        model.sweep()
        told += model.told
        answers = machine.apply(command)
        if expected is not None:
            assert isinstance(answers[0], list)
            (reply,) = answers[0]
            shown = None if reply[1] else self.result(op, plain(reply[4]))
            assert (reply[1], reply[2], shown) == (*expected[:2], plain(expected[2])), op
        self.compare(told, before)
        self.copy.entry([command], answers)
        self.copy.go_on(dice.randrange(4))

    def result(self, op: Any, row: Any) -> Any:
        if isinstance(op, FencedWrite):
            return self.result(op.op, row)
        if isinstance(op, Multi):
            branch = op.then if row[0] else op.otherwise
            return (row[0], tuple(self.result(each, one) for each, one in zip(branch, row[1], strict=True)))
        if isinstance(op, Create | Set | Delete):
            return same_as(op, row)
        return row

    def compare(self, told: list[Any], before: int) -> None:
        store, model = self.machine.store, self.model
        compare_trees(self.machine, model)
        assert {
            number: (path, session, units, flags, label, token)
            for number, path, session, units, flags, label, _, token in store.claims.by_number.values()
        } == {
            each["number"]: (
                each["path"], each["session"], each["units"], SHARED * each["shared"] | FIRST * each["first"],
                each["label"], each["token"],
            )
            for each in model.claims
        }  # fmt: skip
        assert store.claims.next_claim == model.next
        assert store.claims.settings == model.settings
        assert store.claims.delays == model.delays
        assert store.claims.held_back == model.held_back
        assert store.claims.lost == model.lost
        assert store.claims.lanes.of == {path: plain(set_.row()[2]) for path, set_ in lanes_of(model)}
        assert store.claims.lanes.paid_ms == {
            name: paid_ms for name, paid_ms in model.paid_ms.items() if paid_ms > store.time_ms
        }
        assert store.fences.by_path == model.fences
        assert not store.claims.unsettled
        changes = [
            change
            for revision in store.history.since(before + 1)
            for change in revision[3]
            if change[0] in KINDS
        ]
        assert len(changes) == len(told)
        if any(
            why == "deleted" for *_, why, _ in told
        ):  # below the top, a subtree goes in another order in the model
            changes.sort(key=lambda change: (change[1], change[5], change[0]))
            told.sort(key=lambda each: (each[1], each[2], KIND_NUMBERS[each[0]]))
        for change, (kind, path, number, why, lost) in zip(changes, told, strict=True):
            assert (KINDS[change[0]], change[1], change[5]) == (kind, path, number)
            assert kind != "claimed" or change[3] == lost
            assert why in WHYS[Reason(change[6])], (change, why)


def lanes_of(model: ClaimsModel) -> list[tuple[str, SetLanes]]:
    return [(path, SetLanes(path, lanes)) for path, lanes in model.lanes.items()]


def play(dice: random.Random, steps: int) -> Play:
    """Raises where the two differ."""
    play = Play(dice)
    for step in range(steps):
        if step == steps // 3:
            play.copy.begin()
        play.step()
    return play


@cache
def played(seed: int) -> Play:
    return play(random.Random(seed), 150)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_store_model_and_snapshot_agree(seed: int) -> None:
    played(seed)


@given(st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_store_and_model_agree(dice: random.Random) -> None:
    """As above, with dice that hypothesis can make smaller."""
    play(dice, 25)


def test_the_plays_reach_everything() -> None:
    """A model that never meets a case proves nothing about it."""
    met: dict[Any, int] = {}
    for seed in range(SEEDS):
        for revision in played(seed).machine.store.history.since(0):
            for change in revision[3]:
                if change[0] > DELETED:
                    met[(change[0], Reason(change[6]).name)] = (
                        met.get((change[0], Reason(change[6]).name), 0) + 1
                    )
        for session in played(seed).model.sessions.values():
            for code, _, _ in session.values():
                met[code] = met.get(code, 0) + 1
    wanted: list[Any] = [0, 10, 11, 12, 14, 15, 16, 17, 18]
    wanted += [(kind, "REQUEST") for kind in (4, 5, 6, 7, 8, 9, 10, 11)]
    wanted += [
        (kind, why)
        for kind in (5, 7)
        for why in ("SESSION_ENDED", "SESSION_EXPIRED", "FORCED", "ZNODE_DELETED")
    ]
    wanted += [(4, "TRANSFERRED"), (5, "TRANSFERRED")]
    assert {each: met.get(each, 0) for each in wanted if met.get(each, 0) < 3} == {}


@pytest.mark.parametrize("seed", range(10))
def test_what_is_left_over_is_nobody_elses(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two grants in a revision at most: nobody overtakes those whose turn it is, and all get theirs in the end."""
    monkeypatch.setattr(granting, "GRANTS_MAX", 2)
    dice = random.Random(seed)
    machine = Machine()
    store = machine.store
    sessions = [machine.open() for _ in range(5)]
    for path in ("/a", "/q", *(f"/q/{number}" for number in range(8))):
        machine.do(Create(path))
    left_over = 0
    for request in range(100, 350):
        holders = [each[0] for each in store.claims.by_number.values() if each[7]]
        pick = dice.random()
        op: Any
        if pick < 0.45:
            op = Claim("/a", True, dice.random() < 0.8)
        elif pick < 0.65:
            op = ClaimFirst("/q", dice.choice((1, 9)), True)
        elif pick < 0.7:
            op = Claim(f"/q/{dice.randrange(8)}", True)
        elif pick < 0.8 and holders:
            op = Multi(then=tuple(Release(each, 0, True) for each in holders))
        else:
            op = Release(dice.choice(holders or [1]), 0, True)
        waited = {each[0]: each for each in store.claims.by_number.values() if not each[7]}
        before = store.revision
        machine.apply((REQUESTS, dice.choice(sessions), 0, [[request, op.row()]]))
        check_claims(store)
        left_over += bool(store.claims.unsettled)
        for revision in store.history.since(before + 1):
            granted = [change for change in revision[3] if change[0] == CLAIMED]
            assert sum(change[5] in waited for change in granted) <= 2
            for _, path, _, _, _, number, _ in granted:
                for each, claim in waited.items():
                    # Nobody waits still who came before, and wants the same.
                    wants = "/q" if claim[4] & FIRST else claim[1]
                    if each < number and wants in (path, parent(path)) and revision[0] == store.revision:
                        assert (
                            store.claims.by_number.get(each, (0,) * 8)[7]
                            or each not in store.claims.by_number
                        )
        for _ in range(200 if dice.random() < 0.3 else 0):
            if not store.claims.unsettled:
                break
            assert store.next_due_ms is not None
            assert store.next_due_ms <= store.time_ms
            machine.apply()
    assert left_over > 2
    machine.do(Create("/end"))
    for _ in range(500):
        machine.apply()
    assert not store.claims.unsettled
    check_claims(store)
