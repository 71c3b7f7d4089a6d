"""What is drawn from a seed, and how it is set otherwise."""

from collections import Counter

import pytest

from coord.jepsen_like.sim.claiming import AT_HOLDER
from coord.jepsen_like.sim.claiming import EVENTS as CLAIM_EVENTS
from coord.jepsen_like.sim.kinds import ELECTIONS, PAUSES, POWER, RECIPES_FROM
from coord.jepsen_like.sim.regressions import regressions
from coord.jepsen_like.sim.triggers import ACTIONS, CLAIM_ACTIONS, DISK_EVENTS, EVENTS, Trigger
from coord.jepsen_like.sim.world import World, differences, draw, override
from coord.jepsen_like.workloads import RECIPE_PARTS
from coord.raft.settings import check_settings


def test_a_seed_draws_the_same_world_always_and_seeds_differ() -> None:
    assert draw(7) == draw(7)
    assert len({str(draw(seed)) for seed in range(50)}) == 50


def test_every_world_that_is_drawn_can_be() -> None:
    for seed in range(2_000):
        world = draw(seed)
        check_settings(world.replica_settings().raft)
        assert world.configuration.voters
        assert world.drift < 0.005  # two clocks together stay within the documented percent


def test_the_draw_covers_the_corners() -> None:
    worlds = [draw(seed) for seed in range(300)]
    assert {world.voters for world in worlds} == set(range(1, 8))
    assert {world.streams for world in worlds} == {True, False}
    assert any(world.learners for world in worlds)
    assert any(world.append_bytes == 1 and world.entry_bytes == 1 for world in worlds)
    assert any(not world.triggers for world in worlds)
    drawn = {event for world in worlds for event, _, _ in world.triggers}
    assert drawn >= {"vote_granted", "beat_sent", "disk_rename", "trim_done"}
    assert drawn >= {event + at for event in CLAIM_EVENTS for at in ("", AT_HOLDER)}
    assert {world.workload for world in worlds} >= {"claims", "fences", "mixed"}
    assert any(world.grants_max == 1 for world in worlds)
    assert {action for world in worlds for _, action, _ in world.triggers} >= set(CLAIM_ACTIONS)


def test_late_seeds_draw_recipes_too_and_early_ones_what_they_always_drew() -> None:
    """Seeds that find the mutants are recorded; `make test` and `make torture` begin at later ones."""
    late = Counter(draw(seed).workload for seed in range(RECIPES_FROM, RECIPES_FROM + 600))
    assert set(late) > {*RECIPE_PARTS, "mixed", "claims"}
    assert sum(late[name] for name in RECIPE_PARTS) < 150, "most worlds are of all kinds, as before"
    early = [draw(seed) for seed in range(2_000)]
    assert not any(world.workload == "tasks" for world in early)


def test_late_seeds_draw_trees_stalls_and_crumbs_too() -> None:
    late = [draw(seed) for seed in range(RECIPES_FROM, RECIPES_FROM + 600)]
    trees, crumbs = sum(world.workload == "tree" for world in late), sum(world.crumbs for world in late)
    held_up = sum(any(action in ("stall", "strand") for _, action, _ in world.triggers) for world in late)
    assert 10 < trees < 70
    assert 20 < crumbs < 100
    assert 3 < held_up < 30
    assert 10 < sum(world.workload == "ahead" for world in late) < 40
    for world in (draw(seed) for seed in range(2_000)):
        assert world.workload not in ("tree", "ahead")
        assert (world.crumbs, world.round_ticks) == (False, World().round_ticks)
        assert not any(action in ("stall", "strand") for _, action, _ in world.triggers)


def test_a_world_is_set_from_text_and_printed_as_it_can_be_set() -> None:
    world = override(World(), {"voters": "5", "loss": "0", "workload": "register", "streams": "False"})
    assert (world.voters, world.loss, world.workload, world.streams) == (5, 0.0, "register", False)
    drawn = draw(3)
    texts = {name: repr(value) for name, value in differences(drawn).items()}
    assert override(World(), texts) == drawn


@pytest.mark.parametrize("settings", [{"voter": "3"}, {"voters": "many"}, {"streams": "1"}, {"loss": "True"}])
def test_nonsense_is_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        override(World(), settings)


def test_regressions_can_be_read() -> None:
    for regression in regressions():
        assert regression.found


@pytest.mark.parametrize("triggers", [*ELECTIONS, *PAUSES, POWER])
def test_triggers_are_of_events_that_there_are(triggers: tuple[Trigger, ...]) -> None:
    for event, action, _ in triggers:
        assert event in (*EVENTS, *DISK_EVENTS)
        assert action in ACTIONS
        assert event in EVENTS or action in ("kill", "power_cut")
