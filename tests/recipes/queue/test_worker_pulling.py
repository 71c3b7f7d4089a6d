"""What a worker asks for, against a model of folders with tasks in them. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from random import Random

import pytest

from coord.recipes.queue.worker.pulling import BATCH_MAX, Action, Pulling, What


def asks(actions: list[Action]) -> dict[str, int]:
    return {each.folder: each.number for each in actions if each.what is What.ASK}


def test_it_asks_for_as_many_as_there_is_room_for_and_waits_where_there_is_nothing() -> None:
    pulling = Pulling()
    pulling.add("a")
    assert pulling.next(10) == [Action(What.ASK, "a", 10)]
    assert pulling.next(10) == []  # one request of each folder
    pulling.answered("a")
    assert pulling.next(7) == [Action(What.ASK, "a", 7)]
    pulling.waits("a")
    assert pulling.idle
    assert pulling.next(7) == []
    pulling.answered("a")
    assert pulling.next(6) == [Action(What.ASK, "a", 6)]  # it may not be alone
    pulling.answered("a")
    assert pulling.next(0) == []
    assert pulling.next(2) == [Action(What.ASK, "a", 2)]


def test_room_is_shared_among_folders_and_they_take_turns() -> None:
    pulling = Pulling()
    for folder in "abc":
        pulling.add(folder)
    assert asks(pulling.next(10)) == {"a": 4, "b": 3, "c": 3}
    for folder in "abc":
        pulling.answered(folder)
    seen = Counter[str]()
    for _ in range(6):  # one slot at a time: nobody is passed over
        [action] = pulling.next(1)
        seen[action.folder] += 1
        pulling.answered(action.folder)
    assert seen == {"a": 2, "b": 2, "c": 2}


def test_what_is_asked_for_elsewhere_is_no_room() -> None:
    pulling = Pulling()
    pulling.add("a")
    assert asks(pulling.next(5)) == {"a": 5}
    pulling.add("b")
    assert pulling.next(5) == []
    assert asks(pulling.next(6)) == {"b": 1}
    pulling.add("c")
    pulling.waits("a")  # it finds nothing: others may have its room
    assert asks(pulling.next(6)) == {"c": 5}


def test_a_busy_worker_takes_back_what_waits() -> None:
    pulling = Pulling()
    for folder in "ab":
        pulling.add(folder)
    pulling.next(2)
    pulling.waits("a")
    pulling.waits("b")
    assert pulling.next(2) == []
    pulling.answered("a")
    assert pulling.next(0) == [Action(What.WITHDRAW, "b")]
    assert pulling.next(0) == []
    assert not pulling.quiet
    pulling.answered("b")  # it is over; or it was granted before that
    assert pulling.quiet
    assert asks(pulling.next(2)) == {"a": 1, "b": 1}


def test_a_stopped_one_asks_for_nothing() -> None:
    pulling = Pulling()
    for folder in "abc":
        pulling.add(folder)
    pulling.next(3)
    pulling.waits("a")
    pulling.stop()
    assert pulling.next(2) == [Action(What.WITHDRAW, "a")]
    pulling.waits("b")  # it was asked before that
    assert pulling.next(2) == [Action(What.WITHDRAW, "b")]
    assert not pulling.quiet
    for folder in "abc":
        pulling.answered(folder)
    assert pulling.quiet
    assert pulling.next(2) == []


def test_a_batch_has_a_bound() -> None:
    pulling = Pulling()
    pulling.add("a")
    assert asks(pulling.next(100_000)) == {"a": BATCH_MAX}


def test_a_folder_that_goes_and_comes_again() -> None:
    pulling = Pulling()
    pulling.add("a")
    pulling.next(1)
    pulling.remove("a")
    pulling.remove("a")
    pulling.waits("a")  # late: of a folder that is gone
    pulling.answered("a")
    assert pulling.next(1) == []
    pulling.add("a")
    pulling.add("a")
    assert asks(pulling.next(1)) == {"a": 1}


@dataclass
class Service:
    """Folders with so many tasks each; requests are answered in any order."""

    tasks: Counter[str] = field(default_factory=Counter)
    out: list[Action] = field(default_factory=list)
    waiting: set[str] = field(default_factory=set)
    """Those of ``out`` that stand in line."""


@pytest.mark.parametrize("seed", range(40))
def test_nothing_is_forgotten_and_never_more_is_asked_than_fits(seed: int) -> None:
    dice = Random(seed)
    folders = "abcd"[: dice.randint(1, 4)]
    slots = dice.randint(1, 6)
    service = Service(Counter({each: dice.randint(0, 20) for each in folders}))
    pulling = Pulling()
    running = 0
    for folder in folders:
        pulling.add(folder)
    left = 400
    while True:
        free = slots - running
        actions = pulling.next(free)
        asked = sum(
            each.number
            for each in service.out
            if each.what is What.ASK and each.folder not in service.waiting
        )
        new = sum(each.number for each in actions if each.what is What.ASK)
        assert not new or asked + new <= free
        for action in actions:
            if action.what is What.WITHDRAW:
                [waits] = [each for each in service.out if each.folder == action.folder]
                assert waits.folder in service.waiting
                service.out.remove(waits)
                service.waiting.remove(waits.folder)
            service.out.append(action)
        assert len({each.folder for each in service.out}) == len(service.out)
        if left:
            left -= 1
            if dice.random() < 0.2:
                service.tasks[dice.choice(folders)] += dice.randint(1, 5)
        can = [
            each for each in service.out if each.folder not in service.waiting or service.tasks[each.folder]
        ]
        if can and (not running or dice.random() < 0.7):
            action = dice.choice(can)
            folder = action.folder
            if action.what is What.ASK and not service.tasks[folder]:
                service.waiting.add(folder)
                pulling.waits(folder)
                continue
            found = 1 if folder in service.waiting else min(action.number, service.tasks[folder])
            if action.what is What.WITHDRAW:
                found = dice.choice((0, min(1, service.tasks[folder])))
            taken = min(found, slots - running)  # the rest is handed back
            service.tasks[folder] -= taken
            running += taken
            service.out.remove(action)
            service.waiting.discard(folder)
            pulling.answered(folder)
        elif running:
            running -= dice.randint(1, running)
        elif not left and not actions:
            break
    assert not +service.tasks  # whatever there was has been run
    assert pulling.idle
