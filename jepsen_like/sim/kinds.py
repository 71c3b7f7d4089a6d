"""Kinds of worlds: what is drawn from a seed, narrowed down to where one kind of trouble is common.

A world drawn at large seldom has all at once that a rare interleaving needs: short patience *and* late messages *and*
single entries, say. Each kind has a few such things together, and leaves the rest as it was drawn. None is made for
one bug; each is a story of how clusters really suffer.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Final

from coord.jepsen_like.sim.triggers import Trigger, draw_claim_triggers
from coord.jepsen_like.workloads import RECIPE_PARTS

if TYPE_CHECKING:
    from coord.jepsen_like.sim.world import World

READERS: Final = ("register", "register", "local_reads", "causal", "mixed")

ELECTIONS: Final[tuple[tuple[Trigger, ...], ...]] = (
    # Voters die over their votes: a forgotten one is given twice.
    (("vote_granted", "kill", 0.5), ("append_sent", "kill", 0.4)),
    (("vote_granted", "power_cut", 0.3), ("vote_asked", "kill", 0.3), ("committed", "pause", 0.05)),
    # Leaders die as they begin: entries of several terms that nobody has committed (figure 3.7).
    (("election_won", "kill", 0.4), ("append_sent", "kill", 0.3), ("committed", "pause", 0.05)),
    # Leaders are left alone with what they have just appended: logs that differ, the longer ones older.
    (("append_sent", "cut", 0.3), ("committed", "kill", 0.2)),
    (("append_sent", "pause", 0.3), ("committed", "power_cut", 0.1)),
)
"""Sets that make one election follow another."""

PAUSES: Final[tuple[tuple[Trigger, ...], ...]] = (
    # A leader stands still with its beats on their way: the answers wait for it, while another is elected.
    (("beat_sent", "pause", 0.1),),
    (("read_granted", "pause", 0.1), ("beat_sent", "pause", 0.03)),
    (("append_sent", "pause", 0.05), ("election_won", "pause", 0.1)),
    # Followers stand still with what they asked for.
    (("read_asked", "pause", 0.05), ("committed", "pause", 0.02)),
    (("replied", "pause", 0.03), ("read_asked", "cut", 0.03)),
)

STALLS: Final[tuple[tuple[Trigger, ...], ...]] = (
    # A grant is on its way for longer than its round is waited for: the next round's is asked, and the old one comes.
    (("read_asked", "stall", 0.4),),
    (("read_granted", "stall", 0.4),),
    (("append_sent", "stall", 0.1), ("read_asked", "stall", 0.1)),
    # What a member has passed on arrives when its clients have long had it done elsewhere, and gone on.
    (("forwarded", "strand", 0.4),),
)

POWER: Final[tuple[Trigger, ...]] = (
    ("disk_rename", "power_cut", 0.1),
    ("disk_remove", "power_cut", 0.1),
    ("disk_create", "power_cut", 0.1),
    ("disk_write", "power_cut", 0.02),
    ("disk_sync", "power_cut", 0.02),
    ("disk_sync_directory", "power_cut", 0.05),
    ("sync_done", "power_cut", 0.02),
    ("snapshot_rename_done", "power_cut", 0.1),
    ("trim_done", "power_cut", 0.3),
    ("snapshot_installed", "power_cut", 0.3),
    ("started", "power_cut", 0.05),
    ("vote_granted", "power_cut", 0.1),
)
"""Power cuts around operations of disks."""


def elections(world: "World", dice: Random) -> "World":
    """Impatient members, late messages, quick restarts, single entries: nobody leads for long.

    Here the defences that hide each other elsewhere (batches, pre-votes, a quiet life after an election) have no luck.
    """
    pick = dice.choice
    return replace(
        world,
        voters=pick((3, 3, 4, 5)),
        tick_ms=30,
        election_ticks=pick((3, 5)),
        heartbeat_ticks=1,
        entry_bytes=1,
        append_bytes=pick((1, 1, 500)),
        inflight_appends=pick((2, 8)),
        clients=pick((3, 5)),  # what each waits for is a tail of a log that is cut off
        think_ms=pick((100, 200)),
        safety_ms=12_000,
        session_timeout_ms=5_000,
        streams=pick((True, False)),
        delay_min_us=50,
        delay_max_us=pick((5_000, 30_000)),
        spikes=pick((0.02, 0.1)),
        spike_max_us=100_000,
        loss=pick((0.0, 0.0, 0.03)),
        sync_max_us=pick((1_000, 10_000)),
        slow_syncs=pick((0.0, 0.1)),  # a candidate that asks late, when a voter has long voted and come back
        slow_sync_ms=200,
        apply_us=0,
        faults=world.faults[:2],
        fault_every_ms=3_000,
        triggers=pick(ELECTIONS),
        down_ms=pick((10, 100)),
        faults_from_start=False,
    )


def pauses(world: "World", dice: Random) -> "World":
    """Processes stand still for longer than others are patient, much waits in their sockets, and much is read."""
    pick = dice.choice
    return replace(
        _brisk(world, dice),
        election_ticks=pick((3, 5)),
        workload=pick(READERS),
        clients=pick((5, 8)),
        think_ms=pick((150, 400, 800)),  # who is thinking when it stands still asks when another leads
        safety_ms=15_000,
        session_timeout_ms=10_000,
        deadline_ms=10_000,
        streams=dice.random() < 0.8,
        spikes=pick((0.0, 0.02)),
        spike_max_us=500_000,
        faults=(("pause", 3.0), *world.faults[:1]),
        pause_ms=pick((0, 1_000, 2_000)),
        fault_every_ms=pick((500, 2_000)),
        triggers=pick(PAUSES),
    )


def late(world: "World", dice: Random) -> "World":
    """Datagrams that come when their question has long been asked again, and answered by somebody else."""
    pick = dice.choice
    return replace(
        _brisk(world, dice),
        election_ticks=pick((3, 5)),
        workload=pick(READERS),
        clients=pick((3, 5)),
        think_ms=pick((50, 150)),
        safety_ms=10_000,
        resend_ticks=pick((5, 20)),
        streams=False,
        spikes=pick((0.02, 0.1)),
        spike_max_us=pick((300_000, 2_000_000)),
        loss=pick((0.0, 0.01)),
        duplicates=pick((0.02, 0.3)),
        faults=(("cut", 1.0), ("transfer", 1.0), *world.faults[:2]),
        fault_every_ms=1_000,
    )


def power(world: "World", dice: Random) -> "World":
    """The power fails in the middle of everything that disks do, and is soon back."""
    pick = dice.choice
    return replace(
        _brisk(world, dice),
        voters=pick((1, 2, 3)),
        snapshot_entries=pick((3, 10, 40)),
        snapshot_section_bytes=pick((2_000, 128 * 1024)),
        segment_bytes=pick((1, 4 * 1024, 16 * 1024)),
        catch_up_bytes=pick((1, 500, 16 * 1024)),
        history_revisions=50,
        clients=3,
        think_ms=pick((100, 200)),
        safety_ms=10_000,
        streams=True,
        loss=0.0,
        sync_max_us=pick((1_000, 10_000)),
        slow_syncs=0.0,
        faults=(("power_cut", 1.0), *world.faults[:1]),
        fault_every_ms=2_000,
        triggers=tuple(dice.sample(POWER, 3)),
        down_ms=pick((10, 300)),
    )


def _brisk(world: "World", dice: Random) -> "World":
    """A small, quick cluster: much happens in little time."""
    pick = dice.choice
    return replace(
        world,
        voters=pick((3, 3, 5)),
        learners=0,
        tick_ms=50,
        heartbeat_ticks=1,
        append_bytes=pick((500, 1 << 20)),
        inflight_appends=pick((2, 64)),
        delay_min_us=50,
        delay_max_us=pick((500, 5_000)),
        apply_us=0,
    )


CLAIMS_SHARE: Final = 0.2
"""Of all worlds, of whatever kind."""


def with_claims(world: "World", dice: Random) -> "World":
    """In some worlds clients claim things, and what happens to claims triggers faults. The rest is as it was drawn."""
    return claims(world, dice) if dice.random() < CLAIMS_SHARE else world


def claims(world: "World", dice: Random) -> "World":
    """Few znodes, many who want them, sessions that end while they hold or wait."""
    pick = dice.choice
    return replace(
        world,
        workload=pick(
            ("claims", "claims", "claims", "fences", "fences", "elections", "shards", "ticks", "jobs")
        ),
        clients=pick((2, 3, 5, 8)),
        think_ms=pick((10, 50, 200)),
        safety_ms=pick((8_000, 15_000)),
        session_timeout_ms=pick((1_000, 1_000, 2_000, world.session_timeout_ms)),
        grants_max=pick((world.grants_max, world.grants_max, 1, 2)),
        triggers=(*world.triggers[: pick((0, 2))], *draw_claim_triggers(dice)),
        faults=(*world.faults, ("freeze_client", 3.0)) if dice.random() < 0.5 else world.faults,
    )


RECIPES_SHARE: Final = 0.15
"""Of the worlds of seeds from ``RECIPES_FROM`` on."""
RECIPES_FROM: Final = 100_000_000
"""Seeds below draw what they drew before there were recipes: those that find the mutants are recorded. So do reports
of deaths (:func:`with_reports`)."""


def with_recipes(world: "World", seed: int) -> "World":
    """In some worlds clients do what a recipe of ours asks for, as in worlds of claims. The rest is as it was drawn."""
    dice = Random(f"recipes {seed}")
    if seed < RECIPES_FROM or dice.random() >= RECIPES_SHARE:
        return world
    return replace(claims(world, dice), workload=dice.choice(list(RECIPE_PARTS)))


def with_reports(world: "World", seed: int) -> "World":
    """Members are told when the process of a peer is gone: always, sometimes or never, and in some worlds falsely."""
    if seed < RECIPES_FROM:
        return world
    dice = Random(f"reports {seed}")
    false = (("false_down", dice.choice((0.3, 1.0, 3.0))),) if dice.random() < 0.4 else ()
    return replace(world, told_down=dice.choice((0.0, 0.5, 1.0, 1.0)), faults=(*world.faults, *false))


TREES_SHARE: Final = 0.06


def with_trees(world: "World", seed: int) -> "World":
    """In some worlds clients do everything to a tree that can be done to one."""
    dice = Random(f"trees {seed}")
    if seed < RECIPES_FROM or dice.random() >= TREES_SHARE:
        return world
    return replace(world, workload="tree")


STALLS_SHARE: Final = 0.02


def with_stalls(world: "World", seed: int) -> "World":
    """In some worlds what leaders say is held up on its way, and seldom for long enough to depose them."""
    dice = Random(f"stalls {seed}")
    return stalls(world, dice) if seed >= RECIPES_FROM and dice.random() < STALLS_SHARE else world


def stalls(world: "World", dice: Random) -> "World":
    """Members are patient with their leader, and less so with their questions: they ask again, and both are answered.

    Many who read at every member, and who write meanwhile: what is answered late is old.
    """
    pick = dice.choice
    return replace(
        _brisk(world, dice),
        election_ticks=pick((15, 30)),
        round_ticks=pick((2, 5, 10)),
        workload=pick((*READERS, "exactly_once", "exactly_once", "append", "counter")),
        clients=pick((3, 5)),
        think_ms=pick((50, 100)),
        safety_ms=8_000,
        session_timeout_ms=10_000,
        deadline_ms=10_000,
        streams=dice.random() < 0.5,
        delay_max_us=5_000,  # so that what was held up does not come all in one step
        spikes=0.0,
        loss=0.0,
        faults=world.faults[:1],
        fault_every_ms=2_000,
        triggers=pick(STALLS),
    )


TRANSIT_SHARE: Final = 0.06

TRANSIT: Final[tuple[tuple[Trigger, ...], ...]] = (
    # Who is sent a snapshot dies, stands still or loses its links between two sections, and comes back: the same leader
    # sends it the same one, or already the next.
    (("section_store_done", "kill", 0.1),),
    (("section_store_done", "break_links", 0.1), ("snapshot_installed", "pause", 0.1)),
    (("section_store_done", "pause", 0.1), ("section_load_done", "drop_frame", 0.05)),
)


def with_transit(world: "World", seed: int) -> "World":
    """In some worlds much of what members know came in a leader's snapshot, and seldom at the first attempt."""
    dice = Random(f"transit {seed}")
    return transit(world, dice) if seed >= RECIPES_FROM and dice.random() < TRANSIT_SHARE else world


def transit(world: "World", dice: Random) -> "World":
    """Logs are short, snapshots come in many sections, and members are away for longer than the log reaches back.

    Clients watch from where they know the others to be, at members that have yet to come there.
    """
    pick = dice.choice
    return replace(
        _brisk(world, dice),
        voters=pick((2, 3, 3)),
        learners=pick((0, 1)),
        election_ticks=pick((10, 15)),
        snapshot_entries=pick((5, 20)),
        snapshot_section_bytes=pick((100, 400)),
        catch_up_bytes=1,
        history_revisions=pick((20, 50)),
        workload=pick(("ahead", "ahead", "ephemerals", world.workload)),
        clients=3,
        think_ms=pick((50, 100)),
        safety_ms=8_000,
        session_timeout_ms=pick((1_000, 5_000)),
        streams=dice.random() < 0.8,
        spikes=0.0,
        loss=0.0,
        faults=(("kill", 1.0), ("cut", 1.0), ("pause", 1.0), ("break_link", 1.0)),
        fault_every_ms=pick((500, 1_500)),
        triggers=pick(TRANSIT),
        down_ms=pick((300, 1_000)),
    )


CRUMBS_SHARE: Final = 0.1


def with_crumbs(world: "World", seed: int) -> "World":
    """In some worlds everything is more than fits into a frame, or into one go."""
    dice = Random(f"crumbs {seed}")
    if seed < RECIPES_FROM or dice.random() >= CRUMBS_SHARE:
        return world
    return replace(world, crumbs=True)


PARTS_SHARE: Final = 0.2


def with_parts(world: "World", seed: int) -> "World":
    """In some worlds little is done in one step: the next goes on, with the rest of an entry, of what is asked for."""
    dice = Random(f"parts {seed}")
    if seed < RECIPES_FROM or dice.random() >= PARTS_SHARE:
        return world
    return replace(
        world, step_work_us=dice.choice((1, 20, 100)), transit_work_us=dice.choice((1, 50, 100_000))
    )


COMPANY_SHARE: Final = 0.5


def with_company(world: "World", seed: int) -> "World":
    """In some worlds (all of the older seeds among them, which were drawn before entries were alone) a leader's entry
    is followed by the next as soon as it is on the leader's disk."""
    if seed >= RECIPES_FROM and Random(f"company {seed}").random() >= COMPANY_SHARE:
        return world
    return replace(world, alone_ms=0)


Narrow = Callable[["World", Random], "World"]

KINDS: Final[tuple[tuple[Narrow | None, int], ...]] = (
    (None, 7),
    (elections, 4),
    (pauses, 4),
    (late, 2),
    (power, 3),
)
"""With their weights; ``None``: at large."""


def narrowed(world: "World", dice: Random) -> "World":
    """``world``, or one of a kind in its place."""
    [kind] = dice.choices([kind for kind, _ in KINDS], [weight for _, weight in KINDS])
    return world if kind is None else kind(world, dice)
