"""Random commands: the store against the model, and against a copy made by a snapshot taken while it went on."""

import random
from typing import Any

import pytest

from coord.api.commands import END_SESSION, EXPIRE_SESSIONS, OPEN_SESSION, REQUESTS, Command
from coord.api.ops import Compare, Create, Delete, Exists, Get, Kind, List, Multi, Operator, Set, Target
from coord.store.snapshot import StoreSnapshot
from coord.store.store import Answer, Store
from coord.wire.cbor import dumps, loads
from tests.store.machine import Machine, loaded, picture, plain
from tests.store.model import Model, same_as

NAMES = ("a", "b", "c")


def some_path(dice: random.Random) -> str:
    return "/" + "/".join(dice.choice(NAMES) for _ in range(dice.choice((1, 1, 2, 2, 3))))


def some_conditions(dice: random.Random, machine: Machine) -> dict[str, int]:
    if dice.random() < 0.7:
        return {}
    if dice.random() < 0.5:
        return {"version": dice.randrange(3)}
    return {"revision": dice.randrange(machine.store.revision + 1)}


def some_tree_op(dice: random.Random, machine: Machine) -> Any:
    path = some_path(dice)
    value = bytes([dice.randrange(256)]) * dice.randrange(4)
    pick = dice.random()
    if pick < 0.35:
        kind = dice.choice((Kind.PERSISTENT, Kind.PERSISTENT, Kind.EPHEMERAL, Kind.CONTAINER, Kind.TTL))
        return Create(
            path, value, kind, dice.random() < 0.2, dice.random() < 0.5,
            dice.choice((20, 50)) if kind is Kind.TTL else 0,
        )  # fmt: skip
    if pick < 0.6:
        return Set(
            path,
            value,
            create=dice.random() < 0.4,
            parents=dice.random() < 0.5,
            **some_conditions(dice, machine),
        )
    if pick < 0.8:
        return Delete(path, subtree=dice.random() < 0.5, **some_conditions(dice, machine))
    return dice.choice(
        (Get(path, **some_conditions(dice, machine)), Exists(path), List(path, limit=dice.choice((1, 100))))
    )


def some_op(dice: random.Random, machine: Machine) -> Any:
    while True:
        if dice.random() < 0.25:
            compare = []
            for _ in range(dice.randrange(3)):
                target = dice.choice([each for each in Target if each < Target.CLAIM_TOKEN])
                operator = dice.choice(list(Operator)[:2] if target is Target.EXISTS else list(Operator))
                operand: Any = dice.randrange(4)
                if target is Target.EXISTS:
                    operand = dice.random() < 0.5
                elif target is Target.VALUE:
                    operand = bytes([dice.randrange(256)])
                compare.append(Compare(target, some_path(dice), operator, operand))
            branches = [
                tuple(some_tree_op(dice, machine) for _ in range(dice.choice((0, 1, 2, 4, 6))))
                for _ in range(2)
            ]
            return Multi(tuple(compare), *branches)
        op = some_tree_op(dice, machine)
        if isinstance(op, Create | Set | Delete):
            return op


class Copy:
    """A second replica: made from a snapshot that is taken while the first goes on, then given what came after it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.snapshot: StoreSnapshot | None = None
        self.sections: list[bytes] = []
        self.pictured: dict[str, Any] = {}
        self.store: Store | None = None
        self.entries: list[tuple[int, int, int, list[Command], list[Answer]]] = []

    def begin(self) -> None:
        self.pictured = picture(self.machine.store)
        self.snapshot = StoreSnapshot(self.machine.store, 120)

    def entry(self, commands: list[Command], answers: list[Answer]) -> None:
        machine = self.machine
        if self.snapshot or self.store:
            index = machine.store.applied_index
            self.entries.append((index, machine.now_ms, machine.wall_ms, loads(dumps(commands)), answers))

    def go_on(self, sections: int) -> None:
        for _ in range(sections if self.snapshot else 0):
            assert self.snapshot is not None
            section = self.snapshot.next_section()
            if section is None:
                self.snapshot.close()
                self.snapshot = None
                assert self.machine.store.tree.keep is None
                self.store = loaded(self.sections)
                assert picture(self.store) == self.pictured
                break
            self.sections.append(dumps(list(section)))
        if self.store is not None:
            for index, time_ms, wall_ms, commands, answers in self.entries:
                again = self.store.apply(index, time_ms, wall_ms, [tuple(each) for each in commands])
                assert plain(again) == plain(answers)
            self.entries.clear()
            assert picture(self.store) == picture(self.machine.store)


@pytest.mark.parametrize("seed", range(25))
def test_store_model_and_snapshot_agree(seed: int) -> None:
    dice = random.Random(seed)
    machine, model = Machine(), Model()
    copy = Copy(machine)
    model.open()
    model.pass_time(machine.now_ms)
    next_request = {machine.session: 1}
    frames: dict[int, list[tuple[int, list[Any]]]] = {}

    for step in range(120):
        if step == 20:
            copy.begin()
        if dice.random() < 0.07:
            machine.openings += 1
            opening: list[Command] = [(OPEN_SESSION, 1, 77, machine.openings, 5_000, b"d" * 32, "", "me")]
            copy.entry(opening, opened := machine.apply(*opening))
            session = model.open()
            model.sweep()
            assert opened[0] is not None
            assert opened[0][0] == session
            next_request[session] = 1
        advance_ms = dice.choice((0, 0, 5, 15))
        machine.now_ms += advance_ms
        model.pass_time(advance_ms)
        commands: list[Command] = []
        expected: list[Any] = []
        for _ in range(dice.choice((0, 1, 1, 2, 4))):
            session = dice.choice(list(next_request))
            if dice.random() < 0.06:
                expires = dice.random() < 0.5
                commands.append((EXPIRE_SESSIONS, [session]) if expires else (END_SESSION, session, 1))
                expected.append(None)
                model.end(session)
                continue
            if dice.random() < 0.15 and frames.get(session):
                confirmed, frame = dice.choice(frames[session])  # a retry, perhaps with an old confirmation
            else:
                first = next_request[session]
                count = dice.choice((1, 2, 5))
                frame = [(first + number, some_op(dice, machine)) for number in range(count)]
                next_request[session] = frame[-1][0] + dice.choice((1, 1, 3))
                confirmed = max(first - dice.choice((1, 3, 20)), 0)
                frames.setdefault(session, []).append((confirmed, frame))
            commands.append((REQUESTS, session, confirmed, [[each, op.row()] for each, op in frame]))
            model.confirm(session, confirmed)
            expected.append([(op, model.request(session, each, op)) for each, op in frame])
        model.sweep()
        answers = machine.apply(*commands)
        for answer, wanted in zip(answers, expected, strict=True):
            if wanted is not None:
                assert isinstance(answer, list)
                for reply, (op, (code, revision, result)) in zip(answer, wanted, strict=True):
                    told = None if reply[1] else same_as(op, plain(reply[4]))
                    assert (reply[1], reply[2], told) == (code, revision, plain(result)), (seed, step, op)
        compare(machine, model)
        copy.entry(commands, answers)
        copy.go_on(dice.randrange(4))
    assert copy.store is not None
    assert picture(copy.store) == picture(machine.store)


def compare(machine: Machine, model: Model) -> None:
    store = machine.store
    assert store.revision == model.revision
    assert sorted(store.tree.znodes) == sorted(model.nodes)
    for path, each in model.nodes.items():
        found = store.tree.znodes[path]
        wanted = (
            each["value"], each["created"], each["modified"], each["version"], each["touched"], each["owner"],
            each["kind"], each["ttl_ms"], each["next"],
        )  # fmt: skip
        assert (
            found[0],
            found[1],
            found[2],
            found[4],
            found[5],
            found[6],
            found[9],
            found[10],
            found[12],
        ) == wanted
        if each["ttl_ms"]:
            assert found[11] == each["deadline_ms"]
    assert {session: list(each.replies) for session, each in store.sessions.items()} == {
        session: list(replies) for session, replies in model.sessions.items()
    }
