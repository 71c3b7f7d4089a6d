"""Which worker processes there are, by what happens to them. Pure."""

import signal

from coord.cli.fleet import Fleet, Is, Order, Say, Send, Start


def begun(size: int = 2, ready: bool = True) -> Fleet:
    fleet = Fleet(size)
    fleet.begin()
    assert fleet.take_orders() == [Start(1)]
    if ready:
        fleet.ready(1, 0.0)
        assert fleet.take_orders() == [Start(number + 1) for number in range(1, size)]
        for number in range(1, size):
            fleet.ready(number + 1, 0.0)
        assert fleet.take_orders() == []
    return fleet


def orders(fleet: Fleet) -> list[Order]:
    return [each for each in fleet.take_orders() if not isinstance(each, Say)]


def said(fleet: Fleet) -> str:
    return " ".join(each.text for each in fleet.take_orders() if isinstance(each, Say))


def test_one_that_ends_is_followed_by_another_a_little_later_each_time() -> None:
    fleet = begun()
    fleet.ended(1, -9, 1.0)
    assert orders(fleet) == [Start(3)]
    pauses = []
    now, number = 1.0, 3
    for _ in range(8):
        fleet.ready(number, now)
        fleet.ended(number, 1, now)
        assert orders(fleet) == []
        pauses.append(fleet.due_at - now)
        fleet.tick(fleet.due_at - 0.001)
        assert orders(fleet) == []
        now = fleet.due_at
        fleet.tick(now)
        number += 1
        assert orders(fleet) == [Start(number)]
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    fleet.ready(number, now)
    fleet.ended(number, 1, now + 1000)  # it had worked for long
    assert orders(fleet) == [Start(number + 1)]


def test_when_the_first_never_works_it_gives_up_with_its_code() -> None:
    fleet = begun(ready=False)
    fleet.ended(1, 2, 0.1)
    assert fleet.done
    assert fleet.exit_code == 2
    assert orders(fleet) == []


def test_a_reload_starts_a_fresh_one_before_the_old_one_stops_one_place_at_a_time() -> None:
    fleet = begun()
    fleet.reload()
    assert orders(fleet) == [Start(3)]
    fleet.ready(3, 1.0)
    assert orders(fleet) == [Send(1, signal.SIGTERM), Start(4)]
    fleet.ended(1, 0, 1.5)
    assert orders(fleet) == []
    fleet.ready(4, 2.0)
    assert orders(fleet) == [Send(2, signal.SIGTERM)]
    fleet.ended(2, 0, 3.0)
    assert {each.number for each in fleet.processes.values() if each.state is Is.READY} == {3, 4}
    assert not fleet.done


def test_a_reload_to_code_that_cannot_be_loaded_changes_nothing() -> None:
    fleet = begun()
    fleet.reload()
    fleet.take_orders()
    fleet.ended(3, 2, 1.0)
    assert "reload has failed" in said(fleet)
    assert [each.state for each in fleet.processes.values()] == [Is.READY, Is.READY]
    fleet.reload()
    assert orders(fleet) == [Start(4)]


def test_an_old_one_that_dies_during_the_reload_is_not_started_again() -> None:
    fleet = begun(1)
    fleet.reload()
    fleet.take_orders()
    fleet.ended(1, -9, 1.0)
    assert orders(fleet) == []
    fleet.ready(2, 1.5)
    assert orders(fleet) == []
    assert [each.number for each in fleet.processes.values()] == [2]


def test_a_reload_while_one_waits_to_be_started_again_does_not_start_two() -> None:
    fleet = begun(1)
    fleet.ended(1, 1, 1.0)
    fleet.ended(2, 1, 1.0)
    assert fleet.due_at == 2.0
    fleet.reload()
    assert orders(fleet) == [Start(2), Start(3)]
    fleet.tick(5.0)
    assert orders(fleet) == []


def test_stopping_is_asked_for_and_asked_for_again_and_then_done() -> None:
    fleet = begun()
    fleet.stop()
    assert orders(fleet) == [Send(1, signal.SIGTERM), Send(2, signal.SIGTERM)]
    fleet.reload()
    fleet.ended(1, 1, 1.0)
    assert orders(fleet) == []
    fleet.stop()
    assert orders(fleet) == [Send(2, signal.SIGTERM)]
    fleet.stop()
    assert orders(fleet) == [Send(2, signal.SIGKILL)]
    fleet.ended(2, -9, 2.0)
    assert fleet.done
    assert fleet.exit_code == 0


def test_those_that_have_nothing_left_to_do_are_not_started_again() -> None:
    fleet = begun()
    fleet.ended(1, 0, 1.0)
    assert orders(fleet) == []
    assert not fleet.done
    fleet.ended(2, 0, 1.0)
    assert fleet.done
