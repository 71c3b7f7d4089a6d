"""Schedules, partitions and strikes: drawn from the seed, and every strike that began is ended."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
import trio

from coord.jepsen_like.history import Fault, Record
from coord.jepsen_like.live.arena import Arena, NotNow
from coord.jepsen_like.live.cluster import Cluster
from coord.jepsen_like.live.links import Links
from coord.jepsen_like.live.nemeses import FAMILIES, NEMESES, choose
from coord.jepsen_like.live.nemeses.nemesis import LINKS, PROCESSES, Hit, Plain
from coord.jepsen_like.live.nemeses.partition import pairs_of
from coord.jepsen_like.live.nemeses.rot import damage
from coord.jepsen_like.live.schedule import Strike, draw_schedule
from coord.jepsen_like.live.strikes import Strikes


def test_the_seed_draws_the_schedule() -> None:
    nemeses = choose(["all"])
    assert draw_schedule(7, nemeses, 300) == draw_schedule(7, nemeses, 300)
    assert draw_schedule(7, nemeses, 300) != draw_schedule(8, nemeses, 300)


def test_every_family_comes_and_nobody_lays_hands_on_the_same_thing_twice_at_a_time() -> None:
    schedule = draw_schedule(1, choose(["all"]), 2_000)
    assert {NEMESES[strike.nemesis].family for strike in schedule} == set(FAMILIES)
    free_ms: dict[str, int] = {}
    overlaps = 0
    for strike in schedule:
        hands_on = NEMESES[strike.nemesis].hands_on
        assert strike.at_ms >= free_ms.get(hands_on, 0)
        overlaps += any(end_ms > strike.at_ms for end_ms in free_ms.values())
        free_ms[hands_on] = strike.at_ms + strike.hold_ms
    assert overlaps > len(schedule) / 10, "faults of different kinds meet"


def test_no_nemesis_no_schedule() -> None:
    assert draw_schedule(1, choose([]), 60) == []


def test_choosing_by_name_and_family() -> None:
    assert {each.name for each in choose(["pause", "kill-one"])} == {
        "kill-one",
        "pause-one",
        "pause-leader",
        "pause-majority",
        "pause-all",
    }
    with pytest.raises(ValueError, match="no nemesis 'flood'"):
        choose(["flood"])


# --- partitions ---


def cut(shape: str, size: int) -> set[tuple[int, int]]:
    members = range(1, size + 1)
    links = Links(dict.fromkeys(members, 1), dict.fromkeys(members, 1), Random(1))
    pairs, _ = pairs_of(shape, list(members), links, Random(1))
    return set(pairs)


def test_halves_leave_a_majority() -> None:
    assert cut("halves", 3) == {(1, 2), (2, 1), (1, 3), (3, 1)}
    assert len(cut("halves", 5)) == 12


def test_one_is_alone() -> None:
    assert cut("one", 3) == {(1, 2), (2, 1), (1, 3), (3, 1)}


def test_a_bridge_sees_both_sides() -> None:
    assert cut("bridge", 3) == {(2, 3), (3, 2)}
    assert not any(1 in pair for pair in cut("bridge", 5))


def test_a_ring_sees_neighbours_only() -> None:
    assert cut("ring", 5) == {(a, b) for a in range(1, 6) for b in range(1, 6) if (a - b) % 5 in (2, 3)}
    assert cut("ring", 3) == {(3, 1), (1, 2), (2, 3)}, "one direction of each link"


def test_one_way_cuts_one_direction_only() -> None:
    pairs = cut("one-way", 5)
    assert pairs
    assert not any((target, source) in pairs for source, target in pairs)


def test_an_unknown_shape_is_no_partition() -> None:
    with pytest.raises(ValueError, match="no partition 'star'"):
        cut("star", 3)


# --- damage ---


@pytest.mark.parametrize("how", ["flip", "truncate"])
def test_damage_changes_one_file_and_not_the_lock(tmp_path: Path, how: str) -> None:
    for name in ("lock", "wal", "identity"):
        (tmp_path / name).write_bytes(b"\0" * 1_000)
    for seed in range(30):
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        damage(tmp_path, how, Random(seed))
        after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        changed = [name for name in before if before[name] != after[name]]
        # Two of several flips may meet on one bit; anything else shows.
        assert len(changed) <= 1
        assert "lock" not in changed
        for name in changed:
            (tmp_path / name).write_bytes(b"\0" * 1_000)


def test_nothing_to_damage(tmp_path: Path) -> None:
    with pytest.raises(NotNow):
        damage(tmp_path, "flip", Random(1))


# --- strikes ---


class Spy(Plain):
    """A nemesis that keeps a diary."""

    family = "spy"
    hold_ms = (0, 0)

    def __init__(self, name: str, hands_on: str, diary: list[str], *, fails: bool = False) -> None:
        self.name, self.hands_on, self._diary, self._fails = name, hands_on, diary, fails

    async def begin(self, arena: Arena, dice: Random) -> Hit:
        if self._fails:
            raise NotNow("no mood")
        self._diary.append(f"begin {self.name}")

        async def end() -> None:
            await trio.lowlevel.checkpoint()  # an end may have to wait for something, and must be left to
            self._diary.append(f"end {self.name}")

        return Hit((1,), "something", end)


class FakeArena:
    def __init__(self, diary: list[str]) -> None:
        self._diary = diary

    def say(self, text: str) -> None: ...

    async def heal(self) -> None:
        self._diary.append("heal")


def strikes_of(
    diary: list[str], records: list[Record], *nemeses: Spy, answers: Sequence[object] = ()
) -> Strikes:
    return Strikes(cast(Arena, FakeArena(diary)), cast(Any, nemeses), records.append, lambda: len(answers))


async def test_strikes_begin_end_and_are_written_down(autojump_clock: trio.abc.Clock) -> None:
    diary: list[str] = []
    records: list[Record] = []
    strikes = strikes_of(diary, records, Spy("a", PROCESSES, diary), Spy("b", LINKS, diary))
    await strikes.run([Strike(1_000, 3_000, "a", 1), Strike(2_000, 500, "b", 2)], 10)
    assert diary == ["begin a", "begin b", "end b", "end a", "heal"]
    assert [(each.fault, each.phase) for each in records if isinstance(each, Fault)] == [
        ("a", "begin"),
        ("b", "begin"),
        ("b", "end"),
        ("a", "end"),
    ]
    assert strikes.done == {"a": 1, "b": 1}


async def test_what_a_strike_did_is_undone_when_the_run_is_cancelled(autojump_clock: trio.abc.Clock) -> None:
    diary: list[str] = []
    strikes = strikes_of(diary, [], Spy("a", PROCESSES, diary))
    with trio.move_on_after(2):
        await strikes.run([Strike(1_000, 60_000, "a", 1)], 100)
    assert diary == ["begin a", "end a", "heal"]


async def test_strikes_on_the_same_thing_wait_for_each_other(autojump_clock: trio.abc.Clock) -> None:
    diary: list[str] = []
    strikes = strikes_of(diary, [], Spy("a", PROCESSES, diary), Spy("b", PROCESSES, diary))
    await strikes.run([Strike(1_000, 3_000, "a", 1), Strike(2_000, 500, "b", 2)], 10)
    assert diary == ["begin a", "end a", "begin b", "end b", "heal"]


async def test_a_strike_that_waits_gives_the_cluster_time_but_not_for_ever(
    autojump_clock: trio.abc.Clock,
) -> None:
    diary: list[str] = []
    answers: list[object] = [1]
    strikes = strikes_of(diary, [], Spy("a", PROCESSES, diary), Spy("b", PROCESSES, diary), answers=answers)
    schedule = [
        Strike(1_000, 0, "a", 1),
        Strike(2_000, 0, "b", 2, waits=True),
        Strike(15_000, 0, "a", 3, waits=True),
    ]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(strikes.run, schedule, 60)
        await trio.sleep(5)
        assert diary == ["begin a", "end a"]
        answers.append(2)
        await trio.sleep(1)
        assert diary == ["begin a", "end a", "begin b", "end b"]
        await trio.sleep(12)  # nothing more is answered; at 15 s and WAIT_S it strikes all the same
        assert len(diary) == 4
        await trio.sleep(10)
        assert len(diary) == 6
        nursery.cancel_scope.cancel()


async def test_a_strike_without_a_target_is_told_and_costs_nothing(autojump_clock: trio.abc.Clock) -> None:
    records: list[Record] = []
    strikes = strikes_of([], records, Spy("a", PROCESSES, [], fails=True))
    await strikes.run([Strike(1_000, 500, "a", 1)], 3)
    assert strikes.not_now == {"a: no mood": 1}
    assert not records


# --- the ledger of damaged disks ---


class FakeObserver:
    """Answers as the members would."""

    leader = 1

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, Any] | None] = {
            member: {"role": "follower", "term": 3, "persisted_index": 10, "commit_index": 10}
            for member in (1, 2, 3)
        }

    async def ask(self, member: int) -> dict[str, Any] | None:
        return self.rows[member]


async def test_no_second_disk_is_damaged_before_the_first_is_restored(tmp_path: Path) -> None:
    observer = FakeObserver()
    arena = Arena(Cluster(tmp_path, 3, Random(1)), cast(Any, observer), lambda text: None)
    member = await arena.pick_to_damage(Random(1))
    row = observer.rows[member]
    assert row is not None
    observer.leader = member % 3 + 1
    for bad in ({"role": "recovering"}, {"persisted_index": 9}, {"term": 2}):
        observer.rows[member] = row | bad
        with pytest.raises(NotNow, match=f"member {member} is not restored"):
            await arena.pick_to_damage(Random(2))
    observer.rows[member] = None
    with pytest.raises(NotNow, match=f"member {member} is not restored"):
        await arena.pick_to_damage(Random(2))
    observer.rows[member] = row
    assert await arena.pick_to_damage(Random(2)) in (1, 2, 3)


async def test_a_cluster_of_two_has_no_disk_to_spare(tmp_path: Path) -> None:
    arena = Arena(Cluster(tmp_path, 2, Random(1)), cast(Any, FakeObserver()), lambda text: None)
    with pytest.raises(NotNow, match="no member may be lost"):
        await arena.pick_to_damage(Random(1))
